"""Sweeps: what is drawn and checked, how trials run, end and go on, and what is told of them."""

import contextlib
import functools
import gc
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pretrain_clm
import pytest
import sweep as recipe
import yaml
from conftest import RECIPES, REPOSITORY, TINY_MODEL

from pipelines import config as configs
from pipelines import report
from pipelines.config import config_to_dict, keys_of, parse_config
from pipelines.errors import ConfigError, TrainingError
from pipelines.reporting.scores import HEADLINES
from pipelines.run import Interrupted, run_recipe
from pipelines.run_folder import RunFolder
from pipelines.sweeps import running
from pipelines.sweeps.definition import LEFT_OUT, read_sweep
from pipelines.sweeps.measures import MEASURES, direction_of
from pipelines.sweeps.space import Parameter, combinations, corners, read_space
from pipelines.sweeps.study import Study
from pipelines.sweeps.trials import TrialFolder, TrialProcess

STUB = REPOSITORY / "tests/sweep_recipes"
RATES = "{training.learning_rate: {low: 0.01, high: 1, log: true}, training.batch: [8, 16]}"


def config_of(folder: Path, *flags: str, space: str = RATES) -> recipe.Config:
    shared = ["--run.dir", str(folder), "--sweep.recipe", "pretrain_clm", "--sweep.space", space]
    return parse_config(recipe.Config, str(RECIPES / "sweep.py"), [*shared, *flags])


def trials(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "trials.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "train_seconds"} for line in lines]


class InProcess:
    """A trial in this process, done when it is made; `before` may change its flags or raise."""

    before: Callable[[list[str]], list[str]] = staticmethod(lambda flags: flags)

    def __init__(self, command: list[str], log: Path, device: str | None = None) -> None:
        path = Path(command[1])
        module = pretrain_clm if path.parent == RECIPES else stub()
        with log.open("a") as stream, contextlib.redirect_stderr(stream):
            self.code = run_recipe(module.main, module.Config, str(path), self.before(command[2:]))

    def poll(self) -> int:
        return self.code

    def stop(self) -> None:
        pass

    def wait(self) -> int:
        return self.code


@functools.cache
def stub() -> Any:
    """The module tests/sweep_recipes/pretrain_clm.py."""
    return read_sweep(config_of(Path("run")).sweep, STUB).module


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> type[InProcess]:
    monkeypatch.setattr(running, "TrialProcess", InProcess)
    monkeypatch.setattr(InProcess, "before", staticmethod(lambda flags: flags))
    monkeypatch.setattr(running, "POLL_SECONDS", 0)
    monkeypatch.setattr(running, "environment", lambda data: {})
    monkeypatch.setattr(report, "sweep_chart", lambda sweep: None)
    return InProcess


@pytest.fixture(scope="module", autouse=True)
def without_what_takes_time() -> Iterator[None]:
    """One parser for each recipe, since its use does not change it; no measured speed; trials without charts."""
    from pipelines.training import steps

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(configs, "_build_parser", functools.cache(configs._build_parser))
        patch.setattr(steps.hardware, "matmul_flops_per_second", lambda *_: 1e9)
        patch.setattr(report, "charts", lambda *_: [])
        patch.setattr(gc, "collect", lambda *_: 0)
        yield


# ---------------------------------------------------------------- the space


def test_a_range_is_of_what_the_key_takes() -> None:
    known = {"training.weight_decay": float, "training.max_steps": int | None, "training.extra": dict[str, Any]}
    space = {
        "training": {"weight_decay": {"low": 0, "high": 1}, "max_steps": {"low": 1, "high": 10, "step": 4}},
        "training.extra.x": {"low": 1, "high": 3},
    }
    decay, steps, extra = read_space(space, known)
    assert (decay.is_whole, steps.is_whole, extra.is_whole) == (False, True, True)
    assert steps.extremes == (1, 9)  # 10 is no value of 1, 5, 9
    assert steps.grid() == (1, 5, 9)


def test_a_grid_has_every_combination_with_exact_steps() -> None:
    space = {"a": {"low": 0.1, "high": 0.5, "step": 0.1}, "b": [None, {"x": 1}]}
    parameters = read_space(space, {})
    made = combinations(parameters)
    assert [one["a"] for one in made[::2]] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert [one["b"] for one in made[:2]] == [None, {"x": 1}]
    assert len(made) == 10
    assert corners(parameters) == [{"a": 0.1, "b": None}, {"a": 0.5, "b": {"x": 1}}]


def test_choices_come_back_as_they_are() -> None:
    one = Parameter("model.config", values=(True, 1, None, "cosine", [1, 2], {"a": 1}))
    choices = one.distribution().choices
    assert [one.value(choice) for choice in choices] == list(one.values)


def sweep_section(**changed: Any) -> Any:
    sweep = {"recipe": "pretrain_clm", "space": {"training.learning_rate": [1e-3, 1e-2]}} | changed
    flags = [f"--sweep.{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in sweep.items()]
    return parse_config(recipe.Config, str(RECIPES / "sweep.py"), flags).sweep


def refusal(**changed: Any) -> str:
    section = sweep_section(**changed)
    with pytest.raises(ConfigError) as error:
        read_sweep(section, RECIPES)
    return str(error.value)


REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown recipe": ({"recipe": "finetune_clasification"}, ["'finetune_classification'"]),
    "recipe that trains nothing": ({"recipe": "predict"}, ["no training recipe"]),
    "empty space": ({"space": {}}, ["sweep.space is empty"]),
    "unknown key": ({"space": {"training.learning_rat": [1]}}, ["'training.learning_rate'", "sweep.space"]),
    "unknown key of the base": ({"base": {"training.max_step": 1}}, ["'training.max_steps'", "sweep.base"]),
    "value out of range": ({"space": {"training.adam_beta2": {"low": 0.9, "high": 2.0}}}, ["below 1"]),
    "a value of a list": ({"space": {"training.optim": ["sgd", "sdg"]}}, ["'sdg'"]),
    "log from zero": ({"space": {"training.weight_decay": {"low": 0, "high": 1, "log": True}}}, ["above 0"]),
    "upside down": ({"space": {"training.weight_decay": {"low": 1, "high": 0}}}, ["low must be below high"]),
    "one value": ({"space": {"training.weight_decay": 0.1}}, ["sweep.base"]),
    "value twice": ({"space": {"training.optim": ["sgd", "sgd"]}}, ["'sgd' twice"]),
    "half a step": ({"space": {"data.block_size": {"low": 8, "high": 64, "step": 0.5}}}, ["whole numbers"]),
    "other rows": ({"space": {"data.validation_share": [0.1, 0.2]}}, ["rows that are scored"]),
    "other yardstick": ({"space": {"evaluation.max_blocks": [1, 2]}}, ["measured alike"]),
    "tokens by tokens": ({"space": {"tokenizer.vocab_size": [300, 400]}, "metric": "loss"}, ["bits_per_byte"]),
    "shares of tokens by tokens": (
        {"recipe": "pretrain_mlm", "space": {"tokenizer.vocab_size": [300, 400]}},
        ["tokenizer.vocab_size", "accuracy is per token"],
    ),
    "hidden tokens by tokens": (
        {"recipe": "pretrain_seq2seq", "space": {"tokenizer.vocab_size": [300, 400]}},
        ["tokenizer.vocab_size", "hidden_accuracy is per token"],
    ),
    "halves of other tokens": (
        {"recipe": "pretrain_contrastive", "space": {"model.name": ["a", "b"]}},
        ["model.name", "retrieval_accuracy is per token", "Take spearman"],
    ),
    "checkpoints with tokenizers of their own": (
        {"space": {"model.name": ["a", "b"]}, "metric": "loss"},
        ["model.name", "loss is per token", "Take bits_per_byte"],
    ),
    "written loss of other tokens": (
        {"recipe": "finetune_translation", "space": {"model.name": ["a", "b"]}, "metric": "loss"},
        ["model.name", "loss is per token", "Take chrf"],
    ),
    "more hidden": (
        {"recipe": "pretrain_seq2seq", "space": {"denoising.noise_density": [0.1, 0.3]}},
        ["denoising.noise_density", "same rows and units"],
    ),
    "other rows by their length": (
        {"recipe": "pretrain_seq2seq", "space": {"data.block_size": [64, 128]}},
        ["data.block_size", "same rows and units"],
    ),
    "a section whole": (
        {"recipe": "pretrain_mlm", "space": {"data": [{"block_size": 64}, {"block_size": 128}]}},
        ["data cannot be searched"],
    ),
    "the first blocks of other lengths": (
        {"space": {"data.block_size": [64, 128]}, "base": {"evaluation.max_blocks": 8}},
        ["data.block_size", "would be other text"],
    ),
    "the first blocks of other lengths, by loss": (
        {"space": {"data.block_size": [64, 128]}, "base": {"evaluation.max_blocks": 8}, "metric": "loss"},
        ["data.block_size", "would be other text"],
    ),
    "the first blocks of other tokens": (
        {"space": {"tokenizer.vocab_size": [300, 400]}, "base": {"evaluation.max_blocks": 8}},
        ["tokenizer.vocab_size", "would be other text"],
    ),
    "loss by temperature": (
        {"recipe": "pretrain_contrastive", "space": {"contrastive.temperature": [0.05, 0.1]}, "metric": "loss"},
        ["contrastive.temperature", "loss would not be"],
    ),
    "words that are covered": (
        {"recipe": "train_embeddings", "space": {"embeddings.min_count": [1, 5]}},
        ["embeddings.min_count", "wordsim353_spearman would not be"],
    ),
    "unknown metric": ({"metric": "bits_per_bite"}, ["'bits_per_byte'"]),
    "key in both": ({"base": {"training.learning_rate": 1e-3}}, ["Keep one"]),
    "folder of a trial": ({"base": {"run.dir": "x"}}, ["--run.dir"]),
    "grid of all numbers": ({"sampler": "grid", "space": {"training.weight_decay": {"low": 0, "high": 1}}}, ["step"]),
    "pruner at the end": (
        {"recipe": "finetune_translation", "pruner": "median"},
        ["measures chrf at its end only", "(loss)"],
    ),
    "pruner without a way": ({"recipe": "train_tokenizer", "pruner": "median"}, ["evaluates at its end only"]),
    "test without a split": ({"test": True}, ["no evaluation.split"]),
    "chosen by the test split": (
        {"recipe": "finetune_ner", "base": {"evaluation.split": "test"}},
        ["no longer tested by it", "--sweep.test true"],
    ),
}


@pytest.mark.parametrize(("changed", "parts"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_searched_is_refused_before_the_first_trial(changed: dict[str, Any], parts: list[str]) -> None:
    message = refusal(**changed)
    for part in parts:
        assert part in message


COMPARABLE: dict[str, dict[str, Any]] = {
    "bits per byte by tokens": {"space": {"tokenizer.vocab_size": [300, 400]}},
    "bits per byte by checkpoints": {"space": {"model.name": ["a", "b"]}, "base": {"tokenizer.vocab_size": None}},
    "all blocks, whatever their length": {"space": {"data.block_size": [64, 128]}},
    "one tokenizer for all checkpoints": {
        "recipe": "pretrain_mlm",
        "space": {"model.name": ["a", "b"]},
        "base": {"tokenizer.name": "c", "tokenizer.vocab_size": None},
    },
    "retrieval by temperature": {
        "recipe": "pretrain_contrastive",
        "space": {"contrastive.temperature": [0.05, 0.1]},
        "metric": "retrieval_accuracy",
    },
    "labels by checkpoints": {"recipe": "finetune_classification", "space": {"model.name": ["a", "b"]}},
    "all words, covered or not": {
        "recipe": "train_embeddings",
        "space": {"embeddings.min_count": [1, 5]},
        "metric": "wordsim353_spearman_all",
    },
}


@pytest.mark.parametrize("changed", COMPARABLE.values(), ids=COMPARABLE)
def test_what_changes_no_yardstick_can_be_searched(changed: dict[str, Any]) -> None:
    (parameter,) = read_sweep(sweep_section(**changed), RECIPES).parameters
    assert [parameter.key] == list(changed["space"])


def test_what_would_change_a_yardstick_is_a_key_of_the_recipe() -> None:
    for name, measures in MEASURES.items():
        keys = keys_of(importlib.import_module(name).Config)
        for fixed, figures in measures.fixed.items():
            assert any(f"{key}.".startswith(f"{fixed}.") for key in keys), f"{name}: {fixed}"
            assert any(fnmatch(known, one) for one in figures for known in measures.names), f"{name}: {fixed}"
        assert set(measures.per_token) <= set(measures.names), name


def test_every_training_recipe_can_be_searched() -> None:
    others = {"evaluate_glue", "predict", "generate", "publish_to_hub", "verify_run", "sweep", "prepare_corpus"}
    assert set(MEASURES) == {path.stem for path in RECIPES.glob("*.py")} - others
    for name, measures in MEASURES.items():
        config = config_of(Path("run"), "--sweep.recipe", name, space="{data.card: [a, b]}").sweep
        with pytest.raises(ConfigError, match="rows that are scored"):  # the recipe was found, and its config made
            read_sweep(config, RECIPES)
        assert len({direction_of(one) for one in measures.headlines}) == 1
        assert set(measures.at_end) <= set(measures.names)
    # what trials leave out is what these recipes have
    known = {key for name in MEASURES for key in keys_of(importlib.import_module(name).Config)}
    assert {f"evaluation.{name}" for name in LEFT_OUT} <= known


def test_sweeps_and_reports_have_the_same_headlines() -> None:
    for name, measures in MEASURES.items():
        assert set(measures.headlines) <= set(HEADLINES), name
        if not name.startswith("finetune_"):  # whose report has the headline of their analysis
            assert next(one for one in HEADLINES if one in measures.names) == measures.headlines[0], name


# ---------------------------------------------------------------- trials of the real recipe


def tiny_sweep(corpus: Path, folder: Path) -> recipe.Config:
    base = {
        "data": {"files": {"train": str(corpus)}, "validation_share": 0.1, "block_size": 32},
        "tokenizer.vocab_size": 300,
        "model.config": yaml.safe_load(TINY_MODEL),
        "training": {"max_steps": 4, "per_device_train_batch_size": 4, "save_steps": 2, "logging_steps": 4},
        "training.eval_steps": 3,
        "training.bf16": False,
        "proof.enabled": False,
    }
    space = "{training.learning_rate: {low: 1e-4, high: 0.1, log: true}, training.adam_beta2: [0.9, 0.99]}"
    flags = ["--sweep.base", json.dumps(base), "--sweep.trials", "3", "--run.threads", "1"]
    return config_of(folder, *flags, space=space)


@pytest.fixture(scope="module")
def whole(corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of three tiny runs of pretrain_clm, never interrupted."""
    folder = tmp_path_factory.mktemp("sweeps") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "TrialProcess", InProcess)
        recipe.main(tiny_sweep(corpus_file, folder))
    return folder


def test_the_best_config_is_one_of_the_recipe(whole: Path) -> None:
    metrics, found = json.loads((whole / "metrics.json").read_text()), trials(whole)
    best = min(found, key=lambda one: one["value"])
    assert metrics["best_trial"] == best["number"] and metrics["best_bits_per_byte"] == best["value"]
    assert len({one["value"] for one in found}) == 3
    config = parse_config(pretrain_clm.Config, str(RECIPES / "pretrain_clm.py"), ["--config", str(whole / "best.yaml")])
    assert config.training.learning_rate == best["values"]["training.learning_rate"]
    assert config.evaluation.ngram_order == 5, "trials leave the baseline out, the best config does not"
    of_trial = yaml.safe_load((whole / f"trials/{best['number']}.yaml").read_text())
    changed = {"evaluation": {"ngram_order": 5, "samples": 4}, "run": {"threads": None}}
    assert config_to_dict(config) == {key: value | changed.get(key, {}) for key, value in of_trial.items()}


def test_only_the_best_trial_keeps_its_weights(whole: Path) -> None:
    best = json.loads((whole / "metrics.json").read_text())["best_trial"]
    assert [(whole / f"trials/{number}/model").is_dir() for number in range(3)] == [n == best for n in range(3)]
    assert all((whole / f"trials/{number}/report.html").is_file() for number in range(3))


def test_the_report_tells_that_the_best_of_several_is_optimistic(whole: Path) -> None:
    page = re.sub(r"\s+", " ", (whole / "report.html").read_text())
    assert "the best of 3 on the same validation rows: better than new rows would show" in page
    assert "in part the luckiest" in page and "3 trials of 3: 3 complete" in page
    assert "training.learning_rate" in page and page.count("<svg") == 1
    assert "http:" not in page and "https:" not in page and "@import" not in page


def test_a_sweep_that_was_stopped_goes_on_as_it_would_have(
    whole: Path, corpus_file: Path, in_process: type[InProcess], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "stopped"
    config = tiny_sweep(corpus_file, folder)

    def stop_in_trial_1(flags: list[str]) -> list[str]:
        if flags[-1].endswith("/1"):
            module = [*flags, "--run.stop_at_step", "2"]
            assert run_recipe(pretrain_clm.main, pretrain_clm.Config, str(RECIPES / "pretrain_clm.py"), module) == 130
            (folder / "trials/1/.lock").unlink()  # the end of its process would let go of it
            raise KeyboardInterrupt
        return flags

    def stop_before_trial_2(flags: list[str]) -> list[str]:
        if flags[-1].endswith("/2"):
            raise KeyboardInterrupt
        return flags

    for stop in (stop_in_trial_1, stop_before_trial_2):
        in_process.before = staticmethod(stop)
        with pytest.raises(Interrupted, match="of 3 trials are done"):
            recipe.main(config)
        assert not (folder / "metrics.json").exists()
    in_process.before = staticmethod(lambda flags: flags)
    recipe.main(config)
    assert trials(folder) == trials(whole)
    for name in ("best.yaml", "metrics.json", "base.yaml", "trials/1/steps.jsonl"):
        assert (folder / name).read_text() == (whole / name).read_text(), name
    for line in map(json.loads, (folder / "trials.jsonl").read_text().splitlines()):
        measured = json.loads((folder / f"trials/{line['number']}/metrics.json").read_text())
        assert line["train_seconds"] == measured["train_seconds"], "of all starts of the trial"
    told = [(folder / f"trials/{number}.log").read_text() for number in range(3)]
    assert ["checkpoint-2" in one.partition("Going on from ")[2] for one in told] == [False, True, False]

    in_process.before = staticmethod(stop_before_trial_2)  # nothing is run again
    recipe.main(config)
    assert "This sweep is finished" in capsys.readouterr().err


def test_a_check_is_that_of_the_recipe_and_leaves_nothing(
    corpus_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = {"data.files.train": f"{corpus_file}s", "data.columns": {"text": "text"}}
    flags = ["--sweep.recipe", "pretrain_clm", "--sweep.space", "{training.learning_rate: [1e-3, 1e-2]}"]
    flags += ["--sweep.base", json.dumps(base)]
    flags += ["--run.dir", str(tmp_path / "run")]
    for has_begun in (False, True):
        if has_begun:
            config = parse_config(recipe.Config, str(RECIPES / "sweep.py"), flags)
            (tmp_path / "run/trials/0").mkdir(parents=True)
            (tmp_path / "run/config.yaml").write_text(configs.config_to_yaml(config))
            (tmp_path / "run/trials/0/config.yaml").write_text("training: {learning_rate: 1e-3}\n")
        before = sorted(tmp_path.rglob("*"))
        assert run_recipe(recipe.main, recipe.Config, str(RECIPES / "sweep.py"), [*flags, "--check"]) == 2
        assert f"Did you mean '{corpus_file.name}'" in capsys.readouterr().out
        assert sorted(tmp_path.rglob("*")) == before


# ---------------------------------------------------------------- what becomes of trials


def test_the_same_folder_takes_more_trials_but_no_other_space(in_process: type[InProcess], tmp_path: Path) -> None:
    folder, script = tmp_path / "run", str(STUB / "sweep.py")
    running.run_sweep(config_of(folder, "--sweep.trials", "2"), script)
    first = trials(folder)
    running.run_sweep(config_of(folder, "--sweep.trials", "4"), script)
    assert trials(folder)[:2] == first and len(trials(folder)) == 4
    for flags, space, named in (
        ([], RATES.replace("0.01", "0.1"), "sweep.space.training.learning_rate.low: 0.01 there, 0.1 now"),
        (["--sweep.direction", "maximize"], RATES, "sweep.direction"),
        (["--sweep.metric", "loss"], RATES, "sweep.metric: None there, 'loss' now"),
    ):
        with pytest.raises(ConfigError, match=re.escape(named)):
            running.run_sweep(config_of(folder, "--sweep.trials", "4", *flags, space=space), script)


def test_an_edited_config_of_the_recipe_is_refused_by_name(in_process: type[InProcess], tmp_path: Path) -> None:
    mine, script = tmp_path / "mine.yaml", str(STUB / "sweep.py")
    space = "{training.learning_rate: [0.1, 0.2]}"
    mine.write_text("training: {batch: 8}\n")
    running.run_sweep(
        config_of(tmp_path / "run", "--sweep.trials", "1", "--sweep.config", str(mine), space=space), script
    )
    mine.write_text("training: {batch: 4}\n")
    with pytest.raises(ConfigError, match="training.batch: 8 there, 4 now"):
        running.run_sweep(
            config_of(tmp_path / "run", "--sweep.trials", "2", "--sweep.config", str(mine), space=space), script
        )


def test_a_grid_runs_every_combination_once(in_process: type[InProcess], tmp_path: Path) -> None:
    space = "{training.learning_rate: {low: 0.1, high: 0.5, step: 0.2}, training.batch: [8, 13]}"
    running.run_sweep(config_of(tmp_path / "run", "--sweep.sampler", "grid", space=space), str(STUB / "sweep.py"))
    found = trials(tmp_path / "run")
    values = [(one["values"]["training.learning_rate"], one["values"]["training.batch"]) for one in found]
    assert values == [(0.1, 8), (0.1, 13), (0.3, 8), (0.3, 13), (0.5, 8), (0.5, 13)]
    assert [one["state"] for one in found] == ["complete", "failed"] * 3, "a failed trial does not end the sweep"
    assert [one["message"] for one in found] == [None, "DataError: there are no 13 rows."] * 3
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["best_trial"] == 2 and metrics["trials_failed"] == 3
    assert metrics["best_bits_per_byte"] == pytest.approx(0.25)


def test_values_that_were_tried_are_not_run_again(in_process: type[InProcess], tmp_path: Path) -> None:
    started: list[str] = []
    in_process.before = staticmethod(lambda flags: started.append(flags[-1]) or flags)
    space = "{training.batch: [8, 16]}"
    config = config_of(tmp_path / "run", "--sweep.sampler", "random", "--sweep.trials", "6", space=space)
    running.run_sweep(config, str(STUB / "sweep.py"))
    found = trials(tmp_path / "run")
    assert len(started) == 2 and len(found) == 6 and len({one["value"] for one in found}) == 1
    assert [bool(one["message"]) for one in found].count(True) == 4


def test_a_bad_trial_is_pruned_by_what_it_shows_on_the_way(in_process: type[InProcess], tmp_path: Path) -> None:
    space = "{training.learning_rate: [0.3, 0.31, 0.32, 0.33, 0.34, 0.9, 0.29]}"
    flags = ("--sweep.sampler", "grid", "--sweep.pruner", "median")
    running.run_sweep(config_of(tmp_path / "run", *flags, space=space), str(STUB / "sweep.py"))
    found = trials(tmp_path / "run")
    assert [one["state"] for one in found] == ["complete"] * 5 + ["pruned", "complete"]
    assert found[5]["evaluations"] == {"1": pytest.approx(1.6)}, "ended by its first evaluation"
    assert found[6]["evaluations"].keys() == {"1", "2", "3"}, "the last step is the figure, no evaluation on the way"
    assert "model" not in os.listdir(tmp_path / "run/trials/5")


def test_a_trial_that_was_condemned_before_the_sweep_stopped_is_not_run_on(tmp_path: Path) -> None:
    config = config_of(tmp_path, "--sweep.pruner", "median", space="{training.learning_rate: {low: 0.1, high: 1}}")
    study = Study(read_sweep(config.sweep, STUB), config.sweep, tmp_path)
    for _ in range(5):
        trial = study.ask()
        assert not study.report(trial, [(1, 1.0)])
        study.complete(trial, 1.0)
    bad = study.ask()
    assert study.report(bad, [(1, 2.0), (2, 0.1)]), "judged by the first, whatever comes after"
    again = Study(read_sweep(config.sweep, STUB), config.sweep, tmp_path)
    (left,) = again.interrupted()
    assert left.number == 5 and left.params == bad.params and again.was_condemned(left)


def test_importances_are_computed_once_and_only_of_enough_trials(
    in_process: type[InProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, asked = Study.importances, []
    monkeypatch.setattr(Study, "importances", lambda study: asked.append(study) or really(study))
    monkeypatch.setitem(sys.modules, "optuna.importance", None)  # an import of it is an error
    running.run_sweep(config_of(tmp_path / "run", "--sweep.trials", "2"), str(STUB / "sweep.py"))
    assert len(asked) == 1


def test_time_to_train_is_that_of_all_starts(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path, "0")
    assert folder.train_seconds() is None
    folder.run.path.mkdir()
    folder.run.append_metrics({"step": 1, "train_seconds": 2.5})
    folder.run.append_metrics({"step": 1, "eval_loss": 2.0})
    assert folder.train_seconds() == 2.5, "pruned"
    folder.run.write_json("metrics.json", {"eval_loss": 1.0, "train_seconds": 7.5})
    assert folder.train_seconds() == 7.5


def test_a_crash_while_values_are_drawn_costs_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import optuna

    config, drawn = config_of(tmp_path), []
    sweep = read_sweep(config.sweep, STUB)
    whole = Study(sweep, config.sweep, tmp_path).ask().params
    (tmp_path / "journal.log").unlink()
    suggest = optuna.trial.Trial._suggest

    def crash(self: Any, name: str, distribution: Any) -> Any:
        drawn.append(name)
        if len(drawn) == 1:
            raise KeyboardInterrupt
        return suggest(self, name, distribution)

    monkeypatch.setattr(optuna.trial.Trial, "_suggest", crash)
    with pytest.raises(KeyboardInterrupt):
        Study(sweep, config.sweep, tmp_path).ask()
    (left,) = Study(sweep, config.sweep, tmp_path).interrupted()
    assert left.number == 0 and left.params == whole


def test_failures_that_are_alike_end_the_sweep(in_process: type[InProcess], tmp_path: Path) -> None:
    space = "{training.batch: [13], training.learning_rate: {low: 0.1, high: 1}}"
    with pytest.raises(TrainingError, match="3 trials in a row failed alike"):
        running.run_sweep(config_of(tmp_path / "run", space=space), str(STUB / "sweep.py"))
    assert [one["state"] for one in trials(tmp_path / "run")] == ["failed"] * 3
    with pytest.raises(TrainingError, match="None of 4 trials has a result"):
        running.run_sweep(config_of(tmp_path / "run", "--sweep.trials", "4", space=space), str(STUB / "sweep.py"))


def test_a_trial_that_did_not_fail_ends_a_row_of_failures_whatever_its_figure_is_called(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    sweep = read_sweep(config.sweep, STUB)
    (tmp_path / "trials").mkdir()
    study = Study(sweep, config.sweep, tmp_path)
    runner, trial = running._Runner(sweep, study, RunFolder(tmp_path), config), study.ask()
    one = running._Running(trial, TrialFolder(tmp_path / "trials", "0"), None, place=0)
    runner.running, runner.failures = [one], ["no rows", "no rows"]
    study.complete(trial, 1.0)
    runner._done(one, "failed_share 1")
    assert runner.failures == []


def test_what_went_wrong_is_the_last_error_that_was_told(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path, "3")
    folder.log.write_text(f"started\nDataError: first\nTrainingError: loss is nan in {tmp_path / '3'}/x\nbye\n")
    assert folder.failure(2) == "TrainingError: loss is nan in the run folder/x"
    folder.log.write_text("Killed\n")
    assert folder.failure(-9) == "Killed (ended by signal 9)"


def test_evaluations_are_read_while_they_are_written(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path, "0")
    assert folder.evaluations(("loss",)) == []
    folder.run.path.mkdir()
    (folder.run.path / "plan.json").write_text('{"steps": 3}')
    lines = ['{"step": 1, "loss": 9}', '{"step": 1, "eval_loss": 2}', '{"step": 3, "eval_loss": 1}', '{"step": 2, "ev']
    (folder.run.path / "metrics.jsonl").write_text("\n".join(lines))
    assert folder.evaluations(("f1", "loss")) == [(1, 2.0)]


# ---------------------------------------------------------------- processes

DRIVER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import sweep
from pipelines import report
from pipelines.run import launch
from pipelines.sweeps import running
running.environment, report.sweep_chart = lambda data: {}, lambda sweep: None  # which take time
sys.argv = ["sweep.py", *sys.argv[2:]]
launch(lambda config: running.run_sweep(config, STUB), sweep.Config, str(Path(sweep.__file__)))
"""


def drive(folder: Path, *flags: str) -> subprocess.Popen[str]:
    shared = ["--run.dir", str(folder), "--sweep.recipe", "pretrain_clm", "--sweep.space", RATES, *flags]
    code = DRIVER.replace("STUB", repr(str(STUB / "sweep.py")))
    command = [sys.executable, "-c", code, str(RECIPES), *shared]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def wait_for(path: Path, text: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not path.is_file() or text not in path.read_text():
        assert time.monotonic() < deadline, path
        time.sleep(0.02)


@pytest.mark.processes
def test_killed_and_interrupted_sweeps_go_on_with_their_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, gate, log = tmp_path / "run", tmp_path / "gate", tmp_path / "run/trials/0.log"
    monkeypatch.setattr(running, "environment", lambda data: {})
    monkeypatch.setattr(report, "sweep_chart", lambda sweep: None)
    gate.touch()
    with drive(folder, "--sweep.trials", "1") as killed:
        wait_for(folder / "trials/0/metrics.jsonl", '"step": 2')
        killed.send_signal(signal.SIGKILL)

    really_sleep = time.sleep

    def interrupt(seconds: float) -> None:
        if "Going on after step 2" in log.read_text():
            raise KeyboardInterrupt
        really_sleep(seconds)

    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="0 of 1 trials are done"):
        patch.setattr(time, "sleep", interrupt)  # while the trial of the killed sweep may still save
        running.run_sweep(config_of(folder, "--sweep.trials", "1"), str(STUB / "sweep.py"))
    gate.unlink()
    running.run_sweep(config_of(folder, "--sweep.trials", "2", "--sweep.workers", "2"), str(STUB / "sweep.py"))
    assert [one["state"] for one in trials(folder)] == ["complete"] * 2
    assert log.read_text().count("Stopped after step 2") == 2
    steps = [json.loads(line)["step"] for line in (folder / "trials/0/metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4], "gone on with, not started anew"


@pytest.mark.processes
def test_a_trial_is_asked_to_stop_once_and_sees_no_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('asked', flush=True))\n"
        "print(os.environ.get('RANK'), os.environ.get('ACCELERATE_MIXED_PRECISION'), "
        "os.environ['CUDA_VISIBLE_DEVICES'], flush=True)\n"
        "time.sleep(0.3)\ntime.sleep(0.3)\nsys.exit(130)"
    )
    process = TrialProcess([sys.executable, "-c", code], tmp_path / "log", device="1")
    wait_for(tmp_path / "log", "None")
    assert process.poll() is None
    process.stop()
    process.stop()
    assert process.wait() == 130
    assert (tmp_path / "log").read_text().split("\n") == ["None None 1", "asked", ""]
