"""The figures of the SuperGLUE tasks (Wang et al. 2019, "SuperGLUE: A Stickier Benchmark", section 3).

The configs, row formats and names of the figures are those of the Hub's module `super_glue`. Of its habits, the
F1 of a question in MultiRC is the mean of both classes' (that of the right answers alone in Khashabi et al. 2018); a
question of ReCoRD without a prediction, which has score 0 there, is a mistake here.
"""

from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import datasets
import evaluate
import numpy as np
from datasets import List

from pipelines.errors import ConfigError, DataError
from pipelines.metrics.glue.glue import class_figures, f1_of
from pipelines.metrics.info import NUMBER, TEXT, metric_info
from pipelines.metrics.inputs import check_rows, class_pairs, whole
from pipelines.metrics.squad.squad import by_id, exact_match, token_f1
from pipelines.metrics.text import check_option

FIGURES = {
    "boolq": ("accuracy",),
    "cb": ("accuracy", "f1"),
    "copa": ("accuracy",),
    "multirc": ("exact_match", "f1_m", "f1_a"),
    "record": ("exact_match", "f1"),
    "rte": ("accuracy",),
    "wic": ("accuracy",),
    "wsc": ("accuracy",),
    "wsc.fixed": ("accuracy",),
    "axb": ("matthews_correlation",),
    "axg": ("accuracy",),
}
OF_THEIR_OWN = {"multirc": "multirc_figures", "record": "record_row_figures"}


def super_glue_figures(config_name: str, predictions: Any, references: Any) -> dict[str, float]:
    """The figures of a task whose rows are classes, by the names in FIGURES; f1 is the mean of the classes'.

    Args:
        config_name: a key of FIGURES, but not multirc or record.
        predictions: classes as whole numbers (R,).
        references: the right ones (R,).

    Raises:
        DataError: see `class_pairs`.
        ConfigError: no such config, or one whose rows are no classes.
    """
    check_option("config_name", config_name, tuple(FIGURES))
    if config_name in OF_THEIR_OWN:
        raise ConfigError(f"The rows of {config_name} are no plain classes: use {OF_THEIR_OWN[config_name]}.")
    return class_figures(FIGURES[config_name], predictions, references, average="macro")


def multirc_figures(question_R: Iterable[Hashable], predictions_R: Any, references_R: Any) -> dict[str, float]:
    """The figures of MultiRC, 0 to 1.

    Args:
        question_R: an id of each row's question; its rows need not stand together. In a resample, a question drawn
            twice needs two ids.
        predictions_R: 1 for an answer taken as right, 0 for the others.
        references_R: 1 for right answers, 0 for the others.

    Returns:
        exact_match, the share of questions with no wrong row; f1_m, the mean over questions of the macro F1, of the
        classes that occur in the question; f1_a, the F1 of class 1 over all rows.

    Raises:
        DataError: lengths differ, there are no rows, or something is neither 0 nor 1.
    """
    of_question: dict[Hashable, int] = {}
    place_R = np.array([of_question.setdefault(question, len(of_question)) for question in question_R], dtype=np.int64)
    predictions_R, references_R = class_pairs(predictions_R, references_R)
    if len(place_R) != len(predictions_R):
        raise DataError(f"There are {len(place_R):,} ids of questions and {len(predictions_R):,} predictions.")
    for name, values_R in (("predictions", predictions_R), ("references", references_R)):
        odd = np.flatnonzero((values_R != 0) & (values_R != 1))
        if len(odd):
            raise DataError(f"{name} of multirc must be 0 or 1; row {odd[0]} is {values_R[odd[0]]}.")
    cell_R = place_R * 4 + predictions_R * 2 + references_R
    table_Q4 = np.bincount(cell_R, minlength=4 * len(of_question)).reshape(-1, 4)
    return {
        "exact_match": float(np.mean(table_Q4[:, 1] + table_Q4[:, 2] == 0)),
        "f1_m": float(np.mean([_macro_f1(*table) for table in table_Q4.tolist()])),
        "f1_a": class_figures(("f1",), predictions_R, references_R)["f1"],
    }


@lru_cache(maxsize=1 << 16)
def _macro_f1(*counts: int) -> float:
    """Macro F1 of a question from its rows of (predicted, right) 00, 01, 10 and 11; most questions share theirs."""
    cells = [(cell // 2, cell % 2, count) for cell, count in enumerate(counts) if count]
    predicted, right, weights = zip(*cells, strict=True)
    return f1_of(predicted, right, "macro", weights)


def record_row_figures(prediction: str, answers: Sequence[str]) -> tuple[float, float]:
    """Exact match and token F1 of a query of ReCoRD, 0 to 1: each the highest over the answers, as SQuAD has them.

    Raises:
        DataError: there is no answer.
    """
    return exact_match(prediction, answers), token_f1(prediction, answers)


def record_figures(predictions: Sequence[dict[str, Any]], references: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The means of `record_row_figures`, 0 to 1.

    Args:
        predictions: `idx` with `passage` and `query`, and `prediction_text`, of each query, in any order.
        references: `idx` and `answers`, a list of texts.

    Raises:
        DataError: the ids differ or come twice, a query has no answer, or there are none.
    """
    predicted, gold = (
        [row | {"id": (row["idx"]["passage"], row["idx"]["query"])} for row in rows]
        for rows in (predictions, references)
    )
    rows = [record_row_figures(one["prediction_text"], other["answers"]) for one, other in by_id(predicted, gold)]
    return dict(zip(FIGURES["record"], np.mean(rows, axis=0).tolist(), strict=True))


def gender_parity(predictions_R: Any) -> float:
    """Gender parity of AX-g, 0 to 1: the share of pairs of rows (0, 1), (2, 3), ... with the same prediction.

    The rows of such a pair differ in the gender of a pronoun alone (Rudinger et al. 2018, "Gender Bias in Coreference
    Resolution"). It says nothing without the accuracy: a model with one answer for all has 1 (Wang et al. 2019).

    Args:
        predictions_R: classes as whole numbers, in the order of the data.

    Raises:
        DataError: they are no whole numbers, not in pairs, or there are none.
    """
    check_rows(predictions_R, predictions_R, at_least=2)
    values_R = whole("predictions", predictions_R)
    if len(values_R) % 2:
        raise DataError(f"Gender parity is of pairs of rows; found {len(values_R):,} rows, an odd number.")
    return float(np.mean(values_R[0::2] == values_R[1::2]))


class SuperGlue(evaluate.Metric):
    """The figures of a SuperGLUE task as an `evaluate` metric, whose config_name is the task."""

    CONFIGS = tuple(FIGURES)

    def _info(self) -> evaluate.MetricInfo:
        check_option("config_name", self.config_name, self.CONFIGS)
        whole_number = datasets.Value("int64")
        if self.config_name == "multirc":
            idx = {"paragraph": whole_number, "question": whole_number, "answer": whole_number}
            return metric_info(__doc__, multirc_figures.__doc__, ({"idx": idx, "prediction": NUMBER}, NUMBER))
        if self.config_name == "record":
            idx = {"passage": whole_number, "query": whole_number}
            kinds = {"idx": idx, "prediction_text": TEXT}, {"idx": idx, "answers": List(TEXT)}
            return metric_info(__doc__, record_figures.__doc__, kinds)
        return metric_info(__doc__, super_glue_figures.__doc__, (NUMBER, NUMBER))

    def _compute(self, predictions, references):
        if self.config_name == "multirc":
            questions = [(row["idx"]["paragraph"], row["idx"]["question"]) for row in predictions]
            return multirc_figures(questions, [row["prediction"] for row in predictions], references)
        if self.config_name == "record":
            return record_figures(predictions, references)
        return super_glue_figures(self.config_name, predictions, references)
