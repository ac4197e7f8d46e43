"""The prepared documents as Parquet files of a stated size, in the order of the source."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.preparation.chunks import aside_of, read_part
from pipelines.preparation.workers import Work

ROW_GROUP = 10_000  # documents


@dataclass(frozen=True)
class Slice:
    """Consecutive documents of a part."""

    path: Path
    start: int
    stop: int


def plan_shards(parts: list[tuple[Path, NDArray[np.int64]]], shard_bytes: int) -> list[list[Slice]]:
    """Which documents each file holds: as many as fit, at least one.

    Args:
        parts: file, and UTF-8 bytes of its documents, in order.
        shard_bytes: of the texts of one file at most.
    """
    shards: list[list[Slice]] = []
    room = 0
    for path, bytes_D in parts:
        ends_D, start = np.cumsum(bytes_D), 0
        while start < len(bytes_D):
            done = int(ends_D[start - 1]) if start else 0
            stop = int(np.searchsorted(ends_D, done + room, side="right"))
            if stop <= start:  # the next document does not fit: a new file, in which it stands in any case
                shards.append([])
                room = max(shard_bytes, int(bytes_D[start]))
                continue
            shards[-1].append(Slice(path, start, stop))
            room -= int(ends_D[stop - 1]) - done
            start = stop
    return shards


def begin_writing() -> Work:
    """The function that writes a shard."""
    return write_shard


def write_shard(path: Path, slices: Any) -> None:
    """Writes the documents of slices as one Parquet file: complete or absent."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [read_part(one.path)[0].slice(one.start, one.stop - one.start) for one in slices]
    table = pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
    aside = aside_of(path)
    pq.write_table(table, aside, row_group_size=ROW_GROUP, compression="zstd")
    os.replace(aside, path)
