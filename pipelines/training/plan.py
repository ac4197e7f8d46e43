"""Everything about a run that follows from its config and data, worked out once, before the first step."""

import dataclasses
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines.checking import refuse
from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.sections import TrainingConfig

ASSUMED_MFU = 0.4  # for the time estimate alone: what the default run reaches on the CPU of docs/experiments.md


@dataclass(frozen=True)
class Plan:
    """The figures of plan.json. Steps are optimizer steps; tokens are positions computed, padding included."""

    train_documents: int
    train_tokens: int
    train_blocks: int
    validation_documents: int
    validation_tokens: int
    validation_blocks: int
    block_size: int
    vocab_size: int
    processes: int
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    rows_per_step: int
    tokens_per_step: int
    steps: int
    rows: int
    epochs: float
    warmup_steps: int
    logging_steps: int
    eval_steps: int | None
    save_steps: int
    parameters: dict[str, int]
    flops_per_token: float
    matmul_flops_per_second: float
    precision: str
    device: str
    cpu_threads: int
    memory_estimate_bytes: dict[str, int]
    time_estimate_seconds: float
    padding_share: float

    @property
    def total_tokens(self) -> int:
        """Positions the whole run computes."""
        return self.steps * self.tokens_per_step

    def as_dict(self) -> dict[str, Any]:
        """For plan.json."""
        return dataclasses.asdict(self) | {"total_tokens": self.total_tokens}


def steps_and_rows(training: "TrainingConfig", blocks: int, processes: int) -> tuple[int, int, int]:
    """Optimizer steps of the run, rows with targets in them, and rows of one step.

    With max_steps, every step is full. With num_train_epochs, the run has ceil(epochs x blocks) rows, and the last step
    is filled up with rows without targets.

    Raises:
        ConfigError: num_train_epochs is asked for and not above 0.
    """
    if training.max_steps is None and training.num_train_epochs <= 0:
        refuse(ConfigError(f"training.num_train_epochs must be above 0, found {training.num_train_epochs}."))
        training = replace(training, num_train_epochs=1.0)
    per_step = training.per_device_train_batch_size * training.gradient_accumulation_steps * processes
    if training.max_steps is not None:
        return training.max_steps, training.max_steps * per_step, per_step
    rows = math.ceil(training.num_train_epochs * blocks)
    return math.ceil(rows / per_step), rows, per_step


def interval(name: str, value: float, steps: int) -> int:
    """A step interval; below 1 it is a share of all steps, as in TrainingArguments.

    Raises:
        ConfigError: not positive, or above 1 and no whole number.
    """
    if value <= 0 or (value > 1 and value != int(value)):
        told = f"training.{name} must be a whole number of steps, or a share between 0 and 1; found {value:g}."
        refuse(ConfigError(told))
        return steps
    return max(1, math.ceil(steps * value)) if value < 1 else int(value)


def warmup(value: float, steps: int) -> int:
    """Warm-up steps; below 1 a share of all steps, as in TrainingArguments."""
    if value > 1 and value != int(value):
        refuse(ConfigError(f"training.warmup_steps must be a whole number, or a share below 1; found {value:g}."))
    return math.ceil(steps * value) if value < 1 else int(value)


def scheduler_kwargs(training: "TrainingConfig", steps: int) -> dict[str, Any]:
    """lr_scheduler_kwargs; num_decay_steps of warmup_stable_decay may be a share of all steps, and is a fifth if unset.

    Raises:
        ConfigError: warm-up and decay are longer than the run, or the schedule takes no such argument.
    """
    import torch
    from transformers import get_scheduler

    kwargs, warmup_steps = dict(training.lr_scheduler_kwargs or {}), warmup(training.warmup_steps, steps)
    if training.lr_scheduler_type == "warmup_stable_decay":
        decay = kwargs.get("num_decay_steps", 0.2)
        if not isinstance(decay, int | float) or not decay >= 0:
            raise ConfigError(
                f"training.lr_scheduler_kwargs.num_decay_steps must be a number of steps, or a share below 1; found "
                f"{decay!r}."
            )
        kwargs["num_decay_steps"] = round(steps * decay) if decay < 1 else int(decay)
        if warmup_steps + kwargs["num_decay_steps"] > steps:
            raise ConfigError(
                f"training.warmup_steps ({warmup_steps}) and training.lr_scheduler_kwargs.num_decay_steps "
                f"({kwargs['num_decay_steps']}) are together more than the {steps} steps of the run. A num_decay_steps "
                "below 1 is a share of the run."
            )
    try:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        get_scheduler(training.lr_scheduler_type, optimizer, warmup_steps, steps, scheduler_specific_kwargs=kwargs)
    except (TypeError, ValueError) as error:
        told = f"training.lr_scheduler_kwargs does not fit the schedule {training.lr_scheduler_type}: {error}."
        refuse(ConfigError(told))
    return kwargs


def memory_estimate(
    parameters: int,
    model_config: Any,
    rows: int,
    block_size: int,
    bf16: bool,
    activation_checkpointing: bool,
    decoder_size: int = 0,
    has_head: bool = True,
) -> dict[str, int]:
    """Bytes of one process's training state, by formula; real peaks also hold the allocator's slack.

    fp32 weights, gradients and two AdamW moments: 16 bytes a parameter. Activations of a layer: B T h (34 + 5 a T / h)
    bytes at two bytes a value (Korthikanti et al. 2022, equation 1), twice that in fp32, h a layer with recomputation.
    Logits, if it has_head: one fp32 copy, its gradient, and the autocast copy. An encoder-decoder's decoder has
    decoder_size positions t and in each layer a cross-attention besides, of B (9 t h + 4 T h + 5 a t T) bytes, counted
    as in the paper: query, output projection with its dropout, norm; keys and values of the encoder's T positions; the
    scores.
    """
    width = 1 if bf16 else 2
    (layers, hidden, heads), *decoder = _stacks(model_config)
    layer = block_size * (34 * hidden + 5 * heads * block_size)
    per_row = layers * (2 * block_size * hidden if activation_checkpointing else layer)
    for layers, hidden, heads in decoder:
        layer = decoder_size * (34 * hidden + 5 * heads * decoder_size)
        layer += (9 * decoder_size + 4 * block_size) * hidden + 5 * heads * decoder_size * block_size
        per_row += layers * (2 * decoder_size * hidden if activation_checkpointing else layer)
    activations = width * rows * per_row
    logits = has_head * rows * (decoder_size or block_size) * model_config.vocab_size * (4 + 4 + (2 if bf16 else 0))
    parts = {
        "weights": 4 * parameters,
        "gradients": 4 * parameters,
        "optimizer": 8 * parameters,
        "activations": activations,
        "logits": logits,
    }
    return parts | {"total": sum(parts.values())}


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


def time_estimate_seconds(flops_per_token: float, tokens: int, matmul_flops_per_second: float, processes: int) -> float:
    """Training time if ASSUMED_MFU of the measured matrix-product rate is reached."""
    return flops_per_token * tokens / (matmul_flops_per_second * ASSUMED_MFU * processes)
