"""Precision of classes: of the rows given a class, the share that has it."""

import evaluate

from pipelines.metrics.f1.f1 import precision_recall_f1
from pipelines.metrics.info import NUMBER, metric_info


class Precision(evaluate.Metric):
    """The precision of `precision_recall_f1` as an `evaluate` metric."""

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(__doc__, precision_recall_f1.__doc__, (NUMBER, NUMBER))

    def _compute(self, predictions, references, **settings):
        return {"precision": precision_recall_f1(predictions, references, **settings)[0]}
