"""What is computed again of a run, and compared bit for bit: steps, checkpoints, figures, model."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.run import say
from pipelines.training import checkpoints
from pipelines.verification.checks import Check, Run
from pipelines.verification.differences import (
    OF_MEMBERS,
    figures_difference,
    likely_causes,
    optimizer_difference,
    steps_difference,
    weights_difference,
)
from pipelines.verification.rerun import Again, computed_again

if TYPE_CHECKING:
    from pipelines.publish_sections import VerifyConfig

STEPS, END = ("steps", "weights"), ("figures", "model")  # checks of the steps, and of what the run ended with
OTHER_DATA = "data or tokenizer are not those of the run"


def check_again(run: Run, section: "VerifyConfig", recipes: Path) -> Iterator[Check]:
    """Goes on from a checkpoint for some steps, and to the end from the last one; the same pass where that is near.

    Args:
        run: that trained by steps.
        section: from where, and how far.
        recipes: folder of the recipes.
    """
    yield _check_record(run)
    data: Check | None = None
    start = _start(run, section)
    first = 1 if start is None else checkpoints.step_of(start) + 1
    last = min(first - 1 + (section.steps or 0), run.last_step)
    to_the_end = last == run.last_step and section.rescore
    damage = None if start is None else run.checkpoints[start]
    if section.steps is None or damage is not None:
        to_the_end = False
        why = "not asked for" if section.steps is None else f"checkpoint-{first - 1} is damaged: {damage}"
        yield Check("steps", "left out", why)
    else:
        _tell(run, start, _named(first, last) + (", figures and model" if to_the_end else ""))
        with computed_again(run, recipes, start, None if to_the_end else last) as again:
            data = _check_data(run, again)
            yield from () if data is None else (data,)
            yield from _hindered(again, data, STEPS) or _compare_steps(run, again, first, last)
            if to_the_end:
                yield from _hindered(again, data, END) or _compare_end(run, again)
    end = run.newest_whole()
    if not section.rescore:
        yield from _left_out(END, "not asked for")
    elif not to_the_end and data is not None and data.result == "fails":
        yield from _left_out(END, OTHER_DATA)
    elif not to_the_end and end is None:
        yield from _left_out(END, "the run has no whole checkpoint to score from")
    elif not to_the_end:
        _tell(run, end, "figures and model")
        with computed_again(run, recipes, end, None) as again:
            if data is None:
                data = _check_data(run, again)
                yield from () if data is None else (data,)
            yield from _hindered(again, data, END) or _compare_end(run, again)


def _hindered(again: Again, data: Check | None, names: tuple[str, ...]) -> list[Check]:
    """The checks that cannot be made, since the data are others or the recipe ended early; empty: they can."""
    if data is not None and data.result == "fails":
        return _left_out(names, OTHER_DATA)
    if again.refusal is not None:
        return [Check(names[0], "fails", f"the recipe does not run again: {again.refusal}")]
    return []


def _left_out(names: tuple[str, ...], why: str) -> list[Check]:
    return [Check(name, "left out", why) for name in names]


def _tell(run: Run, checkpoint: Path | None, what: str) -> None:
    where = "the start" if checkpoint is None else checkpoint.name
    say(f"Computing {what} of {run.path.name} again from {where} ({run.recipe}.py)")


def _named(first: int, last: int) -> str:
    return f"step {first:,}" if first == last else f"steps {first:,} to {last:,}"


def _start(run: Run, section: "VerifyConfig") -> Path | None:
    if section.checkpoint is None:
        return run.newest_whole(before=run.last_step)
    named = f"checkpoint-{section.checkpoint}"
    return next((checkpoint for checkpoint in run.checkpoints if checkpoint.name == named), None)


def _check_record(run: Run) -> Check:
    """Every step has one line in steps.jsonl."""
    if not (run.path / "steps.jsonl").is_file():
        return Check("record", "left out", "the run has no steps.jsonl: an older version of Plumbline made it")
    steps = [one["step"] for one in run.steps]
    known = set(steps)
    missing = next((step for step in range(1, run.last_step + 1) if step not in known), None)
    if missing is not None:
        return Check("record", "fails", f"steps.jsonl has no line of step {missing:,} of {run.last_step:,}")
    if len(steps) != run.last_step:
        return Check("record", "fails", f"steps.jsonl has {len(steps):,} lines, the run {run.last_step:,} steps")
    return Check("record", "holds", f"steps.jsonl has one line for each of {run.last_step:,} steps")


def _compare_steps(run: Run, again: Again, first: int, last: int) -> list[Check]:
    what = _named(first, last)
    if run.steps:
        difference = steps_difference(run.steps, again.folder.steps_log(), first, last)
        same = f"loss and gradient norm of {what} are the same, bit for bit"
        steps = _compared("steps", difference, same, run, again)
    else:
        steps = Check("steps", "left out", f"{what}: no figures to compare with")
    return [steps, _compare_checkpoints(run, again, first, last)]


def _check_data(run: Run, again: Again) -> Check | None:
    """The data and tokenizer of the second run have the fingerprints of the first; None: it did not come to them."""
    if not (again.folder.path / "environment.json").is_file():
        return None
    then, now = run.environment["data"], again.folder.read_json("environment.json", "data")["data"]
    changed = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    if changed:
        told = (f"{name} has the fingerprint {now.get(name)}, the run had {then.get(name)}" for name in changed)
        return Check("data", "fails", f"{'; '.join(told)}. Restore what the run read")
    return Check("data", "holds", f"{', '.join(now)} have the fingerprints of environment.json")


def _compare_checkpoints(run: Run, again: Again, first: int, last: int) -> Check:
    """Weights and optimizer state of the checkpoints that both have."""
    compared, tensors = [], 0
    for here, damage in run.checkpoints.items():
        there = again.folder.checkpoints / here.name
        if damage is None and first <= checkpoints.step_of(here) <= last and there.is_dir():
            count, difference = weights_difference(here, there)
            difference = difference or optimizer_difference(here, there)
            if difference is not None:
                return _compared("weights", f"{here.name}: {difference}", "", run, again)
            compared.append(here.name)
            tensors += count
    if not compared:
        return Check("weights", "left out", f"the run kept no whole checkpoint of {_named(first, last)}")
    what = f"{tensors:,} tensors and the optimizer state of {', '.join(reversed(compared))}"
    return Check("weights", "holds", f"{what} are the same, bit for bit")


def _compare_end(run: Run, again: Again) -> list[Check]:
    """Final figures and the tensors of model/."""
    count, different = figures_difference(run.metrics, again.folder.read_json("metrics.json"))
    same = f"{count} figures of metrics.json are the same; those of time, speed and memory are not compared"
    if any(name.startswith(OF_MEMBERS) for name in run.metrics):
        same += ", nor those of members (seeds, folds)"
    tensors, difference = weights_difference(run.folder.model, again.folder.model)
    return [
        _compared("figures", "; ".join(different) or None, same, run, again),
        _compared("model", difference, f"{tensors:,} tensors of model/ are the same, bit for bit", run, again),
    ]


def _compared(name: str, difference: str | None, same: str, run: Run, again: Again) -> Check:
    if difference is None:
        return Check(name, "holds", same)
    return Check(name, "fails", f"{difference}. {likely_causes(run.folder, again.folder)}")
