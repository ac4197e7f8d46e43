"""Losses of the heads as (sum, count), so that accumulation, processes and padding change nothing.

Shape legend: B examples, T positions, C classes or choices, L labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.data.packing import IGNORE_INDEX
from pipelines.training.objectives import cross_entropy

if TYPE_CHECKING:
    import torch

    from pipelines.models.sparse_head import SparseHead

Batch = Mapping[str, "torch.Tensor"]
CERTAIN = 1e3  # added to a logit, it is beyond all others
NOT_MODEL_INPUTS = ("labels", "start_positions", "end_positions", "choice_counts")


@dataclass(frozen=True)
class HeadLoss:
    """What all heads share.

    Attributes:
        bf16: compute the model under bfloat16 autocast; losses are always fp32.
    """

    bf16: bool

    def certain(self, logits: Any, batch: Batch) -> Any:
        """The logits of a model that is certain of each label, and elsewhere says what it said: an oracle's."""
        raise NotImplementedError

    def logits(self, model: Any, batch: Batch) -> Any:
        """The model's logits, fp32."""
        import torch

        with torch.autocast(batch["input_ids"].device.type, dtype=torch.bfloat16, enabled=self.bf16):
            output = model(**self.inputs(batch))
        return self.of_output(output)

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """What of a batch the model is given. Labels are kept from it: it would compute a loss of its own."""
        return {name: value for name, value in batch.items() if name not in NOT_MODEL_INPUTS}

    def of_output(self, output: Any) -> Any:
        """The logits in a model's output."""
        return output.logits.float()

    def count(self, batch: Batch) -> "torch.Tensor":
        """Supervised items of a batch."""
        raise NotImplementedError

    def loss_sum(self, model: Any, batch: Batch) -> "torch.Tensor":
        """Summed loss of a batch, fp32 scalar with gradient."""
        return self.loss_of(self.logits(model, batch), batch)

    def loss_of(self, logits: Any, batch: Batch) -> "torch.Tensor":
        """The same from logits."""
        raise NotImplementedError


class ClassLoss(HeadLoss):
    """-ln p(label), in nats: one label for each example (B,), or for each position (B, T)."""

    def count(self, batch: Batch) -> "torch.Tensor":
        """Labels of a batch."""
        return (batch["labels"] != IGNORE_INDEX).sum()

    def certain(self, logits: Any, batch: Batch) -> Any:
        labels = batch["labels"]
        place = labels.clamp(min=0)[..., None]
        return logits.scatter_add(-1, place, CERTAIN * (labels != IGNORE_INDEX)[..., None].float())

    def loss_of(self, logits: Any, batch: Batch) -> "torch.Tensor":
        import torch

        labels = batch["labels"].flatten()
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, -2), labels, ignore_index=IGNORE_INDEX, reduction="sum"
        )


class ChoiceLoss(ClassLoss):
    """-ln p(right choice), in nats, over the choices that an example has (B, C)."""

    def logits(self, model: Any, batch: Batch) -> Any:
        import torch

        logits_BC = super().logits(model, batch)
        place_C = torch.arange(logits_BC.shape[1], device=logits_BC.device)
        return logits_BC.masked_fill(place_C >= batch["choice_counts"][:, None], torch.finfo(torch.float32).min)


class MultiLabelLoss(HeadLoss):
    """Binary cross-entropy in nats, labels (B, L) of 0 and 1; counted by label, as transformers takes the mean."""

    def count(self, batch: Batch) -> "torch.Tensor":
        """Labels times examples of a batch; a filler's are NaN."""
        return (~batch["labels"].isnan()).sum()

    def certain(self, logits: Any, batch: Batch) -> Any:
        return CERTAIN * (2 * batch["labels"].view_as(logits) - 1)

    def loss_of(self, logits: Any, batch: Batch) -> "torch.Tensor":
        import torch

        labels_BL = batch["labels"].view_as(logits)  # of a single label, they come as (B,)
        known = ~labels_BL.isnan()
        return torch.nn.functional.binary_cross_entropy_with_logits(logits[known], labels_BL[known], reduction="sum")


class RegressionLoss(HeadLoss):
    """Squared error of the one logit, labels (B,)."""

    def count(self, batch: Batch) -> "torch.Tensor":
        """Examples of a batch; a filler's label is NaN."""
        return (~batch["labels"].isnan()).sum()

    def certain(self, logits: Any, batch: Batch) -> Any:
        return batch["labels"][:, None]

    def loss_of(self, logits: Any, batch: Batch) -> "torch.Tensor":
        known = ~batch["labels"].isnan()
        return ((logits[..., 0] - batch["labels"])[known] ** 2).sum()


class SpanLoss(HeadLoss):
    """Mean of -ln p(first token) and -ln p(last token) of the answer, positions (B,)."""

    def of_output(self, output: Any) -> Any:
        """Start and end logits as one tensor (B, 2, T)."""
        import torch

        return torch.stack((output.start_logits.float(), output.end_logits.float()), dim=1)

    def count(self, batch: Batch) -> "torch.Tensor":
        """Examples of a batch."""
        return (batch["start_positions"] != IGNORE_INDEX).sum()

    def certain(self, logits: Any, batch: Batch) -> Any:
        import torch

        place_B2 = torch.stack((batch["start_positions"], batch["end_positions"]), dim=1)
        return logits + CERTAIN * torch.nn.functional.one_hot(place_B2, logits.shape[-1])

    def loss_of(self, logits: Any, batch: Batch) -> "torch.Tensor":
        import torch

        # Padding can be no answer; without this it takes part in the softmax, and the loss depends on the batch.
        seen = logits.masked_fill(batch["attention_mask"][:, None] == 0, torch.finfo(torch.float32).min)
        sides = (("start_positions", seen[:, 0]), ("end_positions", seen[:, 1]))
        losses = [
            torch.nn.functional.cross_entropy(side, batch[name], ignore_index=IGNORE_INDEX, reduction="sum")
            for name, side in sides
        ]
        return (losses[0] + losses[1]) / 2


@dataclass(frozen=True)
class TargetLoss:
    """-ln p(next token) in nats of a decoder at its supervised positions; `labels` (B, T) are already shifted.

    Attributes:
        bf16: compute the model under bfloat16 autocast; softmax and sums are always fp32.
        head: computes the vocabulary at the supervised positions alone, which are few beside those of a prompt.
    """

    bf16: bool
    head: "SparseHead"

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """What of a batch the model is given. Padding comes after all labels, where a decoder does not look."""
        return {"input_ids": batch["input_ids"]}

    def count(self, batch: Batch) -> "torch.Tensor":
        """Supervised positions of a batch."""
        return (batch["labels"] != IGNORE_INDEX).sum()

    def logits(self, model: Any, batch: Batch) -> "torch.Tensor":
        """Logits (M, V) of the M supervised positions, row by row."""
        import torch

        chosen_BT = batch["labels"] != IGNORE_INDEX
        with torch.autocast(chosen_BT.device.type, dtype=torch.bfloat16, enabled=self.bf16), self.head.at(chosen_BT):
            return model(**self.inputs(batch), use_cache=False).logits[0]

    def loss_sum(self, model: Any, batch: Batch) -> "torch.Tensor":
        """Summed loss of a batch, fp32 scalar with gradient."""
        return self.loss_of(self.logits(model, batch), batch)

    def loss_of(self, logits: "torch.Tensor", batch: Batch) -> "torch.Tensor":
        """The same from logits."""
        return cross_entropy(logits, batch["labels"][batch["labels"] != IGNORE_INDEX]).sum()
