"""Where the documents come from: the one source that the `data` section names, as a reader for each split."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.data.builders import build
from pipelines.data.card_schema import BUILDER_SCHEME, SPLITS, DrawnSplit
from pipelines.data.cards import DataCard, load_card
from pipelines.data.columns import TextColumn, check_mapping, check_string
from pipelines.data.files import SourceFile, as_source, find_files, one_format
from pipelines.data.readers import BATCH_ROWS, read_texts
from pipelines.data.remote import fetch_files, is_remote, load_hub_dataset
from pipelines.errors import CardError, ConfigError
from pipelines.sections import CorpusConfig

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa


@dataclass(frozen=True)
class Source:
    """A corpus before it is read. `splits` holds functions that yield a text column as Arrow arrays."""

    name: str
    splits: dict[str, Callable[[], Iterator["pa.Array"]]]
    files: dict[str, list[str]]
    drawn: DrawnSplit
    card: DataCard | None = None
    rows: dict[str, int] | None = None  # that the card states
    builder_receipt: dict[str, Any] | None = None


def check_config(config: CorpusConfig) -> None:
    """Checks the section by itself. Raises ConfigError for no source, several, or an odd setting."""
    files = config.files
    given = [key for key, value in (("card", config.card), ("name", config.name), ("files", files.train)) if value]
    if not files.train and (files.validation or files.test):
        raise ConfigError("data.files has validation or test files but no training files. Set --data.files.train.")
    if len(given) != 1:
        found = " and ".join(f"data.{key}" for key in given) or "none"
        raise ConfigError(f"Expected one source of data, data.card, data.name or data.files.train; found {found}.")
    if config.revision and not config.name:
        raise ConfigError("data.revision is that of a Hub dataset and needs data.name. Remove it.")
    if config.config_name and files.train:
        raise ConfigError("data.config_name is that of a card or Hub dataset; files have none. Remove it.")
    if not 0 < config.validation_share < 1:
        raise ConfigError(
            f"data.validation_share is {config.validation_share}; expected a share between 0 and 1, such as 0.01."
        )
    if config.max_train_documents is not None and config.max_train_documents < 1:
        raise ConfigError(f"data.max_train_documents is {config.max_train_documents}; expected 1 or more, or null.")
    check_mapping(config.columns)


def open_source(config: CorpusConfig) -> Source:
    """The source that a checked section names: card read, files found and downloaded if need be, none of them read.

    Raises:
        CardError, ConfigError, DataError, HubError: as `load_corpus`.
    """
    if config.card:
        return _open_card(load_card(config.card), config)
    drawn = DrawnSplit(config.split_method, config.validation_share, config.split_seed)
    choose = TextColumn(config.columns, card=None)
    if config.name:
        loaded = load_hub_dataset(config.name, config.config_name, config.revision)
        splits = {split: _hub_reader(loaded[split], choose, config.name) for split in SPLITS if split in loaded}
        return Source(config.name, splits, {split: [f"{config.name}: {split}"] for split in splits}, drawn)
    given = {"train": config.files.train, "validation": config.files.validation, "test": config.files.test}
    files = {split: _resolve(paths, f"data.files.{split}") for split, paths in given.items() if paths}
    return _file_source(files["train"][0].shown.rsplit("/", 1)[-1].split(".")[0], files, choose, config, drawn)


def _open_card(card: DataCard, config: CorpusConfig) -> Source:
    chosen = card.config(config.config_name)
    if not config.columns and "text" not in chosen.roles.values():
        raise CardError(
            f"The card {card.path} gives no column the role 'text', which pretraining reads. Its roles: "
            f"{chosen.roles}. Add one to col_mapping, or set --data.columns."
        )
    choose = TextColumn(config.columns, None) if config.columns else TextColumn(chosen.roles, card)
    drawn = chosen.drawn or DrawnSplit(config.split_method, config.validation_share, config.split_seed)
    asked = (config.split_method, config.validation_share, config.split_seed)
    default = CorpusConfig()
    if chosen.drawn and asked not in (
        (default.split_method, default.validation_share, default.split_seed),
        (drawn.method, drawn.share, drawn.seed),
    ):
        raise ConfigError(
            f"The card {card.path} states how its validation split is drawn ({drawn.method}, share {drawn.share:g}, "
            f"seed {drawn.seed}). Remove data.split_method, data.validation_share and data.split_seed, or copy the "
            "card and change the copy."
        )
    files: dict[str, list[SourceFile]] = {}
    receipt = None
    for split, paths in chosen.data_files.items():
        files[split] = []
        for path in paths:
            if path.startswith(BUILDER_SCHEME):
                builder, built_split = path.removeprefix(BUILDER_SCHEME).split("/")
                built = build(builder)
                if built_split not in built:
                    raise CardError(f"{card.path}: builder {builder!r} makes no split {built_split!r}: {path}.")
                parquet = built[built_split]
                files[split].append(as_source(parquet, f"{path} ({parquet})", parquet.name))
                beside = parquet.parent / "receipt.json"
                receipt = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else receipt
            else:
                files[split] += _resolve(path, f"{split} of the card {card.path}")
        one_format(files[split], f"{split} of the card {card.path}")
    source = _file_source(card.name, files, choose, config, drawn)
    return Source(card.name, source.splits, source.files, drawn, card, chosen.rows, receipt)


def _resolve(paths: str | list[str], key: str) -> list[SourceFile]:
    found: list[SourceFile] = []
    for path in [paths] if isinstance(paths, str) else paths:
        found += fetch_files(path, key) if is_remote(path) else find_files(path, key)
    return one_format(found, key)


def _file_source(
    name: str, files: dict[str, list[SourceFile]], choose: TextColumn, config: CorpusConfig, drawn: DrawnSplit
) -> Source:
    is_text = {split: listed[0].format == "text" for split, listed in files.items()}
    if any(is_text.values()) and config.columns not in ({}, {"text": "text"}):
        raise ConfigError(f"data.columns is {config.columns}, but a text file has the one column 'text'. Remove it.")

    def reader(listed: list[SourceFile]) -> Callable[[], Iterator["pa.Array"]]:
        return lambda: (array for file in listed for array in read_texts(file, choose.find, config.sample_by))

    splits = {split: reader(files[split]) for split in SPLITS if split in files}
    return Source(name, splits, {split: [file.shown for file in files[split]] for split in splits}, drawn)


def _hub_reader(dataset: "datasets.Dataset", choose: TextColumn, name: str) -> Callable[[], Iterator["pa.Array"]]:
    def read() -> Iterator["pa.Array"]:
        import pyarrow as pa

        shown = f"The Hub dataset {name}"
        column = choose.find(dataset.column_names, shown)
        check_string(dataset.features.arrow_schema.field(column).type, column, shown)
        for table in dataset.select_columns([column]).with_format("arrow").iter(BATCH_ROWS):
            yield from table.column(0).cast(pa.string()).chunks

    return read
