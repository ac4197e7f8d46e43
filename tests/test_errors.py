"""Messages as a product: what users are told of their mistakes, word by word, for all recipes and kinds of mistakes."""

import functools
import importlib
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import write_errors
import yaml
from bad_input_files import Content, four, locked, model, write
from bad_inputs import AREAS, BadInput
from conftest import RECIPES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import config as configs
from pipelines.errors import PlumblineError

INPUTS = [one for inputs in AREAS.values() for one in inputs]
NAMES = sorted(path.stem for path in RECIPES.glob("*.py"))


@pytest.fixture(scope="module", autouse=True)
def without_what_takes_time() -> Iterator[None]:
    """One parser for each recipe, since its use does not change it; run folders without a hash; no measured speed."""
    from pipelines import run_folder
    from pipelines.training import hardware

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(configs, "_build_parser", functools.cache(configs._build_parser))
        patch.setattr(run_folder, "run_name", lambda *_: "default")
        patch.setattr(hardware, "matmul_flops_per_second", lambda *_: 1e9)
        yield


@pytest.fixture(scope="module")
def golden() -> dict[str, str]:
    return write_errors.read_golden()


# ---------------------------------------------------------------- the catalogue


def test_the_catalogue_has_inputs_of_all_recipes(golden: dict[str, str]) -> None:
    assert len(INPUTS) >= 200 and len(AREAS) == 14
    assert list(golden) == [one.id for one in INPUTS]
    assert len(golden) == len(INPUTS), "two inputs have one id"
    assert {shlex.split(one.command)[0].removesuffix(".py") for one in INPUTS} == set(NAMES)
    for one in INPUTS:
        for sentence in (one.cause, one.cure):
            assert sentence.endswith(".") and "\n" not in sentence, sentence


@pytest.mark.parametrize("one", INPUTS, ids=[one.id for one in INPUTS])
def test_a_bad_input_is_answered_word_by_word(
    one: BadInput, golden: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = write_errors.run_bad_input(one, tmp_path)
    assert outcome.message == golden[one.id], "if this is meant: python tests/write_errors.py"
    assert outcome.faults() == []
    assert capfd.readouterr() == ("", ""), "printed past sys.stdout and sys.stderr"


def test_the_docs_are_made_of_the_golden_messages(golden: dict[str, str]) -> None:
    assert write_errors.DOCS.read_text(encoding="utf-8") == write_errors.docs_text(golden), (
        "run: python tests/write_errors.py"
    )
    assert write_errors.GOLDEN.read_text(encoding="utf-8") == write_errors.golden_text(golden)


# ---------------------------------------------------------------- every recipe, every kind of mistake


def leaves(recipe: str) -> dict[str, Any]:
    """The keys of a recipe with their types."""
    return dict(configs._leaves(importlib.import_module(recipe).Config))


def near_miss(recipe: str) -> str:
    return f"--{next(reversed(leaves(recipe)))}s 1"


def text_for_a_number(recipe: str) -> str:
    kinds = leaves(recipe).items()
    return f"--{next(key for key, kind in kinds if kind in (int, float, bool) or str(kind) == 'int | None')} several"


# What takes the place of --data.files.train in recipes that read none; LOCKED is a file that may not be read.
PLACES = {
    "evaluate_glue": "--evaluation.suite",
    "predict": "my_model --predict.input",
    "generate": "my_model --generate.input",
    "publish_to_hub": "--run.dir",
    "verify_run": "--run.dir",
    "sweep": "--sweep.recipe pretrain_clm --sweep.space '{training.seed: [1, 2]}' --sweep.config",
}
FILES: dict[str, Content] = {
    "locked.jsonl": four("classification"),
    "locked.yaml": "run: {dir: run}\n",
    "folder/notes.txt": "x",
}
SWEEP: dict[str, Callable[[str], str]] = {
    "unknown section": lambda recipe: "--sectoin.key 1",
    "near miss": near_miss,
    "text for a number": text_for_a_number,
    "missing file": lambda recipe: f"{PLACES.get(recipe, '--data.files.train')} ./nowhere.jsonl",
    "folder for a file": lambda recipe: f"{PLACES.get(recipe, '--data.files.train')} folder",
    "unreadable file": lambda recipe: f"{PLACES.get(recipe, '--data.files.train')} locked.jsonl",
    "missing config": lambda recipe: "--config nowhere.yaml",
    "folder for a config": lambda recipe: "--config folder",
    "unreadable config": lambda recipe: "--config locked.yaml",
}


@pytest.mark.parametrize("kind", SWEEP)
@pytest.mark.parametrize("recipe", NAMES)
def test_every_recipe_answers_every_kind_of_mistake(recipe: str, kind: str, tmp_path: Path) -> None:
    models: dict[str, Content] = {"predict": model("classifier"), "generate": model("decoder")}
    made = {"my_model": models[recipe]} if recipe in models else {}
    write(tmp_path, FILES | made)
    flags = SWEEP[kind](recipe)
    outcome = write_errors.run_command(f"{recipe}.py {flags}", tmp_path, during=locked)
    assert outcome.faults() == [], outcome.err
    if kind == "near miss":
        assert f"Did you mean {flags.split()[0][2:-1]!r}?" in outcome.message


# ---------------------------------------------------------------- any value of any key


words = st.text(max_size=12) | st.sampled_from(["yes", "~", "{", "1e4", "a: b", "[a"])
plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words)
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@st.composite
def settings_of_a_recipe(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A recipe and values of some of its keys, or of keys like them."""
    recipe = draw(st.sampled_from(NAMES))
    known = st.sampled_from(sorted(leaves(recipe)))
    keys = st.one_of(known, known.map(lambda key: f"{key}.x"), known.map(lambda key: key.rpartition(".")[0]), known)
    return recipe, draw(st.dictionaries(keys, values, min_size=1, max_size=3))


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """A config with dotted keys as maps in each other; what is below a value is left out."""
    made: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, leaf = key.split(".")
        place = made
        for parent in parents:
            inner = place.setdefault(parent, {})
            place = inner if isinstance(inner, dict) else {}
        place[leaf] = value
    return made


@given(chosen=settings_of_a_recipe(), in_file=st.booleans())
@settings(
    max_examples=50,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_value_is_taken_or_refused_in_plain_words(
    chosen: tuple[str, dict[str, Any]], in_file: bool, tmp_path: Path
) -> None:
    recipe, flat = chosen
    module = importlib.import_module(recipe)
    if in_file:
        (tmp_path / "my.yaml").write_text(yaml.safe_dump(nested(flat), allow_unicode=True), encoding="utf-8")
        flags = ["--config", str(tmp_path / "my.yaml")]
    else:
        texts = {k: v if isinstance(v, str) else yaml.safe_dump(v, default_flow_style=True) for k, v in flat.items()}
        flags = [part for key, text in texts.items() for part in (f"--{key}", text.removesuffix("\n...\n").strip())]
    try:
        configs.parse_config(module.Config, str(RECIPES / f"{recipe}.py"), flags)
    except PlumblineError as error:
        assert re.search(r"\w", str(error)) and len(str(error).splitlines()) <= 2, error


# ---------------------------------------------------------------- flags

FLAG = re.compile(r"(?<![\w`'-])--([a-z]\w*(?:\.\w+)*)")


@functools.cache
def keys_of(recipe: str) -> tuple[set[str], set[str]]:
    """The keys of a recipe, and those of them that hold maps."""
    config_class = importlib.import_module(recipe).Config
    return set(configs._leaf_keys(config_class)), set(configs._map_keys(config_class))


def is_flag(name: str, recipe: str) -> bool:
    keys, maps = keys_of(recipe)
    return name in {*keys, "config", "print_config", "help"} or any(name.startswith(f"{one}.") for one in maps)


def test_a_flag_in_a_message_is_one_of_the_recipe_or_of_one_that_is_named(golden: dict[str, str]) -> None:
    told = 0
    for one in INPUTS:
        message = golden[one.id].replace(
            "the command of the run with --run.overwrite", ""
        )  # of the recipe that made it
        named = [name for name in re.findall(r"(\w+)\.py\b", message) if (RECIPES / f"{name}.py").is_file()]
        recipes = [one.command.split()[0].removesuffix(".py"), *named]
        flags = FLAG.findall(message)
        told += len(flags)
        wrong = [flag for flag in flags if not any(is_flag(flag, recipe) for recipe in recipes)]
        assert not wrong, f"{one.id}: {wrong} in {message}"
    assert told > 80
