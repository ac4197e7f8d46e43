"""Documents -> one flat token stream -> blocks of block_size positions, with nothing lost.

Shape legend: N tokens of the stream, D documents, T positions of a block (block_size), B rows of a batch.

A document is `BOS tokens EOS` (EOS twice where the tokenizer has no BOS). Documents stand one after the other in the
stream, and block b holds positions b*T .. b*T+T-1, so every token is input of exactly one block. The target of a
position is the next token of the same document, which for the last position of a block is the first token of the
next block: every token after a document's first is predicted exactly once. The last block is filled up with padding
whose targets are IGNORE_INDEX.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import numpy as np

from pipelines.data.order import RowShape, TrainingOrder

IGNORE_INDEX = -100  # torch.nn.functional.cross_entropy's default ignore_index
SHORT = 128  # positions of a shortened block


@dataclass(frozen=True)
class PackedDocuments:
    """A token stream cut into blocks.

    Attributes:
        tokens_N: int32 token ids, memory-mapped or in memory.
        document_starts_D: int64 position of each document's first token, ascending from 0.
        bytes_N: uint8/16/32 UTF-8 bytes of text that each token stands for (0 for special tokens), or None where
            bytes are not needed (training).
        block_size: positions in a block.
        pad_token_id: fills the last block; never a target.
        word_starts_N: bool, whether each token begins a word, or None where words are not needed.
    """

    tokens_N: np.ndarray
    document_starts_D: np.ndarray
    bytes_N: np.ndarray | None
    block_size: int
    pad_token_id: int
    word_starts_N: np.ndarray | None = None

    def __len__(self) -> int:
        return -(-len(self.tokens_N) // self.block_size)

    @property
    def documents(self) -> int:
        """Documents in the stream."""
        return len(self.document_starts_D)

    @property
    def tokens(self) -> int:
        """Tokens in the stream."""
        return len(self.tokens_N)

    @property
    def targets(self) -> int:
        """Predictions over all blocks: every token but the first of each document."""
        return len(self.tokens_N) - len(self.document_starts_D)

    def targets_per_block(self) -> np.ndarray:
        """Predictions that each block makes, int64; their sum is `targets`."""
        lengths = np.full(len(self), self.block_size, dtype=np.int64)
        lengths[-1] = len(self.tokens_N) - (len(self) - 1) * self.block_size
        ends_D = np.append(self.document_starts_D[1:], len(self.tokens_N)) - 1
        return lengths - np.bincount(ends_D // self.block_size, minlength=len(self))

    def block(self, index: int) -> dict[str, np.ndarray]:
        """Block `index` as arrays of shape (T,).

        Returns:
            input_ids: int64 tokens.
            position_ids: int64; restart at 0 with each document, and at the start of the block. These restarts are
                what isolates the documents in attention: transformers builds a block-diagonal causal mask from them.
            shift_labels: int64 target of each position (already shifted, transformers' name), IGNORE_INDEX for the
                last token of a document and for padding.
        """
        first = index * self.block_size
        last = min(first + self.block_size, len(self.tokens_N))
        if not 0 <= first < last:
            raise IndexError(f"block {index} of {len(self)}")
        length = last - first
        offsets_T = np.arange(self.block_size)
        # Documents that begin inside the block, as offsets; padding counts as one more, so that it attends to itself.
        low, high = np.searchsorted(self.document_starts_D, [first, last + 1])
        starts = self.document_starts_D[low:high] - first
        segment_starts = np.unique(np.concatenate(([0], starts, [length])))
        segment_starts = segment_starts[segment_starts < self.block_size]
        segments = np.searchsorted(segment_starts, offsets_T, side="right") - 1

        input_ids_T = np.full(self.block_size, self.pad_token_id, dtype=np.int64)
        input_ids_T[:length] = self.tokens_N[first:last]
        shift_labels_T = np.full(self.block_size, IGNORE_INDEX, dtype=np.int64)
        targets = self.tokens_N[first + 1 : last + 1]
        shift_labels_T[: len(targets)] = targets
        ends = starts - 1  # the last token of a document has no target
        shift_labels_T[ends[(ends >= 0) & (ends < length)]] = IGNORE_INDEX
        shift_labels_T[length:] = IGNORE_INDEX
        return {
            "input_ids": input_ids_T,
            "position_ids": offsets_T - segment_starts[segments],
            "shift_labels": shift_labels_T,
        }

    def text_positions(self, index: int) -> np.ndarray:
        """Positions of a block that hold text, bool (T,): neither first nor last token of a document, nor padding."""
        first = index * self.block_size
        last = min(first + self.block_size, len(self.tokens_N))
        low, high = np.searchsorted(self.document_starts_D, [first, last + 1])
        starts = self.document_starts_D[low:high] - first
        text_T = np.zeros(self.block_size, dtype=bool)
        text_T[: last - first] = True
        text_T[starts[starts < last - first]] = False
        text_T[starts[starts > 0] - 1] = False
        if last == len(self.tokens_N):
            text_T[last - first - 1] = False
        return text_T

    def shortened(self) -> "PackedDocuments":
        """The same in blocks of at most SHORT positions, which cost little."""
        return replace(self, block_size=min(self.block_size, SHORT))

    def filler(self) -> dict[str, np.ndarray]:
        """A block without any target: fills the last step of a run and changes no loss or gradient."""
        return {
            "input_ids": np.full(self.block_size, self.pad_token_id, dtype=np.int64),
            "position_ids": np.arange(self.block_size),
            "shift_labels": np.full(self.block_size, IGNORE_INDEX, dtype=np.int64),
        }

    def order(self, seed: int, rows_per_step: int) -> TrainingOrder:
        """The order in which a run with steps of rows_per_step rows sees the blocks."""
        return TrainingOrder(len(self), seed)

    def row_shape(self, order: TrainingOrder, rows: int, batch_size: int) -> RowShape:
        """What a row is to a model in a run of `rows` rows that computes batch_size of them at once."""
        return RowShape(self.block_size, 0, 0, 1 - len(self.tokens_N) / (len(self) * self.block_size))

    def target_bytes(self, blocks: int | None = None) -> int:
        """UTF-8 bytes of the targets of the first `blocks` blocks (default all): the divisor of bits per byte."""
        if self.bytes_N is None:
            raise ValueError("these documents were tokenized without byte counts")
        end = len(self.tokens_N) if blocks is None else min(blocks * self.block_size + 1, len(self.tokens_N))
        first_tokens = self.document_starts_D[self.document_starts_D < end]
        return int(self.bytes_N[:end].sum(dtype=np.int64) - self.bytes_N[first_tokens].sum(dtype=np.int64))

    def segments(self, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What a model sees of the given blocks, as segments of at least two tokens.

        A segment is the part of one document inside one block, plus the token that the block's last position
        predicts; its first token is context only, each later one is predicted once.

        Args:
            blocks: distinct block indices.

        Returns:
            (tokens_M, segment_starts_S): the segments end to end, and where each begins.
        """
        starts = np.asarray(blocks, dtype=np.int64) * self.block_size
        stops = np.minimum(starts + self.block_size + 1, len(self.tokens_N))
        lengths = stops - starts
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        positions_M = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - starts, lengths)
        documents_M = np.searchsorted(self.document_starts_D, positions_M, side="right")
        blocks_M = np.repeat(np.arange(len(starts)), lengths)
        begins = np.ones(len(positions_M), dtype=bool)
        begins[1:] = (np.diff(documents_M) != 0) | (np.diff(blocks_M) != 0)
        segment_starts = np.flatnonzero(begins)
        segment_lengths = np.diff(np.append(segment_starts, len(positions_M)))
        kept = np.repeat(segment_lengths > 1, segment_lengths)  # a lone token predicts nothing and is not predicted
        kept_lengths = segment_lengths[segment_lengths > 1]
        starts_S = np.concatenate(([0], np.cumsum(kept_lengths)))[:-1]
        return self.tokens_N[positions_M[kept]], starts_S.astype(np.int64)


class TrainingRows(Protocol):
    """What a run trains on: packed documents, or the examples of a task. PackedDocuments says what each member is."""

    @property
    def block_size(self) -> int: ...
    @property
    def pad_token_id(self) -> int: ...
    @property
    def documents(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    def __len__(self) -> int: ...
    def block(self, index: int) -> dict[str, np.ndarray]: ...
    def filler(self) -> dict[str, np.ndarray]: ...
    def targets_per_block(self) -> np.ndarray: ...
    def order(self, seed: int, rows_per_step: int) -> TrainingOrder: ...
    def row_shape(self, order: TrainingOrder, rows: int, batch_size: int) -> RowShape: ...


class Rows(Protocol):
    """How an objective sees packed documents: as rows of inputs and labels."""

    def row(self, documents: PackedDocuments, index: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """The row made of block `index`; all that is random in it comes from `generator`."""
        ...

    def filler(self, documents: PackedDocuments) -> dict[str, np.ndarray]:
        """A row without targets."""
        ...

    def row_targets(self, documents: PackedDocuments, blocks: np.ndarray) -> np.ndarray:
        """Supervised positions of the rows made of the given blocks, int64, where they follow from the blocks."""
        ...

    def targets(self, run: "TrainingBlocks") -> int:
        """Supervised positions of all rows of a run."""
        ...


class PlainRows:
    """The blocks as they are: next-token prediction, and the examples of a task."""

    def row(self, documents: Any, index: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
        return documents.block(index)

    def filler(self, documents: Any) -> dict[str, np.ndarray]:
        return documents.filler()

    def row_targets(self, documents: Any, blocks: np.ndarray) -> np.ndarray:
        targets: np.ndarray = documents.targets_per_block()[blocks]
        return targets

    def targets(self, run: "TrainingBlocks") -> int:
        return run.targets_of_blocks()


class TrainingBlocks:
    """Map-style dataset of a whole run: item i is the row at place i of the order.

    A row is a pure function of seed and place, its random numbers included: resuming is a seek, and it does not matter
    which process or worker makes it.

    Args:
        documents: the training split.
        order: the order of its blocks.
        places: length of the run in rows (optimizer steps x rows per step).
        last_place: places from here on are filler rows without targets (a run of whole epochs may end inside a step).
        rows: what a row is; default: next-token prediction.
    """

    def __init__(
        self, documents: TrainingRows, order: TrainingOrder, places: int, last_place: int, rows: Rows | None = None
    ) -> None:
        self.documents = cast(PackedDocuments, documents)  # evaluations of packed text rely on all of it
        self.order, self.places, self.last_place = order, places, last_place
        self.rows: Rows = PlainRows() if rows is None else rows

    def __len__(self) -> int:
        return self.places

    def __getitem__(self, place: int) -> dict[str, np.ndarray]:
        if place >= self.last_place:
            return self.rows.filler(self.documents)
        documents, index, seed = self.order.locate(self.documents, place, self.rows)
        return self.rows.row(documents, index, np.random.default_rng(seed))

    def targets(self) -> int:
        """Supervised positions of all rows."""
        return self.rows.targets(self)

    def targets_of_blocks(self) -> int:
        """The same where a row's follow from its block."""
        return self.order.targets(self.documents, self.last_place, self.rows)

    @property
    def baseline_places(self) -> int:
        """Places, from the first, whose rows baselines are fitted to: all, but of a stream the first alone."""
        return min(self.last_place, self.order.baseline_rows or self.last_place)

    def consumed_segments(self) -> tuple[np.ndarray, np.ndarray]:
        """What a model saw, as `PackedDocuments.segments`, each block once; of a stream, the first rows alone."""
        return self.order.consumed_segments(self.documents, self.last_place)
