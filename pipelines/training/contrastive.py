"""Contrastive learning of sentence embeddings: unsupervised SimCSE (Gao, Yao and Chen 2021, sections 3 and 4).

Shape legend: B sentences of this process, K candidates (the sentences of all processes), H hidden size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from pipelines.data.sentences import FILLER
from pipelines.errors import ConfigError
from pipelines.models.pooling import Pooling

if TYPE_CHECKING:
    from pipelines.sections import TrainingConfig


@dataclass(frozen=True)
class Contrastive:
    """InfoNCE over two views of each sentence (equation 4), the negatives being all other sentences of the step.

    Attributes:
        bf16: compute the model under bfloat16 autocast; similarities and softmax are always fp32.
        pooling: makes the embeddings.
        temperature: divides the cosine similarities.
    """

    bf16: bool
    pooling: Pooling
    temperature: float
    couples_rows: ClassVar[bool] = True  # by the negatives

    def count(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Sentences of a batch, int64 scalar."""
        return (batch["sentence_id"] != FILLER).sum()

    def loss_sum(self, model: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Sum over the sentences of this process of -ln p(own second view), fp32 scalar with gradient.

        The candidates come from all processes, with their gradients: see `gather`.
        """
        ids_B = batch["sentence_id"]
        with torch.autocast(ids_B.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            embeddings_2BH = self.pooling(model, batch)
        first_BH, second_BH = torch.nn.functional.normalize(embeddings_2BH, dim=-1).chunk(2)
        second_KH, ids_K, place = gather(second_BH, ids_B)
        own_B = place + torch.arange(len(ids_B), device=ids_B.device)
        return info_nce(first_BH @ second_KH.T, ids_K, own_B, self.temperature).sum()


def info_nce(cosines_BK: torch.Tensor, ids_K: torch.Tensor, own_B: torch.Tensor, temperature: float) -> torch.Tensor:
    """-ln of the softmax, over all candidates, that each sentence gives its own (van den Oord et al. 2018, equation 4).

    Candidates that are no sentence (FILLER), or are the same text as the own one without being it, take no part.

    Args:
        cosines_BK: similarities, fp32.
        ids_K: sentence_id of each candidate.
        own_B: which candidate is each sentence's own.
        temperature: divides the similarities.

    Returns:
        A loss for each row that is a sentence, in nats.
    """
    ids_B = ids_K[own_B]
    same_BK = (ids_B[:, None] == ids_K[None]) | (ids_K == FILLER)
    same_BK[torch.arange(len(own_B), device=own_B.device), own_B] = False
    logits_BK = (cosines_BK / temperature).masked_fill(same_BK, float("-inf"))
    real_B = ids_B != FILLER
    return torch.nn.functional.cross_entropy(logits_BK[real_B], own_B[real_B], reduction="none")


def gather(embeddings_BH: torch.Tensor, ids_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Embeddings and ids of all processes, in their order, each process having as many rows.

    The loss of every process depends on everybody's embeddings, and what a process gets back for its own is the sum of
    all their gradients. So the mean over processes that DDP makes of parameter gradients, of losses that were
    multiplied by the number of processes, is the gradient of the summed loss: that of one process with all rows.

    Returns:
        (embeddings (K, H), ids (K,), place of this process's first row among the K).
    """
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return embeddings_BH, ids_B, 0
    ids = [torch.empty_like(ids_B) for _ in range(distributed.get_world_size())]
    distributed.all_gather(ids, ids_B)
    return _Gather.apply(embeddings_BH), torch.cat(ids), distributed.get_rank() * len(ids_B)


class _Gather(torch.autograd.Function):
    """all_gather whose gradient is the sum of what all processes have for the own rows.

    torch.distributed.nn.functional.all_gather does the same and is deprecated without a public successor.
    """

    @staticmethod
    def forward(context: Any, mine_BH: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(mine_BH) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, mine_BH.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> torch.Tensor:
        gradient_KH = gradients[0].clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(gradient_KH)
        return gradient_KH.chunk(torch.distributed.get_world_size())[torch.distributed.get_rank()]


def check_step(training: "TrainingConfig", processes: int) -> None:
    """Raises ConfigError for an optimizer step that has no negatives, or whose rows do not see each other."""
    if training.gradient_accumulation_steps > 1:
        raise ConfigError(
            f"training.gradient_accumulation_steps is {training.gradient_accumulation_steps}, but a sentence is told "
            "from the other sentences of its micro-batch, so accumulation would train for another, easier objective. "
            "For more negatives raise --training.per_device_train_batch_size, with "
            "--training.activation_checkpointing true if memory is short, or use more processes."
        )
    if training.per_device_train_batch_size * processes < 2:
        raise ConfigError(
            "training.per_device_train_batch_size is 1, with one process: a sentence then has no other to be told "
            "from. Set at least 2; hundreds are better."
        )
