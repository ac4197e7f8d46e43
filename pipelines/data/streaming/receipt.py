"""The receipt of a streamed run: what was read of each source, and what was trained on. Totals close or it stops."""

from typing import TYPE_CHECKING, Any

from pipelines.data.packing import PackedDocuments, TrainingBlocks
from pipelines.data.receipt import close, masked_receipt, training_receipt
from pipelines.data.streaming.documents import BASELINE_ROWS, StreamOrder

if TYPE_CHECKING:
    from pipelines.data.tokenization import TokenizedCorpus

ROWS = ("documents", "null", "empty")  # what became of a row that was read


def run_receipt(text: "TokenizedCorpus", run: TrainingBlocks, targets_trained: int) -> dict[str, Any]:
    """The receipt of a finished run, streamed or not.

    Args:
        text: of the run.
        run: its rows.
        targets_trained: supervised positions that the trainer counted in its batches, over all steps.

    Raises:
        DataError: a total does not close.
    """
    order: Any = run.order
    if not isinstance(order, StreamOrder):
        return text.receipt | {"training": training_receipt(run, targets_trained)}
    accounts = order.accounts(run.last_place, run.rows)
    read: dict[str, int] = {}
    told: dict[str, Any] = {}
    for account in accounts:
        read = {name: read.get(name, 0) + count for name, count in account.read.items()}
        told[account.name] = text.receipt["streaming"]["sources"][account.name] | {
            "units_read": account.units_read,
            "rows_read": account.read["rows_read"],
            "rows_dropped": {"null": account.read["null"], "empty": account.read["empty"]},
            "documents": account.read["documents"],
            "text_tokens": account.read["text_tokens"],
            "blocks": account.read["blocks"],
            "blocks_seen": account.blocks_seen,
            "blocks_trained": account.rows,
            "epochs": account.epochs,
            "targets_trained": account.targets,
        }
    rows, seen = run.last_place, sum(account.blocks_seen for account in accounts)
    close("blocks of the sources = rows of the run", sum(account.rows for account in accounts), rows)
    targets = sum(account.targets for account in accounts)
    close("targets of the run's rows = targets in the trainer's batches", targets, targets_trained)
    training = {
        "rows": rows,
        "epochs": rows / len(order.stream),
        "blocks_seen": seen,
        "blocks_not_seen": read["blocks"] - seen,
        "targets_trained": targets_trained,
    }
    streaming = text.receipt["streaming"] | {
        "sources": told,
        "lanes": order.lanes.lanes,
        "baseline_rows": min(rows, BASELINE_ROWS),
    }
    train = read_receipt(read, order.stream.sample)
    if "text_positions" in text.receipt["train"]["blocks"]:
        train = masked_receipt(train)
    return text.receipt | {"train": train, "training": training, "streaming": streaming}


def read_receipt(counts: dict[str, int], sample: PackedDocuments) -> dict[str, Any]:
    """Receipt of the units that were read.

    Args:
        counts: their sums (counts.FIELDS).
        sample: some of them, which tell what a block is.

    Raises:
        DataError: a total does not close.
    """
    close("rows read = rows kept + null + empty", counts["rows_read"], sum(counts[one] for one in ROWS))
    documents, text_tokens = counts["documents"], counts["text_tokens"]
    tokens, positions = text_tokens + 2 * documents, counts["blocks"] * sample.block_size
    blocks = {
        "blocks": counts["blocks"],
        "block_size": sample.block_size,
        "positions": positions,
        "targets": tokens - documents,
        "document_ends_without_target": documents,
        "padding": positions - tokens,
    }
    if hasattr(sample, "target_lengths_R"):
        in_rows, short = counts["tokens_in_rows"], counts["tokens_too_short"]
        close("text tokens = tokens in rows + tokens in parts too short", text_tokens, in_rows + short)
        blocks = {
            "blocks": counts["blocks"],
            "block_size": sample.block_size,
            "targets": counts["targets"],
            "text_tokens": text_tokens,
            "tokens_in_rows": in_rows,
            "tokens_in_parts_too_short": short,
            "parts_too_short": counts["parts_too_short"],
            "documents_cut": counts["documents_cut"],
        }
    return {
        "rows": {
            "rows_read": counts["rows_read"],
            "rows_dropped": {"null": counts["null"], "empty": counts["empty"]},
            "rows_kept": documents,
            "bytes": counts["bytes"],
        },
        "tokens": {
            "documents": documents,
            "bytes": counts["bytes"],
            "bos_tokens": documents,
            "eos_tokens": documents,
            "text_tokens": text_tokens,
            "unknown_tokens": counts["unknown_tokens"],
            "tokens": tokens,
            "bytes_per_token": counts["bytes"] / max(text_tokens, 1),
        },
        "blocks": blocks | {"tokens_truncated": 0, "tokens_dropped": 0},
    }
