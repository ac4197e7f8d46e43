"""recipes/finetune_*.py from flags to run folders, in this process; predict and generate on what they save."""

import importlib
import io
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import RECIPES
from finetune_runs import BERT, flags, write_rows

from pipelines.config import parse_config
from pipelines.errors import ConfigError, DataError
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
        assert metrics[f"eval_{headline}"] == pytest.approx(one["model_score"])
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


def test_numbers_are_predicted(tmp_path: Path) -> None:
    """The mean of the training rows stands beside the model, and correlates with nothing."""
    metrics = run("classification", flags("regression", tmp_path, tmp_path / "run"))
    assert metrics["baseline_mean_spearmanr"] == metrics["baseline_mean_pearsonr"] == 0.0
    assert metrics["baseline_tfidf_spearmanr"] > 0.5
    assert -1.0 <= metrics["eval_spearmanr_ci_low"] <= metrics["eval_spearmanr"] <= metrics["eval_spearmanr_ci_high"]
    assert math.isfinite(metrics["eval_mse"]) and "nan" not in (tmp_path / "run" / "metrics.json").read_text().lower()


def test_a_baseline_that_rows_do_not_allow_is_left_out(tmp_path: Path, monkeypatch, capsys) -> None:
    """And the model is saved before anything is weighed."""
    from pipelines.tasks.classification import TextClassification

    baselines, error = TextClassification.baselines, DataError("no text has a word.")

    def broken(*args: Any) -> Any:
        yield next(baselines(*args))
        raise error

    monkeypatch.setattr(TextClassification, "baselines", broken)
    metrics = run("classification", flags("classification", tmp_path, tmp_path / "run", steps=1))
    assert {name.split("_")[1] for name in metrics if name.startswith("baseline_")} == {"majority"}
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    told = capsys.readouterr().err
    assert "No further baseline: no text has a word." in told and "Traceback" not in told
    error = RuntimeError("a defect")
    with pytest.raises(RuntimeError, match="a defect"):
        run("classification", flags("classification", tmp_path, tmp_path / "again", steps=1))
    assert (tmp_path / "again" / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize("most", ["null", "20"])
def test_answers_that_are_shown_are_those_that_were_scored(most: str, tmp_path: Path, monkeypatch) -> None:
    """And no row that is scored has a part in the threshold that decides on it."""
    from pipelines.metrics.squad_v2.squad_v2 import exact_and_f1
    from pipelines.tasks.question_answering import QuestionAnswering

    called = []
    methods = {name: getattr(QuestionAnswering, name) for name in ("tune", "score")}
    for name in methods:

        def noted(*args: Any, name: str = name) -> Any:
            called.append(name)
            return methods[name](*args)

        monkeypatch.setattr(QuestionAnswering, name, noted)

    def shy(self: Any, logits: torch.Tensor, batch: Any) -> list[Any]:
        logits[:, :, 0] += 10  # a model whose threshold lies far from 0
        return list(logits.numpy())

    monkeypatch.setattr(QuestionAnswering, "outputs", shy)
    more = ("--evaluation.max_rows", most, "--training.learning_rate", "1e-2", "--evaluation.baselines", "false")
    metrics = run("qa", flags("qa_none", tmp_path, tmp_path / "run", *more, "--training.eval_strategy", "no", steps=60))
    assert called.count("tune") == 1 and called[-1] == "tune"  # for those who use the model
    table = pq.read_table(tmp_path / "run" / "predictions.parquet").to_pylist()
    gold, said = [json.loads(one["answers"])["text"] for one in table], [one["predicted_answer"] for one in table]
    assert len(table) == (30 if most == "null" else 20) and "" in said and any(said) and [] in gold
    f1_R = [100 * exact_and_f1(*one)[1] for one in zip(said, gold, strict=True)]
    assert metrics["eval_f1"] == pytest.approx(np.mean(f1_R))
    assert [one["worth"] for one in table] == pytest.approx(f1_R)
    assert metrics["eval_f1_ci_low"] <= metrics["eval_f1"] <= metrics["eval_f1_ci_high"]


@pytest.mark.parametrize("task", ["classification", "ner", "multiple_choice"])
def test_a_saved_model_reads_texts_longer_than_itself(task: str, tmp_path: Path) -> None:
    """Its positions are no multiple of 8, to which batches are padded."""
    run(task, flags(task, tmp_path, tmp_path / "run", "--data.max_length", "20", steps=1))
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["max_position_embeddings"] == 20
    rows = [json.loads(line) for line in write_rows(tmp_path, task, 6, 1).read_text().splitlines()]
    for row in rows[::2]:
        row |= {"tokens": row["tokens"] * 9} if task == "ner" else {"text": row["text"] * 9}
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for batch_size in ("1", "6"):
        said = predict(
            tmp_path / "run", "--predict.input", str(tmp_path / "long.jsonl"), "--predict.batch_size", batch_size
        )
        assert len(said) == 6
        if task == "ner":
            assert [len(one["prediction"]["tags"]) for one in said] == [len(row["tokens"]) for row in rows]


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


def test_a_member_is_the_run_with_its_seed(tmp_path: Path) -> None:
    arguments = flags("classification", tmp_path, tmp_path / "run", "--evaluation.baselines", "false", steps=2)
    run("classification", [*arguments, "--evaluation.seeds", "2"])
    alone = run("classification", [*arguments, "--run.dir", str(tmp_path / "alone"), "--training.seed", "43"])
    member = json.loads((tmp_path / "run" / "members.json").read_text())["seeds"]["seed-43"]
    figures = [name for name in alone if name.startswith("eval_") and name != "eval_seconds"]
    assert "eval_loss" in figures and "eval_accuracy_ci_low" in figures
    assert {name: member[name] for name in figures} == {name: alone[name] for name in figures}
    main = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert main["eval_loss"] != alone["eval_loss"]


@pytest.mark.parametrize(
    ("length", "name"),
    [(("max_steps", "2"), "validation-2-steps"), (("num_train_epochs", "0.2"), "validation-0.2-epochs")],
)
def test_the_folder_of_members_names_the_length_of_the_run(length: tuple[str, str], name: str, tmp_path: Path) -> None:
    arguments = flags("classification", tmp_path, tmp_path / "run", "--evaluation.baselines", "false")
    more = ["--training.max_steps", "null", f"--training.{length[0]}", length[1], "--evaluation.seeds", "2"]
    run("classification", [*arguments, *more])
    assert [path.name for path in (tmp_path / "run" / "members").iterdir()] == [name]
    assert [path.name for path in (tmp_path / "run" / "members" / name).iterdir()] == ["seed-43"]


def test_folds_where_a_class_has_fewer_rows_than_there_are_folds() -> None:
    """scikit-learn warns of such a class, and a warning is an error here."""
    from test_tasks import rows

    from pipelines.finetuning.members import split_folds
    from pipelines.task_sections import ClassificationConfig
    from pipelines.tasks.classification import TextClassification

    data = rows(*({"text": f"t{place}", "label": int(place > 2), "group": f"g{place // 2}"} for place in range(20)))
    task = TextClassification(ClassificationConfig())
    task.learn(data, None)
    folds = split_folds(task, data, 4, seed=0)
    assert sorted(place for _, held_out in folds for place in held_out) == list(range(20))
    for train, held_out in folds:
        assert len(held_out) and sorted([*train, *held_out]) == list(range(20))
        assert not {place // 2 for place in train} & {place // 2 for place in held_out}


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


@pytest.mark.parametrize("asked", [None, ["final_layer_norm"]])
def test_lora_of_an_encoder_decoder_trains_its_updates_alone(asked: list[str] | None) -> None:
    """Its head is the table of its tokens, and no part of it is new."""
    from transformers import T5Config, T5ForConditionalGeneration

    from pipelines.sections import Seq2SeqModelConfig
    from pipelines.task_sections import LoraConfig
    from pipelines.training.lora import add_lora

    model = T5ForConditionalGeneration(
        T5Config(vocab_size=32, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0)
    )
    config, source = LoraConfig(r=2, modules_to_save=asked), Seq2SeqModelConfig(name="a checkpoint")
    with pytest.raises(ConfigError, match="model.decoder_name"):
        add_lora(model, config, Seq2SeqModelConfig(name="a checkpoint", decoder_name="another"), [])
    adapted = add_lora(model, config, source, [])
    assert adapted.active_peft_config.modules_to_save == asked
    assert adapted.active_peft_config.base_model_name_or_path == source.name
    trained = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    others = [name for name in trained if "lora_" not in name]
    assert len(trained) > len(others) == (0 if asked is None else 2)
    assert all("final_layer_norm.modules_to_save" in name for name in others)


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
