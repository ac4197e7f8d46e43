"""Models without weights, on torch's meta device: for a check that forecasts a run on hardware that is not here."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from pipelines.checking import checking

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def forecasting() -> bool:
    """Whether a check asks for a forecast (`preflight.device`), which needs the shapes of a model alone."""
    check = checking()
    return check is not None and check.settings.device is not None


def storage_of_new_models() -> AbstractContextManager[Any]:
    """Inside, models from scratch take memory as usual; in a forecast none, and nothing can be computed with them."""
    import torch

    return torch.device("meta") if forecasting() else nullcontext()


def is_skeleton(model: "PreTrainedModel", topic: str, unknown: str) -> bool:
    """Whether a model has no weights; then the check is told what cannot be found out with it.

    Args:
        model: as built.
        topic: of the finding, as in docs/preflight.md.
        unknown: what is not known without weights, such as `Proofs were not made`.
    """
    first = next(model.parameters(), None)
    if first is None or first.device.type != "meta":
        return False
    if (check := checking()) is not None:
        told = f"{unknown}: for the forecast of preflight.device a model from scratch is built without weights."
        check.note("warning", topic, f"{told} To have it, check once more without --preflight.device.")
    return True
