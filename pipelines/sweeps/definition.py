"""What a sweep is, resolved and checked against the recipe's own config before its first trial."""

import dataclasses
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pipelines.checking import attempt
from pipelines.config import config_to_dict, keys_of, parse_config
from pipelines.config_rules import flatten
from pipelines.errors import ConfigError
from pipelines.sweeps.measures import Direction, chosen_metrics, direction_of, measures_of
from pipelines.sweeps.space import (
    Parameter,
    Values,
    combinations,
    corners,
    read_space,
    refuse_other_measures,
    settings,
)

if TYPE_CHECKING:
    from pipelines.sweep_sections import SweepConfig

DEFAULT_TRIALS = 20
# What trials do without, since it changes no figure that could decide; `best.yaml` has it as the recipe does.
LEFT_OUT = {"baselines": False, "ngram_order": None, "learning_curve": False, "samples": 0}
# Keys of the recipe that are the sweep's own.
_OWNED = {
    "run.dir": "each trial has its folder in that of the sweep: --run.dir",
    "run.overwrite": "it is --run.overwrite of the sweep",
    "run.stop_at_step": "a trial goes to its end, unless it is pruned",
    "run.threads": "it is --run.threads of the sweep",
    "training.push_to_hub": "trials are not published",
    "training.hub_model_id": "trials are not published",
}


@dataclass(frozen=True)
class Sweep:
    """A sweep with all that its trials follow from.

    Attributes:
        recipe: path of the script.
        module: of the script.
        shared: flags of every trial.
        base: the recipe's config without the space.
        parameters: what is searched.
        metrics: names without `eval_`; the first that a run has decides.
        direction: what is better.
        grid: all combinations, with sampler grid.
        trials: in all.
    """

    recipe: Path
    module: ModuleType
    shared: list[str]
    base: Any
    parameters: list[Parameter]
    metrics: tuple[str, ...]
    direction: Direction
    grid: list[Values] | None
    trials: int

    def config_of(self, values: Values) -> Any:
        """The recipe's config with values of the space.

        Raises:
            ConfigError: the recipe does not take them.
        """
        return _parse(self.module, self.recipe, [*self.shared, *_flags(values)], "sweep.space")

    def trial_config(self, values: Values, threads: int, prove: bool) -> Any:
        """`config_of`, without what changes no figure that could decide."""
        return as_trial(self.config_of(values), threads, prove)


def read_sweep(config: "SweepConfig", recipes: Path) -> Sweep:
    """The sweep of a config.

    Args:
        config: the section sweep.
        recipes: folder of the recipes.

    Raises:
        ConfigError: the recipe, a key, a value or the metric is none.
    """
    metrics = chosen_metrics(config.recipe, config.metric, config.pruner)
    recipe = recipes / f"{config.recipe}.py"
    module = _load(recipe)
    known = keys_of(module.Config)
    base = dict(settings(config.base, known))
    for key in base:
        if key in _OWNED or key.startswith("publish."):
            raise ConfigError(f"sweep.base: {key} cannot be set: {_OWNED.get(key, 'trials are not published')}.")
    parameters = read_space(config.space, known)
    twice = [one.key for one in parameters if one.key in base]
    if twice:
        raise ConfigError(f"{twice[0]} stands in sweep.base and in sweep.space. Keep one.")
    files = [] if config.config is None else ["--config", config.config]
    if files:  # by themselves, so that their errors are not laid to sweep.base
        _parse(module, recipe, files, "sweep.config")
    shared = [*files, *_flags(base)]
    resolved = _parse(module, recipe, shared, "sweep.base")
    refuse_other_measures(parameters, measures_of(config.recipe), metrics, resolved)
    attempt(_check_split, resolved, config, otherwise=None)
    grid = combinations(parameters) if config.sampler == "grid" else None
    wanted = config.trials or (DEFAULT_TRIALS if grid is None else len(grid))
    trials = wanted if grid is None else min(wanted, len(grid))
    direction = config.direction or direction_of(metrics[0])
    sweep = Sweep(recipe, module, shared, resolved, parameters, metrics, direction, grid, trials)
    for values in corners(parameters):
        sweep.config_of(values)
    return sweep


def refuse_other_base(base: Any, saved: Mapping[str, Any], folder: Path) -> None:
    """Compares the config that trials share with that of the sweep in a folder.

    Raises:
        ConfigError: a key differs.
    """
    before, now = dict(flatten(saved)), dict(flatten(config_to_dict(base)))
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if changed:
        lines = "; ".join(f"{key}: {before.get(key)!r} there, {now.get(key)!r} now" for key in changed)
        raise ConfigError(
            f"{folder} holds a sweep with another config of its recipe ({lines}). Restore it, name another folder with "
            "--run.dir, or start anew with --run.overwrite true."
        )


def as_trial(config: Any, threads: int, prove: bool) -> Any:
    """A recipe's config as that of a trial: nothing that changes no figure, proofs in one trial only."""
    changed: dict[str, Any] = {"run": dataclasses.replace(config.run, threads=threads)}
    left_out = {name: value for name, value in LEFT_OUT.items() if hasattr(config.evaluation, name)}
    changed["evaluation"] = dataclasses.replace(config.evaluation, **left_out)
    if hasattr(config, "proof") and not prove:
        changed["proof"] = dataclasses.replace(config.proof, enabled=False)
    return dataclasses.replace(config, **changed)


def _check_split(base: Any, config: "SweepConfig") -> None:
    split = getattr(base.evaluation, "split", None)
    if split == "test":
        raise ConfigError(
            "sweep.base: evaluation.split is test, and what is chosen by the test split is no longer tested by it. "
            "Leave it out; --sweep.test true scores the best settings on it at the end."
        )
    if config.test and split is None:
        raise ConfigError(f"sweep.test is true, but {config.recipe} has no evaluation.split. Leave it out.")


def _flags(values: Mapping[str, Any]) -> list[str]:
    return [
        f"--{key}={value if isinstance(value, str) else json.dumps(value, default=str)}"
        for key, value in values.items()
    ]


def _load(recipe: Path) -> ModuleType:
    import sys

    name = f"recipes_{recipe.stem}"  # not that of a script on sys.path
    spec = importlib.util.spec_from_file_location(name, recipe)
    if spec is None or spec.loader is None or not recipe.is_file():
        raise ConfigError(f"sweep.recipe is {recipe.stem!r}, but there is no {recipe}. Restore it from the repository.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _parse(module: ModuleType, recipe: Path, flags: list[str], source: str) -> Any:
    """parse_config of the recipe, whose errors name the key of the sweep that is to be mended."""
    try:
        return parse_config(module.Config, str(recipe), flags)
    except ConfigError as error:
        told = str(error).replace("`--print_config` lists", f"`{recipe.name} --print_config` lists")
        for ours in ("The command line: ", "The command line "):
            told = told.removeprefix(ours)
        raise ConfigError(f"{source}: {told}") from None
