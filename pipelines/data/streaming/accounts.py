"""What a streamed run has read and shown, added up from the counts of its units."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.data.streaming.counts import UnitCounts, as_dict
from pipelines.data.streaming.reading import LaneReader


@dataclass(frozen=True)
class SourceAccount:
    """One source of a run.

    Attributes:
        name: of the source.
        units, units_read: trained on in one pass, and those of which a block was shown.
        read: sums of the counts of the units read (counts.FIELDS), each unit once.
        rows: blocks shown, repetitions among them.
        blocks_seen: blocks of the units read that were shown.
        epochs: passes over the source, parts of units by their blocks.
        targets: supervised positions of the rows shown.
        positions: that the rows shown take, see `positions_of_rows`.
    """

    name: str
    units: int
    units_read: int
    read: dict[str, int]
    rows: int
    blocks_seen: int
    epochs: float
    targets: int
    positions: int


def account_of(
    name: str,
    trained: np.ndarray,
    readers: Sequence[LaneReader],
    drawn: np.ndarray,
    counts: UnitCounts,
    rows: Any,
) -> SourceAccount:
    """The account of a source after its lanes have shown so many blocks.

    Whole units are known by their counts. Those that lanes are in the middle of are read once more.

    Args:
        name: of the source.
        trained: numbers of its units.
        readers: of its lanes.
        drawn: blocks that each of them has shown.
        counts: of its units.
        rows: what a row is.
    """
    whole: list[np.ndarray] = []
    begun: dict[int, list[np.ndarray]] = {}
    shown, targets, positions, members = 0, 0, 0, 0.0
    for reader, blocks in zip(readers, drawn.tolist(), strict=True):
        if not blocks:
            continue
        member, first = reader.walk(blocks - 1)  # the last unit is always counted by its blocks
        whole.append(reader.units(0, member))
        documents, within = reader.documents_of(member), blocks - first
        order = reader.permutation(member, len(documents))[:within]
        begun.setdefault(int(reader.units(member, 1)[0]), []).append(order)
        shown += within
        members += within / len(documents)
        targets += int(rows.row_targets(documents, order).sum())
        positions += int(positions_of_rows(documents, order).sum())
    units = np.concatenate(whole) if whole else np.empty(0, dtype=np.int64)
    records, distinct = counts.get(units), np.unique(units)
    sums = as_dict(records.sum(axis=0))
    read = np.unique(np.concatenate((distinct, np.array(list(begun), dtype=np.int64))))
    seen = int(counts.column(distinct, "blocks").sum()) if len(distinct) else 0
    seen += sum(len(np.unique(np.concatenate(parts))) for unit, parts in begun.items() if unit not in distinct)
    return SourceAccount(
        name=name,
        units=len(trained),
        units_read=len(read),
        read=as_dict(counts.get(read).sum(axis=0)),
        rows=shown + sums["blocks"],
        blocks_seen=seen,
        epochs=(members + len(units)) / len(trained),
        targets=targets + sums["targets"],
        positions=positions + sums["positions"],
    )


def positions_of_rows(documents: Any, blocks: np.ndarray) -> np.ndarray:
    """Positions that blocks take, with padding; of rows of a denoising without, encoder and decoder together; int64."""
    if hasattr(documents, "target_lengths_R"):
        positions: np.ndarray = (documents.input_lengths_R + documents.target_lengths_R)[blocks]
        return positions
    return np.full(len(blocks), documents.block_size, dtype=np.int64)
