"""Training with weights, gradients and optimizer spread over the processes: FSDP2, as the launcher's config asks for.

The launcher's config and accelerate say how; `torch.distributed.fsdp.fully_shard` does it, on CPUs too. Checkpoints are
written and read in pieces by `torch.distributed.checkpoint`, in safetensors files.
"""

import copy
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

PIECES = "sharded"  # folder of a checkpoint with weights and optimizer, in as many files as there were processes


def is_asked_for() -> bool:
    """Whether the launcher's config says `distributed_type: FSDP`."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def check_launcher(has_gpu: bool) -> None:
    """Sets what a launcher must not choose, and refuses what would not be exact.

    Raises:
        ConfigError: the launcher's config asks for DeepSpeed, for FSDP 1, for tensor or context parallelism, or on CPUs
            for hybrid sharding.
    """
    has_parallelism = os.environ.get("ACCELERATE_USE_PARALLELISM_CONFIG", "false").lower() == "true"
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        raise ConfigError(
            "The launcher's config asks for DeepSpeed, which these recipes do not run under. FSDP2 shards the same: "
            "--config_file recipes/configs/accelerate/fsdp2.yaml"
        )
    for kind, name in (("tensor", "TP"), ("context", "CP"), ("sequence", "SP")):
        size = os.environ.get(f"PARALLELISM_CONFIG_{name}_SIZE", "1")
        if has_parallelism and int(size) > 1:
            raise ConfigError(
                f"The launcher's config asks for {kind} parallelism over {size} processes "
                f"(parallelism_config_{name.lower()}_size), with which the exactness of these recipes was never shown. "
                "Set it to 1."
            )
    if has_parallelism and not has_gpu:
        raise ConfigError(
            "The launcher's config has a parallelism_config, which accelerate takes for GPUs alone. Shard "
            "over all processes: --config_file recipes/configs/accelerate/fsdp2.yaml"
        )
    if is_asked_for():
        if os.environ.get("FSDP_VERSION", "1") != "2":
            raise ConfigError("The launcher's config asks for FSDP 1. Set fsdp_version: 2 in its fsdp_config.")
        # With it, all but the first process would hold no weights while proofs and first scores are computed.
        os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"


def shard_on_cpu(accelerator: "Accelerator") -> bool:
    """Lets CPU processes shard too: accelerate 1.15 does that on accelerators alone, and else trains plain copies.

    Returns:
        Whether the model will be sharded.
    """
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    if not is_asked_for() or accelerator.num_processes == 1:
        return False
    if accelerator.distributed_type == DistributedType.MULTI_CPU:
        AcceleratorState._shared_state.update(
            distributed_type=DistributedType.FSDP, fsdp_plugin=FullyShardedDataParallelPlugin()
        )
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP
    return accelerator.distributed_type == DistributedType.FSDP


def shard(model: Any, accelerator: "Accelerator") -> None:
    """Cuts the weights of a model, in place, into one piece for each process.

    Gathered one at a time are its layers (what transformers keeps whole, else the items of its lists), the table of
    embeddings and the head; all at once what is left. Not by accelerate, which puts weights that two modules share,
    as tables and biases of encoders' heads, into two groups, where they cannot be.
    """
    from torch.distributed.fsdp import fully_shard

    plugin, mesh = accelerator.state.fsdp_plugin, getattr(accelerator, "torch_device_mesh", None)
    how: dict[str, Any] = {
        "reshard_after_forward": plugin.reshard_after_forward,
        "offload_policy": plugin.cpu_offload,
        "mesh": None if mesh is None else mesh[tuple(accelerator.parallelism_config.fsdp_dim_names)],
    }
    for group in _groups(model):
        fully_shard(group, **how)
    fully_shard(model, **how)
    plugin.auto_wrap_policy = None  # nothing is left for accelerate to wrap


def _groups(model: Any) -> list[Any]:
    """Modules that share no weight with the rest of the model, none inside another."""
    owners: dict[int, set[int]] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), set()).add(id(module))

    def stands_alone(module: Any) -> bool:
        own = {id(one) for one in module.modules()}
        weights = [id(parameter) for parameter in module.parameters()]
        return bool(weights) and all(owners[weight] <= own for weight in weights)

    whole = set(getattr(model, "_no_split_modules", None) or ())
    lists = [module for module in model.modules() if type(module).__name__ == "ModuleList"]
    wanted = [module for module in model.modules() if type(module).__name__ in whole]
    wanted += [module for each in lists for module in each]
    if model.can_generate():  # encoders' heads may read the table of embeddings past its module
        wanted += [one for one in (model.get_input_embeddings(), model.get_output_embeddings()) if one is not None]
    taken: set[int] = set()
    groups = []
    for module in wanted:
        inside = {id(one) for one in module.modules()}
        if stands_alone(module) and not inside & taken:
            groups.append(module)
            taken |= inside
    return groups


# ---------------------------------------------------------------- a model in one piece


def skeleton_of(model: Any) -> Any:
    """A copy of a model without weights (on the meta device), into which `assembled` puts those of the trained one."""
    import torch

    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = torch.nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
    return copy.deepcopy(model, memo)


def assembled(model: Any, skeleton: Any) -> Any:
    """The model in one piece on the CPU of the first process, None elsewhere; all processes call this.

    Args:
        model: sharded.
        skeleton: of the same model before it was; is filled.
    """
    import torch

    weights = gathered(model.named_parameters())
    buffers = dict(model.named_buffers())
    if not weights:
        return None
    names = {id(parameter): name for name, parameter in skeleton.named_parameters()}
    whole = {
        id(parameter): torch.nn.Parameter(weights[names[id(parameter)]], requires_grad=parameter.requires_grad)
        for parameter in skeleton.parameters()
    }
    for module in skeleton.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = whole[id(parameter)]
    with torch.no_grad():
        for name, buffer in skeleton.named_buffers():
            buffer.copy_(buffers[name])
    return skeleton.cpu()


def gathered(named: "Iterator[tuple[str, torch.Tensor]]") -> "dict[str, torch.Tensor]":
    """Tensors in one piece on the CPU of the first process, nothing elsewhere; all processes call this."""
    from accelerate import PartialState
    from torch.distributed.tensor import DTensor

    found = {}
    for name, tensor in named:
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if PartialState().is_main_process:
            found[name] = whole.detach().cpu().contiguous()
    return found


def put(model: Any, weights: "Mapping[str, torch.Tensor]") -> None:
    """Sets weights by name, sharded ones from their whole."""
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in weights:
                parameter.copy_(_like(parameter, weights[name]))


def _like(parameter: "torch.Tensor", whole: "torch.Tensor") -> "torch.Tensor":
    """A tensor that every process has, on the device and in the pieces of a parameter."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    whole = whole.to(parameter.device, parameter.dtype)
    if not isinstance(parameter, DTensor):
        return whole
    return distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None)


# ---------------------------------------------------------------- checkpoints in pieces


class PieceWriter:
    """Writes the pieces of checkpoints while training goes on, one checkpoint at a time."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        self._group: Any = None

    def write(self, model: Any, optimizer: Any, checkpoint: Path, then: Callable[[], None]) -> None:
        """Copies weights and optimizer to memory, and returns; writes them, and does `then` when all processes have.

        Args:
            model, optimizer: sharded.
            checkpoint: folder that all processes see.
            then: is called on each process, in a thread.
        """
        import torch
        from torch.distributed.checkpoint import HuggingFaceStorageWriter, async_save

        self.wait()
        if self._group is None:
            self._group = torch.distributed.new_group(backend="gloo")  # a thread must not share the gradients' group
        pieces = HuggingFaceStorageWriter(str(checkpoint / PIECES), save_distributed=True)
        state = _named_tensors(model, optimizer)
        with _quiet():
            written: Any = async_save(state, storage_writer=pieces, process_group=self._group)

        def finish() -> None:
            written.result()
            then()

        self._pending = self._threads.submit(finish)

    def wait(self) -> None:
        """Until the last checkpoint is written.

        Raises:
            OSError: of this process.
            CheckpointError: another process could not write its pieces.
        """
        pending, self._pending = self._pending, None
        if pending is None:
            return
        from torch.distributed.checkpoint.api import CheckpointException

        try:
            pending.result()
        except CheckpointException as error:
            own = next((one for one, _ in error.failures.values() if isinstance(one, OSError)), None)
            if own is not None:
                raise own from None
            told = "; ".join(f"process {rank}: {one}" for rank, (one, _) in sorted(error.failures.items()))
            raise CheckpointError(f"A checkpoint could not be written: {told}. The one before it is whole.") from None


def has_pieces(checkpoint: Path) -> bool:
    """Whether a checkpoint was saved by a run with a sharded model."""
    return (checkpoint / PIECES).is_dir()


def load_weights(model: Any, checkpoint: Path) -> None:
    """Reads the pieces of the weights that this process needs, however many processes have written them.

    Raises:
        CheckpointError: weights are missing in the checkpoint.
    """
    targets = {name: tensor for name, tensor in _named_weights(model).items()}
    missing = targets.keys() - _pieces(checkpoint).keys()
    if missing:
        raise CheckpointError(f"{checkpoint} has no weights {min(missing)!r}. Is it of another model?")
    _read(targets, checkpoint)


def load_optimizer(model: Any, optimizer: Any, checkpoint: Path) -> None:
    """Reads the pieces of the optimizer's state that this process needs.

    Its settings, such as weight decay, are those of the config; learning rates are set by the scheduler.
    """
    import torch

    sizes = _pieces(checkpoint)
    targets: dict[str, torch.Tensor] = {}
    for name, parameter, state in _states(model, optimizer):
        for key, size in sizes.items():
            place, _, slot = key.rpartition("/")
            if place == f"optimizer/{name}":
                full = size == tuple(parameter.shape)
                state[slot] = torch.zeros_like(parameter) if full else torch.zeros(size, device=parameter.device)
                targets[key] = state[slot]
    _read(targets, checkpoint)


def shard_optimizer(optimizer: Any) -> None:
    """Cuts the state of an optimizer, as it was loaded from a checkpoint in one piece, as its parameters are cut."""
    from torch.distributed.tensor import DTensor

    for part in _parts(optimizer):
        for parameter, state in part.state.items():
            for slot, value in state.items():
                if isinstance(parameter, DTensor) and value.shape == parameter.shape:
                    state[slot] = _like(parameter, value)


def _named_tensors(model: Any, optimizer: Any) -> "dict[str, torch.Tensor]":
    named = _named_weights(model)
    for name, _, state in _states(model, optimizer):
        named |= {f"optimizer/{name}/{slot}": value for slot, value in state.items() if value is not None}
    return named


def _named_weights(model: Any) -> "dict[str, torch.Tensor]":
    """What training changes, under weights/<name>."""
    kept = model.state_dict().keys()
    named = {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}
    named |= {name: buffer for name, buffer in model.named_buffers() if name in kept}
    return {f"weights/{name}": tensor for name, tensor in named.items()}


def _states(model: Any, optimizer: Any) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Name, parameter, and the optimizer's state of it."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for part in _parts(optimizer):
        for group in part.param_groups:
            for parameter in group["params"]:
                yield names[id(parameter)], parameter, part.state[parameter]


def _parts(optimizer: Any) -> list[Any]:
    """The optimizers that one is made of."""
    plain = getattr(optimizer, "optimizer", optimizer)  # accelerate's wrapping
    return list(getattr(plain, "parts", {"": plain}).values())


def _pieces(checkpoint: Path) -> dict[str, tuple[int, ...]]:
    """Name and whole shape of what a checkpoint holds in pieces."""
    from torch.distributed.checkpoint import HuggingFaceStorageReader

    found: Any = HuggingFaceStorageReader(str(checkpoint / PIECES)).read_metadata().state_dict_metadata
    return {name: tuple(one.size) for name, one in found.items()}


def _read(targets: "dict[str, torch.Tensor]", checkpoint: Path) -> None:
    import torch
    from torch.distributed.checkpoint import HuggingFaceStorageReader, load
    from torch.distributed.tensor import DTensor

    # In pieces it is a matter of all processes, else each reads for itself.
    alone = not any(isinstance(tensor, DTensor) for tensor in targets.values())
    with _quiet(), torch.no_grad():
        load(targets, storage_reader=HuggingFaceStorageReader(str(checkpoint / PIECES)), no_dist=alone)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # as it is meant
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield
