"""Parts of large files, in place of them: what a check reads of data that it has no time to read whole."""

import gzip
import io
import lzma
from bz2 import BZ2File
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from pipelines.checking import Check
from pipelines.data.files import SourceFile
from pipelines.data.readers import BOM, is_json_lines
from pipelines.data.sources import Source

if TYPE_CHECKING:
    import datasets

HUB_ROWS = 50_000  # of a training split of the Hub
PIECES = 8  # of a file that can be read from anywhere, so that a file sorted by label shows several
PIECE_BYTES = 1 << 16  # read at once of a compressed file: its share is known to no less
LINES = ("text", "json", "csv", "tsv", "conll")  # formats that can be cut at the end of a line


def sample(source: Source, check: Check, is_trained_on: bool = True) -> Source:
    """The source with the large splits cut to a sample; the check learns what share of the training split is left.

    Files are cut between rows: at line ends (csv: those outside quotes), between batches of parquet and arrow. Of json
    lines, tsv and parquet, pieces are taken evenly, of csv, text and compressed files the beginning; of many files, as
    many as fit, evenly. Later steps cache what they make of it in the scratch folder of the check.

    Args:
        source: as opened.
        check: under way; its `preflight.sample_megabytes` says how much is read.
        is_trained_on: else the check learns no share.
    """
    budget = int(check.settings.sample_megabytes * 1e6)
    splits: dict[str, list[SourceFile] | datasets.Dataset] = {}
    shares: dict[str, float] = {}
    for split, found in source.splits.items():
        most = budget if split == "train" else budget // 4
        if not isinstance(found, list):
            rows, wanted = len(found), HUB_ROWS if split == "train" else HUB_ROWS // 4
            taken = found if rows <= wanted else found.select([place * rows // wanted for place in range(wanted)])
            splits[split], shares[split] = taken, len(taken) / max(rows, 1)
        elif sum(file.path.stat().st_size for file in found) <= most:
            splits[split], shares[split] = found, 1.0
        else:
            splits[split], shares[split] = _parts(found, most, Path(mkdtemp(dir=check.scratch())))
    if is_trained_on:
        check.share, check.is_sample = shares["train"], min(shares.values()) < 1
    for split, share in shares.items():
        if share < 1:
            told = f"{split}: {share:.1%} was read (--preflight.sample_megabytes). Counts are of this sample"
            check.note("ok", "sample", told + (", steps and times of the whole." if split == "train" else "."))
    return replace(source, splits=splits)


def _parts(files: Sequence[SourceFile], most: int, folder: Path) -> tuple[list[SourceFile], float]:
    """Parts of files, `most` bytes in all, and their share of all bytes; of several files as many as fit, evenly."""
    sizes = [file.path.stat().st_size for file in files]
    total = sum(sizes)
    count = min(len(files), max(1, len(files) * most // total, min(len(files), PIECES)))
    parts: list[SourceFile] = []
    taken = 0.0
    for place in range(count):
        number = place * len(files) // count
        file, room = files[number], most // count
        if sizes[number] <= room:
            parts.append(file)
            taken += sizes[number]
            continue
        path = folder / f"{number}.{file.format}"
        cut = _cut_lines if file.format in LINES else _cut_batches
        share = cut(file, room, path)
        taken += sizes[number] * share
        kept = file.format if file.format in LINES else "parquet"
        if share < 1:  # rows are counted in the sample, which messages say
            file = replace(file, path=path, shown=f"{file.shown} (a sample)", format=kept, compression=None)
        parts.append(file)
    return parts, min(taken / total, 1.0)


def _cut_lines(file: SourceFile, room: int, path: Path) -> float:
    """Writes whole rows of some `room` bytes of a file of lines; returns their share of it. 1: nothing was written."""
    size = file.path.stat().st_size
    with file.path.open("rb") as raw, _decompressed(raw, file.compression) as stream:
        start = stream.read(min(room, 1 << 16))
        if file.format == "json" and not is_json_lines(start.removeprefix(BOM)):
            return 1.0  # one value, which has no lines to be cut at: read whole
        if file.compression is None and file.format in ("json", "tsv"):
            data = b"".join(_pieces(raw, size, room, with_header=file.format == "tsv"))
            path.write_bytes(data)
            return len(data) / size
        chunks, length = [start], len(start)
        while length < room and (chunk := stream.read(PIECE_BYTES)):
            chunks.append(chunk)
            length += len(chunk)
        data, at_end = b"".join(chunks), not stream.read(1)
        position = raw.tell() if file.compression else length
    kept = len(data) if at_end else _last_row_end(data, file.format)
    path.write_bytes(data[:kept])
    return 1.0 if at_end else min(1.0, max(position, 1) / size) * kept / len(data)


def _decompressed(raw: BinaryIO, compression: str | None) -> BinaryIO:
    """The bytes of an open file, of which `raw` tells how far it was read."""
    if compression == ".gz":
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    if compression == ".bz2":
        return cast(BinaryIO, BZ2File(raw))
    if compression == ".xz":
        return cast(BinaryIO, lzma.LZMAFile(raw))
    if compression == ".zst":
        import pyarrow as pa

        return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw), "zstd"), PIECE_BYTES)
    return raw


def _pieces(raw: BinaryIO, size: int, room: int, with_header: bool) -> Iterator[bytes]:
    """Whole lines from PIECES places of a file, evenly spread; the first line too, where it is a header."""
    for number in range(PIECES):
        raw.seek(number * size // PIECES)
        if number:
            raw.readline()  # begins in the middle, or is the last of the piece before
        piece = raw.read(room // PIECES)
        line = b"" if piece.endswith(b"\n") or not piece else raw.readline()
        if number == 0 and with_header and b"\n" not in piece:
            piece += raw.readline()
        yield piece + line


def _last_row_end(data: bytes, format: str) -> int:
    """Where the last whole row ends. Of csv that is a line end outside of quotes, which open where a field begins."""
    if format != "csv":
        end = data.rfind(b"\n") + 1
        return end if end else len(data)
    end = start = 0
    quoted = False
    while (line_end := data.find(b"\n", start)) >= 0:
        for field in data[start:line_end].split(b","):
            if not quoted and field.startswith(b'"'):
                quoted = field.count(b'"') % 2 == 1
            elif quoted and field.count(b'"') % 2 == 1:
                quoted = False
        start = line_end + 1
        if not quoted:
            end = start
    return end or len(data)


def _cut_batches(file: SourceFile, room: int, path: Path) -> float:
    """Writes batches of a parquet or arrow file, evenly spread, as parquet; returns their share of its rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pipelines.data.readers import arrow_source

    with arrow_source(file) as source:
        if file.format == "parquet":
            whole = pq.ParquetFile(source)
            rows, groups = whole.metadata.num_rows, whole.num_row_groups
            order = [place * groups // min(groups, PIECES) for place in range(min(groups, PIECES))]
            most = room // len(order)
            streams: list[Any] = [whole.iter_batches(100, row_groups=[group]) for group in order]
            schema = whole.schema_arrow
        else:
            try:
                table = pa.ipc.open_stream(source).read_all()
            except pa.ArrowInvalid:
                table = pa.ipc.open_file(source).read_all()
            rows, schema, most = table.num_rows, table.schema, room // PIECES
            step = max(1, -(-rows // PIECES))
            streams = [iter(table.slice(first, step).to_batches(100)) for first in range(0, rows, step)]
        taken = 0
        with pq.ParquetWriter(path, schema) as writer:
            for batches in streams:
                written = 0
                for batch in batches:
                    writer.write_batch(batch)
                    taken += batch.num_rows
                    written += batch.nbytes
                    if written >= most:
                        break
    return taken / max(rows, 1)
