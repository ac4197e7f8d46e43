"""The run folder and the process around a run: locking, resuming, environment record, exit codes."""

import fcntl
import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pipelines.config import config_to_dict, default_run_name, flatten, parse_config, save_config
from pipelines.errors import CheckpointError, ConfigError, PlumblineError

ConfigT = TypeVar("ConfigT")

# Keys that may change when a run goes on: they change speed, memory or what is written, not what is learned.
# The batch is compared as a whole (rows per step), see RunFolder.open.
RESUMABLE_KEYS = {
    "run.threads",
    "run.overwrite",
    "training.max_steps",
    "training.num_train_epochs",
    "training.per_device_train_batch_size",
    "training.per_device_eval_batch_size",
    "training.gradient_accumulation_steps",
    "training.activation_checkpointing",
    "training.logging_steps",
    "training.eval_strategy",
    "training.eval_steps",
    "training.save_steps",
    "training.save_total_limit",
    "training.report_to",
    "training.run_name",
    "training.dataloader_num_workers",
    "training.max_loss_spike",
}


class Interrupted(Exception):
    """The run was asked to stop (SIGINT or SIGTERM) and has saved what it had."""


def launch(main: Callable[[ConfigT], None], config_class: type[ConfigT], recipe: str) -> None:
    """Runs a recipe and ends the process with its exit code."""
    code = run_recipe(main, config_class, recipe)
    sys.stdout.flush()
    sys.stderr.flush()
    if code:
        # Other processes may wait in a collective that this one never joins; a normal exit would wait for them.
        os._exit(code)


def run_recipe(
    main: Callable[[ConfigT], None], config_class: type[ConfigT], recipe: str, argv: list[str] | None = None
) -> int:
    """Runs a recipe and returns its exit code, with what went wrong told on standard error of the first process.

    0 done; 2 a mistake the user can mend, told in one message; 1 a defect, with its traceback; 130 interrupted.
    """
    first = int(os.environ.get("RANK", "0")) == 0
    try:
        main(parse_config(config_class, recipe, argv))
    except PlumblineError as error:
        if first:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except (Interrupted, KeyboardInterrupt) as stop:
        if first:
            saved = str(stop) or "Interrupted before the first step or after the last: no checkpoint was needed."
            print(f"\n{saved}\nTo go on, run the same command again: {command_line()}", file=sys.stderr)
        return 130
    except Exception:
        traceback.print_exc()
        print(
            "This is a defect in Plumbline, not in your input. Please report it with the traceback above.",
            file=sys.stderr,
        )
        return 1
    return 0


def command_line() -> str:
    """The command that started this run, as the user typed it."""
    launcher = "accelerate launch" if "ACCELERATE_MIXED_PRECISION" in os.environ else "python"
    return f"{launcher} {shlex.join(sys.argv)}"


class RunFolder:
    """A run folder that this process holds the lock of."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self._lock: int | None = None

    @property
    def finished(self) -> bool:
        """metrics.json is the last file a run writes."""
        return (self.path / "metrics.json").is_file()

    def read_json(self, name: str) -> Any:
        """Content of a JSON file of the folder.

        Raises:
            CheckpointError: it cannot be read.
        """
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{self.path / name} cannot be read: {error}. Start anew with --run.overwrite true."
            ) from None

    def write_json(self, name: str, content: Any) -> None:
        """Writes a JSON file in one rename: it is complete or absent."""
        aside = self.path / f".{name}"
        aside.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(aside, self.path / name)

    def append_metrics(self, event: dict[str, Any]) -> None:
        """Adds one line to metrics.jsonl."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event) + "\n")

    def metrics_log(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a last line torn by a crash is left out."""
        path = self.path / "metrics.jsonl"
        events = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
            try:
                events.append(json.loads(line))
            except ValueError:
                break
        return events

    def rewind_metrics(self, step: int, last_step: int) -> None:
        """Drops the events that will be logged again: those after `step`, and the evaluation of the last step."""
        events = [
            event
            for event in self.metrics_log()
            if event["step"] <= step and not (event["step"] == last_step and "eval_loss" in event)
        ]
        aside = self.path / ".metrics.jsonl"
        aside.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
        os.replace(aside, self.path / "metrics.jsonl")

    def unlock(self) -> None:
        """Lets go of the folder; the end of the process does so too."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def clear(self) -> None:
        """Deletes all that is in the folder."""
        for path in self.path.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != ".lock":
                path.unlink()

    def lock(self) -> None:
        """Holds the folder for this process until `unlock`, or until it ends.

        Raises:
            ConfigError: another process holds it.
        """
        self._lock = os.open(self.path / ".lock", os.O_CREAT | os.O_WRONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.unlock()
            raise ConfigError(
                f"Another process is running in {self.path}. Wait for it, or name another folder with --run.dir."
            ) from None


def find_run_folder(config: Any, recipe: str) -> RunFolder:
    """The run folder of a config, checked but not made: a run that fails its checks leaves nothing behind.

    Raises:
        ConfigError: the folder cannot be written, or holds something else, or a run of another config.
    """
    path = Path(config.run.dir) if config.run.dir else Path("runs") / Path(recipe).stem / default_run_name()
    existing = next(parent for parent in [path, *path.absolute().parents] if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        what = "is a file" if not existing.is_dir() else "cannot be written to"
        raise ConfigError(f"The run folder {path} cannot be made: {existing} {what}. Name another with --run.dir.")
    folder = RunFolder(path)
    if config.run.overwrite or not path.exists() or not any(path.iterdir()):
        return folder
    saved = path / "config.yaml"
    if not saved.is_file():
        raise ConfigError(
            f"{path} is not empty and holds no config.yaml: it is no run folder. Name another with --run.dir."
        )
    refuse_other_config(config, saved)
    return folder


def refuse_other_config(config: Any, saved: Path) -> None:
    """Compares a config with the one a run folder was made with.

    Raises:
        ConfigError: a key differs that must not.
    """
    import yaml

    try:
        before = dict(flatten(yaml.safe_load(saved.read_text(encoding="utf-8"))))
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise ConfigError(f"{saved} cannot be read: {error}. Start anew with --run.overwrite true.") from None
    now = dict(flatten(config_to_dict(config)))
    changed = sorted(
        key for key in before.keys() | now.keys() if key not in RESUMABLE_KEYS and before.get(key) != now.get(key)
    )
    if changed:
        lines = "; ".join(f"{key}: {before.get(key)!r} there, {now.get(key)!r} now" for key in changed)
        raise ConfigError(
            f"{saved.parent} holds a run of another config ({lines}). Go on with the same config, name another "
            "folder with --run.dir, or start anew with --run.overwrite true."
        )


def report_if_finished(folder: RunFolder, config: Any) -> bool:
    """Whether the folder holds this run, finished, with no more steps asked for; if so, prints its result."""
    import yaml

    if config.run.overwrite or not folder.finished:
        return False
    before = yaml.safe_load((folder.path / "config.yaml").read_text(encoding="utf-8"))["training"]
    if any(before[name] != getattr(config.training, name) for name in ("max_steps", "num_train_epochs")):
        return False
    say(f"This run is finished. To train anew: --run.overwrite true, or another --run.dir. {folder.path}")
    print_result(folder, folder.read_json("metrics.json"))
    return True


def print_result(folder: RunFolder, metrics: dict[str, float]) -> None:
    """The figures that matter, on standard output of the first process."""
    if int(os.environ.get("RANK", "0")) != 0:
        return
    shown = [name for name in metrics if name.endswith(("bits_per_byte", "_loss", "_mfu", "_per_second"))]
    for name in shown:
        print(f"{name:<44} {metrics[name]:,.4f}")
    print(f"model  {folder.model}\nreport {folder.path / 'report.html'}")


def say(line: str) -> None:
    """A line for the user, on standard error of the first process."""
    if int(os.environ.get("RANK", "0")) == 0:
        print(line, file=sys.stderr, flush=True)


def open_run_folder(folder: RunFolder, config: Any, rows_per_step: int, data: dict[str, Any]) -> None:
    """Makes the folder or takes it over, and locks it (first process only).

    Args:
        folder: as found.
        config: the resolved config.
        rows_per_step: rows of one optimizer step, over all processes.
        data: content hashes of what the run learns from.

    Raises:
        ConfigError: it cannot be written, another process holds it, or rows_per_step or data differ from the run's.
    """
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.lock()
        if config.run.overwrite:
            folder.clear()
        if (folder.path / "plan.json").is_file():
            before = folder.read_json("plan.json")["rows_per_step"]
            if before != rows_per_step:
                raise ConfigError(
                    f"A step of the run in {folder.path} has {before} rows, now it would have {rows_per_step}: "
                    "processes x per_device_train_batch_size x gradient_accumulation_steps must stay equal."
                )
        if (folder.path / "environment.json").is_file() and folder.read_json("environment.json")["data"] != data:
            raise ConfigError(
                f"The data or tokenizer of the run in {folder.path} has changed since it was started. Restore it, name "
                "another folder with --run.dir, or start anew with --run.overwrite true."
            )
        (folder.path / "metrics.json").unlink(missing_ok=True)
        save_config(config, folder.path / "config.yaml")
        folder.checkpoints.mkdir(exist_ok=True)
        shutil.rmtree(folder.checkpoints / ".incomplete", ignore_errors=True)
    except OSError as error:
        raise ConfigError(
            f"The run folder {folder.path} cannot be written: {error.strerror}. Name another with --run.dir."
        ) from None


def environment(data: dict[str, Any]) -> dict[str, Any]:
    """What environment.json says: versions, git commit, command, hardware, and the given data fingerprints."""
    from importlib.metadata import PackageNotFoundError, version

    import torch

    versions: dict[str, str | None] = {}
    for name in (
        "plumbline",
        "torch",
        "transformers",
        "datasets",
        "accelerate",
        "tokenizers",
        "numpy",
        "huggingface_hub",
    ):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    root = Path(__file__).parents[1]
    hardware: dict[str, Any] = {
        "machine": platform.machine(),
        "processor": _processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": versions,
        "git_commit": _git(root, "rev-parse", "HEAD"),
        "git_changes": bool(_git(root, "status", "--porcelain")),
        "hardware": hardware,
        "data": data,
    }


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


class StopRequest:
    """Turns SIGTERM and Ctrl-C into a wish that training grants after the current step; a second one stops at once."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: Any) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        if int(os.environ.get("RANK", "0")) == 0:
            print("\nStopping after this step, with a checkpoint (again to stop at once).", file=sys.stderr)

    def __call__(self) -> bool:
        return self.requested
