"""More than one run: other seeds on the same split, and cross-validation over the training rows.

Each member is a run in a folder of its own below `members/`, with its own checkpoints; a finished one is not run again.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.labelled import LabelledData, Rows
from pipelines.errors import DataError
from pipelines.evaluation.statistics import spread
from pipelines.run import say
from pipelines.run_folder import RunFolder
from pipelines.tasks.task import Task

if TYPE_CHECKING:
    from accelerate import PartialState


@dataclass(frozen=True)
class Member:
    """A run besides the main one.

    Attributes:
        kind: seeds or folds.
        name: of its folder.
        seed: training.seed of it.
        train, validation, scored: its rows; it is scored on the last.
    """

    kind: str
    name: str
    seed: int
    train: Rows
    validation: Rows
    scored: Rows


Fit = Callable[[Member, RunFolder, Any], dict[str, float]]  # trains and scores one member: its figures


def run_members(
    task: Task,
    config: Any,
    folder: RunFolder,
    data: LabelledData,
    scored: Rows,
    main: dict[str, float],
    fit: Fit,
    state: "PartialState",
) -> dict[str, float]:
    """Runs what evaluation.seeds and evaluation.folds ask for.

    Args:
        task, config, folder, data: of the main run.
        scored: what the main run is scored on.
        main: its figures, which count as the first seed.
        fit: trains and scores a member.
        state: the processes.

    Returns:
        seeds_<headline>_mean, _std, _ci_low and _ci_high, and the same for folds with the baselines of each fold.
        All figures of each member are in members.json.
    """
    figures: dict[str, dict[str, dict[str, float]]] = {}
    # What members are scored on, and how long they train, may change when a run goes on: then they are other members.
    training = config.training
    place = config.evaluation.split + (f"-{len(scored)}" if config.evaluation.max_rows is not None else "")
    place += f"-{training.max_steps}-steps" if training.max_steps else f"-{training.num_train_epochs:g}-epochs"
    if config.evaluation.seeds > 1:
        figures["seeds"] = {f"seed-{config.training.seed}": main}
    for member in _members(task, config, data, scored):
        inside = RunFolder(folder.path / "members" / place / member.name)
        if inside.finished:
            found = inside.read_json("metrics.json")
        else:
            say(f"{member.kind}: {member.name}, {len(member.train):,} rows to train on, {len(member.scored):,} scored")
            changed = replace(config, run=replace(config.run, overwrite=False, stop_at_step=None))
            changed = replace(changed, training=replace(config.training, seed=member.seed))
            found = fit(member, inside, changed)
            if state.is_main_process:
                inside.write_json("metrics.json", found)
                shutil.rmtree(inside.checkpoints, ignore_errors=True)
                inside.unlock()
            state.wait_for_everyone()
        figures.setdefault(member.kind, {})[member.name] = found
    if not figures or not state.is_main_process:
        return {}
    folder.write_json("members.json", figures)
    metrics: dict[str, float] = {}
    headline = next(name.removeprefix("eval_").removesuffix("_ci_low") for name in main if name.endswith("_ci_low"))
    for kind, members in figures.items():
        names = [f"eval_{headline}"]
        if kind == "folds":  # a baseline may be left out of one whose rows do not allow it
            common = set.intersection(*map(set, members.values()))
            names += sorted(name for name in common if name.startswith("baseline_") and name.endswith(f"_{headline}"))
        for name in names:
            for figure, value in spread([one[name] for one in members.values()]).items():
                metrics[f"{kind}_{name.removeprefix('eval_')}_{figure}"] = value
    return metrics


def _members(task: Task, config: Any, data: LabelledData, scored: Rows) -> Iterator[Member]:
    first = config.training.seed
    for seed in range(first + 1, first + config.evaluation.seeds):
        yield Member("seeds", f"seed-{seed}", seed, data.train, data.validation, scored)
    folds = config.evaluation.folds
    if folds is not None:
        for number, (train, held_out) in enumerate(split_folds(task, data.train, folds, first), start=1):
            rows = data.train.take(held_out.tolist())
            yield Member("folds", f"fold-{number}-of-{folds}", first, data.train.take(train.tolist()), rows, rows)


def split_folds(task: Task, rows: Rows, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Row indices to train on and to score, for each fold: groups stay whole.

    Classes have equal shares, unless one has fewer rows than there are folds.

    Raises:
        DataError: fewer groups than folds.
    """
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    groups = [task.group_key(row) for row in rows]
    strata = [task.stratum(row) for row in rows]
    if len(set(groups)) < folds:
        raise DataError(
            f"evaluation.folds is {folds}, but the training rows form {len(set(groups))} groups (rows with the same "
            "text stay together). Set fewer --evaluation.folds."
        )
    # A class with fewer rows than folds cannot be in each of them, so that scikit-learn warns of every one.
    stratified = None not in strata and min(Counter(strata).values()) >= folds
    splitter: Any = StratifiedGroupKFold if stratified else GroupKFold
    places = np.zeros((len(rows), 1))
    return list(splitter(folds, shuffle=True, random_state=seed).split(places, strata if stratified else None, groups))
