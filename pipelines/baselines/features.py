"""TF-IDF features of texts and of pairs of texts.

Single texts: words and word bigrams, and runs of 2 to 5 characters. Pairs: words and word bigrams of the first text, of
the second, and of what one has and the other has not, and how much the two share.

Shape legend: N rows, T terms, O figures of overlap.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, cast

import numpy as np

from pipelines.baselines.segmentation import WORD, words
from pipelines.errors import DataError

Text = str | tuple[str, str]

MANY_TEXTS = 1_000  # from here on, a run of characters counts if two texts have it
CHARACTERS = 5_000_000  # of the training texts that runs are taken from, as many of each text: up to a minute's work


class TextFeatures:
    """Features of texts, or of pairs of texts; the weights of terms are learned from the training rows."""

    def fit_transform(self, rows: Sequence[Text]) -> Any:
        """Learns terms and their weights; the features of the training rows, CSR (N, T).

        Raises:
            DataError: no text has a word.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.preprocessing import StandardScaler

        self.pairs = len(rows) > 0 and not isinstance(rows[0], str)
        texts = list(dict.fromkeys(chain.from_iterable(rows))) if self.pairs else cast(list[str], rows)
        if not any(text.strip() for text in texts):
            raise DataError(f"A text baseline needs training texts with words, found {len(rows):,} empty rows.")
        self.longest = max(CHARACTERS // len(texts), 1)
        settings = {"sublinear_tf": True, "dtype": np.float32}
        self.words = TfidfVectorizer(token_pattern=WORD, ngram_range=(1, 2), **settings)
        self.characters = TfidfVectorizer(
            analyzer="char",
            ngram_range=(min(2, max(map(len, texts))), 5),
            min_df=2 if len(texts) >= MANY_TEXTS else 1,
            **settings,
        )
        if not self.pairs:
            return self._both(texts, "fit_transform")
        self.words.fit(texts)
        self.characters.fit(self._cut(texts))
        self.scaler = StandardScaler()
        return self._of_pairs(rows, self.scaler.fit_transform)

    def transform(self, rows: Sequence[Text]) -> Any:
        """The features of each row, CSR (N, T)."""
        if self.pairs:
            return self._of_pairs(rows, self.scaler.transform)
        return self._both(cast(Sequence[str], rows), "transform")

    def _both(self, texts: Sequence[str], method: str) -> Any:
        from scipy import sparse

        of_words = getattr(self.words, method)(texts)
        return sparse.hstack([of_words, getattr(self.characters, method)(self._cut(texts))], "csr")

    def _of_pairs(self, rows: Sequence[Text], scale: Callable[[np.ndarray], np.ndarray]) -> Any:
        from scipy import sparse

        first, second = ([row[side] for row in rows] for side in (0, 1))
        first_NT, second_NT = self.words.transform(first), self.words.transform(second)
        cosines = [_cosines(first_NT, second_NT)]
        cosines += [_cosines(*(self.characters.transform(self._cut(side)) for side in (first, second)))]
        shared = [self._shared(*pair) for pair in zip(first, second, strict=True)]
        overlaps_NO = sparse.csr_matrix(scale(np.column_stack([*cosines, shared])))
        return sparse.hstack([first_NT, second_NT, abs(first_NT - second_NT), overlaps_NO], "csr")

    def _shared(self, first: str, second: str) -> list[float]:
        """Distinct words that both have, as a share of the first's, the second's and all; the same weighted by idf; and
        the log numbers of words and their difference.
        """
        one, other = set(words(first.lower())), set(words(second.lower()))
        shares = []
        for size in (len, self._weight):
            shares += [size(one & other) / (size(whole) or 1) for whole in (one, other, one | other)]
        lengths = [np.log1p(len(one)), np.log1p(len(other))]
        return [*shares, *lengths, abs(lengths[0] - lengths[1])]

    def _weight(self, distinct: set[str]) -> float:
        """Sum of idf; a word never seen weighs as much as the rarest."""
        idf, places = self.words.idf_, self.words.vocabulary_
        rarest = idf.max()
        return float(sum(idf[places[word]] if word in places else rarest for word in distinct))

    def _cut(self, texts: Sequence[str]) -> list[str]:
        return [text[: self.longest] for text in texts]


def _cosines(first_NT: Any, second_NT: Any) -> np.ndarray:
    return np.asarray(first_NT.multiply(second_NT).sum(axis=1)).ravel()
