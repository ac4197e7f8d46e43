"""Real processes, killed and stopped: the same command ends with the same weights."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import RECIPES, tiny_run

pytestmark = pytest.mark.processes
RECIPE = str(RECIPES / "pretrain_clm.py")
STEPS = ("--training.max_steps", "400", "--training.save_steps", "20", "--training.eval_strategy", "no")


def start(corpus_file: Path, folder: Path) -> subprocess.Popen[str]:
    flags = tiny_run(corpus_file, folder, *STEPS, "--evaluation.ngram_order", "null", "--training.logging_steps", "1")
    return subprocess.Popen([sys.executable, RECIPE, *flags], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_for_step(folder: Path, step: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        log = folder / "metrics.jsonl"
        if log.is_file() and len(log.read_text().splitlines()) >= step:
            return
        time.sleep(0.01)
    raise AssertionError(f"step {step} was not reached: {process.communicate()[1][-2000:]}")


@pytest.fixture(scope="module")
def uninterrupted(corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("resume") / "whole"
    process = start(corpus_file, folder)
    _, told = process.communicate(timeout=200)
    assert process.returncode == 0, told[-2000:]
    return (folder / "model" / "model.safetensors").read_bytes()


def test_killed_twice_is_bitwise_the_uninterrupted_run(uninterrupted: bytes, corpus_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for step in (30, 130):
        process = start(corpus_file, folder)
        wait_for_step(folder, step, process)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        assert not (folder / "metrics.json").exists()
    process = start(corpus_file, folder)
    _, told = process.communicate(timeout=200)
    assert process.returncode == 0, told[-2000:]
    assert "Going on from" in told
    assert (folder / "model" / "model.safetensors").read_bytes() == uninterrupted
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == [*range(1, 401), 400], "each step is logged once, and the final evaluation"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_saves_and_tells_how_to_go_on(
    number: signal.Signals, uninterrupted: bytes, corpus_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    process = start(corpus_file, folder)
    wait_for_step(folder, 25, process)
    os.kill(process.pid, number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told[-2000:]
    assert "Traceback" not in told
    assert "run the same command again: python" in told
    saved = sorted(int(path.name.split("-")[1]) for path in (folder / "checkpoints").glob("checkpoint-*"))
    assert saved[-1] >= 25
    assert f"checkpoint-{saved[-1]}" in told
    process = start(corpus_file, folder)
    _, told = process.communicate(timeout=200)
    assert process.returncode == 0, told[-2000:]
    assert f"Going on from {folder / 'checkpoints' / f'checkpoint-{saved[-1]}'}" in told
    assert (folder / "model" / "model.safetensors").read_bytes() == uninterrupted
