"""Matthews correlation of classes (Matthews 1975; for more classes than two, Gorodkin 2004)."""

import warnings
from collections.abc import Sequence

import evaluate
from sklearn.metrics import matthews_corrcoef

from pipelines.metrics.info import NUMBER, metric_info
from pipelines.metrics.inputs import class_pairs


def matthews_correlation(
    predictions: Sequence[int], references: Sequence[int], sample_weight: Sequence[float] | None = None
) -> float:
    """Correlation of predicted and right classes, -1 to 1; 0 where either is the same class in all rows.

    Args:
        predictions: classes as whole numbers (R,).
        references: the right ones (R,).
        sample_weight: of each row (R,).

    Raises:
        DataError: see `class_pairs`.
    """
    predictions_R, references_R = class_pairs(predictions, references)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A single label was found", UserWarning)
        return float(matthews_corrcoef(references_R, predictions_R, sample_weight=sample_weight))


class MatthewsCorrelation(evaluate.Metric):
    """`matthews_correlation` as an `evaluate` metric."""

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(__doc__, matthews_correlation.__doc__, (NUMBER, NUMBER))

    def _compute(self, predictions, references, **settings):
        return {"matthews_correlation": matthews_correlation(predictions, references, **settings)}
