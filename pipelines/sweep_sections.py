"""The typed section of recipes/sweep.py. The docstring under a field is its `--help` text."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass
class SweepConfig:
    """sweep: which settings of which recipe are tried, how they are drawn, and what decides (docs/sweeps.md)."""

    recipe: str | None = None
    """Training recipe that each trial is a run of, such as finetune_classification."""
    config: str | None = None
    """Config file of that recipe, as its --config takes one. Default: its own default.yaml."""
    base: dict[str, Any] = field(default_factory=dict)
    """Settings of that recipe that all trials share, over its config file: '{training.max_steps: 100}'."""
    space: dict[str, Any] = field(default_factory=dict)
    """Key -> a list of values, or a range {low, high} with `log: true` or `step`."""
    metric: str | None = None
    """Figure of the validation split that decides, such as f1 for eval_f1. Default: the headline of the recipe."""
    direction: Literal["minimize", "maximize"] | None = None
    """What is better. Default: as the metric is."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """How values are drawn: by what was good so far, at random, or all combinations in turn."""
    pruner: Literal["none", "median", "successive_halving"] = "none"
    """Ends trials early whose evaluations on the way are worse than those of others."""
    trials: int | None = None
    """Trials in all. Default: 20; grid: all combinations."""
    engine: Literal["local", "ray"] = "local"
    """Where trials run: on this machine, or on the nodes of a Ray cluster that share the run folder."""
    workers: int = 1
    """Trials at once, each with its share of this machine's CPU threads, or a GPU."""
    seed: int = 42
    """Seed of what is drawn."""
    timeout_minutes: float | None = None
    """Start no trial after so many minutes. The same command goes on with the rest."""
    test: bool = False
    """At the end, train the best settings once more and score them on the test split, which no trial sees."""
