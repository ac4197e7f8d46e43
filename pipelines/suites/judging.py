"""What the seeds of a task are worth: median and best, an interval, baselines on the same rows, clean rows alone."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pipelines.data.labelled import Rows
from pipelines.finetuning.scoring import weigh
from pipelines.suites.entries import Entry, read_predictions
from pipelines.task_sections import FinetuningEvaluationConfig
from pipelines.tasks.task import Prediction, Scored, Task


@dataclass(frozen=True)
class TaskRow:
    """A row of the table. Scores are means of the official metrics, as shares, not percent.

    Attributes:
        metrics: of the seed whose score is the median (of two in the middle the lower): figures by name.
        official: those that the score is the mean of.
        score: median over the seeds (of two in the middle the lower); low, high: bootstrap interval of that seed.
        best, best_seed: of the seeds.
        scores: by seed.
        baselines: name -> score on the same rows.
        comparisons: of the median seed with each baseline.
        rows, train_rows: scored, and trained on.
        seconds: of training and evaluating, all seeds.
        contamination: what was found of the rows in a pretraining corpus, with the score of the others.
        source: card and config, or what scored the task.
        note: what a reader must know.
    """

    metrics: dict[str, float]
    official: list[str]
    score: float
    low: float | None
    high: float | None
    best: float
    best_seed: int
    scores: dict[str, float]
    rows: int
    source: str
    baselines: dict[str, float] = field(default_factory=dict)
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    train_rows: int = 0
    seconds: float = 0.0
    contamination: dict[str, Any] | None = None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For suite.json."""
        return asdict(self)


@dataclass(frozen=True)
class _Rows:
    """What `weigh` asks of an evaluator."""

    task: Task
    rows: Rows

    def score(self, predictions: list[Prediction]) -> Scored:
        return self.task.score(predictions, self.rows.as_list)


def judge(
    entry: Entry, seeds: list[int], evaluation: Any, seed: int, contamination: dict[str, Any] | None = None
) -> TaskRow:
    """Scores the predictions of a task's seeds.

    Args:
        entry: with predictions of each seed.
        seeds: of its runs.
        evaluation: the evaluation section.
        seed: of the resamples and baselines.
        contamination: of these rows; `clean_rows` are the indices of those that were not found.
    """
    split = str(entry.split)
    rows = entry.rows
    scorer = _Rows(entry.task, rows)
    said = {one: read_predictions(entry.seed_folder(one), split) for one in seeds}
    scores = {one: scorer.score(predictions).metrics["score"] for one, predictions in said.items()}
    ranked = sorted(seeds, key=lambda one: (scores[one], one))
    median_seed, best_seed = ranked[(len(ranked) - 1) // 2], ranked[-1]
    train = entry.data.splits.get("train")
    evidence = weigh(
        entry.task,
        scorer,
        said[median_seed],
        rows if train is None else train,
        FinetuningEvaluationConfig(
            baselines=evaluation.baselines and train is not None, learning_curve=False, resamples=evaluation.resamples
        ),
        seed,
    )
    found = evidence.metrics
    if contamination is not None:
        clean = np.array(contamination["clean_rows"], dtype=int)
        told = {name: value for name, value in contamination.items() if name != "clean_rows"}
        contamination = told | {"clean_score": evidence.scored.statistic(clean) if len(clean) else None}
    return TaskRow(
        metrics={
            name: found[f"eval_{name}"]
            for name in dict.fromkeys((*entry.spec.metrics, "accuracy"))
            if f"eval_{name}" in found
        },
        official=entry.spec.metrics,
        score=scores[median_seed],
        low=found["eval_score_ci_low"],
        high=found["eval_score_ci_high"],
        best=scores[best_seed],
        best_seed=best_seed,
        scores={str(one): score for one, score in scores.items()},
        rows=len(rows),
        source=entry.data.source,
        baselines={one.baseline: one.baseline_score for one in evidence.comparisons},
        comparisons=[one.as_dict() for one in evidence.comparisons],
        train_rows=0 if train is None else len(train),
        seconds=sum(entry.seed_folder(one).read_json("metrics.json").get("seconds", 0.0) for one in seeds),
        contamination=contamination,
    )
