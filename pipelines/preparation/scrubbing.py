"""One cleaned chunk without its duplicates: personal data replaced, and documents out that evaluation sets share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.data.contamination import EvaluationGrams
from pipelines.data.decontamination import EvaluationTexts
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


def begin_scrubbing(personal_data: PersonalDataConfig, evaluation: Sequence[EvaluationTexts], samples: int) -> Work:
    """The function that does a `Scrubbing`."""
    lookup = _Lookup(evaluation) if evaluation else None

    def work(path: Path, item: Scrubbing) -> None:
        account = Account(most_samples=samples)
        rows = _scrubbed(item, personal_data, account)
        if lookup is not None:
            found = lookup.find([row.text for row in rows])
            for place, detail in found.items():
                account.drop("contaminated", rows[place].text, rows[place].size, rows[place].where, detail)
            rows = [row for place, row in enumerate(rows) if place not in found]
        write_part(path, _columns(rows), account.as_dict())

    return work


def _scrubbed(item: Scrubbing, config: PersonalDataConfig, account: Account) -> list[Row]:
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
        if kind != KEPT:
            account.drop(REASONS[kind], row.text, row.size, row.where, item.firsts.get(place, ""))
            continue
        if config.enabled:
            text, counts = scrub(row.text, config.kinds)
            if counts:
                account.personal_data.update(counts)
                account.counts["rows_with_personal_data"] += 1
                account.counts["bytes_added_by_tags"] += row.change(text)
        rows.append(row)
    return rows


class _Lookup:
    """The n-grams of evaluation sets; see `pipelines/data/contamination.py`."""

    def __init__(self, evaluation: Sequence[EvaluationTexts]) -> None:
        self.names = [one.name for one in evaluation]
        self.ends = np.cumsum([len(one.rows) for one in evaluation])
        self.grams = EvaluationGrams([row for one in evaluation for row in one.rows])

    def find(self, texts: list[str]) -> dict[int, str]:
        """Place of each document that shares an n-gram -> the first such, and the set that it is of."""
        first: dict[int, int] = {}
        for hits in self.grams.search([texts]):
            for number, gram in zip(hits.document_H.tolist(), hits.gram_H.tolist(), strict=True):
                first.setdefault(number - 1, gram)
        return {place: self._told(gram) for place, gram in sorted(first.items())}

    def _told(self, gram: int) -> str:
        place = int(np.searchsorted(self.ends, self.grams.first_row(gram), side="right"))
        return f"{self.names[place]}: {self.grams.words(gram)}"


def _columns(rows: list[Row]) -> dict[str, Any]:
    import pyarrow as pa

    return {
        "text": pa.array([row.text for row in rows], pa.string()),
        "source_file": pa.array([row.file for row in rows], pa.string()),
        "source_row": pa.array([row.number for row in rows], pa.int64()),
    }
