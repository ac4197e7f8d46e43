"""Verifying a finished run: checksums, counts, and the run itself computed again; one table, and what does not hold."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.checking import end_check
from pipelines.errors import ConfigError, VerificationError
from pipelines.run import say
from pipelines.run_folder import RunFolder
from pipelines.training import checkpoints
from pipelines.verification.checks import Check, Run, read_run
from pipelines.verification.files import check_checkpoints, check_files, check_published
from pipelines.verification.receipts import check_receipt
from pipelines.verification.recomputed import check_again

if TYPE_CHECKING:
    from pipelines.publish_sections import VerifyConfig


def verify(folder: RunFolder, section: "VerifyConfig", recipes: Path) -> None:
    """Checks a finished run, prints what was found, and writes it to a file if that is asked for.

    Args:
        folder: of the run; nothing in it is changed.
        section: what is computed again.
        recipes: folder of the recipes.

    Raises:
        CheckpointError: a file of the run cannot be read.
        ConfigError: there is no such checkpoint, the result cannot be written, or the recipe is not there.
        VerificationError: something does not hold.
    """
    run = read_run(folder)
    _check_section(run, section, recipes)
    end_check()
    found: list[Check] = []
    try:
        for check in _checks(run, section, recipes):
            found.append(check)
    finally:  # also where the rest cannot be checked, or is interrupted
        print_table(found)
    failed = [check for check in found if check.result == "fails"]
    if section.json is not None:
        content = {"run": folder.path.name, "recipe": run.recipe, "holds": not failed}
        text = json.dumps(content | {"checks": [asdict(check) for check in found]}, indent=2, ensure_ascii=False)
        path = Path(section.json).expanduser()
        aside = path.with_name(f".{path.name}")
        aside.write_text(text + "\n", encoding="utf-8")
        aside.replace(path)
    if failed:
        told = "\n".join(f"{check.name}: {check.detail}" for check in failed)
        count = "1 check" if len(failed) == 1 else f"{len(failed)} checks"
        raise VerificationError(
            f"The run in {folder.path} is not what its files say: {count} of {len(found)} failed. Restore the files "
            f"from a copy, or run its command anew with --run.overwrite true.\n{told}"
        )
    say(f"The run in {folder.path} is what its files say.")


def _checks(run: Run, section: "VerifyConfig", recipes: Path) -> Iterator[Check]:
    for check in (check_checkpoints, check_files, check_published, check_receipt):
        checked = check(run)
        yield from () if checked is None else (checked,)
    if run.trains_by_steps:
        yield from check_again(run, section, recipes)
    else:
        why = f"{run.recipe} keeps no steps to compute again: only its files and counts are checked"
        yield Check("steps", "left out", why)


def print_table(checks: list[Check]) -> None:
    """One line for each check, on standard output."""
    width = max((len(check.name) for check in checks), default=0)
    print(f"{'check':<{width}}  {'result':<8}  detail")
    for check in checks:
        print(f"{check.name:<{width}}  {check.result:<8}  {check.detail}")


def _check_section(run: Run, section: "VerifyConfig", recipes: Path) -> None:
    """Raises ConfigError for what cannot be done, before anything is computed."""
    if section.json is not None:
        path = Path(section.json).expanduser()
        if path.is_dir() or not os.access(path.absolute().parent, os.W_OK | os.X_OK):
            raise ConfigError(
                f"verify.json is {section.json!r}, where no file can be written. Name one in a folder that is there."
            )
        if path.absolute().is_relative_to(run.path.absolute()):
            raise ConfigError(f"verify.json is {section.json!r}, inside the run, which is not changed. Name another.")
    if not run.trains_by_steps:
        return
    if not (recipes / f"{run.recipe}.py").is_file():
        raise ConfigError(f"The run was made by {run.recipe}.py, which is not in {recipes}. Put it there.")
    steps = sorted(map(checkpoints.step_of, run.checkpoints))
    if section.checkpoint and section.checkpoint not in steps:
        kept = f"those of {', '.join(map(str, steps))}: take one of them, or" if steps else "none: take"
        raise ConfigError(
            f"verify.checkpoint is {section.checkpoint}, but the run in {run.path} kept no checkpoint of that step. "
            f"It kept {kept} 0 for the start."
        )
    if section.checkpoint and section.checkpoint >= run.last_step:
        raise ConfigError(
            f"verify.checkpoint is {section.checkpoint}, the last step of the run in {run.path}: no step comes after "
            "it. Take an earlier one, or 0 for the start."
        )
