"""Work on a Ray cluster is that of one machine: the same bytes, the same trials, mistakes as messages.

Most of it is tried with tests/ray_stand_in.py; the last tests need the extra ray and are left out without it.
"""

import hashlib
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prepare_corpus
import pytest
from conftest import RECIPES
from ray_stand_in import ActorUnavailableError, RayError, StandIn, stand_in
from test_preparation import PERSONAL, document
from test_sweep import DRIVER, RATES, STUB, config_of, trials, wait_for

from pipelines import ray_cluster, report
from pipelines.errors import ConfigError
from pipelines.preparation import opening, ray_workers
from pipelines.run import run_recipe
from pipelines.sweeps import ray_trials, running
from pipelines.sweeps.ray_trials import INTERRUPTED, RayTrial

HAS_RAY = importlib.util.find_spec("ray") is not None


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with stand_in() as module:
        yield module


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with corpus.jsonl: 30 documents, two of them twice."""
    folder = tmp_path_factory.mktemp("ray")
    texts = [f"{document(seed)}\n{PERSONAL}" for seed in [*range(30), 3, 4]]
    (folder / "corpus.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    (folder / "test.jsonl").write_text(json.dumps({"text": document(7, 30)}) + "\n", encoding="utf-8")
    return folder


RECIPE = str(RECIPES / "prepare_corpus.py")


def arguments(place: Path, name: str, *more: str) -> list[str]:
    return [
        *("--config", str(RECIPES / "configs/prepare_corpus/default.yaml"), "--run.dir", str(place / name)),
        *(
            "--data.card",
            "null",
            "--data.files.train",
            str(place / "corpus.jsonl"),
            "--prepare.chunk_megabytes",
            "0.004",
        ),
        *("--decontamination.evaluation_sets", str(place / "test.jsonl"), "--language.enabled", "false"),
        *("--quality.max_duplicate_line_characters_share", "null", "--prepare.workers", "1", *more),
    ]


def prepare(place: Path, name: str, *more: str) -> int:
    return run_recipe(prepare_corpus.main, prepare_corpus.Config, RECIPE, arguments(place, name, *more))


def result(run: Path) -> dict[str, str]:
    """What must not depend on who did the work: file -> SHA-256. Nothing else is left in the corpus."""
    files = [*sorted((run / "corpus").iterdir()), run / "receipt.json", run / "samples.json"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def prepared(place: Path) -> Path:
    assert prepare(place, "local") == 0
    rows = json.loads((place / "local/receipt.json").read_text())["train"]["rows"]
    assert rows["rows_dropped"] == {"exact_duplicate": 2, "contaminated": 1}
    return place / "local"


# ---------------------------------------------------------------- preparation


def test_a_cluster_writes_the_bytes_of_one_machine(ray: StandIn, place: Path, prepared: Path) -> None:
    on_sigterm = signal.getsignal(signal.SIGTERM)
    assert prepare(place, "ray", "--prepare.engine", "ray", "--prepare.workers", "null") == 0
    assert result(place / "ray") == result(prepared)
    assert ray.most_waiting == 4, "twice the CPUs of the nodes that are alive"
    assert len(ray.kept) == 1, "settings and evaluation sets are sent once"
    assert not ray.is_up and signal.getsignal(signal.SIGTERM) is on_sigterm


@pytest.mark.parametrize("engine", ["ray", "local"])
def test_an_interrupted_run_goes_on_with_either_engine(
    engine: str, ray: StandIn, place: Path, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted: list[Path] = []

    def stop_at_the_third(key: str, sent: Any, step: str, path: Path, item: Any) -> None:
        if len(submitted) == 2:
            raise KeyboardInterrupt
        submitted.append(path)

    ray.before = stop_at_the_third
    name = f"stopped-{engine}"
    assert prepare(place, name, "--prepare.engine", "ray") == 130
    assert "2 finished work items are kept" in capsys.readouterr().err and not ray.is_up
    later: list[Path] = []
    ray.before = lambda *given: later.append(given[3])
    assert prepare(place, name, "--prepare.engine", engine) == 0
    assert "2 work items are done" in capsys.readouterr().err
    assert bool(later) == (engine == "ray") and not set(later) & set(submitted)
    assert result(place / name) == result(prepared)


@pytest.mark.parametrize(
    ("differs", "told"),
    [
        ({"pyarrow": "1.0"}, r"has pyarrow \S+, the machine on which the run was started 1.0. Install the same"),
        ({"plumbline": "x"}, "has plumbline .* from the same commit"),
        ({}, "has no folder .*elsewhere. Name one with --run.dir that all nodes share"),
    ],
)
def test_a_node_that_would_do_it_otherwise_is_refused(
    differs: dict[str, str], told: str, ray: StandIn, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    of_driver = ray_cluster.installation(ray_workers.PACKAGES) | differs
    monkeypatch.setattr(ray_workers, "installation", lambda _: of_driver)
    if not differs:
        workers = ray_workers.RayWorkers
        monkeypatch.setattr(opening, "RayWorkers", lambda steps, tasks, _: workers(steps, tasks, place / "elsewhere"))
    assert prepare(place, f"refused-{'-'.join(differs)}", "--prepare.engine", "ray") == 2
    err = capsys.readouterr().err
    assert re.search(f"ConfigError: The Ray node .* {told}", err) and "Traceback" not in err


def test_an_item_that_is_lost_on_node_after_node_is_told(ray: StandIn, place: Path, capsys: Any) -> None:
    def lose(*_: Any) -> None:
        raise RayError("The worker died unexpectedly.\nMore of it.")

    ray.before = lose
    assert prepare(place, "lost", "--prepare.engine", "ray") == 2
    err = capsys.readouterr().err
    assert "lower --prepare.chunk_megabytes" in err and "Ray says: The worker died unexpectedly." in err
    assert "More of it" not in err and "Traceback" not in err


def test_a_defect_in_a_task_is_told_as_one(ray: StandIn, place: Path, capsys: Any) -> None:
    def defect(*_: Any) -> None:
        raise ZeroDivisionError("of ours")

    ray.before = defect
    assert prepare(place, "defect", "--prepare.engine", "ray") == 1
    assert "of ours" in capsys.readouterr().err


# ---------------------------------------------------------------- mistakes


def test_ray_that_is_not_installed_is_told(place: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "ray" else found(name, *more))
    told = "which is not installed. Run: pip install -c requirements.lock -e '.[ray]' on every node"
    assert prepare(place, "none", "--prepare.engine", "ray") == 2
    assert f"prepare.engine is ray, {told}" in capsys.readouterr().err and not (place / "none").exists()
    with pytest.raises(ConfigError) as error:
        running.run_sweep(config_of(tmp_path / "none", "--sweep.engine", "ray"), str(STUB / "sweep.py"))
    assert f"sweep.engine is ray, {told}" in str(error.value) and not (tmp_path / "none").exists()


def test_a_cluster_that_does_not_answer_is_told_at_once(
    ray: StandIn, place: Path, monkeypatch: Any, capsys: Any
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"  # bound, but nothing listens
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert prepare(place, "none", "--prepare.engine", "ray") == 2
    assert f"RAY_ADDRESS is '{address}', but nothing answers there (Connection refused)" in capsys.readouterr().err
    assert not (place / "none").exists() and not ray.is_up


@pytest.mark.parametrize("address", ["node", "ray://node:10001", "node:", ":6379"])
def test_an_address_that_is_none_is_told(address: str, ray: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConfigError, match="expected host:port of the cluster's head node, or auto"):
        ray_cluster.require_ray("prepare.engine")


def test_a_cluster_that_cannot_be_joined_is_told(
    ray: StandIn, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**_: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "init", refuse)
    told = r"No Ray cluster could be joined: Could not find any.*Start its head node"
    assert prepare(place, "none", "--prepare.engine", "ray") == 2
    assert re.search(told, capsys.readouterr().err) and not (place / "none").exists()
    with pytest.raises(ConfigError, match=told):
        running.run_sweep(config_of(place / "none", "--sweep.engine", "ray"), str(STUB / "sweep.py"))
    assert not (place / "none").exists()


# ---------------------------------------------------------------- sweeps


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "environment", lambda data: {})
    monkeypatch.setattr(report, "sweep_chart", lambda sweep: None)
    monkeypatch.setattr(running, "POLL_SECONDS", 0.02)


@pytest.mark.processes
def test_trials_on_a_cluster_are_those_of_one_machine(ray: StandIn, quick: None, tmp_path: Path) -> None:
    flags = ("--sweep.trials", "3", "--run.threads", "1")
    running.run_sweep(config_of(tmp_path / "local", *flags), str(STUB / "sweep.py"))
    running.run_sweep(config_of(tmp_path / "ray", *flags, "--sweep.engine", "ray"), str(STUB / "sweep.py"))
    assert trials(tmp_path / "ray") == trials(tmp_path / "local")
    assert len(trials(tmp_path / "ray")) == 3 and not ray.is_up
    assert ray.asked == [{"num_cpus": 1, "num_gpus": 0, "max_restarts": ray_cluster.RETRIES}] * 3
    assert len(ray.killed) == 3, "what a trial held is given back"


def sleeper(log: Path) -> list[str]:
    """A program that says when it is asked to stop, and stops then."""
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('asked', flush=True), sys.exit(130)))\n"
        "print('begun', flush=True)\ntime.sleep(60)"
    )
    path = log.with_suffix(".py")
    path.write_text(code, encoding="utf-8")
    return [sys.executable, str(path)]


@pytest.mark.processes
def test_a_remote_trial_is_asked_to_stop_once_and_waited_for(ray: StandIn, tmp_path: Path) -> None:
    log, locked = tmp_path / "0.log", [1]
    trial = RayTrial(sleeper(log), log, cpus=2)
    with pytest.MonkeyPatch.context() as patch:  # one that was started before still writes
        patch.setattr(ray_trials, "is_locked", lambda _: bool(locked))
        assert trial.poll() is None and not log.exists()
    while not log.is_file() or "begun" not in log.read_text():
        assert trial.poll() is None
        time.sleep(0.02)

    def unavailable() -> None:
        ray.before = lambda *_: None
        raise ActorUnavailableError("is being started elsewhere")

    ray.before = unavailable
    assert trial.poll() is None
    trial.stop()
    trial.stop()
    assert trial.wait() == trial.poll() == INTERRUPTED
    assert log.read_text().split() == ["begun", "asked"]


def test_a_trial_that_waits_for_a_node_ends_at_once(ray: StandIn, tmp_path: Path) -> None:
    trial = RayTrial(["python", "none.py"], tmp_path / "0.log", cpus=1)
    trial._asked = type("Waits", (), {"is_ready": False})()
    assert trial.poll() is None
    trial.stop()
    assert trial.wait() == INTERRUPTED and len(ray.killed) == 1 and not (tmp_path / "0.log").exists()


def test_what_no_node_has_is_told(ray: StandIn, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="asks for 3 CPUs, but the largest node of the Ray cluster has 2. Lower"):
        RayTrial(["python"], tmp_path / "0.log", cpus=3)
    missing = RayTrial(["python", str(tmp_path / "gone/recipe.py")], tmp_path / "0.log", cpus=1)
    with pytest.raises(ConfigError, match=r"has no folder .*gone. The repository and the folder"):
        missing.poll()


def test_a_trial_has_a_gpu_where_there_are_any(tmp_path: Path) -> None:
    with stand_in(gpus=1) as ray:
        RayTrial(["python"], tmp_path / "0.log", cpus=1)
        assert ray.asked[0]["num_gpus"] == 1


# ---------------------------------------------------------------- with Ray itself

needs_ray = pytest.mark.skipif(not HAS_RAY, reason="needs the extra ray")


@needs_ray
@pytest.mark.processes
def test_ray_itself_writes_the_bytes_of_one_machine(place: Path, prepared: Path) -> None:
    command = [sys.executable, RECIPE, *arguments(place, "real", "--prepare.engine", "ray")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert result(place / "real") == result(prepared)


def recipes_of(folder: Path) -> list[int]:
    """Processes whose command names a folder of trials."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder / "trials") in command and "ray::" not in command:
            found.append(int(path.parent.name))
    return found


@needs_ray
@pytest.mark.processes
def test_nothing_runs_on_when_a_sweep_on_ray_is_killed(tmp_path: Path) -> None:
    folder, gate = tmp_path / "run", tmp_path / "gate"
    gate.touch()
    shared = ["--run.dir", str(folder), "--sweep.recipe", "pretrain_clm", "--sweep.space", RATES, "--run.threads", "1"]
    command = [sys.executable, "-c", DRIVER.replace("STUB", repr(str(STUB / "sweep.py"))), str(RECIPES), *shared]
    flags = ["--sweep.engine", "ray", "--sweep.trials", "2"]
    with subprocess.Popen([*command, *flags], stderr=subprocess.DEVNULL) as killed:
        wait_for(folder / "trials/0/metrics.jsonl", '"step": 2', seconds=120)
        assert recipes_of(folder)
        killed.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while recipes_of(folder):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    gate.unlink()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run([*command, *flags], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert [one["state"] for one in trials(folder)] == ["complete"] * 2
    steps = [json.loads(line)["step"] for line in (folder / "trials/0/metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4], "gone on with, not started anew"
