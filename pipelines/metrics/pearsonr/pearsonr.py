"""Pearson correlation of two series of numbers."""

import math
import warnings
from collections.abc import Sequence

import evaluate
import numpy as np
from scipy import stats

from pipelines.metrics.info import NUMBER, metric_info
from pipelines.metrics.inputs import number_pairs


def correlation(kind: str, predictions: Sequence[float], references: Sequence[float]) -> tuple[float, float]:
    """A correlation, -1 to 1, and the p-value of none; both nan where one side is constant and there is no such thing.

    Args:
        kind: `pearsonr`, or `spearmanr`, where ties have their mean rank.
        predictions: numbers (R,).
        references: what they should follow (R,).

    Raises:
        DataError: they are not finite numbers, not of the same length, or fewer than two.
    """
    predictions_R, references_R = number_pairs(predictions, references, at_least=2)
    if np.ptp(predictions_R) == 0 or np.ptp(references_R) == 0:
        return math.nan, math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        found = getattr(stats, kind)(references_R, predictions_R)
    return float(found.statistic), float(found.pvalue)


class Pearsonr(evaluate.Metric):
    """The Pearson `correlation` as an `evaluate` metric; with return_pvalue also `p-value`."""

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(__doc__, correlation.__doc__, (NUMBER, NUMBER))

    def _compute(self, predictions, references, return_pvalue=False):
        statistic, p_value = correlation("pearsonr", predictions, references)
        return {"pearsonr": statistic} | ({"p-value": p_value} if return_pvalue else {})
