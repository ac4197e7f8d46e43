"""`--check`: what it finds before a run, all at once, and that it leaves nothing behind."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from conftest import RECIPES
from finetune_runs import BAD, GOOD, sentence

from pipelines.checking import checking
from pipelines.run import run_recipe

# A YAML and a data set with mistakes of all kinds, and for each a part of the line that tells it.
YAML = """
run: {threads: 0, country_iso_code: FRA, dir: %(run)s}
data:
  files: {train: %(train)s, validation: %(validation)s}
  columns: {review: text, stars: label}
  colums: {review: text}
  max_length: 4096
  overlength: split
  config_name: plain
tokenizer: {vocab_size: 300, type: bpee}
model:
  config: {model_type: bert, hidden_size: 32, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2,
    max_position_embeddings: 32}
  preset: encoder-4m
lora: {r: 0}
task: {threshold: 1.5}
training:
  num_train_epochs: ten
  per_device_train_batch_size: 0
  learning_rte: 1e-3
  learning_rate: 5.0
  warmup_steps: 500
  weight_decay: -1
  weight_decay: 2
  eval_steps: 1000
  save_steps: 2.5
  early_stopping_patience: 50
  report_to: wandbb
  bf16: perhaps
  max_steps: 40
  extra: {group_by_lenght: true, output_dir: out, max_grad_norm: 1.0}
evaluation: {seeds: 0}
publish: {repo_id: "a bad name!", license: my-own}
"""
PROBLEMS = {
    "threads out of range": "run.threads must be at least 1",
    "a key without its other": "run.country_iso_code is FRA",
    "an unknown key": "'data.colums.review'. Did you mean 'data.columns'",
    "longer than the model": "data.max_length is 4096, but the model has 32 positions",
    "a policy of another task": "data.overlength is 'split'",
    "no such tokenizer": '"tokenizer.type": expected',
    "two models": "model.preset and model.config",
    "LoRA without rank": "lora.r must be at least 1",
    "a threshold that is no share": "task.threshold must be above 0",
    "a word for a number": '"training.num_train_epochs": expected',
    "no rows in a batch": "training.per_device_train_batch_size must be at least 1",
    "a misspelt key": "'training.learning_rte'. Did you mean 'training.learning_rate'",
    "a learning rate of SGD": "training.learning_rate is 5;",
    "warm-up longer than the run": "training.warmup_steps is 500 of 40",
    "a key twice": "key 'weight_decay' stands twice",
    "no evaluation on the way": "training.eval_steps is 1,000",
    "half a step": "training.save_steps must be a whole number",
    "patience that has no effect": "training.early_stopping_patience is 50, which has no effect",
    "an unknown tracker": "training.report_to is 'wandbb'",
    "neither true nor false": '"training.bf16": expected',
    "no field of TrainingArguments": "training.extra.group_by_lenght is no field",
    "a field that is the run's own": "training.extra.output_dir cannot be set",
    "a field that has its own key": "training.extra.max_grad_norm has a key of its own",
    "no seeds": "evaluation.seeds must be at least 1",
    "no name of a repository": "publish.repo_id is 'a bad name!'",
    "no licence": "publish.license 'my-own' is no licence id",
    "a config of files": "data.config_name is that of a card",
    "an empty text": "row 12: the text is empty. 1 other row(s) of train",
    "a missing label": "row 14: the label is missing",
    "a label that is not learnt": "'excellent'",
    "rows twice": "train: 3 of 92 rows repeat another one",
    "the same text with two labels": "train: 2 rows have an input that has another answer elsewhere",
    "a rare label": "fewer than 10 rows of 'odd'",
    "imbalance": "times the rows of 'odd'",
    "leaking test rows": "validation: 5 of 30 have the same input as a training row",
    "a wrong encoding": "texts hold what a wrong encoding leaves",
    "too few rows to score": "validation: with 30 rows, an accuracy is known to within 18%",
    "a label that is not scored": "validation: no row has the label 'odd'",
    "rows that are cut": "rows are longer than data.max_length (32)",
}


def write_csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    lines = ["review,stars", *(f'"{text}",{label}' for text, label in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def faulty_files(folder: Path) -> dict[str, Path]:
    draw = random.Random(0)
    rows = [(sentence(draw, BAD if number % 3 else GOOD), "bad" if number % 3 else "good") for number in range(110)]
    train, validation = rows[:85], rows[85:]
    train[11], train[40] = ("", "good"), ("   ", "bad")
    train[13] = (train[13][0], "")
    train += [train[0], train[1], train[2], (train[3][0], "good" if train[3][1] == "bad" else "bad")]
    train += [(f"Odd {number}", "odd") for number in range(4)]
    train += [("The cafÃ© was dark", "bad"), ("word " * 60, "bad")]
    validation += [*train[:5], ("The hall was fine", "excellent")]
    paths = {name: folder / f"{name}.csv" for name in ("train", "validation")}
    write_csv(paths["train"], train)
    write_csv(paths["validation"], validation)
    return paths


def check(recipe: str, *arguments: str) -> int:
    namespace: dict[str, Any] = {"__name__": "recipe"}
    path = RECIPES / f"{recipe}.py"
    import importlib.util

    spec = importlib.util.spec_from_file_location(recipe, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[recipe] = module
    spec.loader.exec_module(module)
    del namespace
    positional = getattr(module, "POSITIONAL", None)
    return run_recipe(module.main, module.Config, str(path), ["--check", *arguments], positional)


def test_every_seeded_problem_is_found_in_one_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "faulty.yaml"
    config.write_text(YAML % {"run": tmp_path / "run", **faulty_files(tmp_path)})
    assert (
        check("finetune_classification", "--config", str(config), "--preflight.json", str(tmp_path / "found.json")) == 2
    )
    table = " ".join(capsys.readouterr().out.split())
    missed = [what for what, told in PROBLEMS.items() if told not in table]
    print(table)
    assert len(PROBLEMS) >= 30
    assert not missed, missed
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["failed"] is True
    assert {one["level"] for one in found["findings"]} == {"error", "warning", "ok"}
    assert not (tmp_path / "run").exists()
    assert checking() is None
