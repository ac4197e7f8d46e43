"""Spearman correlation: the Pearson correlation of the ranks of two series of numbers."""

import evaluate

from pipelines.metrics.info import NUMBER, metric_info
from pipelines.metrics.pearsonr.pearsonr import correlation


class Spearmanr(evaluate.Metric):
    """The Spearman `correlation` as an `evaluate` metric; with return_pvalue also `spearmanr_pvalue`."""

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(__doc__, correlation.__doc__, (NUMBER, NUMBER))

    def _compute(self, predictions, references, return_pvalue=False):
        statistic, p_value = correlation("spearmanr", predictions, references)
        return {"spearmanr": statistic} | ({"spearmanr_pvalue": p_value} if return_pvalue else {})
