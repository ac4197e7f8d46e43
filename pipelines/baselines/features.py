"""TF-IDF features of texts and of pairs of texts.

Single texts: words and word bigrams, and runs of 1 to 5 characters. Pairs: words and word bigrams of the first text, of
the second, and of what one has and the other has not, and how much the two share.

Shape legend: N rows, T terms.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, cast

import numpy as np

from pipelines.baselines.segmentation import WORD, words
from pipelines.errors import DataError

Text = str | tuple[str, str]

CHARACTERS = 20_000_000  # of the training rows that are learned from at most: about a minute's work
COLUMNS = 2**18  # of hashed runs of characters; 2**20 and 2**22 gave no better accuracy on four data sets


def characters(row: Text) -> int:
    """Length of a text, or of both of a pair."""
    return len(row) if isinstance(row, str) else len(row[0]) + len(row[1])


class TextFeatures:
    """Features of texts, or of pairs of texts; the weights of terms are learned from the training rows."""

    def fit_transform(self, rows: Sequence[Text]) -> Any:
        """Learns terms and their weights; the features of the training rows, CSR (N, T).

        Raises:
            DataError: no text has a word.
        """
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
        from sklearn.preprocessing import StandardScaler

        self.pairs = len(rows) > 0 and not isinstance(rows[0], str)
        texts = list(dict.fromkeys(chain.from_iterable(rows))) if self.pairs else cast(list[str], rows)
        self.words = word_vectorizer(texts, min_df=2)
        self.hasher = HashingVectorizer(
            analyzer="char", ngram_range=(1, 5), n_features=COLUMNS, norm=None, alternate_sign=False, dtype=np.float32
        )
        counts_NT = self.hasher.transform(texts)
        self.seen = np.flatnonzero(counts_NT.getnnz(axis=0))
        self.runs = TfidfTransformer(sublinear_tf=True).fit(counts_NT[:, self.seen])
        if self.pairs:
            self.scaler = StandardScaler()
            return self._of_pairs(rows, self.scaler.fit_transform)
        return self._of_texts(texts, counts_NT)

    def transform(self, rows: Sequence[Text]) -> Any:
        """The features of each row, CSR (N, T)."""
        if self.pairs:
            return self._of_pairs(rows, self.scaler.transform)
        texts = cast(Sequence[str], rows)
        return self._of_texts(texts, self.hasher.transform(texts))

    def _of_texts(self, texts: Sequence[str], counts_NT: Any) -> Any:
        from scipy import sparse

        return sparse.hstack([self.words.transform(texts), self.runs.transform(counts_NT[:, self.seen])], "csr")

    def _of_pairs(self, rows: Sequence[Text], scale: Callable[[np.ndarray], np.ndarray]) -> Any:
        from scipy import sparse

        first, second = ([row[side] for row in rows] for side in (0, 1))
        first_NT, second_NT = self.words.transform(first), self.words.transform(second)
        cosines = [_cosines(first_NT, second_NT)]
        counts = (self.hasher.transform(side)[:, self.seen] for side in (first, second))
        cosines.append(_cosines(*map(self.runs.transform, counts)))
        shared = [self._shared(*pair) for pair in zip(first, second, strict=True)]
        overlaps = sparse.csr_matrix(scale(np.column_stack([*cosines, shared])))
        return sparse.hstack([first_NT, second_NT, abs(first_NT - second_NT), overlaps], "csr")

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


def word_vectorizer(texts: Sequence[str], min_df: int) -> Any:
    """TF-IDF of words and word bigrams that `min_df` texts have, or one if there are none.

    Raises:
        DataError: no text has a word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    settings = {"token_pattern": WORD, "ngram_range": (1, 2), "sublinear_tf": True, "dtype": np.float32}
    for fewest in (min_df, 1):
        with suppress(ValueError):  # empty vocabulary
            return TfidfVectorizer(min_df=fewest, **settings).fit(texts)
    raise DataError(f"A text baseline needs training texts with words, found {len(texts):,} rows without any.")


def _cosines(first_NT: Any, second_NT: Any) -> np.ndarray:
    return np.asarray(first_NT.multiply(second_NT).sum(axis=1)).ravel()
