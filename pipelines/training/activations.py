"""What a forward pass keeps for its backward pass, counted without computing it."""

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

Recomputation = Literal["none", "selective", "full"]


@dataclass(frozen=True)
class Kept:
    """Bytes that a forward pass keeps for its backward pass.

    Attributes:
        activations: each storage once; parameters, and the two below, aside.
        weight_copies: weights that autocast has cast; they do not grow with the rows.
        masks: what flash attention was spared: the masks (B, 1, T, T) that packed documents need.
    """

    activations: int
    weight_copies: int
    masks: int


def kept_bytes(
    model: Any,
    rows: int,
    block_size: int,
    *,
    bf16: bool,
    flash: bool = False,
    recomputation: Recomputation = "none",
    decoder_size: int = 0,
    choices: int = 0,
    dtype: torch.dtype | None = None,
) -> Kept:
    """Counts the distinct storages that autograd saves in one forward pass in training, loss left out.

    The pass runs on fake tensors: shapes and types are worked out, nothing is allocated or computed, so that a model of
    billions of parameters, on the meta device or not, takes seconds. The model stays as it is.

    Args:
        model: any model of transformers, with LoRA or not.
        rows, block_size: of the input.
        bf16: under bfloat16 autocast.
        flash: attention as by FlashAttention, without mask or dropped scores: query, key, value, output and one
            log-sum-exp for each query are saved (Dao 2023, section 2.2), nothing of size T x T. Otherwise as on a CPU.
        recomputation: none; full: of each layer only the input is kept, and one layer at a time is computed again;
            selective: of each layer the input, the output of attention, and of the matrix products every second one, as
            torchtitan's `selective` does.
        decoder_size: positions of an encoder-decoder's decoder.
        choices: sequences that a row has, of a model that chooses among them; 0: it is one sequence.
        dtype: of the weights. Default: as they are.

    Raises:
        Exception: of any kind, for a model that reads values of its inputs.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    parameters = inspect.signature(base.forward).parameters
    modes = {module: module.training for module in model.modules()}
    with FakeTensorMode(), ExitStack() as stack:

        def fake(tensor: torch.Tensor) -> torch.Tensor:
            kind = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
            return torch.empty(tensor.shape, dtype=kind, requires_grad=tensor.requires_grad)

        tensors = {name: fake(tensor) for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
        shape = (rows, choices, block_size) if choices else (rows, block_size)
        inputs: dict[str, Any] = {"input_ids": torch.zeros(shape, dtype=torch.long)}
        if decoder_size:
            inputs["decoder_input_ids"] = torch.zeros((rows, decoder_size), dtype=torch.long)
        elif "position_ids" in parameters and not choices:  # packed rows have each their own
            inputs["position_ids"] = torch.zeros((rows, block_size), dtype=torch.long)
        if "use_cache" in parameters:
            inputs["use_cache"] = False
        counter = _Counter({_storage(tensors[name]) for name, _ in model.named_parameters()})
        attention = _Flash() if flash else None
        stack.enter_context(_layers_told(model, counter))
        stack.enter_context(counter)
        if attention is not None:
            stack.enter_context(attention)
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(counter.save, lambda tensor: tensor))
        stack.enter_context(torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16))
        try:
            model.train()
            torch.func.functional_call(model, tensors, (), inputs)
        finally:
            for module, training in modes.items():
                module.training = training
    masks = [] if attention is None else attention.mask_bytes
    return Kept(
        activations=counter.activations(recomputation),
        weight_copies=sum(map(_size, counter.kept_copies.values())),
        masks=sum(masks) if recomputation == "none" else max(masks, default=0),
    )


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _size(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().nbytes()


class _Counter(TorchDispatchMode):
    """Sees every operation and every saved tensor. All it has seen stays referenced, so that no address comes twice."""

    def __init__(self, parameters: set[int]) -> None:
        super().__init__()
        self.parameters = parameters
        self.layer: int | None = None  # that is computed now
        self.copies: dict[int, torch.Tensor] = {}  # of weights
        self.kept_copies: dict[int, torch.Tensor] = {}
        self.saved: dict[int, tuple[int | None, torch.Tensor]] = {}
        self.inputs: dict[int, torch.Tensor] = {}  # of layers
        self.selected: dict[int, torch.Tensor] = {}
        self._products: dict[int, int] = {}  # matrix products of each layer so far

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.name()
        if name == "aten::_to_copy" and _storage(args[0]) in self.parameters:
            self.copies[_storage(result)] = result
        if self.layer is not None:
            if name in ("aten::mm", "aten::addmm"):
                self._products[self.layer] = self._products.get(self.layer, 0) + 1
                if self._products[self.layer] % 2:
                    self.selected[_storage(result)] = result
            elif "scaled_dot_product" in name:
                for part in (one for one in result if isinstance(one, torch.Tensor)):
                    self.selected[_storage(part)] = part
        return result

    def save(self, tensor: torch.Tensor) -> torch.Tensor:
        """What autograd calls for every tensor that it saves."""
        key = _storage(tensor)
        if key in self.copies:
            self.kept_copies[key] = tensor
        elif key not in self.parameters:
            self.saved.setdefault(key, (self.layer, tensor))
        return tensor

    def activations(self, recomputation: Recomputation) -> int:
        """Bytes that are kept; with recomputation also those of the largest layer, which is computed again."""
        if recomputation == "none" or not self.inputs:
            return sum(_size(tensor) for _, tensor in self.saved.values())
        layers: dict[int, int] = {}
        kept = dict(self.inputs) | {key: tensor for key, (layer, tensor) in self.saved.items() if layer is None}
        if recomputation == "selective":
            kept |= self.selected
        for layer, tensor in self.saved.values():
            if layer is not None:
                layers[layer] = layers.get(layer, 0) + _size(tensor)
        return sum(map(_size, kept.values())) + max(layers.values(), default=0)


class _Flash(TorchFunctionMode):
    """Every scaled_dot_product_attention without mask and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.mask_bytes: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.nn.functional.scaled_dot_product_attention:
            mask = kwargs.pop("attn_mask", None)
            if mask is not None:  # sdpa makes of a mask of True and False one that is added, in the query's dtype
                size = 2 if torch.is_autocast_enabled("cpu") else args[0].element_size()
                self.mask_bytes.append(mask.numel() * size)
            kwargs["dropout_p"] = 0.0
        return func(*args, **kwargs)


@contextmanager
def _layers_told(model: Any, counter: _Counter) -> Iterator[None]:
    """Tells the counter which layer is computed: those that transformers would recompute, the outermost."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    handles = []

    def enter(number: int) -> Any:
        def hook(module: Any, args: Any, kwargs: Any) -> None:
            if counter.layer is None:
                counter.layer = number
                for tensor in [*args, *kwargs.values()]:
                    if isinstance(tensor, torch.Tensor) and tensor.requires_grad:
                        counter.inputs[_storage(tensor)] = tensor

        return hook

    def leave(number: int) -> Any:
        def hook(module: Any, args: Any, output: Any) -> None:
            if counter.layer == number:
                counter.layer = None

        return hook

    for number, module in enumerate(model.modules()):
        if isinstance(module, GradientCheckpointingLayer):
            handles.append(module.register_forward_pre_hook(enter(number), with_kwargs=True))
            handles.append(module.register_forward_hook(leave(number)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
