"""The beginning of large files, in place of them: what a check reads of data that it has no time to read whole."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.checking import Check
from pipelines.data.files import SourceFile, open_bytes
from pipelines.data.sources import Source

if TYPE_CHECKING:
    import datasets

MOST_FILES = 16  # of a split, evenly spread, that a sample reads
HUB_ROWS = 50_000
LINES = ("text", "json", "csv", "tsv", "conll")  # formats that can be cut at the end of a line


def sample(source: Source, check: Check) -> Source:
    """The source with the large splits cut to a sample; the check learns what share of the training split is left.

    Files are cut where a line (csv: a row) ends, parquet and arrow files between batches. Later steps cache what they
    make of it in a folder that is deleted when the process ends.

    Args:
        source: as opened.
        check: under way; its `preflight.sample_megabytes` says how much is read.
    """
    budget = int(check.settings.sample_megabytes * 1e6)
    splits: dict[str, list[SourceFile] | datasets.Dataset] = {}
    shares: dict[str, float] = {}
    for split, found in source.splits.items():
        most = budget if split == "train" else budget // 4
        if not isinstance(found, list):
            rows = min(len(found), HUB_ROWS if split == "train" else HUB_ROWS // 4)
            splits[split], shares[split] = found.select(range(rows)), rows / max(len(found), 1)
        elif sum(file.path.stat().st_size for file in found) <= most:
            splits[split], shares[split] = found, 1.0
        else:
            splits[split], shares[split] = _beginnings(found, most, check.scratch() / split)
    check.share, check.is_sample = shares["train"], min(shares.values()) < 1
    for split, share in shares.items():
        if share < 1:
            told = f"{split}: the first {share:.1%} was read (--preflight.sample_megabytes). Counts are of this sample"
            check.note("ok", "sample", told + (", steps and times of the whole." if split == "train" else "."))
    return replace(source, splits=splits)


def _beginnings(files: Sequence[SourceFile], most: int, folder: Path) -> tuple[list[SourceFile], float]:
    """The beginnings of some of the files, and their share of all bytes."""
    folder.mkdir(parents=True)
    step = -(-len(files) // MOST_FILES)
    chosen = files[::step]
    total = sum(file.path.stat().st_size for file in files)
    cut: list[SourceFile] = []
    taken = 0.0
    for number, file in enumerate(chosen):
        size, room = file.path.stat().st_size, most // len(chosen)
        path = folder / f"{number}.{file.format}"
        if size <= room:
            cut.append(file)
            taken += size
        elif file.format in LINES:
            taken += size * _cut_lines(file, room, path)
            cut.append(replace(file, path=path, compression=None))
        else:
            taken += size * _cut_batches(file, room, path)
            cut.append(replace(file, path=path, format="parquet", compression=None))
    return cut, taken / total


def _cut_lines(file: SourceFile, room: int, path: Path) -> float:
    """Writes some `room` bytes of a file; returns their share of it, of a compressed one roughly."""
    with open_bytes(file) as stream:
        data = stream.read(room)
        if file.format == "json" and data.lstrip()[:1] == b"[":  # one value, which has no lines to be cut at
            data += stream.read()
            path.write_bytes(data)
            return 1.0
        if data.rfind(b"\n") < 0:
            data += stream.readline()
        at_end = not stream.peek(1) if hasattr(stream, "peek") else False
        raw: Any = getattr(stream, "fileobj", None) or getattr(stream, "_fp", None)
        position = len(data) if raw is None or file.compression is None else raw.tell()
    if not at_end:
        data = data[: _last_line_end(data, file.format == "csv")]
    path.write_bytes(data)
    return min(1.0, max(position, 1) / file.path.stat().st_size)


def _last_line_end(data: bytes, quoted: bool) -> int:
    """Where the last whole line ends; with quotes, the last line end that is not inside a quoted field."""
    end = data.rfind(b"\n") + 1
    while quoted and end > 0 and data.count(b'"', 0, end) % 2:
        end = data.rfind(b"\n", 0, end - 1) + 1
    return end or len(data)


def _cut_batches(file: SourceFile, room: int, path: Path) -> float:
    """Writes the first batches of a parquet or arrow file as parquet; returns their share of its rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pipelines.data.readers import arrow_source

    with arrow_source(file) as source:
        if file.format == "parquet":
            whole = pq.ParquetFile(source)
            rows, batches = whole.metadata.num_rows, whole.iter_batches(1_000)
            schema = whole.schema_arrow
        else:
            try:
                table = pa.ipc.open_stream(source).read_all()
            except pa.ArrowInvalid:
                table = pa.ipc.open_file(source).read_all()
            rows, batches, schema = table.num_rows, iter(table.to_batches(1_000)), table.schema
        taken = written = 0
        with pq.ParquetWriter(path, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
                taken += batch.num_rows
                written += batch.nbytes
                if written >= room:
                    break
    return taken / max(rows, 1)
