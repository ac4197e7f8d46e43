"""Fine-tuning a model for a task: the one path that all recipes/finetune_*.py share."""

import gc
import inspect
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipelines.checking import attempt, checking
from pipelines.data.examples import Examples, TokenBudget
from pipelines.data.labelled import LabelledData, Rows, load_labelled, spread_rows
from pipelines.data.preflight import example_findings
from pipelines.data.receipt import training_receipt
from pipelines.data.tokenization import get_tokenizer, tokenizer_hash
from pipelines.errors import DataError
from pipelines.finetuning.evaluating import Evaluator
from pipelines.finetuning.members import Member, run_members, split_folds
from pipelines.finetuning.proving import FewRows, exact_loss, misjudged
from pipelines.finetuning.scoring import weigh, write_evidence
from pipelines.models.build import positions_of
from pipelines.models.skeleton import is_skeleton
from pipelines.models.vocabulary import vocabulary_size
from pipelines.proofs.running import prove
from pipelines.publishing.publish import finish_and_publish, open_run
from pipelines.run_folder import RunFolder
from pipelines.tasks.saved import write_task
from pipelines.tasks.task import Prediction, Task, choose_limit
from pipelines.training import steps
from pipelines.training.arguments import training_arguments
from pipelines.training.hardware import micro_batch_seconds
from pipelines.training.lora import add_lora
from pipelines.training.saving import save_model
from pipelines.training.sharding import is_asked_for

if TYPE_CHECKING:
    from accelerate import PartialState

    from pipelines.training.plan import Plan
    from pipelines.training.trainer import ExactTrainer


class Material(NamedTuple):
    """What a run trains on, and the tokenizer that made it."""

    train: Examples
    tokenizer: Any


@dataclass(frozen=True)
class Fitted:
    """A trained model, and what it was trained and is scored with."""

    trainer: "ExactTrainer"
    plan: "Plan"
    evaluator: Evaluator
    receipt: dict[str, Any]
    metrics: dict[str, float]
    untuned: list[Prediction] | None
    """What a checkpoint that can write says before it is trained."""


def finetune(task: Task, config: Any, recipe: str) -> None:
    """Reads the data, trains, scores beside baselines, saves and reports.

    Args:
        task: what the rows are and what is made of them.
        config: the resolved config: run, data, tokenizer, model, lora, task, training, evaluation.
        recipe: path of the recipe.

    Raises:
        PlumblineError: a mistake in config or data, told before the first step.
        Interrupted: stopped by SIGTERM or Ctrl-C, after writing a checkpoint.
    """
    if (folder := open_run(config, recipe)) is None:
        return

    state = steps.start_processes(config.run, config.training)
    with state.main_process_first():  # the others read its cache
        data = load_labelled(config.data, task, with_test=config.evaluation.split == "test")
        task.use_tokenizer(tokenizer_of(task, config, data.train), config.model)
    evaluation, seed = config.evaluation, config.training.seed
    if evaluation.folds is not None:
        attempt(
            split_folds, task, data.train, evaluation.folds, seed, otherwise=None
        )  # refused before anything is trained
    scored = spread_rows(data.splits[evaluation.split], evaluation.max_rows)
    fitted = fit(task, config, folder, data.train, data.validation, scored, state, data, prove_first=True)
    predictions = fitted.evaluator.predict(fitted.trainer.model)
    metrics = fitted.metrics
    steps.assemble_model(fitted.trainer)
    if state.is_main_process:
        probe = task.collate([fitted.evaluator.examples.block(0)])
        save_model(fitted.trainer, task.tokenizer, folder, fitted.evaluator.loss.inputs(probe))
        evidence = weigh(task, fitted.evaluator, predictions, data.train, evaluation, seed, fitted.untuned)
        metrics |= evidence.metrics
        write_evidence(task, fitted.evaluator, predictions, evidence, evaluation, folder)
        if evaluation.split == "validation":
            task.tune(predictions, scored.as_list)  # after scoring: for those who use the model
        write_task(folder.model, task, fitted.plan.block_size)
        folder.write_json("receipt.json", fitted.receipt)
    del fitted  # the weights and optimizer of this run, before others are made
    gc.collect()

    def fit_member(member: Member, inside: RunFolder, changed: Any) -> dict[str, float]:
        one = fit(task, changed, inside, member.train, member.validation, member.scored, state, data)
        said = one.evaluator.predict(one.trainer.model)
        if not state.is_main_process:
            return {}
        beside = replace(evaluation, learning_curve=False, baselines=evaluation.baselines and member.kind == "folds")
        return one.metrics | weigh(task, one.evaluator, said, member.train, beside, member.seed).metrics

    metrics |= run_members(task, config, folder, data, scored, metrics, fit_member, state)
    if state.is_main_process:
        finish_and_publish(folder, metrics, config)


def tokenizer_of(task: Task, config: Any, train: Rows) -> Any:
    """The tokenizer of the checkpoint or config, or one trained on the texts of the training split."""

    def texts() -> Any:
        return ([text for text in task.texts(row)] for row in train)

    return get_tokenizer(config.tokenizer, config.model, texts, train.fingerprint(), task.special_tokens())


def fit(
    task: Task,
    config: Any,
    folder: RunFolder,
    train: Rows,
    validation: Rows,
    scored: Rows,
    state: "PartialState",
    data: LabelledData,
    prove_first: bool = False,
) -> Fitted:
    """Builds a model, trains it on rows, and scores it.

    Args:
        task: with its tokenizer.
        config: the resolved config; its training.seed decides the model's new weights, the order and dropout.
        folder: where checkpoints and figures go.
        train, validation: what is trained on, and scored on the way.
        scored: what the final figures are of.
        state: the processes.
        data: for the receipt and its hashes.
        prove_first: make the proofs of its section `proof`.
    """
    from accelerate.utils import set_seed

    training = config.training
    set_seed(training.seed)  # whatever ran before in this process
    task.threshold = None
    # From scratch, a model has the positions asked for, unless its config states them.
    model = task.build(config.model, config.data.max_length)
    if "token_type_ids" not in inspect.signature(model.forward).parameters:
        names = ["input_ids", "attention_mask"]  # what a tokenizer gives, its model must take
        task.tokenizer.model_input_names = task.tokenizer.init_kwargs["model_input_names"] = names
    task.positions = positions_of(model)
    limit = choose_limit(task, config.data.max_length, config.data.overlength, task.positions)
    added = [] if config.model.name is None else range(task.known_tokens, vocabulary_size(task.tokenizer))
    model = add_lora(model, config.lora, config.model, list(added))

    def encode(rows: Rows, training: bool) -> Examples:
        encoded = task.encode(rows, limit, training)
        if not encoded.targets_E.any():
            raise DataError(
                f"None of {len(encoded):,} rows has an answer within data.max_length ({limit.max_length}), so that "
                "nothing can be learnt or scored. Raise it."
            )
        return encoded

    examples = {"train": encode(train, training=True), "validation": encode(validation, training=False)}
    if (check := checking()) is not None:
        for split, encoded in examples.items():
            example_findings(check, split, encoded, task.tokenizer.unk_token_id)
    loss_share = float(examples["train"].targets_E.sum()) / examples["train"].tokens  # where a vocabulary is computed
    share = loss_share if task.sparse is not None else 1.0
    plan = steps.make_plan(training, examples["train"], examples["validation"], model, state, share)
    loss = task.loss(model, plan.precision == "bf16")
    collator = TokenBudget(task.collate, training.max_tokens_per_batch, examples["train"].has_decoder)
    # Sharded, the whole model may not fit.
    if not is_asked_for() and not is_skeleton(model, "time", "Time of a step here was not measured"):
        parts = collator(_typical_rows(examples["train"], training.per_device_train_batch_size))
        seconds = micro_batch_seconds(model.to(state.device), loss.loss_sum, parts)
        plan = replace(plan, time_estimate_seconds=seconds * plan.gradient_accumulation_steps * plan.steps)
    arguments = training_arguments(training, plan, folder.checkpoints, has_gpu=state.device.type != "cpu")
    receipt = data.receipt | {
        split: {"rows": data.receipt[split], "tokens": examples[split].counts} for split in examples
    }
    hashes = data.hashes() | {"tokenizer": tokenizer_hash(task.tokenizer)}
    checkpoint = steps.start_run(folder, config, plan, receipt, hashes, state)

    batching = (training.per_device_eval_batch_size, training.max_tokens_per_batch)
    evaluator = final = Evaluator(task, validation, examples["validation"], loss, *batching)
    if scored is not validation:
        final = Evaluator(task, scored, encode(scored, training=False), loss, *batching)
    if prove_first:
        few = FewRows.of(task, validation, limit)
        material = Material(examples["train"], task.tokenizer)
        judged = None if task.generates else partial(misjudged, task, validation, limit)
        prove(folder, config, state, model, material, collator, partial(exact_loss, task), None, few.evaluate, judged)
    start, untuned = {}, None
    if task.generates and config.model.name is not None and not is_asked_for():
        start = steps.score_start(model, config.model, {"": final})
        untuned = final.predict(model) if config.evaluation.baselines else None
    trainer = steps.train_model(
        config=config,
        arguments=arguments,
        plan=plan,
        folder=folder,
        checkpoint=checkpoint,
        model=model,
        text=Material(examples["train"], task.tokenizer),
        collator=collator,
        objective=loss,
        evaluate_model=evaluator,
        score_of=evaluator.figure if training.load_best_model_at_end else None,
        patience=training.early_stopping_patience,
    )
    metrics = trainer.evaluate()
    if trainer.best is not None and trainer.best.restore(model, trainer.state.global_step):
        metrics = evaluator(model)
    if final is not evaluator:
        if config.evaluation.split == "test":
            task.tune(evaluator.predictions, validation.as_list)
        metrics = final(trainer.model)
    receipt |= {"training": training_receipt(trainer.blocks, trainer.account.targets)}
    return Fitted(trainer, plan, final, receipt, metrics | start | steps.train_metrics(trainer, plan), untuned)


def _typical_rows(examples: Examples, count: int) -> list[dict[str, np.ndarray]]:
    """The examples whose size is nearest to the mean: since those of a step are of like size, an average step."""
    distances_E = np.abs(examples.lengths_E - examples.lengths_E.mean())
    return [examples.block(index) for index in np.argsort(distances_E, kind="stable")[:count].tolist()]
