"""The receipt of a run: every row and token, from what was read to what was trained on. Totals close or it stops."""

from typing import Any

from pipelines.data.packing import PackedDocuments, TrainingBlocks
from pipelines.errors import DataError


def split_receipt(rows: dict[str, Any], counts: dict[str, int], documents: PackedDocuments) -> dict[str, Any]:
    """Receipt of one split, from the rows read to the positions of the blocks.

    Args:
        rows: what loading read, dropped and kept.
        counts: what tokenization counted.
        documents: the packed stream.

    Raises:
        DataError: a total does not close; names it.
    """
    positions = len(documents) * documents.block_size
    ends = len(documents.document_starts_D)
    padding = positions - len(documents.tokens_N)
    targets = int(documents.targets_per_block().sum())
    _close("documents kept by loading = documents tokenized", rows["rows_kept"], counts["documents"])
    _close("bytes kept by loading = bytes tokenized", rows["bytes"], counts["bytes"])
    tokens = counts["text_tokens"] + counts["bos_tokens"] + counts["eos_tokens"]
    _close("text + BOS + EOS tokens = tokens in blocks", tokens, len(documents.tokens_N))
    _close("positions = targets + document ends + padding", positions, targets + ends + padding)
    return {
        "rows": rows,
        "tokens": counts | {"bytes_per_token": counts["bytes"] / max(counts["text_tokens"], 1)},
        "blocks": {
            "blocks": len(documents),
            "block_size": documents.block_size,
            "positions": positions,
            "targets": targets,
            "document_ends_without_target": ends,
            "padding": padding,
            "tokens_truncated": 0,
            "tokens_dropped": 0,
        },
    }


def training_receipt(run: TrainingBlocks, targets_trained: int) -> dict[str, Any]:
    """Receipt of what was trained on.

    Args:
        run: the rows of the whole run.
        targets_trained: supervised positions that the trainer counted in its batches, over all steps.

    Raises:
        DataError: the trainer did not see exactly the targets of those rows.
    """
    rows, times = run.last_place, run.order.consumed(run.last_place)
    _close("targets of the run's rows = targets in the trainer's batches", run.targets(), targets_trained)
    return {
        "rows": rows,
        "epochs": rows / run.order.blocks,
        "blocks_seen": int((times > 0).sum()),
        "blocks_not_seen": int((times == 0).sum()),
        "targets_trained": targets_trained,
    }


def _close(total: str, left: int, right: int) -> None:
    if left != right:
        raise DataError(
            f"The receipt does not close: {total} fails with {left:,} and {right:,}. This is a defect of Plumbline, or "
            "cached data was changed: delete the cache folder (PLUMBLINE_CACHE) and run again."
        )
