"""`docs_summaries` and `docs_choices`: the summary line of a docstring, to be written or to be picked out of four.

Both come from the splits of `installed_docs`: a docstring stays in the split that its cluster fell into there.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

from pipelines.data.builders import SPLITS, Fate, build_rows
from pipelines.data.docstrings import first_sentence, one_line, take_apart
from pipelines.data.installed_docs import Document, installed_docs, is_prose, read_documents

VERSION = 1
SEED = 4
SUMMARY_CHARACTERS = (20, 200)
MIN_DESCRIPTION = 80
MIN_DOCUMENT = 200
MAX_CHOICE_TEXT = 400
CHOICES = 4


def docs_summaries(cache_dir: Path) -> dict[str, Path]:
    """Summaries of the docstrings installed here, see `build_summaries`."""
    return build_summaries(installed_docs(cache_dir), cache_dir)


def docs_choices(cache_dir: Path) -> dict[str, Path]:
    """Summaries of the docstrings installed here to choose from, see `build_choices`."""
    return build_choices(installed_docs(cache_dir), cache_dir)


def build_summaries(docs: Mapping[str, Path], cache_dir: Path) -> dict[str, Path]:
    """Parquet path of each split, columns document, summary, name and package (str).

    `summary` is the first paragraph of a docstring on one line, `document` all that follows it, tables and code
    included. Kept are docstrings with these, others are counted under the reason given:
    - `summary_is_no_sentence`: the summary has 20 to 200 characters, a capital letter first and a full stop last;
    - `little_prose`: between it and the first section stand at least 80 characters, mostly words;
    - `short_document`: the document has at least 200 characters;
    - `summary_in_document`: the document does not repeat the summary;
    - `repeated`: neither summary nor document stood earlier, in the order train, validation, test;
    - `known`: see `build_rows`.
    """
    import pyarrow as pa

    schema = pa.schema({column: pa.string() for column in ("document", "summary", "name", "package")})
    key = docs_key(VERSION, docs)
    return build_rows("docs_summaries", key, cache_dir, schema, lambda: _summaries(docs), itemgetter("document"))


def build_choices(docs: Mapping[str, Path], cache_dir: Path) -> dict[str, Path]:
    """Parquet path of each split, columns text (str), choices (four str), label (0 to 3), name and package (str).

    `text` is the prose of a docstring of `build_summaries` between summary and first section, on one line, up to 400
    characters at a sentence end. The choices are its summary and those of three other docstrings of the same package
    and split, drawn by a seeded hash of its name and summary, which also draws the label. Dropped are, besides those
    that `build_summaries` drops, `few_in_package`: the split has less than four docstrings of that package.
    """
    import pyarrow as pa

    columns = {"text": pa.string(), "choices": pa.list_(pa.string()), "label": pa.int64()}
    schema = pa.schema(columns | {"name": pa.string(), "package": pa.string()})
    key = docs_key(VERSION, docs)
    return build_rows("docs_choices", key, cache_dir, schema, lambda: _choices(docs), itemgetter("text"))


def docs_key(version: int, docs: Mapping[str, Path]) -> dict[str, Any]:
    """Cache key of a corpus made of these splits of `installed_docs`, whose folder's name holds a hash of versions."""
    return {"version": version, "installed_docs": docs[SPLITS[0]].parent.name}


def _summaries(docs: Mapping[str, Path]) -> Iterator[Fate]:
    for split, document, fate in _fates(docs):
        parts = take_apart(document.text)
        row = {"document": parts.rest, "summary": parts.summary, "name": document.name, "package": document.package}
        yield split, fate or row


def _choices(docs: Mapping[str, Path]) -> Iterator[Fate]:
    kept: dict[tuple[str, str], list[Document]] = defaultdict(list)
    for split, document, fate in _fates(docs):
        if fate is not None:
            yield split, fate
        else:
            kept[split, document.package].append(document)
    for (split, package), documents in kept.items():
        summaries = [take_apart(document.text).summary for document in documents]
        for document, summary in zip(documents, summaries, strict=True):
            if len(documents) < CHOICES:
                yield split, "few_in_package"
                continue
            draw = random.Random(f"{SEED} {document.name} {summary}")
            choices = [other for other in draw.sample(summaries, CHOICES) if other != summary][: CHOICES - 1]
            label = draw.randrange(CHOICES)
            choices.insert(label, summary)
            text = shortened(take_apart(document.text).description)
            yield split, {"text": text, "choices": choices, "label": label, "name": document.name, "package": package}


def _fates(docs: Mapping[str, Path]) -> Iterator[tuple[str, Document, str | None]]:
    """Split and docstring, and the reason why it is not kept, or None."""
    seen: set[str] = set()
    for split, document in read_documents(docs):
        summary, description, rest = take_apart(document.text)
        least, most = SUMMARY_CHARACTERS
        if not (least <= len(summary) <= most and re.fullmatch(r"[A-Z].*\.", summary)):
            fate = "summary_is_no_sentence"
        elif len(description) < MIN_DESCRIPTION or not is_prose(description):
            fate = "little_prose"
        elif len(rest) < MIN_DOCUMENT:
            fate = "short_document"
        elif summary.lower().rstrip(".") in one_line(rest).lower():
            fate = "summary_in_document"
        elif seen & {summary, rest}:
            fate = "repeated"
        else:
            seen |= {summary, rest}
            fate = None
        yield split, document, fate


def shortened(text: str, characters: int = MAX_CHOICE_TEXT) -> str:
    """The text on one line, its whole sentences up to `characters`; if the first is longer, cut at a word."""
    line = one_line(text)
    kept = ""
    while len(kept) < len(line):
        sentence = first_sentence(line[len(kept) :])
        if len(kept) + len(sentence) > characters:
            break
        kept += sentence + line[len(kept) + len(sentence) :][:1]
    return kept.strip() or line[: characters + 1].rpartition(" ")[0]
