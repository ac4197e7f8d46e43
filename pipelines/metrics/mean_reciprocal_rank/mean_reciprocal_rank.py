"""Mean reciprocal rank of the right candidate (Voorhees 1999, "The TREC-8 Question Answering Track Report")."""

from collections.abc import Sequence

import evaluate
import numpy as np
from datasets import List
from numpy.typing import NDArray

from pipelines.errors import DataError
from pipelines.metrics.info import NUMBER, metric_info
from pipelines.metrics.inputs import check_rows, whole


def reciprocal_ranks(predictions: Sequence[Sequence[float]], references: Sequence[int]) -> NDArray[np.float64]:
    """1 / rank of the right candidate of every row, (R,).

    Ties count against it: its rank is the number of candidates that score as high or higher, itself among them. A model
    to which all of n candidates are equal gets 1 / n.

    Args:
        predictions: scores of the candidates of each row, the higher the better; rows may differ in their number.
        references: index of the right candidate of each row, from 0.

    Raises:
        DataError: lengths differ, there are no rows, a score is no number, or an index names no candidate.
    """
    check_rows(predictions, references)
    ranks = []
    for row, (values, right) in enumerate(zip(predictions, whole("references", references), strict=True)):
        scores = np.asarray(values, dtype=np.float64)
        if not 0 <= right < len(scores):
            raise DataError(f"references: row {row} names candidate {right}; the row has {len(scores)}, from 0.")
        if np.isnan(scores).any():
            raise DataError(f"predictions: row {row} has a score that is no number.")
        ranks.append(int((scores >= scores[right]).sum()))
    return 1 / np.array(ranks)


class MeanReciprocalRank(evaluate.Metric):
    """The mean of `reciprocal_ranks` as an `evaluate` metric, above 0 and at most 1."""

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(__doc__, reciprocal_ranks.__doc__, (List(NUMBER), NUMBER))

    def _compute(self, predictions, references):
        return {"mean_reciprocal_rank": float(reciprocal_ranks(predictions, references).mean())}
