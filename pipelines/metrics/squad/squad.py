"""Exact match and F1 of extracted answers, as the official script of SQuAD v1.1 has them.

Rajpurkar et al. (2016), "SQuAD: 100,000+ Questions for Machine Comprehension of Text", section 6.1. The script's own
habits are kept: an answer of nothing but articles and punctuation matches another one exactly and yet has F1 0.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np
from datasets import List

from pipelines.errors import DataError
from pipelines.metrics.info import NUMBER, TEXT, metric_info
from pipelines.metrics.inputs import check_rows
from pipelines.metrics.text import answer_tokens, check_texts


def exact_match(prediction: str, answers: Sequence[str], tokenization: str = "words") -> float:
    """1 where the prediction has the very tokens of one of the answers, else 0; see `answer_tokens`.

    Raises:
        ConfigError: no such tokenization.
    """
    tokens = answer_tokens(prediction, tokenization)
    return float(any(tokens == answer_tokens(answer, tokenization) for answer in _list(answers)))


def token_f1(prediction: str, answers: Sequence[str], tokenization: str = "words") -> float:
    """F1 of the prediction's tokens and an answer's, in any order, 0 to 1: the highest over the answers.

    Raises:
        ConfigError: no such tokenization.
    """
    tokens = answer_tokens(prediction, tokenization)
    return max(_f1(tokens, answer_tokens(answer, tokenization)) for answer in _list(answers))


def _f1(predicted: list[str], gold: list[str]) -> float:
    shared = (Counter(predicted) & Counter(gold)).total()
    if shared == 0:
        return 0.0
    precision, recall = shared / len(predicted), shared / len(gold)
    return 2 * precision * recall / (precision + recall)


def _list(answers: Sequence[str]) -> Sequence[str]:
    if isinstance(answers, str):
        return [answers]
    if len(answers) == 0:
        raise DataError("A question has no answer. The metric squad_v2 scores questions that may have none.")
    return answers


def squad(
    predictions: Sequence[dict[str, Any]], references: Sequence[dict[str, Any]], tokenization: str = "words"
) -> dict[str, float]:
    """exact_match and f1, means in percent.

    Args:
        predictions: `id` and `prediction_text` of each question, in any order.
        references: `id` and `answers` with a list `text`.
        tokenization: `words`, the official one, or `characters`, this project's choice for Chinese.

    Raises:
        DataError: the ids differ or come twice, a question has no answer, or there are none.
        ConfigError: no such tokenization.
    """
    rows = [
        (prediction["prediction_text"], reference["answers"]["text"])
        for prediction, reference in by_id(predictions, references)
    ]
    return {
        "exact_match": 100 * float(np.mean([exact_match(*row, tokenization) for row in rows])),
        "f1": 100 * float(np.mean([token_f1(*row, tokenization) for row in rows])),
    }


def by_id(
    predictions: Sequence[dict[str, Any]], references: Sequence[dict[str, Any]]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each prediction with the reference of its id.

    Raises:
        DataError: the ids differ or come twice, a prediction is no text, or there are none.
    """
    of_id = {reference["id"]: reference for reference in references}
    predicted = {prediction["id"] for prediction in predictions}
    missing, unknown = of_id.keys() - predicted, predicted - of_id.keys()
    if missing:
        raise DataError(
            f"{len(missing):,} of {len(of_id):,} questions have no prediction, such as {min(missing)!r}. Give each an "
            "empty prediction_text where there is no answer."
        )
    if unknown:
        raise DataError(f"{len(unknown):,} predictions have no reference, such as {min(unknown)!r}.")
    check_rows(predictions, references)
    if len(predicted) < len(predictions):
        raise DataError(f"{len(predictions):,} predictions have {len(predicted):,} ids. Each may come once.")
    check_texts("prediction_text", [prediction["prediction_text"] for prediction in predictions])
    return [(prediction, of_id[prediction["id"]]) for prediction in predictions]


ANSWERS = {"id": TEXT, "answers": {"text": List(TEXT), "answer_start": List(NUMBER)}}


class Squad(evaluate.Metric):
    """`squad` as an `evaluate` metric."""

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(__doc__, squad.__doc__, ({"id": TEXT, "prediction_text": TEXT}, ANSWERS))

    def _compute(self, predictions, references, **settings):
        return squad(predictions, references, **settings)
