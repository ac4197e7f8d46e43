"""What a sweep has found: best.yaml, trials.jsonl, sweep.json and metrics.json, all made of the study."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.config import config_to_yaml
from pipelines.run_folder import RunFolder
from pipelines.sweeps.definition import Sweep
from pipelines.sweeps.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from pipelines.sweep_sections import SweepConfig

STATES = ("complete", "pruned", "failed", "running")
_NAMES = {"FAIL": "failed", "WAITING": "running"}


@dataclass(frozen=True)
class Results:
    """Of a sweep so far.

    Attributes:
        table: content of sweep.json, which the report is made of.
        metrics: content of metrics.json.
    """

    table: dict[str, Any]
    metrics: dict[str, float]


def results(sweep: Sweep, study: Study, config: "SweepConfig", tested: dict[str, Any] | None) -> Results:
    """Gathers what is known of the trials.

    Args:
        sweep, study: what was searched, and what became of it.
        config: the section sweep.
        tested: trial, metric and value of the best settings on the test split.
    """
    best = study.best()
    trials = trial_lines(study)
    counts = {state: sum(one["state"] == state for one in trials) for state in STATES}
    metric = next((one["metric"] for one in trials if one["metric"]), sweep.metrics[0])
    importances = study.importances()
    table = {
        "recipe": sweep.recipe.stem,
        "metric": metric,
        "direction": sweep.direction,
        "sampler": config.sampler,
        "pruner": config.pruner,
        "asked": sweep.trials,
        "counts": counts,
        "keys": [one.key for one in sweep.parameters],
        "best": None if best is None else best.number,
        "trials": trials,
        "importances": importances,
        "test": tested,
    }
    metrics: dict[str, float] = {}
    if best is not None and best.value is not None:
        metrics |= {f"best_{metric}": best.value, "best_trial": best.number}
    if tested is not None:
        metrics[f"test_{tested['metric']}"] = tested["value"]
    metrics |= {"trials": len(trials)} | {f"trials_{state}": counts[state] for state in STATES if counts[state]}
    metrics |= {f"importance_{key}": share for key, share in importances.items()}
    return Results(table, metrics)


def write_results(folder: RunFolder, sweep: Sweep, study: Study, found: Results) -> None:
    """Writes all but metrics.json and the report, which are written last."""
    best = study.best()
    assert best is not None
    write_trials(folder, study)
    folder.write_json("sweep.json", found.table)
    folder.write_text("best.yaml", config_to_yaml(sweep.config_of(study.values_of(best))))


def write_trials(folder: RunFolder, study: Study) -> None:
    """Writes trials.jsonl, a line for each trial."""
    folder.write_text("trials.jsonl", "".join(json.dumps(one) + "\n" for one in trial_lines(study)))


def trial_lines(study: Study) -> list[dict[str, Any]]:
    """What is told of each trial, by their numbers."""
    return [_trial(study, one) for one in study.trials()]


def _trial(study: Study, one: "FrozenTrial") -> dict[str, Any]:
    """A line of trials.jsonl; of a pruned trial the value is that of its last evaluation."""
    return {
        "number": one.number,
        "state": _NAMES.get(one.state.name, one.state.name.lower()),
        "value": one.value if one.state.is_finished() else None,
        "metric": one.user_attrs.get("metric"),
        "values": study.values_of(one),
        "evaluations": {str(step): value for step, value in sorted(one.intermediate_values.items())},
        "train_seconds": one.user_attrs.get("train_seconds"),
        "message": one.user_attrs.get("message"),
    }
