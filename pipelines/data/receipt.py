"""The receipt of a run: every row and token, from what was read to what was trained on. Totals close or it stops."""

from typing import TYPE_CHECKING, Any

from pipelines.data.packing import PackedDocuments, TrainingBlocks
from pipelines.errors import DataError

if TYPE_CHECKING:
    from pipelines.data.document_rows import DocumentRows


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
    close("documents kept by loading = documents tokenized", rows["rows_kept"], counts["documents"])
    close("bytes kept by loading = bytes tokenized", rows["bytes"], counts["bytes"])
    tokens = counts["text_tokens"] + counts["bos_tokens"] + counts["eos_tokens"]
    close("text + BOS + EOS tokens = tokens in blocks", tokens, len(documents.tokens_N))
    close("positions = targets + document ends + padding", positions, targets + ends + padding)
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


def masked_receipt(split: dict[str, Any]) -> dict[str, Any]:
    """Receipt of a split for masked language modeling: positions are text, ends of documents, or padding.

    Args:
        split: receipt of the split by `split_receipt`, which speaks of next tokens.

    Raises:
        DataError: a total does not close.
    """
    names = ("targets", "document_ends_without_target")
    blocks = {name: count for name, count in split["blocks"].items() if name not in names}
    text = split["tokens"]["text_tokens"]
    ends = split["tokens"]["bos_tokens"] + split["tokens"]["eos_tokens"]
    close("positions = text + BOS + EOS + padding", blocks["positions"], text + ends + blocks["padding"])
    return split | {"blocks": blocks | {"text_positions": text, "document_frame_positions": ends}}


def sentence_receipt(text_tokens: int, sentences: int, tokens_kept: int, left_out: tuple[int, int]) -> dict[str, int]:
    """Receipt of cutting documents into sentences, which are the blocks of contrastive training.

    Args:
        text_tokens: as tokenization counted them.
        sentences, tokens_kept: how many sentences, and their tokens of text.
        left_out: parts that were too short to be sentences, and their tokens.

    Raises:
        DataError: a token of text is in no part, or in two.
    """
    close("text tokens = tokens in sentences + tokens left out", text_tokens, tokens_kept + left_out[1])
    return {
        "blocks": sentences,
        "tokens_in_sentences": tokens_kept,
        "parts_below_min_tokens": left_out[0],
        "tokens_in_parts_below_min_tokens": left_out[1],
    }


def rows_receipt(text_tokens: int, rows: "DocumentRows") -> dict[str, int]:
    """Receipt of cutting documents into rows, which are the blocks of denoising.

    Args:
        text_tokens: as tokenization counted them.
        rows: the split.

    Raises:
        DataError: a token of text is in no part, or in two.
    """
    kept, (short, short_tokens) = int(rows.lengths_R.sum()), rows.too_short
    close("text tokens = tokens in rows + tokens in parts too short", text_tokens, kept + short_tokens)
    return {
        "blocks": len(rows),
        "block_size": rows.block_size,
        "targets": rows.targets,
        "text_tokens": text_tokens,
        "tokens_in_rows": kept,
        "tokens_in_parts_too_short": short_tokens,
        "parts_too_short": short,
        "documents_cut": rows.documents_cut,
        "tokens_truncated": 0,
        "tokens_dropped": 0,
    }


def padding_receipt(run: TrainingBlocks, positions: int) -> dict[str, float]:
    """Positions that a run over DocumentRows computed, with and without a token, encoder and decoder together.

    Args:
        run: the rows of the whole run.
        positions: as the trainer counted them in its batches, over all steps.

    Raises:
        DataError: the batches had less room than the rows have tokens.
    """
    filled = run.order.filled_positions(run.documents, run.last_place)
    if filled > positions:
        raise DataError(f"The receipt does not close: {filled:,} tokens stood in {positions:,} positions.")
    return {
        "positions_computed": positions,
        "positions_with_token": filled,
        "padding": positions - filled,
        "padding_share": 1 - filled / positions,
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
    close("targets of the run's rows = targets in the trainer's batches", run.targets(), targets_trained)
    return {
        "rows": rows,
        "epochs": rows / run.order.blocks,
        "blocks_seen": int((times > 0).sum()),
        "blocks_not_seen": int((times == 0).sum()),
        "targets_trained": targets_trained,
    }


def close(total: str, left: int, right: int) -> None:
    """Raises DataError if the two sides of a total differ."""
    if left != right:
        raise DataError(
            f"The receipt does not close: {total} fails with {left:,} and {right:,}. This is a defect of Plumbline, or "
            "cached data was changed: delete the cache folder (PLUMBLINE_CACHE) and run again."
        )
