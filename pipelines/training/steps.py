"""The steps that recipes share: start, plan, train, measure."""

import os
import shutil
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.checking import attempt, checking
from pipelines.environment import environment
from pipelines.errors import ConfigError
from pipelines.models.cost import count_parameters, training_flops_per_token
from pipelines.run import Interrupted, StopRequest, end_imports, say
from pipelines.run_folder import RunFolder, compare_with_run, take_run_folder, write_run_files
from pipelines.training import checkpoints, hardware, sharding
from pipelines.training.energy import check_energy, measured_energy
from pipelines.training.memory import memory_estimate
from pipelines.training.plan import (
    Plan,
    interval,
    steps_and_rows,
    time_estimate_seconds,
    warmup,
)
from pipelines.training.preflight import forecast_findings, schedule_findings

if TYPE_CHECKING:
    from accelerate import PartialState
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

    from pipelines.data.packing import Rows, TrainingRows
    from pipelines.sections import MeasuredRunConfig, ModelConfig, TrainingConfig
    from pipelines.training.trainer import ExactTrainer, Objective


class Material(Protocol):
    """What a run trains on, and the tokenizer that made it."""

    @property
    def train(self) -> "TrainingRows": ...
    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase": ...


# The first process may build and tokenize a corpus while the others wait; NCCL's own limit is ten minutes.
WAIT = {"timeout": timedelta(hours=2)}


def start_processes(run: "MeasuredRunConfig", training: "TrainingConfig") -> "PartialState":
    """Joins the process group, sets the CPU threads, and seeds all random numbers; imports are over.

    Raises:
        ConfigError: the launcher asks for what is not exact; energy cannot be measured.
    """
    attempt(check_energy, run, otherwise=None)
    import torch
    import transformers
    from accelerate import PartialState
    from accelerate.utils import set_seed

    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    sharding.check_launcher(has_gpu)
    end_imports()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    # Precision and compilation are the recipe's own choice: a launcher's setting must not be added to it in silence.
    for name in {"ACCELERATE_MIXED_PRECISION", "ACCELERATE_DYNAMO_BACKEND"} & os.environ.keys():
        os.environ[name] = "no"
    state = PartialState(cpu=not has_gpu, **WAIT)
    threads = hardware.use_cpu_threads(run.threads)
    if state.is_main_process and not has_gpu:
        say(f"{state.num_processes} process(es) on CPU, {threads} thread(s) each")
    set_seed(training.seed)
    return state


def start_run(
    folder: RunFolder, config: Any, plan: Plan, receipt: dict[str, Any], hashes: dict[str, str], state: "PartialState"
) -> Path | None:
    """Makes or takes over the run folder, writes plan, receipt and environment, and tells the plan. A check only tells.

    Args:
        folder: as found.
        config: the resolved config.
        plan: the whole run in figures.
        receipt: rows and tokens so far.
        hashes: content hashes that must be the same when the run goes on.
        state: the processes.

    Returns:
        The newest complete checkpoint, or None. Damaged ones are named and set aside.

    Raises:
        ConfigError: the folder cannot be used, or data, step size or length differ from those the run was started with;
            the run is past run.stop_at_step.
        CheckpointError: all checkpoints are damaged.
    """
    check = checking()
    if check is not None:
        check.plan = plan
        if not config.run.overwrite:
            attempt(_compare, folder, config, plan, None if check.is_sample else hashes, otherwise=None)
        schedule_findings(check, config.training, plan, folder.path, "bytes_per_token" in receipt["train"]["tokens"])
    elif state.is_main_process:
        take_run_folder(folder, config, plan.as_dict(), hashes)
        _drop_filled_up_step(folder, plan)
        newest, damaged = checkpoints.newest_complete(folder.checkpoints)
        _check_stop(config.run.stop_at_step, newest)
        for checkpoint, reason in damaged.items():
            aside = checkpoints.set_aside(checkpoint)
            say(f"Passing over a damaged checkpoint: {checkpoint}: {reason}. It is now {aside}")
        write_run_files(folder, config, plan=plan.as_dict(), receipt=receipt, environment=environment(hashes))
    state.wait_for_everyone()
    tokens = receipt["train"]["tokens"]
    packed = "bytes_per_token" in tokens
    each = f" ({tokens['bytes_per_token']:.2f} bytes each)" if packed else ""
    say(
        f"{plan.parameters['total']:,} parameters, {plan.precision} on {plan.device}; "
        f"{'about ' if plan.estimated else ''}{plan.train_documents:,} {'documents' if packed else 'rows'} = "
        f"{plan.train_tokens:,} tokens"
        f"{each} = "
        f"{plan.train_blocks:,} {'blocks' if packed else 'examples'} of at most {plan.block_size}\n"
        f"{plan.steps:,} steps of {plan.tokens_per_step:,} tokens ({plan.epochs:.2f} epochs), "
        f"about {plan.time_estimate_seconds:,.0f} s; run folder {folder.path}"
    )
    if check is not None:
        return None
    newest = next(iter(checkpoints.list_checkpoints(folder.checkpoints)), None)
    if newest is not None:
        say(f"Going on from {newest}")
    return newest


def _check_stop(stop_at_step: int | None, newest: Path | None) -> None:
    """Raises ConfigError if the run has come to the step already that it is to stop at."""
    if stop_at_step is not None and newest is not None and checkpoints.step_of(newest) >= stop_at_step:
        raise ConfigError(
            f"run.stop_at_step is {stop_at_step}, but the run has come to step {checkpoints.step_of(newest)} already: "
            f"{newest}. Set a later step, or leave it out."
        )


def _compare(folder: RunFolder, config: Any, plan: Plan, hashes: dict[str, str] | None) -> None:
    """What a check looks at in the folder of a run that would go on."""
    compare_with_run(folder, plan.as_dict(), hashes)
    newest, _ = checkpoints.newest_complete(folder.checkpoints)
    _check_stop(config.run.stop_at_step, newest)


def _drop_filled_up_step(folder: RunFolder, plan: Plan) -> None:
    """Deletes the last checkpoint of a shorter run whose last step was filled up with rows that now hold data."""
    if (folder.path / "plan.json").is_file():
        before = folder.read_json("plan.json", "rows", "steps", "rows_per_step")
        if before["rows"] < min(plan.rows, before["steps"] * before["rows_per_step"]):
            shutil.rmtree(folder.checkpoints / f"checkpoint-{before['steps']}", ignore_errors=True)


def make_plan(
    training: "TrainingConfig",
    train: "TrainingRows",
    validation: "TrainingRows",
    model: "PreTrainedModel",
    state: "PartialState",
    head_share: float = 1.0,
    views: int = 1,
) -> Plan:
    """Works out the whole run.

    Args:
        training: the training section.
        train, validation: the documents, as rows.
        model: what is to be trained.
        state: the processes.
        head_share: share of the positions whose logits are computed.
        views: times that a step computes each row.

    Raises:
        ConfigError: an impossible count, or bf16 asked for where the hardware has none.
        DataError: less than one block of training tokens.
    """
    import torch

    device = state.device
    native = hardware.bf16_is_native(device)
    if training.bf16 and device.type == "mps":
        raise ConfigError("training.bf16 is true, but mps autocast was never measured here. Leave it out.")
    bf16 = native if training.bf16 is None else training.bf16
    check = checking()
    share = 1.0 if check is None else check.share  # a check may have read but the beginning
    steps, rows, rows_per_step = steps_and_rows(training, round(len(train) / share), state.num_processes)
    parameters = count_parameters(model)
    batch_size = training.per_device_train_batch_size
    shape = train.row_shape(train.order(training.seed, rows_per_step), rows, batch_size)
    flops = training_flops_per_token(model, round(shape.inputs), head_share, round(shape.decoder_inputs))
    rate = hardware.matmul_flops_per_second(device, bf16)
    tokens_per_step = round(rows_per_step * views * (shape.inputs + shape.decoder_inputs))
    memory_shape: dict[str, Any] = {
        "rows": batch_size * views,
        "block_size": train.block_size,
        "decoder_size": shape.longest_decoder_inputs,
        "choices": shape.choices,
        "head_share": head_share,
    }
    plan = Plan(
        train_documents=round(train.documents / share),
        train_tokens=round(train.tokens / share),
        train_blocks=round(len(train) / share),
        validation_documents=validation.documents,
        validation_tokens=validation.tokens,
        validation_blocks=len(validation),
        block_size=train.block_size,
        vocab_size=model.config.vocab_size,
        processes=state.num_processes,
        per_device_train_batch_size=training.per_device_train_batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        rows_per_step=rows_per_step,
        tokens_per_step=tokens_per_step,
        steps=steps,
        rows=rows,
        epochs=rows / len(train) * share,
        warmup_steps=warmup(training.warmup_steps, steps),
        logging_steps=interval("logging_steps", training.logging_steps, steps),
        eval_steps=None if training.eval_strategy == "no" else interval("eval_steps", training.eval_steps, steps),
        save_steps=interval("save_steps", training.save_steps, steps),
        parameters=parameters,
        flops_per_token=flops,
        matmul_flops_per_second=rate,
        precision="bf16" if bf16 else "fp32",
        device=str(device),
        cpu_threads=torch.get_num_threads(),
        memory_estimate_bytes=memory_estimate(
            model,
            bf16=bf16,
            optim=training.optim,
            recomputation="full" if training.activation_checkpointing else "none",
            processes=state.num_processes,
            parallelism="fsdp2" if sharding.is_asked_for() else "ddp",
            flash=device.type == "cuda",
            isolate_documents=True,
            **memory_shape,
        ),
        time_estimate_seconds=time_estimate_seconds(flops, steps * tokens_per_step, rate, state.num_processes),
        padding_share=shape.padding_share,
        estimated=getattr(train, "is_estimate", False),
    )
    if check is not None:
        attempt(forecast_findings, check, training, plan, model, memory_shape, otherwise=None)
    return plan


def score_start(
    model: "PreTrainedModel", config: "ModelConfig", evaluations: dict[str, Callable[[Any], dict[str, float]]]
) -> dict[str, float]:
    """Scores of a checkpoint before it is trained on; nothing for a model from scratch.

    Args:
        model: as built, before the first step or a resumption.
        config: the model section.
        evaluations: prefix of the names -> what scores a model.

    Returns:
        <prefix>start_<metric> for every metric eval_<metric>; nothing with a sharded model, whose whole may not fit.
    """
    if config.name is None or sharding.is_asked_for():
        return {}
    from accelerate import PartialState

    model.to(PartialState().device)
    scores = {}
    for prefix, evaluate in evaluations.items():
        for name, value in evaluate(model).items():
            scores[f"{prefix}start_{name.removeprefix('eval_')}"] = value
    say("; ".join(f"{name} {value:.4f}" for name, value in scores.items() if name.endswith("_loss")))
    return scores


def score_old(model: "PreTrainedModel", evaluations: dict[str, Callable[[Any], dict[str, float]]]) -> dict[str, float]:
    """Scores of the trained model on the old domain, old_eval_<metric>; nothing if `evaluations` has no "old_"."""
    evaluate = evaluations.get("old_")
    return {} if evaluate is None else {f"old_{name}": value for name, value in evaluate(model).items()}


def train_model(
    *,
    config: Any,
    arguments: "TrainingArguments",
    plan: Plan,
    folder: RunFolder,
    checkpoint: Path | None,
    model: "PreTrainedModel",
    text: "Material",
    collator: Callable[..., Any],
    objective: "Objective",
    evaluate_model: Callable[["PreTrainedModel"], dict[str, float]],
    rows: "Rows | None" = None,
    score_of: Callable[[Mapping[str, float]], float] | None = None,
    patience: int | None = None,
) -> "ExactTrainer":
    """Trains from a checkpoint of the run folder, or from the start.

    Args beyond those of ExactTrainer:
        config: the resolved config, for its sections training and run.
        rows: says what a block is to the objective.
        score_of: of an evaluation's metrics, to keep the best weights by; None: the last are kept.
        patience: evaluations in a row that are no better before training stops; None: it does not.

    Raises:
        Interrupted: stopped by SIGTERM, Ctrl-C or run.stop_at_step, after writing a checkpoint.
        TrainingError: the loss is not finite or has left its range.
    """
    from pipelines.data.packing import TrainingBlocks
    from pipelines.training.best import BestWeights
    from pipelines.training.progress import ProgressBar
    from pipelines.training.trainer import ExactTrainer

    training, stop_at_step = config.training, config.run.stop_at_step
    step = 0 if checkpoint is None else checkpoints.step_of(checkpoint)
    if arguments.should_save:
        folder.rewind_metrics(step, plan.steps)
    evaluated = any(event["step"] == step and "eval_loss" in event for event in folder.metrics_log())
    due = plan.eval_steps is not None and 0 < step < plan.steps and step % plan.eval_steps == 0
    arguments.eval_on_start = due and not evaluated  # the run was stopped between checkpoint and evaluation
    best = None if score_of is None else BestWeights(folder.checkpoints, score_of, patience, step)
    steps = plan.steps
    if best is not None and best.is_exhausted:  # the run was stopped after the evaluation that ended training
        arguments.max_steps = steps = step

    progress = ProgressBar()
    order = text.train.order(training.seed, plan.rows_per_step)
    with StopRequest() as stop:
        trainer = ExactTrainer(
            model=model,
            args=arguments,
            train_dataset=TrainingBlocks(text.train, order, steps * plan.rows_per_step, plan.rows, rows),
            data_collator=collator,
            processing_class=text.tokenizer,
            objective=objective,
            evaluate_model=evaluate_model,
            log_event=folder.append_metrics,
            record_step=folder.append_step,
            epoch_of_step=lambda done: min(done * plan.rows_per_step, plan.rows) / len(text.train),
            flops_per_token=plan.flops_per_token,
            use_muon=training.optim == "muon",
            max_loss_spike=training.max_loss_spike,
            save_total_limit=training.save_total_limit,
            should_stop=stop,
            stop_at_step=stop_at_step,
            best=best,
            callbacks=[progress],
        )
        try:
            with measured_energy(folder):
                trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        finally:
            progress.close()
        done = trainer.state.global_step * plan.rows_per_step
        trainer.blocks = TrainingBlocks(text.train, order, done, min(done, plan.rows), rows)  # fewer, if it ended early
        if trainer.stop_requested and (trainer.state.global_step < plan.steps or plan.steps == stop_at_step):
            raise Interrupted(
                f"Stopped after step {trainer.state.global_step} of {plan.steps}; the checkpoint is "
                f"{folder.checkpoints / f'checkpoint-{trainer.state.global_step}'}."
            )
    return trainer


def assemble_model(trainer: "ExactTrainer") -> None:
    """Puts a sharded model together on the CPU of the first process, as the trainer's; all processes call this."""
    if trainer.skeleton is not None:
        trainer.model = sharding.assembled(trainer.model, trainer.skeleton)


def train_metrics(trainer: "ExactTrainer", plan: Plan) -> dict[str, float]:
    """Speed and size of the finished training: train_mfu is the share of the measured matrix-product rate."""
    from pipelines.training.process_memory import PeakMemory

    account = trainer.account
    speed = account.positions / account.seconds
    return {
        "train_tokens_per_second": speed,
        "train_mfu": speed * plan.flops_per_token / (plan.matmul_flops_per_second * plan.processes),
        "train_seconds": account.seconds,
        "train_steps": trainer.state.global_step,
        "train_tokens": account.positions,
        "train_peak_memory_bytes": PeakMemory(trainer.args.device).peak_bytes(),
    }
