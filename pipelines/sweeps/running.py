"""A sweep from start to end: trials are drawn, run in processes of their own, judged and told."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.checking import Checked, attempt, checking, end_check
from pipelines.config import config_to_yaml, read_yaml
from pipelines.environment import environment
from pipelines.errors import ConfigError, TrainingError
from pipelines.ray_cluster import join_cluster, leave_cluster, require_ray
from pipelines.report import finish_run
from pipelines.run import Interrupted, say
from pipelines.run_folder import RunFolder, claim_run_folder, find_run_folder, print_result, write_run_files
from pipelines.sweeps.definition import Sweep, read_sweep, refuse_other_base
from pipelines.sweeps.ray_trials import RayTrial
from pipelines.sweeps.results import results, write_results, write_trials
from pipelines.sweeps.space import corners
from pipelines.sweeps.study import Study, require_optuna
from pipelines.sweeps.trials import TrialFolder, TrialProcess
from pipelines.training.hardware import cpu_threads

if TYPE_CHECKING:
    from optuna.trial import Trial

POLL_SECONDS = 0.2
_ALIKE = 3  # failures in a row with one message end the sweep


def run_sweep(config: Any, recipe: str) -> None:
    """Searches the space of a recipe's settings, and reports.

    Args:
        config: the resolved config: run, sweep.
        recipe: path of this recipe; the one that is searched for stands beside it.

    Raises:
        PlumblineError: a mistake in the config, told before the first trial; or trials that fail alike.
        Interrupted: stopped by SIGTERM or Ctrl-C; the same command goes on, within its trials.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "A sweep starts processes itself: leave the launcher's --num_processes out, or set it to 1, and see "
            "--sweep.workers."
        )
    sweep = read_sweep(config.sweep, Path(recipe).resolve().parent)
    attempt(require_optuna, otherwise=None)
    folder = attempt(find_run_folder, config, recipe, otherwise=RunFolder(Path("runs")))
    if config.sweep.engine == "ray":
        attempt(require_ray, "sweep.engine", otherwise=None)
        folder = RunFolder(folder.path.absolute(), folder.recipe)  # as the other nodes find it
    saved = folder.path / "base.yaml"
    if saved.is_file() and not config.run.overwrite:
        refuse_other_base(sweep.base, read_yaml(saved), folder.path)
    if checking() is not None:
        _check_trial(sweep, folder, config)
        end_check()
    if not config.run.overwrite and folder.finished and _is_done(folder, sweep, config):
        say(f"This sweep is finished. To search anew: --run.overwrite true, or another --run.dir. {folder.path}")
        print_result(folder, folder.read_json("metrics.json"))
        return
    if config.sweep.engine == "ray":
        join_cluster()  # before anything is written
    claim_run_folder(folder, clear=config.run.overwrite)
    try:
        _search(sweep, folder, config)
    finally:
        leave_cluster()
        folder.unlock()


def _search(sweep: Sweep, folder: RunFolder, config: Any) -> None:
    write_run_files(folder, config, environment=environment({}))
    folder.write_text("base.yaml", config_to_yaml(sweep.base))
    (folder.path / "trials").mkdir(exist_ok=True)
    study = Study(sweep, config.sweep, folder.path)
    say(
        f"{sweep.trials} trials of {sweep.recipe.stem} ({config.sweep.sampler}, {config.sweep.workers} at once), "
        f"{len(study.trials())} of them started before; sweep folder {folder.path}"
    )
    _Runner(sweep, study, folder, config).run()
    best = study.best()
    if best is None:
        last = next((one.user_attrs.get("message") for one in reversed(study.trials())), "none was started")
        raise TrainingError(
            f"None of {len(study.trials())} trials has a result: {last}. Look at {folder.path / 'trials'}, and give "
            "more --sweep.trials, or start anew with --run.overwrite true."
        )
    tested = _test(sweep, study, folder, config) if config.sweep.test else None
    found = results(sweep, study, config.sweep, tested)
    write_results(folder, sweep, study, found)
    finish_run(folder, found.metrics)


def _is_done(folder: RunFolder, sweep: Sweep, config: Any) -> bool:
    """Whether a finished sweep has the trials, and the test, that are asked for now."""
    metrics = folder.read_json("metrics.json")
    is_tested = any(name.startswith("test_") for name in metrics)
    return metrics.get("trials", 0) >= sweep.trials and (is_tested or not config.sweep.test)


def _check_trial(sweep: Sweep, folder: RunFolder, config: Any) -> None:
    """In a check: the recipe's own check, with the last value of each list and the high end of each range."""
    check = checking()
    assert check is not None
    trial = sweep.trial_config(corners(sweep.parameters)[-1], _threads(config), prove=True)
    trial.run.dir = str(folder.path / "trials" / "check")  # no trial's folder: a sweep may have begun
    with suppress(Checked):
        sweep.module.main(trial)
    check.note("ok", "sweep", f"At most {sweep.trials} trials like the one that was looked at here.")


def _threads(config: Any) -> int:
    """CPU threads of a trial."""
    return config.run.threads or max(1, cpu_threads(None) // config.sweep.workers)


def _process(folder: TrialFolder, sweep: Sweep, config: Any, device: str | None = None) -> TrialProcess | RayTrial:
    command = folder.command(sweep.recipe)
    if config.sweep.engine == "ray":
        return RayTrial(command, folder.log, _threads(config))
    return TrialProcess(command, folder.log, device)


@dataclass
class _Running:
    """A trial under way in one of the places of the workers."""

    trial: "Trial"
    folder: TrialFolder
    process: TrialProcess | RayTrial | None
    place: int
    pruned: bool = False


class _Runner:
    """Keeps as many trials running as there are workers, until all are done."""

    def __init__(self, sweep: Sweep, study: Study, folder: RunFolder, config: Any) -> None:
        self.sweep, self.study, self.folder, self.config = sweep, study, folder, config
        self.started = time.monotonic()
        self.running: list[_Running] = []
        self.failures: list[str] = []

    def run(self) -> None:
        """Returns when no trial is left, or no time."""
        interrupted = list(self.study.interrupted())
        try:
            while True:
                while len(self.running) < self.config.sweep.workers:
                    trial = interrupted.pop(0) if interrupted else self._new_trial()
                    if trial is None:
                        break
                    self._start(trial)
                if not self.running:
                    return
                for one in list(self.running):
                    self._look_at(one)
                if self.running and all(one.process is not None for one in self.running):
                    time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            self._stop()
            done = len(self.study.trials()) - len(list(self.study.interrupted()))
            raise Interrupted(f"Interrupted: {done} of {self.sweep.trials} trials are done.") from None
        except BaseException:
            self._stop()
            raise

    def _stop(self) -> None:
        for one in self.running:
            if one.process is not None:
                one.process.stop()
        for one in self.running:
            if one.process is not None:
                one.process.wait()

    def _new_trial(self) -> "Trial | None":
        limit = self.config.sweep.timeout_minutes
        if limit is not None and time.monotonic() - self.started > 60 * limit:
            return None
        return self.study.ask() if len(self.study.trials()) < self.sweep.trials else None

    def _start(self, trial: "Trial") -> None:
        place = next(
            place for place in range(self.config.sweep.workers) if place not in [o.place for o in self.running]
        )
        folder = TrialFolder(self.folder.path / "trials", str(trial.number))
        one = _Running(trial, folder, None, place)
        self.running.append(one)
        values = self.study.values_of(trial)
        told = ", ".join(f"{key} {value}" for key, value in values.items())
        say(f"Trial {trial.number} of {self.sweep.trials}: {told}")
        if self.study.was_condemned(trial):
            one.pruned = True
            return
        if folder.run.finished:  # the sweep was stopped before it looked
            return
        same = next((done for done in self.study.completed() if self.study.values_of(done) == values), None)
        if same is not None and same.value is not None:
            self.study.complete(trial, same.value, message=f"as trial {same.number}, not run again", train_seconds=0.0)
            self._done(one, f"the values of trial {same.number}")
            return
        try:
            made = self.sweep.trial_config(values, _threads(self.config), prove=trial.number == 0)
        except ConfigError as error:  # a combination that the recipe does not take
            self._failed(one, str(error))
            return
        folder.config.write_text(config_to_yaml(made), encoding="utf-8")
        folder.wait_until_free()
        one.process = _process(folder, self.sweep, self.config, self._device(place))

    def _device(self, place: int) -> str | None:
        """The GPU of a worker, of those that this process may use; None: all of them, as there is one worker."""
        if self.config.sweep.workers == 1:
            return None
        seen = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
        return seen[place % len(seen)] if seen else str(place)

    def _look_at(self, one: _Running) -> None:
        code = 0 if one.process is None else one.process.poll()
        if self.config.sweep.pruner != "none" and not one.pruned:
            one.pruned = self.study.report(one.trial, one.folder.evaluations(self.sweep.metrics))
        if code is None and not one.pruned:
            return
        if one.process is not None and code is None:
            one.process.stop()
            code = one.process.wait()
        told = {"train_seconds": one.folder.train_seconds()}
        if one.pruned:
            self.study.prune(one.trial, message="worse on the way than others", **told)
            self._done(one, "pruned")
        elif code == 130:
            raise Interrupted(f"Trial {one.trial.number} was stopped from outside.")
        elif code != 0:
            self._failed(one, one.folder.failure(code or 0), **told)
        else:
            name, value = one.folder.figure(self.sweep.metrics)
            self.study.complete(one.trial, value, metric=name, **told)
            self._done(one, f"{name} {value:.6g}")

    def _failed(self, one: _Running, message: str, **told: Any) -> None:
        self.study.fail(one.trial, message=message, **told)
        self._done(one, f"failed: {message}", message)
        if len(self.failures) >= _ALIKE and len(set(self.failures[-_ALIKE:])) == 1:
            raise TrainingError(
                f"{_ALIKE} trials in a row failed alike: {message} Mend that, and start anew with --run.overwrite "
                "true; the same command goes on with the next trial."
            )

    def _done(self, one: _Running, told: str, failure: str | None = None) -> None:
        self.running.remove(one)
        self.failures = [] if failure is None else [*self.failures, failure]
        best = self.study.best()
        beside = "" if best is None else f"; best so far {best.value:.6g}, trial {best.number}"
        say(f"Trial {one.trial.number}: {told}{beside}")
        for trial in self.study.trials():
            if trial.state.is_finished() and (best is None or trial.number != best.number):
                TrialFolder(self.folder.path / "trials", str(trial.number)).drop_weights()
        write_trials(self.folder, self.study)


def _test(sweep: Sweep, study: Study, folder: RunFolder, config: Any) -> dict[str, Any]:
    """Trains the best settings as the recipe does by itself, and scores them on the test split."""
    best = study.best()
    assert best is not None
    place = TrialFolder(folder.path / "test", str(best.number))
    place.sweep.mkdir(exist_ok=True)
    if not place.run.finished:
        made = sweep.config_of(study.values_of(best))
        made.evaluation.split, made.run.threads = "test", config.run.threads
        place.config.write_text(config_to_yaml(made), encoding="utf-8")
        say(f"Training the settings of trial {best.number} once more, to score them on the test split")
        place.wait_until_free()
        process = _process(place, sweep, config)
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.stop()
            process.wait()
            raise Interrupted("Interrupted: all trials are done, the test is not.") from None
        if code:
            raise TrainingError(
                f"The run on the test split failed: {place.failure(code)} Its words are in {place.log}."
            )
    name, value = place.figure(sweep.metrics)
    return {"trial": best.number, "metric": name, "value": value, "folder": str(place.run.path)}
