"""A trial: a run of the recipe in a process and a folder of its own."""

import fcntl
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import CheckpointError, TrainingError
from pipelines.recipe_process import start_recipe, told_error
from pipelines.run import say
from pipelines.run_folder import RunFolder

_LOCK_SECONDS = 0.2


class TrialProcess:
    """A recipe that runs beside this process, and is asked to stop if this process ends.

    Args:
        command: program and arguments.
        log: file that what it says is added to.
        device: number of the GPU that it may use; None: as this process.
    """

    def __init__(self, command: list[str], log: Path, device: str | None = None) -> None:
        self._stopping = False
        with log.open("ab") as stream:
            self._process = start_recipe(
                command,
                device,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the sweep alone, which stops its trials once
            )

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Asks it to write a checkpoint and end; a second call does nothing, since that would stop it at once."""
        if not self._stopping:
            self._stopping = True
            self._process.terminate()

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return self._process.wait()


def is_locked(run: Path) -> bool:
    """Whether a process writes to a run folder."""
    lock = run / ".lock"
    if not lock.is_file():
        return False
    with lock.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


@dataclass(frozen=True)
class TrialFolder:
    """The files of a trial: trials/<number>/, the run folder; <number>.yaml, its config; <number>.log, what it said."""

    sweep: Path
    name: str

    @property
    def run(self) -> RunFolder:
        """The run folder."""
        return RunFolder(self.sweep / self.name)

    @property
    def config(self) -> Path:
        """The config of the recipe."""
        return self.sweep / f"{self.name}.yaml"

    @property
    def log(self) -> Path:
        """What the recipe said."""
        return self.sweep / f"{self.name}.log"

    def command(self, recipe: Path) -> list[str]:
        """What runs it."""
        return [sys.executable, str(recipe), "--config", str(self.config), "--run.dir", str(self.run.path)]

    def wait_until_free(self) -> None:
        """Waits for a process that still writes to the run folder: that of a sweep which was killed."""
        told = False
        while is_locked(self.run.path):
            if not told:
                say(f"Waiting for the process that writes to {self.run.path}")
                told = True
            time.sleep(_LOCK_SECONDS)

    def evaluations(self, metrics: tuple[str, ...]) -> list[tuple[int, float]]:
        """(step, figure) of the evaluations on the way so far, the last step of the run not among them."""
        if not (self.run.path / "plan.json").is_file():
            return []
        try:
            last = self.run.read_json("plan.json", "steps")["steps"]
        except CheckpointError:
            return []
        found: dict[int, float] = {}
        for event in self.run.metrics_log():
            name = next((one for one in metrics if f"eval_{one}" in event), None)
            if name is not None and event["step"] < last:
                found.setdefault(event["step"], float(event[f"eval_{name}"]))
        return sorted(found.items())

    def figure(self, metrics: tuple[str, ...]) -> tuple[str, float]:
        """Name and value of what decides, of a finished run: the first of `metrics` that it has.

        Raises:
            TrainingError: it has none of them.
        """
        measured = self.run.read_json("metrics.json")
        for name in metrics:
            if f"eval_{name}" in measured:
                return name, float(measured[f"eval_{name}"])
        known = [one.removeprefix("eval_") for one in measured if one.startswith("eval_")]
        raise TrainingError(
            f"{self.run.path} has no figure eval_{metrics[0]}. Set --sweep.metric to one that it has "
            f"({', '.join(known)}), with --run.overwrite true."
        )

    def train_seconds(self) -> float | None:
        """Seconds of training so far, over all starts of the run; None if the recipe does not tell them."""
        measured = self.run.read_json("metrics.json") if self.run.finished else {}
        told = [one["train_seconds"] for one in (*self.run.metrics_log(), measured) if "train_seconds" in one]
        return float(told[-1]) if told else None

    def failure(self, code: int) -> str:
        """What went wrong, in a line: the last error that the recipe told."""
        said = self.log.read_text(encoding="utf-8", errors="replace") if self.log.is_file() else ""
        ended = "" if code >= 0 else f" (ended by signal {-code})"
        return told_error(said).replace(str(self.run.path), "the run folder") + ended

    def drop_weights(self) -> None:
        """Deletes checkpoints and model, which a trial that is done and not the best needs no more."""
        for part in (self.run.checkpoints, self.run.model):
            shutil.rmtree(part, ignore_errors=True)
