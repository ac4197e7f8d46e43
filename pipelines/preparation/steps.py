"""The steps of recipes/prepare_corpus.py. Each leaves files in the run folder that it does not make again.

`work/cleaned` and `work/scrubbed` hold a file for each chunk of the source, `work/duplicates.npz` what becomes of each
document, `corpus/` the result; `work/` is deleted at the end. Texts are never all in memory: what is, is a hash, a
signature and a place for each document (some 620 bytes), and a chunk for each process.
"""

import io
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.data.loading import check_stated_rows
from pipelines.errors import DataError
from pipelines.preparation import quality
from pipelines.preparation.accounts import Account, prepared_receipt, sample_text
from pipelines.preparation.chunks import cut_into_chunks, read_part, synced, table_to_bytes
from pipelines.preparation.data_card import data_card
from pipelines.preparation.duplicates import REASONS, Duplicates, find_duplicates
from pipelines.preparation.opening import MEGABYTE, PreparationRun, texts_of
from pipelines.preparation.scrubbing import Scrubbing
from pipelines.preparation.shards import plan_shards
from pipelines.report import finish_run
from pipelines.run import say

REASON_ORDER = [
    *("null", "empty", "other_language", "uncertain_language", "boilerplate"),
    *quality.REASONS,
    *REASONS.values(),
    "contaminated",
]


def clean(run: PreparationRun) -> None:
    """Reads the source in chunks, and repairs, filters and hashes each.

    Raises:
        DataError: the source cannot be read, or is not what the interrupted run read.
        CardError: its card states another number of rows.
    """
    rows_read = 0

    def items() -> Iterator[tuple[Path, Any]]:
        nonlocal rows_read
        number = 0
        for chunk in cut_into_chunks(texts_of(run), int(run.config.prepare.chunk_megabytes * MEGABYTE)):
            path, number = run.work / "cleaned" / f"{chunk.number:07}.arrow", chunk.number + 1
            rows_read += chunk.table.num_rows
            if not path.exists():
                yield path, (chunk.digest, table_to_bytes(chunk.table))
            elif read_part(path)[1]["digest"] != chunk.digest:
                raise _changed(run)
        if (run.work / "cleaned" / f"{number:07}.arrow").exists():
            raise _changed(run)

    run.workers.do("clean", items())
    check_stated_rows(run.source.card, run.source.chosen, "train", rows_read)


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
    with synced(path) as sink:
        sink.write(content.getvalue())


def _fixed(table: Any, name: str, dtype: Any) -> Any:
    """A column of fixed-size binary values as rows of numbers; shape (rows, 0) if it is not there."""
    if name not in table.column_names:
        return np.zeros((table.num_rows, 0), dtype)
    column = table[name].combine_chunks()
    width = column.type.byte_width
    data = np.frombuffer(column.buffers()[1] or b"", np.uint8)[column.offset * width :][: len(column) * width]
    return data.view(dtype).reshape(len(column), -1)


def scrub(run: PreparationRun) -> None:
    """Leaves the duplicates out, and what evaluation sets share, and replaces the personal data of the others."""

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
    for left in run.corpus.glob(".train-*"):  # by a process that was ended while it wrote
        left.unlink()


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
        "decontamination": run.lookup.sets if run.lookup is not None else [],
        "shards": files,
    }
    card = data_card(receipt, run.config)
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
            scrubbed = scrub_text(row["text"], config.kinds)[0] if config.enabled else row["text"]
            text = sample_text(row["text"], scrubbed)
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
