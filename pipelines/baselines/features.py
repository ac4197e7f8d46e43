"""TF-IDF features of texts and of pairs of texts.

Single texts: words and word bigrams, and runs of 2 to 5 characters. Pairs: words and word bigrams of the first text, of
the second, and of what one has and the other has not, and how much the two share.

Shape legend: N rows, T terms, O figures of overlap.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from pipelines.baselines.segmentation import WORD, words
from pipelines.errors import DataError

Texts = Sequence[str] | Sequence[tuple[str, str]]

MANY_ROWS = 1_000  # from here on, a term counts if two rows have it
CHARACTERS = 20_000_000  # of the training rows that runs of characters are taken from: a minute's work


class TextFeatures:
    """Features of texts, or of pairs of texts; the weights of terms are learned from the training rows."""

    def fit(self, texts: Texts) -> "TextFeatures":
        """Learns terms and their weights.

        Raises:
            DataError: no text has a word.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.preprocessing import StandardScaler

        self.pairs = bool(texts) and not isinstance(texts[0], str)
        flat = list(dict.fromkeys(chain.from_iterable(texts))) if self.pairs else list(texts)
        if not any(text.strip() for text in flat):
            raise DataError(f"A text baseline needs training texts with words, found {len(texts):,} empty rows.")
        settings = {"sublinear_tf": True, "dtype": np.float32, "min_df": 2 if len(flat) >= MANY_ROWS else 1}
        self.longest = max(CHARACTERS // len(flat), 1)
        self.words = TfidfVectorizer(token_pattern=WORD, ngram_range=(1, 2), **settings).fit(flat)
        self.characters = TfidfVectorizer(analyzer="char", ngram_range=(1, 5), **settings).fit(self._cut(flat))
        self.idf = dict(zip(self.words.get_feature_names_out(), self.words.idf_.tolist(), strict=True))
        if self.pairs:
            self.scaler = StandardScaler().fit(self.overlaps(texts))
        return self

    def transform(self, texts: Texts) -> Any:
        """The features of each row, CSR (N, T)."""
        from scipy import sparse

        if not self.pairs:
            return sparse.hstack([self.words.transform(texts), self.characters.transform(self._cut(texts))], "csr")
        first_NT, second_NT = (self.words.transform([pair[side] for pair in texts]) for side in (0, 1))
        overlaps_NO = sparse.csr_matrix(self.scaler.transform(self.overlaps(texts)))
        return sparse.hstack([first_NT, second_NT, abs(first_NT - second_NT), overlaps_NO], "csr")

    def overlaps(self, pairs: Texts) -> np.ndarray:
        """How much the two texts of each pair share, (N, O): cosines by words and by runs of characters, the share of

        their words (distinct, plain and weighted by idf) that both have, of the first's, the second's and all, and
        their lengths.
        """
        sides = [[pair[side] for pair in pairs] for side in (0, 1)]
        first, second = [self.characters.transform(self._cut(side)) for side in sides]
        cosines = [np.asarray(first.multiply(second).sum(axis=1)).ravel()]
        first, second = [self.words.transform(side) for side in sides]
        cosines += [np.asarray(first.multiply(second).sum(axis=1)).ravel()]
        return np.column_stack([*cosines, [self._shared(*pair) for pair in pairs]])

    def _shared(self, first: str, second: str) -> list[float]:
        one, other = set(words(first.lower())), set(words(second.lower()))
        shares = []
        for size in (len, self._weight):
            both = size(one & other)
            shares += [both / (size(whole) or 1) for whole in (one, other, one | other)]
        lengths = [np.log1p(len(one)), np.log1p(len(other))]
        return [*shares, *lengths, abs(lengths[0] - lengths[1])]

    def _weight(self, distinct: set[str]) -> float:
        unseen = float(self.words.idf_.max())
        return sum(self.idf.get(word, unseen) for word in distinct)

    def _cut(self, texts: Sequence[str]) -> list[str]:
        return [text[: self.longest] for text in texts]
