"""The source, cut into work items of about equal size: the same ones every time, whoever works on them."""

import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pipelines.errors import CheckpointError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of the source."""

    number: int
    """From 0."""
    table: "pa.Table"
    """text (null where a row has none), source_file and source_row, from 1 in each file."""
    digest: str
    """128-bit XXH3 of all three, 32 hex digits."""


def cut_into_chunks(arrays: Iterable[tuple[str, "pa.Array"]], chunk_bytes: int) -> Iterator[Chunk]:
    """Cuts texts after `chunk_bytes` each, between rows. A row of more bytes is a chunk of its own, or ends one.

    Args:
        arrays: (file, string array), in order.
        chunk_bytes: UTF-8 bytes of the texts of one chunk; 32 more are counted for each row.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    pieces: list[pa.Table] = []
    room, number = chunk_bytes, 0
    current, row = "", 0
    for file, array in arrays:
        row, current = (row, current) if file == current else (0, file)
        ends = np.cumsum(pc.binary_length(array).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64) + 32)
        start, done = 0, 0
        while start < len(array):
            stop = min(int(np.searchsorted(ends, done + room)) + 1, len(array))
            rows = np.arange(row + start + 1, row + stop + 1)
            part = {"text": array.slice(start, stop - start), "source_file": pa.array([file] * len(rows))}
            pieces.append(pa.table(part | {"source_row": rows}))
            room -= int(ends[stop - 1]) - done
            start, done = stop, int(ends[stop - 1])
            if room <= 0:
                yield _chunk(number, pieces)
                pieces, room, number = [], chunk_bytes, number + 1
        row += len(array)
    if pieces:
        yield _chunk(number, pieces)


def _chunk(number: int, pieces: list["pa.Table"]) -> Chunk:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import xxhash

    table = pa.concat_tables(pieces).combine_chunks()
    digest = xxhash.xxh3_128(table["source_row"].to_numpy().tobytes())
    for name in ("text", "source_file"):
        for array in table[name].chunks:
            lengths = pc.binary_length(array).fill_null(-1).to_numpy(zero_copy_only=False)
            digest.update(lengths.astype(np.int64).tobytes())
            offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
            data = array.buffers()[2]
            digest.update(data[int(offsets[0]) : int(offsets[-1])] if data is not None else b"")
    return Chunk(number, table, digest.hexdigest())


def table_to_bytes(table: "pa.Table") -> bytes:
    """A table as an Arrow stream, to be sent to another process."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def table_of_bytes(data: bytes) -> "pa.Table":
    """What `table_to_bytes` made."""
    import pyarrow as pa

    return pa.ipc.open_stream(pa.py_buffer(data)).read_all()


def aside_of(path: Path) -> Path:
    """Where a file is written before it takes its name: of nobody else, who may do the same item."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")


@contextmanager
def synced(path: Path) -> Iterator[BinaryIO]:
    """A file to be written, which takes its name when all of it is on the disk."""
    aside = aside_of(path)
    with aside.open("wb") as sink:
        yield sink
        sink.flush()
        os.fsync(sink.fileno())
    os.replace(aside, path)


def write_part(path: Path, columns: dict[str, Any], account: dict[str, Any]) -> None:
    """Writes what a work item made, with its account: complete or absent.

    Args:
        path: of the file.
        columns: name -> Arrow array.
        account: for JSON.
    """
    import json

    import pyarrow as pa

    table = pa.table(columns).combine_chunks()
    schema = table.schema.with_metadata({"account": json.dumps(account, ensure_ascii=False)})
    with synced(path) as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(table.cast(schema))


def read_part(path: Path) -> tuple["pa.Table", dict[str, Any]]:
    """The table, mapped into memory, and the account of a work item.

    Raises:
        CheckpointError: the file is damaged.
    """
    import json

    import pyarrow as pa

    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        return table, json.loads(table.schema.metadata[b"account"])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}, a work item of this run, is damaged: {error}. Delete it and run the same command again: "
            "only that item is done anew."
        ) from None
