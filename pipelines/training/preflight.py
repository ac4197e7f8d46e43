"""What a check says of the steps of a run: batch, schedule, checkpoints and their disk, memory and time."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.checking import Check, counted
from pipelines.data.framing import document_frame
from pipelines.models.build import positions_of
from pipelines.models.vocabulary import vocabulary_size
from pipelines.run_folder import nearest_existing

if TYPE_CHECKING:
    from pipelines.data.packing import TrainingBlocks
    from pipelines.sections import TrainingConfig
    from pipelines.training.forecast import Forecast
    from pipelines.training.plan import Plan
    from pipelines.training.trainer import Objective

MOST_EPOCHS = 4  # of pretraining: more repetitions are worth little (Muennighoff et al. 2023, section 5)
MOST_ADAM_RATE = 0.1  # of AdamW, whose steps are as long as its rate: above, nobody trains


def schedule_findings(check: Check, training: "TrainingConfig", plan: "Plan", folder: Path, pretrains: bool) -> None:
    """Looks at the steps of a run.

    Args:
        check: takes the findings.
        training: the training section.
        plan: the whole run.
        folder: of the run.
        pretrains: rows are blocks of text, not labelled examples.
    """
    steps, evaluations = plan.steps, 1 if plan.eval_steps is None else max(1, -(-plan.steps // plan.eval_steps))
    check.figures["plan"] = plan.as_dict()
    check.note(
        "ok",
        "schedule",
        f"{counted(steps, 'step')} of {counted(plan.rows_per_step, 'row')} and {plan.tokens_per_step:,} tokens "
        f"(per_device_train_batch_size {plan.per_device_train_batch_size:,} x gradient_accumulation_steps "
        f"{plan.gradient_accumulation_steps:,} x processes {plan.processes:,}); {plan.epochs:.2f} epochs; "
        f"{counted(plan.warmup_steps, 'warm-up step')}; {counted(evaluations, 'evaluation')}; "
        f"{counted(-(-steps // plan.save_steps), 'checkpoint')}.",
    )
    for name, length in (("logging_steps", plan.logging_steps), ("eval_steps", plan.eval_steps)):
        if length is not None and length > steps:
            told = f"training.{name} is {length:,}, and the run has {steps:,} steps: there is nothing before its end."
            check.note("warning", "schedule", told)
    if plan.save_steps > steps:
        told = (
            f"training.save_steps is {plan.save_steps:,}, and the run has {steps:,} steps: an interrupted run is lost."
        )
        check.note("warning", "schedule", told)
    if plan.warmup_steps >= steps and training.lr_scheduler_type != "constant":  # which has no warm-up
        told = f"training.warmup_steps is {plan.warmup_steps:,} of {steps:,} steps: the rate stays below its peak."
        check.note("error", "schedule", told)
    if plan.rows_per_step > plan.train_blocks:
        told = (
            f"A step has {plan.rows_per_step:,} rows, the training split {plan.train_blocks:,}: each step repeats rows."
        )
        check.note("warning", "batch", f"{told} Lower the batch or gradient_accumulation_steps.")
    if pretrains and plan.epochs > MOST_EPOCHS:
        told = f"{plan.epochs:.1f} passes over the same text: above {MOST_EPOCHS} they teach little. Give more text."
        check.note("warning", "schedule", told)
    patience = getattr(training, "early_stopping_patience", None)
    if patience is not None and evaluations <= patience:
        told = f"training.early_stopping_patience is {patience}, with {counted(evaluations, 'evaluation')}"
        check.note("warning", "schedule", f"{told}: it never stops a run.")
    if training.learning_rate == 0:
        check.note("error", "schedule", "training.learning_rate is 0: nothing is learnt.")
    elif training.learning_rate > MOST_ADAM_RATE and training.optim.startswith("adam"):
        told = f"training.learning_rate is {training.learning_rate:g}; with {training.optim}, 1e-5 to 1e-2 are usual."
        check.note("warning", "schedule", told)
    _disk(check, training, plan, folder)


def _disk(check: Check, training: "TrainingConfig", plan: "Plan", folder: Path) -> None:
    """The room that checkpoints, one more while it is written, and the model take."""
    weights = 4 * plan.parameters["total"]
    checkpoint = weights + plan.memory_estimate_bytes["optimizer"]
    written = -(-plan.steps // plan.save_steps)
    kept = min(written, training.save_total_limit or written) + 1
    best = weights if getattr(training, "load_best_model_at_end", False) else 0
    needed, free = kept * checkpoint + best + weights, shutil.disk_usage(nearest_existing(folder)).free
    check.figures["disk_bytes"] = {"needed": needed, "free": free, "checkpoint": checkpoint}
    told = (
        f"{counted(kept, 'checkpoint')} at once of {checkpoint / 1e6:,.1f} MB and the model: {needed / 1e9:,.2f} GB of "
        f"{free / 1e9:,.1f} GB free."
    )
    if needed > free and check.settings.device is not None:
        check.note("warning", "disk", f"{told} The run of the forecast needs it elsewhere.")
    elif needed > free:
        check.note("error", "disk", f"{told} Lower training.save_total_limit, or name another --run.dir.")
    else:
        check.note("ok", "disk", told)


def model_findings(check: Check, model: Any, tokenizer: Any) -> None:
    """Looks at what is trained and the tokens it reads: sizes, positions, tokens with a meaning of their own."""
    plan, room = check.plan, positions_of(model)
    trained, total = plan.parameters["trainable"], plan.parameters["total"]
    told = f"{total:,} parameters, {'all' if trained == total else f'{trained:,} ({trained / total:.1%})'} trained, "
    told += f"{plan.precision} on {plan.device}; rows of at most {plan.block_size:,} tokens, "
    check.note("ok", "model", told + ("and no limit." if room is None else f"room for {room:,}."))
    begin, end = tokenizer.convert_ids_to_tokens(list(document_frame(tokenizer)))
    entries, table = vocabulary_size(tokenizer), model.config.vocab_size
    told = f"{entries:,} entries, a table of {table:,}; a text begins with {begin!r} and ends with {end!r}; padding is "
    check.note("ok", "tokenizer", f"{told}{tokenizer.pad_token!r}, unknown {tokenizer.unk_token!r}.")
    if table > 2 * entries:
        told = f"The model has {table:,} embeddings, the tokenizer {entries:,} entries: the others are never read."
        check.note("warning", "tokenizer", told)


def cost_findings(
    check: Check,
    training: "TrainingConfig",
    model: Any,
    blocks: "TrainingBlocks",
    collator: Callable[..., Any],
    objective: "Objective",
    trainings: int,
) -> None:
    """Measures a step of the run at its largest rows: memory and time on this machine. The model is changed.

    Args:
        check: takes the findings; knows plan and arguments of the run.
        training: the training section.
        model: of the run.
        blocks: the rows of the run.
        collator, objective: of the run.
        trainings: that the recipe makes one after the other, such as those of several seeds.

    Raises:
        ConfigError: the memory is not enough.
    """
    from pipelines.training.peak import measure_step
    from pipelines.training.process_memory import free_bytes

    plan, device = check.plan, check.arguments.device
    model.to(device)
    cost = measure_step(
        plan=plan,
        arguments=check.arguments,
        model=model,
        blocks=blocks,
        collator=collator,
        objective=objective,
        use_muon=training.optim == "muon",
    )
    free, peak = free_bytes(device), cost.peak_memory_bytes
    growth = peak - cost.baseline_bytes
    sharing = plan.processes if device.type == "cpu" else 1  # processes of this memory
    extrapolated = f", extrapolated from {cost.measured_rows} rows" if cost.is_extrapolated else ""
    told = f"This process has {peak / 1e9:,.2f} GB at the peak of a step of the "
    told += f"{plan.per_device_train_batch_size} largest rows{extrapolated}"
    if free is not None:
        told += f"; {free / 1e9:,.1f} GB are free"
    if training.per_device_eval_batch_size > plan.per_device_train_batch_size:
        told += f". Evaluation, of {training.per_device_eval_batch_size:,} rows at once, was not measured"
    if free is not None and sharing * growth > free:
        check.note("error", "memory", f"{told}. Lower training.per_device_train_batch_size, or recompute activations.")
    else:
        check.note("ok", "memory", f"{told}.")
    uneven = getattr(blocks.order, "lengths_R", None) is not None  # then the plan has timed average rows
    seconds = plan.time_estimate_seconds if uneven else cost.run_seconds(plan)
    check.figures["memory_bytes"] = {"peak": peak, "baseline": cost.baseline_bytes, **cost.phase_peak_bytes}
    check.figures["train_seconds"] = seconds
    rate = plan.total_tokens / seconds
    many = "" if trainings == 1 else f"{trainings} times "
    told = f"About {many}{duration(seconds)} of training ({rate:,.0f} tokens a second), by measured steps"
    price = check.settings.price_per_device_hour
    if price is not None and check.settings.device is None:
        check.figures["cost"] = price * plan.processes * trainings * seconds / 3600
        told += f", which cost {check.figures['cost']:,.2f}"
    check.note("ok", "time", f"{told}.")


def forecast_findings(
    check: Check, training: "TrainingConfig", plan: "Plan", model: Any, shape: dict[str, Any]
) -> None:
    """Tells what the run needs of the accelerators of `preflight.device`, by formula.

    Args:
        check: takes the findings; its settings say which accelerators, and how many.
        training: the training section.
        plan: of the run on this machine.
        model: of the run.
        shape: rows, block_size, decoder_size, head_share, as `memory.memory_estimate` takes them.
    """
    from pipelines.training.forecast import estimate_for_device

    settings = check.settings
    if settings.device is None:
        return
    check.figures["forecast"] = []
    for processes in settings.processes if isinstance(settings.processes, list) else [settings.processes]:
        # Steps are as many, and each has the rows of all accelerators; epochs are as many, and have fewer steps.
        more = processes / plan.processes if training.max_steps is not None else 1.0
        found = estimate_for_device(
            model,
            device=settings.device,
            total_tokens=round(plan.total_tokens * more),
            optim=training.optim,
            recomputation="full" if training.activation_checkpointing else "none",
            processes=processes,
            parallelism=settings.parallelism,
            price_per_device_hour=settings.price_per_device_hour,
            **shape,
        )
        _tell(check, found, round(plan.total_tokens * more))


def _tell(check: Check, found: "Forecast", total_tokens: int) -> None:
    """Notes a forecast: memory of an accelerator, then time and price of the run."""
    parallelism, processes = check.settings.parallelism, found.processes
    sizes = {name.replace("_", " "): size for name, size in found.memory_bytes.items() if size and name != "total"}
    parts = [f"{name} {size / 1e9:,.2f}" for name, size in sizes.items()]
    many = f"{processes} x {found.device.name}{f', {parallelism}' if processes > 1 else ''}"
    told = f"{many}: {found.needed_bytes / 1e9:,.1f} of {found.device.memory_bytes / 1e9:,.0f} GB each by formula "
    told += f"({', '.join(parts)}; allowance {found.allowance_bytes / 1e9:,.2f}); "
    told += f"at most {found.largest_micro_batch:,} rows at once fit."
    check.note("ok" if found.fits else "error", "forecast", told)
    told = f"{many}: {total_tokens:,} tokens in about {duration(found.seconds)} at {found.mfu:.0%} of the peak "
    told += f"({found.tokens_per_second:,.0f} tokens a second), {found.device_hours:,.2f} device-hours"
    cost = "" if found.cost is None else f", which cost {found.cost:,.2f}"
    check.note("ok", "forecast", f"{told}{cost}. Never held against a GPU.")
    figures: dict[str, Any] = {"processes": processes, "parallelism": parallelism, "total_tokens": total_tokens}
    figures |= {"memory_bytes": found.memory_bytes, "needed_bytes": found.needed_bytes, "fits": found.fits}
    figures |= {"seconds": found.seconds, "device_hours": found.device_hours, "cost": found.cost}
    check.figures["forecast"].append(figures | {"largest_micro_batch": found.largest_micro_batch})


def duration(seconds: float) -> str:
    """A time in words, such as `3.5 h`."""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds / 86_400:,.1f} days"
