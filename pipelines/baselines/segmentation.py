"""Text -> words and sentences by rule, without data to download: English, Chinese, and what is written like them.

A word is a run of letters, digits and underscores, with apostrophes inside; a Han character or kana is a word of its
own, since nothing parts words in Chinese and Japanese; so is every other character that is not blank.
"""

import re
from collections.abc import Iterable

IDEOGRAPHS = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
LETTER = rf"[^\W{IDEOGRAPHS}]"
LETTERS = rf"{LETTER}+(?:['’]{LETTER}+)*|[{IDEOGRAPHS}]"  # words without punctuation
WORD = rf"{LETTERS}|[^\s]"
WORDS = re.compile(WORD)

CLOSERS = r"[\"'”’»)\]」』）》]*"
SENTENCE_END = re.compile(
    rf"(?:[。！？｡]|……)+{CLOSERS}|[.!?]+{CLOSERS}(?=\s+[\"'“‘«(\[「『（《]*[^\Wa-z_])|[.!?]+{CLOSERS}(?=[{IDEOGRAPHS}])|\n\s*\n"
)
ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Gen|Col|Capt|Lt|Sgt|Rev|Hon|Gov|Sen|Rep|Inc|Ltd|Co|Corp|vs|cf|Fig|Figs"
    r"|Eq|Eqs|Sec|al|approx|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec|e\.g|i\.e)|\b(?:[A-Z]\.)*[A-HJ-Z])\.$"
)
BLANKLESS = rf"{IDEOGRAPHS}\u3000-\u303f\uff00-\uffef…”"  # letters and punctuation set without blanks
NO_BLANK_AFTER = re.compile(rf"[{BLANKLESS}(\[{{“‘$£€#]")
NO_BLANK_BEFORE = re.compile(rf"[{BLANKLESS}.,;:!?%)\]}}’]")


def words(text: str) -> list[str]:
    """The words of a text, in its own letter case."""
    return WORDS.findall(text)


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where each word begins and ends, in characters."""
    return [match.span() for match in WORDS.finditer(text)]


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Where each sentence begins and ends, in characters, without the blanks around it.

    A sentence ends at a Chinese ender; at `.`, `!` or `?` before a blank and what is no small letter, unless it is an
    initial's or a usual abbreviation's; and at an empty line.
    """
    cuts = [0]
    for match in SENTENCE_END.finditer(text):
        if not ABBREVIATION.search(text[max(match.start() - 12, cuts[-1]) : match.start() + 1]):
            cuts.append(match.end())
    spans = []
    for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True):
        piece = text[start:end]
        if piece.strip():
            start += len(piece) - len(piece.lstrip())
            spans.append((start, start + len(piece.strip())))
    return spans


def split_sentences(text: str) -> list[str]:
    """The sentences of a text: see `sentence_spans`."""
    return [text[start:end] for start, end in sentence_spans(text)]


def join(pieces: Iterable[str]) -> str:
    """Sentences or words as running text: a blank between two, but not inside Chinese nor before or after punctuation
    that is set without one.
    """
    text = ""
    for piece in pieces:
        blank = text and piece and not NO_BLANK_AFTER.match(text[-1]) and not NO_BLANK_BEFORE.match(piece[0])
        text += " " + piece if blank else piece
    return text
