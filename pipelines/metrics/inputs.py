"""What metrics ask of their rows. `evaluate` would make 0 of a probability of 0.7 where a class is wanted."""

from collections.abc import Sized
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import DataError

IGNORE_INDEX = -100  # the label, in transformers and torch.nn.functional.cross_entropy, of what is not to be scored


def check_rows(predictions: Sized, references: Sized, at_least: int = 1) -> None:
    """As many references as predictions, and at least so many.

    Raises:
        DataError: they are not.
    """
    if len(predictions) != len(references):
        raise DataError(
            f"There are {len(predictions):,} predictions and {len(references):,} references. Give one reference for "
            "each prediction, in the same order."
        )
    if len(predictions) < at_least:
        raise DataError(f"This metric needs at least {at_least} row{'s' * (at_least > 1)}; found {len(predictions)}.")


def number_pairs(predictions: Any, references: Any, at_least: int = 1) -> tuple[NDArray, NDArray]:
    """Predictions and references, fp64 (R,) each.

    Raises:
        DataError: they are not one finite number per row, or not of the same length, or there are too few.
    """
    check_rows(predictions, references, at_least)
    return _numbers("predictions", predictions), _numbers("references", references)


def class_pairs(predictions: Any, references: Any) -> tuple[NDArray, NDArray]:
    """Classes predicted and right, int64 (R,) each.

    Raises:
        DataError: they are not one whole number per row, or not of the same length, or there are none.
    """
    predictions_R, references_R = number_pairs(predictions, references)
    return whole("predictions", predictions_R), whole("references", references_R)


def whole(name: str, values: Any) -> NDArray:
    """Values as int64 (R,).

    Raises:
        DataError: one is no whole number, or IGNORE_INDEX.
    """
    values_R = _numbers(name, values)
    odd = np.flatnonzero(values_R != np.floor(values_R))
    if len(odd):
        raise DataError(
            f"{name} must be whole numbers; row {odd[0]} is {values_R[odd[0]]}. Give the number of the class, such as "
            "the argmax of its scores."
        )
    ignored = np.flatnonzero(values_R == IGNORE_INDEX)
    if len(ignored):
        raise DataError(
            f"{name} hold {IGNORE_INDEX} in row {ignored[0]}, which marks a position without a label, not a class. "
            "Leave such positions out of both sides."
        )
    return values_R.astype(np.int64)


def _numbers(name: str, values: Any) -> NDArray:
    try:
        values_R = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{name} must be one number per row; the first row is {values[0]!r}.") from None
    if values_R.ndim != 1:
        raise DataError(f"{name} must be one number per row; found an array of shape {values_R.shape}.")
    odd = np.flatnonzero(~np.isfinite(values_R))
    if len(odd):
        raise DataError(f"{name} must be finite; row {odd[0]} is {values_R[odd[0]]}.")
    return values_R
