"""Word vectors beside human judgements of similarity and beside analogies.

Shape suffixes: P pairs of words, Q questions, V vocabulary, D numbers of a vector.
"""

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.evaluation.word_sets import EvaluationSets
from pipelines.models.cooccurrence import Cooccurrences, count_vectors, random_vectors
from pipelines.models.static_vectors import StaticVectors

if TYPE_CHECKING:
    from pipelines.sections import WordVectorEvaluationConfig

QUESTIONS_AT_ONCE = 1_000
SCORES = ("_spearman", "_spearman_all", "_accuracy", "_accuracy_all")  # what baselines are compared in
RANDOM_DRAWS = 10  # a single one reached a correlation of 0.28 on 108 pairs


# ---------------------------------------------------------------- scoring


def spearman(left_P: list[float], right_P: list[float]) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; None for less than two pairs, or if one side is equal."""
    from scipy.stats import spearmanr

    if len(left_P) < 2 or min(left_P) == max(left_P) or min(right_P) == max(right_P):
        return None
    return float(spearmanr(left_P, right_P).statistic)


def spearman_interval(correlation: float, pairs: int) -> tuple[float, float] | None:
    """95 % confidence interval of a Spearman correlation; None for less than four pairs or a correlation of 1 or -1.

    Fisher's z with the standard error sqrt((1 + rho ** 2 / 2) / (pairs - 3)): Bonett and Wright (2000), "Sample Size
    Requirements for Estimating Pearson, Kendall and Spearman Correlations", Psychometrika 65.
    """
    if pairs < 4 or abs(correlation) >= 1:
        return None
    error = 1.959964 * math.sqrt((1 + correlation**2 / 2) / (pairs - 3))
    return math.tanh(math.atanh(correlation) - error), math.tanh(math.atanh(correlation) + error)


def score_similarity(vectors: StaticVectors, pairs: list[tuple[str, str, float]]) -> dict[str, float]:
    """How well cosines rank pairs of words as people do.

    Returns:
        spearman: over the covered pairs, those whose words both have a vector. spearman_low, spearman_high: the ends of
        its 95 % confidence interval.
        spearman_all: over all pairs, an uncovered one having the cosine 0.
        spearman_subword: over all pairs, unknown words having the vector of their n-grams (fastText alone).
        coverage: share of the pairs that are covered. pairs, pairs_covered: counts.
        A correlation that does not exist is left out.
    """
    scores = [score for *_, score in pairs]
    covered = [left in vectors and right in vectors for left, right, _ in pairs]
    cosines = [
        _cosine(vectors, left, right) if known else 0.0 for (left, right, _), known in zip(pairs, covered, strict=True)
    ]
    known = [place for place, is_covered in enumerate(covered) if is_covered]
    found = {
        "spearman": spearman([scores[place] for place in known], [cosines[place] for place in known]),
        "spearman_all": spearman(scores, cosines),
        "spearman_subword": spearman(scores, [_cosine(vectors, left, right) for left, right, _ in pairs])
        if vectors.ngrams is not None
        else None,
    }
    interval = None if found["spearman"] is None else spearman_interval(found["spearman"], len(known))
    found |= dict(zip(("spearman_low", "spearman_high"), interval or (None, None), strict=True))
    counts = {"coverage": len(known) / len(pairs), "pairs": len(pairs), "pairs_covered": len(known)}
    return {name: value for name, value in found.items() if value is not None} | counts


def _cosine(vectors: StaticVectors, left: str, right: str) -> float:
    one_D, other_D = (vectors.vector(word).astype(np.float64) for word in (left, right))
    lengths = float(np.linalg.norm(one_D) * np.linalg.norm(other_D))
    return float(one_D @ other_D) / lengths if lengths else 0.0


def score_analogies(
    vectors: StaticVectors, sections: dict[str, list[tuple[str, str, str, str]]]
) -> dict[str, dict[str, int]]:
    """Which analogies 3CosAdd solves: d is the word of the vocabulary, other than a, b and c, whose cosine with
    b - a + c is highest, the three at length 1 (Mikolov et al. 2013, "Linguistic Regularities in Continuous Space Word
    Representations", section 4, as Levy and Goldberg 2014 call it).

    Returns:
        Section -> questions, covered (all four words have a vector) and correct.
    """
    results = {}
    words = {word for questions in sections.values() for question in questions for word in question}
    row_of = {word: vectors.rows.get(vectors.spelled(word), -1) for word in words}
    for section, questions in sections.items():
        rows = [[row_of[word] for word in question] for question in questions]
        rows_Q4 = np.array([row for row in rows if min(row) >= 0], dtype=np.int64).reshape(-1, 4)
        correct = 0
        for first in range(0, len(rows_Q4), QUESTIONS_AT_ONCE):
            a_Q, b_Q, c_Q, d_Q = rows_Q4[first : first + QUESTIONS_AT_ONCE].T
            wanted_QD = vectors.unit_VD[b_Q] - vectors.unit_VD[a_Q] + vectors.unit_VD[c_Q]
            cosine_QV = wanted_QD @ vectors.unit_VD.T
            for asked_Q in (a_Q, b_Q, c_Q):
                cosine_QV[np.arange(len(asked_Q)), asked_Q] = -np.inf
            correct += int((cosine_QV.argmax(axis=1) == d_Q).sum())
        results[section] = {"questions": len(questions), "covered": len(rows_Q4), "correct": correct}
    return results


def score_vectors(vectors: StaticVectors, sets: EvaluationSets) -> tuple[dict[str, float], dict[str, Any]]:
    """All sets.

    Returns:
        (metrics, sections). metrics: <set>_<figure>, with the figures of `score_similarity`, and for analogies accuracy
        (over the covered questions; left out if there are none), accuracy_all (uncovered ones counted as wrong),
        coverage, questions and questions_covered. sections: analogy set -> section -> counts.
    """
    metrics: dict[str, float] = {}
    sections = {name: score_analogies(vectors, questions) for name, questions in sets.analogies.items()}
    for name, pairs in sets.similarity.items():
        metrics |= {f"{name}_{figure}": value for figure, value in score_similarity(vectors, pairs).items()}
    for name, counts in sections.items():
        questions, covered, correct = (
            sum(section[key] for section in counts.values()) for key in ("questions", "covered", "correct")
        )
        if covered:
            metrics[f"{name}_accuracy"] = correct / covered
        metrics[f"{name}_accuracy_all"] = correct / questions
        metrics[f"{name}_coverage"] = covered / questions
        metrics |= {f"{name}_questions": questions, f"{name}_questions_covered": covered}
    return metrics, sections


# ---------------------------------------------------------------- the whole evaluation


def evaluate_vectors(
    vectors: StaticVectors,
    sets: EvaluationSets,
    cooccurrences: Cooccurrences | None,
    config: "WordVectorEvaluationConfig",
    seed: int,
) -> tuple[dict[str, float], dict[str, Any], list[dict[str, Any]]]:
    """Scores vectors and their baselines, which have the same vocabulary and so the same coverage.

    Args:
        vectors: to be scored.
        sets: as read.
        cooccurrences: counts for the count model; needed if config.baselines.
        config: baselines and samples.
        seed: of the first random vectors.

    Returns:
        (metrics, details, neighbours).
        metrics: eval_<set>_<figure>; for the scores alone baseline_ppmi_svd_<set>_<figure>, and
        baseline_random_<set>_<figure>, the mean over ten random matrices; eval_seconds and baseline_ppmi_svd_seconds
        (its making included).
        details: uncovered_words: set -> words; analogies: model -> set -> section -> counts.
        neighbours: for config.samples words from frequent to rare: word, count, and the nearest words with their
        cosines, of these vectors and of the count model.
    """
    started = time.perf_counter()
    scores, sections = score_vectors(vectors, sets)
    metrics = {f"eval_{name}": value for name, value in scores.items()}
    metrics["eval_seconds"] = time.perf_counter() - started
    analogies, models = {"eval": sections}, {"nearest": vectors}
    if config.baselines:
        assert cooccurrences is not None
        vocab_size, vector_size = vectors.embeddings_VD.shape

        def with_matrix(matrix_VD: NDArray[np.float32]) -> StaticVectors:
            return replace(vectors, embeddings_VD=matrix_VD, method="baseline", ngrams=None)

        seeds = range(seed, seed + RANDOM_DRAWS)
        draws = [score_vectors(with_matrix(random_vectors(vocab_size, vector_size, one)), sets)[0] for one in seeds]
        for name in (name for name in scores if name.endswith(SCORES)):
            metrics[f"baseline_random_{name}"] = sum(draw[name] for draw in draws) / RANDOM_DRAWS
        started = time.perf_counter()
        models["ppmi_svd"] = with_matrix(count_vectors(cooccurrences.matrix_VV, vector_size))
        counted, analogies["baseline_ppmi_svd"] = score_vectors(models["ppmi_svd"], sets)
        metrics |= {f"baseline_ppmi_svd_{name}": value for name, value in counted.items() if name.endswith(SCORES)}
        metrics["baseline_ppmi_svd_seconds"] = time.perf_counter() - started
    details = {"uncovered_words": uncovered_words(vectors, sets), "analogies": analogies}
    return metrics, details, neighbours(models, config.samples)


def uncovered_words(vectors: StaticVectors, sets: EvaluationSets) -> dict[str, list[str]]:
    """Set -> its words that have no vector, in order of appearance."""
    words = {name: [word for pair in pairs for word in pair[:2]] for name, pairs in sets.similarity.items()}
    for name, sections in sets.analogies.items():
        words[name] = [word for questions in sections.values() for question in questions for word in question]
    return {name: [word for word in dict.fromkeys(listed) if word not in vectors] for name, listed in words.items()}


def neighbours(models: dict[str, StaticVectors], samples: int, nearest: int = 8) -> list[dict[str, Any]]:
    """The nearest words of `samples` words, for a reader to judge.

    The words are spread evenly over the logarithms of the ranks from 100 to a quarter of the vocabulary (in a small one
    from the first): less frequent ones have few occurrences to learn from, more frequent ones are function words.

    Returns:
        One map per word: word, count, and for every model the nearest words with their cosines.
    """
    vectors = next(iter(models.values()))
    last = max(len(vectors.words) // 4, 1)
    ranks = dict.fromkeys(np.geomspace(min(100, last), last, samples).astype(int).tolist())
    return [
        {"word": vectors.words[rank - 1], "count": vectors.counts[rank - 1]}
        | {
            name: [{"word": word, "cosine": cosine} for word, cosine in model.nearest(vectors.words[rank - 1], nearest)]
            for name, model in models.items()
        }
        for rank in ranks
    ]
