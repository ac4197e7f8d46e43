"""Short runs of the trainer itself, on a copy, in a folder that is thrown away."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.data.packing import TrainingBlocks
from pipelines.training.trainer import ExactTrainer, Objective

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Trained:
    """What some steps made of a model."""

    losses: list[float]
    """Nats per supervised item of each step."""
    weights: "dict[str, torch.Tensor]"
    targets: int
    """Supervised items that the trainer counted."""


def take_steps(
    model: Any,
    blocks: TrainingBlocks,
    collator: Callable[..., Any],
    objective: Objective,
    folder: Path,
    *,
    rows: int,
    accumulation: int,
    steps: int,
    optim: str = "sgd",
    learning_rate: float = 1.0,
    save_steps: int | None = None,
    resume: Path | None = None,
    seed: int = 42,
) -> Trained:
    """Runs ExactTrainer without clipping, decay and warm-up.

    With SGD at learning rate 1, a step moves the weights by minus the gradient, which is then seen in them.

    Args:
        model: is trained in place.
        blocks: as many rows as the steps need.
        collator, objective: of the run.
        folder: for checkpoints.
        rows: of a micro-batch, in each process.
        accumulation: micro-batches of a step.
        steps: optimizer steps.
        optim, learning_rate: of the optimizer.
        save_steps: steps between checkpoints, if there are to be any.
        resume: checkpoint to go on from.
        seed: of dropout.
    """
    import torch
    from accelerate.utils import set_seed
    from transformers import TrainingArguments

    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    losses: list[float] = []
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=accumulation,
        learning_rate=learning_rate,
        lr_scheduler_type="constant",
        optim=optim,
        max_grad_norm=1e9,
        logging_steps=1,
        save_strategy="no" if save_steps is None else "steps",
        save_steps=save_steps or 1,
        save_total_limit=None,
        use_cpu=not has_gpu,
        seed=seed,
        report_to="none",
        remove_unused_columns=False,
        disable_tqdm=True,
        logging_nan_inf_filter=False,
        dataloader_pin_memory=has_gpu,
    )
    set_seed(seed)
    trainer = ExactTrainer(
        model=model,
        args=arguments,
        train_dataset=blocks,
        data_collator=collator,
        processing_class=None,  # type: ignore[arg-type]
        objective=objective,
        evaluate_model=lambda model: {},
        log_event=lambda event: losses.append(event["loss"]) if "loss" in event else None,
        epoch_of_step=float,
        flops_per_token=1.0,
    )
    with _few_objects():
        trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    state = trainer.accelerator.unwrap_model(trainer.model_wrapped).state_dict()
    weights = {name: _whole(weight).detach().cpu().clone() for name, weight in state.items()}
    return Trained(losses, weights, trainer.account.targets)


def _whole(weight: Any) -> Any:
    return weight.full_tensor() if hasattr(weight, "full_tensor") else weight


@contextmanager
def _few_objects() -> Iterator[None]:
    """Leaves what is there out of garbage collection: accelerate collects after each run, and is a second at it."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
