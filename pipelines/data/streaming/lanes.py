"""Which block stands at which place of a streamed run: arithmetic on places, and nothing that has to be remembered.

A run reads V lanes side by side, each a row of units, so that V units are mixed at any time. Place p of a run with G
rows in a step belongs to lane j*V//R, where j = p mod R and R is the rows of a round, the fewest whole steps that have
a row for each lane. The rows of a process stand close together in a step: it reads few lanes.

Which source gives the next block of a lane follows a pattern of PERIOD blocks in which, after every one of them, each
source has had its share to within one block. Lane l begins it l blocks later, so that the lanes of a round are a
stretch of the pattern too. A source with few units has lanes of its own, fewer than V, each for several lanes of the
run.

Shape legend: V lanes, S sources, P blocks of the pattern.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from pipelines.errors import ConfigError

MOST_LANES = 64
PERIOD = 10_000  # weights are rounded to this many parts
UNITS_PER_LANE = 2  # of an epoch, at least: lanes with fewer would be in different epochs most of the time


class Spot(NamedTuple):
    """A block of a run: that with number `block` in a lane of a source."""

    source: int
    lane: int
    block: int


@dataclass(frozen=True)
class Lanes:
    """The lanes of a run.

    Attributes:
        rows_per_step: rows of an optimizer step, over all processes.
        weights: of the sources, any positive numbers.
        lanes_of_source: how many each source has at most.
    """

    rows_per_step: int
    weights: tuple[float, ...]
    lanes_of_source: tuple[int, ...]

    @cached_property
    def round_rows(self) -> int:
        """Rows of a round, R."""
        return self.rows_per_step * max(1, MOST_LANES // self.rows_per_step)

    @cached_property
    def lanes(self) -> int:
        """Lanes of the run, V."""
        return min(MOST_LANES, self.round_rows)

    @cached_property
    def _firsts(self) -> np.ndarray:
        """The first row of each lane in a round, and R; int64 (V + 1,)."""
        return -(-np.arange(self.lanes + 1) * self.round_rows // self.lanes)

    @cached_property
    def pattern_P(self) -> np.ndarray:
        """The source of each block of the pattern."""
        return balanced_pattern(self.weights)

    @cached_property
    def _before_SP(self) -> np.ndarray:
        """Blocks of each source in the pattern before each of its blocks, and in all of it; int64 (S, P + 1)."""
        taken = self.pattern_P[None, :] == np.arange(len(self.weights))[:, None]
        return np.concatenate((np.zeros((len(taken), 1), dtype=np.int64), np.cumsum(taken, axis=1)), axis=1)

    def lanes_of(self, source: int) -> int:
        """Lanes that a source has."""
        return min(self.lanes, self.lanes_of_source[source])

    def find(self, place: int) -> Spot:
        """The block at a place."""
        row = place % self.round_rows
        lane = row * self.lanes // self.round_rows
        before_V = self._blocks_before(place)
        source = int(self.pattern_P[(lane + before_V[lane]) % PERIOD])
        own = lane * self.lanes_of(source) // self.lanes
        return Spot(source, own, int(self._drawn(source, before_V)[own]))

    def drawn(self, source: int, places: int) -> np.ndarray:
        """Blocks that stand at places 0 .. places-1, of each lane of a source; int64."""
        return self._drawn(source, self._blocks_before(places))

    def _blocks_before(self, place: int) -> np.ndarray:
        """Blocks of each lane of the run before a place, int64 (V,)."""
        rounds, row = divmod(place, self.round_rows)
        return rounds * np.diff(self._firsts) + np.clip(row - self._firsts[:-1], 0, np.diff(self._firsts))

    def _drawn(self, source: int, before_V: np.ndarray) -> np.ndarray:
        lanes_V, count = np.arange(self.lanes), self.lanes_of(source)
        drawn_V = self._count(source, lanes_V + before_V) - self._count(source, lanes_V)
        return np.bincount(lanes_V * count // self.lanes, drawn_V, minlength=count).astype(np.int64)

    def _count(self, source: int, blocks: np.ndarray) -> np.ndarray:
        """Blocks of a source among the first so many of the endless pattern."""
        before_P = self._before_SP[source]
        return blocks // PERIOD * before_P[-1] + before_P[blocks % PERIOD]


def balanced_pattern(weights: Sequence[float]) -> np.ndarray:
    """A sequence of PERIOD sources in which every beginning holds each source's share to within one; int64.

    Tijdeman's algorithm (The chairman assignment problem, Discrete Mathematics 32, 1980): of the sources that are
    behind by enough, the one that would soonest be behind by too much is next.

    Raises:
        ConfigError: a weight is so small that its source would never come.
    """
    shares = np.array(weights, dtype=np.float64) / sum(weights)
    parts = np.floor(shares * PERIOD).astype(np.int64)
    for source in np.argsort(parts - shares * PERIOD)[: PERIOD - parts.sum()]:
        parts[source] += 1
    if (parts == 0).any():
        raise ConfigError(
            f"data.sources: a weight of {min(weights):g} is less than 1/{PERIOD:,} of all: no block would come from "
            "that source. Raise it, or leave the source out."
        )
    if len(parts) == 1:
        return np.zeros(PERIOD, dtype=np.int64)
    # In whole numbers: all sides times PERIOD * (2S - 2).
    slack = 2 * len(parts) - 2
    taken = np.zeros_like(parts)
    pattern = np.empty(PERIOD, dtype=np.int64)
    for block in range(1, PERIOD + 1):
        behind = slack * (parts * block - taken * PERIOD)
        deadlines = (PERIOD * (slack - 1) - behind) / parts
        pattern[block - 1] = source = np.where(behind >= PERIOD, deadlines, np.inf).argmin()
        taken[source] += 1
    return pattern
