"""The official metrics of suites, and tasks that are scored by them.

Shape legend: R rows.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipelines.data.labelled import Problem, Row
from pipelines.metrics.glue.glue import glue_figures
from pipelines.metrics.super_glue.super_glue import (
    gender_parity,
    multirc_figures,
    record_row_figures,
    super_glue_figures,
)
from pipelines.tasks.classification import TextClassification
from pipelines.tasks.multiple_choice import MultipleChoice
from pipelines.tasks.task import Prediction, Scored, Task

HIDDEN = -1  # the label of rows whose label is not told
# What the rows of a metric are worth: (rows, labels said, labels true), each of R -> row indices -> figure.
Statistic = Callable[[np.ndarray], float]
Maker = Callable[[Sequence[Row], np.ndarray, np.ndarray], Statistic]


def _of(figures: Callable[..., Mapping[str, float]], config_name: str, key: str) -> Maker:
    """A figure of a metric module, of plain labels."""

    def make(rows: Sequence[Row], said_R: np.ndarray, true_R: np.ndarray) -> Statistic:
        return lambda chosen: float(figures(config_name, said_R[chosen], true_R[chosen])[key])

    return make


def _answers(key: str) -> Maker:
    """MultiRC: F1 over all answers (f1_a), or the share of questions whose answers are all right (exact_match)."""

    def make(rows: Sequence[Row], said_R: np.ndarray, true_R: np.ndarray) -> Statistic:
        question_R = np.unique([row["question_id"] for row in rows], return_inverse=True)[1]
        if key == "f1_a":
            return lambda chosen: float(multirc_figures(question_R[chosen], said_R[chosen], true_R[chosen])[key])
        size_Q = np.bincount(question_R)
        right_Q = np.bincount(question_R, weights=said_R == true_R) == size_Q
        # A question that is drawn twice counts twice, each of its rows for its share of it.
        share_R = 1 / size_Q[question_R]
        return lambda chosen: float((share_R * right_Q[question_R])[chosen].sum() / share_R[chosen].sum())

    return make


def _entities(place: int) -> Maker:
    """ReCoRD: exact match (place 0) or token F1 (place 1) of the entity chosen, the best over the answers."""

    def make(rows: Sequence[Row], said_R: np.ndarray, true_R: np.ndarray) -> Statistic:
        pairs = zip(rows, said_R.tolist(), strict=True)
        worth_R = np.array([record_row_figures(row["entities"][said], row["answers"])[place] for row, said in pairs])
        return lambda chosen: float(worth_R[chosen].mean())

    return make


def _parity(rows: Sequence[Row], said_R: np.ndarray, true_R: np.ndarray) -> Statistic:
    """Winogender: share of the pairs of rows, which differ in a pronoun alone, with equal predictions."""
    pair_R = np.unique([row["group"] for row in rows], return_inverse=True)[1]
    said_P = [said_R[pair_R == pair] for pair in range(pair_R.max() + 1)]
    same_P = np.array([gender_parity(said) for said in said_P])
    return lambda chosen: float(same_P[pair_R[chosen]].mean())


METRICS: dict[str, Maker] = {
    "accuracy": _of(glue_figures, "sst2", "accuracy"),
    "f1": _of(glue_figures, "mrpc", "f1"),
    "matthews_correlation": _of(glue_figures, "cola", "matthews_correlation"),
    "pearson": _of(glue_figures, "stsb", "pearson"),
    "spearmanr": _of(glue_figures, "stsb", "spearmanr"),
    "f1_macro": _of(super_glue_figures, "cb", "f1"),
    "f1_a": _answers("f1_a"),
    "exact_match": _answers("exact_match"),
    "entity_f1": _entities(1),
    "entity_exact_match": _entities(0),
    "gender_parity": _parity,
}


class _Official(Task):
    """What a task of a suite has besides: official metrics, whose mean, its score, is what comparisons are about."""

    official: tuple[str, ...]

    def score(self, predictions: Sequence[Prediction], rows: Sequence[Row]) -> Scored:
        plain = super().score(predictions, rows)  # type: ignore[safe-super]  # of the task that stands beside
        key = "value" if "value" in predictions[0] else "label"
        said_R = np.array([one[key] for one in predictions])
        true_R = np.array([self.target(row) for row in rows])  # type: ignore[attr-defined]
        statistics = {name: METRICS[name](rows, said_R, true_R) for name in self.official}
        every = np.arange(len(rows))
        figures = {name: statistic(every) for name, statistic in statistics.items()}
        return Scored(
            plain.metrics | figures | {"score": float(np.mean(list(figures.values())))},
            "score",
            lambda chosen: float(np.mean([statistic(chosen) for statistic in statistics.values()])),
            plain.correct_R if self.official == ("accuracy",) else None,
            plain.worth_R,
            plain.best_worth,
        )


class SuiteClassification(_Official, TextClassification):
    """A label or a number for a text or a pair of texts, by official metrics."""

    def answer_problem(self, row: Row) -> Problem | None:
        """As of every classification; a number below 0 marks a hidden label there too."""
        problem = super().answer_problem(row)
        if problem is None and self.problem_type == "regression" and self.target(row) == HIDDEN:
            told = f"the label is {row['label']}, which marks a hidden one: it can be neither learnt nor scored."
            return Problem("hidden_label", told)
        return problem


class SuiteChoice(_Official, MultipleChoice):
    """One of several texts, by official metrics."""
