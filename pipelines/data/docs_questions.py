"""`docs_questions`: questions about the tables of docstrings, whose answers are pieces of the text.

It comes from the splits of `installed_docs`: a docstring stays in the split that its cluster fell into there.
"""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.data.builders import Fate, build_rows
from pipelines.data.docs_summaries import docs_key
from pipelines.data.docstrings import Entry, Span, entries, first_sentence
from pipelines.data.installed_docs import Document, installed_docs, read_documents

VERSION = 1
SEED = 5
MAX_CONTEXT = 1200
MAX_QUESTIONS = 3  # of one docstring
TRAIN_SHARE = 0.2  # of the docstrings of train, that all questions be a few thousand
ANSWER_CHARACTERS = (8, 240)  # of a sentence; a type or default may be shorter

WORDINGS = {
    "type": (
        "What is the type of `{name}`?",
        "Which type does `{name}` have?",
        "What type of value does `{name}` take?",
        "Of which type must `{name}` be?",
        "What kind of object is `{name}`?",
    ),
    "meaning": (
        "What is `{name}`?",
        "What does `{name}` mean?",
        "What does `{name}` stand for?",
        "What is `{name}` for in `{function}`?",
        "How is `{name}` described?",
        "What does the documentation of `{function}` say about `{name}`?",
    ),
    "default": (
        "What is the default of `{name}`?",
        "What does `{name}` default to?",
        "Which value does `{name}` have by default?",
        "What is `{name}` if it is not given?",
    ),
    "returned": (
        "What does `{function}` return?",
        "What is returned by `{function}`?",
        "What is the result of `{function}`?",
    ),
    "raised": (
        "When is `{name}` raised?",
        "In which case does `{function}` raise `{name}`?",
        "What makes `{function}` raise `{name}`?",
    ),
}

_VALUE = r"``([^`]+)``|`([^`]+)`|('[^'\n]*'|\"[^\"\n]*\"|None|True|False|[-+]?\.?\d(?:[\w.+-]*\w)?)"
_DEFAULT = re.compile(rf"\b[Dd]efaults?(?:(?:\s+value)?(?:\s+is|\s+to|\s*[:=])\s*|\s+)(?:{_VALUE})(?!\w|\(|\s*[*/%+])")
_PARAGRAPH = re.compile(r"\S(?:.|\n(?!\s*\n))*")
_TYPE_ENDS = re.compile(r",?\s*(?:\*?optional\*?\b|\(?\bdefaults?\b|keyword[- ]only)", re.IGNORECASE)


class Question(NamedTuple):
    """What is asked of an entry, and where in the docstring the answer stands."""

    kind: str  # a key of WORDINGS
    entry: Entry
    answer: Span


def docs_questions(cache_dir: Path) -> dict[str, Path]:
    """Questions about the docstrings installed here, see `build_questions`."""
    return build_questions(installed_docs(cache_dir), cache_dir)


def build_questions(
    docs: Mapping[str, Path], cache_dir: Path, train_share: float = TRAIN_SHARE, max_questions: int = MAX_QUESTIONS
) -> dict[str, Path]:
    """Parquet path of each split, columns id, question, context, answers (text and answer_start, one each), name.

    Types, defaults and first sentences of entries of parameter tables, returned values and exceptions are asked for,
    in a wording of `WORDINGS` that a seeded hash draws. The context is the docstring, or whole entries and paragraphs
    around the entry in question, up to `MAX_CONTEXT` characters. A row of the receipt is a question that could be
    asked; dropped are `over_the_cap` (more than `max_questions` of a docstring, which are drawn), `not_drawn` (a share
    of the docstrings of train is), `long_entry` (the entry has more than `MAX_CONTEXT` characters), `no_question` (a
    docstring without a question counts as one row) and `known` (see `build_rows`).
    """
    import pyarrow as pa

    def read() -> Iterator[Fate]:
        for split, document in read_documents(docs):
            digest = hashlib.sha256(document.text.encode()).hexdigest()[:16]
            draw = random.Random(f"{SEED} {digest}")
            is_drawn = split != "train" or draw.random() < train_share
            possible = questions(document.text)
            if not possible:
                yield split, "no_question"
            asked = set(draw.sample(range(len(possible)), min(max_questions, len(possible))))
            for number, question in enumerate(possible):
                if not is_drawn:
                    yield split, "not_drawn"
                elif number not in asked:
                    yield split, "over_the_cap"
                else:
                    context = window(document.text, question.entry, draw)
                    row_id = f"{digest}-{number}"
                    yield split, _row(document, question, context, row_id, draw) if context else "long_entry"

    answers = pa.struct({"text": pa.list_(pa.string()), "answer_start": pa.list_(pa.int64())})
    columns = {"id": pa.string(), "question": pa.string(), "context": pa.string(), "answers": answers}
    schema = pa.schema(columns | {"name": pa.string()})
    key = docs_key(VERSION, docs) | {"train_share": train_share, "max_questions": max_questions}
    return build_rows("docs_questions", key, cache_dir, schema, read, itemgetter("context"))


def questions(text: str) -> list[Question]:
    """Every question that can be asked of a docstring. A name that has two entries is not asked for."""
    found = []
    table = entries(text)
    names = Counter(entry.name for entry in table)
    returned = sum(entry.kind == "returned" for entry in table)
    for entry in table:
        if not entry.name or names[entry.name] > 1 or (entry.kind == "returned" and returned > 1):
            continue
        described = entry.kind in ("parameter", "attribute")
        spans = {"meaning" if described else entry.kind: sentence_span(text, entry)}
        if described:
            spans |= {"type": type_span(text, entry), "default": default_span(text, entry)}
        found += [Question(kind, entry, span) for kind, span in spans.items() if span is not None]
    return found


def sentence_span(text: str, entry: Entry) -> Span | None:
    """Where the first sentence about an entry stands, unless it is long, short or a list."""
    if entry.body is None:
        return None
    start, end = entry.body
    sentence = first_sentence(text[start:end])
    least, most = ANSWER_CHARACTERS
    is_list = sentence.endswith(":") or re.search(r"\n\s*[-*] ", sentence)
    if not least <= len(sentence) <= most or " " not in sentence or is_list:
        return None
    return start, start + len(sentence)


def type_span(text: str, entry: Entry) -> Span | None:
    """Where the type of an entry stands, without `optional`, its default, and backticks around the whole."""
    if entry.type is None:
        return None
    start, end = entry.type
    stop = _TYPE_ENDS.search(text, start, end)
    typed = text[start : stop.start() if stop else end].rstrip(" ,;.")
    if typed.startswith("`") and typed.endswith("`") and typed.count("`") == 2:
        return (start + 1, start + len(typed) - 1) if len(typed) > 2 else None
    return (start, start + len(typed)) if typed else None


def default_span(text: str, entry: Entry) -> Span | None:
    """Where the default of an entry stands: a number, a word in quotes, None, True, False or what is in backticks."""
    found = _DEFAULT.search(text, *entry.whole)
    if found is None:
        return None
    return found.span(found.lastindex or 0)


def window(text: str, entry: Entry, draw: random.Random) -> Span | None:
    """The whole docstring if it is short, else entries and paragraphs before and after an entry, as drawn.

    None if the entry alone is too long.
    """
    if len(text) <= MAX_CONTEXT:
        return 0, len(text)
    start, end = entry.whole
    if end - start > MAX_CONTEXT:
        return None
    pieces = _pieces(text)
    before = [piece for piece in pieces if piece[1] <= start]
    after = [piece for piece in pieces if piece[0] >= end]
    while before or after:
        backwards = before and (not after or draw.random() < 0.5)
        grown = (before.pop()[0], end) if backwards else (start, after.pop(0)[1])
        if grown[1] - grown[0] > MAX_CONTEXT:
            break
        start, end = grown
    return start, end


def _pieces(text: str) -> list[Span]:
    """Where entries and the paragraphs between them stand, in order."""
    whole = [entry.whole for entry in entries(text)]
    found = list(whole)
    for start, end in zip([0, *(end for _, end in whole)], [*(start for start, _ in whole), len(text)], strict=True):
        found += [paragraph.span() for paragraph in _PARAGRAPH.finditer(text, start, end)]
    return sorted(found)


def _row(document: Document, question: Question, context: Span, row_id: str, draw: random.Random) -> dict[str, Any]:
    start, end = question.answer
    function = document.name.rsplit(".", 1)[-1]
    return {
        "id": row_id,
        "question": draw.choice(WORDINGS[question.kind]).format(name=question.entry.name, function=function),
        "context": document.text[slice(*context)],
        "answers": {"text": [document.text[start:end]], "answer_start": [start - context[0]]},
        "name": document.name,
    }
