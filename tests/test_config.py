"""YAML and flags become one typed config, or one message that says what to write instead."""

import dataclasses
import importlib
from pathlib import Path

import pretrain_clm
import pytest
import yaml
from conftest import RECIPES

from pipelines.checking import CheckConfig
from pipelines.config import config_to_dict, config_to_yaml, parse_config
from pipelines.config_rules import OPEN_RANGES, OWNED_FIELDS, RANGES, flatten, training_argument_names
from pipelines.errors import ConfigError
from pipelines.run_folder import run_name
from pipelines.sections import PretrainingConfig, TrainingConfig
from pipelines.task_sections import FinetuningConfig
from pipelines.training.arguments import OWN_FIELDS

RECIPE = str(RECIPES / "pretrain_clm.py")


def parse(*flags: str) -> pretrain_clm.Config:
    return parse_config(pretrain_clm.Config, RECIPE, list(flags))


def written(folder: Path, text: str) -> str:
    path = folder / "my.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_each_run_has_a_folder_of_its_own() -> None:
    """The same command finds its folder again; flags that make another run lead to another one, others do not."""

    def name(*flags: str) -> str:
        return run_name(parse(*flags), RECIPE, list(flags))

    assert name() == name("--training.max_steps", "9") == name("--evaluation.samples", "1") == "default"
    mine = name("--data.files.train", "mine.jsonl")
    assert mine.startswith("default-")
    assert mine == name("--data.files.train", "mine.jsonl", "--training.save_steps", "7")
    assert mine != name("--data.files.train", "other.jsonl")
    shakespeare = str(RECIPES / "configs/pretrain_clm/shakespeare-char.yaml")
    assert name("--config", shakespeare) == "shakespeare-char"
    assert name("--config", shakespeare, "--training.seed", "1").startswith("shakespeare-char-")


def test_a_new_schedule_leaves_the_arguments_of_the_old_one() -> None:
    assert parse().training.lr_scheduler_kwargs is not None
    assert parse("--training.lr_scheduler_type", "cosine").training.lr_scheduler_kwargs is None


def test_ranges_name_keys_that_exist() -> None:
    known = dict(flatten(dataclasses.asdict(CheckConfig()))).keys()
    for recipe in RECIPES.glob("*.py"):
        config = parse_config(importlib.import_module(recipe.stem).Config, str(recipe), [])
        known |= dict(flatten(dataclasses.asdict(config))).keys()
    assert RANGES.keys() | OPEN_RANGES.keys() <= known


def test_no_flag_means_default_yaml() -> None:
    default = yaml.safe_load((RECIPES / "configs/pretrain_clm/default.yaml").read_text())
    config = parse()
    assert config.data.card == default["data"]["card"] == "installed_docs"
    assert config.model.preset == default["model"]["preset"]


def test_later_files_and_flags_win(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("training: {learning_rate: 3e-4, max_steps: 7, seed: 1}")
    second.write_text("training: {max_steps: 8, seed: 2}")
    config = parse("--config", str(first), "--config", str(second), "--training.seed", "3")
    assert (config.training.learning_rate, config.training.max_steps, config.training.seed) == (3e-4, 8, 3)


@pytest.mark.parametrize(
    ("text", "value"), [("3e-4", 3e-4), ("1E-3", 1e-3), ("2.5e-5", 2.5e-5), (".5", 0.5), ("1", 1.0)]
)
def test_scientific_notation_is_a_float(tmp_path: Path, text: str, value: float) -> None:
    config = parse("--config", written(tmp_path, f"training:\n  learning_rate: {text}\n"))
    assert config.training.learning_rate == value
    assert isinstance(config.training.learning_rate, float)
    assert parse("--training.learning_rate", text).training.learning_rate == value


def test_saved_config_reads_back_to_itself(tmp_path: Path) -> None:
    config = parse(
        "--training.eval_steps", "7", "--training.extra.logging_first_step", "true", "--run.dir", "elsewhere"
    )
    (tmp_path / "config.yaml").write_text(config_to_yaml(config))
    again = parse("--config", str(tmp_path / "config.yaml"))
    assert config_to_dict(again) == config_to_dict(config)
    assert again.run.dir is None, "a saved config starts a new folder"


def test_a_section_with_nothing_to_set_is_saved_printed_and_read(capsys, tmp_path: Path) -> None:
    import finetune_multiple_choice as recipe

    def parse_choice(*flags: str) -> recipe.Config:
        return parse_config(recipe.Config, str(RECIPES / "finetune_multiple_choice.py"), list(flags))

    config = parse_choice()
    with pytest.raises(SystemExit):
        parse_choice("--print_config")
    for text in (config_to_yaml(config), capsys.readouterr().out):
        assert "task: {}" in text
        assert parse_choice("--config", written(tmp_path, text)) == config


def test_print_config_prints_every_key_and_reads_back(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("--print_config", "--training.seed", "5")
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    config = parse("--config", written(tmp_path, printed))
    assert config.training.seed == 5
    assert dataclasses.asdict(config) == yaml.safe_load(printed)


@pytest.mark.parametrize(
    ("flags", "kept", "dropped"),
    [
        (["--data.files.train", "x.txt"], "data.files", "data.card"),
        (["--data.name", "user/set"], "data.name", "data.card"),
        (["--model.config", "{model_type: gpt2}"], "model.config", "model.preset"),
        (["--model.name", "gpt2"], "model.name", "tokenizer.vocab_size"),
        (["--tokenizer.name", "gpt2"], "tokenizer.name", "tokenizer.vocab_size"),
    ],
)
def test_a_choice_replaces_the_default_one(flags: list[str], kept: str, dropped: str) -> None:
    config = parse(*flags)
    section, name = dropped.split(".")
    assert getattr(getattr(config, section), name) is None
    section, name = kept.split(".")
    assert getattr(getattr(config, section), name) is not None


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--training.learning_rat", "1"], ["unknown key 'training.learning_rat'", "'training.learning_rate'"]),
        (["--trainin.seed", "1"], ["unknown section 'trainin'", "'training'"]),
        (["--training.learning_rate", "fast"], ["training.learning_rate", "expected float", "'fast'"]),
        (["--training.max_steps", "ten"], ["training.max_steps", "int or null", "'ten'"]),
        (["--training.logging_first_step", "true"], ["--training.extra.logging_first_step VALUE"]),
        (["--training.extra.loging_first_step", "true"], ["no field", "'logging_first_step'"]),
        (["--training.extra.output_dir", "x"], ["--run.dir"]),
        (["--training.extra.max_steps", "3"], ["--training.max_steps"]),
        (["--data.card", "a", "--data.name", "b"], ["data.card and data.name", "exclude each other"]),
        (["--training.optim", "adm"], ["training.optim", "adamw_torch_fused"]),
        (["--config"], ["--config needs"]),
        (["--config", "recipes/configs/pretrain_clm/defalt.yaml"], ["There is no config file", "'default.yaml'"]),
        (["--run.threads", "0"], ["run.threads must be at least 1", "found 0"]),
        (["--data.block_size", "-5"], ["data.block_size must be at least 2"]),
        (["--training.learning_rate", "-1"], ["training.learning_rate must be at least 0"]),
        (["--training.learning_rate", "nan"], ["training.learning_rate", "expected float"]),
        (["--training.adam_beta1", "1.5"], ["training.adam_beta1", "below 1"]),
        (["--training.save_total_limit", "0"], ["training.save_total_limit must be at least 1"]),
        (["--training.seed", "-1"], ["training.seed must be at least 0"]),
        (["--evaluation.max_blocks", "-1"], ["evaluation.max_blocks must be at least 1"]),
        (["--evaluation.temperature", "0"], ["evaluation.temperature"]),
        (["--data", "my.yaml"], ["'data' is a section", "--data."]),
        (["stray"], ["unrecognized arguments: stray"]),
    ],
)
def test_wrong_flags_are_answered(flags: list[str], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        parse(*flags)
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("training:\n  seed: 1\n  learning_rate: 1\n  seed: 2\n", ["'seed' stands twice", "lines 2 and 4"]),
        ("training:\n  learning_rat: 1\n", ["my.yaml", "'training.learning_rat'", "'training.learning_rate'"]),
        ("training:\n  seed: [1\n", ["my.yaml", "not valid YAML"]),
        ("training: fast\n", ["'training' is a section"]),
        ("- training\n", ["must hold a map"]),
        ("training:\n  max_steps: ten\n", ["my.yaml", "training.max_steps", "'ten'"]),
        ("data:\n  card: x\n  name: y\n", ["my.yaml", "data.card and data.name"]),
        ("training:\n  adam_epsilo: 1\n", ["'training.adam_epsilon'"]),
        ("training:\n  logging_first_step: true\n", ["--training.extra.logging_first_step VALUE"]),
    ],
)
def test_wrong_yaml_is_answered(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        parse("--config", written(tmp_path, text))
    for part in parts:
        assert part in str(error.value)


def test_training_section_has_the_names_and_units_of_training_arguments() -> None:
    from transformers import TrainingArguments

    theirs = {field.name: field for field in dataclasses.fields(TrainingArguments)}
    assert training_argument_names() == set(theirs)
    assert set(OWNED_FIELDS) < set(theirs)
    ours = {field.name: field for field in dataclasses.fields(TrainingConfig)}
    assert set(ours) - set(theirs) == OWN_FIELDS - {"max_tokens_per_batch", "early_stopping_patience"}
    more = {field.name for field in dataclasses.fields(FinetuningConfig)} - set(ours)
    assert more == {"max_tokens_per_batch", "early_stopping_patience", "load_best_model_at_end"}
    assert len(ours) > 25
    # null instead of -1 and of "where the hardware has it"; a run is evaluated, saved and logged often enough.
    changed = {name for name in set(ours) - OWN_FIELDS if ours[name].default != theirs[name].default}
    intervals = {"logging_steps", "eval_strategy", "eval_steps", "save_steps", "save_total_limit"}
    assert changed == {"max_steps", "num_train_epochs", "bf16", "activation_checkpointing"} | intervals
    assert {field.name for field in dataclasses.fields(PretrainingConfig)} == set(ours)
