"""Lines of a document: which of them are boilerplate and are taken out, and what the others say of the document."""

import re
from dataclasses import dataclass

from pipelines.preparation_sections import QualityConfig

# Raffel et al. 2020, section 2.2, as the code of C4 in TensorFlow Datasets has them (c4_utils.py).
POLICIES = (
    *("javascript", "terms of use", "privacy policy", "cookie policy"),
    *("uses cookies", "use of cookies", "use cookies"),
)
PARTED_MARKS = (".", "!", "?", "…")  # end a sentence where a blank follows
TERMINAL_MARKS = (*PARTED_MARKS, "。", "！", "？", "؟", "۔", "।")
ENDS = (*TERMINAL_MARKS, '"', "'", "”", "’", ")")
C4_ENDS = (".", "!", "?", '"', "”", "。", "！", "？")
ELLIPSES = ("...", "…")
BULLETS = ("-", "*", "•", "‣", "▪", "●", "◦", "·", "–")
SHORT_LINE_CHARACTERS = 30
_CLOSING = r"""["'”’)\]」』）]*"""
SENTENCE_END = re.compile(
    rf"[{''.join(PARTED_MARKS)}]{_CLOSING}(?=\s|$)|[{''.join(TERMINAL_MARKS[len(PARTED_MARKS) :])}]+{_CLOSING}"
)


def remove_boilerplate(text: str, config: QualityConfig) -> str:
    """The text without the lines that C4 removes, as far as the config asks for it.

    A document of one line has no lines that could be told apart, and stays.
    """
    if "\n" not in text:
        return text
    if config.require_line_punctuation or config.min_line_words is not None:
        lines = [line for line in text.split("\n") if not _is_refused(line, config)]
        return "\n".join(lines).strip("\n")
    if not config.remove_boilerplate_lines or not _has_policy(text):
        return text
    return "\n".join(line for line in text.split("\n") if not _has_policy(line)).strip("\n")


def _has_policy(text: str) -> bool:
    lower = text.lower()
    return any(phrase in lower for phrase in POLICIES)


def _is_refused(line: str, config: QualityConfig) -> bool:
    if not line.strip():  # parts paragraphs
        return False
    if config.remove_boilerplate_lines and _has_policy(line):
        return True
    if config.require_line_punctuation and (not line.rstrip().endswith(C4_ENDS) or line.rstrip().endswith(ELLIPSES)):
        return True
    return config.min_line_words is not None and len(line.split()) < config.min_line_words


@dataclass(frozen=True)
class LineShares:
    """Shares of the lines of a document that are not blank, and of their characters, 0 to 1."""

    bullets: float
    ellipses: float
    punctuated: float
    short: float
    duplicates: float
    duplicate_characters: float


def line_shares(text: str) -> LineShares:
    """What the lines of a document say; a document of blanks has zeros."""
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    count = max(len(lines), 1)
    duplicates, duplicate_characters = duplicate_shares(lines)
    return LineShares(
        bullets=sum(line.startswith(BULLETS) for line in lines) / count,
        ellipses=sum(line.endswith(ELLIPSES) for line in lines) / count,
        punctuated=sum(line.endswith(ENDS) for line in lines) / count,
        short=sum(len(line) < SHORT_LINE_CHARACTERS for line in lines) / count,
        duplicates=duplicates,
        duplicate_characters=duplicate_characters,
    )


def paragraph_shares(text: str) -> tuple[float, float]:
    """Share of the paragraphs, which blank lines part, that stand before in the document, and of their characters."""
    if "\n\n" not in text:
        return 0.0, 0.0
    return duplicate_shares([part for part in map(str.strip, re.split(r"\n{2,}", text)) if part])


def duplicate_shares(parts: list[str]) -> tuple[float, float]:
    """Share of the parts that are equal to an earlier one, and of the characters in these."""
    distinct = set(parts)
    if len(distinct) == len(parts):
        return 0.0, 0.0
    total = sum(map(len, parts))
    return 1 - len(distinct) / len(parts), 1 - sum(map(len, distinct)) / max(total, 1)


def sentences(text: str) -> int:
    """Sentences of a text, as C4 counts them: within lines, so that each line that is not blank has at least one."""
    count = 0
    for line in map(str.strip, text.split("\n")):
        ends = [found.end() for found in SENTENCE_END.finditer(line)]
        count += len(ends) + (bool(line) and (not ends or ends[-1] < len(line)))
    return count
