"""Running the recipe of a run again, from one of its checkpoints, in a scratch copy of its folder."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import ConfigError
from pipelines.recipe_process import start_recipe, told_error
from pipelines.run_folder import RunFolder
from pipelines.training import best, checkpoints
from pipelines.verification.checks import Run

# What a run that goes on reads. Plan and environment are left out: by them it would refuse other data without naming
# what differs; it writes its own, to compare.
RECORDS = ("config.yaml", "metrics.jsonl")
# What a second run need not do, and what follows from the machine.
FLAGS = (
    *("--run.measure_energy", "false", "--run.country_iso_code", "null"),
    *("--proof.enabled", "false", "--training.report_to", "none"),
)
ALONE = ("--evaluation.seeds", "1", "--evaluation.folds", "null")  # the main run of several


@dataclass(frozen=True)
class Again:
    """A run that was computed again, as far as it was to come.

    Attributes:
        folder: the scratch copy.
        refusal: why it did not come so far; None if it did.
    """

    folder: RunFolder
    refusal: str | None


@contextmanager
def computed_again(run: Run, recipes: Path, checkpoint: Path | None, stop_at_step: int | None) -> Iterator[Again]:
    """Goes on from a checkpoint in a scratch folder beside the run folder, which is deleted at the end.

    Args:
        run: is not changed.
        recipes: folder of the recipes.
        checkpoint: to go on from; None: from the start.
        stop_at_step: step to stop after; None: to the end, with figures and model.

    Raises:
        ConfigError: the scratch folder cannot be made.
    """
    beside = run.path.absolute().parent
    try:
        scratch = tempfile.TemporaryDirectory(prefix=".verify-", dir=beside if os.access(beside, os.W_OK) else None)
    except OSError as error:
        raise ConfigError(f"No scratch folder can be made in {beside}: {error.strerror}. Make room there.") from None
    with scratch as place:
        folder = RunFolder(Path(place) / run.path.absolute().name, run.recipe)
        lacks = _lacks(run)
        if lacks is not None:
            yield Again(folder, lacks)
            return
        _copy(run, checkpoint, folder)
        flags = ["--config", str(folder.path / "config.yaml"), "--run.dir", str(folder.path), *FLAGS]
        flags += ["--run.threads", str(run.plan["cpu_threads"])]
        flags += ALONE if "seeds" in run.config["evaluation"] else ()
        flags += () if stop_at_step is None else ("--run.stop_at_step", str(stop_at_step))
        told = run_recipe_again(recipes / f"{run.recipe}.py", flags, run.plan["processes"])
        came = folder.finished if stop_at_step is None else _is_whole(folder.checkpoints / f"checkpoint-{stop_at_step}")
        yield Again(folder, None if came else told_error(told))


def run_recipe_again(script: Path, flags: list[str], processes: int) -> str:
    """Runs a recipe in processes of its own, in the folder that this one was started in; what it told.

    They are asked to stop if this process ends, even by kill -9: else they would train on for nobody.
    """
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, str(script), *flags]
    with start_recipe(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            return str(process.communicate()[1])
        except BaseException:
            process.terminate()
            raise


def _lacks(run: Run) -> str | None:
    """What the recipe would need of the run that is not there."""
    absent = [f"{name} is missing" for name in RECORDS if not (run.path / name).is_file()]
    if not isinstance(run.config.get("evaluation"), dict):
        absent.append("config.yaml has no section 'evaluation'")
    return "; ".join(absent) or None


def _copy(run: Run, checkpoint: Path | None, folder: RunFolder) -> None:
    folder.checkpoints.mkdir(parents=True)
    for name in RECORDS:
        shutil.copy(run.path / name, folder.path / name)
    if checkpoint is None:
        return
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file():
            _link(path, folder.checkpoints / path.relative_to(run.folder.checkpoints))
    for name in (best.WEIGHTS, best.HISTORY):
        if (run.folder.checkpoints / name).is_file():
            _link(run.folder.checkpoints / name, folder.checkpoints / name)


def _link(path: Path, into: Path) -> None:
    """A hard link, or a copy where there can be none. A run replaces such files as a whole, or only reads them."""
    into.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, into)
    except OSError:
        shutil.copy(path, into)


def _is_whole(checkpoint: Path) -> bool:
    return checkpoint.is_dir() and checkpoints.damage(checkpoint) is None
