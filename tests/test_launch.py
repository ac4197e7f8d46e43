"""Recipes under `accelerate launch`: bare, and as two processes that make one run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import RECIPES, REPOSITORY, tiny_run

pytestmark = pytest.mark.processes


def launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


TWO_PROCESSES = ("--config_file", str(REPOSITORY / "accelerate_config.yaml"), "--num_processes", "2")


# Muon orthogonalizes in bfloat16, which magnifies the rounding of sums in another order to 1e-4 in the loss (measured).
ADAMW = ("--training.optim", "adamw_torch_fused", "--training.learning_rate", "1e-3")


def losses(folder: Path) -> list[float]:
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [event["loss"] for event in events if "loss" in event]


@pytest.fixture(scope="module")
def one_process(corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run under bare `accelerate launch`, which leaves OMP_NUM_THREADS=1."""
    folder = tmp_path_factory.mktemp("launch") / "one"
    flags = tiny_run(corpus_file, folder, *ADAMW)
    place = flags.index("--run.threads")
    done = launch(str(RECIPES / "pretrain_clm.py"), *flags[:place], *flags[place + 2 :])
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"1 process(es) on CPU, {len(os.sched_getaffinity(0))} thread(s) each" in done.stderr
    return folder


def test_bare_launch_uses_every_core(one_process: Path) -> None:
    assert json.loads((one_process / "plan.json").read_text())["cpu_threads"] == len(os.sched_getaffinity(0))
    assert len(losses(one_process)) == 12


def test_two_processes_make_the_same_run(one_process: Path, corpus_file: Path, tmp_path: Path) -> None:
    flags = tiny_run(corpus_file, tmp_path / "two", *ADAMW, "--training.per_device_train_batch_size", "2")
    done = launch(*TWO_PROCESSES, str(RECIPES / "pretrain_clm.py"), *flags)
    assert done.returncode == 0, done.stderr[-3000:]
    plan = json.loads((tmp_path / "two" / "plan.json").read_text())
    assert (plan["processes"], plan["rows_per_step"]) == (2, 4)
    checkpoint = tmp_path / "two" / "checkpoints" / "checkpoint-12"
    assert {path.name for path in checkpoint.glob("rng_state*")} == {"rng_state_0.pth", "rng_state_1.pth"}
    assert losses(tmp_path / "two") == pytest.approx(losses(one_process), abs=1e-5)
    figures = [json.loads((folder / "metrics.json").read_text()) for folder in (one_process, tmp_path / "two")]
    assert figures[1]["eval_tokens"] == figures[0]["eval_tokens"]
    assert figures[1]["eval_loss"] == pytest.approx(figures[0]["eval_loss"], abs=1e-5)
    receipts = [json.loads((folder / "receipt.json").read_text()) for folder in (one_process, tmp_path / "two")]
    assert receipts[0] == receipts[1]


def test_the_message_comes_before_accelerates_own_error(tmp_path: Path) -> None:
    done = launch(
        "--quiet", str(RECIPES / "pretrain_clm.py"), "--data.files.train", "nowhere.txt", *("--run.dir", str(tmp_path))
    )
    assert done.returncode != 0
    assert done.stderr.count("DataError:") == 1
    assert "Traceback" not in done.stderr.split("DataError:")[0]


def test_a_mistake_is_told_once_by_two_processes(tmp_path: Path) -> None:
    flags = ("--data.files.train", "nowhere.txt", "--run.dir", str(tmp_path / "run"))
    done = launch(*TWO_PROCESSES, str(RECIPES / "pretrain_clm.py"), *flags)
    assert done.returncode != 0
    assert done.stderr.count("DataError:") == 1
    assert "defect in Plumbline" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2)")
def test_ending_accelerate_launch_ends_the_run_with_a_checkpoint(corpus_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    flags = tiny_run(corpus_file, folder, "--training.max_steps", "5000", "--training.eval_strategy", "no")
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", str(RECIPES / "pretrain_clm.py")]
    with subprocess.Popen([*command, *flags], stderr=subprocess.PIPE, text=True) as launcher:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (folder / "metrics.jsonl").is_file():
            time.sleep(0.1)
        launcher.send_signal(signal.SIGTERM)
        told = launcher.stderr.read()  # until the recipe, too, has closed its end
    assert "run the same command again: accelerate launch" in told
    assert list((folder / "checkpoints").glob("checkpoint-*"))
    assert not (folder / "metrics.json").exists()
