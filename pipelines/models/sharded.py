"""Models whose weights are spread over the processes: what every process must do as often as the others."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

PartT = TypeVar("PartT")


def is_sharded(model: Any) -> bool:
    """Whether each process holds but a part of the weights (FSDP2), so that computing is a matter of all of them."""
    from torch.distributed.tensor import DTensor

    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def share_of_process(parts: Sequence[PartT], model: Any) -> Iterator[tuple[PartT, bool]]:
    """Every n-th of some parts, those of this process, and whether their result counts.

    A sharded model gathers its weights for each batch from all processes, so that these must compute equally many: who
    has fewer computes the first part once more, which does not count.
    """
    from accelerate import PartialState

    state = PartialState()
    mine = parts[state.process_index :: state.num_processes]
    for part in mine:
        yield part, True
    if len(mine) < -(-len(parts) // state.num_processes) and is_sharded(model):
        yield parts[0], False
