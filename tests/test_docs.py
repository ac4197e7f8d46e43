"""Every recipe command that README, docs, recipes and configs show is one that the recipe takes."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
from conftest import RECIPES, REPOSITORY

from pipelines.checking import begin_check, leave_check
from pipelines.config import parse_config


def commands(path: Path) -> list[list[str]]:
    """The recipe commands of a file, continued lines joined, comment marks and redirections left out."""
    text = re.sub(r"\\\n[#\s]*", " ", path.read_text(encoding="utf-8"))
    found = re.findall(r"^[#\s]*((?:echo .*\| )?(?:accelerate launch|python) .*recipes/\w+\.py.*)$", text, flags=re.M)
    return [shlex.split(line.split(" | ")[-1].split("  (")[0]) for line in found]


FILES = [
    REPOSITORY / "README.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
    *sorted(RECIPES.glob("*.py")),
    *sorted((RECIPES / "configs").rglob("*.yaml")),
]
SHOWN = [(path, command) for path in FILES for command in commands(path)]


def test_commands_are_found() -> None:
    assert len(SHOWN) > 50
    recipes = {part for _, command in SHOWN for part in command if part.startswith("recipes/") and part.endswith(".py")}
    assert recipes == {f"recipes/{path.name}" for path in RECIPES.glob("*.py")}


@pytest.mark.parametrize(("path", "command"), SHOWN, ids=[f"{path.name}: {' '.join(c)[:70]}" for path, c in SHOWN])
def test_a_shown_command_is_one_that_the_recipe_takes(path: Path, command: list[str], monkeypatch, request) -> None:
    monkeypatch.chdir(REPOSITORY)
    place = next(index for index, part in enumerate(command) if part.startswith("recipes/") and part.endswith(".py"))
    name = Path(command[place]).stem
    flags = command[place + 1 :]
    if "--print_config" in flags or "--help" in flags:
        return
    recipe = importlib.import_module(name)
    if "--check" in flags:  # which notes what is wrong
        request.addfinalizer(leave_check)
        check = begin_check()
    parse_config(recipe.Config, str(REPOSITORY / command[place]), flags, getattr(recipe, "POSITIONAL", None))
    assert "--check" not in flags or not check.findings
