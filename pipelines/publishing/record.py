"""All that a run folder says of its run, read once, for a card."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import CheckpointError
from pipelines.pretrained import PACKAGES, SCHEME
from pipelines.run_folder import RunFolder

PUBLISHED = "published.json"  # where the model of a run folder is on the Hub


@dataclass(frozen=True)
class Base:
    """The checkpoint that a run went on from."""

    shown: str
    hub_id: str | None
    license: str | None
    """Ids parted by commas, as far as they are known without asking the Hub."""


@dataclass(frozen=True)
class Record:
    """The files of a run folder; an absent one is an empty map."""

    folder: Path
    config: dict[str, Any]
    environment: dict[str, Any]
    plan: dict[str, Any]
    receipt: dict[str, Any]
    analysis: dict[str, Any]
    energy: dict[str, Any]
    metrics: Mapping[str, float]

    @property
    def source(self) -> dict[str, Any]:
        """What the receipt says of the data's source."""
        source: dict[str, Any] = self.receipt["source"]
        return source

    @property
    def split(self) -> str:
        """The split that the scores are of."""
        return str(self.config["evaluation"].get("split", "validation"))

    @property
    def recipe(self) -> str:
        """Name of the script that made the run."""
        return str(self.environment["recipe"])

    @property
    def model(self) -> Path:
        """The model folder."""
        return self.folder / "model"

    @cached_property
    def task(self) -> str | None:
        """Key of the task that the model was fine-tuned for, if it was."""
        written = self.model / "plumbline.json"
        return str(json.loads(written.read_text(encoding="utf-8"))["task"]) if written.is_file() else None

    @cached_property
    def architecture(self) -> str | None:
        """Model type of transformers, if it is one."""
        written = self.model / "config.json"
        if "model" not in self.config or not written.is_file():
            return None
        return str(json.loads(written.read_text(encoding="utf-8"))["model_type"])

    @cached_property
    def pushed(self) -> dict[str, Any]:
        """What published.json says of the last push; empty if there was none."""
        written = self.folder / PUBLISHED
        return RunFolder(self.folder).read_json(PUBLISHED, "repo_id", "commit") if written.is_file() else {}

    @cached_property
    def base(self) -> Base | None:
        """The checkpoint that training went on from; None: it began with random weights."""
        return base_of(self.config.get("model", {}).get("name"))


def base_of(name: str | None) -> Base | None:
    """What is known here of the checkpoint that a config names as model.name."""
    if name is None:
        return None
    if name.startswith(SCHEME):
        package = PACKAGES[name.removeprefix(SCHEME)]
        return Base(package.hub_id, package.hub_id, package.license)
    folder = Path(name).expanduser()
    if not folder.exists() and not name.startswith(("/", ".", "~")) and name.count("/") <= 1:
        return Base(name, name, None)
    is_run = (folder / "model").is_dir()
    pushed = folder / PUBLISHED
    told = json.loads(pushed.read_text(encoding="utf-8")) if pushed.is_file() else {}
    card = (folder / "model" if is_run else folder) / "README.md"
    return Base("a local checkpoint", told.get("repo_id"), license_ids(front_matter(card).get("license")))


def license_ids(stated: Any) -> str | None:
    """The licence ids of a card's metadata, parted by commas."""
    return ", ".join(map(str, stated)) if isinstance(stated, list) else stated


def read_record(folder: Path, metrics: Mapping[str, float] | None = None) -> Record:
    """The record of a run.

    Args:
        folder: the run folder.
        metrics: final figures; default those of metrics.json.

    Raises:
        CheckpointError: a file is damaged, or an older version of Plumbline wrote the run.
    """
    run = RunFolder(folder)

    def read(name: str, *keys: str) -> dict[str, Any]:
        return dict(run.read_json(name, *keys)) if keys or (folder / name).is_file() else {}

    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise CheckpointError(f"{folder / 'config.yaml'} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict) or not isinstance(config.get("data"), dict):
        raise CheckpointError(f"{folder / 'config.yaml'} is not the config of a run: it has no section data.")
    receipt = read("receipt.json", "source", "train")
    if not isinstance(receipt["source"], dict):
        raise CheckpointError(f"{folder / 'receipt.json'} does not tell of the source of the data: it was changed.")
    return Record(
        folder=folder,
        config=config,
        environment=read("environment.json", "recipe", "versions"),
        plan=read("plan.json"),
        receipt=receipt,
        analysis=read("analysis.json"),
        energy=read("energy.json"),
        metrics=run.read_json("metrics.json") if metrics is None else metrics,
    )


def front_matter(card: Path) -> dict[str, Any]:
    """The metadata of a card; empty where there is none that can be read."""
    from huggingface_hub.repocard import metadata_load

    try:
        return (metadata_load(card) if card.is_file() else None) or {}
    except (ValueError, yaml.YAMLError):
        return {}
