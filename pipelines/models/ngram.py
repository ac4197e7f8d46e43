"""Interpolated modified Kneser-Ney n-gram language model over integer token ids: the statistical baseline.

Chen & Goodman (1999), "An Empirical Study of Smoothing Techniques for Language Modeling", Computer Speech & Language
13; sections cited below are those of the 1998 report TR-10-98 (2.7 Kneser-Ney, 3 modified Kneser-Ney).

The text is a set of segments: runs of consecutive tokens in which the first token is context only and every later
token is predicted from the at most order - 1 tokens before it in the same segment.

For a context h of n - 1 tokens and a token w,

    p_n(w | h) = (a_n(hw) - D_n(a_n(hw))) / a_n(h.)  +  gamma_n(h) p_{n-1}(w | h without its oldest token)
    a_n(h.)    = sum over w of a_n(hw)
    gamma_n(h) = (sum over w of D_n(a_n(hw))) / a_n(h.)

ending in p_0 = 1 / vocab_size; a context that was never continued in training has p_n = p_{n-1}. Every p_n sums to one
over the vocabulary, because the mass the discounts take away is exactly gamma_n(h). The adjusted counts a_n are

    n = order:  the number of occurrences of the n-gram;
    n < order:  the number of distinct tokens seen just before the n-gram inside a segment, plus the number of its
                occurrences at the start of a segment, where there is no token before it.

When segments open with a BOS token that occurs nowhere else, the n-grams with BOS keep their raw counts, as in SRILM
and KenLM. When a segment opens in the middle of a document, the token before the n-gram is unknown, and each such
occurrence counts as one more left extension; measured on tinyshakespeare characters and a BPE of Gutenberg books
(order 5, segments of 32 and 256 predictions), this is 0.002 to 0.03 nats per token better than counting them all as one
extension. The first token of a segment is never predicted, so it is no unigram occurrence.

Shape suffixes: N positions of the flat token stream, S segments, V vocabulary, U distinct n-grams of one order (by
rising key), C distinct contexts of one order (the n-grams of the order below), P predicted positions with a full
context of one order, 4 adjusted counts 0, 1, 2 and "3 or more".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipelines.errors import ConfigError, DataError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

FALLBACK_DISCOUNTS_4 = np.array([0.0, 0.5, 1.0, 1.5])  # those of KenLM's --discount_fallback


@dataclass(frozen=True)
class NgramLevel:
    """The n-grams of one order n.

    key_U: context id * vocab_size + last token, rising, where the context id is the row of the first n - 1 tokens in
        the level below; the row in key_U is the id of the n-gram. Level 1 has one context (id 0) and all V tokens.
    discounted_U: (a_n(hw) - D_n(a_n(hw))) / a_n(h.), a probability.
    backoff_C: gamma_n(h), a probability; 1 for a context that is never continued.
    """

    key_U: IntArray
    discounted_U: FloatArray
    backoff_C: FloatArray


@dataclass(frozen=True)
class KneserNeyModel:
    """A fitted model; `levels[n - 1]` holds the n-grams of order n."""

    order: int
    vocab_size: int
    levels: tuple[NgramLevel, ...]

    @classmethod
    def fit(cls, tokens_N: ArrayLike, segment_starts_S: ArrayLike, vocab_size: int, order: int = 5) -> "KneserNeyModel":
        """Estimate the model from segments; the order of the segments does not matter, no segments give 1 / V.

        Args:
            tokens_N: token ids of all segments one after the other, (N,) integers in [0, vocab_size).
            segment_starts_S: where each segment begins in tokens_N, (S,) integers, never falling, the first is 0.
            vocab_size: number of tokens V over which probabilities sum to one.
            order: longest n-gram; a token is predicted from at most order - 1 tokens before it.

        Raises:
            ConfigError: order or vocab_size is below 1.
            DataError: a token id is not in [0, vocab_size), or segment_starts_S is not as described.
        """
        if order < 1 or vocab_size < 1:
            raise ConfigError(f"order and vocab_size must be at least 1, found order {order}, vocab_size {vocab_size}.")
        tokens_N = _checked_tokens(tokens_N, vocab_size)
        offset_N = _offsets_in_segment(segment_starts_S, len(tokens_N))

        key_U, context_count = np.arange(vocab_size), 1
        id_N = tokens_N
        levels = []
        for n in range(1, order):
            position_P = np.flatnonzero(offset_N >= n)
            key_P = id_N[position_P - 1] * vocab_size + tokens_N[position_P]
            next_key_U, row_P = np.unique(key_P, return_inverse=True)
            last_position_U = np.empty(len(next_key_U), np.int64)
            last_position_U[row_P] = position_P
            left_extensions_U = np.bincount(id_N[last_position_U], minlength=len(key_U))
            # At n = 1 the first token of a segment is context only: it is not an occurrence of the unigram.
            at_start_N = offset_N == n - 1 if n > 1 else np.zeros(len(tokens_N), bool)
            count_U = left_extensions_U + np.bincount(id_N[at_start_N], minlength=len(key_U))
            levels.append(_level(key_U, count_U, context_count, vocab_size))

            key_U, context_count = next_key_U, len(key_U)
            id_N = np.full(len(tokens_N), -1)
            id_N[position_P] = row_P
        count_U = np.bincount(id_N[offset_N >= max(order - 1, 1)], minlength=len(key_U))
        levels.append(_level(key_U, count_U, context_count, vocab_size))
        return cls(order, vocab_size, tuple(levels))

    def log_probabilities(self, tokens_N: ArrayLike, segment_starts_S: ArrayLike) -> FloatArray:
        """Log probability in nats of every token given those before it in its segment; nan at segment starts.

        Args:
            tokens_N: token ids of all segments one after the other, (N,) integers in [0, vocab_size).
            segment_starts_S: where each segment begins in tokens_N, (S,) integers, never falling, the first is 0.

        Returns:
            (N,) float64, finite wherever a token is predicted.

        Raises:
            DataError: a token id is not in [0, vocab_size), or segment_starts_S is not as described.
        """
        tokens_N = _checked_tokens(tokens_N, self.vocab_size)
        offset_N = _offsets_in_segment(segment_starts_S, len(tokens_N))

        probability_N = np.full(len(tokens_N), 1 / self.vocab_size)
        # Id of the (n-1)-gram that ends just before each position, -1 where it is unseen or crosses a segment start.
        context_N = np.where(offset_N >= 1, 0, -1)
        for n, level in enumerate(self.levels, start=1):
            position_P = np.flatnonzero(context_N >= 0)
            context_P = context_N[position_P]
            id_P = _find(level.key_U, context_P * self.vocab_size + tokens_N[position_P])
            discounted_P = np.zeros(len(id_P))
            discounted_P[id_P >= 0] = level.discounted_U[id_P[id_P >= 0]]
            probability_N[position_P] = discounted_P + level.backoff_C[context_P] * probability_N[position_P]

            id_N = tokens_N if n == 1 else np.full(len(tokens_N), -1)
            if n > 1:
                id_N[position_P] = id_P
            context_N = np.full(len(tokens_N), -1)
            context_N[1:] = np.where(offset_N[1:] >= n, id_N[:-1], -1)
        return np.where(offset_N >= 1, np.log(probability_N), np.nan)

    def distribution(self, context: Sequence[int]) -> FloatArray:
        """Probability of every token after `context`, the tokens before it in its segment (the last order - 1 count).

        Returns:
            (V,) float64 above 0 that sums to 1.

        Raises:
            DataError: a token id is not in [0, vocab_size).
        """
        context_tokens = _checked_tokens(np.asarray(context, np.int64), self.vocab_size)
        probability_V = np.full(self.vocab_size, 1 / self.vocab_size)
        for n, level in enumerate(self.levels[: len(context_tokens) + 1], start=1):
            context_id = self._ngram_id(context_tokens[len(context_tokens) - n + 1 :])
            if context_id < 0:
                break
            first_key = context_id * self.vocab_size
            begin, end = np.searchsorted(level.key_U, [first_key, first_key + self.vocab_size])
            probability_V *= level.backoff_C[context_id]
            probability_V[level.key_U[begin:end] - first_key] += level.discounted_U[begin:end]
        return probability_V

    def _ngram_id(self, ngram: IntArray) -> int:
        """Row of an n-gram in its level, 0 for the empty one, -1 for one never seen."""
        ngram_id = 0
        for level, token in zip(self.levels, ngram, strict=False):
            ngram_id = int(_find(level.key_U, np.array([ngram_id * self.vocab_size + token]))[0])
            if ngram_id < 0:
                break
        return ngram_id


def modified_discounts(count_U: IntArray) -> FloatArray:
    """Discounts [0, D1, D2, D3+] of one order from its adjusted counts: Chen & Goodman 1998, section 3.

    With n_k the number of n-grams whose count is exactly k and Y = n_1 / (n_1 + 2 n_2),
    D_k = k - (k + 1) Y n_{k+1} / n_k for k = 1, 2, 3. Where n_1, n_2 or n_3 is 0, or a discount leaves (0, k] (at 0 a
    context could keep no mass for unseen tokens), the whole order takes 0.5, 1 and 1.5, the fallback of KenLM.
    """
    n = np.bincount(np.minimum(count_U, 5), minlength=6).astype(np.float64)
    if not n[1:4].all():
        return FALLBACK_DISCOUNTS_4
    k = np.arange(1, 4)
    discount = k - (k + 1) * n[1] / (n[1] + 2 * n[2]) * n[2:5] / n[1:4]
    if (discount <= 0).any():
        return FALLBACK_DISCOUNTS_4
    return np.concatenate([[0.0], discount])


def _level(key_U: IntArray, count_U: IntArray, context_count: int, vocab_size: int) -> NgramLevel:
    """The level of n-grams `key_U` with adjusted counts `count_U` over `context_count` contexts."""
    discount_U = modified_discounts(count_U)[np.minimum(count_U, 3)]
    context_U = key_U // vocab_size
    total_C = np.bincount(context_U, weights=count_U, minlength=context_count)
    discount_C = np.bincount(context_U, weights=discount_U, minlength=context_count)
    backoff_C = np.divide(discount_C, total_C, out=np.ones(context_count), where=total_C > 0)
    discounted_U = np.divide(count_U - discount_U, total_C[context_U], out=np.zeros(len(key_U)), where=count_U > 0)
    return NgramLevel(key_U, discounted_U, backoff_C)


def _find(key_U: IntArray, wanted_P: IntArray) -> IntArray:
    """Row of each wanted key among the rising keys, -1 where it is missing."""
    if not len(key_U):
        return np.full(len(wanted_P), -1)
    row_P = np.minimum(np.searchsorted(key_U, wanted_P), len(key_U) - 1)
    return np.where(key_U[row_P] == wanted_P, row_P, -1)


def _checked_tokens(tokens_N: ArrayLike, vocab_size: int) -> IntArray:
    """The token ids as int64, once they are known to be 1-D integers in [0, vocab_size)."""
    array_N = np.asarray(tokens_N)
    if array_N.ndim != 1 or (array_N.size and array_N.dtype.kind not in "iu"):
        raise DataError(f"Token ids must be a 1-D integer array, found shape {array_N.shape} of {array_N.dtype}.")
    outside = np.flatnonzero((array_N < 0) | (array_N >= vocab_size))
    if len(outside):
        raise DataError(
            f"Token id {array_N[outside[0]]} at position {outside[0]} is outside [0, {vocab_size}), "
            f"vocab_size {vocab_size}. Use the tokenizer and vocab_size the tokens were made with."
        )
    return array_N.astype(np.int64)


def _offsets_in_segment(segment_starts_S: ArrayLike, token_count: int) -> IntArray:
    """How many tokens of its own segment come before each position, (N,)."""
    start_S = np.asarray(segment_starts_S, np.int64)
    if start_S.ndim != 1:
        raise DataError(f"Segment starts must be a 1-D array, found shape {start_S.shape}.")
    length_S = np.diff(start_S, append=token_count)
    if (token_count and not len(start_S)) or (start_S[:1] != 0).any() or (length_S < 0).any():
        raise DataError(f"Segment starts must begin with 0 and rise, none above {token_count}, the number of tokens.")
    return np.arange(token_count) - np.repeat(start_S, length_S)
