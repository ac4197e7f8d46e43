"""The tasks of a suite that are scored in a run, with their rows; and those that cannot be, with the reason."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.labelled import spread_rows
from pipelines.errors import DataError
from pipelines.run import say
from pipelines.run_folder import RunFolder
from pipelines.suites.definition import Suite, SuiteTask
from pipelines.suites.forms import FORMS
from pipelines.suites.official import SuiteChoice, SuiteClassification
from pipelines.suites.reading import Missing, TaskData, read_task
from pipelines.tasks.task import Prediction

if TYPE_CHECKING:
    from pipelines.data.labelled import Rows

PREDICTIONS = "predictions-{}.parquet"


@dataclass(frozen=True)
class Entry:
    """A task and its rows.

    Attributes:
        name, spec: of the suite.
        task: knows its labels, unless its only split is hidden.
        data: the splits that were asked for.
        split: that is scored; None: it is predicted only.
        hidden: that is predicted for a submission.
        folder: of its seeds.
    """

    name: str
    spec: SuiteTask
    task: SuiteClassification | SuiteChoice
    data: TaskData
    split: str | None
    hidden: str | None
    folder: Path

    @property
    def predicted(self) -> list[str]:
        """The splits that a model is asked for."""
        return [split for split in dict.fromkeys((self.split, self.hidden)) if split is not None]

    def seed_folder(self, seed: int) -> RunFolder:
        """Where the run of a seed is."""
        return RunFolder(self.folder / f"seed-{seed}")

    def is_done(self, seed: int) -> bool:
        """Whether a seed is finished, with all predictions that are asked for now."""
        inside = self.seed_folder(seed)
        return inside.finished and all(
            _rows_of(inside.path / PREDICTIONS.format(one)) == len(self.data.splits[one]) for one in self.predicted
        )

    @property
    def rows(self) -> "Rows":
        """The rows that are scored."""
        return self.data.splits[str(self.split)]


def read_entries(
    suite: Suite, tasks: dict[str, SuiteTask], config: Any, folder: Path
) -> tuple[list[Entry], dict[str, str]]:
    """Reads all tasks, before anything is computed.

    Args:
        suite, tasks: those to score.
        config: of recipes/evaluate_glue.py.
        folder: of the run.

    Returns:
        The entries, and why other tasks have none.

    Raises:
        DataError: not one task can be scored, or rows cannot be used.
        CardError, HubError: a card is not valid, or the Hub cannot be reached.
    """
    evaluation = config.evaluation
    entries: list[Entry] = []
    skipped: dict[str, str] = {}
    for name, spec in sorted(tasks.items(), key=lambda one: one[1].model_of is not None):  # what others need first
        has_base = evaluation.method == "finetune" or (evaluation.method == "likelihood" and evaluation.num_fewshot)
        if has_base and spec.model_of is not None and (spec.model_of not in tasks or spec.model_of in skipped):
            skipped[name] = f"it needs the models or training rows of {spec.model_of}, of which there are none"
            continue
        if evaluation.method == "likelihood" and spec.prompt is None:
            skipped[name] = "the suite has no prompt for it"
            continue
        # A diagnostic set is one split, called test whatever is asked for.
        split = evaluation.split if spec.model_of is None or "validation" in spec.split_names else "test"
        hidden = ["test"] if evaluation.submission and spec.submission is not None else []
        task = FORMS[spec.form].task(spec.metrics)
        try:
            data = _read_first(_attempts(spec, split, evaluation, hidden), spec, task, config.data, hidden)
        except Missing as reason:
            skipped[name] = str(reason)
            continue
        scored = split if split in data.labelled else None
        if scored is not None:
            data.splits[split] = _spread(data.splits[split], evaluation.max_rows)
        unseen = hidden[0] if hidden and hidden[0] in data.splits and hidden[0] != scored else None
        entries.append(Entry(name, spec, task, data, scored, unseen, folder / "tasks" / name))
    for name, why in skipped.items():
        say(f"{suite.name}: {name} is left out: {why}")
    if not any(entry.split for entry in entries) and not evaluation.harness_tasks:
        whys = "; ".join(f"{name}: {why}" for name, why in skipped.items())
        raise DataError(f"No task of {suite.name} can be scored. {whys}.")
    return entries, skipped


def _spread(rows: "Rows", most: int | None) -> "Rows":
    """Evenly spread rows, about `most` of them: whole groups, since metrics of questions and pairs need these."""
    if most is None or "group" not in rows.table.column_names:
        return spread_rows(rows, most)
    groups: dict[str, list[int]] = {}
    for index, group in enumerate(rows.table.column("group").to_pylist()):
        groups.setdefault(group, []).append(index)
    count = max(1, round(len(groups) * min(1.0, most / len(rows))))
    chosen = np.linspace(0, len(groups) - 1, count, dtype=int).tolist()
    members = list(groups.values())
    return rows.take(sorted(index for place in chosen for index in members[place]))


def _attempts(spec: SuiteTask, split: str, evaluation: Any, hidden: list[str]) -> list[list[str]]:
    """The splits with labels that a task needs, in the order in which they are asked for until they are there."""
    if spec.model_of is not None:
        # Labels of a diagnostic set may be hidden: then it is predicted for the submission alone.
        return [[split], *([[]] if hidden else [])]
    if evaluation.method == "finetune":
        return [list(dict.fromkeys(["train", "validation", split]))]
    if evaluation.method == "likelihood" and evaluation.num_fewshot:
        return [["train", split]]
    return [*([["train", split]] if evaluation.baselines else []), [split]]


def _read_first(attempts: list[list[str]], spec: SuiteTask, task: Any, data: Any, hidden: list[str]) -> TaskData:
    """The data of the first attempt for which there are files. Raises Missing with the reason of the last."""
    last = Missing("nothing is asked of it")
    for splits in attempts:
        try:
            return read_task(spec, task, data.dir, splits, hidden, data.max_train_rows)
        except Missing as reason:
            last = reason
    raise last


def _rows_of(path: Path) -> int | None:
    """Rows of a Parquet file; None if there is no such file."""
    import pyarrow.parquet as pq

    return pq.read_metadata(path).num_rows if path.is_file() else None


def write_predictions(inside: RunFolder, split: str, predictions: list[Prediction]) -> None:
    """Keeps the predictions of a split."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = inside.path / PREDICTIONS.format(split)
    aside = path.with_name(f".{path.name}")
    pq.write_table(pa.Table.from_pylist(predictions), aside)
    aside.replace(path)


def read_predictions(inside: RunFolder, split: str) -> list[Prediction]:
    """What `write_predictions` kept."""
    import pyarrow.parquet as pq

    kept: list[Prediction] = pq.read_table(inside.path / PREDICTIONS.format(split)).to_pylist()
    return kept
