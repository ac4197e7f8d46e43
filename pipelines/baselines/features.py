"""TF-IDF features of texts and of pairs of texts.

Single texts: words and word bigrams, and runs of 2 to 5 characters. Pairs: words and word bigrams of the first text, of
the second, and of what one has and the other has not, and how much the two share.

Shape legend: N rows, T terms, M characters of many texts end to end.
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
RUNS = range(2, 6)  # lengths of runs of characters
BITS = 18  # of the hash of a run: 262,144 columns; 2**20 and 2**22 gave no better accuracy on 4 data sets
ROWS_AT_ONCE = 1_000


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
        from sklearn.feature_extraction.text import TfidfTransformer
        from sklearn.preprocessing import StandardScaler

        self.pairs = len(rows) > 0 and not isinstance(rows[0], str)
        texts = list(dict.fromkeys(chain.from_iterable(rows))) if self.pairs else cast(list[str], rows)
        self.words = word_vectorizer(texts, min_df=2)
        self.runs = TfidfTransformer(sublinear_tf=True).fit(character_runs(texts))
        self.seen = np.flatnonzero(self.runs.idf_ < self.runs.idf_.max())
        if self.pairs:
            self.scaler = StandardScaler()
            return self._of_pairs(rows, self.scaler.fit_transform)
        return self.transform(rows)

    def transform(self, rows: Sequence[Text]) -> Any:
        """The features of each row, CSR (N, T)."""
        from scipy import sparse

        if self.pairs:
            return self._of_pairs(rows, self.scaler.transform)
        texts = cast(Sequence[str], rows)
        runs_NT = self.runs.transform(character_runs(texts))[:, self.seen]
        return sparse.hstack([self.words.transform(texts), runs_NT], "csr")

    def _of_pairs(self, rows: Sequence[Text], scale: Callable[[np.ndarray], np.ndarray]) -> Any:
        from scipy import sparse

        first, second = ([row[side] for row in rows] for side in (0, 1))
        first_NT, second_NT = self.words.transform(first), self.words.transform(second)
        cosines = [_cosines(first_NT, second_NT)]
        cosines += [_cosines(*(self.runs.transform(character_runs(side)) for side in (first, second)))]
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


def character_runs(texts: Sequence[str]) -> Any:
    """How often each run of characters stands in each text, in lower case, CSR (N, 2**BITS): columns are hashes.

    What scikit-learn's HashingVectorizer with analyzer="char" does, 20 times as fast.
    """
    from scipy import sparse

    blocks = [sparse.csr_matrix((0, 2**BITS), dtype=np.float32)]
    for start in range(0, len(texts), ROWS_AT_ONCE):
        lower = [text.lower() for text in texts[start : start + ROWS_AT_ONCE]]
        code_M = np.frombuffer("".join(lower).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
        row_M = np.repeat(np.arange(len(lower)), [len(text) for text in lower])
        hash_M = np.zeros(len(code_M), np.uint64)
        rows, columns = [], []
        for length in range(1, RUNS.stop):
            # A step of a multiplicative hash; the last step is that of splitmix64 (Steele, Lea and Flood 2014).
            hash_M = hash_M[: max(len(code_M) - length + 1, 0)] * np.uint64(0x9E3779B97F4A7C15) + code_M[length - 1 :]
            hash_M = (hash_M ^ (hash_M >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            if length in RUNS:
                inside = row_M[: len(hash_M)] == row_M[length - 1 :]
                rows.append(row_M[: len(hash_M)][inside])
                columns.append((hash_M[inside] >> np.uint64(64 - BITS)).astype(np.int32))
        places = np.concatenate(rows), np.concatenate(columns)
        shape = (len(lower), 2**BITS)
        blocks.append(sparse.coo_matrix((np.ones(len(places[0]), np.float32), places), shape).tocsr())
    return sparse.vstack(blocks, "csr")


def _cosines(first_NT: Any, second_NT: Any) -> np.ndarray:
    return np.asarray(first_NT.multiply(second_NT).sum(axis=1)).ravel()
