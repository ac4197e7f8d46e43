"""The proofs of a run that begins: made, told, kept in proof.json, and a reason to stop if one does not hold."""

import io
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.checking import Check, attempt, checking, end_check
from pipelines.data.packing import TrainingBlocks
from pipelines.errors import ProofError
from pipelines.models.skeleton import is_skeleton
from pipelines.proofs import proofs
from pipelines.proofs.subject import Subject, first_rows
from pipelines.run import say
from pipelines.run_folder import RunFolder
from pipelines.training.preflight import cost_findings, model_findings

if TYPE_CHECKING:
    from accelerate import PartialState
    from transformers import PreTrainedModel

    from pipelines.data.packing import Rows
    from pipelines.training.steps import Material
    from pipelines.training.trainer import Objective

FILE = "proof.json"


def prove(
    folder: RunFolder,
    config: Any,
    state: "PartialState",
    model: "PreTrainedModel",
    text: "Material",
    collator: Callable[..., Any],
    make_objective: Callable[[Any], "Objective"],
    rows: "Rows | None" = None,
    evaluate: Callable[..., dict[str, float]] | None = None,
    misjudged: Callable[..., float | None] | None = None,
) -> None:
    """Makes the proofs of a run, unless it was proved when it began, and writes proof.json.

    Args:
        folder: of the run.
        config: the resolved config.
        state: the processes, all of which call this.
        model: that will be trained.
        text: what it is trained on, and the tokenizer that made it.
        collator: of the run.
        make_objective: model -> its objective in fp32.
        rows: says what a block is to the objective.
        evaluate: (model, objective, batch_size) -> metrics of a few held-out rows; None: that is not proved.
        misjudged: (model, objective) -> share of a few held-out rows that are scored as wrong though the model is
            certain of their labels, None if no such row can be right; None: that is not proved.

    Raises:
        ProofError: one does not hold; names the figure and what it means.
    """
    isolates = getattr(config.data, "isolate_documents", False)
    blocks = first_rows(text.train, config.training.seed, rows)
    subject = Subject(model, make_objective, blocks, collator, text.tokenizer, evaluate, misjudged, isolates)
    if (check := checking()) is not None:
        _rehearse(check, config, state, subject, text.train, rows)
        end_check()
    if not config.proof.enabled:
        if state.is_main_process:
            folder.write_json(FILE, {"enabled": False, "proofs": []})
        return
    if (folder.path / FILE).is_file() and folder.read_json(FILE, "enabled")["enabled"]:
        return
    made, seconds = _make(subject, state)
    if state.is_main_process:
        copy = {"parameters": sum(one.numel() for one in subject.small.parameters())}
        content = [asdict(one) | {"holds": one.holds} for one in made]
        folder.write_json(FILE, {"enabled": True, "seconds": seconds, "copy": copy, "proofs": content})
    _judge(made, seconds, f"Nothing was trained. All proofs: {folder.path / FILE}.")


def _rehearse(
    check: Check, config: Any, state: "PartialState", subject: Subject, train: Any, rows: "Rows | None"
) -> None:
    """What a check tries at the end: the proofs, and a step of the run at its real shape."""
    training, plan = config.training, check.plan
    order = train.order(training.seed, plan.rows_per_step)
    blocks = TrainingBlocks(train, order, plan.steps * plan.rows_per_step, plan.rows, rows)
    objective: Any = subject.make_objective(subject.model)
    objective = replace(objective, bf16=plan.precision == "bf16")
    model_findings(check, subject.model, subject.tokenizer)
    evaluation: Any = getattr(config, "evaluation", None)
    trainings = getattr(evaluation, "seeds", 1) + (getattr(evaluation, "folds", None) or 0)
    if is_skeleton(subject.model, "proofs", "Proofs were not made, memory and time of a step here not measured"):
        return
    try:
        if config.proof.enabled:
            attempt(_prove, subject, state, otherwise=None)
        attempt(
            cost_findings,
            check,
            training,
            subject.model,
            blocks,
            subject.collator,
            objective,
            trainings,
            otherwise=None,
        )
    except Exception as error:
        if not check.failed:
            raise
        told = f"No step could be tried before the errors are mended ({type(error).__name__})."
        check.note("warning", "memory", told)


def _prove(subject: Subject, state: "PartialState") -> None:
    made, seconds = _make(subject, state)
    _judge(made, seconds, "Nothing was trained.")


def _make(subject: Subject, state: "PartialState") -> tuple[list[proofs.Proof], float]:
    """All proofs, and the seconds that they took."""
    started = time.perf_counter()
    with _unnoticed():
        made = [proofs.split(subject, state.num_processes)]
        made += [one(subject) for one in (proofs.padding, proofs.isolation, proofs.supervision, proofs.vocabulary)]
        made += [one(subject) for one in (proofs.gradients, proofs.evaluation, proofs.scoring)]
        if state.num_processes == 1:  # they speak of one process
            made += [proofs.saving(subject), proofs.repetition(subject)]
    seconds = time.perf_counter() - started
    state.wait_for_everyone()
    return made, seconds


def _judge(made: list[proofs.Proof], seconds: float, consequence: str) -> None:
    """Raises ProofError for the first proof that does not hold, else tells the figures."""
    failed = [one for one in made if not one.holds]
    if failed:
        figure = failed[0].figure
        raise ProofError(
            f"The proof of {failed[0].name} does not hold: {failed[0].statement[:-1]}, but the figure is {figure:.3g} "
            f"(at most {failed[0].limit:g}). {failed[0].cause} {consequence} "
            "To train all the same: --proof.enabled false"
        )
    shown = [f"{one.name} {one.figure:.0e}" if one.limit else one.name for one in made if one.figure is not None]
    told = f"{len(shown)} proofs hold ({seconds:.1f} s): {', '.join(shown)}"
    say(told)
    if (check := checking()) is not None:
        check.note("ok", "proofs", told)


@contextmanager
def _unnoticed() -> Iterator[None]:
    """Leaves random numbers as they were, and keeps what short runs print and log to itself."""
    import torch

    states: tuple[Any, ...] = (random.getstate(), np.random.get_state(), torch.get_rng_state())
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)
