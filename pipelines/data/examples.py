"""Encoded rows of labelled data, as training sees them: of different length, padded only inside a batch.

Shape legend: E examples (a row, or a window of one), N tokens end to end, B examples of a batch, T positions.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.collation import pad
from pipelines.data.order import LENGTH_MULTIPLE, RowShape, TrainingOrder
from pipelines.data.packing import IGNORE_INDEX

if TYPE_CHECKING:
    import torch

Batch = dict[str, "torch.Tensor"]
PROBED_BATCHES = 200  # whose padding stands for that of the run


class Ragged:
    """Sequences of different length, kept end to end.

    Attributes:
        values_N: all values.
        starts_E: int64, where each sequence begins in them, and after the last one where it ends.
    """

    def __init__(self, sequences: Iterable[Sequence[Any]], dtype: Any) -> None:
        parts = [np.asarray(sequence, dtype=dtype) for sequence in sequences]
        self.values_N = np.concatenate([*parts, np.empty(0, dtype=dtype)])
        self.starts_E = np.concatenate(([0], np.cumsum([len(part) for part in parts]))).astype(np.int64)

    def __len__(self) -> int:
        return len(self.starts_E) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        return self.values_N[self.starts_E[index] : self.starts_E[index + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """int64, (E,)."""
        return np.diff(self.starts_E)


@dataclass(frozen=True)
class Examples:
    """A split as a model reads it; what PackedDocuments is to pretraining.

    Attributes:
        fields: name -> a one-dimensional array for each example; `input_ids` is one of them.
        targets: the fields that hold what is learnt. A filler row has none: IGNORE_INDEX, or NaN where they are floats.
        row_E: int64, the row of the split that each example is made of.
        targets_E: int64, supervised items of each example.
        block_size: positions of an example at most.
        pad_token_id: fills up a batch.
        counts: what became of rows and tokens, for the receipt.
        info: what decoding needs and no model reads, one for each example; empty if nothing.
        has_decoder: `labels` are what a decoder of an encoder-decoder writes.
        max_tokens: positions of a part of a micro-batch, see TokenBudget.
    """

    fields: dict[str, Ragged]
    targets: tuple[str, ...]
    row_E: np.ndarray
    targets_E: np.ndarray
    block_size: int
    pad_token_id: int
    counts: dict[str, int]
    info: list[Any]
    has_decoder: bool = False
    max_tokens: int | None = None

    def __len__(self) -> int:
        return len(self.row_E)

    @property
    def documents(self) -> int:
        """Rows that the examples are made of."""
        return len(np.unique(self.row_E))

    @property
    def tokens(self) -> int:
        """Tokens of all examples."""
        return int(self.lengths_E.sum())

    @cached_property
    def lengths_E(self) -> np.ndarray:
        """Positions of each example, those of a decoder among them."""
        decoder = self.fields["labels"].lengths if self.has_decoder else 0
        return self.fields["input_ids"].lengths + decoder

    def block(self, index: int) -> dict[str, np.ndarray]:
        """Example `index`."""
        return {name: field[index] for name, field in self.fields.items()}

    def filler(self) -> dict[str, np.ndarray]:
        """An example without targets: fills the last step of a run and changes no loss or gradient."""
        first = self.block(0)
        for name in self.targets:
            nothing = np.nan if first[name].dtype.kind == "f" else IGNORE_INDEX
            first[name] = first[name][:0] if self.has_decoder else np.full_like(first[name], nothing)
        return first

    def targets_per_block(self) -> np.ndarray:
        """Supervised items of each example, int64."""
        return self.targets_E

    def order(self, seed: int, rows_per_step: int) -> TrainingOrder:
        """Examples in random order: steps of like lengths cost SST-2 a point of accuracy (docs/experiments.md)."""
        return TrainingOrder(len(self), seed)

    def row_shape(self, order: TrainingOrder, rows: int, batch_size: int) -> RowShape:
        """What an example is to a model, padded in the parts of a micro-batch; the mean of the first PROBED_BATCHES."""
        sides = [self.fields["input_ids"].lengths, *([self.fields["labels"].lengths] if self.has_decoder else [])]
        first = order.epoch_permutation(0)[: min(rows, PROBED_BATCHES * batch_size)]
        padded = [0] * len(sides)
        for start in range(0, len(first), batch_size):
            batch = first[start : start + batch_size]
            for part in step_parts(self.lengths_E[batch].tolist(), self.max_tokens):
                for side, lengths in enumerate(sides):
                    longest = int(lengths[batch[part]].max())
                    padded[side] += len(part) * -(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
        return RowShape(
            inputs=padded[0] / len(first),
            decoder_inputs=padded[1] / len(first) if self.has_decoder else 0,
            longest_decoder_inputs=int(sides[1].max()) if self.has_decoder else 0,
            padding_share=1 - sum(int(lengths[first].sum()) for lengths in sides) / sum(padded),
        )


@dataclass(frozen=True)
class TokenBudget:
    """Collates the rows of a micro-batch into parts of like lengths, which are computed one after the other.

    Since the loss of a step is a sum over its rows, parts change no figure but dropout's draws; they spare padding.

    Attributes:
        collate: rows -> a batch.
        max_tokens: padded positions of a part; None: no limit. A single row may be longer: it is a part of its own.
    """

    collate: Callable[[Sequence[Mapping[str, np.ndarray]]], Batch]
    max_tokens: int | None

    def __call__(self, rows: Sequence[Mapping[str, np.ndarray]]) -> list[Batch]:
        lengths = [len(row["input_ids"]) for row in rows]
        return [self.collate([rows[place] for place in part]) for part in step_parts(lengths, self.max_tokens)]


def step_parts(lengths: Sequence[int], max_tokens: int | None, overhead: int | None = None) -> list[list[int]]:
    """Places of rows in parts of like lengths, so that padded positions and overheads together are fewest.

    Rows are sorted by length and cut where the sum is least, found by dynamic programming.

    Args:
        lengths: of the rows.
        max_tokens: see TokenBudget.
        overhead: positions that take as long as starting one more part. Default: as measured for the hardware.
    """
    order = sorted(range(len(lengths)), key=lambda place: lengths[place])
    padded = [-(-lengths[place] // LENGTH_MULTIPLE) * LENGTH_MULTIPLE for place in order]
    each = part_overhead() if overhead is None else overhead
    best: list[float] = [0.0]  # of the first n rows
    begins = [0]
    for end in range(1, len(order) + 1):
        width, choices = padded[end - 1], []
        for begin in range(end - 1, -1, -1):
            cost = (end - begin) * width
            if begin < end - 1 and max_tokens is not None and cost > max_tokens:
                break
            choices.append((best[begin] + cost + each, begin))
        cost_so_far, begin = min(choices)
        best.append(cost_so_far)
        begins.append(begin)
    parts, end = [], len(order)
    while end:
        parts.append(order[begins[end] : end])
        end = begins[end]
    return parts[::-1]


@cache
def part_overhead() -> int:
    """Positions that take as long as one more part: 290 measured with all-MiniLM-L6-v2 on a CPU; a GPU's is assumed."""
    import torch

    return 4096 if torch.cuda.is_available() else 256


def budget_parts(lengths: Sequence[int], most: int, max_tokens: int | None) -> list[list[int]]:
    """Places of rows in parts of like lengths, at most `most` rows and max_tokens padded positions in each.

    For scoring, where all rows of a split are at hand and any order will do.
    """
    parts: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda one: lengths[one]):
        padded = -(-lengths[place] // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
        last = parts[-1] if parts else None
        if last is None or len(last) == most or (max_tokens is not None and (len(last) + 1) * padded > max_tokens):
            parts.append([])
        parts[-1].append(place)
    return parts


def collate(
    rows: Sequence[Mapping[str, np.ndarray]], pad_token_id: int, pads: Mapping[str, Any], most: int | None = None
) -> Batch:
    """A batch of examples, padded on the right to the longest.

    Args:
        rows: examples; `input_ids` gives the attention mask.
        pad_token_id: fills up input_ids.
        pads: what fills up each other field that has a value for every token; fields not named are stacked.
        most: positions that the model has.

    Returns:
        input_ids and attention_mask, int64 (B, T); the fields of `pads` (B, T); stacked fields (B,) where every row has
        one value, else (B, K).
    """
    import torch

    batch = pad([row["input_ids"] for row in rows], pad_token_id, most)
    shape = batch["input_ids"].shape
    for name in (name for name in rows[0] if name != "input_ids"):
        if name in pads:
            filled = torch.full(shape, pads[name], dtype=torch.int64)
            for place, row in enumerate(rows):
                filled[place, : len(row[name])] = torch.from_numpy(row[name].astype(np.int64))
            batch[name] = filled
        else:
            stacked = torch.from_numpy(np.stack([row[name] for row in rows]))
            batch[name] = stacked[:, 0] if stacked.shape[1] == 1 else stacked
    return batch
