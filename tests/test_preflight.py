"""`--check`: what it finds before a run, all at once, and that it leaves nothing behind."""

import bz2
import gzip
import importlib
import json
import lzma
import random
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import RECIPES, sentences, tiny_run
from finetune_runs import BAD, GOOD, flags, sentence
from test_contrastive import tiny_flags as contrastive_flags
from test_embeddings import tiny as embeddings_flags
from test_recipe_mlm import flags as mlm_flags
from test_recipe_seq2seq import tiny_run as seq2seq_flags
from test_tokenizer_training import tiny as tokenizer_flags

from pipelines.checking import Check, CheckConfig, PreflightConfig, begin_check, checking, leave_check
from pipelines.config import parse_config
from pipelines.config_rules import check_ranges
from pipelines.data.files import SourceFile, as_source
from pipelines.data.readers import read_texts
from pipelines.data.sampling import sample
from pipelines.data.sources import Source
from pipelines.errors import ConfigError
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
    "too few rows to score": "validation: with 30 rows, the share of right ones is known to within 18%",
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


def recipe_of(name: str) -> Any:
    return importlib.import_module(name)  # tests/conftest.py puts recipes/ on the path, as python does


def check(recipe: str, *arguments: str) -> int:
    module = recipe_of(recipe)
    path = RECIPES / f"{recipe}.py"
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


def test_a_sound_run_is_told_in_figures(corpus_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = tmp_path / "found.json"
    arguments = [*tiny_run(corpus_file, tmp_path / "run"), "--preflight.json", str(found)]
    arguments += ["--preflight.price_per_device_hour", "3600"]
    assert check("pretrain_clm", *arguments, "--proof.enabled", "true") == 0
    figures, findings = json.loads(found.read_text())["figures"], json.loads(found.read_text())["findings"]
    topics = {one["topic"] for one in findings}
    assert {"data", "tokens", "schedule", "disk", "memory", "time", "proofs"} <= topics
    assert figures["plan"]["steps"] == 12 and figures["plan"]["rows_per_step"] == 4
    assert figures["train_tokens"]["documents"] + figures["validation_tokens"]["documents"] == 300
    assert figures["cost"] == pytest.approx(figures["train_seconds"])
    assert figures["memory_bytes"]["peak"] >= figures["memory_bytes"]["baseline"] > 0  # malloc may have room left
    assert list(tmp_path.iterdir()) == [found]
    assert "0 errors" in capsys.readouterr().out


def test_a_large_corpus_is_sampled_and_the_plan_is_of_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    texts = sentences(4_000)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    documents = {}
    for megabytes in ("16", "0.1"):
        found = tmp_path / f"{megabytes}.json"
        arguments = [*tiny_run(path, tmp_path / "run"), "--training.max_steps", "null", "--preflight.json", str(found)]
        assert check("pretrain_clm", *arguments, "--preflight.sample_megabytes", megabytes) == 0
        content = json.loads(found.read_text())
        documents[megabytes] = content["figures"]["plan"]["train_documents"], content["figures"]["plan"]["steps"]
        assert (content["share_of_training_data_read"] < 1) == (megabytes == "0.1")
    (whole, steps), (sampled, sampled_steps) = documents["16"], documents["0.1"]
    assert sampled == pytest.approx(whole, rel=0.05) and sampled_steps == pytest.approx(steps, rel=0.08)


def sampled(path: Path, megabytes: float) -> tuple[list[str], float]:
    """The texts of a sample of a file, and its share as the check is told."""
    check = Check(PreflightConfig(sample_megabytes=megabytes))
    source = sample(Source("a", {"train": [as_source(path, "a", path.name)]}), check)
    files = cast(list[SourceFile], source.splits["train"])
    read = [
        text
        for file in files
        for array in read_texts(file, lambda columns, shown: "text", "line")
        for text in array.to_pylist()
    ]
    check.clean_up()
    assert all(file.path == path or not file.path.exists() for file in files)
    return read, check.share


ROUGH = {".gz": 0.05, ".xz": 0.1, ".zst": 0.1, ".bz2": 0.25}  # they are read ahead: bz2 by blocks of 900 kB
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


@pytest.mark.parametrize("kind", ["json", "csv", "text", "tsv", "parquet", "arrow", ".gz", ".bz2", ".xz", ".zst"])
def test_a_sample_is_whole_rows_and_its_share_is_known(kind: str, tmp_path: Path) -> None:
    compressed = kind in COMPRESS
    count = 30_000 if compressed else 3_000  # which are read ahead by some kilobytes
    texts = [f'{text}, "quoted"\nand on' if kind == "csv" else text for text in sentences(count)]
    path = tmp_path / {"text": "a.txt", "json": "a.jsonl"}.get(kind, f"a.jsonl{kind}" if compressed else f"a.{kind}")
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    if kind == "parquet":
        pq.write_table(pa.table({"text": texts}), path, row_group_size=500)
    elif kind == "arrow":
        table = pa.table({"text": texts})
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=500)
    elif compressed:
        path.write_bytes(COMPRESS[kind](lines.encode()))
    elif kind == "tsv":
        path.write_text("\n".join(["text", *texts]) + "\n", encoding="utf-8")
    elif kind == "csv":
        path.write_text("text\n" + "".join('"' + text.replace('"', '""') + '"\n' for text in texts), encoding="utf-8")
    else:
        path.write_text(lines if kind == "json" else "\n".join(texts) + "\n", encoding="utf-8")
    read, share = sampled(path, 0.2 if compressed else 0.08)
    assert 100 < len(read) < 0.97 * count
    assert share == pytest.approx(len(read) / count, abs=ROUGH.get(kind, 0.02))
    rest = iter(texts)
    assert all(text in rest for text in read), "rows of the file, whole and in their order"
    if kind in ("json", "tsv", "parquet", "arrow"):
        assert texts.index(read[-1]) > 0.8 * count, "from all over the file"
    else:
        assert read == texts[: len(read)]


def test_a_quote_inside_of_a_csv_field_is_a_character(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [f'a pipe of 5" {number}' if number == 3 else f"a pipe {number}" for number in range(9_000)]
    path.write_text("text\n" + "\n".join(rows) + "\n", encoding="utf-8")
    read, share = sampled(path, 0.06)
    assert read == rows[: len(read)] and len(read) > 3_000 and share == pytest.approx(len(read) / 9_000, abs=0.05)


@pytest.mark.parametrize("start", ["\ufeff[", "["])
def test_a_file_that_is_one_json_value_is_read_whole(start: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    texts = sentences(500)
    path.write_text(start + ",\n".join(json.dumps({"text": text}) for text in texts) + "]", encoding="utf-8")
    assert sampled(path, 0.01) == (texts, 1.0)


def test_of_many_files_as_many_are_read_as_fit(tmp_path: Path) -> None:
    files = []
    for number in range(100):
        path = tmp_path / f"{number}.txt"
        path.write_text(f"{number:>99}\n", encoding="utf-8")
        files.append(as_source(path, path.name, path.name))
    check = Check(PreflightConfig(sample_megabytes=0.005))
    taken = sample(Source("a", {"train": files}), check).splits["train"]
    check.clean_up()
    assert len(taken) == 50 and check.share == 0.5


def test_labels_in_the_order_of_a_file_are_no_mistake(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "sorted.csv"
    draw = random.Random(0)
    write_csv(path, [(sentence(draw, words), label) for words, label in ((GOOD, "a"), (BAD, "b")) for _ in range(900)])
    arguments = flags("classification", tmp_path, tmp_path / "run")
    for key, value in (("train", str(path)), ("validation", "null")):
        arguments[arguments.index(f"--data.files.{key}") + 1] = value
    columns = ("--data.columns", "{review: text, stars: label}")
    assert check("finetune_classification", *arguments, *columns, "--preflight.sample_megabytes", "0.02") == 0
    assert "So it is in the part that was read" in " ".join(capsys.readouterr().out.split())


def test_text_of_an_old_domain_is_no_leak_and_not_what_is_trained_on(corpus_file: Path, tmp_path: Path, capsys) -> None:
    steps = {}
    for name, more in (("alone", []), ("beside", ["--old_domain.files", str(corpus_file)])):
        found = tmp_path / f"{name}.json"
        arguments = [*tiny_run(corpus_file, tmp_path / "run", *more), "--preflight.json", str(found)]
        arguments += ["--training.max_steps", "null", "--preflight.sample_megabytes", "0.02"]
        assert check("pretrain_clm", *arguments) == 0
        steps[name] = json.loads(found.read_text())["figures"]["plan"]["steps"]
    assert steps["alone"] == steps["beside"]
    assert "leak" not in capsys.readouterr().out


def test_a_limit_of_documents_is_not_scaled_up(corpus_file: Path, tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    more = ("--data.max_train_documents", "50", "--preflight.sample_megabytes", "0.02", "--preflight.json", str(found))
    assert check("pretrain_clm", *tiny_run(corpus_file, tmp_path / "run"), *more) == 0
    assert json.loads(found.read_text())["figures"]["plan"]["train_documents"] == 50


def test_what_a_run_would_refuse_to_go_on_with(corpus_file: Path, tmp_path: Path, capsys: Any) -> None:
    arguments = tiny_run(corpus_file, tmp_path / "run", "--evaluation.ngram_order", "null")
    module = recipe_of("pretrain_clm")
    assert run_recipe(module.main, module.Config, str(RECIPES / "pretrain_clm.py"), arguments) == 0
    assert check("pretrain_clm", *arguments, "--training.per_device_train_batch_size", "8") == 2
    assert "has 4 rows, now it would have 8" in " ".join(capsys.readouterr().out.split())


OTHERS: dict[str, Callable[[Path, Path], list[str]]] = {
    "pretrain_mlm": lambda corpus, run: mlm_flags(corpus, run),
    "pretrain_seq2seq": lambda corpus, run: seq2seq_flags(corpus, run),
    "pretrain_contrastive": lambda corpus, run: contrastive_flags(corpus, run),
    "train_tokenizer": lambda corpus, run: tokenizer_flags(corpus, run),
    "train_embeddings": lambda corpus, run: embeddings_flags(corpus, run),
    **{
        f"finetune_{task}": lambda corpus, run, task=task: flags(task, run.parent, run)  # type: ignore[misc]
        for task in ("classification", "ner", "qa", "summarization", "translation", "multiple_choice", "chat")
    },
}


@pytest.mark.parametrize("recipe", OTHERS)
def test_every_recipe_can_be_checked(
    recipe: str, corpus_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = OTHERS[recipe](corpus_file, tmp_path / "run")
    code = check(recipe, *arguments)
    out = capsys.readouterr().out
    assert code == 0, out
    assert "ok       data" in out and not (tmp_path / "run").exists()
    trains = recipe not in ("train_tokenizer", "train_embeddings")
    assert all((f"ok       {topic}" in out) == trains for topic in ("schedule", "memory", "time"))


def test_a_flag_that_is_wrong_is_no_reason_to_stop(corpus_file: Path, tmp_path: Path, capsys: Any) -> None:
    wrong = ("--training.learning_rte", "1", "--training.max_steps", "ten", "--tokenizer.type", "char")
    assert check("pretrain_clm", *tiny_run(corpus_file, tmp_path / "run"), *wrong) == 2
    out = " ".join(capsys.readouterr().out.split())
    assert "'training.learning_rte'. Did you mean" in out and '"training.max_steps": expected' in out
    assert "2 errors" in out and "at the peak of a step of the 4 largest rows" in out


def test_settings_of_a_check_are_none_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="--preflight.device is a setting of --check"):
        parse_config(recipe_of("pretrain_clm").Config, str(RECIPES / "pretrain_clm.py"), ["--preflight.device", "a100"])


def test_a_finished_run_of_another_config_is_found(corpus_file: Path, tmp_path: Path, capsys: Any) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "notes.txt").write_text("mine")
    assert check("pretrain_clm", *tiny_run(corpus_file, run)) == 2
    out = capsys.readouterr().out
    assert "it is no run folder" in " ".join(out.split()) and "ok       memory" in out
    assert [path.name for path in run.iterdir()] == ["notes.txt"]


def test_a_forecast_for_accelerators_that_are_not_here(corpus_file: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = tiny_run(corpus_file, tmp_path / "run")
    place = arguments.index("--run.dir")
    del arguments[place : place + 2]  # a folder named by the flags, for which the files are read again without them
    settings = (
        "--preflight.device",
        "h100-80gb",
        "--preflight.processes",
        "8",
        "--preflight.price_per_device_hour",
        "2",
    )
    assert check("pretrain_clm", *arguments, *settings, "--preflight.json", "found.json") == 0
    figures = json.loads(Path("found.json").read_text())["figures"]
    (forecast,), plan = figures["forecast"], figures["plan"]
    assert forecast["fits"] and forecast["memory_bytes"]["weights"] == 4 * plan["parameters"]["total"]
    assert forecast["cost"] == pytest.approx(2 * 8 * forecast["seconds"] / 3600)
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


def test_a_forecast_of_a_billion_parameters_takes_no_memory_for_them(corpus_file: Path, tmp_path: Path) -> None:
    arguments = tiny_run(corpus_file, tmp_path / "run", "--model.preset", "1b", "--data.block_size", "2048")
    place = arguments.index("--model.config")
    del arguments[place : place + 2]
    found = tmp_path / "found.json"
    settings = ("--preflight.device", "h100-80gb", "--preflight.processes", "64", "--preflight.parallelism", "fsdp2")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert check("pretrain_clm", *arguments, *settings, "--preflight.json", str(found), "--proof.enabled", "true") == 0
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    figures, findings = json.loads(found.read_text())["figures"], json.loads(found.read_text())["findings"]
    parameters = figures["plan"]["parameters"]["total"]
    assert 950_000_000 < parameters < 1_000_000_000 and grown < 2 * parameters  # weights would have four bytes each
    assert figures["forecast"][0]["memory_bytes"]["weights"] == 4 * parameters // 64
    left_out = {one["topic"] for one in findings if "without weights" in one["told"]}
    assert left_out == {"attention", "proofs"}
    assert not {"memory", "time"} & {one["topic"] for one in findings} and "memory_bytes" not in figures


@pytest.mark.parametrize("recipe", ["pretrain_mlm", "finetune_qa"])
def test_other_models_from_scratch_are_forecast_without_weights(recipe: str, corpus_file: Path, tmp_path: Path) -> None:
    arguments = OTHERS[recipe](corpus_file, tmp_path / "run")
    found = tmp_path / "found.json"
    settings = ("--preflight.device", "a100-40gb", "--preflight.processes", "[1, 8]", "--preflight.json", str(found))
    assert check(recipe, *arguments, *settings) == 0
    content = json.loads(found.read_text())
    one, many = content["figures"]["forecast"]
    assert one["fits"] and (one["processes"], many["processes"]) == (1, 8)
    assert many["memory_bytes"]["communication"] == one["memory_bytes"]["gradients"]  # of ddp
    assert any(finding["topic"] == "proofs" and "without weights" in finding["told"] for finding in content["findings"])


def test_measurements_that_take_weights_are_left_out_and_told() -> None:
    from transformers import AutoConfig, AutoModel, AutoModelForSeq2SeqLM

    from pipelines.models.encoder_decoder import check_encoder_decoder
    from pipelines.models.pooling import Pooling, check_sentence_encoder

    narrow = {"vocab_size": 64, "num_attention_heads": 1, "hidden_size": 8, "intermediate_size": 8}
    t5 = {"vocab_size": 64, "d_model": 8, "d_kv": 8, "d_ff": 8, "num_heads": 1, "num_layers": 1}
    with torch.device("meta"):
        encoder = AutoModel.from_config(AutoConfig.for_model("bert", num_hidden_layers=1, **narrow))
        joined = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model("t5", **t5))
    try:
        for look in (
            lambda: check_encoder_decoder(joined),
            lambda: check_sentence_encoder(encoder, Pooling("mean"), 0),
        ):
            under_way = begin_check()
            look()
            assert [(one.level, one.topic) for one in under_way.findings] == [("warning", "attention")]
    finally:
        leave_check()


@pytest.mark.parametrize(("wrong", "told"), [([8, 0], "at least 1; found 0"), ([], r"at least 1; found \[\]")])
def test_accelerators_must_be_counted(wrong: list[int], told: str) -> None:
    with pytest.raises(ConfigError, match=f"preflight.processes must be {told}"):
        check_ranges(CheckConfig(PreflightConfig(processes=wrong)))


def test_an_unknown_accelerator_is_told_with_the_nearest(corpus_file: Path, tmp_path: Path, capsys: Any) -> None:
    assert check("pretrain_clm", *tiny_run(corpus_file, tmp_path / "run"), "--preflight.device", "h100-80g") == 2
    assert "Did you mean 'h100-80gb'" in " ".join(capsys.readouterr().out.split())
