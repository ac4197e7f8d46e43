"""The receipt of a run as sums that are added up anew."""

import json
from typing import Any

from pipelines.reporting.words import label_of, number, rows_of


def receipt_sums(receipt: dict[str, Any]) -> dict[str, Any]:
    """Rows, tokens and positions of each split as sums, added up anew, and what was trained on.

    Returns:
        splits: names. ledgers: see `ledger`. also: (label, figure per split) of what is in no sum. blocks: the ledger
        of the blocks trained on. training: the rest of what was trained on. rest: JSON of all else, if any.
    """
    parts = {name: part for name, part in receipt.items() if isinstance(part, dict)}
    splits = {name: part for name, part in parts.items() if isinstance(part.get("rows"), dict)}
    left = [{section: dict(counts) for section, counts in part.items()} for part in splits.values()]

    def take(section: str, names: str, sign: int = 1) -> list[tuple[int, str, list[Any]]]:
        counts = [part.get(section, {}) for part in left]
        return [(sign, label_of(name), [count.pop(name, None) for count in counts]) for name in names.split()]

    dropped = [part["rows"].pop("rows_dropped", {}) for part in left]
    reasons = dict.fromkeys(reason for counts in dropped for reason in counts)
    rows = take("rows", "rows_read moved_from_train")
    rows += [(-1, f"Dropped: {label_of(name).lower()}", [counts.get(name) for counts in dropped]) for name in reasons]
    rows += take("rows", "moved_to_validation", sign=-1)
    bytes_dropped = [part["bytes"].pop("bytes_dropped", {}) if "bytes" in part else {} for part in left]
    sizes = take("bytes", "bytes_read bytes_added_by_normalisation bytes_of_boilerplate_lines bytes_added_by_tags")
    sizes += [(-1, f"Dropped: {label_of(name).lower()}", [one.get(name) for one in bytes_dropped]) for name in reasons]
    tokens = take("tokens", "text_tokens bos_tokens eos_tokens")
    positions = take("blocks", "targets document_ends_without_target text_positions document_frame_positions padding")
    ledgers = [
        ledger("Rows", rows, *take("rows", "rows_kept")),
        ledger("Bytes", sizes, *take("bytes", "bytes_kept")),
        ledger("Tokens", tokens, *take("tokens", "tokens")),
        ledger("Positions", positions, *take("blocks", "positions")),
        ledger("Text", take("blocks", "tokens_in_rows tokens_in_parts_too_short"), *take("blocks", "text_tokens")),
    ]
    names = dict.fromkeys((section, name) for part in left for section in part for name in part[section])
    also = [(label_of(name), *(number(part.get(section, {}).get(name)) for part in left)) for section, name in names]
    training = dict(receipt.get("training", {}))
    blocks = [splits.get("train", {}).get("blocks", {}).get("blocks")]
    seen = [(1, label_of(name), [training.pop(name, None)]) for name in ("blocks_seen", "blocks_not_seen")]
    rest = {name: part for name, part in receipt.items() if name not in splits and name != "training"}
    return {
        "splits": list(splits),
        "ledgers": ledgers,
        "also": list(dict.fromkeys(also)),
        "blocks": ledger("Blocks", seen, (1, "Training blocks", blocks)),
        "training": rows_of(training, training),
        "rest": json.dumps(rest, indent=2, ensure_ascii=False) if rest else "",
    }


def ledger(title: str, terms: list[tuple[int, str, list[Any]]], total: tuple[int, str, list[Any]]) -> dict[str, Any]:
    """A sum with its terms.

    Args:
        title: what is counted.
        terms: sign, label, and a figure (or None) per column.
        total: the same of what they should add up to.

    Returns:
        title; terms and total, without those that have no figure; off: per column, how far the sum is from the total.
    """
    terms = [term for term in terms if any(value is not None for value in term[2])]
    off = []
    for column, stated in enumerate(total[2]):
        known = [sign * values[column] for sign, _, values in terms if values[column] is not None]
        off.append(sum(known) - stated if known and stated is not None else None)
    stated_at_all = any(value is not None for value in total[2])
    return {"title": title, "terms": terms, "total": total if stated_at_all else None, "off": off}
