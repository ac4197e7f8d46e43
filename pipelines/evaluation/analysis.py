"""Where a model errs: confusion, figures per label, calibration, slices, worst rows.

Shape legend: R rows, C labels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

MOST_LABELS = 20  # a confusion matrix of more labels shows the commonest
BINS = 10  # of the calibration table
LENGTH_PARTS = 4  # quartiles
SMALLEST_SLICE = 10  # rows; smaller slices say nothing


def single_label(names: Sequence[str], targets: Sequence[int], predictions: Sequence[Any]) -> dict[str, Any]:
    """Confusion matrix (rows: true labels), figures of each label, and calibration.

    Args:
        names: of the C labels.
        targets: true label of each row.
        predictions: maps with `label` and `probabilities` (C,).
    """
    from sklearn.metrics import confusion_matrix

    said_R = np.array([one["label"] for one in predictions])
    target_R = np.array(targets)
    matrix_CC = confusion_matrix(target_R, said_R, labels=range(len(names)))
    shown = np.sort(np.argsort(-matrix_CC.sum(axis=1), kind="stable")[:MOST_LABELS])
    confidence_R = np.array([max(one["probabilities"]) for one in predictions])
    return {
        "confusion": {"names": [names[one] for one in shown], "counts": matrix_CC[np.ix_(shown, shown)].tolist()},
        "per_label": [
            _figures(name, int(matrix_CC[c, c]), int(matrix_CC[:, c].sum()), int(matrix_CC[c].sum()))
            for c, name in enumerate(names)
        ],
        "calibration": calibration(confidence_R, target_R == said_R),
    }


def multi_label(names: Sequence[str], targets: Sequence[Sequence[float]], predictions: Sequence[Any]) -> dict[str, Any]:
    """Figures of each label; `labels` of a prediction are 0 or 1 for each name."""
    target_RC = np.array(targets).astype(int)
    said_RC = np.array([one["labels"] for one in predictions])
    hits_C = (target_RC & said_RC).sum(axis=0)
    rows = zip(names, hits_C, said_RC.sum(axis=0), target_RC.sum(axis=0), strict=True)
    return {"per_label": [_figures(name, *map(int, counts)) for name, *counts in rows]}


def _figures(name: str, hits: int, said: int, there: int) -> dict[str, Any]:
    """Precision, recall and F1 of a label, None where there is nothing to divide by."""
    return {
        "name": name,
        "precision": hits / said if said else None,
        "recall": hits / there if there else None,
        "f1": 2 * hits / (said + there) if said + there else None,
        "rows": there,
        "predicted": said,
    }


def calibration(confidence_R: np.ndarray, correct_R: np.ndarray) -> list[dict[str, float]]:
    """Mean confidence, share right and rows of each bin of confidence that has rows (Guo et al. 2017, section 2)."""
    bins_R = np.minimum((confidence_R * BINS).astype(int), BINS - 1)
    return [
        {
            "low": one / BINS,
            "high": (one + 1) / BINS,
            "confidence": float(confidence_R[bins_R == one].mean()),
            "accuracy": float(correct_R[bins_R == one].mean()),
            "rows": int((bins_R == one).sum()),
        }
        for one in np.unique(bins_R)
    ]


def slices(
    lengths_R: np.ndarray, kinds: Sequence[dict[str, str]], statistic: Callable[[np.ndarray], float]
) -> list[dict[str, Any]]:
    """The headline figure on parts of the rows: by length of the input, and by the kinds that a task names.

    Args:
        lengths_R: characters of each row's input.
        kinds: kind -> value for each row, such as label -> positive.
        statistic: row indices -> figure.
    """
    found: list[dict[str, Any]] = []
    edges = np.unique(np.quantile(lengths_R, np.linspace(0, 1, LENGTH_PARTS + 1)))
    for low, high in zip(edges, edges[1:], strict=False):
        inside = (lengths_R >= low) & ((lengths_R < high) | (high == edges[-1]) & (lengths_R == high))
        found.append({"kind": "length", "value": f"{int(low):,} to {int(high):,} characters", "where": inside})
    for kind in dict.fromkeys(name for row in kinds for name in row):
        values = [row.get(kind) for row in kinds]
        for value in sorted({one for one in values if one is not None}):
            found.append({"kind": kind, "value": value, "where": np.array([one == value for one in values])})
    rows = []
    for one in found:
        where = np.flatnonzero(one.pop("where"))
        if len(where) >= SMALLEST_SLICE:
            rows.append(one | {"rows": len(where), "score": statistic(where)})
    return rows


def worst(worth_R: np.ndarray, count: int) -> list[int]:
    """The rows that are worth least, worst first; of rows that are worth the same, some that are evenly spread."""
    order_R = np.argsort(worth_R, kind="stable")
    if count >= len(order_R):
        return order_R.tolist()
    last = worth_R[order_R[count - 1]] if count else -np.inf
    below, tied = order_R[worth_R[order_R] < last], np.flatnonzero(worth_R == last)
    return [*below.tolist(), *tied[np.linspace(0, len(tied) - 1, count - len(below), dtype=int)].tolist()]
