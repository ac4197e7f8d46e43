"""`data` section of a config -> cleaned, split, counted documents."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipelines.checking import checking
from pipelines.data.builders import cache_root
from pipelines.data.card_schema import CardConfig, DrawnSplit
from pipelines.data.cards import DataCard
from pipelines.data.columns import TextColumn, check_string
from pipelines.data.decontamination import EvaluationTexts, find_contaminated_documents, read_evaluation_texts
from pipelines.data.loaded import LoadedCorpus, corpus_folder, find_loaded, open_splits, origin_of, record_loaded
from pipelines.data.preflight import corpus_findings
from pipelines.data.readers import BATCH_ROWS, read_texts, with_text
from pipelines.data.sampling import sample
from pipelines.data.sources import Source, open_source
from pipelines.data.splits import draw_by_hash, draw_tail, text_buffers, text_hashes
from pipelines.errors import CardError, ConfigError, DataError, PlumblineError
from pipelines.run import overhear, say
from pipelines.run_folder import RunFolder
from pipelines.sections import CorpusConfig, DataFiles

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

BATCH_DOCUMENTS = 1_000
BATCH_CHARACTERS = 500_000


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


def load_corpus(config: CorpusConfig, is_trained_on: bool = True) -> Corpus:
    """Reads a corpus from its one source (card, Hub dataset or files), cleans it and draws a missing validation split.

    Training documents that share an n-gram with the evaluation sets of `config.decontaminate` are dropped whole, after
    the draw, so that validation is the same without; `contamination` says which n-grams.

    Args:
        config: the data section.
        is_trained_on: else its splits may be the same texts, and a check says nothing of it.

    The documents are kept as Arrow files in `builders.cache_root()`, in a folder named by their fingerprint. A source
    that is as it was is not read again (see `loaded`); a changed file is always seen.

    Raises:
        ConfigError: no source or several, or a setting that does not go with the source.
        CardError: the card is not valid or at odds with its data.
        DataError: a file, column or row is missing or not what was expected; every document was dropped.
        HubError: the Hub cannot be reached or refused.
    """
    _check_drawing(config)
    source, check = open_source(config, ["text"]), checking()
    if check is not None:
        return _read(sample(source, check, is_trained_on), config, is_trained_on)
    origin = origin_of(config, source, is_trained_on)
    before = None if origin is None else find_loaded(origin)
    if before is not None:
        for line in before.told:
            say(line)
        return Corpus(source.name, before.splits, before.receipt, before.fingerprint, source.card)
    with overhear() as told:
        corpus = _read(source, config, is_trained_on)
    if origin is not None and origin.is_settled and origin == origin_of(config, source, is_trained_on):
        record_loaded(origin, LoadedCorpus(corpus.fingerprint, corpus.receipt, corpus.splits, told))
    return corpus


def _read(source: Source, config: CorpusConfig, is_trained_on: bool) -> Corpus:
    """The corpus of a source, or of a sample of it, read and cached."""
    check = checking()
    evaluation = read_evaluation_texts(config.decontaminate or [])
    drawn = drawn_split(source, config)
    readers = text_readers(source, config.columns, config.sample_by)
    cache_root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".loading-", dir=cache_root()) as scratch:
        receipt: dict[str, Any] = {}
        tables = {}
        for split, read in readers.items():
            tables[split], receipt[split] = _clean(split, (array for _, array in read()), Path(scratch))
            check_stated_rows(source.card, source.chosen, split, receipt[split]["rows_read"])
        receipt["validation_split"] = None
        if "validation" not in tables:
            tables = _draw(drawn, tables, receipt, Path(scratch))
        if evaluation:
            tables["train"] = _decontaminate(tables["train"], evaluation, receipt, Path(scratch))
        if config.max_train_documents is not None:
            kept = tables["train"].slice(0, config.max_train_documents)
            receipt["train"]["rows_dropped"]["max_train_documents"] = tables["train"].num_rows - kept.num_rows
            tables["train"] = kept
            if check is not None:  # what is scaled up from a sample is no more than this
                check.share = max(check.share, kept.num_rows / config.max_train_documents)
        return _finish(source, drawn.seed, tables, receipt, is_trained_on)


@dataclass(frozen=True)
class HeldOut:
    """A validation split that is read by itself: documents, counts as in Corpus.receipt, and fingerprint."""

    documents: "datasets.Dataset"
    receipt: dict[str, Any]
    fingerprint: str


def hold_out(arrays: Iterable["pa.Array"]) -> HeldOut:
    """Cleans the texts of a validation split and keeps them, as load_corpus does those of a corpus.

    Raises:
        DataError: no text is left.
    """
    import datasets

    from pipelines.data.tokenization import publish_folder

    cache_root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".loading-", dir=cache_root()) as scratch:
        table, receipt = _clean("validation", arrays, Path(scratch))
        receipt["rows_kept"] = table.num_rows
        receipt["bytes"] = sum(int(offsets[-1] - offsets[0]) for offsets, _ in text_buffers(table))
        digest = fingerprint({"validation": table})
        folder = cache_root() / f"corpus-{digest}"
        if not folder.is_dir():
            publish_folder(folder, lambda aside: _write(table.to_batches(), aside / "validation.arrow"))
        return HeldOut(datasets.Dataset.from_file(str(folder / "validation.arrow")), receipt, digest)


def text_batches(documents: "datasets.Dataset") -> Iterator[list[str]]:
    """The texts of a split, a thousand at a time, fewer long ones: what is made of them takes many times the room."""
    for batch in documents.with_format("arrow").iter(batch_size=BATCH_DOCUMENTS):
        texts: list[str] = []
        size = 0
        for text in batch.column("text").to_pylist():
            if texts and size + len(text) > BATCH_CHARACTERS:
                yield texts
                texts, size = [], 0
            texts.append(text)
            size += len(text)
        yield texts


def training_documents(run_folder: Path) -> Iterator[Sequence[str]] | None:
    """The training documents of a pretraining run, in batches; see `corpus_of_run`."""
    corpus = corpus_of_run(run_folder)
    return None if corpus is None else text_batches(corpus.splits["train"])


def corpus_of_run(run_folder: Path) -> Corpus | None:
    """The corpus of a pretraining run, read again from its source.

    Its training documents are those of this run alone: a run that goes on from a checkpoint (`model.name`) says
    nothing of what that was trained on before. All recipes whose section `data` is a CorpusConfig write it to
    config.yaml, with keys of their own beside; paths in it are relative to the folder that the run was started in.

    Args:
        run_folder: of the run, with its config.yaml.

    Returns:
        The corpus; None if the folder holds no config.yaml, or that of a run on labelled rows.

    Raises:
        ConfigError: config.yaml cannot be read; the run streamed its corpus.
        CheckpointError: environment.json cannot be read.
        DataError: the corpus is another one than the run was trained on, by the fingerprint in environment.json.
        CardError, ConfigError, DataError, HubError: the source cannot be read any more; see `load_corpus`.
    """
    config = corpus_config(run_folder)
    if config is None:
        return None
    if run_config(run_folder)["data"].get("streaming"):
        raise ConfigError(
            f"The run in {run_folder} streamed its corpus, which is too large to be read again as a whole. A corpus "
            "that was cleaned by recipes/prepare_corpus.py can be published and searched as the files that it wrote."
        )
    try:
        corpus = load_corpus(config)
    except PlumblineError as error:
        raise type(error)(f"The corpus of the run in {run_folder} cannot be read again: {error}") from None
    if (run_folder / "environment.json").is_file():
        data = RunFolder(run_folder).read_json("environment.json", "data")["data"]
        stated = data.get("corpus") if isinstance(data, dict) else None
        if stated is not None and stated != corpus.fingerprint:
            raise DataError(
                f"The corpus {corpus.name} has changed since the run in {run_folder}: its environment.json states the "
                f"fingerprint {stated}, the documents that are read now have {corpus.fingerprint}. Restore the files "
                "(or the versions of the packages that a builder reads), or train anew."
            )
    return corpus


def run_config(run_folder: Path) -> dict[str, Any]:
    """The config of a run as it was written; empty if the folder holds none. May raise ConfigError."""
    saved = run_folder / "config.yaml"
    if not saved.is_file():
        return {}
    try:
        values = yaml.safe_load(saved.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{saved} cannot be read: {' '.join(str(error).split())}. Expected that of a run.") from None
    return values if isinstance(values, dict) else {}


def corpus_config(run_folder: Path) -> CorpusConfig | None:
    """The part of a run's section `data` that says which documents it read; None if it read none."""
    data = run_config(run_folder).get("data")
    if not isinstance(data, dict) or "sample_by" not in data:  # a key of CorpusConfig alone, and every key is written
        return None
    known = {field.name: data[field.name] for field in fields(CorpusConfig) if field.name in data}
    try:
        return CorpusConfig(**known | {"files": DataFiles(**known.get("files") or {})})
    except TypeError as error:
        raise ConfigError(
            f"{run_folder / 'config.yaml'}: the section data.files is not that of a run: {error}."
        ) from None


def check_stated_rows(card: DataCard | None, chosen: CardConfig | None, split: str, found: int) -> None:
    """Raises CardError if the card states another number of rows for a split of a config than were read."""
    check = checking()
    if check is not None and check.is_sample:
        return
    if card is not None and chosen is not None and chosen.rows.get(split, found) != found:
        raise CardError(
            f"The card {card.path} states {chosen.rows[split]:,} rows for {split} of {chosen.name} (dataset_info), its "
            f"files have {found:,}. The source has changed or a download is not whole; if the change is meant, correct "
            "num_examples."
        )


def _check_drawing(config: CorpusConfig) -> None:
    if not 0 < config.validation_share < 1:
        raise ConfigError(
            f"data.validation_share is {config.validation_share}; expected a share between 0 and 1, such as 0.01."
        )
    if config.max_train_documents is not None and config.max_train_documents < 1:
        raise ConfigError(f"data.max_train_documents is {config.max_train_documents}; expected 1 or more, or null.")


def drawn_split(source: Source, config: CorpusConfig) -> DrawnSplit:
    """How a missing validation split is drawn: as the card states, else as the config does.

    Raises:
        ConfigError: both state it, and differ.
    """
    asked = DrawnSplit(config.split_method, config.validation_share, config.split_seed)
    stated = None if source.chosen is None else source.chosen.drawn
    if source.card is None or stated is None:
        return asked
    default = CorpusConfig()
    if asked not in (DrawnSplit(default.split_method, default.validation_share, default.split_seed), stated):
        raise ConfigError(
            f"The card {source.card.path} states how its validation split is drawn ({stated.method}, share "
            f"{stated.share:g}, seed {stated.seed}). Remove data.split_method, data.validation_share and "
            "data.split_seed, or copy the card and change the copy."
        )
    return stated


# ---------------------------------------------------------------- reading


def text_readers(
    source: Source, columns: dict[str, str], sample_by: str
) -> dict[str, Callable[[], Iterator[tuple[str, "pa.Array"]]]]:
    """A function for each split that yields its text column as (name of the file, Arrow array), in order.

    Args:
        source: as opened.
        columns: data.columns; empty: the card's mapping, or the column `text`.
        sample_by: what one document of a text file is.

    Raises:
        ConfigError: columns are given for text files, which have one. Reading raises what read_texts and TextColumn do.
    """
    choose = TextColumn(columns, card=None)
    if source.card is not None and source.chosen is not None and not columns:
        choose = TextColumn(source.chosen.roles, source.card)
    is_text = any(isinstance(found, list) and found[0].format == "text" for found in source.splits.values())
    if is_text and columns not in ({}, {"text": "text"}):
        raise ConfigError(f"data.columns is {columns}, but a text file has the one column 'text'. Remove it.")

    def reader(found: Any) -> Callable[[], Iterator[tuple[str, "pa.Array"]]]:
        if isinstance(found, list):
            return lambda: ((file.shown, array) for file in found for array in read_texts(file, choose.find, sample_by))
        return lambda: ((source.name, array) for array in _hub_texts(found, choose, source.name))

    return {split: reader(found) for split, found in source.splits.items()}


def _hub_texts(dataset: "datasets.Dataset", choose: TextColumn, name: str) -> Iterator["pa.Array"]:
    import pyarrow as pa

    shown = f"The Hub dataset {name}"
    column = choose.find(dataset.column_names, shown)
    check_string(dataset.features.arrow_schema.field(column).type, column, shown)
    for table in dataset.select_columns([column]).with_format("arrow").iter(BATCH_ROWS):
        yield from table.column(0).cast(pa.string()).chunks


# ---------------------------------------------------------------- cleaning, drawing, writing


def _clean(split: str, arrays: Iterable["pa.Array"], scratch: Path) -> tuple["pa.Table", dict[str, Any]]:
    """Writes the documents that have text to `scratch`; returns them, mapped, with the counts of what was dropped."""
    import pyarrow as pa

    read, null, empty = 0, 0, 0

    def documents() -> Iterator["pa.RecordBatch"]:
        nonlocal read, null, empty
        for array in arrays:
            kept, nulls, blanks = with_text(array)
            read, null, empty = read + len(array), null + nulls, empty + blanks
            yield pa.record_batch({"text": kept})

    table = _write(documents(), scratch / f"{split}.arrow")
    if table.num_rows == 0:
        raise DataError(
            f"Every one of the {read:,} rows of {split} was dropped: {empty:,} empty (nothing but blanks), "
            f"{null:,} null. Is another column the text? Map it with --data.columns."
        )
    return table, {"rows_read": read, "rows_dropped": {"null": null, "empty": empty}}


def _draw(
    drawn: DrawnSplit, tables: dict[str, "pa.Table"], receipt: dict[str, Any], scratch: Path
) -> dict[str, "pa.Table"]:
    train = tables["train"]
    if drawn.method == "hash":
        sides = draw_by_hash(train, text_hashes(train, drawn.seed), drawn.share)
    else:
        sides = draw_tail(train, drawn.share)
    receipt["train"]["moved_to_validation"] = sides.moved
    receipt["validation"] = {"rows_read": 0, "rows_dropped": {}, "moved_from_train": sides.moved + sides.cut}
    receipt["validation_split"] = {
        "method": drawn.method,
        "share": drawn.share,
        "seed": drawn.seed if drawn.method == "hash" else None,
        "documents_cut": sides.cut,
    }
    drawn_tables = {
        "train": _write(sides.train, scratch / "drawn-train.arrow"),
        "validation": _write(sides.validation, scratch / "drawn-validation.arrow"),
    }
    (scratch / "train.arrow").unlink()  # a large corpus need not lie on the disk once more; it stays mapped till here
    return drawn_tables | {split: table for split, table in tables.items() if split != "train"}


def _decontaminate(
    train: "pa.Table", evaluation: Sequence[EvaluationTexts], receipt: dict[str, Any], scratch: Path
) -> "pa.Table":
    """The documents that share no n-gram with an evaluation text. Raises DataError if none is left."""
    import numpy as np
    import pyarrow as pa

    batches = train.to_batches(BATCH_DOCUMENTS)
    found = find_contaminated_documents(evaluation, (batch.column(0).to_pylist() for batch in batches))
    receipt["train"]["rows_dropped"]["contaminated"] = len(found.numbers)
    receipt["decontamination"] = found.receipt
    say(f"{len(found.numbers):,} of {train.num_rows:,} training documents share words with evaluation sets: left out.")
    if len(found.numbers) == train.num_rows:
        sample = found.receipt["samples"][0]
        raise DataError(
            f"Every one of the {train.num_rows:,} training documents shares words with the evaluation sets of "
            f"data.decontaminate, such as {sample['words']!r} with {sample['evaluation']}. Is the corpus itself among "
            "them? Leave it out."
        )
    keep = np.ones(train.num_rows, np.bool_)
    keep[np.array(found.numbers, np.int64) - 1] = False
    masks = np.split(keep, np.cumsum([batch.num_rows for batch in batches])[:-1])
    kept = (batch.filter(pa.array(mask)) for batch, mask in zip(batches, masks, strict=True))
    return _write(kept, scratch / "clean-train.arrow")


def _write(batches: Iterable["pa.RecordBatch"], path: Path) -> "pa.Table":
    """Writes batches of texts as an Arrow stream, the format of `datasets`, and maps it into memory."""
    import pyarrow as pa

    schema = pa.schema({"text": pa.string()})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            if batch.num_rows:
                writer.write_batch(batch)
    return pa.ipc.open_stream(pa.memory_map(str(path))).read_all()


def _finish(
    source: Source, seed: int, tables: dict[str, "pa.Table"], receipt: dict[str, Any], is_trained_on: bool
) -> Corpus:
    import numpy as np

    from pipelines.data.tokenization import publish_folder

    for split, table in tables.items():
        receipt[split]["rows_kept"] = table.num_rows
        receipt[split]["bytes"] = sum(int(offsets[-1] - offsets[0]) for offsets, _ in text_buffers(table))
        _check_totals(split, receipt[split])
    train, held_out = (text_hashes(tables[split], seed) for split in ("train", "validation"))
    receipt["train_texts_in_validation"] = inside = len(np.intersect1d(train, held_out))
    if inside and is_trained_on:
        say(
            f"WARNING: {inside:,} of {len(np.unique(held_out)):,} texts of validation stand in the training split too, "
            "letter for letter. The loss on them is not one of unseen text."
        )
    if is_trained_on and (check := checking()) is not None:
        corpus_findings(check, receipt, {"train": train, "validation": held_out}, tables)
    receipt["source"], receipt["files"] = source.record, source.shown
    if source.builder_receipt is not None:
        receipt["builder"] = source.builder_receipt

    digest = fingerprint(tables)
    folder = corpus_folder(digest)
    was_there = folder.is_dir()
    if not was_there:
        publish_folder(
            folder, lambda aside: [_write(table.to_batches(), aside / f"{s}.arrow") for s, table in tables.items()]
        )
    splits = open_splits(folder, tables)
    for split, dataset in splits.items():
        if len(dataset) != tables[split].num_rows:
            raise DataError(f"The cached corpus {folder} is damaged: {split} has {len(dataset):,} rows. Delete it.")
    if was_there and fingerprint({split: dataset.data.table for split, dataset in splits.items()}) != digest:
        raise DataError(f"The cached corpus {folder} is damaged: its texts are not those it is named by. Delete it.")
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
