"""Draws a validation split from training documents, by a hash of each text or from the tail.

Arrays named `hashes` are uint64 of shape (documents,); tables have the one column `text` of Arrow strings.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.data.files import PIECE_BYTES
from pipelines.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Drawn:
    """The two sides of a drawn split, as record batches in source order, made as they are asked for."""

    train: Iterable["pa.RecordBatch"]
    validation: Iterable["pa.RecordBatch"]
    moved: int  # whole documents that went to validation
    cut: int  # documents cut in two (0 or 1): the head stays in train, the rest is one more validation document


def text_hashes(table: "pa.Table", seed: int) -> Any:
    """Seeded 64-bit XXH3 of each text.

    Two of N distinct texts collide with a chance of about N**2 / 2**65: three in a million for ten million texts.
    """
    import numpy as np
    import xxhash

    digest = xxhash.xxh3_64_intdigest
    hashes = np.empty(table.num_rows, dtype=np.uint64)
    row = 0
    for offsets, data in text_buffers(table):
        ends = offsets.tolist()
        for start, end in zip(ends, ends[1:], strict=False):
            hashes[row] = digest(data[start:end], seed)
            row += 1
    return hashes


def text_buffers(table: "pa.Table") -> Iterator[tuple[Any, memoryview]]:
    """(offsets, bytes) of each chunk of the text column, without a copy: text i is bytes[offsets[i]:offsets[i + 1]]."""
    import numpy as np

    for array in table.column("text").chunks:
        if len(array):
            _, offsets, data = array.buffers()
            view = memoryview(b"") if data is None else memoryview(data)
            yield np.frombuffer(offsets, dtype=np.int32)[array.offset : array.offset + len(array) + 1], view


def draw_by_hash(table: "pa.Table", hashes: Any, share: float) -> Drawn:
    """Moves the documents with the lowest hashes to validation, equal texts together.

    Args:
        table: training documents.
        hashes: `text_hashes` of them.
        share: of the distinct texts, rounded down, but at least one text.

    Raises:
        DataError: there is only one distinct text.
    """
    import numpy as np

    distinct = np.unique(hashes)
    if len(distinct) < 2:
        what = "one document" if table.num_rows == 1 else f"{table.num_rows:,} documents, all equal"
        raise DataError(
            f"The training data is {what}, so no validation documents can be drawn from it by hash. "
            "Set --data.split_method tail to hold out the end of the text, or give --data.files.validation."
        )
    held_out = hashes <= distinct[max(1, int(share * len(distinct))) - 1]
    train, validation = _rows_where(table, ~held_out), _rows_where(table, held_out)
    return Drawn(train, validation, moved=int(held_out.sum()), cut=0)


def _rows_where(table: "pa.Table", mask: Any) -> Iterator["pa.RecordBatch"]:
    start = 0
    for batch in table.to_batches():
        yield batch.filter(_as_mask(mask[start : start + batch.num_rows]))
        start += batch.num_rows


def _as_mask(values: Any) -> "pa.Array":
    import pyarrow as pa

    return pa.array(values)


def draw_tail(table: "pa.Table", share: float) -> Drawn:
    """Moves the last `share` of the characters to validation, cutting the document where the boundary falls.

    Of `n` characters (code points) in all, train keeps the first `int(n * (1 - share))`.

    Raises:
        DataError: one side would be left without a character.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    ends = np.cumsum(pc.utf8_length(table.column("text")).to_numpy().astype(np.int64))
    total = int(ends[-1])
    cut = int(total * (1 - share))
    if not 0 < cut < total:
        raise DataError(
            f"The training data has {total:,} characters; the last {share:g} of them leaves nothing on one side. "
            "Change --data.validation_share, or give --data.files.validation."
        )
    place = int(np.searchsorted(ends, cut, side="right"))  # the document that holds character `cut`
    head_length = cut - (int(ends[place - 1]) if place else 0)
    train, validation = table.slice(0, place).to_batches(), table.slice(place).to_batches()
    if head_length:
        text = table.column("text")[place].as_buffer()
        head_bytes = _bytes_of_characters(text, head_length)
        halves = [
            pa.record_batch({"text": pa.array([memoryview(half)], pa.binary()).cast(pa.string())})
            for half in (text.slice(0, head_bytes), text.slice(head_bytes))
        ]
        train, validation = [*train, halves[0]], [halves[1], *table.slice(place + 1).to_batches()]
    return Drawn(train, validation, moved=table.num_rows - place - (1 if head_length else 0), cut=int(head_length > 0))


def _bytes_of_characters(text: "pa.Buffer", characters: int) -> int:
    """How many bytes the first `characters` code points of UTF-8 bytes take; the text has more than that."""
    import numpy as np

    data = np.frombuffer(text, dtype=np.uint8)
    seen = 0
    for place in range(0, len(data), PIECE_BYTES):
        starts = np.flatnonzero((data[place : place + PIECE_BYTES] & 0xC0) != 0x80)  # no continuation bytes
        if seen + len(starts) > characters:
            return place + int(starts[characters - seen])
        seen += len(starts)
    raise ValueError(f"the text has {seen} characters, not more than {characters}")
