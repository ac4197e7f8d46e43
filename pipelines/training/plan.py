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
    estimated: bool = False
    """Whether train_documents, train_tokens, train_blocks and epochs are estimates, as those of a stream are."""

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


def time_estimate_seconds(flops_per_token: float, tokens: int, matmul_flops_per_second: float, processes: int) -> float:
    """Training time if ASSUMED_MFU of the measured matrix-product rate is reached."""
    return flops_per_token * tokens / (matmul_flops_per_second * ASSUMED_MFU * processes)
