"""The trials of a sweep as an Optuna study, kept in a journal file of the sweep's folder."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import CheckpointError, ConfigError
from pipelines.sweeps.definition import Sweep
from pipelines.sweeps.space import Values

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

    from pipelines.sweep_sections import SweepConfig

JOURNAL, NAME = "journal.log", "sweep"


class Study:
    """Draws values, and keeps what became of them. One process has it at a time.

    What is drawn follows from the seed, the number of the trial and the trials before it, so that a sweep which was
    stopped goes on as it would have; with several workers it also follows from which of them are done.

    Args:
        sweep: what is searched.
        config: the section sweep.
        folder: of the sweep.

    Raises:
        CheckpointError: the journal is damaged.
    """

    def __init__(self, sweep: Sweep, config: "SweepConfig", folder: Path) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.sweep, self.config = sweep, config
        self.distributions = {one.key: one.distribution() for one in sweep.parameters}
        try:
            self._study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
                study_name=NAME,
                direction=sweep.direction,
                pruner=self._pruner(),
                load_if_exists=True,
            )
            self.trials()
        except (json.JSONDecodeError, KeyError) as error:
            raise CheckpointError(
                f"{folder / JOURNAL} cannot be read: {error}. Restore it, or start anew with --run.overwrite true."
            ) from None

    def trials(self) -> "list[FrozenTrial]":
        """All trials by their numbers."""
        return self._study.get_trials(deepcopy=False)

    def interrupted(self) -> "Iterator[Trial]":
        """Trials that were started and have no result, with all their values."""
        from optuna.trial import Trial, TrialState

        for one in self.trials():
            if one.state == TrialState.RUNNING:
                self._study.sampler = self._sampler(one.number)
                trial = Trial(self._study, one._trial_id)
                for key, distribution in self.distributions.items():
                    trial._suggest(key, distribution)  # draws those that a crash left out
                yield trial

    def ask(self) -> "Trial":
        """A new trial."""
        from optuna.trial import TrialState

        trials = self.trials()
        waiting = [one.number for one in trials if one.state == TrialState.WAITING]  # a crash came before `ask`
        number = waiting[0] if waiting else len(trials)
        self._study.sampler = self._sampler(number)
        if self.sweep.grid is not None and not waiting:
            values = self.sweep.grid[number]
            self._study.enqueue_trial({one.key: one.draw(values[one.key]) for one in self.sweep.parameters})
        return self._study.ask(self.distributions)

    def values_of(self, trial: "Trial | FrozenTrial") -> Values:
        """Key -> value of a trial."""
        return {one.key: one.value(trial.params[one.key]) for one in self.sweep.parameters if one.key in trial.params}

    def report(self, trial: "Trial", evaluations: Iterable[tuple[int, float]]) -> bool:
        """Tells evaluations on the way (step, figure), in their order; whether the trial is to be pruned.

        Those told before are passed over. Every one is judged, whenever it is told: what is pruned follows from
        the figures, not from how fast they are read.
        """
        known = self.trials()[trial.number].intermediate_values
        for step, figure in evaluations:
            if step not in known:
                trial.report(figure, step)
                if trial.should_prune():
                    return True
        return False

    def was_condemned(self, trial: "Trial") -> bool:
        """Whether the evaluations told so far are bad enough: the sweep was stopped before it acted upon them."""
        return bool(self.trials()[trial.number].intermediate_values) and trial.should_prune()

    def complete(self, trial: "Trial", value: float, **told: Any) -> None:
        """The trial has its figure."""
        self._tell(trial, "COMPLETE", value, told)

    def prune(self, trial: "Trial", **told: Any) -> None:
        """The trial was ended early."""
        self._tell(trial, "PRUNED", None, told)

    def fail(self, trial: "Trial", **told: Any) -> None:
        """The trial has none."""
        self._tell(trial, "FAIL", None, told)

    def _tell(self, trial: "Trial", state: str, value: float | None, told: dict[str, Any]) -> None:
        from optuna.trial import TrialState

        for name, fact in told.items():
            trial.set_user_attr(name, fact)
        self._study.tell(trial, value, TrialState[state])

    def completed(self) -> "list[FrozenTrial]":
        """Trials with a figure, by their numbers."""
        from optuna.trial import TrialState

        return [one for one in self.trials() if one.state == TrialState.COMPLETE]

    def best(self) -> "FrozenTrial | None":
        """The best trial, the first of equals."""
        sign = 1 if self.sweep.direction == "minimize" else -1
        return min(self.completed(), key=lambda one: (sign * (one.value or 0.0), one.number), default=None)

    def importances(self) -> dict[str, float]:
        """Key -> its share of the variance among good trials (PED-ANOVA); empty where there are too few to tell."""
        values = [one.value for one in self.completed()]
        if len(self.sweep.parameters) < 2 or len(values) < 2 * len(self.sweep.parameters) + 2 or len(set(values)) < 2:
            return {}
        import warnings

        from optuna.importance import get_param_importances

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dict(get_param_importances(self._study))

    def _sampler(self, number: int) -> Any:
        from optuna.samplers import RandomSampler, TPESampler

        digest = hashlib.sha256(f"{self.config.seed}/{number}".encode()).digest()
        seed = int.from_bytes(digest[:4], "big")
        if self.config.sampler != "tpe":
            return RandomSampler(seed=seed)
        return TPESampler(seed=seed, n_startup_trials=min(10, 2 * len(self.sweep.parameters) + 2))

    def _pruner(self) -> Any:
        from optuna.pruners import MedianPruner, NopPruner, SuccessiveHalvingPruner

        return {"none": NopPruner, "median": MedianPruner, "successive_halving": SuccessiveHalvingPruner}[
            self.config.pruner
        ]()


def require_optuna() -> None:
    """Raises ConfigError if Optuna is not installed."""
    import importlib.util

    if importlib.util.find_spec("optuna") is None:
        raise ConfigError("A sweep needs optuna: pip install -c requirements.lock -e '.[sweep]'")
