"""Places in a text, found fast: what searches for secrets and for personal data share."""

import re
from collections.abc import Iterator

NO_DELIMITER = re.compile(r"""[^\s"'`<>]""")


def places(text: str, word: str) -> Iterator[int]:
    """Where a word begins. `str.find` reads 20 MB in milliseconds, a regular expression without prefix in seconds."""
    at = text.find(word)
    while at >= 0:
        yield at
        at = text.find(word, at + 1)


# Of JSON, YAML, Python and JavaScript, in text that is not decoded: `\\n/home` begins with a slash, not with an n.
_ESCAPE = re.compile(r"\\(?:[nrt]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})")


def back(character: re.Pattern[str], text: str, at: int, limit: int = 200) -> str:
    """What stands before a place of a text, as far back as characters of a kind go, and not into an escape."""
    start = at
    while start > max(at - limit, 0) and character.match(text, start - 1):
        start -= 1
    escape = _ESCAPE.match(text, start - 1, at) if start else None
    return text[escape.end() if escape else start : at]
