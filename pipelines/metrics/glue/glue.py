"""The figures of the GLUE tasks (Wang et al. 2019, "GLUE: A Multi-Task Benchmark and Analysis Platform", section 3).

The configs and the names of the figures are those of the Hub's module `glue`. Where one side of a correlation is
constant, it is 0 here as in CoLA's, and nan there.
"""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np
from numpy.typing import NDArray

from pipelines.metrics.accuracy.accuracy import accuracy
from pipelines.metrics.f1.f1 import precision_recall_f1
from pipelines.metrics.info import NUMBER, metric_info
from pipelines.metrics.inputs import class_pairs
from pipelines.metrics.matthews_correlation.matthews_correlation import matthews_correlation
from pipelines.metrics.pearsonr.pearsonr import correlation
from pipelines.metrics.text import check_option

FIGURES = {
    "sst2": ("accuracy",),
    "mnli": ("accuracy",),
    "mnli_mismatched": ("accuracy",),
    "mnli_matched": ("accuracy",),
    "cola": ("matthews_correlation",),
    "stsb": ("pearson", "spearmanr"),
    "mrpc": ("accuracy", "f1"),
    "qqp": ("accuracy", "f1"),
    "qnli": ("accuracy",),
    "rte": ("accuracy",),
    "wnli": ("accuracy",),
    "hans": ("accuracy",),
}

MOST_CLASSES = 256  # the table of predicted against right class has its square of cells


def glue_figures(config_name: str, predictions: Any, references: Any) -> dict[str, float]:
    """The figures of a task by the names in FIGURES: accuracy and f1 0 to 1, correlations -1 to 1.

    f1 is that of class 1. A correlation is 0 where either side is the same in all rows.

    Args:
        config_name: a key of FIGURES.
        predictions: classes as whole numbers (R,); scores for stsb.
        references: the right ones (R,).

    Raises:
        DataError: see `class_pairs`; for stsb `correlation`; or there are more classes than two for f1.
        ConfigError: no such config.
    """
    check_option("config_name", config_name, tuple(FIGURES))
    if config_name != "stsb":
        return class_figures(FIGURES[config_name], predictions, references)
    found = [correlation(kind, predictions, references)[0] for kind in ("pearsonr", "spearmanr")]
    return {name: 0.0 if np.isnan(value) else value for name, value in zip(FIGURES["stsb"], found, strict=True)}


def class_figures(names: Sequence[str], predictions: Any, references: Any, average: str = "binary") -> dict[str, float]:
    """Figures of classes by name: any of accuracy, f1 and matthews_correlation.

    They are computed from the table of predicted against right class, each cell a row weighted by its count: the same
    value, and for 40,000 rows in a fraction of the time.

    Args:
        names: of the figures wanted.
        predictions: classes as whole numbers (R,).
        references: the right ones (R,).
        average: of f1, see `precision_recall_f1`.

    Raises:
        DataError: see `class_pairs`; or there are more classes than two for a binary f1.
    """
    predicted_C, right_C, count_C = _cells(*class_pairs(predictions, references))
    figures: dict[str, float] = {}
    for name in names:
        if name == "accuracy":
            figures[name] = accuracy(predicted_C, right_C, sample_weight=count_C)
        elif name == "f1":
            figures[name] = f1_of(predicted_C, right_C, average, count_C)
        else:
            figures[name] = matthews_correlation(predicted_C, right_C, sample_weight=count_C)
    return figures


def f1_of(predictions: Any, references: Any, average: str, sample_weight: Any) -> float:
    """The F1 of `precision_recall_f1` as one number, which any average but None gives.

    Raises:
        DataError: see `precision_recall_f1`.
        ConfigError: no such average.
    """
    found = precision_recall_f1(predictions, references, average=average, sample_weight=sample_weight)[2]
    assert isinstance(found, float)
    return found


def _cells(predictions_R: NDArray, references_R: NDArray) -> tuple[Any, Any, Any]:
    """Predicted class, right class and count of each pair that occurs; the rows without counts if classes lie apart."""
    low = int(min(predictions_R.min(), references_R.min()))
    classes = int(max(predictions_R.max(), references_R.max())) - low + 1
    if classes > MOST_CLASSES:
        return predictions_R, references_R, None
    counts = np.bincount((predictions_R - low) * classes + references_R - low)
    cell_C = np.flatnonzero(counts)
    return cell_C // classes + low, cell_C % classes + low, counts[cell_C]


class Glue(evaluate.Metric):
    """`glue_figures` as an `evaluate` metric, whose config_name is the task."""

    CONFIGS = tuple(FIGURES)

    def _info(self) -> evaluate.MetricInfo:
        check_option("config_name", self.config_name, self.CONFIGS)
        return metric_info(__doc__, glue_figures.__doc__, (NUMBER, NUMBER))

    def _compute(self, predictions, references):
        return glue_figures(self.config_name, predictions, references)
