"""The steps of recipes/prepare_corpus.py. Each leaves files in the run folder that it does not make again.

`work/cleaned` and `work/scrubbed` hold a file for each chunk of the source, `work/duplicates.npz` what becomes of each
document, `corpus/` the result; `work/` is deleted at the end. Texts are never all in memory: what is, is a hash, a
signature and a place for each document (some 600 bytes), and a chunk for each process.
"""

import importlib.util
import io
import json
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.checking import Check, attempt, checking
from pipelines.data.decontamination import EvaluationTexts, read_evaluation_texts
from pipelines.data.loading import text_readers
from pipelines.data.sampling import sample
from pipelines.data.sources import Source, open_source
from pipelines.environment import environment
from pipelines.errors import ConfigError, DataError
from pipelines.preparation import quality
from pipelines.preparation.accounts import Account, prepared_receipt
from pipelines.preparation.chunks import cut_into_chunks, read_part, table_to_bytes
from pipelines.preparation.cleaning import CleaningSettings, begin_cleaning, clean_rows
from pipelines.preparation.data_card import check_card, data_card
from pipelines.preparation.duplicates import REASONS, Duplicates, find_duplicates
from pipelines.preparation.language import check_language
from pipelines.preparation.minhash import check_near_duplicates
from pipelines.preparation.scrubbing import Scrubbing, begin_scrubbing
from pipelines.preparation.shards import begin_writing, plan_shards
from pipelines.preparation.workers import Steps, Workers, default_workers
from pipelines.report import finish_run
from pipelines.run import Interrupted, is_first_process, say
from pipelines.run_folder import RunFolder, claim_run_folder, find_run_folder, report_if_finished, write_run_files

MEGABYTE = 1_000_000
CHECKED_BYTES = 2 * MEGABYTE  # of the source that a check cleans
REASON_ORDER = [
    *("null", "empty", "other_language", "uncertain_language", "boilerplate"),
    *quality.REASONS,
    *REASONS.values(),
    "contaminated",
]
LIBRARIES = {"normalisation": "ftfy", "language": "py3langid"}


@dataclass
class PreparationRun:
    """A run under way. As a context it holds the folder, and tells an interruption for what it is."""

    folder: RunFolder
    config: Any
    source: Source
    evaluation: list[EvaluationTexts]
    workers: Workers
    started: float = field(default_factory=time.monotonic)
    resumed: bool = False
    shards: list[dict[str, Any]] = field(default_factory=list)

    @property
    def work(self) -> Path:
        """Folder of what is kept until the end."""
        return self.folder.path / "work"

    @property
    def corpus(self) -> Path:
        """Folder of the shards and their data card."""
        return self.folder.path / "corpus"

    def parts(self, step: str) -> list[Path]:
        """The files that a step left, in the order of the source."""
        return sorted((self.work / step).glob("*.arrow"))

    def __enter__(self) -> "PreparationRun":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.workers.end()
        self.folder.unlock()
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            done = len(self.parts("cleaned")) + len(self.parts("scrubbed"))
            raise Interrupted(f"Interrupted. {done:,} finished work items are kept in {self.work}.") from None


# ---------------------------------------------------------------- before the first step


def open_run(config: Any, recipe: str) -> PreparationRun | None:
    """Checks the settings, opens the source and the evaluation sets, and takes the run folder. A check ends here.

    Returns:
        The run; None if it is finished (its result is told), or this is not the first process.

    Raises:
        ConfigError, CardError, DataError, HubError: a setting is wrong, or something cannot be read.
    """
    if not is_first_process():
        return None
    folder = attempt(find_run_folder, config, recipe, otherwise=RunFolder(Path("runs"), Path(recipe).stem))
    check = checking()
    if check is None and report_if_finished(folder, config):
        say(f"corpus {folder.path / 'corpus'}: read it with --data.card {folder.path / 'corpus'}")
        return None
    sound = [attempt(_sound, part, config, otherwise=False) for part in _CHECKS]
    source = open_source(config.data, ["text"])
    names = config.decontamination.evaluation_sets or []
    key = "decontamination.evaluation_sets"
    evaluation = attempt(read_evaluation_texts, names, key, otherwise=list[EvaluationTexts]())
    if check is not None and all(sound):
        _look(source, config, check)
    settings = (config.personal_data, evaluation, config.prepare.samples)
    work: Steps = {
        "clean": (begin_cleaning, (_cleaning(config),)),
        "scrub": (begin_scrubbing, settings),
        "write": (begin_writing, ()),
    }
    workers = Workers(work, config.prepare.workers or default_workers())
    run = PreparationRun(folder, config, source, evaluation, workers)
    next(_texts(run))  # a column that is not there is told before anything is written
    _take(run)
    return run


def _libraries(config: Any) -> None:
    for section, library in LIBRARIES.items():
        if getattr(config, section).enabled and importlib.util.find_spec(library) is None:
            raise ConfigError(
                f"{section} needs {library}, which is not installed. Run: pip install -c requirements.lock -e "
                f"'.[preparation]', or set --{section}.enabled false."
            )


def _sizes(config: Any) -> None:
    for name, least in (("workers", 1), ("chunk_megabytes", 0), ("shard_megabytes", 0), ("samples", 0)):
        value = getattr(config.prepare, name)
        if value is not None and (value < least or (value == 0 and name != "samples")):
            raise ConfigError(f"prepare.{name} is {value}; expected {'1 or more' if least else 'more than 0'}.")
    if config.prepare.chunk_megabytes > 1_000:
        raise ConfigError(
            f"prepare.chunk_megabytes is {config.prepare.chunk_megabytes:g}; expected at most 1000, since each process "
            "holds one chunk several times."
        )


_CHECKS = {
    "prepare": _sizes,
    "libraries": _libraries,
    "language": lambda config: check_language(config.language) if config.language.enabled else None,
    "quality": lambda config: quality.check_quality(config.quality),
    "near_duplicates": lambda config: check_near_duplicates(config.near_duplicates),
    "card": lambda config: check_card(config.card),
}


def _sound(part: str, config: Any) -> bool:
    _CHECKS[part](config)
    return True


def _texts(run: PreparationRun) -> Iterator[tuple[str, Any]]:
    data = run.config.data
    return text_readers(run.source, data.columns, data.sample_by)["train"]()


def _look(source: Source, config: Any, check: Check) -> None:
    """Notes what becomes of the beginning of the source."""
    source = sample(source, check)
    arrays = text_readers(source, config.data.columns, config.data.sample_by)["train"]()
    chunk = next(cut_into_chunks(arrays, min(CHECKED_BYTES, int(config.prepare.chunk_megabytes * MEGABYTE))))
    rows, account = clean_rows(chunk.table, _cleaning(config))
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in account.rows_dropped.most_common()) or "none"
    told = f"Of the first {account.counts['rows_read']:,} rows {len(rows):,} pass the rules; dropped: {dropped}."
    check.note("ok" if rows else "warning", "data", f"{told} Duplicates and evaluation sets were not looked at.")
    check.figures["rules"] = account.as_dict() | {"samples": {}}


def _cleaning(config: Any) -> CleaningSettings:
    return CleaningSettings(
        config.normalisation,
        config.language,
        config.quality,
        config.exact_duplicates,
        config.near_duplicates,
        config.prepare.samples,
    )


def _take(run: PreparationRun) -> None:
    """Takes the folder, new or with what an interrupted run left. A check ends here."""
    import xxhash

    folder = run.folder
    claim_run_folder(folder, clear=run.config.run.overwrite)
    rows = json.dumps([[one.name, one.rows] for one in run.evaluation], ensure_ascii=False)
    data = {
        "files": run.source.shown["train"],
        "libraries": {
            library: version(library) for section, library in LIBRARIES.items() if getattr(run.config, section).enabled
        },
        "evaluation_sets": xxhash.xxh3_128_hexdigest(rows.encode("utf-8", "surrogatepass")),
    }
    run.resumed = run.work.is_dir()
    if run.resumed:
        before = folder.read_json("environment.json", "data")["data"]
        if before != data:
            folder.unlock()
            raise ConfigError(
                f"Files, libraries or evaluation sets of the run in {folder.path} have changed since it was started. "
                "Restore them, name another folder with --run.dir, or start anew with --run.overwrite true."
            )
        done = len(run.parts("cleaned")) + len(run.parts("scrubbed"))
        say(f"Going on with the run in {folder.path}: {done:,} work items are done.")
    else:
        shutil.rmtree(run.corpus, ignore_errors=True)
        write_run_files(folder, run.config, environment=environment(data))
    for path in (run.work / "cleaned", run.work / "scrubbed", run.corpus):
        path.mkdir(parents=True, exist_ok=True)
    others = [split for split in run.source.splits if split != "train"]
    if others:
        say(f"The splits {', '.join(others)} of {run.source.name} are left as they are: only train is prepared.")


# ---------------------------------------------------------------- the steps


def clean(run: PreparationRun) -> None:
    """Reads the source in chunks, and repairs, filters and hashes each.

    Raises:
        DataError: the source cannot be read, or is not what the interrupted run read.
    """

    def items() -> Iterator[tuple[Path, Any]]:
        number = 0
        for chunk in cut_into_chunks(_texts(run), int(run.config.prepare.chunk_megabytes * MEGABYTE)):
            path, number = run.work / "cleaned" / f"{chunk.number:07}.arrow", chunk.number + 1
            if not path.exists():
                yield path, (chunk.digest, table_to_bytes(chunk.table))
            elif read_part(path)[1]["digest"] != chunk.digest:
                raise _changed(run)
        if (run.work / "cleaned" / f"{number:07}.arrow").exists():
            raise _changed(run)

    run.workers.do("clean", items())


def _changed(run: PreparationRun) -> DataError:
    return DataError(
        f"{run.source.name} has changed since the run in {run.folder.path} was started. Restore it, name another "
        "folder with --run.dir, or start anew with --run.overwrite true."
    )


def drop_duplicates(run: PreparationRun) -> None:
    """Finds exact and near duplicates over the whole source, by what cleaning kept of each document.

    Raises:
        DataError: no document is left to be compared.
    """
    path = run.work / "duplicates.npz"
    if path.exists():
        return
    hashes, signatures, documents = [], [], 0
    for part in run.parts("cleaned"):
        table, _ = read_part(part)
        documents += table.num_rows
        hashes.append(_fixed(table, "hash", np.uint64))
        signatures.append(_fixed(table, "signature", np.uint32))
    if documents == 0:
        reasons = _total(run, "cleaned").rows_dropped.most_common()
        told = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
        raise DataError(
            f"Every row of {run.source.name} was dropped: {told}. Look at the rules with --help, and set those that do "
            "not fit this text to null, in another run folder (--run.dir) or with --run.overwrite true."
        )
    config = run.config
    found = find_duplicates(
        np.concatenate(hashes) if config.exact_duplicates.enabled else None,
        np.concatenate(signatures) if config.near_duplicates.enabled else None,
        config.near_duplicates,
        documents,
    )
    content = io.BytesIO()
    np.savez(content, kind_D=found.kind_D, first_D=found.first_D)
    aside = path.with_suffix(".aside")
    aside.write_bytes(content.getvalue())
    os.replace(aside, path)


def _fixed(table: Any, name: str, dtype: Any) -> Any:
    """A column of fixed-size binary values as rows of numbers; shape (rows, 0) if it is not there."""
    if name not in table.column_names:
        return np.zeros((table.num_rows, 0), dtype)
    column = table[name].combine_chunks()
    width = column.type.byte_width
    data = np.frombuffer(column.buffers()[1] or b"", np.uint8)[column.offset * width :][: len(column) * width]
    return data.view(dtype).reshape(len(column), -1)


def scrub(run: PreparationRun) -> None:
    """Leaves the duplicates out, replaces personal data, and drops documents that evaluation sets share."""

    def items() -> Iterator[tuple[Path, Any]]:
        with np.load(run.work / "duplicates.npz", allow_pickle=False) as saved:
            found = Duplicates(saved["kind_D"], saved["first_D"])
        start = 0
        places = _Places(run)
        for part in run.parts("cleaned"):
            stop = start + read_part(part)[0].num_rows
            kinds = found.kind_D[start:stop]
            path = run.work / "scrubbed" / part.name
            if not path.exists():
                shown = [np.flatnonzero(kinds == kind)[: run.config.prepare.samples].tolist() for kind in REASONS]
                firsts = {place: places.told(int(found.first_D[start + place])) for one in shown for place in one}
                yield path, Scrubbing(part, kinds.tobytes(), firsts)
            start = stop

    run.workers.do("scrub", items())


class _Places:
    """Where a document stands in the source, by its number."""

    def __init__(self, run: PreparationRun) -> None:
        self.parts = run.parts("cleaned")
        self.ends = np.cumsum([read_part(part)[0].num_rows for part in self.parts])

    def told(self, document: int) -> str:
        """For samples: the document that is kept."""
        part = int(np.searchsorted(self.ends, document, side="right"))
        table, _ = read_part(self.parts[part])
        row = document - int(self.ends[part - 1] if part else 0)
        return f"kept: {table['source_file'][row].as_py()}, row {table['source_row'][row].as_py():,}"


def write_shards(run: PreparationRun) -> None:
    """Writes the Parquet files.

    Raises:
        DataError: no document is left.
    """
    import pyarrow.compute as pc

    parts = [
        (part, pc.binary_length(read_part(part)[0]["text"]).to_numpy(zero_copy_only=False).astype(np.int64))
        for part in run.parts("scrubbed")
    ]
    shards = plan_shards(parts, int(run.config.prepare.shard_megabytes * MEGABYTE))
    if not shards:
        raise DataError(
            f"No document of {run.source.name} is left: what passed the rules shares words with the evaluation sets of "
            "decontamination.evaluation_sets. Is the source itself among them? Leave it out."
        )
    items = [(run.corpus / f"train-{number:05}.parquet", slices) for number, slices in enumerate(shards)]
    run.workers.do("write", items)


def finish(run: PreparationRun) -> None:
    """Receipt, samples, data card, report; then the run is finished, and its work files are deleted.

    Raises:
        DataError: the receipt does not close.
    """
    total = _total(run, "cleaned")
    total.add(_total(run, "scrubbed"))
    files = [_file_record(path) for path in sorted(run.corpus.glob("train-*.parquet"))]
    rows_kept, bytes_kept = (sum(one[name] for one in files) for name in ("rows", "text_bytes"))
    receipt: dict[str, Any] = {
        "train": prepared_receipt(total, rows_kept, bytes_kept, REASON_ORDER),
        "source": run.source.record | {"pretty_name": run.source.record["pretty_name"] or run.source.name},
        "files": {"train": run.source.shown["train"]},
        "splits_not_prepared": [split for split in run.source.splits if split != "train"],
        "decontamination": [
            {"name": one.name, "read_from": one.read_from, "rows": len(one.rows)} for one in run.evaluation
        ],
        "shards": files,
    }
    card = data_card(receipt, run.config.card, run.config.language)
    aside = run.corpus / ".README.md"
    aside.write_text(card, encoding="utf-8")
    os.replace(aside, run.corpus / "README.md")
    run.folder.write_json("receipt.json", receipt)
    run.folder.write_json("samples.json", _samples(run, total))
    metrics = _metrics(run, receipt["train"])
    finish_run(run.folder, metrics)
    shutil.rmtree(run.work)
    say(f"corpus {run.corpus}: read it with --data.card {run.corpus}")


def _total(run: PreparationRun, step: str) -> Account:
    total = Account(most_samples=run.config.prepare.samples)
    for part in run.parts(step):
        content = read_part(part)[1]
        content.pop("digest", None)
        total.add(Account.of_dict(content))
    return total


def _file_record(path: Path) -> dict[str, Any]:
    """Name, rows and bytes of text of a shard, as they are read back."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rows = text_bytes = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["text"]):
            rows += batch.num_rows
            text_bytes += pc.sum(pc.binary_length(batch.column(0))).as_py() or 0
    return {"file": f"corpus/{path.name}", "rows": rows, "text_bytes": text_bytes, "file_bytes": path.stat().st_size}


def _samples(run: PreparationRun, total: Account) -> dict[str, Any]:
    """Dropped rows of each reason, as the report shows samples. Their personal data is replaced like that of others."""
    from pipelines.preparation.personal_data import scrub as scrub_text

    shown: dict[str, list[dict[str, str]]] = defaultdict(list)
    for reason, rows in sorted(total.samples.items(), key=lambda one: REASON_ORDER.index(one[0])):
        for row in rows:
            config = run.config.personal_data
            text = scrub_text(row["text"], config.kinds)[0] if config.enabled else row["text"]
            detail = f"{reason}\n{row['detail']}" if row["detail"] else reason
            shown[reason].append({"prompt": text, "reference": detail, "output": row["where"]})
    return {
        "note": f"Dropped rows: at most {run.config.prepare.samples} of each reason, the first of the source.",
        "titles": ["Dropped row", "Reason", "Source"],
        "samples": [one for rows in shown.values() for one in rows],
    }


def _metrics(run: PreparationRun, train: dict[str, Any]) -> dict[str, float]:
    rows, sizes = train["rows"], train["bytes"]
    metrics: dict[str, float] = {
        "rows_read": rows["rows_read"],
        "rows_kept": rows["rows_kept"],
        "rows_kept_share": rows["rows_kept"] / rows["rows_read"],
        "bytes_read": sizes["bytes_read"],
        "bytes_kept": sizes["bytes_kept"],
        "bytes_kept_share": sizes["bytes_kept"] / max(sizes["bytes_read"], 1),
    }
    if not run.resumed:
        seconds = time.monotonic() - run.started
        metrics["prepare_seconds"] = seconds
        metrics["megabytes_per_second"] = sizes["bytes_read"] / MEGABYTE / seconds
    return metrics
