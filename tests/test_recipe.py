"""recipes/pretrain_clm.py from its flags to its run folder, in this process."""

import importlib
import json
import shutil
from pathlib import Path

import pretrain_clm
import pytest
import torch
import yaml
from conftest import RECIPES, REPOSITORY, RUN_FILES, TINY_MODEL, tiny_run

from pipelines.config import config_to_dict, parse_config
from pipelines.errors import CheckpointError, ConfigError, TrainingError
from pipelines.training.checkpoints import list_checkpoints

RECIPE = str(RECIPES / "pretrain_clm.py")


def run(*flags: str) -> pretrain_clm.Config:
    config = parse_config(pretrain_clm.Config, RECIPE, list(flags))
    pretrain_clm.main(config)
    return config


def weights(run_dir: Path) -> bytes:
    return (run_dir / "model" / "model.safetensors").read_bytes()


def events(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 12 steps, with checkpoints at 4, 8 and 12."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    run(*tiny_run(corpus_file, folder, "--training.save_total_limit", "null"))
    return folder


def copy_of(finished: Path, tmp_path: Path, keep_steps: int) -> Path:
    """The run folder as a kill after step `keep_steps` left it, with a torn line and a half-written checkpoint."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    for name in ("model", "metrics.json", "report.html", "samples.json"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for checkpoint in list_checkpoints(folder / "checkpoints"):
        if int(checkpoint.name.split("-")[1]) > keep_steps:
            shutil.rmtree(checkpoint)
    torn = folder / "checkpoints" / ".incomplete" / "checkpoint-9"
    torn.mkdir(parents=True)
    (torn / "model.safetensors").write_bytes(b"half")
    with (folder / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 13, "lo')
    return folder


def test_the_run_folder_is_complete(finished: Path) -> None:
    names = {path.name for path in finished.iterdir() if not path.name.startswith(".")}
    assert names == RUN_FILES | {"samples.json"}
    metrics = json.loads((finished / "metrics.json").read_text())
    for name in ("eval_loss", "eval_perplexity", "eval_bits_per_byte", "train_tokens_per_second", "train_mfu"):
        assert metrics[name] > 0
    assert metrics["eval_tokens"] == metrics["baseline_kneser_ney_5gram_tokens"]
    assert metrics["eval_bytes"] == metrics["baseline_kneser_ney_5gram_bytes"]
    assert {path.name for path in (finished / "model").iterdir()} == {
        *("README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json"),
        "tokenizer_config.json",
    }


def test_losses_are_logged_and_fall(finished: Path) -> None:
    losses = [event["loss"] for event in events(finished) if "loss" in event]
    assert len(losses) == 12
    assert losses[-1] < losses[0]
    evaluations = [event["step"] for event in events(finished) if "eval_loss" in event]
    assert evaluations == [6, 12]


def test_the_receipt_closes(finished: Path) -> None:
    receipt = json.loads((finished / "receipt.json").read_text())
    train = receipt["train"]
    assert train["rows"]["rows_read"] == 300
    assert train["rows"]["rows_kept"] + receipt["validation"]["rows"]["rows_kept"] == 300
    tokens = train["tokens"]
    assert tokens["text_tokens"] + tokens["bos_tokens"] + tokens["eos_tokens"] == tokens["tokens"]
    blocks = train["blocks"]
    assert blocks["positions"] == blocks["targets"] + blocks["document_ends_without_target"] + blocks["padding"]
    trained = receipt["training"]
    assert trained["rows"] == 48
    assert trained["blocks_seen"] + trained["blocks_not_seen"] == blocks["blocks"]
    last = [event for event in events(finished) if "train_targets" in event][-1]
    assert trained["targets_trained"] == last["train_targets"]


def test_the_model_loads_with_auto_classes_and_generates(finished: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(finished / "model")
    tokenizer = AutoTokenizer.from_pretrained(finished / "model")
    prompt = tokenizer("The array", return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        output = model.generate(**prompt, max_new_tokens=5, do_sample=False)
    assert output.shape[1] > prompt["input_ids"].shape[1]
    assert model.config.use_cache


def test_the_model_card_code_runs(finished: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    card = (finished / "model" / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(finished / "model")
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()
    assert f"{json.loads((finished / 'metrics.json').read_text())['eval_bits_per_byte']:.4f}" in card


def test_the_saved_config_repeats_the_run(finished: Path, tmp_path: Path) -> None:
    run("--config", str(finished / "config.yaml"), "--run.dir", str(tmp_path / "again"))
    assert weights(tmp_path / "again") == weights(finished)
    assert [e.get("loss") for e in events(tmp_path / "again")] == [e.get("loss") for e in events(finished)]


@pytest.mark.parametrize("keep_steps", [0, 4, 8, 12])
def test_resuming_is_bitwise_the_uninterrupted_run(
    finished: Path, corpus_file: Path, tmp_path: Path, keep_steps: int
) -> None:
    folder = copy_of(finished, tmp_path, keep_steps)
    run(*tiny_run(corpus_file, folder, "--training.save_total_limit", "null"))
    assert weights(folder) == weights(finished)
    timing = {"train_seconds", "tokens_per_second", "eval_seconds"}
    expected = [{k: v for k, v in event.items() if k not in timing} for event in events(finished)]
    assert [{k: v for k, v in event.items() if k not in timing} for event in events(folder)] == expected


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(finished, corpus_file, tmp_path, capsys) -> None:
    folder = copy_of(finished, tmp_path, 8)
    damaged = folder / "checkpoints" / "checkpoint-8" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    run(*tiny_run(corpus_file, folder, "--training.save_total_limit", "null"))
    told = capsys.readouterr().err
    assert "damaged checkpoint" in told
    assert "checkpoint-8: model.safetensors has changed" in told
    assert "checkpoint-4" in told
    assert weights(folder) == weights(finished)


def test_only_damaged_checkpoints_stop_the_run(finished: Path, corpus_file: Path, tmp_path: Path) -> None:
    folder = copy_of(finished, tmp_path, 4)
    (folder / "checkpoints" / "checkpoint-4" / "optimizer.pt").unlink()
    with pytest.raises(CheckpointError, match=r"optimizer.pt is missing.*run.overwrite"):
        run(*tiny_run(corpus_file, folder))


def test_micro_batch_may_change_on_resume_at_equal_rows(finished: Path, corpus_file: Path, tmp_path: Path) -> None:
    folder = copy_of(finished, tmp_path, 8)
    split = ("--training.per_device_train_batch_size", "2", "--training.gradient_accumulation_steps", "2")
    run(*tiny_run(corpus_file, folder, *split))
    losses = [[event["loss"] for event in events(place) if "loss" in event] for place in (finished, folder)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    other = copy_of(finished, tmp_path / "other", 8)
    with pytest.raises(ConfigError, match="has 4 rows, now it would have 8"):
        run(*tiny_run(corpus_file, other, "--training.gradient_accumulation_steps", "2"))


def test_more_steps_go_on_and_fewer_are_refused(finished: Path, corpus_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    run(*tiny_run(corpus_file, folder, "--training.max_steps", "14"))
    assert [event["step"] for event in events(folder) if "loss" in event] == list(range(1, 15))
    assert json.loads((folder / "receipt.json").read_text())["training"]["rows"] == 56
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(ConfigError, match="planned for 14 steps, now for 10: steps may only grow"):
        run(*tiny_run(corpus_file, folder, "--training.max_steps", "10"))
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_intervals_may_change_on_resume(finished: Path, corpus_file: Path, tmp_path: Path) -> None:
    folder = copy_of(finished, tmp_path, 4)
    intervals = ("--training.logging_steps", "2", "--training.eval_steps", "5", "--training.save_steps", "3")
    run(*tiny_run(corpus_file, folder, "--training.save_total_limit", "null", *intervals))
    later = [event for event in events(folder) if event["step"] > 4]
    assert [event["step"] for event in later if "loss" in event] == [6, 8, 10, 12]
    assert [event["step"] for event in later if "eval_loss" in event] == [5, 10, 12]
    steps = [int(path.name.split("-")[1]) for path in list_checkpoints(folder / "checkpoints")]
    assert steps == [12, 9, 6, 4]
    assert weights(folder) == weights(finished)


def test_an_evaluation_that_a_kill_prevented_is_made_up_for(corpus_file: Path, tmp_path: Path) -> None:
    flags = ("--training.save_total_limit", "null", "--training.eval_steps", "4")
    run(*tiny_run(corpus_file, tmp_path / "whole", *flags))
    folder = copy_of(tmp_path / "whole", tmp_path, 8)
    kept = [line for line in (folder / "metrics.jsonl").read_text().splitlines() if '"step": 8, "eval' not in line]
    (folder / "metrics.jsonl").write_text("\n".join(kept))
    run(*tiny_run(corpus_file, folder, *flags))
    assert [event["step"] for event in events(folder) if "eval_loss" in event] == [4, 8, 12]


def test_other_evaluation_settings_do_not_train_again(finished: Path, corpus_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    run(*tiny_run(corpus_file, folder, "--training.save_total_limit", "null", "--evaluation.ngram_order", "3"))
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["baseline_kneser_ney_3gram_loss"] > 0
    assert metrics["train_steps"] == 12
    assert weights(folder) == weights(finished)


def test_a_damaged_result_is_made_again(finished: Path, corpus_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "metrics.json").write_text("{")
    run(*tiny_run(corpus_file, folder, "--training.save_total_limit", "null"))
    assert json.loads((folder / "metrics.json").read_text())["train_steps"] == 12


def test_a_vocabulary_larger_than_the_tokenizer_is_fine(corpus_file: Path, tmp_path: Path) -> None:
    larger = TINY_MODEL.replace("}", ", vocab_size: 2000}")
    run(*tiny_run(corpus_file, tmp_path / "run", "--model.config", larger, "--training.max_steps", "2"))
    assert json.loads((tmp_path / "run" / "plan.json").read_text())["vocab_size"] == 2000


def test_a_checkpoint_of_another_head_is_refused(corpus_file: Path, finished: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    config = {"tie_word_embeddings": False}
    AutoModelForSequenceClassification.from_pretrained(finished / "model", **config).save_pretrained(tmp_path / "other")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(finished / "model" / name, tmp_path / "other" / name)
    flags = tiny_run(corpus_file, tmp_path / "run")
    drop = flags.index("--tokenizer.vocab_size"), flags.index("--model.config")
    flags = [flag for index, flag in enumerate(flags) if index not in {*drop, *(place + 1 for place in drop)}]
    with pytest.raises(ConfigError, match="lacks weights of a causal language model.*lm_head"):
        run(*flags, "--model.name", str(tmp_path / "other"))


def test_a_finished_run_is_told_and_not_run_again(finished: Path, corpus_file: Path, capsys) -> None:
    before = (finished / "metrics.jsonl").stat().st_mtime_ns
    run(*tiny_run(corpus_file, finished, "--training.save_total_limit", "null"))
    told = capsys.readouterr()
    assert "This run is finished" in told.err
    assert "eval_bits_per_byte" in told.out
    assert (finished / "metrics.jsonl").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--training.learning_rate", "0.5"), "training.learning_rate: 0.01 there, 0.5 now"),
        (("--data.block_size", "16"), "data.block_size: 32 there, 16 now"),
        (("--training.seed", "1"), "training.seed"),
    ],
)
def test_a_folder_of_another_config_is_refused_by_key(finished: Path, corpus_file: Path, flags, named: str) -> None:
    with pytest.raises(ConfigError) as error:
        run(*tiny_run(corpus_file, finished, "--training.save_total_limit", "null", *flags))
    assert named in str(error.value)
    assert "--run.overwrite true" in str(error.value)


def test_changed_data_is_refused_on_resume(finished: Path, corpus_file: Path, tmp_path: Path) -> None:
    folder = copy_of(finished, tmp_path, 8)
    changed = tmp_path / corpus_file.name
    changed.write_text(corpus_file.read_text() + '{"text": "one more"}\n')
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    saved["data"]["files"]["train"] = str(changed)
    (folder / "config.yaml").write_text(yaml.safe_dump(saved))
    with pytest.raises(ConfigError, match="data or tokenizer .* has changed"):
        run(*tiny_run(changed, folder, "--training.save_total_limit", "null"))


def test_overwrite_starts_anew(finished: Path, corpus_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    run(*tiny_run(corpus_file, folder, "--training.max_steps", "2", "--run.overwrite", "true"))
    assert [path.name for path in list_checkpoints(folder / "checkpoints")] == ["checkpoint-2"]


def test_a_loss_that_is_not_finite_stops_with_the_last_good_checkpoint(corpus_file: Path, tmp_path: Path) -> None:
    flags = tiny_run(corpus_file, tmp_path / "run", "--training.learning_rate", "1e20", "--training.save_steps", "1")
    with pytest.raises(TrainingError) as error:
        run(*flags, "--training.warmup_steps", "2", "--training.max_grad_norm", "1e30", "--training.optim", "sgd")
    assert "not both finite" in str(error.value)
    assert "checkpoint-" in str(error.value)
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_loss_spike_stops_with_the_last_good_checkpoint(corpus_file: Path, tmp_path: Path, monkeypatch) -> None:
    flags = tiny_run(corpus_file, tmp_path / "run", "--training.max_steps", "30", "--training.save_steps", "10")
    monkeypatch.setattr("pipelines.training.trainer.SPIKE_NATS", -1e9)
    with pytest.raises(TrainingError) as error:  # half the median: the first step that is looked at is a spike
        run(*flags, "--training.max_loss_spike", "0.5")
    assert "the loss of step 21" in str(error.value)
    assert "more than 0.5 times the median" in str(error.value)
    assert f"The last good checkpoint is {tmp_path / 'run' / 'checkpoints' / 'checkpoint-20'}" in str(error.value)


def test_whole_epochs_fill_the_last_step(corpus_file: Path, tmp_path: Path) -> None:
    run(*tiny_run(corpus_file, tmp_path / "run", "--training.max_steps", "null", "--training.num_train_epochs", "1"))
    receipt = json.loads((tmp_path / "run" / "receipt.json").read_text())
    assert receipt["training"]["blocks_not_seen"] == 0
    assert receipt["training"]["targets_trained"] == receipt["train"]["blocks"]["targets"]
    assert receipt["train"]["blocks"]["blocks"] % 4 != 0, "the last step is to be a partial one"


@pytest.mark.parametrize("optim", ["muon", "adamw_torch"])
def test_resume_restores_the_optimizer(optim: str, corpus_file: Path, tmp_path: Path) -> None:
    flags = ("--training.optim", optim, "--training.max_steps", "6", "--training.save_steps", "3")
    dropout = ("--model.config", TINY_MODEL.replace("}", ", attention_dropout: 0.2}"))
    run(*tiny_run(corpus_file, tmp_path / "whole", *flags, *dropout))
    folder = copy_of(tmp_path / "whole", tmp_path, 3)
    run(*tiny_run(corpus_file, folder, *flags, *dropout))
    assert weights(folder) == weights(tmp_path / "whole")


def test_continued_pretraining_enlarges_embeddings_for_a_larger_tokenizer(finished, corpus_file, tmp_path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(finished / "model")
    before = len(tokenizer)
    tokenizer.add_tokens(["whatever", "tensorially"])
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    flags = tiny_run(corpus_file, tmp_path / "run", "--training.max_steps", "2")
    drop = flags.index("--tokenizer.vocab_size"), flags.index("--model.config")
    flags = [flag for index, flag in enumerate(flags) if index not in {*drop, *(place + 1 for place in drop)}]
    run(*flags, "--model.name", str(finished / "model"), "--tokenizer.name", str(tmp_path / "tokenizer"))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model")
    assert model.get_input_embeddings().weight.shape[0] == before + 2


COMMITTED = [
    path for path in sorted((RECIPES / "configs").glob("*/*.yaml")) if (RECIPES / f"{path.parent.name}.py").is_file()
]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_committed_config_parses(path: Path) -> None:
    assert len(COMMITTED) >= 40
    recipe = importlib.import_module(path.parent.name)
    config = parse_config(recipe.Config, str(RECIPES / f"{path.parent.name}.py"), ["--config", str(path)])
    assert set(yaml.safe_load(path.read_text())) <= set(config_to_dict(config))


def test_accelerate_config_is_one_that_accelerate_reads() -> None:
    from accelerate.commands.config import load_config_from_file

    config = load_config_from_file(str(REPOSITORY / "accelerate_config.yaml"))
    assert config.num_processes == 1
    assert str(config.distributed_type) in ("MULTI_GPU", "DistributedType.MULTI_GPU")
