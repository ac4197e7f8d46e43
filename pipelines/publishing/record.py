"""All that a run folder says of its run, read once, for a card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from pipelines.errors import CheckpointError
from pipelines.pretrained import SCHEME, package_of
from pipelines.publishing.own_text import own_text
from pipelines.run_folder import RunFolder

RepoType = Literal["model", "dataset"]
PUBLISHED = "published.json"  # where the model of a run folder is on the Hub


@dataclass(frozen=True)
class Base:
    """A checkpoint that a run went on from, as far as it is known without asking the Hub.

    Attributes:
        shown: what a card calls it.
        hub_id: where it is on the Hub.
        licenses: ids of its own licence, and of those of the models that it was made from.
        data_licenses: ids of the licences of the data that it was trained on.
        unknown: repositories of models and data sets whose licence only the Hub knows.
        is_quantized: its weights here are not those on the Hub.
    """

    shown: str
    hub_id: str | None
    licenses: tuple[str, ...] = ()
    data_licenses: tuple[str, ...] = ()
    unknown: tuple[tuple[str, RepoType], ...] = ()
    is_quantized: bool = False


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
    proofs: dict[str, Any]
    metrics: Mapping[str, float]
    shows_rows: bool = True
    """Whether rows of the data may be shown."""

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

    @property
    def own_text(self) -> str:
        """What the author wrote into the card of the model folder."""
        card = self.model / "README.md"
        return (own_text(card.read_text(encoding="utf-8")) if card.is_file() else None) or ""

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
    def bases(self) -> list[Base]:
        """The checkpoints that training went on from: none, one, or an encoder and a decoder."""
        return bases_of(self.config.get("model", {}), self.environment["local_models"])

    @property
    def base(self) -> Base | None:
        """The checkpoints in one: None if training began with random weights."""
        if not self.bases:
            return None
        return (
            self.bases[0]
            if len(self.bases) == 1
            else replace(self.bases[0], shown=" and ".join(base.shown for base in self.bases))
        )


def bases_of(model: Mapping[str, Any], local: Sequence[str] | None = None) -> list[Base]:
    """What is known here of the checkpoints that a section `model` names.

    Args:
        model: the section.
        local: those of its names that are folders; None: as is found now.

    Raises:
        ConfigError: a package is none.
    """
    names = [model[key] for key in ("name", "decoder_name") if model.get(key) is not None]
    return [_base(name, Path(name).expanduser().is_dir() if local is None else name in local) for name in names]


def _base(name: str, is_local: bool) -> Base:
    if name.startswith(SCHEME):
        package = package_of("model.name", name)
        is_quantized = package.gguf_file is not None
        shown = f"a quantized copy of {package.hub_id}" if is_quantized else package.hub_id
        return Base(shown, package.hub_id, (package.license,), is_quantized=is_quantized)
    if not is_local:
        return Base(name, name, unknown=((name, "model"),))
    folder = Path(name).expanduser()
    is_run = (folder / "config.yaml").is_file()
    licenses = license_ids(front_matter((folder / "model" if is_run else folder) / "README.md").get("license"))
    if not is_run:
        return Base("a local checkpoint", None, licenses)
    run = read_record(folder, metrics={})
    data = license_ids(run.source["license"])
    asked = [] if data else [(repo_id, "dataset") for repo_id in run.source["hub_datasets"]]
    return Base(
        "a local checkpoint",
        run.pushed.get("repo_id"),
        (*licenses, *(one for base in run.bases for one in base.licenses)),
        (*data, *(one for base in run.bases for one in base.data_licenses)),
        (*asked, *(one for base in run.bases for one in base.unknown)),  # type: ignore[arg-type]
    )


def license_ids(stated: Any) -> tuple[str, ...]:
    """The licence ids of a card's metadata, or of a text that parts them by commas."""
    if stated is None:
        return ()
    return tuple(map(str, stated)) if isinstance(stated, list) else tuple(str(stated).split(", "))


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
        environment=read("environment.json", "recipe", "versions", "local_models"),
        plan=read("plan.json"),
        receipt=receipt,
        analysis=read("analysis.json"),
        energy=read("energy.json"),
        proofs=read("proof.json"),
        metrics=run.read_json("metrics.json") if metrics is None else metrics,
    )


def front_matter(card: Path) -> dict[str, Any]:
    """The metadata of a card; empty where there is none that can be read."""
    from huggingface_hub.repocard import metadata_load

    try:
        return (metadata_load(card) if card.is_file() else None) or {}
    except (ValueError, yaml.YAMLError):
        return {}
