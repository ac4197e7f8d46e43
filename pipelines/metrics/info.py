"""What `evaluate` wants to know of a metric before it takes rows."""

from typing import Any

import datasets
import evaluate

NUMBER = datasets.Value("float64")
TEXT = datasets.Value("string")


def metric_info(description: str | None, usage: str | None, *kinds: tuple[Any, Any]) -> evaluate.MetricInfo:
    """The description of a metric.

    Args:
        description: docstring of its module.
        usage: docstring of the function that it computes.
        kinds: types that predictions and references may have, the first that fits is taken. A text must stand before
            a list of texts: `datasets` takes a text for a list of its characters.
    """
    features = [datasets.Features({"predictions": one, "references": other}) for one, other in kinds]
    return evaluate.MetricInfo(
        description=description,
        citation="",
        inputs_description=usage,
        features=features if len(features) > 1 else features[0],
    )
