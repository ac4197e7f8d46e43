"""Shards cut into units: the pieces that a stream reads, shuffles and tokenizes as wholes.

Every row of a shard is in exactly one of its units, and a unit is read without reading what stands before it:

| shard | units |
|---|---|
| lines (json lines, text by line or paragraph) | UNIT_BYTES each; a line or paragraph belongs where it begins |
| parquet | a row group, or equal ranges of its rows if it is larger than that |
| text by document, compressed | whole files, small ones together |

The rows of a row group cannot be sought: those before a range are decoded and passed over. So a group is cut into
MOST_CUTS ranges at most, and on the Hub into ranges of HUB_UNIT_BYTES, since they are downloaded too.

Shape legend: U units.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from pipelines.data.columns import check_string
from pipelines.data.files import check_utf8
from pipelines.data.readers import BOM, is_json_lines, json_columns, json_line_texts, text_documents, with_text
from pipelines.data.streaming.shards import Shard
from pipelines.errors import DataError, HubError

if TYPE_CHECKING:
    import pyarrow as pa

UNIT_BYTES = 1 << 19
HUB_UNIT_BYTES = 16 << 20
MOST_CUTS = 16
BYTES, WHOLE = -1, -2  # in the place of a row group: a range of bytes, whole files
SEARCH_BYTES = 1 << 16  # read at once to find the end of a line
PARAGRAPH_END = re.compile(rb"(?>\r\n|\n|\r){2,}")
LOOK_BACK = {"line": 1, "paragraph": 4}  # bytes of the longest end of a line, or of two


class UnitTexts(NamedTuple):
    """The documents of a unit: Arrow string arrays, the rows that were read and left out, and a hash of the texts."""

    arrays: "list[pa.Array]"
    rows_read: int
    null: int
    empty: int
    digest: int

    def batches(self, size: int = 1_000) -> Iterator[list[str]]:
        """The texts, some at a time."""
        for array in self.arrays:
            for start in range(0, len(array), size):
                yield array.slice(start, size).to_pylist()


@dataclass(frozen=True)
class Units:
    """The units of a source, in the order of its shards.

    Attributes:
        shards: of the source.
        choose: (columns, name of the file) -> the column that is the text.
        sample_by: what one document of a text file is.
        table_6U: int64; for each unit its first and last shard, row group (or BYTES, WHOLE), where it starts and stops
            in bytes or rows, and about how many bytes of file or column it is.
    """

    shards: Sequence[Shard]
    choose: Callable[[list[str], str], str]
    sample_by: str
    table_6U: np.ndarray
    _columns: dict[int, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, shards: Sequence[Shard], choose: Callable[[list[str], str], str], sample_by: str) -> "Units":
        """Cuts shards into units, of which only the footers of parquet files are read.

        Raises:
            DataError: a parquet file cannot be read or has no such column.
            HubError: the Hub cannot be reached, or refused.
        """
        rows: list[tuple[int, int, int, int, int, int]] = []
        for place, shard in enumerate(shards):
            if shard.file.format == "parquet":
                rows += ((place, place, *cut) for cut in _cut_row_groups(shard, choose))
            elif shard.file.compression or (shard.file.format == "text" and sample_by == "document"):
                last = rows[-1] if rows else None
                if last is not None and last[2] == WHOLE and last[5] + shard.size <= UNIT_BYTES:
                    rows[-1] = (last[0], place, WHOLE, 0, 0, last[5] + shard.size)
                else:
                    rows.append((place, place, WHOLE, 0, 0, shard.size))
            else:
                edges = [*range(0, shard.size, UNIT_BYTES), shard.size]
                rows += ((place, place, BYTES, a, b, b - a) for a, b in zip(edges[:-1], edges[1:], strict=True))
        return cls(shards, choose, sample_by, np.array(rows, dtype=np.int64).reshape(-1, 6).T)

    def __len__(self) -> int:
        return self.table_6U.shape[1]

    @property
    def bytes_U(self) -> np.ndarray:
        """About how many bytes of file, or of a parquet column, each unit is; int64."""
        size_U: np.ndarray = self.table_6U[5]
        return size_U

    def read(self, unit: int) -> UnitTexts:
        """The documents of a unit.

        Raises:
            DataError: a shard is gone, was changed, or cannot be read; names it and the line, row or byte.
            HubError: the Hub cannot be reached, or refused.
        """
        import pyarrow as pa
        import pyarrow.compute as pc
        import xxhash

        first, last, group, start, stop, _ = map(int, self.table_6U[:, unit])
        read = null = empty = 0
        kept: list[pa.Array] = []
        digest = xxhash.xxh3_64()
        for place in range(first, last + 1):
            shard, rows = self.shards[place], 0
            try:
                for array in self._arrays(place, group, start, stop):
                    array.validate(full=True)  # UTF-8 too: parquet files only claim it
                    texts, nulls, blanks = with_text(array)
                    rows, null, empty = rows + len(array), null + nulls, empty + blanks
                    kept.append(texts)
            except (pa.ArrowException, OSError) as error:
                reason = " ".join(str(error).split())
                where = f", row group {group} from row {start:,}" if group >= 0 else f" from byte {start:,}"
                kind = HubError if shard.is_on_hub else DataError
                raise kind(f"{shard.file.shown} cannot be read as {shard.file.format}{where} on: {reason}") from None
            read += rows
        for array in kept:
            digest.update(np.asarray(pc.binary_length(array)).astype("<i4").tobytes())
            digest.update(b"".join(array.cast(pa.binary()).to_pylist()))
        return UnitTexts(kept, read, null, empty, digest.intdigest())

    def _arrays(self, place: int, group: int, start: int, stop: int) -> Iterator["pa.Array"]:
        shard = self.shards[place]
        if group >= 0:
            yield from self._parquet_rows(shard, group, start, stop)
        elif group == WHOLE:
            if shard.file.compression:
                data = shard.decompressed()
            else:
                with shard.open() as stream:
                    data = stream.read()
            yield from self._texts(place, data, 0, column=None)
        else:
            with shard.open() as stream:
                kind = "paragraph" if shard.file.format == "text" and self.sample_by == "paragraph" else "line"
                begin, end = (boundary(stream, at, shard.size, kind) for at in (start, stop))
                stream.seek(begin)
                data = stream.read(end - begin)
            yield from self._texts(place, data, begin, column=place)

    def _texts(self, place: int, data: bytes, begin: int, column: int | None) -> Iterator["pa.Array"]:
        """The documents of whole lines, paragraphs or files that begin `begin` bytes into a shard."""
        file = self.shards[place].file
        check_utf8(data, begin, file)
        if file.format == "text":
            yield text_documents(data.removeprefix(BOM) if begin == 0 else data, self.sample_by, file)
            return
        data = data.replace(BOM, b"   ", 1) if begin == 0 and data.startswith(BOM) else data
        if data.strip():
            name = self._json_column(place, data if column is None else None)
            yield from json_line_texts(data, name, file, lambda: self._line(place, begin))

    def _json_column(self, place: int, data: bytes | None) -> str:
        """The text column of a shard, by its first lines."""
        known = self._columns.get(place)
        if known is not None:
            return known
        shard = self.shards[place]
        if data is None:
            with shard.open() as stream:
                end = boundary(stream, min(UNIT_BYTES, shard.size), shard.size, "line")
                stream.seek(0)
                data = stream.read(end)
                data = data.replace(BOM, b"   ", 1) if data.startswith(BOM) else data
        if not is_json_lines(data):
            raise DataError(
                f"{shard.file.shown} is one JSON value, which cannot be read in pieces: expected one object a line."
            )
        column = self._columns[place] = self.choose(json_columns(data, shard.file, 1), shard.file.shown)
        return column

    def _line(self, place: int, begin: int) -> int:
        """The number of the line that begins `begin` bytes into a shard, counted for a message."""
        lines = 1
        if begin:
            with self.shards[place].open() as stream:
                while begin > 0 and (chunk := stream.read(min(begin, UNIT_BYTES))):
                    lines, begin = lines + chunk.count(b"\n"), begin - len(chunk)
        return lines

    def _parquet_rows(self, shard: Shard, group: int, start: int, stop: int) -> Iterator["pa.Array"]:
        import pyarrow as pa

        with shard.open() as stream, _parquet(stream) as parquet:
            column = self.choose(parquet.schema_arrow.names, shard.file.shown)
            row = 0
            for batch in parquet.iter_batches(1_000, row_groups=[group], columns=[column], use_threads=False):
                first, last = max(start - row, 0), min(stop - row, len(batch))
                if first < last:
                    yield batch.column(0).slice(first, last - first).cast(pa.string())
                row += len(batch)
                if row >= stop:
                    break


def _parquet(stream: BinaryIO) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(stream)


def _cut_row_groups(shard: Shard, choose: Callable[[list[str], str], str]) -> Iterator[tuple[int, int, int, int]]:
    """(row group, first row, row after the last, bytes) of the units of a parquet file."""
    import pyarrow as pa

    try:
        with shard.open() as stream, _parquet(stream) as parquet:
            column = choose(parquet.schema_arrow.names, shard.file.shown)
            check_string(parquet.schema_arrow.field(column).type, column, shard.file.shown)
            groups = [parquet.metadata.row_group(group) for group in range(parquet.num_row_groups)]
            leaf = next(at for at in range(groups[0].num_columns) if groups[0].column(at).path_in_schema == column)
            sizes = [(one.num_rows, one.column(leaf).total_uncompressed_size) for one in groups]
    except (pa.ArrowException, IndexError) as error:
        reason = " ".join(str(error).split()) if isinstance(error, pa.ArrowException) else "it has no rows"
        raise DataError(f"{shard.file.shown} cannot be read as parquet: {reason}") from None
    for group, (rows, size) in enumerate(sizes):
        cuts = -(-size // HUB_UNIT_BYTES) if shard.is_on_hub else min(-(-size // UNIT_BYTES), MOST_CUTS)
        cuts = max(1, min(cuts, rows))
        edges = [rows * cut // cuts for cut in range(cuts + 1)]
        yield from ((group, a, b, size // cuts) for a, b in zip(edges[:-1], edges[1:], strict=True))


def boundary(stream: BinaryIO, position: int, size: int, kind: str) -> int:
    """Where the first line or paragraph begins at or after a position: its byte, or the size if there is none.

    Args:
        stream: a file that can seek.
        position: in bytes.
        size: of the file.
        kind: "line" or "paragraph"; the latter ends with two line ends or more.
    """
    if position == 0 or position >= size:
        return min(position, size)
    start = at = max(0, position - LOOK_BACK[kind])
    stream.seek(start)
    data = b""
    while chunk := stream.read(SEARCH_BYTES):
        data = data[-4:] + chunk if kind == "line" else data + chunk
        at += len(chunk)
        base = at - len(data)
        if kind == "line":
            end = data.find(b"\n", max(0, position - 1 - base))
            if end >= 0:
                return base + end + 1
        else:
            for found in PARAGRAPH_END.finditer(data):
                if base + found.end() >= position and (found.end() < len(data) or at >= size):
                    return base + found.end()
    return size
