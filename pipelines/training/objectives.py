"""Losses as (sum, count): what makes accumulation, processes and padding change nothing.

Shape legend: B rows, T positions, V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.data.packing import IGNORE_INDEX

if TYPE_CHECKING:
    import torch

    from pipelines.models.encoder_inputs import EncoderInputs
    from pipelines.models.sparse_head import SparseHead

ROWS_AT_ONCE = 512  # positions whose fp32 logits exist at one time: 1.2 times the speed of all at once (CPU, measured)


@dataclass(frozen=True)
class CausalLanguageModeling:
    """Next-token prediction: negative log-likelihood in nats of `shift_labels` (B, T), already shifted.

    Attributes:
        bf16: compute the model under bfloat16 autocast; softmax and sums are always fp32.
    """

    bf16: bool

    def count(self, batch: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """Supervised positions of a batch, int64 scalar."""
        return (batch["shift_labels"] != IGNORE_INDEX).sum()

    def loss_sum(self, model: Any, batch: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """Sum over the supervised positions of -ln p(label), fp32 scalar with gradient."""
        return self.losses(model, batch).sum()

    def losses(self, model: Any, batch: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """-ln p(label) of every position, fp32 (B, T), 0 where there is no label."""
        import torch

        labels_BT = batch["shift_labels"]
        inputs = {name: batch[name] for name in ("input_ids", "position_ids") if name in batch}
        with torch.autocast(labels_BT.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            logits_BTV = model(**inputs, use_cache=False).logits
        return cross_entropy(logits_BTV.flatten(0, 1), labels_BT.flatten()).view_as(labels_BT)


@dataclass(frozen=True)
class MaskedLanguageModeling:
    """Masked-token prediction: negative log-likelihood in nats of `labels` (B, T) at the masked positions.

    Attributes:
        bf16: compute the model under bfloat16 autocast; softmax and sums are always fp32.
        inputs: makes a batch what the encoder takes, documents isolated.
        head: computes the model's head at the masked positions alone; None: at all.
    """

    bf16: bool
    inputs: "EncoderInputs"
    head: "SparseHead | None"

    @classmethod
    def of(cls, model: Any, isolate_documents: bool) -> "MaskedLanguageModeling":
        """The objective of an encoder in fp32, which is measured for that: see `check_encoder`."""
        from pipelines.models.attention_check import check_encoder

        return cls(False, *check_encoder(model, isolate_documents))

    def count(self, batch: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """Masked positions of a batch, int64 scalar."""
        return (batch["labels"] != IGNORE_INDEX).sum()

    def loss_sum(self, model: Any, batch: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """Sum over the masked positions of -ln p(label), fp32 scalar with gradient."""
        logits_MV, labels_M = self.logits(model, batch)
        return cross_entropy(logits_MV, labels_M).sum()

    def logits(self, model: Any, batch: Mapping[str, "torch.Tensor"]) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Logits (M, V) of the M masked positions of a batch, row by row, and their labels (M,)."""
        import torch

        labels_BT = batch["labels"]
        masked_BT = labels_BT != IGNORE_INDEX
        with torch.autocast(labels_BT.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            if self.head is None:
                logits_MV = model(**self.inputs(batch)).logits[masked_BT]
            else:
                with self.head.at(masked_BT):
                    logits_MV = model(**self.inputs(batch)).logits[0]
        return logits_MV, labels_BT[masked_BT]


@dataclass(frozen=True)
class SequenceToSequence:
    """Writing of a target text: negative log-likelihood in nats of `labels` (B, T), decoder_input_ids already shifted.

    Attributes:
        bf16: compute the model under bfloat16 autocast; softmax and sums are always fp32.
    """

    bf16: bool

    def count(self, batch: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """Labels of a batch, int64 scalar."""
        return (batch["labels"] != IGNORE_INDEX).sum()

    def loss_sum(self, model: Any, batch: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """Sum over the labels of -ln p(label), fp32 scalar with gradient."""
        return self.loss_of(self.logits(model, batch), batch)

    def logits(self, model: Any, batch: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """Logits (B, T, V) of every decoder position."""
        import torch

        with torch.autocast(batch["labels"].device.type, dtype=torch.bfloat16, enabled=self.bf16):
            return model(**self.inputs(batch), use_cache=False).logits

    def inputs(self, batch: Mapping[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
        """What of a batch the model is given."""
        return {name: batch[name] for name in ("input_ids", "attention_mask", "decoder_input_ids")}

    def loss_of(self, logits: "torch.Tensor", batch: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """`loss_sum` from logits."""
        return cross_entropy(logits.flatten(0, 1), batch["labels"].flatten()).sum()


def cross_entropy(logits_NV: "torch.Tensor", labels_N: "torch.Tensor") -> "torch.Tensor":
    """-ln p(label) of every position, fp32 (N,), 0 where the label is IGNORE_INDEX; in slices, see ROWS_AT_ONCE."""
    import torch

    losses = [
        torch.nn.functional.cross_entropy(logits.float(), labels, ignore_index=IGNORE_INDEX, reduction="none")
        for logits, labels in zip(logits_NV.split(ROWS_AT_ONCE), labels_N.split(ROWS_AT_ONCE), strict=True)
    ]
    return torch.cat(losses)
