"""chrF of a corpus of translations (Popović 2015), by sacrebleu: an F-score of character n-grams, blanks left out."""

from collections.abc import Sequence

import evaluate
import numpy as np
from datasets import List
from numpy.typing import NDArray
from sacrebleu.metrics import CHRF

from pipelines.metrics.info import TEXT, metric_info
from pipelines.metrics.text import corpus_statistics


def chrf_statistics(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    char_order: int = 6,
    word_order: int = 0,
    beta: int = 2,
) -> NDArray[np.int64]:
    """What chrF is computed from, (R, 3 * (char_order + word_order)), to be added up over rows.

    Args:
        predictions: translations (R,).
        references: the reference of each, or a list of several, of which the one with the best score counts.
        char_order: longest character n-grams.
        word_order: longest word n-grams; 2 makes chrF++ (Popović 2017).
        beta: how many times as much recall counts as precision.

    Returns:
        For each row and kind of n-gram: those of the prediction, of the reference, and of both.

    Raises:
        DataError: see `reference_lists`.
    """
    return corpus_statistics(CHRF(char_order, word_order, beta), predictions, references)


def chrf_of(sums: NDArray[np.int64], beta: int = 2) -> float:
    """chrF, 0 to 100, from statistics added up, (3 * (char_order + word_order),)."""
    return float(CHRF(len(sums) // 3, 0, beta)._compute_score_from_stats(sums.tolist()).score)


class Chrf(evaluate.Metric):
    """`chrf_of` as an `evaluate` metric: score, char_order, word_order, beta."""

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(__doc__, chrf_statistics.__doc__, (TEXT, TEXT), (TEXT, List(TEXT)))

    def _compute(self, predictions, references, char_order=6, word_order=0, beta=2):
        statistics = chrf_statistics(predictions, references, char_order, word_order, beta)
        score = chrf_of(statistics.sum(axis=0), beta)
        return {"score": score, "char_order": char_order, "word_order": word_order, "beta": beta}
