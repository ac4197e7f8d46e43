"""Exact match and F1 of extracted answers where questions may have none, as the official script evaluate-v2.0 has them.

Rajpurkar, Jia and Liang (2018), "Know What You Don't Know: Unanswerable Questions for SQuAD".
"""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np
from numpy.typing import NDArray

from pipelines.errors import DataError
from pipelines.metrics.info import NUMBER, TEXT, metric_info
from pipelines.metrics.squad.squad import ANSWERS, by_id, exact_match, token_f1
from pipelines.metrics.text import answer_tokens


def exact_and_f1(prediction: str, answers: Sequence[str], tokenization: str = "words") -> tuple[float, float]:
    """`exact_match` and `token_f1` of a prediction, 0 to 1.

    Answers without a token do not count. Where none is left, both are 1 for a prediction without a token, else 0.

    Raises:
        ConfigError: no such tokenization.
    """
    answers = [answer for answer in answers if answer_tokens(answer, tokenization)]
    if answers:
        return exact_match(prediction, answers, tokenization), token_f1(prediction, answers, tokenization)
    is_right = float(not answer_tokens(prediction, tokenization))
    return is_right, is_right


def squad_v2(
    predictions: Sequence[dict[str, Any]],
    references: Sequence[dict[str, Any]],
    no_answer_threshold: float = 1.0,
    tokenization: str = "words",
) -> dict[str, float]:
    """Means in percent over all questions, over those with an answer and those without.

    Args:
        predictions: `id`, `prediction_text`, empty for no answer, and `no_answer_probability` of each question.
        references: `id` and `answers` with a list `text`, empty where there is no answer.
        no_answer_threshold: a prediction of a higher no_answer_probability counts as no answer.
        tokenization: `words`, the official one, or `characters`, this project's choice for Chinese.

    Returns:
        exact, f1, total; with HasAns_ and NoAns_ before them, if there are such questions; best_exact and best_f1, the
        highest that a threshold can reach, with that threshold as best_exact_thresh and best_f1_thresh. As in the
        script, questions of equal probability are taken one by one for these.

    Raises:
        DataError: the ids differ or come twice, a no_answer_probability is missing, or there are no questions.
        ConfigError: no such tokenization.
    """
    pairs = by_id(predictions, references)
    texts = [prediction["prediction_text"] for prediction, _ in pairs]
    answers = [reference["answers"]["text"] for _, reference in pairs]
    probability_Q = np.array([prediction.get("no_answer_probability") for prediction, _ in pairs], dtype=np.float64)
    if np.isnan(probability_Q).any():
        raise DataError("Every prediction needs a no_answer_probability; give 0.0 where the model has none.")
    scores_Q2 = np.array([exact_and_f1(*row, tokenization) for row in zip(texts, answers, strict=True)])
    has_answer_Q = np.array([len(row) > 0 for row in answers])
    is_withheld_Q = probability_Q > no_answer_threshold
    final_Q2 = np.where(is_withheld_Q[:, None], ~has_answer_Q[:, None], scores_Q2)

    figures: dict[str, float] = {}
    for name, mask_Q in (("", np.ones_like(has_answer_Q)), ("HasAns_", has_answer_Q), ("NoAns_", ~has_answer_Q)):
        if mask_Q.any():
            exact, f1 = (100 * final_Q2[mask_Q].mean(axis=0)).tolist()
            figures |= {f"{name}exact": exact, f"{name}f1": f1, f"{name}total": int(mask_Q.sum())}
    is_answered_Q = np.array([text != "" for text in texts])
    for name, scores_Q in zip(("exact", "f1"), scores_Q2.T, strict=True):
        gain_Q = np.where(has_answer_Q, scores_Q, -1.0 * is_answered_Q)
        best, threshold = _best(gain_Q, probability_Q, int((~has_answer_Q).sum()))
        figures |= {f"best_{name}": 100 * best, f"best_{name}_thresh": threshold}
    return figures


def _best(gain_Q: NDArray, probability_Q: NDArray, unanswerable: int) -> tuple[float, float]:
    """The best mean score and its threshold, from what each question adds as soon as its prediction is let through."""
    order_Q = np.argsort(probability_Q, kind="stable")
    sums = np.cumsum(np.concatenate(([unanswerable], gain_Q[order_Q])))
    thresholds = np.concatenate(([0.0], probability_Q[order_Q]))
    best = int(sums.argmax())
    return float(sums[best]) / len(gain_Q), float(thresholds[best])


class SquadV2(evaluate.Metric):
    """`squad_v2` as an `evaluate` metric."""

    def _info(self) -> evaluate.MetricInfo:
        prediction = {"id": TEXT, "prediction_text": TEXT, "no_answer_probability": NUMBER}
        return metric_info(__doc__, squad_v2.__doc__, (prediction, ANSWERS))

    def _compute(self, predictions, references, **settings):
        return squad_v2(predictions, references, **settings)
