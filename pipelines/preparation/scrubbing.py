"""One cleaned chunk without its duplicates and what evaluation sets share, its personal data replaced."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.data.decontamination import EvaluationLookup
from pipelines.preparation.accounts import Account
from pipelines.preparation.chunks import read_part, write_part
from pipelines.preparation.cleaning import Row
from pipelines.preparation.duplicates import KEPT, REASONS
from pipelines.preparation.personal_data import scrub
from pipelines.preparation.workers import Work
from pipelines.preparation_sections import PersonalDataConfig


@dataclass(frozen=True)
class Scrubbing:
    """What is to be done with a chunk."""

    cleaned: Path
    """The part that cleaning left."""
    kinds: bytes
    """Of `Duplicates.kind_D`, those of its documents."""
    firsts: dict[int, str]
    """Place in the chunk -> file and row of the document that is kept, of duplicates that may be shown."""


def begin_scrubbing(personal_data: PersonalDataConfig, lookup: EvaluationLookup | None, samples: int) -> Work:
    """The function that does a `Scrubbing`.

    Args:
        personal_data: what is replaced.
        lookup: the evaluation sets, if there are any.
        samples: dropped rows of each reason that are shown.
    """

    def work(path: Path, item: Scrubbing) -> None:
        account = Account(most_samples=samples)
        rows = _kept(item, account)
        if lookup is not None:  # before tags take the place of words that the evaluation sets have as well
            rows = _not_shared(rows, lookup, account)
        if personal_data.enabled:
            for row in rows:
                _scrub(row, personal_data, account)
        write_part(path, _columns(rows), account.as_dict())

    return work


def _kept(item: Scrubbing, account: Account) -> list[Row]:
    import pyarrow.compute as pc

    table, _ = read_part(item.cleaned)
    names = ("source_file", "source_row")
    columns = [
        table["text"].to_pylist(),
        pc.binary_length(table["text"]).to_pylist(),
        *(table[n].to_pylist() for n in names),
    ]
    rows = []
    for place, (row, kind) in enumerate(
        zip(map(Row, *columns), np.frombuffer(item.kinds, np.int8).tolist(), strict=True)
    ):
        if kind == KEPT:
            rows.append(row)
        else:
            account.drop(REASONS[kind], row.text, row.size, row.where, item.firsts.get(place, ""))
    return rows


def _not_shared(rows: list[Row], lookup: EvaluationLookup, account: Account) -> list[Row]:
    found = lookup.find([[row.text for row in rows]])
    for number, gram in sorted(found.items()):
        row = rows[number - 1]
        account.drop("contaminated", row.text, row.size, row.where, ": ".join(lookup.tell(gram)))
    return [row for number, row in enumerate(rows, start=1) if number not in found]


def _scrub(row: Row, config: PersonalDataConfig, account: Account) -> None:
    text, counts = scrub(row.text, config.kinds)
    if counts:
        account.personal_data.update(counts)
        account.counts["rows_with_personal_data"] += 1
        account.counts["bytes_added_by_tags"] += row.change(text)


def _columns(rows: list[Row]) -> dict[str, Any]:
    import pyarrow as pa

    return {
        "text": pa.array([row.text for row in rows], pa.string()),
        "source_file": pa.array([row.file for row in rows], pa.string()),
        "source_row": pa.array([row.number for row in rows], pa.int64()),
    }
