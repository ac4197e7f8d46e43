"""How a file is searched: as which kind of text, and with its string literals decoded."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import NamedTuple

from pipelines.text_search import back

ACCESS_TOKEN = "access token"
PRIVATE_KEY = "private key"
URL_PASSWORD = "password in an address"
EMAIL = "e-mail address"
ABSOLUTE_PATH = "absolute path"
HIDDEN = "(hidden)"

# Entries of a vocabulary. Replacing one would make another tokenizer, so nothing in these can be hidden.
VOCABULARIES = {
    *("tokenizer.json", "vocab.json", "vocabulary.json", "added_tokens.json"),
    *("merges.txt", "vocab.txt", "vectors.txt"),
}
# Records of a run by their ending, but rows of the data by their content.
DATA_RECORDS = {"analysis.json", "evaluation.json", "examples.json", "neighbours.json", "samples.json", "stdin.jsonl"}
RECORD_SUFFIXES = {".json", ".jsonl", ".md", ".yaml", ".yml"}


class Span(NamedTuple):
    """A find in a text, and what is put in its place if it can be hidden."""

    start: int
    end: int
    kind: str
    found: str
    replacement: str | None = None


def is_vocabulary(file: str) -> bool:
    return PurePosixPath(file).name in VOCABULARIES


def is_record(file: str) -> bool:
    """Whether a file tells of the run alone, so that every absolute path in it is one of this machine."""
    path = PurePosixPath(file)
    return path.suffix in RECORD_SUFFIXES and path.name not in VOCABULARIES | DATA_RECORDS


def is_of_both(file: str) -> bool:
    """Whether a file shows rows of the data and tells of the run."""
    path = PurePosixPath(file)
    return path.suffix == ".html" or path.name in DATA_RECORDS


# ---------------------------------------------------------------- string literals

LITERAL = re.compile(r'"[^"\\\n]*+(?:\\[\s\S][^"\\\n]*+)*+"')


def as_searched(text: str, file: str) -> str:
    """The text as it is searched: string literals decoded, with the same lines.

    Within a decoded literal a line end becomes a carriage return and a quote an apostrophe, so that lines can be
    counted and `"` is always a delimiter. The blanks and line ends of byte-level vocabularies become blanks.
    """
    codec = codec_of(file)
    if codec is not None and "\\" in text:
        decode = codec[0]
        text = LITERAL.sub(lambda match: _decoded(match.group(), decode), text)
    return text.replace("Ġ", " ").replace("Ċ", " ") if is_vocabulary(file) else text


def _decoded(literal: str, decode: Callable[[str], str | None]) -> str:
    content = decode(literal) if "\\" in literal else None
    return literal if content is None else f'"{within_quotes(content)}"' + "\n" * literal.count("\n")


def within_quotes(content: str) -> str:
    return content.replace("\n", "\r").replace('"', "'")


def codec_of(file: str) -> tuple[Callable[[str], str | None], Callable[[str], str]] | None:
    """How literals in double quotes are decoded (None: it is none) and encoded, for a file that has escapes in them."""
    suffix = PurePosixPath(file).suffix
    if suffix in (".json", ".jsonl"):
        return _decode_json, json.dumps
    return (_decode_yaml, _encode_yaml) if suffix in (".yaml", ".yml") else None


def _decode_json(literal: str) -> str | None:
    try:
        return str(json.loads(literal, strict=False))
    except ValueError:
        return None


def _decode_yaml(literal: str) -> str | None:
    import yaml

    try:
        return str(yaml.safe_load(literal))
    except (yaml.YAMLError, ValueError, OverflowError):  # the latter two: no such code point
        return None


def _encode_yaml(content: str) -> str:
    import yaml

    return str(yaml.safe_dump(content, default_style='"', width=sys.maxsize)).strip()


# ---------------------------------------------------------------- places in a text

QUOTE = r"""(?:["'`]|&\#3[49];|&quot;)"""
_ASCII_WORD = re.compile(r"[A-Za-z0-9_]")


def is_bounded(text: str, start: int) -> bool:
    """Whether no ASCII letter, digit or underscore stands before a place."""
    return back(_ASCII_WORD, text, start, 9) == ""
