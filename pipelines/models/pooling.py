"""One vector for a whole sentence, from the last hidden states of an encoder.

Shape legend: B rows, T positions, H hidden size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pipelines.errors import ConfigError
from pipelines.models.skeleton import is_skeleton

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

PROBE_TOLERANCE = 1e-4  # freshly drawn models: padding that is seen moves a hidden state by 1e-2 and more, else by 1e-6


@dataclass(frozen=True)
class Pooling:
    """Sentence embeddings.

    Attributes:
        mode: cls: the state of the first position. mean: the mean of all states but those of padding.
    """

    mode: Literal["cls", "mean"]

    def __call__(self, model: Any, batch: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        """Embeddings (B, H), fp32, of a batch with input_ids and attention_mask (B, T)."""
        mask_BT = batch["attention_mask"]
        hidden_BTH = model(input_ids=batch["input_ids"], attention_mask=mask_BT).last_hidden_state.float()
        if self.mode == "cls":
            return hidden_BTH[:, 0]
        return (hidden_BTH * mask_BT[..., None]).sum(dim=1) / mask_BT.sum(dim=1, keepdim=True)


def check_sentence_encoder(model: "PreTrainedModel", pooling: Pooling, pad_token_id: int) -> None:
    """Measures, in this very model, what contrastive training with dropout rests on.

    An embedding is the same with and without padding; the first position sees the last; dropout makes two embeddings of
    one sentence differ. Parameters that no embedding depends on, such as BERT's pooler, are frozen. torch's random
    numbers are left as they were.

    Raises:
        ConfigError: one of these does not hold, or the model cannot compute.
    """
    import torch

    if is_skeleton(model, "attention", "Whether padding changes an embedding and dropout does was not measured"):
        return
    config, was_training = model.config, model.training
    length = min(8, getattr(config, "max_position_embeddings", None) or 8)
    half = length // 2
    ordinary = torch.tensor([token for token in range(min(config.vocab_size, 64)) if token != pad_token_id])
    ids_3T = ordinary[torch.arange(length) % len(ordinary)].repeat(3, 1)
    ids_3T[1, -1] = ids_3T[0, 0]  # a sentence, the same with another end, and its beginning padded
    ids_3T[2, half:] = pad_token_id
    mask_3T = torch.ones_like(ids_3T)
    mask_3T[2, half:] = 0

    def embed(how: Pooling, rows: slice, end: int = length) -> torch.Tensor:
        return how(model, {"input_ids": ids_3T[rows, :end], "attention_mask": mask_3T[rows, :end]})

    try:
        with torch.random.fork_rng(devices=[]):
            model.eval()
            with torch.no_grad():
                first_3H, padded_3H = embed(Pooling("cls"), slice(3)), embed(pooling, slice(3))
                alone_H = embed(pooling, slice(2, 3), half)[0]
            model.train()
            views = [embed(pooling, slice(1)) for _ in range(2)]
    except (RuntimeError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"The {config.model_type} model cannot compute sentence embeddings: {error}") from None
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(views[0].sum(), parameters, allow_unused=True)
    model.train(was_training)
    name = f"a {config.model_type} model with {config._attn_implementation} attention"
    if torch.equal(first_3H[0], first_3H[1]):
        raise ConfigError(
            f"In {name}, the first position does not see the last one: it is a decoder. Take an encoder such as "
            "modernbert or bert (and leave is_decoder out)."
        )
    leak = float((padded_3H[2] - alone_H).abs().max())
    if not leak <= PROBE_TOLERANCE:
        raise ConfigError(
            f"In {name}, padding changes the embedding of a sentence by {leak:.3g}. Try --model.attn_implementation "
            "sdpa or eager, or another encoder from docs/models.md."
        )
    if torch.equal(*views):
        raise ConfigError(
            "The two views of a sentence are equal, since this model has no dropout: each would find the other without "
            "having learned anything. Set --contrastive.dropout 0.1."
        )
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)
