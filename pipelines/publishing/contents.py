"""What of a run folder is pushed: copied into a folder that looks as the repository will."""

import json
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import CheckpointError, ConfigError
from pipelines.publish_sections import PublishConfig
from pipelines.publishing.leaks.reading import ABSOLUTE_PATH, EMAIL
from pipelines.publishing.leaks.search import Leak, find_leaks, hide, is_text
from pipelines.publishing.metadata import base_ids
from pipelines.publishing.record import Base, Record
from pipelines.run import say

CARD = "README.md"
RECORDS = (
    "config.yaml",
    "environment.json",
    "plan.json",
    "receipt.json",
    "metrics.json",
    "metrics.jsonl",
    "proof.json",
    "energy.json",
)
NOT_OF_ADAPTERS = re.compile(r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?|generation_config\.json")
UNSAFE = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5", ".msgpack")  # may run code when they are read
SHOWN_LEAKS = 20
PERSONAL = (ABSOLUTE_PATH, EMAIL)


@dataclass(frozen=True)
class Staged:
    """A folder that looks as the repository will; the card is pushed after all else."""

    folder: Path

    @property
    def files(self) -> dict[str, Path]:
        """Path in the repository -> file, sorted."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in paths}

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(path.stat().st_size for path in self.files.values())


def stage_model(record: Record, publish: PublishConfig, folder: Path) -> Staged:
    """Copies the model, or its adapter alone, and the records of the run; large files as hard links.

    Args:
        record: of the run.
        publish: what is wanted.
        folder: is made.

    Raises:
        ConfigError: an adapter is wanted and there is none, or its base model is not on the Hub.
        CheckpointError: the model folder is empty, or has weights that may run code.
    """
    model, shared = record.model, check_model(record)
    if publish.weights == "adapter":
        _stage_adapter(record, publish, folder)
        shared = [path for path in shared if not NOT_OF_ADAPTERS.fullmatch(path.name)]
    for path in shared:
        if path.parent != model / "adapter":
            _link(path, folder / path.relative_to(model))
    if publish.records:
        names = [name for name in RECORDS if (record.folder / name).is_file()]
        names += ["report.html"] if record.shows_rows else []
        for name in names:
            _link(record.folder / name, folder / "run" / name)
    if publish.checkpoints:
        for path in _files(record.folder / "checkpoints"):
            _link(path, folder / path.relative_to(record.folder))
    return Staged(folder)


def check_model(record: Record) -> list[Path]:
    """The files of the model folder but its card.

    Raises:
        CheckpointError: it holds no weights (of a tokenizer: nothing), or some that may run code.
    """
    model = record.model
    files = [path for path in _files(model) if path != model / CARD]
    has_weights = any(path.suffix == ".safetensors" for path in files) or not {"model", "embeddings"} & set(
        record.config
    )
    if not files or not has_weights:
        raise CheckpointError(f"{model} holds no model: the run has not finished, or the folder was emptied.")
    unsafe = [path for path in files if path.suffix in UNSAFE]
    if unsafe:
        raise CheckpointError(f"{unsafe[0]} may run code when it is read. Only safetensors are pushed: delete it.")
    return files


def _stage_adapter(record: Record, publish: PublishConfig, folder: Path) -> None:
    adapter = record.model / "adapter"
    if not adapter.is_dir():
        raise ConfigError(
            f"publish.weights is adapter, but the run in {record.folder} was not trained with LoRA (lora.r)."
        )
    check_adapter_base(publish, record.bases)
    for path in _files(adapter):
        _link(path, folder / path.relative_to(adapter))
    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    if settings.get("trainable_token_indices"):
        raise ConfigError(
            "publish.weights is adapter, but the run added tokens to the vocabulary of its base model, which others "
            "would load without them. Push it whole: --publish.weights merged."
        )
    settings["base_model_name_or_path"] = base_ids(record.bases, publish)[0]
    settings["revision"] = record.config["model"]["revision"] if publish.base_model is None else None
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")


def check_adapter_base(publish: PublishConfig, bases: Sequence[Base]) -> None:
    """Raises ConfigError if an adapter would not find its base model on the Hub."""
    if bases and bases[0].is_quantized:
        raise ConfigError(
            f"publish.weights is adapter, but it was trained on {bases[0].shown}: on the Hub's weights it would "
            "compute something else. Push it whole: --publish.weights merged."
        )
    if publish.base_model is None and (not bases or bases[0].hub_id is None):
        raise ConfigError(
            "publish.weights is adapter, which others load onto its base model, but model.name is a local checkpoint. "
            "State where on the Hub it is with --publish.base_model user/name."
        )


def refuse_leaks(staged: Staged, hidden: bool) -> None:
    """Searches everything that would leave for tokens, keys, paths of this machine and e-mail addresses.

    Args:
        staged: where `hidden` is set, its text files are changed.
        hidden: replace what can be replaced.

    Raises:
        ConfigError: names what was found, and where.
    """
    leaks = find_leaks(staged.files)
    if hidden:
        for name in dict.fromkeys(leak.file for leak in leaks if leak.can_be_hidden):
            path = staged.files[name]
            if is_text(path):
                path.write_text(hide(path.read_text(encoding="utf-8"), name), encoding="utf-8")
        say(f"{sum(leak.can_be_hidden for leak in leaks):,} paths and addresses are pushed as (hidden).")
        leaks = find_leaks(staged.files)
    if leaks:
        raise ConfigError(leak_message(leaks))


def leak_message(leaks: list[Leak]) -> str:
    """What was found and what to do."""
    lines = [f"  {leak.file}, line {leak.line:,}: {leak.kind}: {leak.found}" for leak in leaks[:SHOWN_LEAKS]]
    more = [f"  and {len(leaks) - SHOWN_LEAKS:,} more"] if len(leaks) > SHOWN_LEAKS else []
    advice = []
    if any(leak.can_be_hidden for leak in leaks):
        advice.append("To push paths and addresses as (hidden): --publish.hide true.")
    if any(leak.kind not in PERSONAL for leak in leaks):
        advice.append("A token or key that was written down should be revoked where it was made, and taken out.")
    if any(leak.kind in PERSONAL and not leak.can_be_hidden for leak in leaks):
        advice.append("An entry of a vocabulary was learnt from the data: take it out there, and train anew.")
    if any(leak.file.startswith("run/") for leak in leaks):
        advice.append("To leave the records of the run out: --publish.records false.")
    return "\n".join(["Nothing was pushed: this must not leave the machine:", *lines, *more, *advice])


def _files(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _link(path: Path, target: Path) -> None:
    """A copy; of weights a hard link, which must not be written to."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        with suppress(OSError):  # another disk, or one without links
            os.link(path, target)
            return
    shutil.copy2(path, target)
