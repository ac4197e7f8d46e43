"""The memory of a training process, worked out from its model: states by arithmetic, activations by counting."""

from typing import Any, Literal, get_args

from pipelines.errors import ConfigError, did_you_mean
from pipelines.training.activations import Kept, Recomputation, kept_bytes

Parallelism = Literal["ddp", "zero1", "zero2", "zero3", "fsdp2"]
SHARDED_WEIGHTS = ("zero3", "fsdp2")
# DeepSpeed's default reduce_bucket_size, in elements (docs/config-json, "ZeRO Optimizations").
REDUCE_BUCKET = 500_000_000
# Of our own cross-entropy, in slices: the logits in bf16 and their log-probabilities in fp32, which backward needs; the
# gradient takes their place slice by slice. In fp32 both have four bytes.
BYTES_PER_LOGIT = {True: 6, False: 8}


def memory_estimate(
    model: Any,
    *,
    rows: int,
    block_size: int,
    bf16: bool,
    optim: str = "adamw_torch_fused",
    recomputation: Recomputation = "none",
    decoder_size: int = 0,
    choices: int = 0,
    head_share: float = 1.0,
    processes: int = 1,
    parallelism: Parallelism = "ddp",
    flash: bool = False,
    isolate_documents: bool = False,
    bytes_per_weight: Literal[2, 4] = 4,
    bytes_per_logit: int | None = None,
) -> dict[str, int]:
    """Bytes of one process at the fullest moment of a step; the allocator's slack and the libraries come on top.

    All parts stand beside each other when the backward pass of a second micro-batch begins.

    Args:
        model: as trained, with LoRA if it is; it may be on the meta device.
        rows, block_size: of a micro-batch.
        bf16: bfloat16 autocast; with sharded weights these are computed in bfloat16 instead, as FSDP2's and DeepSpeed's
            mixed precision does.
        optim: as training.optim.
        recomputation: see kept_bytes.
        decoder_size: positions of an encoder-decoder's decoder.
        choices: sequences that a row has, see kept_bytes.
        head_share: share of the positions whose logits are computed.
        processes: that share the model's states.
        parallelism: how.
        flash: attention by a flash kernel, as on a GPU; else as sdpa does on a CPU.
        isolate_documents: with `flash`, the masks of packed documents come on top.
        bytes_per_weight: 2: weights, gradients and optimizer states in bfloat16, as nothing here trains.
        bytes_per_logit: of a loss other than ours.

    Returns:
        weights, gradients, optimizer, weight_copies (autocast's), communication (buckets, gathered weights),
        activations, logits, total.

    Raises:
        ConfigError: an unknown parallelism, or less than one row or process.
    """
    if parallelism not in get_args(Parallelism):
        raise ConfigError(
            f"parallelism must be one of {', '.join(get_args(Parallelism))}; found {parallelism!r}."
            f"{did_you_mean(parallelism, get_args(Parallelism))}"
        )
    if rows < 1 or processes < 1:
        raise ConfigError(f"At least one row and one process are needed; found {rows} rows and {processes} processes.")
    parts = training_states(model, optim, bf16, processes, parallelism, bytes_per_weight)
    low = bytes_per_weight == 2 or (bf16 and parallelism in SHARDED_WEIGHTS and processes > 1)
    kept = _kept(model, rows, block_size, decoder_size, choices, bf16, low, flash, recomputation)
    has_head = model.get_output_embeddings() is not None
    each = BYTES_PER_LOGIT[bf16 or low] if bytes_per_logit is None else bytes_per_logit
    positions = rows * (decoder_size or block_size)
    parts |= {
        "weight_copies": kept.weight_copies,
        "activations": kept.activations + isolate_documents * kept.masks,
        "logits": round(has_head * head_share * positions * model.config.vocab_size * each),
    }
    return parts | {"total": sum(parts.values())}


def training_states(
    model: Any,
    optim: str,
    bf16: bool = True,
    processes: int = 1,
    parallelism: Parallelism = "ddp",
    bytes_per_weight: int = 4,
) -> dict[str, int]:
    """Bytes of weights, gradients, optimizer and communication in one process.

    Sharding is that of ZeRO (Rajbhandari et al. 2020, section 5): stage 1 shares the optimizer's states among the
    processes, 2 the gradients too, 3 (and FSDP2) also the weights. Frozen parameters have weights alone.

    Communication: DDP keeps a copy of all gradients in its buckets; stages 1 and 2 have one bucket. With shared
    weights, those outside the layers stay gathered, and of the layers two (one is computed, one fetched); and the
    gradient of the largest of these, before its shares are handed out, in the dtype of the weights and in fp32.
    """
    parameters = list(model.parameters())
    total = sum(parameter.numel() for parameter in parameters)
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    weights, gradients = bytes_per_weight * total, bytes_per_weight * trainable
    optimizer = optimizer_bytes(model, optim, bytes_per_weight)
    communication = 0
    if processes > 1 and parallelism == "ddp":
        communication = gradients
    elif processes > 1:
        optimizer = -(-optimizer // processes)
        communication = bytes_per_weight * min(REDUCE_BUCKET, trainable)
        if parallelism != "zero1":
            gradients = -(-gradients // processes)
        if parallelism in SHARDED_WEIGHTS:
            weights = -(-weights // processes)
            layer, outside = _largest_layer(model)
            width = 2 if bf16 else bytes_per_weight
            reduced = width if width == 4 else width + 4
            communication = width * (outside + 2 * layer)
            communication += reduced * max(layer, outside) if trainable == total else reduced * min(layer, trainable)
    return {"weights": weights, "gradients": gradients, "optimizer": optimizer, "communication": communication}


def optimizer_bytes(model: Any, optim: str, bytes_per_weight: int = 4) -> int:
    """Bytes of an optimizer's states, of the trained parameters, as training.optim sets them up.

    AdamW has two moments; sgd, without momentum, nothing; adafactor a row and a column of each matrix, in fp32 (Shazeer
    and Stern 2018, section 3), and a second moment of all else; muon one momentum of each hidden matrix, and AdamW's
    two moments of all else.
    """
    import torch

    tables = {
        id(parameter)
        for module in [*model.modules(), model.get_output_embeddings()]
        if isinstance(module, torch.nn.Embedding) or (module is not None and module is model.get_output_embeddings())
        for parameter in module.parameters()
    }
    size = 0
    for parameter in (one for one in model.parameters() if one.requires_grad):
        values = parameter.numel()
        if optim == "sgd":
            continue
        if optim == "adafactor":
            matrix = parameter.ndim >= 2
            size += 4 * (values // parameter.shape[-1] + values // parameter.shape[-2] if matrix else values)
        elif optim == "muon" and parameter.ndim == 2 and id(parameter) not in tables:
            size += bytes_per_weight * values
        else:
            size += 2 * bytes_per_weight * values
    return size


def _largest_layer(model: Any) -> tuple[int, int]:
    """Parameters of the largest layer, and of all that is outside of layers."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    sizes = [sum(parameter.numel() for parameter in layer.parameters()) for layer in layers]
    inside = {id(parameter) for layer in layers for parameter in layer.parameters()}
    outside = sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in inside)
    return max(sizes, default=0), outside


def _kept(
    model: Any,
    rows: int,
    block_size: int,
    decoder_size: int,
    choices: int,
    bf16: bool,
    low: bool,
    flash: bool,
    recomputation: Recomputation,
) -> Kept:
    """Counted; by formula where a model cannot be run on fake tensors."""
    import logging

    import torch

    told = logging.getLogger("torch._subclasses.fake_tensor")  # of operations without a meta kernel, with a traceback
    level = told.level
    told.setLevel(logging.CRITICAL)
    try:
        return kept_bytes(
            model,
            rows,
            block_size,
            bf16=bf16 and not low,
            flash=flash,
            recomputation=recomputation,
            decoder_size=decoder_size,
            choices=choices,
            dtype=torch.bfloat16 if low else None,
        )
    except Exception:  # a model that reads values of its inputs
        sequences = rows * max(choices, 1)
        kept = formula_activations(model.config, sequences, block_size, bf16 or low, recomputation, decoder_size, flash)
        return Kept(kept, 0, 0)
    finally:
        told.setLevel(level)


def formula_activations(
    model_config: Any,
    rows: int,
    block_size: int,
    bf16: bool,
    recomputation: Recomputation = "none",
    decoder_size: int = 0,
    flash: bool = False,
) -> int:
    """Bytes of activations by Korthikanti et al. 2022, equation 1, for what cannot be counted.

    A layer has B T h (34 + 5 a T / h) bytes at two bytes a value, twice that in fp32, and of these without the scores
    (5 a T / h, equation 4) with flash attention or selective recomputation; with full recomputation its input alone,
    2 B T h, and one layer is there at a time. An encoder-decoder's decoder has decoder_size positions t, and in each
    layer a cross-attention besides, of B (9 t h + 4 T h + 5 a t T) bytes, counted as in the paper: query, output
    projection with its dropout, norm; keys and values of the encoder's T positions; the scores.
    """
    width, scores = 1 if bf16 else 2, 0 if flash or recomputation == "selective" else 5
    kept, largest = 0, 0
    for number, (layers, hidden, heads) in enumerate(_stacks(model_config)):
        length = decoder_size if number else block_size
        layer = length * (34 * hidden + scores * heads * length)
        if number:
            layer += (9 * length + 4 * block_size) * hidden + scores * heads * length * block_size
        kept += layers * (2 * length * hidden if recomputation == "full" else layer)
        largest = max(largest, layer if recomputation == "full" else 0)
    return width * rows * (kept + largest)


def _stacks(model_config: Any) -> list[tuple[int, int, int]]:
    """(layers, hidden size, heads) of a model, or of an encoder and a decoder."""

    def stack(config: Any) -> tuple[int, int, int]:
        names = ("num_hidden_layers", "hidden_size", "num_attention_heads")
        layers, hidden, heads = (getattr(config, name, 0) for name in names)
        return layers, hidden, heads

    if not model_config.is_encoder_decoder:
        return [stack(model_config)]
    if hasattr(model_config, "decoder"):  # two models, each with its own config
        return [stack(model_config.encoder), stack(model_config.decoder)]
    layers, hidden, heads = stack(model_config)
    layers_name = next(name for name in ("decoder_layers", "num_decoder_layers") if hasattr(model_config, name))
    decoder_heads = getattr(model_config, "decoder_attention_heads", heads)
    return [(layers, hidden, heads), (getattr(model_config, layers_name), hidden, decoder_heads)]
