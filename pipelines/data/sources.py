"""Where the rows come from: the one source that the `data` section names, opened but not read."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines.checking import refuse
from pipelines.data.builders import build
from pipelines.data.card_schema import BUILDER_SCHEME, SPLITS, CardConfig
from pipelines.data.cards import DataCard, load_card
from pipelines.data.columns import check_mapping
from pipelines.data.files import SourceFile, as_source, find_files, one_format
from pipelines.data.remote import fetch_files, is_remote, load_hub_dataset
from pipelines.errors import CardError, ConfigError
from pipelines.sections import SourceConfig

if TYPE_CHECKING:
    import datasets


HUB_DATASET = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+?)(?:@[^/]+)?/")


@dataclass(frozen=True)
class Source:
    """Splits before they are read: the files of each, or a Hub dataset."""

    name: str
    """Card name, Hub id or stem of the first training file."""
    splits: dict[str, "list[SourceFile] | datasets.Dataset"]
    """In the order of SPLITS."""
    card: DataCard | None = None
    chosen: CardConfig | None = None
    """The card's config that is used."""
    builder_receipt: dict[str, Any] | None = None
    config_name: str | None = None
    """Of a dataset of the Hub."""
    paths: list[str] | None = None
    """Of files, as they were stated."""

    @property
    def record(self) -> dict[str, Any]:
        """What receipts say of it."""
        return source_record(self.name, self.card, self.chosen, self.config_name, self.paths)

    @property
    def shown(self) -> dict[str, list[str]]:
        """What each split is read from, for receipts."""
        return {
            split: [file.shown for file in found] if isinstance(found, list) else [f"{self.name}: {split}"]
            for split, found in self.splits.items()
        }


def source_record(
    name: str, card: DataCard | None, chosen: CardConfig | None, config_name: str | None, paths: Sequence[str] | None
) -> dict[str, Any]:
    """What is known of a source without reading it: names, and licence and languages as far as its card states them.

    Args:
        name: as in Source.
        card, chosen: its card, and the card's config, if it has one.
        config_name: of a dataset of the Hub.
        paths: files as they are stated; None: the name is that of a dataset of the Hub.
    """
    paths = paths if chosen is None else [path for found in chosen.data_files.values() for path in found]
    linked = sorted({match[1] for path in paths or () if (match := HUB_DATASET.match(path))})
    known = [path for path in paths or () if HUB_DATASET.match(path) or path.startswith(BUILDER_SCHEME)]
    return {
        "name": name,
        "pretty_name": name if card is None else card.pretty_name,
        "license": None if card is None else card.license,
        "license_name": None if card is None else card.license_name,
        "language": [] if card is None else list(card.language),
        "hub_datasets": [name] if paths is None else linked,
        "config_name": config_name if chosen is None else chosen.name,
        "has_own_files": len(known) < len(paths or ()),  # which are neither on the Hub nor made by a builder
    }


def stated_source(config: SourceConfig) -> dict[str, Any]:
    """What `Source.record` will say of a source that is not opened yet.

    Raises:
        CardError, ConfigError: the source is not one.
    """
    check_source(config)
    if config.card:
        card = load_card(config.card)
        return source_record(card.name, card, card.config(config.config_name), None, [])
    return source_record(config.name or "files", None, None, config.config_name, _stated_paths(config))


def _stated_paths(config: SourceConfig) -> list[str] | None:
    """The paths of data.files; None where the data is a dataset of the Hub."""
    if config.name is not None:
        return None
    stated = [config.files.train, config.files.validation, config.files.test]
    return [path for paths in stated if paths for path in ([paths] if isinstance(paths, str) else paths)]


def check_source(config: SourceConfig) -> None:
    """Checks the section by itself. Raises ConfigError for no source, several, or an odd setting."""
    files = config.files
    given = [key for key, value in (("card", config.card), ("name", config.name), ("files", files.train)) if value]
    if not files.train and (files.validation or files.test):
        raise ConfigError("data.files has validation or test files but no training files. Set --data.files.train.")
    if len(given) != 1:
        found = " and ".join(f"data.{key}" for key in given) or "none"
        raise ConfigError(f"Expected one source of data, data.card, data.name or data.files.train; found {found}.")
    if config.revision and not config.name:
        refuse(ConfigError("data.revision is that of a Hub dataset and needs data.name. Remove it."))
    if config.config_name and files.train:
        refuse(ConfigError("data.config_name is that of a card or Hub dataset; files have none. Remove it."))
    check_mapping(config.columns)


def open_source(config: SourceConfig, roles: Sequence[str]) -> Source:
    """The source that a section names: card read, files found and downloaded if need be, none of them read.

    Args:
        config: the data section.
        roles: what a card must give a column, unless data.columns replaces its mapping.

    Raises:
        CardError, ConfigError, DataError, HubError: the source is not one, or cannot be had.
    """
    check_source(config)
    if config.card:
        card = load_card(config.card)
        chosen = card.config(config.config_name)
        missing = [role for role in roles if role not in chosen.roles.values()]
        if missing and not config.columns:
            raise CardError(
                f"The card {card.path} gives no column the role {missing[0]!r}, which this recipe reads. Its roles: "
                f"{chosen.roles}. Add one to col_mapping, or set --data.columns."
            )
        return _open_card(card, chosen)
    if config.name:
        loaded = load_hub_dataset(config.name, config.config_name, config.revision)
        splits = {split: loaded[split] for split in SPLITS if split in loaded}
        return Source(config.name, splits, config_name=config.config_name)
    given = {"train": config.files.train, "validation": config.files.validation, "test": config.files.test}
    files = {split: _resolve(paths, f"data.files.{split}") for split, paths in given.items() if paths}
    name = files["train"][0].shown.rsplit("/", 1)[-1].split(".")[0]
    return Source(name, dict(files), paths=_stated_paths(config))


def _open_card(card: DataCard, chosen: CardConfig) -> Source:
    files = {split: card_files(card, chosen, split) for split in SPLITS if split in chosen.data_files}
    receipt = None
    for found in files.values():
        beside = found[0].path.parent / "receipt.json"
        if found[0].shown.startswith(BUILDER_SCHEME) and beside.is_file():
            receipt = json.loads(beside.read_text(encoding="utf-8"))
    return Source(card.name, dict(files), card, chosen, receipt)


def card_files(card: DataCard, chosen: CardConfig, split: str) -> list[SourceFile]:
    """The files of a split of a card's config, built or downloaded if need be.

    Raises:
        CardError, DataError, HubError: they cannot be had.
    """
    files: list[SourceFile] = []
    for path in chosen.data_files[split]:
        if path.startswith(BUILDER_SCHEME):
            builder, built_split = path.removeprefix(BUILDER_SCHEME).split("/")
            built = build(builder)
            if built_split not in built:
                raise CardError(f"{card.path}: builder {builder!r} makes no split {built_split!r}: {path}.")
            parquet = built[built_split]
            # Not its path: receipts are published, and a cache lies in somebody's home folder.
            files.append(as_source(parquet, f"{path} ({parquet.name})", parquet.name))
        else:
            found = _resolve(path, f"{split} of the card {card.path}")
            # By the folder of the card: its own path may lead through somebody's home.
            files += [replace(file, shown=_beside(file, card)) for file in found]
    return one_format(files, f"{split} of the card {card.path}")


def _beside(file: SourceFile, card: DataCard) -> str:
    folder = card.path.parent
    return file.shown.replace(f"{folder}/", f"{folder.name}/", 1) if file.shown.startswith(f"{folder}/") else file.shown


def _resolve(paths: str | Sequence[str], key: str) -> list[SourceFile]:
    found: list[SourceFile] = []
    for path in [paths] if isinstance(paths, str) else paths:
        found += fetch_files(path, key) if is_remote(path) else find_files(path, key)
    return one_format(found, key)
