"""The space of a sweep: each key a list of values or a range, checked, and drawn from by Optuna."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipelines.errors import ConfigError, did_you_mean
from pipelines.sweeps.measures import Measures

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Values = dict[str, Any]  # dotted key -> value
_OF_RANGES = ("low", "high", "log", "step")
_MOST_COMBINATIONS = 1_000_000
# Sections and keys that decide what is measured, or where a run goes: trials would not be comparable.
_FIXED_SECTIONS = {
    "run": "it says where a run goes",
    "publish": "trials are not published",
    "proof": "it changes no figure",
    "evaluation": "trials must be measured alike",
    "preflight": "it is of --check",
}
_OF_SCORED_ROWS = (
    *("card", "name", "config_name", "revision", "files", "columns", "sample_by", "label_names", "invalid_rows"),
    *("split_method", "validation_share", "split_seed"),
)


@dataclass(frozen=True)
class Parameter:
    """A key and what it is drawn from: `values`, or a range.

    Attributes:
        low, high: of a range, both included.
        is_whole: of a range: whole numbers.
        log: a range is drawn from evenly in the logarithm.
        step: of a range: between values, from `low` on; None: every number.
    """

    key: str
    values: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    is_whole: bool = False
    log: bool = False
    step: float | None = None

    @property
    def extremes(self) -> tuple[Any, ...]:
        """Values that stand for all in a check: every one of a list, the ends of a range."""
        return self.values or (self.low, self.high)

    def distribution(self) -> "BaseDistribution":
        """For Optuna."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.values:
            return CategoricalDistribution([_choice(value) for value in self.values])
        if self.is_whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(float(self.low), float(self.high), log=self.log, step=self.step)

    def value(self, drawn: Any) -> Any:
        """The value that a draw of Optuna stands for."""
        return {_choice(value): value for value in self.values}.get(drawn, drawn)

    def draw(self, value: Any) -> Any:
        """The inverse of `value`."""
        return _choice(value) if self.values else value

    def grid(self) -> tuple[Any, ...]:
        """All values. Raises ConfigError for a range of which there is no list."""
        if self.values:
            return self.values
        if self.step is None and not self.is_whole:
            raise ConfigError(
                f"sweep.sampler is grid, but {self.key} is a range without `step`. Give it one, or a list of values."
            )
        low, step = Decimal(str(self.low)), Decimal(str(self.step or 1))
        count = int((Decimal(str(self.high)) - low) / step) + 1
        if count > _MOST_COMBINATIONS:
            raise ConfigError(f"sweep.sampler is grid, and {self.key} has {count:,} values. Take a larger `step`.")
        numbers = (low + step * place for place in range(count))
        return tuple(int(number) if self.is_whole else float(number) for number in numbers)


def settings(values: Mapping[str, Any], known: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) pairs of maps in each other, down to the keys of a recipe (`known`)."""
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        is_section = dotted not in known and any(name.startswith(f"{dotted}.") for name in known)
        if is_section and isinstance(value, Mapping):
            yield from settings(value, known, f"{dotted}.")
        else:
            yield dotted, value


def read_space(space: Mapping[str, Any], known: Mapping[str, Any]) -> list[Parameter]:
    """The parameters of sweep.space, in its order. That the recipe takes keys and values is not checked here.

    Args:
        space: dotted key, or maps in each other -> list or range.
        known: keys of the recipe with their types.

    Raises:
        ConfigError: it is empty, or an entry is neither list nor range.
    """
    parameters = [_parameter(key, stated, known) for key, stated in settings(space, known)]
    if not parameters:
        raise ConfigError(
            "sweep.space is empty: expected at least one key of the recipe with a list of values or a range, such as "
            "--sweep.space '{training.learning_rate: {low: 1e-5, high: 1e-3, log: true}}'."
        )
    return parameters


def refuse_other_measures(parameters: list[Parameter], measures: Measures, metrics: tuple[str, ...], base: Any) -> None:
    """Refuses what would make trials incomparable.

    Args:
        parameters: of the space.
        measures: of the recipe.
        metrics: the figures that may decide.
        base: the recipe's config without the space.

    Raises:
        ConfigError: a key changes what is measured, or where a run goes.
    """
    fixed = measures.yardstick(metrics, base) | _FIXED_SECTIONS
    fixed |= dict.fromkeys((f"data.{name}" for name in _OF_SCORED_ROWS), "it may change the rows that are scored")
    for one in parameters:
        why = next((why for key, why in fixed.items() if _is_in(one.key, key) or _is_in(key, one.key)), None)
        if why is not None:
            raise ConfigError(f"sweep.space: {one.key} cannot be searched: {why}. Set it in sweep.base, or leave it.")


def _is_in(key: str, section: str) -> bool:
    return f"{key}.".startswith(f"{section}.")


def combinations(parameters: list[Parameter]) -> list[Values]:
    """All combinations of a grid, the last key changing fastest.

    Raises:
        ConfigError: a range has no step, or there are more than a million.
    """
    grids = [one.grid() for one in parameters]
    if (count := math.prod(map(len, grids))) > _MOST_COMBINATIONS:
        raise ConfigError(f"sweep.space has {count:,} combinations, too many for a grid. Take sampler tpe or random.")
    keys = [one.key for one in parameters]
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*grids)]


def corners(parameters: list[Parameter]) -> list[Values]:
    """Few combinations in which each extreme stands once; in the last, the last of each."""
    count = max(len(one.extremes) for one in parameters)
    return [{one.key: one.extremes[min(place, len(one.extremes) - 1)] for one in parameters} for place in range(count)]


def _parameter(key: str, stated: Any, known: Mapping[str, Any]) -> Parameter:
    if isinstance(stated, list):
        if not stated:
            raise ConfigError(f"sweep.space: {key} is an empty list. Name at least one value.")
        twice = [value for place, value in enumerate(stated) if _choice(value) in map(_choice, stated[:place])]
        if twice:
            raise ConfigError(f"sweep.space: {key} has the value {twice[0]!r} twice. Keep one.")
        return Parameter(key, values=tuple(stated))
    if not isinstance(stated, Mapping):
        raise ConfigError(
            f"sweep.space: {key} is {stated!r}: expected a list of values or a range such as {{low: 1, high: 4}}. "
            "A single value goes into sweep.base."
        )
    return _range(key, dict(stated), known)


def _range(key: str, stated: dict[str, Any], known: Mapping[str, Any]) -> Parameter:
    where = f"sweep.space: {key}"
    for name in stated:
        if name not in _OF_RANGES:
            hint = did_you_mean(str(name), _OF_RANGES)
            raise ConfigError(f"{where} has {name!r}.{hint} A range has low and high, and may have log or step.")
    log, step = stated.get("log", False), stated.get("step")
    bounds = [stated.get(name) for name in ("low", "high")]
    for name, value in (*zip(("low", "high"), bounds, strict=True), *([("step", step)] if step is not None else [])):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ConfigError(f"{where}: {name} must be a number; found {value!r}.")
    low, high = bounds
    assert isinstance(low, int | float) and isinstance(high, int | float)
    if not isinstance(log, bool):
        raise ConfigError(f"{where}: log must be true or false; found {log!r}.")
    if low >= high:
        raise ConfigError(f"{where}: low must be below high; found {low} and {high}.")
    if log and (low <= 0 or step is not None):
        told = "has no step; leave it out" if step is not None else f"must begin above 0; low is {low}"
        raise ConfigError(f"{where}: a range with log {told}.")
    if step is not None and not 0 < step <= high - low:
        raise ConfigError(f"{where}: step must be above 0 and at most high - low; found {step}.")
    is_whole = _is_whole(key, (low, high, *([] if step is None else [step])), known)
    if step is not None:  # the last value that the steps come to
        steps = int((Decimal(str(high)) - Decimal(str(low))) / Decimal(str(step)))
        last = Decimal(str(low)) + steps * Decimal(str(step))
        high = int(last) if is_whole else float(last)
    return Parameter(key, (), low, high, is_whole, log, step)


def _is_whole(key: str, numbers: tuple[float, ...], known: Mapping[str, Any]) -> bool:
    """Whether a range is of whole numbers: as the recipe's key is, or where it takes anything, as the ends are."""
    kind = str(known.get(key, "")).replace("<class '", "").replace("'>", "").replace(" | None", "")
    are_whole = all(isinstance(number, int) for number in numbers)
    if kind == "int" and not are_whole:
        raise ConfigError(f"sweep.space: {key} takes whole numbers; found {', '.join(map(str, numbers))}.")
    return are_whole and kind != "float"


def _choice(value: Any) -> Any:
    """A value as Optuna keeps choices: lists and maps as JSON. True and 1 are told apart by JSON, too."""
    is_plain = value is None or isinstance(value, str | float) or type(value) is int
    return value if is_plain else json.dumps(value, default=str)
