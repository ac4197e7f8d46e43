"""Share of rows whose class is right."""

from collections.abc import Sequence

import evaluate
from sklearn.metrics import accuracy_score

from pipelines.metrics.info import NUMBER, metric_info
from pipelines.metrics.inputs import class_pairs


def accuracy(
    predictions: Sequence[int],
    references: Sequence[int],
    normalize: bool = True,
    sample_weight: Sequence[float] | None = None,
) -> float:
    """Share of rows whose class is right, 0 to 1.

    Args:
        predictions: classes as whole numbers (R,).
        references: the right ones (R,).
        normalize: False gives their number, or their weight, instead of the share.
        sample_weight: of each row (R,).

    Raises:
        DataError: see `class_pairs`.
    """
    predictions_R, references_R = class_pairs(predictions, references)
    return float(accuracy_score(references_R, predictions_R, normalize=normalize, sample_weight=sample_weight))


class Accuracy(evaluate.Metric):
    """`accuracy` as an `evaluate` metric."""

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(__doc__, accuracy.__doc__, (NUMBER, NUMBER))

    def _compute(self, predictions, references, **settings):
        return {"accuracy": accuracy(predictions, references, **settings)}
