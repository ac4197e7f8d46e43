"""The training section -> transformers.TrainingArguments."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.checking import checking, refuse
from pipelines.errors import ConfigError
from pipelines.training.plan import Plan, scheduler_kwargs

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from pipelines.sections import TrainingConfig

# Fields of the section that are worked out in the plan, or are no fields of TrainingArguments.
_PLANNED = {
    "max_steps",
    "num_train_epochs",
    "warmup_steps",
    "logging_steps",
    "eval_steps",
    "save_steps",
    "bf16",
    "optim",
    "load_best_model_at_end",  # kept by best.py, also when a run goes on
}
_PUBLISHED = {"push_to_hub", "hub_model_id"}  # after the run, by publishing/
OWN_FIELDS = {"max_loss_spike", "max_tokens_per_batch", "early_stopping_patience", "extra"}


def training_arguments(training: "TrainingConfig", plan: Plan, checkpoints: Path, has_gpu: bool) -> "TrainingArguments":
    """TrainingArguments for ExactTrainer.

    Raises:
        ConfigError: TrainingArguments refuses a value.
    """
    from transformers import TrainingArguments
    from transformers.integrations import get_reporting_integration_callbacks

    values: dict[str, Any] = {
        field.name: getattr(training, field.name)
        for field in dataclasses.fields(training)
        if field.name not in _PLANNED | _PUBLISHED | OWN_FIELDS
    }
    values |= {
        "output_dir": str(checkpoints),
        "max_steps": plan.steps,
        "warmup_steps": plan.warmup_steps,
        "logging_steps": plan.logging_steps,
        "eval_strategy": "no" if plan.eval_steps is None else "steps",
        "eval_steps": plan.eval_steps,
        "save_steps": plan.save_steps,
        "save_total_limit": None,  # ExactTrainer rotates, after sealing
        "bf16": False,  # the objective autocasts; accelerate would copy all logits to fp32 besides
        # Muon comes through ExactTrainer.create_optimizer; TrainingArguments does not know its name.
        "optim": "adamw_torch_fused" if training.optim == "muon" else training.optim,
        "lr_scheduler_kwargs": scheduler_kwargs(training, plan.steps),
        "use_cpu": not has_gpu,
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "logging_nan_inf_filter": False,  # ExactTrainer stops at a loss that is not finite
        "dataloader_pin_memory": has_gpu,
    }
    try:
        arguments = TrainingArguments(**{**values, **training.extra})
    except (ValueError, TypeError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"transformers.TrainingArguments refuses the training section: {reason}") from None
    try:
        for tracker in get_reporting_integration_callbacks(arguments.report_to):
            tracker()  # says whether its package is installed
    except (ValueError, RuntimeError, AssertionError, ImportError) as error:
        refuse(ConfigError(f"training.report_to is {training.report_to!r}: {' '.join(str(error).split())}"))
    arguments._n_gpu = min(arguments.n_gpu, 1)  # one process, one GPU: several would become torch.nn.DataParallel
    if (check := checking()) is not None:
        check.arguments = arguments
    return arguments
