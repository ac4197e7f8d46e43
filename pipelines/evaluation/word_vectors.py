"""Word vectors beside human judgements of similarity and beside analogies.

Shape suffixes: P pairs of words, Q questions, V vocabulary, D numbers of a vector.
"""

import math
import re
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ConfigError, DataError
from pipelines.models.cooccurrence import Cooccurrences, count_vectors, random_vectors
from pipelines.models.static_vectors import StaticVectors

if TYPE_CHECKING:
    from pipelines.sections import WordVectorEvaluationConfig

# metric name -> file in gensim's test data. Finkelstein et al. (2002); Hill et al. (2015); Mikolov et al. (2013),
# "Efficient Estimation of Word Representations in Vector Space", section 4.1.
BUILTIN_SIMILARITY = {"wordsim353": "wordsim353.tsv", "simlex999": "simlex999.txt"}
BUILTIN_ANALOGIES = {"analogy": "questions-words.txt"}
QUESTIONS_AT_ONCE = 1_000
SCORES = ("_spearman", "_spearman_all", "_accuracy", "_accuracy_all")  # what baselines are compared in
RANDOM_DRAWS = 10  # a single one reached a correlation of 0.28 on 108 pairs


@dataclass(frozen=True)
class EvaluationSets:
    """What vectors are measured on, by the name that it has in metrics.json."""

    similarity: dict[str, list[tuple[str, str, float]]] = field(default_factory=dict)
    """Pairs of words with their similarity as people see it."""
    analogies: dict[str, dict[str, list[tuple[str, str, str, str]]]] = field(default_factory=dict)
    """Section -> questions (a, b, c, d): a is to b as c is to d."""


# ---------------------------------------------------------------- reading


def read_sets(config: "WordVectorEvaluationConfig") -> EvaluationSets:
    """Reads all sets that a config names, so that a mistake in one is told before anything is trained.

    Raises:
        ConfigError: two files have the same name.
        DataError: a file is missing or a line is not what was expected.
    """
    sets = EvaluationSets()
    similarity = {name: _shipped(file) for name, file in BUILTIN_SIMILARITY.items() if config.builtin_sets}
    analogies = {name: _shipped(file) for name, file in BUILTIN_ANALOGIES.items() if config.builtin_sets}
    for named, paths in ((similarity, config.similarity_files), (analogies, config.analogy_files)):
        for path in map(Path, [paths] if isinstance(paths, str) else paths or []):
            name = re.sub(r"\W+", "_", path.stem).lower()
            if name in similarity or name in analogies:
                raise ConfigError(f"Two evaluation sets would be called {name!r} in metrics.json. Rename {path}.")
            named[name] = path
    for name, path in similarity.items():
        sets.similarity[name] = read_similarity(path)
    for name, path in analogies.items():
        sets.analogies[name] = read_analogies(path)
    return sets


def _shipped(name: str) -> Path:
    """A file of gensim's test data, found without importing gensim."""
    import importlib.util

    spec = importlib.util.find_spec("gensim")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "evaluation.builtin_sets come with gensim, which is not installed. Run: pip install -e '.[embeddings]', or "
            "set --evaluation.builtin_sets false."
        )
    return Path(spec.submodule_search_locations[0]) / "test" / "test_data" / name


def read_similarity(path: Path) -> list[tuple[str, str, float]]:
    """The pairs of a similarity set: word, word and score on a line, parted by tabs, else by blanks.

    Empty lines and lines that begin with # are passed over; so is what stands behind the score.

    Raises:
        DataError: the file cannot be read, a line has no such three parts, or there are fewer than two pairs.
    """
    pairs = []
    for number, line in _lines(path):
        if line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split("\t")] if "\t" in line else line.split()
        try:
            pairs.append((parts[0], parts[1], _finite(parts[2])))
        except (IndexError, ValueError):
            raise DataError(
                f"{path}, line {number}: expected word, word and score, parted by tabs; found {line!r}. "
                "A line of headings must begin with #."
            ) from None
    if len(pairs) < 2:
        raise DataError(f"{path} has {len(pairs)} pairs of words; a rank correlation needs two.")
    return pairs


def read_analogies(path: Path) -> dict[str, list[tuple[str, str, str, str]]]:
    """Section -> questions of an analogy set: four words on a line, under lines such as `: capitals`.

    Raises:
        DataError: the file cannot be read, a line has not four words or stands above all sections, or none has.
    """
    sections: dict[str, list[tuple[str, str, str, str]]] = {}
    section = None
    for number, line in _lines(path):
        if line.startswith(":"):
            section = line[1:].strip() or "unnamed"
            sections.setdefault(section, [])
            continue
        words = line.split()
        if len(words) != 4 or section is None:
            expected = "four words, as in 'king man queen woman'" if section else "a section, as in ': capitals'"
            raise DataError(f"{path}, line {number}: expected {expected}; found {line!r}.")
        sections[section].append((words[0], words[1], words[2], words[3]))
    if not any(sections.values()):
        raise DataError(f"{path} has no questions. Expected lines of four words under lines such as ': capitals'.")
    return sections


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"The evaluation set {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"The evaluation set {path} is not UTF-8 text: {error}.") from None
    return [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


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
