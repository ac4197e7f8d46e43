"""`data` section of a config -> cleaned, split, counted documents."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.data.builders import build, cache_root
from pipelines.data.card_schema import BUILDER_SCHEME, SPLITS, DrawnSplit
from pipelines.data.cards import DataCard, load_card
from pipelines.data.columns import TextColumn, check_mapping, check_string
from pipelines.data.files import SourceFile, as_source, find_files, one_format
from pipelines.data.readers import BATCH_ROWS, read_texts
from pipelines.data.remote import fetch_files, is_remote, load_hub_dataset
from pipelines.data.splits import Drawn, draw_by_hash, draw_tail, text_buffers, text_hashes
from pipelines.errors import CardError, ConfigError, DataError
from pipelines.sections import DataConfig

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa


@dataclass(frozen=True)
class Corpus:
    """Documents ready for tokenization."""

    name: str
    """Card name, Hub id or stem of the first training file."""
    splits: dict[str, "datasets.Dataset"]
    """train, validation and maybe test; the one column is `text`, and no document is empty."""
    receipt: dict[str, Any]
    """Every row that was read and what became of it, see `docs/data_cards.md`; the totals close."""
    fingerprint: str
    """128-bit XXH3 of the texts of all splits in order, 32 hex digits."""
    card: DataCard | None
    """The data card, if the corpus comes from one."""


@dataclass(frozen=True)
class _Source:
    """Where each split comes from: functions that yield its text column as Arrow arrays."""

    name: str
    splits: dict[str, Callable[[], Iterator["pa.Array"]]]
    files: dict[str, list[str]]
    drawn: DrawnSplit
    card: DataCard | None = None
    rows: dict[str, int] | None = None  # that the card states
    builder_receipt: dict[str, Any] | None = None


def load_corpus(config: DataConfig) -> Corpus:
    """Reads a corpus from its one source (card, Hub dataset or files), cleans it and draws a missing validation split.

    The documents are kept as Arrow files in `builders.cache_root()`, in a folder named by their fingerprint. The source
    is read anew each time, so a changed file is always seen.

    Raises:
        ConfigError: no source or several, or a setting that does not go with the source.
        CardError: the card is not valid or at odds with its data.
        DataError: a file, column or row is missing or not what was expected; every document was dropped.
        HubError: the Hub cannot be reached or refused.
    """
    import tempfile

    _check_config(config)
    source = _open_source(config)
    cache_root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".loading-", dir=cache_root()) as scratch:
        receipt: dict[str, Any] = {}
        tables = {}
        for split, read in source.splits.items():
            tables[split], receipt[split] = _clean(split, read(), Path(scratch))
            _check_rows(source, split, receipt[split]["rows_read"])
        hashes = text_hashes(tables["train"], source.drawn.seed)
        receipt["validation_split"] = None
        if "validation" not in tables:
            tables = _draw(source.drawn, tables, hashes, receipt, Path(scratch))
        if config.max_train_documents is not None:
            kept = tables["train"].slice(0, config.max_train_documents)
            receipt["train"]["rows_dropped"]["max_train_documents"] = tables["train"].num_rows - kept.num_rows
            tables["train"] = kept
        return _finish(source, tables, receipt)


# ---------------------------------------------------------------- settings and sources


def _check_config(config: DataConfig) -> None:
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


def _open_source(config: DataConfig) -> _Source:
    if config.card:
        return _open_card(load_card(config.card), config)
    drawn = DrawnSplit(config.split_method, config.validation_share, config.split_seed)
    choose = TextColumn(config.columns, card=None)
    if config.name:
        loaded = load_hub_dataset(config.name, config.config_name, config.revision)
        splits = {split: _hub_reader(loaded[split], choose, config.name) for split in SPLITS if split in loaded}
        return _Source(config.name, splits, {split: [f"{config.name}: {split}"] for split in splits}, drawn)
    given = {"train": config.files.train, "validation": config.files.validation, "test": config.files.test}
    files = {split: _resolve(paths, f"data.files.{split}") for split, paths in given.items() if paths}
    return _file_source(files["train"][0].shown.rsplit("/", 1)[-1].split(".")[0], files, choose, config, drawn)


def _open_card(card: DataCard, config: DataConfig) -> _Source:
    chosen = card.config(config.config_name)
    if not config.columns and "text" not in chosen.roles.values():
        raise CardError(
            f"The card {card.path} gives no column the role 'text', which pretraining reads. Its roles: {chosen.roles}. "
            "Add one to col_mapping, or set --data.columns."
        )
    choose = TextColumn(config.columns, None) if config.columns else TextColumn(chosen.roles, card)
    drawn = chosen.drawn or DrawnSplit(config.split_method, config.validation_share, config.split_seed)
    asked = (config.split_method, config.validation_share, config.split_seed)
    default = DataConfig()
    if chosen.drawn and asked not in (
        (default.split_method, default.validation_share, default.split_seed),
        (drawn.method, drawn.share, drawn.seed),
    ):
        raise ConfigError(
            f"The card {card.path} states how its validation split is drawn ({drawn.method}, share {drawn.share:g}, seed "
            f"{drawn.seed}). Remove data.split_method, data.validation_share and data.split_seed, or copy the card and "
            "change the copy."
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
    return _Source(card.name, source.splits, source.files, drawn, card, chosen.rows, receipt)


def _resolve(paths: str | list[str], key: str) -> list[SourceFile]:
    found: list[SourceFile] = []
    for path in [paths] if isinstance(paths, str) else paths:
        found += fetch_files(path, key) if is_remote(path) else find_files(path, key)
    return one_format(found, key)


def _file_source(
    name: str, files: dict[str, list[SourceFile]], choose: TextColumn, config: DataConfig, drawn: DrawnSplit
) -> _Source:
    is_text = {split: listed[0].format == "text" for split, listed in files.items()}
    if any(is_text.values()) and config.columns not in ({}, {"text": "text"}):
        raise ConfigError(f"data.columns is {config.columns}, but a text file has the one column 'text'. Remove it.")

    def reader(listed: list[SourceFile]) -> Callable[[], Iterator["pa.Array"]]:
        return lambda: (array for file in listed for array in read_texts(file, choose.find, config.sample_by))

    splits = {split: reader(files[split]) for split in SPLITS if split in files}
    return _Source(name, splits, {split: [file.shown for file in files[split]] for split in splits}, drawn)


def _hub_reader(dataset: "datasets.Dataset", choose: TextColumn, name: str) -> Callable[[], Iterator["pa.Array"]]:
    def read() -> Iterator["pa.Array"]:
        import pyarrow as pa

        shown = f"The Hub dataset {name}"
        column = choose.find(dataset.column_names, shown)
        check_string(dataset.features.arrow_schema.field(column).type, column, shown)
        for table in dataset.select_columns([column]).with_format("arrow").iter(BATCH_ROWS):
            yield from table.column(0).cast(pa.string()).chunks

    return read


def _check_rows(source: _Source, split: str, found: int) -> None:
    stated = (source.rows or {}).get(split, found)
    if source.card is not None and stated != found:
        raise CardError(
            f"The card {source.card.path} states {stated:,} rows for {split} (dataset_info), its files have {found:,}. "
            "The source has changed or a download is not whole; if the change is meant, correct num_examples."
        )


# ---------------------------------------------------------------- cleaning, drawing, writing


def _clean(split: str, arrays: Iterable["pa.Array"], scratch: Path) -> tuple["pa.Table", dict[str, Any]]:
    """Writes the documents that have text to `scratch`; returns them, mapped, with the counts of what was dropped."""
    import pyarrow as pa
    import pyarrow.compute as pc

    read, null, empty = 0, 0, 0

    def documents() -> Iterator["pa.RecordBatch"]:
        nonlocal read, null, empty
        for array in arrays:
            texts = array.drop_null()
            blank = pc.or_(pc.equal(pc.binary_length(texts), 0), pc.utf8_is_space(texts))
            kept = texts.filter(pc.invert(blank))
            read += len(array)
            null += len(array) - len(texts)
            empty += len(texts) - len(kept)
            yield pa.record_batch({"text": kept})

    table = _write(documents(), scratch / f"{split}.arrow")
    if table.num_rows == 0:
        raise DataError(
            f"Every one of the {read:,} rows of {split} was dropped: {empty:,} empty (nothing but blanks), {null:,} null. "
            "Is another column the text? Map it with --data.columns."
        )
    return table, {"rows_read": read, "rows_dropped": {"null": null, "empty": empty}}


def _draw(
    drawn: DrawnSplit, tables: dict[str, "pa.Table"], hashes: Any, receipt: dict[str, Any], scratch: Path
) -> dict[str, "pa.Table"]:
    train = tables["train"]
    sides: Drawn = draw_by_hash(train, hashes, drawn.share) if drawn.method == "hash" else draw_tail(train, drawn.share)
    receipt["train"]["moved_to_validation"] = sides.moved
    receipt["validation"] = {"rows_read": 0, "rows_dropped": {}, "moved_from_train": sides.moved + sides.cut}
    receipt["validation_split"] = {
        "method": drawn.method,
        "share": drawn.share,
        "seed": drawn.seed if drawn.method == "hash" else None,
        "documents_cut": sides.cut,
    }
    return {
        "train": _write(sides.train, scratch / "drawn-train.arrow"),
        "validation": _write(sides.validation, scratch / "drawn-validation.arrow"),
        **{split: table for split, table in tables.items() if split != "train"},
    }


def _write(batches: Iterable["pa.RecordBatch"], path: Path) -> "pa.Table":
    """Writes batches of texts as an Arrow stream, the format of `datasets`, and maps it into memory."""
    import pyarrow as pa

    schema = pa.schema({"text": pa.string()})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            if batch.num_rows:
                writer.write_batch(batch)
    return pa.ipc.open_stream(pa.memory_map(str(path))).read_all()


def _finish(source: _Source, tables: dict[str, "pa.Table"], receipt: dict[str, Any]) -> Corpus:
    import datasets
    import numpy as np

    from pipelines.data.tokenization import publish_folder

    for split, table in tables.items():
        receipt[split]["rows_kept"] = table.num_rows
        receipt[split]["bytes"] = sum(int(offsets[-1] - offsets[0]) for offsets, _ in text_buffers(table))
        _check_totals(split, receipt[split])
    seen = [np.unique(text_hashes(tables[split], source.drawn.seed)) for split in ("train", "validation")]
    receipt["train_texts_in_validation"] = len(np.intersect1d(*seen, assume_unique=True))
    receipt["files"] = source.files
    if source.builder_receipt is not None:
        receipt["builder"] = source.builder_receipt

    digest = fingerprint(tables)
    folder = cache_root() / f"corpus-{digest}"
    if not folder.is_dir():
        publish_folder(
            folder, lambda aside: [_write(table.to_batches(), aside / f"{s}.arrow") for s, table in tables.items()]
        )
    splits = {split: datasets.Dataset.from_file(str(folder / f"{split}.arrow")) for split in tables}
    for split, dataset in splits.items():
        if len(dataset) != tables[split].num_rows:
            raise DataError(f"The cached corpus {folder} is damaged: {split} has {len(dataset):,} rows. Delete it.")
    return Corpus(source.name, splits, receipt, digest, source.card)


def _check_totals(split: str, counts: dict[str, Any]) -> None:
    came_in = counts["rows_read"] + counts.get("moved_from_train", 0)
    went_out = counts["rows_kept"] + sum(counts["rows_dropped"].values()) + counts.get("moved_to_validation", 0)
    if came_in != went_out:
        raise DataError(
            f"The counts of {split} do not close: {came_in:,} rows in, {went_out:,} accounted for: {counts}."
        )


def fingerprint(tables: dict[str, "pa.Table"]) -> str:
    """128-bit XXH3 of split names, document lengths and texts: equal for equal documents, however they are batched."""
    import numpy as np
    import xxhash

    whole = xxhash.xxh3_128()
    for split, table in tables.items():
        texts, lengths = xxhash.xxh3_128(), xxhash.xxh3_128()
        for offsets, data in text_buffers(table):
            texts.update(data[int(offsets[0]) : int(offsets[-1])])
            lengths.update(np.diff(offsets).astype("<i4").tobytes())
        whole.update(f"{split} {table.num_rows} ".encode() + texts.digest() + lengths.digest())
    return whole.hexdigest()
