"""Repetition of word n-grams within documents: the shares of table A1 of Gopher (Rae et al. 2021), for many at once.

Both are shares of the characters of a document's words, blanks left out:
    top n-gram: the n-gram that covers most, which is how often it stands times its characters;
    duplicate n-grams: the words in any n-gram that stands before in the document, each word counted once.

Shape suffixes: W words of all documents, D documents, V distinct words, G places of n-grams, R runs of equal ones.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.preparation.hashing import GOLDEN, gram_keys, mixed


@dataclass(frozen=True)
class Words:
    """The words of documents, which blanks part, numbered."""

    vocabulary: list[str]
    number_W: NDArray[np.int64]
    counts_D: NDArray[np.int64]
    """Words of each document."""
    characters_V: NDArray[np.int64]

    @property
    def document_W(self) -> NDArray[np.int64]:
        """Which document a word is of."""
        return np.repeat(np.arange(len(self.counts_D)), self.counts_D)

    def of(self, documents: list[int]) -> "Words":
        """The words of some of the documents, in the order of all."""
        is_left_D = np.zeros(len(self.counts_D), np.bool_)
        is_left_D[documents] = True
        number_W = self.number_W[np.repeat(is_left_D, self.counts_D)]
        return Words(self.vocabulary, number_W, self.counts_D[is_left_D], self.characters_V)

    def per_document(self, values_V: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum over the words of each document of a figure of the distinct words."""
        sums_D = np.bincount(self.document_W, weights=values_V[self.number_W], minlength=len(self.counts_D))
        return sums_D.astype(np.float64)


def words_of_documents(texts: Sequence[str]) -> Words:
    """The words of texts, as blanks part them."""
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    parts, counts = [], []
    for text in texts:
        words = text.split()
        counts.append(len(words))
        parts.append(np.fromiter(map(numbers.__getitem__, words), np.int64, len(words)))
    vocabulary = list(numbers)
    number_W = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    return Words(
        vocabulary,
        number_W,
        np.array(counts, np.int64),
        np.fromiter(map(len, vocabulary), np.int64, len(vocabulary)),
    )


class Repetition:
    """The n-grams of documents. Keys are 64-bit hashes: two that differ are equal with a chance of 2**-64."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self.document_W = words.document_W
        self.characters_W = words.characters_V[words.number_W]
        self.total_D = np.bincount(self.document_W, weights=self.characters_W, minlength=len(words.counts_D))
        self._hash_W = mixed(words.number_W.astype(np.uint64))
        self._before_W = np.concatenate([[0], np.cumsum(self.characters_W)])  # characters before each word

    def top_share_D(self, n: int) -> NDArray[np.float64]:
        """Share of the characters of each document that its commonest n-gram covers."""
        starts_G, order_G, first_R = self._runs(n)
        best_D = np.zeros(len(self.total_D))
        if len(starts_G):
            counts_R = np.diff(np.append(first_R, len(order_G)))
            place_R = starts_G[order_G[first_R]]
            covered_R = counts_R * (self._before_W[place_R + n] - self._before_W[place_R])
            # An n-gram that stands once is no repetition.
            np.maximum.at(best_D, self.document_W[place_R], np.where(counts_R > 1, covered_R, 0))
        return best_D / np.maximum(self.total_D, 1)

    def duplicate_share_D(self, n: int) -> NDArray[np.float64]:
        """Share of the characters of each document in n-grams that stand before in it."""
        starts_G, order_G, first_R = self._runs(n)
        if not len(starts_G):
            return np.zeros(len(self.total_D))
        again_G = np.ones(len(order_G), np.bool_)
        again_G[np.minimum.reduceat(order_G, first_R)] = False  # the first place of each n-gram
        marks_W = np.zeros(len(self.document_W) + 1, np.int64)
        np.add.at(marks_W, starts_G[again_G], 1)
        np.add.at(marks_W, starts_G[again_G] + n, -1)
        covered_W = np.cumsum(marks_W[:-1]) > 0
        covered_D = np.bincount(self.document_W, weights=self.characters_W * covered_W, minlength=len(self.total_D))
        return covered_D / np.maximum(self.total_D, 1)

    def _runs(self, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Places where n-grams begin; their order by key; where in that order each run of equal keys begins."""
        count = max(len(self._hash_W) - n + 1, 0)
        starts_G = np.flatnonzero(self.document_W[:count] == self.document_W[len(self.document_W) - count :])
        # Equal n-grams of two documents must differ.
        keys_G = gram_keys(self._hash_W, n)[starts_G] + mixed(self.document_W[starts_G].astype(np.uint64) + GOLDEN)
        order_G = np.argsort(keys_G)
        ordered = keys_G[order_G]
        first_R = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else order_G
        return starts_G, order_G, first_R
