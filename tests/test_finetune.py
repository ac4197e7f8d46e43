"""recipes/finetune_*.py from flags to run folders, in this process; predict and generate on what they save."""

import importlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from conftest import RECIPES
from finetune_runs import BERT, flags, write_rows

from pipelines.config import parse_config
from pipelines.errors import ConfigError
from pipelines.training.checkpoints import list_checkpoints

TASKS = ("classification", "qa", "ner", "summarization", "translation", "multiple_choice", "chat")
HEADLINES = {
    "classification": "accuracy",
    "qa": "f1",
    "ner": "f1",
    "summarization": "rougeL",
    "translation": "chrf",
    "multiple_choice": "accuracy",
    "chat": "chrf",
}


def run(task: str, arguments: list[str]) -> dict[str, float]:
    recipe = importlib.import_module(f"finetune_{task}")
    config = parse_config(recipe.Config, str(RECIPES / f"finetune_{task}.py"), arguments)
    recipe.main(config)
    metrics: dict[str, float] = json.loads((Path(config.run.dir) / "metrics.json").read_text())
    return metrics


def predict(model: Path, *arguments: str) -> list[dict[str, Any]]:
    """Output of recipes/predict.py."""
    import predict as recipe

    output = model.parent / "predicted.jsonl"
    arguments = (str(model), "--predict.output", str(output), "--predict.threads", "1", *arguments)
    recipe.main(parse_config(recipe.Config, str(RECIPES / "predict.py"), list(arguments), "model.name"))
    return [json.loads(line) for line in output.read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished run of a task, made when it is first asked for."""
    folder, done = tmp_path_factory.mktemp("finetune"), {}

    def get(task: str) -> Path:
        if task not in done:
            done[task] = folder / task
            run(task, flags(task, folder, done[task], "--training.save_total_limit", "null"))
        return done[task]

    return get


@pytest.mark.parametrize("task", TASKS)
def test_the_run_folder_is_complete(task: str, finished) -> None:
    folder, headline = finished(task), HEADLINES[task]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["eval_rows"] == 30 and metrics["eval_loss"] > 0
    assert metrics[f"eval_{headline}_ci_low"] <= metrics[f"eval_{headline}"] <= metrics[f"eval_{headline}_ci_high"]
    analysis = json.loads((folder / "analysis.json").read_text())
    assert analysis["headline"] == headline
    assert [one["baseline"] for one in analysis["comparisons"]]
    for one in analysis["comparisons"]:
        assert metrics[f"baseline_{one['baseline']}_{headline}"] == pytest.approx(one["baseline_score"])
        assert one["verdict"] in ("better", "worse", "not distinguishable")
    assert len(analysis["errors"]) == 10
    table = pq.read_table(folder / "predictions.parquet")
    assert table.num_rows == 30
    assert "worth" in table.column_names and any(name.startswith("predicted_") for name in table.column_names)
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len([one for one in events if "loss" in one]) == 6
    assert [one["step"] for one in events if "eval_loss" in one] == [3, 6]
    receipt = json.loads((folder / "receipt.json").read_text())
    assert receipt["train"]["rows"]["rows_kept"] == 60
    assert receipt["training"]["rows"] == 48
    tokens = receipt["train"]["tokens"]
    assert (
        tokens["text_tokens"] == tokens["tokens_kept"] + tokens["tokens_truncated"] + tokens["tokens_of_dropped_rows"]
    )
    page = (folder / "report.html").read_text()
    for part in ("Beside the baselines", "The worst rows", "validation split"):
        assert part in page


@pytest.mark.parametrize("task", TASKS)
def test_the_code_of_the_card_runs(task: str, finished, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    card = (finished(task) / "model" / "README.md").read_text()
    monkeypatch.chdir(finished(task) / "model")
    exec(compile(card.split("```python\n")[1].split("```")[0], "README.md", "exec"), {})
    assert capsys.readouterr().out.strip("\n")


@pytest.mark.parametrize("task", TASKS)
def test_a_saved_model_predicts_what_was_scored(task: str, finished, tmp_path: Path) -> None:
    """predict.py on the validation file gives predictions.parquet, whatever the batches."""
    folder = finished(task)
    said = predict(folder, "--predict.input", str(write_rows(tmp_path, task, 30, 1)), "--predict.batch_size", "4")
    table = pq.read_table(folder / "predictions.parquet").to_pylist()
    assert len(said) == len(table) == 30
    for one, scored in zip(said, table, strict=True):
        for name, value in one["prediction"].items():
            known = scored[f"predicted_{name}"]
            if isinstance(value, float):
                assert value == pytest.approx(known, abs=1e-5)
            elif isinstance(value, str | int):
                assert value == known, name


def test_a_task_that_counting_can_do_is_done_by_the_baseline(finished) -> None:
    metrics = json.loads((finished("classification") / "metrics.json").read_text())
    assert metrics["baseline_tfidf_accuracy"] == 1.0
    assert metrics["baseline_majority_accuracy"] < 0.8


def test_resume_is_bitwise_with_dropout(finished, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished("classification"), folder)
    (folder / "metrics.json").unlink()
    for checkpoint in list_checkpoints(folder / "checkpoints")[:2]:
        shutil.rmtree(checkpoint)
    assert [path.name for path in list_checkpoints(folder / "checkpoints")] == ["checkpoint-2"]
    arguments = flags(
        "classification", finished("classification").parent, folder, "--training.save_total_limit", "null"
    )
    again = run("classification", arguments)
    weights = "model/model.safetensors"
    assert (folder / weights).read_bytes() == (finished("classification") / weights).read_bytes()
    first = json.loads((finished("classification") / "metrics.json").read_text())
    assert again["eval_loss"] == first["eval_loss"]


def test_a_finished_run_is_not_run_again(finished, capsys) -> None:
    folder = finished("ner")
    before = (folder / "model" / "model.safetensors").stat().st_mtime_ns
    run("ner", flags("ner", folder.parent, folder, "--training.save_total_limit", "null"))
    assert "This run is finished" in capsys.readouterr().err
    assert (folder / "model" / "model.safetensors").stat().st_mtime_ns == before


def test_predictions_are_those_of_transformers_pipelines(finished, tmp_path: Path) -> None:
    from transformers import pipeline

    texts = [
        json.loads(line)["text"] for line in write_rows(tmp_path, "classification", 12, 5).read_text().splitlines()
    ]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    model = finished("classification") / "model"
    ours = predict(model, "--predict.input", str(tmp_path / "texts.jsonl"))
    classify = pipeline("text-classification", model=str(model), top_k=None)
    for mine, theirs in zip(ours, classify(texts), strict=True):
        scores = {one["label"]: one["score"] for one in theirs}
        assert mine["prediction"]["scores"] == pytest.approx(scores, abs=1e-5)
        assert mine["prediction"]["label"] == max(scores, key=scores.__getitem__)

    rows = [json.loads(line) for line in write_rows(tmp_path, "ner", 8, 5).read_text().splitlines()]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"tokens": one["tokens"]}) + "\n" for one in rows))
    model = finished("ner") / "model"
    ours = predict(model, "--predict.input", str(tmp_path / "rows.jsonl"))
    tag = pipeline("token-classification", model=str(model), aggregation_strategy="first")
    for mine, one in zip(ours, rows, strict=True):
        text = " ".join(one["tokens"])
        starts = [text.index(word) for word in one["tokens"]]
        found = {(starts[e["start"]], e["type"]) for e in mine["prediction"]["entities"]}
        theirs = {(e["start"] + (text[e["start"]] == " "), e["entity_group"]) for e in tag(text)}
        assert found == theirs


def test_plain_lines_on_standard_input(finished, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    import predict as recipe

    monkeypatch.setattr("sys.stdin", io.StringIO("The room was clean.\nThe bar was loud.\n"))
    arguments = [str(finished("classification"))]
    recipe.main(parse_config(recipe.Config, str(RECIPES / "predict.py"), arguments, "model.name"))
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["text"] for one in said] == ["The room was clean.", "The bar was loud."]
    assert set(said[0]["prediction"]["scores"]) == {"good", "bad"}


# ---------------------------------------------------------------- seeds, folds, test split


def test_seeds_and_folds(tmp_path: Path, capsys) -> None:
    arguments = flags("classification", tmp_path, tmp_path / "run", steps=3)
    more = ["--evaluation.folds", "2", "--training.eval_strategy", "no", "--evaluation.learning_curve", "false"]
    metrics = run("classification", [*arguments, *more, "--evaluation.seeds", "2"])
    members = json.loads((tmp_path / "run" / "members.json").read_text())
    assert list(members["seeds"]) == ["seed-42", "seed-43"]
    losses = [one["eval_loss"] for one in members["seeds"].values()]
    assert len(set(losses)) == 2 and losses[0] == metrics["eval_loss"]
    scores = [one["eval_accuracy"] for one in members["seeds"].values()]
    assert metrics["seeds_accuracy_mean"] == pytest.approx(sum(scores) / 2)
    assert [one["eval_rows"] for one in members["folds"].values()] == [30, 30]
    assert "folds_baseline_tfidf_accuracy_mean" in metrics
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Repeated runs" in page and "Cross-validation" in page
    capsys.readouterr()
    again = run("classification", [*arguments, *more, "--evaluation.seeds", "3"])
    told = capsys.readouterr().err
    assert "seed-43," not in told and "fold-1" not in told and "seed-44," in told  # what is done is not done again
    assert again["folds_accuracy_mean"] == metrics["folds_accuracy_mean"]


def test_folds_keep_groups_whole_and_classes_in_equal_shares() -> None:
    from test_tasks import rows

    from pipelines.finetuning.members import split_folds
    from pipelines.task_sections import ClassificationConfig
    from pipelines.tasks.classification import TextClassification

    data = rows(
        *({"text": f"t{place // 2}", "label": place // 2 % 2, "group": f"g{place // 4}"} for place in range(80))
    )
    task = TextClassification(ClassificationConfig())
    task.learn(data, None)
    folds = split_folds(task, data, 4, seed=0)
    assert sorted(place for _, held_out in folds for place in held_out) == list(range(80))
    for train, held_out in folds:
        assert not {place // 4 for place in train} & {place // 4 for place in held_out}
        assert sum(place // 2 % 2 for place in held_out) == len(held_out) / 2


def test_the_test_split_is_scored_when_asked(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden.jsonl"
    hidden.write_text('{"text": "a", "label": null}\n')
    arguments = flags("classification", tmp_path, tmp_path / "run", steps=2)
    run("classification", [*arguments, "--data.files.test", str(hidden)])  # not read
    test = write_rows(tmp_path, "classification", 20, 7)
    metrics = run(
        "classification",
        [
            *flags("classification", tmp_path, tmp_path / "test", steps=2),
            "--data.files.test",
            str(test),
            "--evaluation.split",
            "test",
        ],
    )
    assert metrics["eval_rows"] == 20
    assert "test split" in (tmp_path / "test" / "report.html").read_text()


# ---------------------------------------------------------------- LoRA


@pytest.fixture(scope="module")
def checkpoint(finished) -> Path:
    """An encoder with a head of two labels."""
    return finished("classification") / "model"


def lora_flags(task: str, folder: Path, run_dir: Path, model: Path, *more: str) -> list[str]:
    arguments = flags(task, folder, run_dir, "--model.name", str(model), "--lora.r", "4", *more)
    for name in ("--tokenizer.vocab_size", "--model.config"):
        place = arguments.index(name)
        del arguments[place : place + 2]
    return arguments


@pytest.mark.parametrize(
    "more", [(), ("--lora.use_dora", "true"), ("--lora.use_rslora", "true")], ids=["lora", "dora", "rslora"]
)
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")  # by peft 0.21
def test_lora_trains_its_updates_and_the_head_alone(more, checkpoint, tmp_path: Path) -> None:
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    run("classification", lora_flags("classification", tmp_path, tmp_path / "run", checkpoint, *more))
    model = tmp_path / "run" / "model"
    before, after = load_file(checkpoint / "model.safetensors"), load_file(model / "model.safetensors")
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "classifier.weight" in moved and any("query.weight" in name for name in moved)
    assert not any("embeddings" in name or "LayerNorm" in name for name in moved)
    saved = load_file(model / "adapter" / "adapter_model.safetensors")
    assert saved and all("lora_" in name or "classifier" in name for name in saved)
    batch = AutoTokenizer.from_pretrained(model)("The room was clean.", return_tensors="pt")
    merged = AutoModelForSequenceClassification.from_pretrained(model)
    base = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    adapted = PeftModel.from_pretrained(base, str(model / "adapter"))
    with torch.no_grad():
        assert torch.allclose(merged(**batch).logits, adapted.eval()(**batch).logits, atol=1e-5)


def test_a_new_head_and_new_tokens_are_trained_whole(checkpoint, tmp_path: Path) -> None:
    """Tags instead of labels: the head is drawn anew; relations: four new tokens."""
    from safetensors.torch import load_file

    run("ner", lora_flags("ner", tmp_path, tmp_path / "ner", checkpoint))
    assert load_file(tmp_path / "ner" / "model" / "model.safetensors")["classifier.weight"].shape[0] == 3
    path = tmp_path / "relations.jsonl"
    rows = [
        {"text": f"Ann {verb} Bob {n}.", "head": "Ann", "tail": "Bob", "label": verb}
        for n in range(20)
        for verb in ("met", "saw")
    ]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    arguments = lora_flags("classification", tmp_path, tmp_path / "run", checkpoint)
    arguments[arguments.index("--data.files.train") + 1] = str(path)
    place = arguments.index("--data.files.validation")
    del arguments[place : place + 2]
    run("classification", arguments)
    before = load_file(checkpoint / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
    after = load_file(tmp_path / "run" / "model" / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
    assert len(after) == len(before) + 4
    assert torch.equal(after[: len(before)], before)


def test_lora_resumes_bitwise(checkpoint, tmp_path: Path) -> None:
    arguments = lora_flags(
        "classification", tmp_path, tmp_path / "once", checkpoint, "--training.save_total_limit", "null"
    )
    run("classification", arguments)
    shutil.copytree(tmp_path / "once", tmp_path / "again")
    (tmp_path / "again" / "metrics.json").unlink()
    for one in list_checkpoints(tmp_path / "again" / "checkpoints")[:2]:
        shutil.rmtree(one)
    arguments[arguments.index("--run.dir") + 1] = str(tmp_path / "again")
    run("classification", arguments)
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("once", "again")]
    assert weights[0] == weights[1]


def test_a_checkpoint_with_these_labels_keeps_its_head(checkpoint, tmp_path: Path, capsys) -> None:
    arguments = lora_flags("classification", tmp_path, tmp_path / "run", checkpoint)
    place = arguments.index("--lora.r")
    del arguments[place : place + 2]
    run("classification", arguments)
    assert "is new" not in capsys.readouterr().err


def test_lora_needs_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lora.r is set, but the model is drawn at random"):
        run("classification", flags("classification", tmp_path, tmp_path / "run", "--lora.r", "4"))


# ---------------------------------------------------------------- writing


def test_a_checkpoint_that_writes_stands_beside_itself(finished, tmp_path: Path) -> None:
    model = finished("chat") / "model"
    arguments = lora_flags("chat", tmp_path, tmp_path / "run", model)
    place = arguments.index("--task.chat_template")
    del arguments[place : place + 2]  # the checkpoint has it
    metrics = run("chat", arguments)
    assert "baseline_untuned_chrf" in metrics and "start_loss" in metrics
    assert metrics["start_loss"] == pytest.approx(
        json.loads((finished("chat") / "metrics.json").read_text())["eval_loss"], abs=1e-4
    )


def generate(*arguments: str) -> None:
    import generate as recipe

    recipe.main(parse_config(recipe.Config, str(RECIPES / "generate.py"), list(arguments), "model.name"))


def test_generate_writes_what_the_model_does(finished, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = finished("chat")
    short = ("--generate.max_new_tokens", "6", "--generate.threads", "1", "--generate.do_sample", "false")
    prompts = tmp_path / "prompts.jsonl"
    asked = ["Where is Ann 3?", "Where is Bob?"]
    prompts.write_text("".join(json.dumps({"prompt": one}) + "\n" for one in asked))
    generate(str(folder), "--generate.input", str(prompts), *short)
    said = [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    for one, text in zip(asked, said, strict=True):
        batch = tokenizer.apply_chat_template(
            [{"role": "user", "content": one}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        ids = model.generate(**batch, max_new_tokens=6, do_sample=False)[0, batch["input_ids"].shape[1] :]
        assert text == tokenizer.decode(ids, skip_special_tokens=True)
    generate(str(folder), "--generate.prompt", asked[0], *short)
    assert capsys.readouterr().out.rstrip("\n") == said[0]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{asked[0]}\n\n"))
    generate(str(folder), *short)
    assert said[0].strip() in capsys.readouterr().out
    generate(str(finished("translation")), "--generate.prompt", "Ann in Rome", *short)
    assert capsys.readouterr().out


def test_generation_refuses_what_cannot_write(finished, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="which does not write. For its task use recipes/predict.py"):
        generate(str(finished("classification")), "--generate.prompt", "a")
    with pytest.raises(ConfigError, match="no chat template"):
        generate(str(finished("translation")), "--generate.prompt", "a", "--generate.chat", "true")
    with pytest.raises(ConfigError, match="num_beams is for a search without sampling"):
        generate(str(finished("chat")), "--generate.prompt", "a", "--generate.num_beams", "3")


# ---------------------------------------------------------------- every committed config


def test_every_committed_config_is_a_config() -> None:
    from pipelines.data.cards import load_card

    files = sorted(path for path in (RECIPES / "configs").glob("finetune_*/*.yaml"))
    assert len(files) >= 20
    for path in files:
        recipe = importlib.import_module(path.parent.name)
        config = parse_config(recipe.Config, str(RECIPES / f"{path.parent.name}.py"), ["--config", str(path)])
        task = _task_of(path.parent.name, config)
        roles = load_card(config.data.card).config(config.data.config_name).roles.values()
        assert set(task.required) <= set(roles), path
        assert config.data.overlength in (None, *task.policies)


def _task_of(recipe: str, config: Any) -> Any:
    from pipelines.tasks.saved import TASKS

    keys = {
        "finetune_classification": "text-classification",
        "finetune_qa": "question-answering",
        "finetune_ner": "token-classification",
    }
    return TASKS[keys.get(recipe, recipe.removeprefix("finetune_").replace("_", "-"))](config.task)


def test_runs_of_bert_need_no_token_types_where_the_model_has_none(tmp_path: Path) -> None:
    """A tokenizer trained here gives what its model takes: a ModernBERT has no token types."""
    arguments = flags("classification", tmp_path, tmp_path / "run", steps=1)
    arguments[arguments.index("--model.config") + 1] = BERT.replace("bert", "modernbert").replace(
        ", hidden_dropout_prob: 0.1", ""
    )
    run("classification", arguments)
    saved = json.loads((tmp_path / "run" / "model" / "tokenizer_config.json").read_text())
    assert saved["model_input_names"] == ["input_ids", "attention_mask"]
