"""What the metrics on text share: how it becomes tokens, and checks of its rows.

Two tokenizations. `words` is what the official script of each metric does, made for English. `characters` is this
project's own choice for Chinese, which is written without blanks: after NFKC (full-width letters and digits become
plain ones) and lower-casing, each Han character is a token, every other run of letters, marks and digits is one, and
all else, blanks and punctuation of every script, parts tokens and is dropped. Articles are kept. Kana, Thai, Lao, Khmer
and Burmese have no blanks either: a clause of them is one token.
"""

import re
import string
import unicodedata
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import regex
from numpy.typing import NDArray

from pipelines.errors import ConfigError, DataError, did_you_mean
from pipelines.metrics.inputs import check_rows

ARTICLES = re.compile(r"\b(?:a|an|the)\b")
WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
CHARACTER_TOKEN = regex.compile(r"(?V1)\p{Han}|[[\p{L}\p{M}\p{N}]--\p{Han}]+")


def character_tokens(text: str) -> list[str]:
    """Tokens of the tokenization `characters`."""
    return CHARACTER_TOKEN.findall(unicodedata.normalize("NFKC", text).lower())


def answer_tokens(text: str, tokenization: str) -> list[str]:
    """Tokens of an answer.

    With `words`, those of Rajpurkar et al. (2016, section 6.1): lower-cased, ASCII punctuation deleted, the articles a,
    an and the dropped, parted by blanks. Two answers are equal as SQuAD has it where their tokens are.
    """
    if is_characters(tokenization):
        return character_tokens(text)
    return ARTICLES.sub(" ", text.lower().translate(WITHOUT_PUNCTUATION)).split()


def is_characters(tokenization: str) -> bool:
    """Whether a tokenization is `characters`.

    Raises:
        ConfigError: it is neither that nor `words`.
    """
    check_option("tokenization", tokenization, ("words", "characters"))
    return tokenization == "characters"


def check_option(name: str, value: object, options: Sequence[object]) -> None:
    """
    Raises:
        ConfigError: the value of this argument is none of the options.
    """
    if value not in options:
        near = did_you_mean(str(value), map(str, options))
        raise ConfigError(f"{name} is {value!r}.{near} It can be {', '.join(map(repr, options))}.")


def check_texts(name: str, texts: Sequence[str]) -> None:
    """
    Raises:
        DataError: one is no string.
    """
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"{name} must be texts; row {row} is {text!r}.")


def reference_lists(predictions: Sequence[str], references: Sequence[str | Sequence[str]]) -> list[list[str]]:
    """The references of each prediction, of which one may stand without a list.

    Raises:
        DataError: the lengths differ, there are no rows, a row has no reference, or something is no text.
    """
    check_rows(predictions, references)
    check_texts("predictions", predictions)
    lists = [[texts] if isinstance(texts, str) else list(texts or []) for texts in references]
    for row, texts in enumerate(lists):
        if not texts:
            raise DataError(f"Row {row} has no reference. Each prediction needs a text, or a list of at least one.")
        check_texts(f"The references of row {row}", texts)
    return lists


def corpus_statistics(
    metric: Any, predictions: Sequence[str], references: Sequence[str | Sequence[str]]
) -> NDArray[np.int64]:
    """The counts (R, K) that a sacrebleu metric adds up over rows.

    Raises:
        DataError: see `reference_lists`.
    """
    lists = reference_lists(predictions, references)
    # sacrebleu wants the first reference of all rows, then the second of all, None where a row has no more
    return np.array(metric._extract_corpus_statistics(list(predictions), list(zip_longest(*lists))), dtype=np.int64)
