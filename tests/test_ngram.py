"""The n-gram model against hand arithmetic, a slow reference written from the paper, and the laws of probability."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import ConfigError, DataError
from pipelines.models.ngram import KneserNeyModel, modified_discounts

VOCAB_SIZE = 5


def flat(segments):
    starts = np.cumsum([0] + [len(segment) for segment in segments[:-1]]) if segments else []
    return np.array([token for segment in segments for token in segment], np.int32), np.array(starts, np.int64)


def fitted(segments, order, vocab_size=VOCAB_SIZE):
    return KneserNeyModel.fit(*flat(segments), vocab_size, order)


class SlowReference:
    """The same definitions with dictionaries of tuples and no ids, one probability at a time."""

    def __init__(self, segments, vocab_size, order):
        self.vocab_size, self.order = vocab_size, order
        self.counts, self.discounts = {}, {}
        for n in range(1, order + 1):
            occurrences, extensions = Counter(), Counter()
            left_tokens = {}
            for segment in segments:
                for last in range(max(n - 1, 1), len(segment)):
                    first = last - n + 1
                    ngram = tuple(segment[first : last + 1])
                    occurrences[ngram] += 1
                    if first == 0:
                        extensions[ngram] += 1
                    else:
                        left_tokens.setdefault(ngram, set()).add(segment[first - 1])
            for ngram, tokens in left_tokens.items():
                extensions[ngram] += len(tokens)
            self.counts[n] = occurrences if n == order else extensions
            self.discounts[n] = self.discounts_of(list(self.counts[n].values()))

    @staticmethod
    def discounts_of(counts):
        n1, n2, n3, n4 = (counts.count(k) for k in (1, 2, 3, 4))
        if n1 and n2 and n3:
            y = n1 / (n1 + 2 * n2)
            discounts = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
            if min(discounts) > 0:
                return discounts
        return (0.5, 1.0, 1.5)

    def probability(self, context, token):
        context = tuple(context)[-(self.order - 1) :] if self.order > 1 else ()
        n = len(context) + 1
        lower = self.probability(context[1:], token) if context else 1 / self.vocab_size
        followers = {g[-1]: count for g, count in self.counts[n].items() if g[:-1] == context}
        if not followers:
            return lower
        taken = {w: self.discounts[n][min(count, 3) - 1] for w, count in followers.items()}
        kept = followers.get(token, 0) - taken.get(token, 0)
        return (kept + sum(taken.values()) * lower) / sum(followers.values())


segment_lists = st.lists(st.lists(st.integers(0, VOCAB_SIZE - 2), max_size=30), max_size=6)
contexts = st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=6)
orders = st.integers(1, 5)


def test_hand_computed_bigram():
    # Segment 0 1 0 2 0 1 0 over 4 tokens, order 2. Predicted: 1 0 2 0 1 0.
    # Bigrams (raw counts): 01 x2, 10 x2, 02 x1, 20 x1. n3 = 0, so D = 0.5 and 1 for counts 1 and 2.
    # Unigrams (distinct left tokens): 0 has {1, 2} = 2, 1 has {0} = 1, 2 has {0} = 1, 3 has none; n3 = 0 again.
    # Unigram total 4, mass taken 1 + 0.5 + 0.5 = 2, so gamma = 1/2 and the uniform 1/4 adds 1/8 to each:
    #   p(0) = (2 - 1)/4 + 1/8 = 3/8, p(1) = p(2) = 0.5/4 + 1/8 = 1/4, p(3) = 1/8.
    # After 0: total 3, taken 1 + 0.5 = 1.5, gamma = 1/2:
    #   p(1|0) = (2 - 1)/3 + 1/8 = 11/24, p(2|0) = 0.5/3 + 1/8 = 7/24, p(0|0) = 3/16, p(3|0) = 1/16.
    # After 1: total 2, taken 1, gamma = 1/2: p(0|1) = (2 - 1)/2 + 3/16 = 11/16.
    model = fitted([[0, 1, 0, 2, 0, 1, 0]], order=2, vocab_size=4)
    np.testing.assert_allclose(model.distribution([]), [3 / 8, 1 / 4, 1 / 4, 1 / 8], rtol=1e-14)
    np.testing.assert_allclose(model.distribution([0]), [3 / 16, 11 / 24, 7 / 24, 1 / 16], rtol=1e-14)
    np.testing.assert_allclose(model.distribution([3]), model.distribution([]), rtol=1e-14)
    scored = model.log_probabilities(*flat([[0, 1, 0], [3, 2]]))
    np.testing.assert_allclose(np.exp(scored), [np.nan, 11 / 24, 11 / 16, np.nan, 1 / 4], rtol=1e-14)


def test_ngrams_at_a_segment_start_keep_their_occurrences():
    # Order 3, segments "0 1" twice and "2 0 1": bigram 01 occurs twice at a start and once after the token 2, so its
    # adjusted count is 2 + 1 = 3; 20 occurs once at a start. Bigram discounts are the fallback: D3+ = 1.5.
    # Unigrams: 0 has {2} = 1, 1 has {0} = 1: total 2, gamma = 1/2, p(1) = 0.5/2 + 1/2 * 1/3 = 5/12.
    # p(1|0) at a start = (3 - 1.5)/3 + 1.5/3 * 5/12 = 17/24.
    model = fitted([[0, 1], [0, 1], [2, 0, 1]], order=3, vocab_size=3)
    assert model.distribution([0])[1] == pytest.approx(17 / 24, rel=1e-14)


def test_discounts_follow_the_counts_of_counts():
    # n1..n4 = 8, 4, 2, 1: Y = 8/16; D1 = 1 - 2 Y 4/8, D2 = 2 - 3 Y 2/4, D3+ = 3 - 4 Y 1/2.
    counts = np.repeat([0, 1, 2, 3, 4, 9], [7, 8, 4, 2, 1, 3])
    np.testing.assert_allclose(modified_discounts(counts), [0, 0.5, 1.25, 2])


@pytest.mark.parametrize("counts_of_counts", [[0, 4, 2], [8, 0, 2], [8, 4, 0], [8, 1, 8], [0, 0, 0]], ids=str)
def test_discounts_fall_back_when_they_cannot_be_estimated(counts_of_counts):
    np.testing.assert_array_equal(modified_discounts(np.repeat([1, 2, 3], counts_of_counts)), [0, 0.5, 1, 1.5])


@settings(max_examples=150, deadline=None)
@given(segment_lists, segment_lists, orders)
def test_equals_the_slow_reference(training, scoring, order):
    model, reference = fitted(training, order), SlowReference(training, VOCAB_SIZE, order)
    scoring = scoring + training[:2]
    expected = [
        math.log(reference.probability(segment[:i], token)) if i else math.nan
        for segment in scoring
        for i, token in enumerate(segment)
    ]
    np.testing.assert_allclose(model.log_probabilities(*flat(scoring)), expected, rtol=1e-10, atol=1e-10)


@settings(max_examples=150, deadline=None)
@given(segment_lists, contexts, orders)
def test_every_distribution_is_normalised_and_positive(training, context, order):
    model = fitted(training, order)
    seen = [segment[:i] for segment in training for i in (1, len(segment) // 2, len(segment))]
    for some_context in [context, [], [VOCAB_SIZE - 1], *seen]:
        probability_V = model.distribution(some_context)
        assert probability_V.sum() == pytest.approx(1, abs=1e-13)
        assert (probability_V > 0).all()


@settings(max_examples=50, deadline=None)
@given(segment_lists, contexts, orders)
def test_scores_are_the_distribution_at_each_token(training, context, order):
    model = fitted(training, order)
    segments = [[*context, token] for token in range(VOCAB_SIZE)] if context else []
    last = np.arange(1, len(segments) + 1) * (len(context) + 1) - 1
    scored = model.log_probabilities(*flat(segments))
    np.testing.assert_allclose(np.exp(scored[last]), model.distribution(context)[: len(last)], rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(segment_lists, contexts, orders, st.randoms())
def test_order_of_segments_does_not_matter(training, context, order, random):
    shuffled = random.sample(training, len(training))
    before, after = fitted(training, order), fitted(shuffled, order)
    np.testing.assert_allclose(before.distribution(context), after.distribution(context), rtol=1e-14)


@settings(max_examples=50, deadline=None)
@given(segment_lists, orders)
def test_log_probabilities_are_nan_at_segment_starts_only(segments, order):
    tokens, starts = flat(segments)
    scored = fitted(segments, order).log_probabilities(tokens, starts)
    assert scored.dtype == np.float64 and scored.shape == tokens.shape
    is_start = np.isin(np.arange(len(tokens)), starts)
    np.testing.assert_array_equal(np.isnan(scored), is_start)
    assert (scored[~is_start] < 0).all()


def test_order_one_is_a_discounted_unigram_of_the_predicted_tokens():
    # Predicted: 1 1 2. Counts 2 and 1, fallback discounts 1 and 0.5, total 3, gamma = 1/2, uniform 1/5.
    distribution = fitted([[0, 1, 1], [0, 2]], order=1).distribution([3, 1])
    np.testing.assert_allclose(distribution, [0.1, 1 / 3 + 0.1, 0.5 / 3 + 0.1, 0.1, 0.1], rtol=1e-14)


@pytest.mark.parametrize("segments", [[], [[]], [[2]], [[2], [], [1]]], ids=str)
def test_nothing_to_predict_gives_the_uniform_distribution(segments):
    model = fitted(segments, order=3)
    np.testing.assert_array_equal(model.distribution([2, 1]), np.full(VOCAB_SIZE, 1 / VOCAB_SIZE))


def test_a_vocabulary_of_one_token_is_certain():
    assert fitted([[0, 0, 0]], order=3, vocab_size=1).distribution([0]) == pytest.approx([1.0])


def test_same_input_gives_the_same_bits():
    tokens = np.random.default_rng(0).integers(0, 50, 5000)
    starts = np.arange(0, 5000, 100)
    first, second = (KneserNeyModel.fit(tokens, starts, 50).log_probabilities(tokens, starts) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_packed_keys_stay_exact_with_a_large_vocabulary():
    # Context id * vocab_size passes 2**31 here: the last token must still come back as itself.
    vocab_size = 300_000
    model = fitted([[0, vocab_size - 1] * 20], order=4, vocab_size=vocab_size)
    assert model.distribution([vocab_size - 1, 0]).argmax() == vocab_size - 1


@pytest.mark.parametrize("bad_id", [-1, VOCAB_SIZE])
def test_token_out_of_range_is_named(bad_id):
    model = fitted([[0, 1, 2]], order=2)
    calls = [
        lambda: fitted([[0, bad_id]], order=2),
        lambda: model.log_probabilities([0, bad_id], [0]),
        lambda: model.distribution([bad_id]),
    ]
    for call in calls:
        with pytest.raises(DataError, match=rf"Token id {bad_id} .*vocab_size {VOCAB_SIZE}"):
            call()


@pytest.mark.parametrize("starts", [[], [1], [0, 2, 1], [0, 4], [[0]]], ids=str)
def test_malformed_segment_starts_are_refused(starts):
    with pytest.raises(DataError, match="Segment starts"):
        KneserNeyModel.fit([0, 1, 2], starts, VOCAB_SIZE)


@pytest.mark.parametrize("tokens", [[0.0, 1.0], [[0, 1]]], ids=str)
def test_tokens_must_be_flat_integers(tokens):
    with pytest.raises(DataError, match="1-D integer"):
        KneserNeyModel.fit(tokens, [0], VOCAB_SIZE)


@pytest.mark.parametrize(("order", "vocab_size"), [(0, 5), (3, 0)])
def test_order_and_vocabulary_must_be_positive(order, vocab_size):
    with pytest.raises(ConfigError, match="at least 1"):
        KneserNeyModel.fit([], [], vocab_size, order)


def test_more_data_approaches_the_entropy_of_a_markov_source():
    rng = np.random.default_rng(7)
    states, history = 8, 2
    transition = rng.dirichlet(np.full(states, 0.3), size=states**history)
    cumulative = transition.cumsum(axis=1)

    def sample(length):
        tokens = [0] * history
        for uniform in rng.random(length):
            row = tokens[-2] * states + tokens[-1]
            tokens.append(min(int(np.searchsorted(cumulative[row], uniform)), states - 1))
        return np.array(tokens)

    held_out, training = sample(20_000), sample(60_000)
    # The source's own log loss on the held-out tokens: no model can be much below it, and a good one comes near.
    row = held_out[:-2] * states + held_out[1:-1]
    entropy = -np.log(transition[row, held_out[2:]]).mean()
    losses = []
    for size in (300, 3_000, 60_000):
        model = KneserNeyModel.fit(training[:size], [0], states, order=4)
        losses.append(-model.log_probabilities(held_out, [0])[2:].mean())
    assert losses[0] > losses[1] > losses[2] > entropy
    assert losses[2] - entropy < 0.03
