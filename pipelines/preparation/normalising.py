"""Repair of text that was decoded wrongly, by ftfy (Speer 2019); control characters out, characters composed."""

import functools
import re
from typing import Any

# All else in a line is left as it is by ftfy with the settings below: a test tries it.
_TO_REPAIR = re.compile(r"[^\t\n -~“”‘’–—…]")
LINE_ENDS = re.compile(r"\r\n?|\u2028|\u2029|\x85")


def normalise(text: str) -> str:
    """The text repaired, in Unicode's normal form C.

    Left as they are, since they are no errors of an encoding: curly quotes, ligatures, full-width characters, HTML
    entities. Text goes to ftfy a line at a time, as ftfy itself does it, and only lines with other characters than
    those of ASCII, dashes and quotes.
    """
    if not _TO_REPAIR.search(text):
        return text
    lines = LINE_ENDS.sub("\n", text).split("\n")
    return "\n".join(_repair(line) if _TO_REPAIR.search(line) else line for line in lines)


def _repair(line: str) -> str:
    import ftfy

    return str(ftfy.fix_text(line, _settings()))


@functools.cache
def _settings() -> Any:
    import ftfy

    return ftfy.TextFixerConfig(
        unescape_html=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        normalization="NFC",
        explain=False,
    )
