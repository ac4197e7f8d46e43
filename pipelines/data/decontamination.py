"""Training documents that share words with evaluation sets: those sets read from cards and files, and looked up.

What counts as shared is told in `contamination`.
"""

import glob
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.data.card_schema import CardConfig, listed
from pipelines.data.cards import DataCard, list_cards, load_card
from pipelines.data.contamination import EvaluationGrams
from pipelines.data.files import COMPRESSIONS, FORMATS, SourceFile, find_files
from pipelines.data.readers import read_texts
from pipelines.data.remote import ADVICE, fetch_files, is_remote
from pipelines.data.sources import card_files
from pipelines.data.tables import ChooseColumns, read_table
from pipelines.errors import CardError, DataError, HubError, PlumblineError, did_you_mean
from pipelines.run import say

# Roles whose columns hold what a model reads or is to write. Tags, ids and groups are none; labels are words at best.
TEXT_ROLES = (
    *("text", "text_pair", "document", "summary", "question", "context", "answers"),
    *("source", "target", "tokens", "choices", "messages"),
)
EVALUATION_SPLITS = ("validation", "test")
BATCH_ROWS = 5_000
SAMPLES = 20  # contaminated documents that the receipt shows


@dataclass(frozen=True)
class EvaluationTexts:
    """The rows of one evaluation set, each a list of its texts."""

    name: str
    """As it was named: a card, card/config, path or glob."""
    read_from: list[str]
    """The files."""
    rows: list[list[str]]


@dataclass(frozen=True)
class ContaminatedDocuments:
    """The documents that share an n-gram with an evaluation text."""

    numbers: list[int]
    """Which they are, from 1 in the order they came."""
    receipt: dict[str, Any]
    """What was looked for, and a gram of each of the first documents; see `docs/data_cards.md`."""


def find_contaminated_documents(
    evaluation: Sequence[EvaluationTexts], documents: Iterable[Sequence[str]]
) -> ContaminatedDocuments:
    """The documents, which come in batches of texts, that share an n-gram with a text of an evaluation set."""
    lookup = EvaluationLookup(evaluation)
    found = lookup.find(documents)
    samples = []
    for number in sorted(found)[:SAMPLES]:
        name, words = lookup.tell(found[number])
        samples.append({"document": number, "words": words, "evaluation": name})
    receipt = {"gram_words": lookup.grams.gram_words, "evaluation": lookup.sets, "samples": samples}
    return ContaminatedDocuments(sorted(found), receipt)


class EvaluationLookup:
    """The n-grams of evaluation sets, to be looked up in documents. A set of which nothing can be is told at once.

    Args:
        evaluation: at least one set.
    """

    def __init__(self, evaluation: Sequence[EvaluationTexts]) -> None:
        self.grams = EvaluationGrams([row for one in evaluation for row in one.rows])
        self._ends = np.cumsum([len(one.rows) for one in evaluation])
        self.sets: list[dict[str, Any]] = []
        """For receipts, of each set: name, read_from, rows, rows_too_short."""
        for one, short in zip(evaluation, np.split(self.grams.grams_R == 0, self._ends[:-1]), strict=True):
            self.sets.append(
                {"name": one.name, "read_from": one.read_from, "rows": len(short), "rows_too_short": int(short.sum())}
            )
            if short.all():
                say(f"WARNING: every one of the {len(short):,} rows of {one.name} is too short to be looked for.")

    def find(self, documents: Iterable[Sequence[str]]) -> dict[int, int]:
        """Number of each document that shares a gram, from 1 in the order they come -> the first gram found in it.

        Args:
            documents: their texts in batches.
        """
        first: dict[int, int] = {}
        for hits in self.grams.search(documents):
            for number, gram in zip(hits.document_H.tolist(), hits.gram_H.tolist(), strict=True):
                first.setdefault(number, gram)
        return first

    def tell(self, gram: int) -> tuple[str, str]:
        """Name of the first set that has a gram, and its words."""
        place = int(np.searchsorted(self._ends, self.grams.first_row(gram), side="right"))
        return str(self.sets[place]["name"]), self.grams.words(gram)


# ---------------------------------------------------------------- reading evaluation sets


def read_evaluation_texts(names: str | Sequence[str], key: str = "data.decontaminate") -> list[EvaluationTexts]:
    """The texts of evaluation sets.

    Args:
        names: each one of
            - a data card, for all its configs, or `card/config`: its splits validation and test, or train where its
              files have neither; of these the columns whose role is one of TEXT_ROLES;
            - a path, glob or URL of files: all their columns of text. A text file has a row a line.
        key: the config key that names them, for messages.

    Raises:
        CardError: no card, config or file is called that, or the card gives no column a role of text.
        DataError: a file is missing, cannot be read, or holds no text.
        HubError: a card's files are not on this machine and the Hub cannot be reached.
    """
    return [_read(name, key) for name in ([names] if isinstance(names, str) else names)]


def evaluation_sources(
    names: str | Sequence[str], key: str = "data.decontaminate"
) -> tuple[list[SourceFile], list[Path]]:
    """The files that `read_evaluation_texts` would read, and the cards that say which and how; raises as it does."""
    files: list[SourceFile] = []
    cards: list[Path] = []
    for name in [names] if isinstance(names, str) else names:
        with _naming(name, key):
            files += [file for file, _ in _files_of(name, key)]
            if not _is_file(name):
                cards.append(_find_card(name, key)[0].path)
    return files, cards


def _read(name: str, key: str) -> EvaluationTexts:
    rows: list[list[str]] = []
    shown: list[str] = []
    with _naming(name, key):
        for file, choose in _files_of(name, key):
            rows += _rows(file, choose)
            shown.append(file.shown)
    return EvaluationTexts(name, shown, rows)


@contextmanager
def _naming(name: str, key: str) -> Iterator[None]:
    """Around work on an evaluation set, so that errors say which."""
    try:
        yield
    except HubError as error:
        raise HubError(
            f"{key} names {name!r}, whose files are not on this machine: {str(error).replace(ADVICE, '').strip()} Give "
            "the files of its validation and test splits by their paths instead, or leave it out."
        ) from None
    except PlumblineError as error:
        told = str(error)
        raise type(error)(told if told.startswith(key) else f"{key} names {name!r}: {told}") from None


def _files_of(name: str, key: str) -> Iterator[tuple[SourceFile, ChooseColumns]]:
    """The files that a name stands for, and which columns of them are read."""
    if _is_file(name):
        found = fetch_files(name, key) if is_remote(name) else find_files(name, key)
        yield from ((file, lambda columns, shown: list(dict.fromkeys(columns))) for file in found)
        return
    card, configs = _find_card(name, key)
    for config in configs:
        splits = [split for split in EVALUATION_SPLITS if split in config.data_files] or ["train"]
        choose = _text_columns(card, config)
        for split in splits:
            yield from ((file, choose) for file in card_files(card, config, split))


def _is_file(name: str) -> bool:
    """Whether a name is that of files, there or not, rather than of a card."""
    if is_remote(name):
        return True
    endings = {*FORMATS, *COMPRESSIONS}
    return Path(name).expanduser().is_file() or glob.has_magic(name) or Path(name).suffix.lower() in endings


def _find_card(name: str, key: str) -> tuple[DataCard, list[CardConfig]]:
    """The card that a name begins with, and its configs that are meant."""
    registered = list_cards()
    head, _, config = name.rpartition("/")

    def is_card(one: str) -> bool:
        return one in registered or (bool(one) and (Path(one).expanduser() / "README.md").is_file())

    if head not in registered and (is_card(name) or (name and Path(name).expanduser().is_dir() and not is_card(head))):
        card = load_card(name)
        return card, list(card.configs.values())
    if not is_card(head):
        raise CardError(
            f"{key} names {name!r}, which is no data card, no config of one (card/config) and no file."
            f"{did_you_mean(head or name, registered)} Cards: {listed(registered)}. Files are given by their paths."
        )
    card = load_card(head)
    if config not in card.configs:
        raise CardError(
            f"{key} names {name!r}, but the card {card.path} has no config {config!r}."
            f"{did_you_mean(config, card.configs)} It has: {listed(card.configs)}."
        )
    return card, [card.configs[config]]


def _text_columns(card: DataCard, config: CardConfig) -> ChooseColumns:
    """Chooses the columns that a card gives a role of text, and those that are called like one and have no role."""

    def choose(columns: Sequence[str], shown: str) -> list[str]:
        chosen = [column for column, role in config.roles.items() if role in TEXT_ROLES]
        missing = [column for column in chosen if column not in columns and column.split(".")[0] not in columns]
        if missing:
            raise CardError(
                f"The card {card.path} maps column {missing[0]!r}, but {shown} has none of that name. Columns found: "
                f"{listed(columns)}.{did_you_mean(missing[0], columns)} Correct col_mapping in the card."
            )
        chosen += [name for name in TEXT_ROLES if name in columns and name not in config.roles]
        if not chosen:
            raise CardError(
                f"The card {card.path} gives no column of config {config.name!r} a role of text, so there is nothing "
                f"to look for. Its roles: {config.roles}; expected one of {', '.join(TEXT_ROLES)}."
            )
        return chosen

    return choose


def _rows(file: SourceFile, choose: ChooseColumns) -> list[list[str]]:
    """The texts of each row of a file. Raises DataError if there is no text in any."""
    if file.format == "text":
        rows = [[line] for array in read_texts(file, lambda columns, _: "text", "line") for line in array.to_pylist()]
        found = ["text"]
    else:
        table = read_table(file, choose).columns
        found = table.column_names
        rows = [
            [text for value in row.values() for text in _texts(value)]
            for batch in table.to_batches(max_chunksize=BATCH_ROWS)
            for row in batch.to_pylist()
        ]
    if not any(text.strip() for row in rows for text in row):
        raise DataError(
            f"{file.shown} holds no text, so there is nothing to look for in the corpus. Columns read: "
            f"{listed(found)}; expected text in at least one of them."
        )
    return rows


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value: a string, or those in lists and objects. A list of single words is one text."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        if all(isinstance(item, str) and len(item.split()) <= 1 for item in value):
            yield " ".join(value)
        else:
            for item in value:
                yield from _texts(item)
