"""Expected calibration error: how far confidence is from the share that is right.

Guo, Pleiss, Sun and Weinberger (2017), "On Calibration of Modern Neural Networks", section 2.
"""

from collections.abc import Sequence

import evaluate
import numpy as np

from pipelines.errors import ConfigError, DataError
from pipelines.metrics.info import NUMBER, metric_info
from pipelines.metrics.inputs import number_pairs


def expected_calibration_error(predictions: Sequence[float], references: Sequence[int], n_bins: int = 15) -> float:
    """|share right - mean confidence| of each bin, averaged by the bins' shares of the rows, 0 to 1.

    Args:
        predictions: confidence in each row's answer, 0 to 1 (R,).
        references: 1 where the answer is right, 0 where it is not (R,).
        n_bins: bins of equal width; bin m of M holds confidences above (m - 1) / M and up to m / M, the first also 0.

    Raises:
        DataError: lengths differ, there are no rows, or a value is out of its range.
        ConfigError: there is no bin.
    """
    if n_bins < 1:
        raise ConfigError(f"n_bins is {n_bins}; at least one is needed.")
    confidence_R, right_R = number_pairs(predictions, references)
    if confidence_R.min() < 0 or confidence_R.max() > 1:
        raise DataError(
            f"predictions must be confidences of 0 to 1; found {confidence_R.min()} to {confidence_R.max()}."
        )
    if not np.isin(right_R, (0, 1)).all():
        raise DataError("references must be 1 where the answer is right and 0 where it is not.")
    bin_R = np.searchsorted(np.arange(1, n_bins) / n_bins, confidence_R, side="left")
    return float(np.abs(np.bincount(bin_R, right_R - confidence_R)).sum() / len(bin_R))


class ExpectedCalibrationError(evaluate.Metric):
    """`expected_calibration_error` as an `evaluate` metric."""

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(__doc__, expected_calibration_error.__doc__, (NUMBER, NUMBER))

    def _compute(self, predictions, references, **settings):
        return {"expected_calibration_error": expected_calibration_error(predictions, references, **settings)}
