"""What evaluations of language models of every kind share: sums over processes, figures per token, likeliest tokens."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

BITS_PER_NAT = 1 / math.log(2)


def sum_over_processes(totals: "torch.Tensor") -> "torch.Tensor":
    """Totals of all processes added up, fp64 on the CPU."""
    import torch
    from accelerate import PartialState

    state = PartialState()
    if state.num_processes == 1:
        return totals
    reduced = totals.to(state.device)
    torch.distributed.all_reduce(reduced)
    return reduced.cpu()


def token_metrics(nats: float, hits: float, tokens: float) -> dict[str, float]:
    """loss (nats per token), bits_per_token, perplexity, accuracy and tokens from sums over predicted tokens."""
    loss = nats / tokens if tokens else math.nan
    return {
        "loss": loss,
        "bits_per_token": loss * BITS_PER_NAT,
        "perplexity": math.exp(min(loss, 700.0)),
        "accuracy": hits / tokens if tokens else math.nan,
        "tokens": int(tokens),
    }


def likeliest(
    logits_V: "torch.Tensor", baseline_V: "np.ndarray | None", decode: Callable[[int], str]
) -> list[dict[str, Any]]:
    """The five likeliest tokens of a position for samples.json, with the probability that model and baseline give."""
    import torch

    probabilities, ids = torch.softmax(logits_V.float(), dim=-1).topk(min(5, len(logits_V)))
    return [
        {
            "token": decode(token),
            "probability": probability,
            "baseline_probability": None if baseline_V is None else float(baseline_V[token]),
        }
        for token, probability in zip(ids.tolist(), probabilities.tolist(), strict=True)
    ]
