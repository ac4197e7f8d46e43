"""The table of a suite: a row for each task as it completes, and the average."""

from typing import Any

import numpy as np

from pipelines.run import say
from pipelines.suites.definition import Suite
from pipelines.suites.judging import TaskRow


class Table:
    """Rows by task.

    Args:
        suite: decides what the average is taken over.
        skipped: tasks that cannot be scored, with the reason.
        method: how the model came to its predictions, as evaluation.method.
        corpora: pretraining runs whose text was searched for the rows.
    """

    def __init__(self, suite: Suite, skipped: dict[str, str], corpora: list[str], method: str) -> None:
        self.suite, self.skipped, self.corpora, self.method = suite, skipped, corpora, method
        self.rows: dict[str, TaskRow] = {}

    def add(self, name: str, row: TaskRow) -> None:
        """Takes a row, and tells it; rows stand in the order of the suite."""
        order = [*self.suite.tasks, *self.rows, name]
        self.rows = dict(sorted((self.rows | {name: row}).items(), key=lambda one: order.index(one[0])))
        say("\n" + self._line(name, row))

    def average(self) -> tuple[float | None, list[str]]:
        """The mean over what the suite counts, each the mean of its tasks, and what of it is missing.

        GLUE: unweighted mean over the tasks, a task of several metrics by their mean (Wang et al. 2018, section 4).
        """
        counted = self.suite.counted
        scores = [
            float(np.mean([self.rows[name].score for name in names]))
            for names in counted.values()
            if all(name in self.rows for name in names)
        ]
        missing = [one for one, names in counted.items() if not all(name in self.rows for name in names)]
        return (float(np.mean(scores)) if scores else None), missing

    def as_dict(self) -> dict[str, Any]:
        """For suite.json."""
        average, missing = self.average()
        published = [
            {"model": one.model, "split": one.split, "source": one.source, "scores": _means(one.scores)}
            for one in self.suite.published
        ]
        return {
            "suite": self.suite.name,
            "method": self.method,
            "average": average,
            "average_of": len(self.suite.counted) - len(missing),
            "average_misses": missing,
            "tasks": {name: row.as_dict() for name, row in self.rows.items()},
            "skipped": self.skipped,
            "corpora": self.corpora,
            "published": published,
        }

    def metrics(self) -> dict[str, float]:
        """For metrics.json: the average, and each task's metrics, interval, best and baselines."""
        average, missing = self.average()
        found: dict[str, float] = {}
        if average is not None:
            found["eval_average_partial" if missing else "eval_average"] = average
        for name, row in self.rows.items():
            found |= {f"eval_{name}_{metric}": value for metric, value in row.metrics.items()}
            found |= {f"eval_{name}_score": row.score, f"eval_{name}_score_best": row.best}
            if row.low is not None and row.high is not None:
                found |= {f"eval_{name}_score_ci_low": row.low, f"eval_{name}_score_ci_high": row.high}
            found |= {f"baseline_{baseline}_{name}_score": value for baseline, value in row.baselines.items()}
        return found

    def as_text(self) -> str:
        """For a terminal."""
        average, missing = self.average()
        lines = [self._line(name, row) for name, row in self.rows.items()]
        lines += [f"{name:<16} left out: {why}" for name, why in self.skipped.items()]
        if average is not None:
            counted = len(self.suite.counted)
            of = f"all {counted}" if not missing else f"{counted - len(missing)} of {counted}, partial: without "
            lines.append(f"{'average':<16} {average:.4f}  ({of}{', '.join(missing)})")
        return "\n".join(lines)

    def _line(self, name: str, row: TaskRow) -> str:
        parts = ", ".join(f"{one} {row.metrics[one]:.4f}" for one in row.official)
        interval = f" [{row.low:.4f}, {row.high:.4f}]" if row.low is not None and row.high is not None else ""
        seeds = f" median of {len(row.scores)}, best {row.best:.4f};" if len(row.scores) > 1 else ""
        beside = ", ".join(f"{baseline} {value:.4f}" for baseline, value in row.baselines.items())
        label = row.official[0] if len(row.official) == 1 else f"mean of {parts}"
        return f"{name:<16} {row.score:.4f}{interval} {label};{seeds} {beside or 'no baseline'} ({row.rows:,} rows)"


def _means(scores: dict[str, list[float]]) -> dict[str, float]:
    """Published percents as shares, several metrics of a task as their mean."""
    return {name: float(np.mean(values)) / 100 for name, values in scores.items()}
