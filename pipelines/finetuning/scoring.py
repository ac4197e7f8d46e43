"""What predictions are worth: intervals, baselines on the same rows, and where the model errs."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pipelines.data.labelled import FILE, NUMBER, Row, Rows
from pipelines.errors import DataError
from pipelines.evaluation import analysis
from pipelines.evaluation.statistics import Comparison, Resamples, compare, interval
from pipelines.finetuning.evaluating import Evaluator
from pipelines.run import say
from pipelines.run_folder import RunFolder
from pipelines.tasks.task import Prediction, Scored, Task

if TYPE_CHECKING:
    from pipelines.task_sections import FinetuningEvaluationConfig


@dataclass(frozen=True)
class Evidence:
    """Figures of a run and of its baselines on the same rows."""

    scored: Scored
    metrics: dict[str, float]
    comparisons: list[Comparison]
    learning_curve: list[dict[str, float]]
    """Headline of the baseline that learns, by training rows."""


LEARNING_SHARES = (1 / 8, 1 / 4, 1 / 2)
SMALLEST_PART = 20  # rows


class Scorer(Protocol):
    """Rows, and the figures of predictions of them."""

    @property
    def rows(self) -> Rows: ...
    def score(self, predictions: list[Prediction]) -> Scored: ...


def weigh(
    task: Task,
    evaluator: Scorer,
    predictions: list[Prediction],
    train: Rows,
    evaluation: "FinetuningEvaluationConfig",
    seed: int,
    untuned: list[Prediction] | None = None,
) -> Evidence:
    """Scores predictions, with an interval, and the baselines beside them; `untuned` is one of those.

    Returns:
        metrics: eval_<metric>, eval_<headline>_ci_low and _ci_high, eval_rows, baseline_<name>_<metric>.
    """
    rows = evaluator.rows.as_list
    scored = evaluator.score(predictions)
    resamples = Resamples([task.group_key(row) for row in rows], evaluation.resamples, seed)
    low, high = interval(scored.statistic, resamples)
    metrics = {f"eval_{name}": value for name, value in scored.metrics.items()}
    metrics |= {f"eval_{scored.headline}_ci_low": low, f"eval_{scored.headline}_ci_high": high, "eval_rows": len(rows)}
    comparisons, curve = [], []
    rivals = _baselines(task, train, rows, seed) if evaluation.baselines else ()
    for name, said in chain([] if untuned is None else [("untuned", untuned)], rivals):
        beside = evaluator.score(said)
        metrics |= {f"baseline_{name}_{metric}": value for metric, value in beside.metrics.items()}
        correct = None if scored.correct_R is None or beside.correct_R is None else (scored.correct_R, beside.correct_R)
        comparison = compare(name, scored.headline, scored.statistic, beside.statistic, correct, len(rows), resamples)
        comparisons.append(comparison)
        say(comparison.sentence())
        if name == task.learned_baseline and evaluation.learning_curve:
            curve = [*_learning_curve(task, evaluator, train, seed)]
            curve.append({"rows": len(train), "score": beside.metrics[scored.headline]})
    return Evidence(scored, metrics, comparisons, curve)


def _baselines(task: Task, train: Rows, rows: Sequence[Row], seed: int) -> Iterator[tuple[str, list[Prediction]]]:
    """Names and predictions of a task's baselines, up to one that these rows do not allow."""
    try:
        yield from task.baselines(train, rows, seed)
    except DataError as error:
        say(f"No further baseline: {error}")


def _learning_curve(task: Task, evaluator: Scorer, train: Rows, seed: int) -> Iterator[dict[str, float]]:
    """The baseline that learns, fitted on random shares of the training rows; shares too small are left out."""
    order = np.random.default_rng(seed).permutation(len(train))
    for share in LEARNING_SHARES:
        part = train.take(np.sort(order[: int(share * len(train))]).tolist())
        if len(part) < SMALLEST_PART or len({task.stratum(row) for row in part}) != len(
            {task.stratum(row) for row in train}
        ):
            continue
        found = dict(_baselines(task, part, evaluator.rows.as_list, seed))
        if task.learned_baseline in found:
            scored = evaluator.score(found[task.learned_baseline])
            yield {"rows": len(part), "score": scored.metrics[scored.headline]}


def write_evidence(
    task: Task,
    evaluator: Evaluator,
    predictions: list[Prediction],
    evidence: Evidence,
    evaluation: "FinetuningEvaluationConfig",
    folder: RunFolder,
) -> None:
    """Writes analysis.json and predictions.parquet of the final predictions."""
    rows, scored = evaluator.rows.as_list, evidence.scored
    shown = [task.shown(row, said) for row, said in zip(rows, predictions, strict=True)]
    lengths_R = np.array([len(one["input"]) for one in shown])
    errors = [
        shown[index] | {"where": evaluator.rows.where(index), "worth": float(scored.worth_R[index])}
        for index in analysis.worst(scored.worth_R, evaluation.samples)
    ]
    folder.write_json(
        "analysis.json",
        {
            "split": evaluation.split,
            "headline": scored.headline,
            "comparisons": [one.as_dict() for one in evidence.comparisons],
            "learning_curve": evidence.learning_curve,
            "slices": analysis.slices(lengths_R, [task.slices(row) for row in rows], scored.statistic),
            "errors": errors,
            **task.analysis(predictions, rows),
        },
    )
    write_predictions(task, rows, predictions, scored, folder)


def write_predictions(
    task: Task, rows: Sequence[Row], predictions: Sequence[Prediction], scored: Scored, folder: RunFolder
) -> None:
    """predictions.parquet: the rows as they were read, what the model says of each, and what that is worth."""
    import os

    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = {"file": [row[FILE] for row in rows], "row": [row[NUMBER] for row in rows]}
    for role in (role for role in rows[0] if role not in (FILE, NUMBER)):
        columns[role] = [_plain(row[role]) for row in rows]
    public = [task.public(one) for one in predictions]
    for name in public[0]:
        columns[f"predicted_{name}"] = [_plain(one[name]) for one in public]
    columns["worth"] = [float(one) for one in scored.worth_R]
    aside = folder.path / ".predictions.parquet"
    pq.write_table(pa.table(columns), aside)
    os.replace(aside, folder.path / "predictions.parquet")


def _plain(value: Any) -> Any:
    """Values that have no column type of their own as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
