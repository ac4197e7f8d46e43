"""The training split of a streamed run: an endless sequence of blocks, each a pure function of its place.

Shape legend: N tokens of a unit, D documents, R rows.
"""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.builders import cache_root
from pipelines.data.framing import document_frame
from pipelines.data.order import RowShape, TrainingOrder
from pipelines.data.packing import PackedDocuments
from pipelines.data.streaming.accounts import SourceAccount, account_of, positions_of_rows
from pipelines.data.streaming.counts import FIELDS, UnitCounts
from pipelines.data.streaming.lanes import UNITS_PER_LANE, Lanes
from pipelines.data.streaming.reading import LaneReader, UnitOrder
from pipelines.data.streaming.units import Units, UnitTexts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VERSION = 1  # raise when units or their counts would come out differently
LANE_BYTES = 128 << 20  # of text in the units that a run reads side by side, at most; one lane there always is
BASELINE_ROWS = 8_192  # the first rows of a run, which baselines are fitted to


@dataclass(frozen=True)
class StreamSource:
    """One source of a stream.

    Attributes:
        name: for messages and receipts.
        weight: in the mixture.
        units: all of its units.
        trained: numbers of those that are trained on, int64.
        fingerprint: of its shards and of how they are cut.
        record: what is known of its origin, see `sources.source_record`.
    """

    name: str
    weight: float
    units: Units
    trained: np.ndarray
    fingerprint: str
    record: dict[str, Any]

    @property
    def lanes(self) -> int:
        """How many units may be read side by side: a few of each epoch for every lane, and LANE_BYTES in all."""
        largest = max(int(self.units.bytes_U.max()), 1)
        return max(1, min(len(self.trained) // UNITS_PER_LANE, LANE_BYTES // largest))


@dataclass(frozen=True)
class StreamedDocuments:
    """What a streamed run trains on (`packing.TrainingRows`); its sizes are estimates, from those of a sample.

    Attributes:
        sources: all.
        tokenizer: of the run; used by several threads, so a copy that nothing else changes.
        block_size, pad_token_id: as in PackedDocuments.
        documents, tokens, blocks: of one pass over all sources, estimated.
        sample: some units in memory.
        cut: packed documents -> the rows of an objective; None: they are their own.
        key: stands for `cut` in the name of the counts.
    """

    sources: tuple[StreamSource, ...]
    tokenizer: "PreTrainedTokenizerBase"
    block_size: int
    pad_token_id: int
    documents: int
    tokens: int
    blocks: int
    sample: PackedDocuments
    cut: Callable[[PackedDocuments], PackedDocuments] | None = None
    key: str = ""

    is_estimate = True

    def __len__(self) -> int:
        return self.blocks

    def block(self, index: int) -> dict[str, np.ndarray]:
        """Block `index` of the sample."""
        return self.sample.block(index)

    def filler(self) -> dict[str, np.ndarray]:
        """See PackedDocuments."""
        return self.sample.filler()

    def targets_per_block(self) -> np.ndarray:
        """Those of the sample."""
        return self.sample.targets_per_block()

    def order(self, seed: int, rows_per_step: int) -> "StreamOrder":
        """The order in which a run with steps of rows_per_step rows sees the blocks."""
        return StreamOrder(self, seed, rows_per_step)

    def row_shape(self, order: Any, rows: int, batch_size: int) -> RowShape:
        """That of the sample, whose rows are not sorted by length, as those of a stream are not."""
        return self.sample.row_shape(TrainingOrder(len(self.sample), order.seed), rows, batch_size)

    def with_rows(
        self, sample: PackedDocuments, cut: Callable[[PackedDocuments], PackedDocuments], key: str
    ) -> "StreamedDocuments":
        """The stream with other blocks: those that `cut` makes of the documents of a unit, as it did of the sample."""
        blocks = round(self.blocks * len(sample) / max(len(self.sample), 1))
        return replace(self, sample=sample, cut=cut, key=key, blocks=blocks)

    def tokenize(self, texts: UnitTexts) -> tuple[PackedDocuments, dict[str, int]]:
        """A unit as documents of its own, and its counts, all FIELDS but targets.

        Token ids are kept in 16 bits where the vocabulary allows it.
        """
        begin, end = document_frame(self.tokenizer)
        unknown_id = self.tokenizer.unk_token_id
        dtype = np.uint16 if len(self.tokenizer) <= 1 << 16 else np.int32
        parts: list[np.ndarray] = []
        lengths: list[int] = []
        text_bytes = 0
        for batch in texts.batches():
            ids = self.tokenizer(
                batch,
                add_special_tokens=False,
                split_special_tokens=True,  # a document may spell <|eos|> without ending
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )["input_ids"]
            lengths += [len(one) + 2 for one in ids]
            parts.append(np.array([token for one in ids for token in (begin, *one, end)], dtype=dtype))
            text_bytes += sum(len(text) if text.isascii() else len(text.encode()) for text in batch)
        tokens_N = np.concatenate(parts) if parts else np.empty(0, dtype=dtype)
        starts_D = np.cumsum([0, *lengths[:-1]]) if lengths else np.empty(0, dtype=np.int64)
        packed = PackedDocuments(tokens_N, starts_D.astype(np.int64), None, self.block_size, self.pad_token_id)
        rows: Any = packed if self.cut is None else self.cut(packed)
        short, short_tokens = getattr(rows, "too_short", (0, 0))
        own = unknown_id is not None and unknown_id not in (begin, end)
        return rows, {
            "rows_read": texts.rows_read,
            "null": texts.null,
            "empty": texts.empty,
            "bytes": text_bytes,
            "documents": len(lengths),
            "text_tokens": len(tokens_N) - 2 * len(lengths),
            "unknown_tokens": int((tokens_N == unknown_id).sum()) if own else 0,
            "blocks": len(rows),
            "positions": int(positions_of_rows(rows, np.arange(len(rows))).sum()),
            "tokens_in_rows": int(rows.lengths_R.sum()) if rows is not packed else 0,
            "parts_too_short": short,
            "tokens_too_short": short_tokens,
            "documents_cut": getattr(rows, "documents_cut", 0),
            "digest": texts.digest,
        }


class StreamOrder:
    """Which block stands at which place (as `order.TrainingOrder`): found by counting blocks, with nothing to restore.

    Args:
        stream: what is read.
        seed: of the run.
        rows_per_step: rows of an optimizer step, over all processes.
    """

    baseline_rows = BASELINE_ROWS

    def __init__(self, stream: StreamedDocuments, seed: int, rows_per_step: int) -> None:
        self.stream, self.seed = stream, seed
        weights = tuple(source.weight for source in stream.sources)
        self.lanes = Lanes(rows_per_step, weights, tuple(source.lanes for source in stream.sources))
        self._rows: Any = None
        self._kind = ""
        self._accounts: tuple[int, list[SourceAccount]] = (-1, [])
        self._counts: list[UnitCounts] = []
        self._readers: dict[tuple[int, int], LaneReader] = {}

    @property
    def blocks(self) -> int:
        """Blocks of one pass over all sources, estimated."""
        return len(self.stream)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="tokenizing")

    def locate(self, documents: Any, place: int, rows: Any) -> tuple[PackedDocuments, int, list[int]]:
        """As `TrainingOrder.locate`.

        Raises:
            DataError, HubError: a shard cannot be read, or is not what it was.
        """
        source, lane, index = self.lanes.find(place)
        found, block, _ = self.reader(source, lane, rows).find(index)
        return found, block, [self.seed, place, 5]

    def targets(self, documents: Any, places: int, rows: Any) -> int:
        """As `TrainingOrder.targets`."""
        return sum(account.targets for account in self.accounts(places, rows))

    def filled_positions(self, documents: Any, places: int) -> int:
        """As `TrainingOrder.filled_positions`."""
        return sum(account.positions for account in self.accounts(places, self._rows))

    def accounts(self, places: int, rows: Any) -> list[SourceAccount]:
        """What stands at places 0 .. places-1, for each source."""
        if self._accounts[0] != places:
            found = []
            for number, source in enumerate(self.stream.sources):
                lanes = range(self.lanes.lanes_of(number))
                readers = [self.reader(number, lane, rows) for lane in lanes]
                drawn = self.lanes.drawn(number, places)
                counts = self._counts[number]
                found.append(account_of(source.name, source.trained, readers, drawn, counts, rows))
            self._accounts = places, found
        return self._accounts[1]

    def consumed_segments(self, documents: Any, places: int) -> tuple[np.ndarray, np.ndarray]:
        """As `TrainingOrder.consumed_segments`, of the first BASELINE_ROWS places."""
        blocks: dict[tuple[int, int], tuple[PackedDocuments, set[int]]] = {}
        for place in range(min(places, BASELINE_ROWS)):
            source, lane, index = self.lanes.find(place)
            found, block, unit = self.reader(source, lane, self._rows).find(index)
            blocks.setdefault((source, unit), (found, set()))[1].add(block)
        parts = [found.segments(np.array(sorted(those))) for _, (found, those) in sorted(blocks.items())]
        lengths = [len(tokens) for tokens, _ in parts]
        offsets = np.cumsum([0, *lengths[:-1]])
        tokens_M = np.concatenate([tokens.astype(np.int32) for tokens, _ in parts])
        return tokens_M, np.concatenate([starts + offset for (_, starts), offset in zip(parts, offsets, strict=True)])

    def reader(self, source: int, lane: int, rows: Any) -> LaneReader:
        """The reader of a lane of a source, for rows of the given kind."""
        kind = _kind(rows)
        if kind != self._kind:
            self._kind, self._rows, self._readers = kind, rows, {}
            self._counts = [UnitCounts(self._counts_path(source, kind)) for source in self.stream.sources]
        if (source, lane) not in self._readers:
            one, counts = self.stream.sources[source], self._counts[source]
            self._readers[source, lane] = LaneReader(
                UnitOrder(one.trained, self.seed, source),
                lane,
                self.lanes.lanes_of(source),
                lambda units: counts.column(units, "blocks"),
                lambda unit: self._load(source, unit),
                self._pool,
                one.name,
            )
        return self._readers[source, lane]

    def _load(self, source: int, unit: int) -> PackedDocuments:
        one = self.stream.sources[source]
        found, counts = self.stream.tokenize(one.units.read(unit))
        counts["targets"] = int(self._rows.row_targets(found, np.arange(len(found))).sum()) if len(found) else 0
        first = one.units.shards[int(one.units.table_6U[0, unit])].file.shown
        self._counts[source].put(unit, counts, f"{first} (unit {unit:,} of {one.name})")
        return found

    def _counts_path(self, source: StreamSource, kind: str) -> Path:
        from pipelines.data.tokenization import tokenizer_hash

        stream = self.stream
        parts = (VERSION, FIELDS, source.fingerprint, tokenizer_hash(stream.tokenizer), stream.block_size)
        key = hashlib.sha256(repr((*parts, stream.key, kind)).encode()).hexdigest()[:16]
        return cache_root() / f"stream-{key}.counts"


def _kind(rows: Any) -> str:
    """Stands for what decides how many targets a row has."""
    settings = {name: value for name, value in vars(rows).items() if isinstance(value, int | float | str | tuple)}
    return f"{type(rows).__name__} {sorted(settings.items())}"
