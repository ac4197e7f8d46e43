"""Encoded rows of labelled data, as training sees them: of different length, padded only inside a batch.

Shape legend: E examples (a row, or a window of one), N tokens end to end, B examples of a batch, T positions.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipelines.data.collation import pad
from pipelines.data.order import BucketedOrder, RowShape, TrainingOrder, padded_length, padded_shape
from pipelines.data.packing import IGNORE_INDEX

if TYPE_CHECKING:
    import torch

Batch = dict[str, "torch.Tensor"]


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

    def __len__(self) -> int:
        return len(self.row_E)

    @property
    def documents(self) -> int:
        """Rows that the examples are made of."""
        return len(np.unique(self.row_E))

    @property
    def tokens(self) -> int:
        """Tokens of all examples."""
        sides = [self.fields["input_ids"], *([self.fields["labels"]] if self.has_decoder else [])]
        return sum(len(side.values_N) for side in sides)

    @cached_property
    def sizes_E(self) -> list["Size"]:
        """What each example is in a model."""
        return [size_of(self.block(index), self.has_decoder) for index in range(len(self))]

    @cached_property
    def lengths_E(self) -> np.ndarray:
        """Positions that each example takes in a model: of all choices, each as the longest, and of its decoder."""
        choices, inputs, decoder = np.array(self.sizes_E).reshape(-1, 3).T
        return choices * inputs + decoder

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
        """Examples of similar length in one step."""
        return BucketedOrder(len(self), seed, self.lengths_E, rows_per_step)

    def row_shape(self, order: TrainingOrder, rows: int, batch_size: int) -> RowShape:
        """What an example is to a model in a run of `rows` that computes batch_size of them at once."""
        if not self.has_decoder:
            choices = max(size.choices for size in self.sizes_E) if "choice_lengths" in self.fields else 0
            return replace(padded_shape(order, rows, batch_size, self.lengths_E), choices=choices)
        sides = (self.fields[name].lengths for name in ("input_ids", "labels"))
        return padded_shape(order, rows, batch_size, *sides)


class Size(NamedTuple):
    """What an example is in a model: sequences (the choices), positions of the longest of them and of its decoder."""

    choices: int
    inputs: int
    decoder: int

    @property
    def padded(self) -> int:
        """Positions, padded to multiples of LENGTH_MULTIPLE."""
        return int(self.choices * padded_length(self.inputs) + padded_length(self.decoder))


def size_of(row: Mapping[str, np.ndarray], has_decoder: bool) -> Size:
    """The size of an example."""
    choices = row["choice_lengths"].tolist() if "choice_lengths" in row else [len(row["input_ids"])]
    return Size(len(choices), max(choices), len(row["labels"]) if has_decoder else 0)


@dataclass(frozen=True)
class TokenBudget:
    """Collates rows into parts that are computed one after the other, each of at most max_tokens padded positions.

    Rows of a part are of similar length. A single row may be longer than the budget: it is a part of its own.

    Attributes:
        collate: rows -> a batch.
        max_tokens: positions of a part; None: all rows are one.
        has_decoder: whether `labels` are positions, too.
    """

    collate: Callable[[Sequence[Mapping[str, np.ndarray]]], Batch]
    max_tokens: int | None
    has_decoder: bool

    def __call__(self, rows: Sequence[Mapping[str, np.ndarray]]) -> list[Batch]:
        if self.max_tokens is None:
            return [self.collate(rows)]
        sizes = [size_of(row, self.has_decoder) for row in rows]
        return [
            self.collate([rows[place] for place in part]) for part in budget_parts(sizes, len(rows), self.max_tokens)
        ]


def budget_parts(sizes: Sequence[Size], most: int, max_tokens: int | None) -> list[list[int]]:
    """Places of rows in parts of similar size, at most `most` rows and max_tokens padded positions in each."""
    parts: list[list[int]] = []
    largest = Size(0, 0, 0)  # of the last part, side by side
    for place in sorted(range(len(sizes)), key=lambda one: sizes[one].padded):
        both = Size(*map(max, largest, sizes[place]))
        full = not parts or len(parts[-1]) == most
        if full or (max_tokens is not None and (len(parts[-1]) + 1) * both.padded > max_tokens):
            parts.append([])
            both = sizes[place]
        parts[-1].append(place)
        largest = both
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
