"""What a suite is: its tasks, their metrics and settings, as YAML in this folder or of the user's own."""

import dataclasses
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.config import read_yaml, typed
from pipelines.config_rules import check_ranges
from pipelines.data.card_schema import SPLITS
from pipelines.errors import ConfigError, did_you_mean
from pipelines.suites.forms import FORMS
from pipelines.suites.official import METRICS
from pipelines.task_sections import FinetuningConfig

FOLDER = Path(__file__).parent
# What is of a run alone, not of a suite: it changes no figure.
OF_RUNS = ("seed", "per_device_eval_batch_size", "max_tokens_per_batch")
# What a suite cannot state: the best weights are what is scored, and seeds are those of the run.
OWNED: dict[str, Any] = {"load_best_model_at_end": True, "save_total_limit": 1}


@dataclass(frozen=True)
class SubmissionFile:
    """How the predictions of a test split are handed in.

    Attributes:
        file: name in the zip.
        labels: what each label is written as; None: as its number.
    """

    file: str
    labels: list[str] | None = None


@dataclass(frozen=True)
class SuiteTask:
    """A task of a suite.

    Attributes:
        data: `card/config` of its data cards, the first that is there.
        metrics: its official metrics (pipelines/suites/official.py); its score is their mean.
        form: how its rows become inputs (pipelines/suites/forms.py).
        folder: local folders below data.dir, the first that is there. Default: <card>-<config>, <config>.
        split_names: split -> name of its files there, where it is another.
        counts_in: tasks with the same word count as one in the average, by their mean; null: in none.
        model_of: it has no training rows: the models of this task are scored on it.
        max_length: tokens of an input at most, as far as the model has positions.
        training: settings of the training section.
        warm_start: whether it may start from a model fine-tuned on MNLI.
        prompt: what a decoder is asked, with {roles} of the row.
        verbalizers: what it may answer, in the order of the labels.
        submission: how test predictions are handed in.
    """

    data: list[str]
    metrics: list[str]
    form: str = "text"
    folder: list[str] = field(default_factory=list)
    split_names: dict[str, str] = field(default_factory=dict)
    counts_in: str | None = None
    model_of: str | None = None
    max_length: int = 128
    training: dict[str, Any] = field(default_factory=dict)
    warm_start: bool = False
    prompt: str | None = None
    verbalizers: list[str] = field(default_factory=list)
    submission: SubmissionFile | None = None


@dataclass(frozen=True)
class Published:
    """Scores that others have published: task -> its metrics, in percent, in the order of the task's metrics."""

    model: str
    split: str
    source: str
    scores: dict[str, list[float]]


@dataclass(frozen=True)
class _Training:
    """A config of that section alone."""

    training: FinetuningConfig


@dataclass(frozen=True)
class Suite:
    """Tasks by name, in the order of the table.

    Attributes:
        name: for people.
        training: settings of all tasks that do not state their own, with their source in the file.
        tasks: by name.
        published: references that stand beside the scores.
        extends: a suite whose content this one changes: keys of maps are added or replaced, one by one.
    """

    name: str
    tasks: dict[str, SuiteTask]
    training: dict[str, Any] = field(default_factory=dict)
    published: list[Published] = field(default_factory=list)
    extends: str | None = None

    @property
    def counted(self) -> dict[str, list[str]]:
        """What the average is taken over -> the tasks that make it up."""
        found: dict[str, list[str]] = {}
        for name, task in self.tasks.items():
            if task.counts_in is not None:
                found.setdefault(task.counts_in, []).append(name)
        return found


def suite_names() -> list[str]:
    """The suites of this folder."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_suite(name: str) -> Suite:
    """A suite by its name, or from a YAML file.

    Raises:
        ConfigError: there is no such suite, or its file states something unknown.
    """
    content = _content(name, "evaluation.suite")
    tasks = content.get("tasks")
    _check_keys(tasks, name)
    try:
        suite = typed(Suite, content, name)
    except ConfigError:
        for task_name, stated in tasks.items() if isinstance(tasks, Mapping) else ():
            typed(SuiteTask, stated if isinstance(stated, Mapping) else {}, f"{name}: task {task_name!r}")
        raise
    if not suite.tasks:
        raise ConfigError(f"{name} has no tasks.")
    distinct: list[dict[str, Any]] = []
    for task_name, task in suite.tasks.items():
        _check(suite, task_name, task, name)
        training = suite.training | task.training
        if training not in distinct:  # parsing takes a while
            distinct.append(training)
            source = f"{name}: training of {task_name!r}"
            try:
                check_ranges(_Training(typed(FinetuningConfig, training, source)))
            except ConfigError as error:
                raise ConfigError(str(error) if str(error).startswith(name) else f"{source}: {error}") from None
    return suite


def _check_keys(tasks: Any, source: str) -> None:
    """Raises ConfigError for a key that no task has."""
    known = [one.name for one in dataclasses.fields(SuiteTask)]
    for name, stated in tasks.items() if isinstance(tasks, Mapping) else ():
        for key in stated if isinstance(stated, Mapping) else ():
            if key not in known:
                raise ConfigError(
                    f"{source}: task {name!r} has the unknown key {key!r}.{did_you_mean(str(key), known)} Keys: "
                    f"{', '.join(known)}."
                )


def choose_tasks(suite: Suite, wanted: list[str] | None) -> dict[str, SuiteTask]:
    """The tasks that evaluation.tasks names, in the order of the suite; all of them by default.

    Raises:
        ConfigError: the suite has no such task.
    """
    for name in wanted or ():
        if name not in suite.tasks:
            raise ConfigError(
                f"evaluation.tasks names {name!r}, which {suite.name} does not have.{did_you_mean(name, suite.tasks)} "
                f"Tasks: {', '.join(suite.tasks)}."
            )
    return {name: task for name, task in suite.tasks.items() if wanted is None or name in wanted}


def _content(name: str, key: str, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    path = FOLDER / f"{name}.yaml" if name in suite_names() else Path(name).expanduser()
    if seen and name not in suite_names():
        path = seen[-1].parent / path  # what a file extends is looked for beside it
    if not path.is_file():
        raise ConfigError(
            f"{key} is {name!r}: neither a suite nor a file.{did_you_mean(name, suite_names())} "
            f"Suites: {', '.join(suite_names())}."
        )
    if path.resolve() in seen:
        raise ConfigError(f"{key} is {name!r}, which extends itself. Name another suite.")
    content = read_yaml(path)
    if content.get("extends") is None:
        return content
    base = _content(str(content["extends"]), f"{path}: extends", (*seen, path.resolve()))
    return _merged(base, content)


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes`, map by map."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _check(suite: Suite, name: str, task: SuiteTask, source: str) -> None:
    where = f"{source}: task {name!r}"
    fields = [one.name for one in dataclasses.fields(FinetuningConfig) if one.name not in (*OWNED, *OF_RUNS)]
    for key, found, known in (
        ("form", [task.form], FORMS),
        ("metrics", task.metrics, METRICS),
        ("training", [*task.training, *suite.training], fields),
        ("model_of", [task.model_of] if task.model_of else [], suite.tasks),
    ):
        for one in found:
            if one not in known:
                raise ConfigError(f"{where}: {key} has {one!r}.{did_you_mean(one, known)} Known: {', '.join(known)}.")
    if not task.metrics or not task.data:
        raise ConfigError(f"{where} needs at least one metric and one card/config in data.")
    form = FORMS[task.form]
    odd = [metric for metric in task.metrics if metric not in form.metrics]
    if odd:
        raise ConfigError(
            f"{where}: rows of the form {task.form} have no {odd[0]}. Their metrics: {', '.join(form.metrics)}."
        )
    for split in task.split_names:
        if split not in SPLITS:
            raise ConfigError(f"{where}: split_names has {split!r}. Splits: {', '.join(SPLITS)}.")
    _check_prompt(where, task)
    for one in task.data:
        if "/" not in one.strip("/"):
            raise ConfigError(f"{where}: data has {one!r}; expected <card>/<config>, such as glue/rte.")


def _check_prompt(where: str, task: SuiteTask) -> None:
    if task.prompt is None:
        return
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(task.prompt) if name is not None]
    except ValueError as error:
        raise ConfigError(f"{where}: the prompt cannot be read: {error}. Roles stand in {{braces}}.") from None
    odd = next((name for name in names if not name.isidentifier()), None)
    if odd is not None:
        raise ConfigError(f"{where}: the prompt has {{{odd}}}; expected the name of a role, such as {{text}}.")
    if not FORMS[task.form].is_choice and len(task.verbalizers) < 2:
        raise ConfigError(f"{where} has a prompt, but not two verbalizers or more, one for each label.")


def training_of(suite: Suite, task: SuiteTask, stated: Any) -> FinetuningConfig:
    """The training section of a task: what the config states, else the task, else the suite, else the defaults.

    Args:
        stated: pipelines.suite_sections.SuiteTrainingConfig.
    """
    own = {key: value for key, value in dataclasses.asdict(stated).items() if value is not None and value != {}}
    values = suite.training | task.training
    if "num_train_epochs" in own:
        values.pop("max_steps", None)
    return FinetuningConfig(**{**values, **own, **OWNED})
