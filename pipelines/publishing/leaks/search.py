"""What must not leave the machine: tokens, keys, passwords, e-mail addresses and paths, in files about to be uploaded.

Secrets are found by their published formats, by what they are assigned to, and by their value where this machine knows
it. detect-secrets (Yelp, 1.5.0 of May 2024) was measured as a base and left: it has no detector for tokens of Hugging
Face, Anthropic, Google, Weights & Biases or Kaggle, nor for fine-grained ones of GitHub; it takes 45 s for a
tokenizer.json of 3.5 MB and 218 s for one of 25 MB (this: 0.3 s and 2.3 s, on the same core); and it calls the git
commit and the fingerprints in environment.json secrets.
"""

import json
import re
from bisect import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.emails import find_emails
from pipelines.publishing.leaks.paths import find_paths, hidden_path
from pipelines.publishing.leaks.reading import (
    ABSOLUTE_PATH,
    EMAIL,
    HIDDEN,
    LITERAL,
    Span,
    as_searched,
    codec_of,
    is_vocabulary,
    within_quotes,
)
from pipelines.publishing.leaks.secrets import find_secrets, known_secrets


@dataclass(frozen=True)
class Leak:
    """Something that must not leave the machine.

    Attributes:
        file: path in the repository.
        line: counted from 1; for a file of weights, 1.
        kind: one of the five constants of reading.py.
        found: paths and e-mail addresses in full; of a secret its name, public beginning and length, never more.
        can_be_hidden: whether `hide` replaces it. Secrets never: they have to be revoked.
    """

    file: str
    line: int
    kind: str
    found: str
    can_be_hidden: bool


def find_leaks(files: Mapping[str, Path]) -> list[Leak]:
    """What must not leave, in the order of the files and of their lines.

    Args:
        files: path in the repository -> local file. Binary files are passed over, but for the metadata of safetensors.

    Returns:
        One entry per place; what occurs twice in a line is told once.

    Raises:
        OSError: a file cannot be read.
    """
    known = known_secrets()
    leaks: list[Leak] = []
    for file, path in files.items():
        if is_text(path):
            leaks += leaks_of_text(path.read_bytes().decode("utf-8", errors="replace"), file, known)
        elif (metadata := _safetensors_metadata(path)) is not None:
            found = leaks_of_text(metadata, f"{file}.json", known)
            leaks += [Leak(file, 1, leak.kind, leak.found, can_be_hidden=False) for leak in found]
    return leaks


def leaks_of_text(text: str, file: str, known: Mapping[str, str]) -> list[Leak]:
    """What must not leave of one text.

    Args:
        text: content of the file.
        file: its path in the repository; its name decides how strictly paths are looked for.
        known: secret -> what it is called, see secrets.py.
    """
    reading = as_searched(text, file)
    spans = _apart([*find_secrets(reading, known), *_hideable(reading, file)])
    leaks: dict[Leak, None] = {}
    line, counted = 1, 0
    for span in spans:
        line, counted = line + reading.count("\n", counted, span.start), span.start
        can_be_hidden = span.replacement is not None and not is_vocabulary(file)
        leaks[Leak(file, line, span.kind, span.found, can_be_hidden)] = None
    return list(leaks)


def hide(text: str, file: str) -> str:
    """The text with `(hidden)` for e-mail addresses and for paths, but for the last part of a path.

    JSON stays JSON and YAML stays YAML. A vocabulary is returned as it is.

    Args:
        text: content of the file.
        file: its path in the repository.
    """
    if is_vocabulary(file):
        return text
    codec = codec_of(file)
    if codec is None:
        return _hidden(text, file)
    decode, encode = codec
    pieces, end = [], 0
    for match in LITERAL.finditer(text):
        pieces.append(_hidden(text[end : match.start()], file))
        pieces.append(
            _hidden_literal(match.group(), file, text[max(match.start() - 8, 0) : match.start()], decode, encode)
        )
        end = match.end()
    return "".join([*pieces, _hidden(text[end:], file)])


def is_text(path: Path) -> bool:
    """Whether a file is searched as text: it has no NUL byte in its first 8 KiB.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return b"\0" not in stream.read(8192)


def _safetensors_metadata(path: Path) -> str | None:
    """`__metadata__` of a safetensors file as JSON; None for another file, or one without."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(100_000_000, path.stat().st_size):  # the limit of safetensors' own reader
            return None
        header = stream.read(length)
    try:
        return json.dumps(json.loads(header)["__metadata__"], ensure_ascii=False)
    except (ValueError, LookupError, TypeError):
        return None


# ---------------------------------------------------------------- hiding

_HIDEABLE = re.compile(r"[/\\@]")  # every path and e-mail address has one of them


def _hidden_literal(
    literal: str, file: str, before: str, decode: Callable[[str], str | None], encode: Callable[[str], str]
) -> str:
    has_escapes = "\\" in literal
    content = decode(literal) if has_escapes else literal[1:-1]
    if content is None:
        return _hidden(literal, file)
    changed = _hidden(content, file, f'{before}"')
    if changed == content:
        return literal
    return encode(changed) if has_escapes else f'"{changed}"'


def _hidden(text: str, file: str, before: str = "") -> str:
    """A text with all replaced that can be.

    Args:
        text: without escapes, or the content of a string literal.
        file: path in the repository.
        before: for a literal, its quote and some of what stands before it.
    """
    if not _HIDEABLE.search(text):
        return text
    while spans := _apart(_hideable(f'{before}{within_quotes(text)}"' if before else text, file)):
        pieces, end = [], 0
        for span in spans:
            if span.start >= len(before):
                pieces += [text[end : span.start - len(before)], span.replacement or ""]
                end = span.end - len(before)
        if not pieces:
            break
        text = "".join([*pieces, text[end:]])  # the last part of a path, which stays, may hold another find
    return text


def _apart(spans: list[Span]) -> list[Span]:
    """In the order of the text, those that do not overlap one given before them."""
    taken: list[Span] = []
    for span in spans:
        at = bisect(taken, span.start, key=lambda other: other.start)
        if (at == 0 or taken[at - 1].end <= span.start) and (at == len(taken) or span.end <= taken[at].start):
            taken.insert(at, span)
    return taken


def _hideable(text: str, file: str) -> list[Span]:
    """Paths, then e-mail addresses, of a text as it is searched."""
    paths = [(start, end, text[start:end]) for start, end in find_paths(text, file)]
    return [
        *(Span(start, end, ABSOLUTE_PATH, path, hidden_path(path)) for start, end, path in paths),
        *(Span(start, end, EMAIL, text[start:end], HIDDEN) for start, end in find_emails(text)),
    ]
