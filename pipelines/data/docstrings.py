"""Docstrings taken apart: summary, description, and the entries of their parameter tables, with offsets.

Headings are those of numpydoc (a line underlined with dashes or equals signs) and of Google's style (`Args:` at the
left margin). A field of Sphinx (`:param x:`) ends the description; its entries are not read.
"""

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

_UNDERLINE = re.compile(r"(?:-{3,}|={3,}|~{3,})\s*")
_GOOGLE = re.compile(
    r"(args?|arguments|parameters|params|keyword arg(?:ument)?s|other parameters|inputs?|outputs?|returns?|yields?|"
    r"raises|examples?|example usage|notes?|attributes|shape|references?|see also|usage|warnings?|todo|methods|"
    r"properties|variables|hints?|tips?):{1,2}\s*",
    re.IGNORECASE,
)
_SPHINX = re.compile(r":(?:param|type|returns?|rtype|raises?|keyword|arg|ivar|cvar|var|key)\b")
_KINDS = {
    "parameter": {"parameters", "other parameters", "args", "arg", "arguments", "params", "keyword args",
                  "keyword arguments"},
    "attribute": {"attributes"},
    "returned": {"returns", "return", "yields"},
    "raised": {"raises"},
}  # fmt: skip
_NUMPYDOC_ENTRY = re.compile(r"(\*{0,2}[A-Za-z_][\w.]*)(?:\s*:\s+(?P<type>\S.*?))?\s*")
_GOOGLE_ENTRY = re.compile(
    r"\s*(\*{0,2}`?[A-Za-z_][\w.]*`?)\s*(?:\((?P<type>(?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\))?\s*:(?P<body>\s.*|$)"
)
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|cf|vs|resp|approx|ex|Eq|Fig|Ref)|\.)\.$")

Span = tuple[int, int]


class Parts(NamedTuple):
    """Summary (the first paragraph, on one line), the prose before the first section, and all that follows."""

    summary: str
    description: str
    rest: str  # description and sections


class Entry(NamedTuple):
    """One entry of a table of parameters, returned values or exceptions. Spans are offsets into the docstring."""

    kind: str  # a key of _KINDS
    name: str  # empty for a line that names nothing, or several (`x, y : int`)
    whole: Span
    type: Span | None
    body: Span | None


class _Section(NamedTuple):
    title: str
    is_google: bool
    heading: int  # index of its line
    start: int  # index of its first line
    end: int


def take_apart(text: str) -> Parts:
    """Summary, description and rest of a docstring; a part that is not there is empty."""
    lines = text.split("\n")
    ends = [section.heading for section in _sections(lines)]
    ends += [number for number, line in enumerate(lines) if _SPHINX.match(line)]
    prose_end = min(ends, default=len(lines))
    blank = next((number for number, line in enumerate(lines) if not line.strip()), len(lines))
    summary_end = min(blank, prose_end)
    description, rest = ("\n".join(lines[summary_end:end]).strip("\n") for end in (prose_end, len(lines)))
    return Parts(one_line("\n".join(lines[:summary_end])), description, rest)


def entries(text: str) -> list[Entry]:
    """The entries of every table of a docstring, in its order."""
    lines = text.split("\n")
    offsets = [0, *itertools.accumulate(len(line) + 1 for line in lines)]
    found: list[Entry] = []
    for section in _sections(lines):
        kind = next((kind for kind, titles in _KINDS.items() if section.title in titles), None)
        if kind is not None:
            found += _read_table(text, kind, section, lines, offsets)
    return found


def first_sentence(text: str) -> str:
    """The first sentence of the first paragraph, or that paragraph if it has no full stop; keeps its line breaks."""
    paragraph = re.split(r"\n\s*\n", text, maxsplit=1)[0].rstrip()
    for stop in re.finditer(r"[.!?](?=\s|$)", paragraph):
        sentence = paragraph[: stop.end()]
        if not _ABBREVIATION.search(sentence):
            return sentence
    return paragraph


def one_line(text: str) -> str:
    """The text with each run of blanks and line breaks as one blank."""
    return " ".join(text.split())


def _sections(lines: list[str]) -> list[_Section]:
    headings = []
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if line.strip() and not line[0].isspace() and _UNDERLINE.fullmatch(following):
            headings.append((line.strip().lower(), False, number, number + 2))
        elif _GOOGLE.fullmatch(line):
            headings.append((line.strip().rstrip(":").lower(), True, number, number + 1))
    sections = []
    for place, (title, is_google, heading, start) in enumerate(headings):
        end = headings[place + 1][2] if place + 1 < len(headings) else len(lines)
        if is_google:  # it ends where the text comes back to the margin
            end = next((n for n in range(start, end) if lines[n].strip() and not lines[n][0].isspace()), end)
        sections.append(_Section(title, is_google, heading, start, end))
    return sections


def _read_table(text: str, kind: str, section: _Section, lines: list[str], offsets: list[int]) -> Iterator[Entry]:
    """The entries of a section: one for each line at its margin, with the lines that are indented below it."""
    filled = [number for number in range(section.start, section.end) if lines[number].strip()]
    margin = _indent(lines[filled[0]]) if filled else 0
    heads = [number for number in filled if _indent(lines[number]) <= margin]
    for head, following in itertools.pairwise([*heads, section.end]):
        found = (_GOOGLE_ENTRY if section.is_google else _NUMPYDOC_ENTRY).fullmatch(lines[head])
        at = offsets[head]
        end = at + len(text[at : offsets[following]].rstrip())
        if found is None:
            yield Entry(kind, "", (at, end), None, None)
            continue
        typed = (at + found.start("type"), at + found.end("type")) if found["type"] else None
        start = at + found.start("body") if section.is_google else min(offsets[head + 1], end)
        start = end - len(text[start:end].lstrip())
        yield Entry(kind, found[1].strip("`"), (at, end), typed, (start, end) if start < end else None)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
