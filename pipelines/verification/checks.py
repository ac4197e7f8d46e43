"""What a verification finds: a check, its result, and the run that it is of."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from pipelines.errors import CheckpointError
from pipelines.run_folder import RunFolder
from pipelines.training import checkpoints

STEP = {"step", "loss", "grad_norm"}  # keys of a line of steps.jsonl
Result = Literal["holds", "fails", "left out"]


@dataclass(frozen=True)
class Check:
    """One line of the result.

    Attributes:
        name: what is checked.
        result: whether it holds; left out: it could not be checked, or was not to be.
        detail: what was compared, or what is wrong.
    """

    name: str
    result: Result
    detail: str


@dataclass(frozen=True)
class Run:
    """The files of a finished run that verification reads; an absent one is empty."""

    folder: RunFolder
    config: dict[str, Any]
    environment: dict[str, Any]
    plan: dict[str, Any]
    receipt: dict[str, Any]
    metrics: dict[str, float]

    @property
    def path(self) -> Path:
        """Of the folder."""
        return self.folder.path

    @property
    def recipe(self) -> str:
        """Name of the script that made the run."""
        return str(self.environment["recipe"])

    @property
    def trains_by_steps(self) -> bool:
        """Whether it is a run of one of the recipes that train a model by optimizer steps, with checkpoints."""
        return self.recipe.startswith(("pretrain_", "finetune_"))

    @cached_property
    def steps(self) -> list[dict[str, Any]]:
        """The lines of steps.jsonl that tell of a step."""
        return [one for one in self.folder.steps_log() if isinstance(one, dict) and one.keys() >= STEP]

    @property
    def last_step(self) -> int:
        """The optimizer step that training ended with."""
        return int(self.metrics["train_steps"])

    @cached_property
    def checkpoints(self) -> dict[Path, str | None]:
        """Every checkpoint, the newest first, with what is wrong with it."""
        found = checkpoints.list_checkpoints(self.folder.checkpoints)
        return {checkpoint: checkpoints.damage(checkpoint) for checkpoint in found}

    def newest_whole(self, before: int | None = None) -> Path | None:
        """The newest undamaged checkpoint, of a step before `before` if that is given."""
        whole = (checkpoint for checkpoint, damage in self.checkpoints.items() if damage is None)
        return next((one for one in whole if before is None or checkpoints.step_of(one) < before), None)


def read_run(folder: RunFolder) -> Run:
    """The run of a finished folder.

    Raises:
        CheckpointError: a file is damaged, or an older version of Plumbline wrote the run.
    """

    def read(name: str, *keys: str) -> dict[str, Any]:
        content = folder.read_json(name, *keys) if keys or (folder.path / name).is_file() else {}
        if not isinstance(content, dict):
            raise CheckpointError(
                f"{folder.path / name} holds no map of names: it was changed. Restore it from a copy."
            )
        return content

    try:
        config = yaml.safe_load((folder.path / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise CheckpointError(f"{folder.path / 'config.yaml'} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{folder.path / 'config.yaml'} holds no config: it is not the one that the run wrote.")
    run = Run(
        folder=folder,
        config=config,
        environment=read("environment.json", "recipe", "versions", "data"),
        plan=read("plan.json"),
        receipt=read("receipt.json"),
        metrics=read("metrics.json"),
    )
    if run.trains_by_steps:
        folder.read_json("plan.json", "rows_per_step", "processes", "cpu_threads", "steps", "rows", "train_blocks")
        if not isinstance(run.metrics.get("train_steps"), int):
            raise CheckpointError(
                f"{folder.path / 'metrics.json'} does not tell train_steps, a number: it was changed."
            )
    return run
