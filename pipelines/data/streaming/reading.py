"""A lane of a source, read block by block: the unit it is in and the next one, tokenized in time."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

import numpy as np

from pipelines.data.packing import PackedDocuments
from pipelines.errors import DataError

MOST_AT_ONCE = 4096  # units whose counts are looked up together


@dataclass
class UnitOrder:
    """The endless sequence in which a source's units are read: one permutation of them after the other.

    Attributes:
        units: their numbers.
        seed: of the run.
        source: number of the source.
    """

    units: np.ndarray
    seed: int
    source: int
    _permutations: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def members(self, lane: int, lanes: int, first: int, count: int) -> np.ndarray:
        """The units with numbers first .. first+count-1 in a lane, which has every `lanes`-th of the sequence."""
        places = lane + lanes * np.arange(first, first + count)
        epochs, within = np.divmod(places, len(self.units))
        found = np.empty(count, dtype=np.int64)
        for epoch in np.unique(epochs).tolist():
            found[epochs == epoch] = self._epoch(epoch)[within[epochs == epoch]]
        return found

    def epoch_of(self, lane: int, lanes: int, member: int) -> int:
        """The pass over the source that a unit of a lane belongs to."""
        return (lane + lanes * member) // len(self.units)

    def _epoch(self, epoch: int) -> np.ndarray:
        if epoch not in self._permutations:
            if len(self._permutations) > 1:
                del self._permutations[min(self._permutations)]
            chance = np.random.default_rng([self.seed, self.source, epoch, 3])
            self._permutations[epoch] = self.units[chance.permutation(len(self.units))]
        return self._permutations[epoch]


class LaneReader:
    """Finds the blocks of one lane of a source by their number.

    Args:
        order: of the source's units.
        lane, lanes: which of how many.
        blocks_of: units -> the blocks of each, -1 where that is not known yet.
        load: tokenizes a unit, and makes its blocks known.
        pool: what the next unit is tokenized in.
        name: of the source, for messages.
    """

    def __init__(
        self,
        order: UnitOrder,
        lane: int,
        lanes: int,
        blocks_of: Callable[[np.ndarray], np.ndarray],
        load: Callable[[int], PackedDocuments],
        pool: Executor,
        name: str,
    ) -> None:
        self.order, self.lane, self.lanes, self.name = order, lane, lanes, name
        self._blocks_of, self._load, self._pool = blocks_of, load, pool
        self._member, self._first = 0, 0  # of the unit, and the number of its first block
        self._documents: PackedDocuments | None = None
        self._next: tuple[int, Future[PackedDocuments]] | None = None

    def find(self, index: int) -> tuple[PackedDocuments, int, int]:
        """The documents that hold block `index` of the lane, the block's number in them, and their unit."""
        documents = self._documents
        if documents is None or not self._first <= index < self._first + len(documents):
            documents = self._enter(index)
        within = index - self._first
        if self._next is None and 2 * within >= len(documents):
            following = self._member + 1
            self._next = following, self._pool.submit(self._load, self._unit(following))
        return documents, int(self.permutation(self._member, len(documents))[within]), self._unit(self._member)

    def walk(self, index: int) -> tuple[int, int]:
        """The unit in which block `index` stands, by its number in the lane, and the number of its first block.

        Units whose blocks are not known yet are tokenized.

        Raises:
            DataError: the units of a whole pass over the source hold no text.
        """
        member, first = (self._member, self._first) if index >= self._first else (0, 0)
        began, at_once = member, 1
        while True:
            blocks = self._blocks_of(self.order.members(self.lane, self.lanes, member, at_once))
            unknown = np.flatnonzero(blocks < 0)
            known = int(unknown[0]) if len(unknown) else at_once
            ends = first + np.cumsum(blocks[:known])
            within = int(np.searchsorted(ends, index, side="right"))
            if within < known:
                return member + within, int(ends[within - 1]) if within else first
            if known:
                member, first, began = member + known, int(ends[-1]), began if ends[-1] == first else member + known
            else:
                self._load(self._unit(member))
            if member - began > 2 * len(self.order.units):
                raise DataError(f"The streamed source {self.name} has no document with text in it.")
            at_once = min(8 * at_once, MOST_AT_ONCE) if known == at_once else 1

    def permutation(self, member: int, blocks: int) -> np.ndarray:
        """The order in which the blocks of a unit of the lane are seen."""
        epoch = self.order.epoch_of(self.lane, self.lanes, member)
        seed = [self.order.seed, self.order.source, epoch, self._unit(member), 4]
        return np.random.default_rng(seed).permutation(blocks)

    def documents_of(self, member: int) -> PackedDocuments:
        """The documents of a unit of the lane."""
        if member == self._member and self._documents is not None:
            return self._documents
        return self._load(self._unit(member))

    def units(self, first: int, count: int) -> np.ndarray:
        """The units with numbers first .. first+count-1 in the lane."""
        return self.order.members(self.lane, self.lanes, first, count)

    def _enter(self, index: int) -> PackedDocuments:
        member, first = self.walk(index)
        following, self._next = self._next, None
        if following is not None and following[0] == member:
            documents = following[1].result()
        else:
            documents = self._load(self._unit(member))
        self._member, self._first, self._documents = member, first, documents
        return documents

    def _unit(self, member: int) -> int:
        return int(self.order.members(self.lane, self.lanes, member, 1)[0])
