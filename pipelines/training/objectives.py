"""Losses as (sum, count): what makes accumulation, processes and padding change nothing.

Shape legend: B rows, T positions, V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.data.packing import IGNORE_INDEX

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class CausalLanguageModeling:
    """Next-token prediction: negative log-likelihood in nats of `shift_labels` (B, T), already shifted."""

    def count(self, batch: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """Supervised positions of a batch, int64 scalar."""
        return (batch["shift_labels"] != IGNORE_INDEX).sum()

    def loss_sum(self, model: Any, batch: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """Sum over the supervised positions of -ln p(label), fp32 scalar with gradient."""
        return self.losses(model, batch).sum()

    def losses(self, model: Any, batch: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """-ln p(label) of every position, fp32 (B, T), 0 where there is no label."""
        import torch

        inputs = {name: batch[name] for name in ("input_ids", "position_ids") if name in batch}
        logits_BTV = model(**inputs, use_cache=False).logits
        losses = torch.nn.functional.cross_entropy(
            logits_BTV.flatten(0, 1).float(), batch["shift_labels"].flatten(), ignore_index=IGNORE_INDEX, reduction="none"
        )
        return losses.view_as(batch["shift_labels"])
