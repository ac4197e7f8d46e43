"""One chunk of the source, cleaned: repaired, in the languages that are kept, and good enough by the rules."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.preparation.accounts import Account
from pipelines.preparation.chunks import table_of_bytes, write_part
from pipelines.preparation.duplicates import text_hash
from pipelines.preparation.language import language_reason
from pipelines.preparation.lines import remove_boilerplate
from pipelines.preparation.minhash import signatures
from pipelines.preparation.normalising import normalise
from pipelines.preparation.quality import quality_reasons
from pipelines.preparation.workers import Work
from pipelines.preparation_sections import (
    ExactDuplicatesConfig,
    LanguageConfig,
    NearDuplicatesConfig,
    NormalisationConfig,
    QualityConfig,
)


@dataclass(frozen=True)
class CleaningSettings:
    """The sections that say how a chunk is cleaned, and what is kept to find its duplicates."""

    normalisation: NormalisationConfig
    language: LanguageConfig
    quality: QualityConfig
    exact_duplicates: ExactDuplicatesConfig
    near_duplicates: NearDuplicatesConfig
    samples: int


@dataclass
class Row:
    """A row of the source that is not dropped so far."""

    text: str
    size: int
    """UTF-8 bytes."""
    file: str
    number: int

    @property
    def where(self) -> str:
        """For messages and samples."""
        return f"{self.file}, row {self.number:,}"

    def change(self, text: str) -> int:
        """Takes another text; returns how many bytes it is longer."""
        before, self.text = self.size, text
        self.size = len(text.encode())
        return self.size - before


def begin_cleaning(settings: CleaningSettings) -> Work:
    """The function that cleans a chunk, given as (digest, bytes of its table)."""

    def work(path: Path, item: tuple[str, bytes]) -> None:
        digest, data = item
        rows, account = clean_rows(table_of_bytes(data), settings)
        write_part(path, _columns(rows, settings), {"digest": digest} | account.as_dict())

    return work


def clean_rows(table: Any, settings: CleaningSettings) -> tuple[list[Row], Account]:
    """The rows of a chunk that are kept, and the account of all."""
    import pyarrow.compute as pc

    account = Account(most_samples=settings.samples)
    sizes = pc.binary_length(table["text"]).fill_null(0).to_pylist()
    account.counts.update(rows_read=table.num_rows, bytes_read=sum(sizes))
    rows = []
    for row in map(
        Row, *(table["text"].to_pylist(), sizes, table["source_file"].to_pylist(), table["source_row"].to_pylist())
    ):
        if row.text is None or not row.text.strip():
            account.drop("null" if row.text is None else "empty", row.text or "", row.size, row.where)
        elif _is_cleaned(row, settings, account):
            rows.append(row)
    if settings.quality.enabled:
        rows = _good(rows, settings.quality, account)
    return rows, account


def _is_cleaned(row: Row, settings: CleaningSettings, account: Account) -> bool:
    if settings.normalisation.enabled:
        text = normalise(row.text)
        if text != row.text:
            account.counts["rows_normalised"] += 1
            account.counts["bytes_added_by_normalisation"] += row.change(text)
    if not row.text.strip():
        account.drop("empty", row.text, row.size, row.where)
        return False
    reason = language_reason(row.text, settings.language) if settings.language.enabled else None
    if reason is not None:
        account.drop(reason, row.text, row.size, row.where)
    return reason is None


def _good(rows: list[Row], config: QualityConfig, account: Account) -> list[Row]:
    left = []
    for row in rows:
        text = remove_boilerplate(row.text, config)
        if not text.strip():
            account.drop("boilerplate", row.text, row.size, row.where)
            continue
        if text != row.text:
            account.counts["rows_with_boilerplate_lines"] += 1
            account.counts["bytes_of_boilerplate_lines"] -= row.change(text)
        left.append(row)
    good = []
    for row, reason in zip(left, quality_reasons([row.text for row in left], config), strict=True):
        if reason is None:
            good.append(row)
        else:
            account.drop(reason, row.text, row.size, row.where)
    return good


def _columns(rows: list[Row], settings: CleaningSettings) -> dict[str, Any]:
    import pyarrow as pa

    texts = [row.text for row in rows]
    columns = {
        "text": pa.array(texts, pa.string()),
        "source_file": pa.array([row.file for row in rows], pa.string()),
        "source_row": pa.array([row.number for row in rows], pa.int64()),
    }
    if settings.exact_duplicates.enabled:
        columns["hash"] = pa.array([text_hash(text) for text in texts], pa.binary(16))
    if settings.near_duplicates.enabled:
        near = settings.near_duplicates
        signature_DK = signatures(texts, near.signature_size, near.ngram_words)
        data = pa.py_buffer(signature_DK.tobytes())
        columns["signature"] = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(4 * near.signature_size), len(rows), [None, data]
        )
    return columns
