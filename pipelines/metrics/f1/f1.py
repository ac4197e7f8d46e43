"""F1 of classes: the harmonic mean of precision and recall."""

from collections.abc import Sequence

import evaluate
import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from pipelines.errors import DataError
from pipelines.metrics.info import NUMBER, metric_info
from pipelines.metrics.inputs import class_pairs
from pipelines.metrics.text import check_option


def precision_recall_f1(
    predictions: Sequence[int],
    references: Sequence[int],
    labels: Sequence[int] | None = None,
    pos_label: int = 1,
    average: str | None = "binary",
    sample_weight: Sequence[float] | None = None,
) -> list[float | list[float]]:
    """Precision, recall and F1, 0 to 1; 0 where the denominator is.

    Args:
        predictions: classes as whole numbers (R,).
        references: the right ones (R,).
        labels: classes that count, in this order; by default all that stand in either, sorted.
        pos_label: the class that `average="binary"` is about; no other average reads it.
        average: `binary`; `micro`, over all rows and classes at once; `macro`, mean over classes; `weighted`, mean by
            their share of the references; None, a list with one figure for each class.
        sample_weight: of each row (R,).

    Raises:
        DataError: see `class_pairs`; or there are more classes than two for `binary`.
        ConfigError: no such average.
    """
    check_option("average", average, ("binary", "micro", "macro", "weighted", None))
    predictions_R, references_R = class_pairs(predictions, references)
    try:
        scores = precision_recall_fscore_support(
            references_R,
            predictions_R,
            labels=labels,
            pos_label=pos_label if average == "binary" else 1,
            average=average,
            sample_weight=sample_weight,
            zero_division=0.0,
        )
    except ValueError as error:
        raise DataError(str(error)) from None
    return [np.asarray(score, dtype=np.float64).tolist() for score in scores[:3]]


class F1(evaluate.Metric):
    """The F1 of `precision_recall_f1` as an `evaluate` metric."""

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(__doc__, precision_recall_f1.__doc__, (NUMBER, NUMBER))

    def _compute(self, predictions, references, **settings):
        return {"f1": precision_recall_f1(predictions, references, **settings)[2]}
