"""The order in which a run sees its rows, and what rows of different length cost in padding.

Shape legend: R rows (or blocks).
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

LENGTH_MULTIPLE = 8  # batches are padded to a multiple of this many positions: what matrix kernels are made for
WINDOW_STEPS = 64  # steps whose rows are sorted by length together


def padded_length(length: Any) -> Any:
    """A length, or an array of lengths, rounded up to a multiple of LENGTH_MULTIPLE."""
    return -(-length // LENGTH_MULTIPLE) * LENGTH_MULTIPLE


@dataclass(frozen=True)
class TrainingOrder:
    """Which block stands at which place of a run: a pure function of seed and place, so resuming is a seek.

    Places run through the epochs without a gap; a batch may hold the end of one epoch and the start of the next.
    Every block comes exactly once in each epoch, whatever the batch size and process count.
    """

    baseline_rows: ClassVar[int | None] = None  # that baselines are fitted to; None: all

    blocks: int
    seed: int
    _permutation_of_epoch: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)

    def epoch_permutation(self, epoch: int) -> np.ndarray:
        """The blocks in the order of one epoch."""
        return np.random.default_rng([self.seed, epoch]).permutation(self.blocks)

    def locate(self, documents: Any, place: int, rows: Any) -> tuple[Any, int, list[int]]:
        """What stands at a place: documents, a block of them, and the seed of the row's random numbers.

        Args:
            documents: of the run.
            place: in the run.
            rows: what a row is.
        """
        epoch, within = divmod(place, self.blocks)
        if epoch not in self._permutation_of_epoch:
            self._permutation_of_epoch.clear()
            self._permutation_of_epoch[epoch] = self.epoch_permutation(epoch)
        return documents, int(self._permutation_of_epoch[epoch][within]), [self.seed, epoch, within, 1]

    def targets(self, documents: Any, places: int, rows: Any) -> int:
        """Supervised positions of the rows at places 0 .. places-1."""
        times = self.consumed(places)
        seen = np.flatnonzero(times)
        return int((rows.row_targets(documents, seen) * times[seen]).sum())

    def filled_positions(self, documents: Any, places: int) -> int:
        """Positions with a token that the rows of DocumentRows at places 0 .. places-1 take on both sides."""
        lengths_R = documents.input_lengths_R + documents.target_lengths_R
        return int((lengths_R * self.consumed(places)).sum())

    def consumed_segments(self, documents: Any, places: int) -> tuple[np.ndarray, np.ndarray]:
        """`PackedDocuments.segments` of the blocks at places 0 .. places-1, each once."""
        segments: tuple[np.ndarray, np.ndarray] = documents.segments(np.flatnonzero(self.consumed(places)))
        return segments

    def consumed(self, places: int) -> np.ndarray:
        """How often each block stands at places 0 .. places-1, int64."""
        epochs, rest = divmod(places, self.blocks)
        times = np.full(self.blocks, epochs, dtype=np.int64)
        times[self.epoch_permutation(epochs)[:rest]] += 1
        return times


@dataclass(frozen=True)
class BucketedOrder(TrainingOrder):
    """An order in which the rows of a step are of similar length, so that batches hold little padding.

    The rows of an epoch are shuffled; those of each WINDOW_STEPS steps are sorted by length and cut into steps, and
    these are shuffled. A pure function of seed, epoch and rows_per_step. Rows before the first whole step of an epoch
    and after its last stay as they were shuffled.

    Attributes:
        lengths_R: int64, what is sorted by.
        rows_per_step: rows of an optimizer step, over all processes.
    """

    lengths_R: np.ndarray
    rows_per_step: int

    def epoch_permutation(self, epoch: int) -> np.ndarray:
        """The rows in the order of one epoch."""
        rows_R = super().epoch_permutation(epoch)
        first = min(-epoch * self.blocks % self.rows_per_step, self.blocks)  # the last step of the epoch before
        steps = (self.blocks - first) // self.rows_per_step
        whole = slice(first, first + steps * self.rows_per_step)
        windows = np.arange(steps) // WINDOW_STEPS
        by_length = np.lexsort((self.lengths_R[rows_R[whole]], np.repeat(windows, self.rows_per_step)))
        chance = np.random.default_rng([self.seed, epoch, 2]).random(steps)
        shuffled = by_length.reshape(steps, self.rows_per_step)[np.lexsort((chance, windows))]
        rows_R[whole] = rows_R[whole][shuffled.ravel()]
        return rows_R


@dataclass(frozen=True)
class RowShape:
    """Positions that a row takes in a model, the mean over a run, padding included.

    Attributes:
        inputs: of the model, or of its encoder.
        decoder_inputs: of an encoder-decoder's decoder; else 0.
        longest_decoder_inputs: the most that a row has of these.
        padding_share: share of all these positions that hold no token.
        choices: sequences side by side that a row has, each of block_size positions at most; 0: it is one sequence.
    """

    inputs: float
    decoder_inputs: float
    longest_decoder_inputs: int
    padding_share: float
    choices: int = 0


def padded_shape(
    order: TrainingOrder, rows: int, batch_size: int, lengths_R: np.ndarray, decoder_lengths_R: np.ndarray | None = None
) -> RowShape:
    """What rows of different length are to a model, padded to the longest of each batch.

    Exact for the first epoch of a run, or for the whole run if it is shorter.

    Args:
        order: of the run.
        rows: of the run.
        batch_size: rows computed at once.
        lengths_R: positions of each row in the model, or in its encoder.
        decoder_lengths_R: positions in the decoder of an encoder-decoder.
    """
    first = order.epoch_permutation(0)[:rows]
    starts = np.arange(0, len(first), batch_size)
    sizes = np.diff(starts, append=len(first))
    sides = [lengths_R[first]] if decoder_lengths_R is None else [lengths_R[first], decoder_lengths_R[first]]
    padded = [float((sizes * padded_length(np.maximum.reduceat(side, starts))).sum()) for side in sides]
    return RowShape(
        inputs=padded[0] / len(first),
        decoder_inputs=0 if decoder_lengths_R is None else padded[1] / len(first),
        longest_decoder_inputs=0 if decoder_lengths_R is None else int(decoder_lengths_R.max()),
        padding_share=1 - sum(int(side.sum()) for side in sides) / sum(padded),
    )
