"""What became of the rows: counted in each chunk, added up, and closed.

A row's bytes are the UTF-8 bytes of its text as it was when it was dropped.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from pipelines.errors import DataError

SHOWN_CHARACTERS = 600
LONGEST_ADDRESS = 64 + 1 + 255  # characters of an e-mail address (RFC 5321, section 4.5.3.1); all other data is shorter


@dataclass
class Account:
    """Counts of one chunk, or of several."""

    counts: Counter[str] = field(default_factory=Counter)
    """rows_read, bytes_read, and what steps changed."""
    rows_dropped: Counter[str] = field(default_factory=Counter)
    bytes_dropped: Counter[str] = field(default_factory=Counter)
    personal_data: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    most_samples: int = 0

    def drop(self, reason: str, text: str, size: int, where: str, detail: str = "") -> None:
        """Counts a dropped row.

        Args:
            reason: one word of the receipt.
            text: as it is now.
            size: its UTF-8 bytes.
            where: file and row.
            detail: what else is known, such as the document that is kept in its place.
        """
        self.rows_dropped[reason] += 1
        self.bytes_dropped[reason] += size
        shown = self.samples.setdefault(reason, [])
        if len(shown) < self.most_samples:
            shown.append({"text": text[: SHOWN_CHARACTERS + LONGEST_ADDRESS], "where": where, "detail": detail})

    def add(self, other: "Account") -> None:
        """Adds the counts of later rows."""
        for name in ("counts", "rows_dropped", "bytes_dropped", "personal_data"):
            getattr(self, name).update(getattr(other, name))
        for reason, shown in other.samples.items():
            kept = self.samples.setdefault(reason, [])
            kept += shown[: self.most_samples - len(kept)]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        counts = ("counts", "rows_dropped", "bytes_dropped", "personal_data")
        return {name: dict(getattr(self, name)) for name in counts} | {"samples": self.samples}

    @classmethod
    def of_dict(cls, content: dict[str, Any]) -> "Account":
        """What `as_dict` made."""
        return cls(
            counts=Counter(content["counts"]),
            rows_dropped=Counter(content["rows_dropped"]),
            bytes_dropped=Counter(content["bytes_dropped"]),
            personal_data=Counter(content["personal_data"]),
            samples=content["samples"],
        )


def sample_text(text: str, scrubbed: str) -> str:
    """What is shown of a sample: at most SHOWN_CHARACTERS, and no piece of personal data that was cut.

    Args:
        text: as `Account.drop` kept it.
        scrubbed: the same with its personal data replaced.
    """
    if len(text) == SHOWN_CHARACTERS + LONGEST_ADDRESS:
        scrubbed = scrubbed[:-LONGEST_ADDRESS]
    elif len(scrubbed) <= SHOWN_CHARACTERS:
        return scrubbed
    return f"{scrubbed[:SHOWN_CHARACTERS]} …"


def prepared_receipt(account: Account, rows_kept: int, bytes_kept: int, order: list[str]) -> dict[str, Any]:
    """The receipt of the prepared split.

    Args:
        account: of all chunks.
        rows_kept, bytes_kept: as they stand in the shards.
        order: the reasons, in the order of the steps.

    Raises:
        DataError: rows or bytes do not close.
    """
    counts: Any = account.counts
    reasons = sorted(account.rows_dropped, key=lambda reason: order.index(reason) if reason in order else len(order))
    changes = {
        "bytes_added_by_normalisation": counts["bytes_added_by_normalisation"],
        "bytes_of_boilerplate_lines": -counts["bytes_of_boilerplate_lines"],
        "bytes_added_by_tags": counts["bytes_added_by_tags"],
    }
    _close("rows", counts["rows_read"] - account.rows_dropped.total(), rows_kept)
    _close("bytes", counts["bytes_read"] + sum(changes.values()) - account.bytes_dropped.total(), bytes_kept)
    changed = ("rows_normalised", "rows_with_boilerplate_lines", "rows_with_personal_data")
    return {
        "rows": {
            "rows_read": counts["rows_read"],
            "rows_dropped": {reason: account.rows_dropped[reason] for reason in reasons},
            "rows_kept": rows_kept,
        },
        "bytes": {
            "bytes_read": counts["bytes_read"],
            **changes,
            "bytes_dropped": {reason: account.bytes_dropped[reason] for reason in reasons},
            "bytes_kept": bytes_kept,
        },
        "changed": {name: counts[name] for name in changed},
        "personal_data_replaced": dict(sorted(account.personal_data.items())),
    }


def _close(what: str, expected: int, found: int) -> None:
    if expected != found:
        raise DataError(
            f"The receipt does not close: {expected:,} {what} should be in the shards, found {found:,}. This is a "
            "defect of Plumbline, or files of the run folder were changed: start anew with --run.overwrite true."
        )
