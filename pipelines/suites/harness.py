"""EleutherAI's lm-eval on a loaded model: the figures of its tasks, computed by its own code."""

import contextlib
import copy
import difflib
import logging
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from pipelines.data.framing import document_frame, frame_of
from pipelines.errors import ConfigError, DataError
from pipelines.evaluation.likelihood import check_causal
from pipelines.models.build import positions_of
from pipelines.run import say

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

INSTALL = "pip install -c requirements.lock -e '.[lm-eval]'"
CUT = "Combined length of context"  # what HFLM's warning about a prompt that does not fit begins with
# Of the bootstrap, for standard errors of metrics that are no mean: for 24 rows, Matthews' correlation takes 2.4 s a
# thousand, and lm-eval would draw a hundred thousand.
RESAMPLES = 1_000
# What it warns of in every run like these.
EXPECTED = ("`pretrained` model kwarg is not", "Passed an already-initialized model", "Overwriting default num_fewshot")


@dataclass(frozen=True)
class HarnessResult:
    """A figure of lm-eval.

    Attributes:
        task: a task, or a group for the mean over its tasks.
        metric: such as acc; of a task with filters, with the filter behind it: exact_match,strict-match.
        value, stderr: as lm-eval gives them, a share where the metric is one; no stderr: None.
        version: of the task, None if it states none.
        num_fewshot: examples before each question; None for a group of tasks that differ.
        samples: rows of the task that were scored.
        cut: rows of tokens, of all tasks of the name that was asked for, that lost their beginning to fit the model.
    """

    task: str
    metric: str
    value: float
    stderr: float | None
    version: str | None
    num_fewshot: int | None
    samples: int
    cut: int


def run_harness(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    tasks: list[str],
    include_path: str | None,
    num_fewshot: int | None,
    limit: int | None,
    batch_size: int,
) -> list[HarnessResult]:
    """Runs tasks of lm-eval on a loaded model, without a network.

    lm-eval calls the model's forward pass on rows padded on the right, without a mask, and takes log-probabilities in
    fp32 here. Texts begin as the tokenizer begins them, as in `continuation_scores`, which gives the same
    log-likelihoods unless a prompt is cut or a token reaches over the end of one. What it prints, and what it warns of,
    goes to standard error; model, tokenizer and random states are left as they were.

    batch_size should change no figure. In fp32 it did not: SmolLM2-135M, 100 rows of three choices, batches of 1, 8 and
    32 on a CPU gave the same accuracies, and log-likelihoods within 3e-5 nats (those of `continuation_scores` within
    1e-4). In bf16, where kernels round differently for other shapes, log-likelihoods moved by up to 0.6 nats, and with
    them the choice in 3 rows: evaluate in fp32 what is to be compared.

    Tasks are YAML files; those that name Python functions (`!function`) run them, so include_path is to be trusted as
    code is. Relative data_files in them are looked for in the working directory. Data sets of the Hub must be in its
    cache.

    Args:
        model: a causal language model; it needs nothing but logits for tasks that score, `generate` for those that
            write.
        tokenizer: a copy is used, since lm-eval gives it a padding token.
        tasks: names of tasks, groups or tags, of include_path or of lm-eval itself.
        include_path: folder of YAML files; looked through first, and alone if it has all of `tasks` (lm-eval's own
            14,683 take 6 s to list).
        num_fewshot: examples before each question; None: as each task states. A task that states 0 keeps 0.
        limit: rows of each task at most, the first ones.
        batch_size: rows computed at once.

    Returns:
        A row for each metric of each task, in the order of `tasks`; the mean of a group, if it has one, behind its
        tasks.

    Raises:
        ConfigError: lm-eval is not installed, a task is unknown or wrongly written, the model is no causal language
            model, the tokenizer cannot be used, or there are several processes.
        DataError: the data of a task cannot be read.
    """
    manager = _manager(tasks, include_path)
    lm = _language_model(model, tokenizer, batch_size)
    was_training = model.training
    found: dict[tuple[str, str], HarnessResult] = {}
    try:
        for name in tasks:
            with _quiet() as heard, _alone(), _random_states():
                results = _run(manager, lm, name, num_fewshot, limit)
            found |= {(row.task, row.metric): row for row in _results(results, heard.cut)}
    finally:
        model.train(was_training)
    return list(found.values())


def _manager(tasks: list[str], include_path: str | None) -> Any:
    """lm-eval's list of tasks, with every name of `tasks` on it."""
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise ConfigError(f"lm-eval, which runs these tasks, is not installed ({error}). Run: {INSTALL}") from None
    if not tasks:
        raise ConfigError("No task of lm-eval is named. Name one, such as arc_easy.")
    if include_path is not None and not Path(include_path).expanduser().is_dir():
        raise ConfigError(f"include_path is {include_path!r}: there is no such folder of task files.")
    folder = None if include_path is None else str(Path(include_path).expanduser())
    with _quiet():
        manager = TaskManager(include_path=folder, include_defaults=False)
        if not set(tasks) <= set(manager.all_subtasks):  # a group may hold tasks of lm-eval's own
            manager = TaskManager(include_path=folder)
    for name in tasks:
        if name not in manager.all_tasks:
            near = difflib.get_close_matches(name, manager.all_tasks, n=3)
            hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            where = "" if folder is None else f", nor has {folder} a YAML file with `task: {name}`"
            raise ConfigError(f"lm-eval has no task, group or tag {name!r}{where}.{hint}")
    return manager


def _language_model(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", batch_size: int) -> Any:
    """The model as lm-eval's."""
    from accelerate import PartialState
    from lm_eval.models.huggingface import HFLM

    check_causal(model)
    if PartialState().num_processes > 1:
        raise ConfigError(
            f"lm-eval is run in one process; found {PartialState().num_processes}. Start the command without torchrun "
            "or accelerate."
        )
    if document_frame(tokenizer)[0] is None:
        raise ConfigError("The tokenizer has neither BOS nor EOS, which lm-eval predicts the first token from.")
    end = frame_of(tokenizer)[1]
    if end:
        raise ConfigError(
            f"The tokenizer ends every text with {tokenizer.decode(list(end))!r}, prompts included, so that lm-eval "
            "would score what comes after an end. Take a tokenizer that does not."
        )
    was_training = model.training
    with _quiet():
        lm = HFLM(
            pretrained=model,
            backend="causal",
            tokenizer=copy.deepcopy(tokenizer),
            max_length=positions_of(model),
            softmax_dtype="float32",
            batch_size=batch_size,
        )
    model.train(was_training)
    return lm


def _run(manager: Any, lm: Any, name: str, num_fewshot: int | None, limit: int | None) -> dict[str, Any]:
    """What lm-eval finds for a task, group or tag."""
    import jinja2
    from lm_eval import simple_evaluate

    with _told(name, Exception):  # whatever goes wrong, it is in its YAML file or data
        loaded = manager.load([name])
    built = [loaded["groups"][name]] if name in loaded["groups"] else list(loaded["tasks"].values())
    with _told(name, jinja2.TemplateError, LookupError, ValueError, AssertionError):
        results: dict[str, Any] = simple_evaluate(
            lm,
            tasks=built,
            task_manager=manager,
            num_fewshot=num_fewshot,
            limit=limit,
            log_samples=False,
            bootstrap_iters=RESAMPLES,
        )
    return results


def _results(results: dict[str, Any], cut: int) -> Iterator[HarnessResult]:
    for task, figures in results["results"].items():
        for key, value in figures.items():
            metric, _, filtered = key.partition(",")
            if not filtered or metric.endswith("_stderr") or not isinstance(value, Real):
                continue
            stderr, version = figures.get(f"{metric}_stderr,{filtered}"), results["versions"].get(task)
            yield HarnessResult(
                task=task,
                metric=metric if filtered == "none" else key,
                value=float(value),
                stderr=float(stderr) if isinstance(stderr, Real) else None,
                version=None if version is None else str(version),
                num_fewshot=results["n-shot"].get(task),
                samples=figures["sample_len"],
                cut=cut,
            )


@contextlib.contextmanager
def _told(name: str, *kinds: type[Exception]) -> Iterator[None]:
    """Makes errors of these kinds, and what is wrong with the data of a task, errors of ours."""
    from datasets.exceptions import DatasetsError

    try:
        yield
    except (OSError, DatasetsError) as error:
        raise DataError(
            f"The data of lm-eval's task {name!r} cannot be read: {_reason(error)} Relative data_files are looked for "
            f"in {Path.cwd()}; data sets of the Hub must be in its cache, since nothing is downloaded here."
        ) from None
    except kinds as error:
        raise ConfigError(
            f"lm-eval cannot run the task {name!r}: {type(error).__name__}: {_reason(error)} Compare its YAML file "
            "with the columns of its data, and with docs/new_task_guide.md of lm-eval."
        ) from None


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{lines[0].rstrip('.')}." if lines else f"{type(error).__name__}."


class _Warnings(logging.Handler):
    """What lm-eval warns of: each kind once, and how often it came."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.cut = 0
        self.others: dict[tuple[str, int], tuple[str, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        message, kind = record.getMessage(), (record.pathname, record.lineno)
        if message.startswith(CUT):
            self.cut += 1
        elif not any(known in message for known in EXPECTED):
            first, times = self.others.get(kind, (message.strip().splitlines()[0] if message.strip() else "", 0))
            self.others[kind] = (first, times + 1)


@contextlib.contextmanager
def _quiet() -> Iterator[_Warnings]:
    """Sends what lm-eval prints to standard error, with one line for each kind of warning in its log."""
    logger, heard = logging.getLogger("lm_eval"), _Warnings()
    before = logger.propagate, logger.level, logger.handlers
    logger.propagate, logger.handlers = False, [heard]
    logger.setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield heard
    finally:
        logger.propagate, level, logger.handlers = before
        logger.setLevel(level)
        for message, times in heard.others.values():
            say(f"lm-eval warns{f' {times:,} times' if times > 1 else ''}: {message}")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """No network for libraries that have long read HF_HUB_OFFLINE, and no processes forked from this one."""
    import datasets.config
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        with mock.patch.dict(os.environ, DISABLE_MULTIPROC="1"):
            yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


@contextlib.contextmanager
def _random_states() -> Iterator[None]:
    """lm-eval seeds everything."""
    import torch

    before = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
