"""The baselines of masked language models: the commonest token, and a bigram model that looks at both neighbours.

Shape legend: M tokens of the training segments, N positions to predict, V vocabulary.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sparse

HIDDEN = -1  # a neighbour that is masked too, or that there is not
AT_ONCE = 2**24  # scores held in memory at one time: 128 MB


@dataclass(frozen=True)
class NeighbourModel:
    """p(x | l, r) of a Markov chain: proportional to p(x | l) p(r | x), the token given its left and right neighbour.

    Bigrams are smoothed by absolute discounting, interpolated with the continuation probability of Kneser and Ney
    (1995): p(x | l) = max(c(l, x) - d, 0) / c(l) + d n(l) / c(l) q(x), with n(l) distinct successors of l, q(x) the
    share of distinct bigrams that end in x, and d = n1 / (n1 + 2 n2) of the bigrams seen once and twice (Ney, Essen and
    Kneser 1994). Where a neighbour is hidden its factor is p(x), or 1 for the right one.

    Attributes:
        candidates_V: 1 for a token that may be hidden, else 0; all that follows is normalised over these.
        unigram_V: p(x), counts plus one.
        discounted_VV: max(c(l, x) - d, 0) / c(l), CSR.
        backoff_V: d n(l) / c(l); 1 for a token never seen on the left.
        continuation_V: q(x), smoothed by one bigram spread over the vocabulary.
    """

    candidates_V: np.ndarray
    unigram_V: np.ndarray
    discounted_VV: sparse.csr_matrix
    backoff_V: np.ndarray
    continuation_V: np.ndarray

    @classmethod
    def fit(
        cls, tokens_M: np.ndarray, segment_starts_S: np.ndarray, vocab_size: int, candidates: np.ndarray
    ) -> "NeighbourModel":
        """Counts the bigrams inside segments.

        Args:
            tokens_M: token ids of all segments, end to end.
            segment_starts_S: where each segment begins; no bigram crosses these.
            vocab_size: entries of the vocabulary.
            candidates: the tokens that may be hidden; others, such as BOS and EOS, are neighbours only.
        """
        inside = np.ones(len(tokens_M), dtype=bool)
        inside[segment_starts_S] = False
        right = np.flatnonzero(inside)
        pairs = (np.ones(len(right)), (tokens_M[right - 1], tokens_M[right]))
        counts = sparse.coo_matrix(pairs, shape=(vocab_size, vocab_size)).tocsr()  # adds up equal pairs
        once, twice = int((counts.data == 1).sum()), int((counts.data == 2).sum())
        discount = once / (once + 2 * twice) if once else 0.5
        totals_V = np.asarray(counts.sum(axis=1)).ravel()
        distinct_V = np.diff(counts.indptr)
        seen_V = np.maximum(totals_V, 1)
        discounted = counts.copy()
        discounted.data = (counts.data - discount) / np.repeat(seen_V, distinct_V)
        endings_V = np.bincount(counts.indices, minlength=vocab_size) + 1 / vocab_size
        hidden_V = np.zeros(vocab_size)
        hidden_V[candidates] = 1.0
        frequency_V = (np.bincount(tokens_M, minlength=vocab_size) + 1.0) * hidden_V
        return cls(
            candidates_V=hidden_V,
            unigram_V=frequency_V / frequency_V.sum(),
            discounted_VV=discounted,
            backoff_V=np.where(totals_V > 0, discount * distinct_V / seen_V, 1.0),
            continuation_V=endings_V / endings_V.sum(),
        )

    def distributions(self, left_N: np.ndarray, right_N: np.ndarray) -> np.ndarray:
        """p(x | l, r) of each position, fp64 (N, V); HIDDEN stands for a neighbour that cannot be seen."""
        seen_left, seen_right = left_N != HIDDEN, right_N != HIDDEN
        scores_NV = np.tile(self.unigram_V, (len(left_N), 1))
        left = left_N[seen_left]
        scores_NV[seen_left] = (
            self.discounted_VV[left].toarray() + self.backoff_V[left, None] * self.continuation_V[None, :]
        )
        right = right_N[seen_right]
        columns_NV = self._columns[right].toarray()
        scores_NV[seen_right] *= columns_NV + self.backoff_V[None, :] * self.continuation_V[right, None]
        scores_NV *= self.candidates_V
        return scores_NV / scores_NV.sum(axis=1, keepdims=True)

    @cached_property
    def _columns(self) -> sparse.csr_matrix:
        return self.discounted_VV.T.tocsr()

    def score(self, left_N: np.ndarray, right_N: np.ndarray, tokens_N: np.ndarray) -> tuple[float, int]:
        """(summed -ln p of the tokens, number of tokens that are the likeliest of their position)."""
        nats, hits = 0.0, 0
        rows = max(1, AT_ONCE // len(self.unigram_V))
        for first in range(0, len(tokens_N), rows):
            part = slice(first, first + rows)
            probability_NV = self.distributions(left_N[part], right_N[part])
            nats -= float(np.log(probability_NV[np.arange(len(probability_NV)), tokens_N[part]]).sum())
            hits += int((probability_NV.argmax(axis=1) == tokens_N[part]).sum())
        return nats, hits

    def score_unigram(self, tokens_N: np.ndarray) -> tuple[float, int]:
        """The same with no look at the neighbours: always the commonest token."""
        return -float(np.log(self.unigram_V[tokens_N]).sum()), int((tokens_N == self.unigram_V.argmax()).sum())
