"""Whether the receipt of a run closes: every sum that it states, added up anew."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.training import checkpoints
from pipelines.verification.checks import Check, Run

SPLITS = ("train", "validation", "test")
ROWS = "rows.rows_read + rows.moved_from_train? = rows.rows_kept + rows.rows_dropped + rows.moved_to_validation?"
# Sums of a split; a term with ? counts as nought where it is absent. Each holds wherever all its other terms stand.
SPLIT_SUMS = (
    ROWS,
    "rows.rows_kept = tokens.documents",
    "rows.bytes = tokens.bytes",
    "tokens.tokens = tokens.text_tokens + tokens.bos_tokens + tokens.eos_tokens",
    "tokens.text_tokens = tokens.tokens_kept + tokens.tokens_truncated + tokens.tokens_of_dropped_rows",
    "blocks.positions = blocks.blocks * blocks.block_size",
    "blocks.positions = blocks.targets + blocks.document_ends_without_target + blocks.padding",
    "blocks.positions = blocks.text_positions + blocks.document_frame_positions + blocks.padding",
    "tokens.text_tokens = blocks.text_positions",
    "tokens.text_tokens = blocks.text_tokens",
    "blocks.text_tokens = blocks.tokens_in_rows + blocks.tokens_in_parts_too_short",
    "tokens.text_tokens = blocks.tokens_in_sentences + blocks.tokens_in_parts_below_min_tokens",
)
RUN_SUMS = (
    "plan.train_blocks = training.blocks_seen + training.blocks_not_seen",
    "training.positions_computed = training.positions_with_token + training.padding",
    "training.positions_computed = metrics.train_tokens",
    "training.targets_trained = targets of the last checkpoint",
    "training.rows = rows of the steps made",
)


def check_receipt(run: Run) -> Check:
    """Every sum of receipt.json closes; those that do not are named with both sides."""
    if not run.receipt:
        return Check("receipt", "left out", "the run has no receipt.json")
    splits = [split for split in SPLITS if isinstance(run.receipt.get(split), dict)]
    found = [f"there is no split {split!r}" for split in SPLITS[:2] if split not in splits]
    sums = []
    for split in splits:
        counts = _counts_of_split(run.receipt[split])
        if not {"rows.rows_read", "rows.rows_kept", "rows.rows_dropped"} <= counts.keys():
            found.append(f"{split}: the rows read, kept and dropped are not all stated")
        sums += [(f"{split}: {total}", left, right) for total, left, right in _sums(SPLIT_SUMS, counts)]
    sums += _sums(RUN_SUMS, _counts_of_run(run))
    found += [f"{total} fails with {left:,} and {right:,}" for total, left, right in sums if left != right]
    if found:
        return Check("receipt", "fails", "; ".join(found))
    return Check("receipt", "holds", f"{len(sums)} sums of rows, tokens and positions close")


def _counts_of_split(part: Mapping[str, Any]) -> dict[str, Any]:
    """Counts of a split by section and name; rows_dropped as the sum of its reasons."""
    sections = {name: part[name] for name in ("rows", "tokens", "blocks") if isinstance(part.get(name), dict)}
    if "rows" not in sections:  # a split that was read and not encoded
        sections = {"rows": part}
    counts = {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}
    dropped = counts.pop("rows.rows_dropped", None)
    if isinstance(dropped, dict) and all(isinstance(count, int) for count in dropped.values()):
        counts["rows.rows_dropped"] = sum(dropped.values())
    blocks = sections.get("blocks", {})
    if {"blocks", "block_size", "positions"} <= blocks.keys():
        counts["blocks.blocks * blocks.block_size"] = blocks["blocks"] * blocks["block_size"]
    return counts


def _counts_of_run(run: Run) -> dict[str, Any]:
    """What was trained on, beside what plan, metrics and the last checkpoint say of it."""
    training = run.receipt.get("training")
    if not run.trains_by_steps or not isinstance(training, dict):
        return {}
    counts = {f"training.{name}": value for name, value in training.items()}
    if not run.plan.get("estimated"):  # of a stream, only the blocks of the units read are known
        counts |= {"plan.train_blocks": run.plan["train_blocks"]}
    counts |= {f"metrics.{name}": value for name, value in run.metrics.items()}
    counts["rows of the steps made"] = min(run.plan["rows"], run.last_step * run.plan["rows_per_step"])
    account = run.folder.checkpoints / f"checkpoint-{run.last_step}" / checkpoints.ACCOUNT
    if account.is_file() and run.checkpoints.get(account.parent) is None:
        counts["targets of the last checkpoint"] = json.loads(account.read_text(encoding="utf-8"))["targets"]
    return counts


def _sums(totals: tuple[str, ...], counts: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    """(sum, left side, right side) of those that `counts` has the terms of."""
    for total in totals:
        sides = [side.split(" + ") for side in total.split(" = ")]
        needed = [term for side in sides for term in side if not term.endswith("?")]
        if all(isinstance(counts.get(term), int | float) for term in needed):
            left, right = (sum(counts.get(term.rstrip("?"), 0) for term in side) for side in sides)
            yield total.replace("?", ""), left, right
