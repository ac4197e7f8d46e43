"""recipes/pretrain_seq2seq.py from its flags to its run folder, in this process."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pretrain_seq2seq
import pytest
import torch
from architectures import NO_DROPOUT, SIZES
from conftest import RECIPES, RUN_FILES, sentences

from pipelines.config import config_to_dict, parse_config
from pipelines.config_rules import flatten
from pipelines.data.tokenizer_training import MASK, train_tokenizer
from pipelines.models.build import build_model
from pipelines.run import run_recipe
from pipelines.sections import ModelConfig
from pipelines.training.checkpoints import list_checkpoints

RECIPE = str(RECIPES / "pretrain_seq2seq.py")
T5 = "{model_type: t5, d_model: 32, d_kv: 16, d_ff: 64, num_layers: 1, num_heads: 2, dropout_rate: 0.0}"
BART = (
    "{model_type: bart, d_model: 32, encoder_layers: 1, decoder_layers: 1, encoder_attention_heads: 2, dropout: 0.0, "
    "decoder_attention_heads: 2, encoder_ffn_dim: 64, decoder_ffn_dim: 64}"
)


def run(*flags: str) -> pretrain_seq2seq.Config:
    config = parse_config(pretrain_seq2seq.Config, RECIPE, list(flags))
    pretrain_seq2seq.main(config)
    return config


def fail(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """The one message of a run that must end with exit code 2."""
    capsys.readouterr()
    assert run_recipe(pretrain_seq2seq.main, pretrain_seq2seq.Config, RECIPE, list(flags)) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return told


def tiny_run(corpus_file: Path, run_dir: Path, *flags: str) -> list[str]:
    """Flags of a run of some seconds: 12 steps of a model of 50 thousand parameters."""
    return [
        *("--data.files.train", str(corpus_file), "--data.validation_share", "0.1", "--data.block_size", "32"),
        *("--tokenizer.vocab_size", "500", "--model.config", T5, "--run.dir", str(run_dir)),
        *("--proof.enabled", "false"),
        *("--training.max_steps", "12", "--training.per_device_train_batch_size", "4", "--training.save_steps", "4"),
        *("--training.logging_steps", "1", "--training.eval_steps", "6", "--evaluation.samples", "2"),
        *("--training.bf16", "false", "--run.threads", "1", "--training.save_total_limit", "null"),
        *flags,
    ]


def from_checkpoints(corpus_file: Path, run_dir: Path, *flags: str) -> list[str]:
    """The same without tokenizer.vocab_size and model.config."""
    whole = tiny_run(corpus_file, run_dir, *flags)
    dropped = [whole.index(name) for name in ("--tokenizer.vocab_size", "--model.config")]
    return [flag for place, flag in enumerate(whole) if place not in dropped and place - 1 not in dropped]


def events(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def weights(run_dir: Path) -> bytes:
    return (run_dir / "model" / "model.safetensors").read_bytes()


def read(run_dir: Path, name: str) -> dict:
    return json.loads((run_dir / name).read_text())


@pytest.fixture(scope="module")
def finished(corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 12 steps, with checkpoints at 4, 8 and 12."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    run(*tiny_run(corpus_file, folder))
    return folder


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of small masked language models that share a tokenizer, and of one that does not."""
    folder = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    for name, model_type, vocab_size in (
        *(("bert", "bert", 400), ("roberta", "roberta", 400), ("modernbert", "modernbert", 400)),
        ("other", "bert", 380),
    ):
        tokenizer = train_tokenizer([sentences(50)], "bpe", vocab_size, [MASK])
        config = {"model_type": model_type, **SIZES, **({} if model_type == "modernbert" else NO_DROPOUT)}
        build_model("masked", ModelConfig(config=config), tokenizer, 32).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


def test_the_run_folder_is_complete(finished: Path) -> None:
    names = {path.name for path in finished.iterdir() if not path.name.startswith(".")}
    assert names == RUN_FILES | {"samples.json"}
    metrics = read(finished, "metrics.json")
    for name in ("eval_loss", "eval_bits_per_token", "eval_perplexity", "train_tokens_per_second", "train_mfu"):
        assert metrics[name] > 0
    assert metrics["eval_tokens"] == metrics["baseline_unigram_tokens"] == metrics["baseline_kneser_ney_5gram_tokens"]
    losses = [event["loss"] for event in events(finished) if "loss" in event]
    assert len(losses) == 12
    assert losses[-1] < losses[0]
    assert [event["step"] for event in events(finished) if "eval_loss" in event] == [6, 12]


def test_samples_show_the_damage(finished: Path) -> None:
    samples = read(finished, "samples.json")["samples"]
    assert len(samples) == 2
    for sample in samples:
        assert "▁1▁" in sample["prompt"]
        assert sample["reference"].startswith("▁1▁")
        assert not any(mark in sample["prompt"] + sample["reference"] for mark in ("<|", "extra_id"))
        assert len(sample["tokens"]) == 5
        assert all(0 < token["baseline_probability"] < 1 for token in sample["tokens"])


def test_the_receipt_closes(finished: Path) -> None:
    receipt, plan = read(finished, "receipt.json"), read(finished, "plan.json")
    for split in ("train", "validation"):
        blocks = receipt[split]["blocks"]
        assert blocks["tokens_in_rows"] + blocks["tokens_in_parts_too_short"] == blocks["text_tokens"]
        assert blocks["text_tokens"] == receipt[split]["tokens"]["text_tokens"]
    trained = receipt["training"]
    assert trained["rows"] == 48
    assert trained["blocks_seen"] + trained["blocks_not_seen"] == receipt["train"]["blocks"]["blocks"]
    assert trained["positions_with_token"] + trained["padding"] == trained["positions_computed"]
    last = [event for event in events(finished) if "train_targets" in event][-1]
    assert trained["targets_trained"] == last["train_targets"]
    assert read(finished, "metrics.json")["eval_tokens"] == receipt["validation"]["blocks"]["targets"]
    assert trained["padding_share"] == pytest.approx(plan["padding_share"])
    assert trained["positions_computed"] == pytest.approx(plan["total_tokens"], abs=6)  # tokens_per_step is rounded
    assert plan["train_blocks"] == receipt["train"]["blocks"]["blocks"]


def test_the_model_loads_and_its_tokenizer_frames_texts(finished: Path) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    model = AutoModelForSeq2SeqLM.from_pretrained(finished / "model")
    tokenizer = AutoTokenizer.from_pretrained(finished / "model")
    text = tokenizer("The array<extra_id_0> 3.", return_tensors="pt", return_token_type_ids=False)
    ids = text["input_ids"][0].tolist()
    assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert ids.count(tokenizer.convert_tokens_to_ids("<extra_id_0>")) == 1
    with torch.no_grad():
        assert model.generate(**text, max_new_tokens=5, do_sample=False).shape[1] > 1


def test_the_model_card_code_runs(finished: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    card = (finished / "model" / "README.md").read_text()
    monkeypatch.chdir(finished / "model")
    exec(compile(card.split("```python\n")[1].split("```")[0], "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()
    assert f"{read(finished, 'metrics.json')['eval_loss']:.4f}" in card


@pytest.mark.parametrize("keep_steps", [4, 8])
def test_resuming_is_bitwise_the_uninterrupted_run(
    finished: Path, corpus_file: Path, tmp_path: Path, keep_steps: int
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "metrics.json").unlink()
    shutil.rmtree(folder / "model")
    for checkpoint in list_checkpoints(folder / "checkpoints"):
        if int(checkpoint.name.split("-")[1]) > keep_steps:
            shutil.rmtree(checkpoint)
    run(*tiny_run(corpus_file, folder))
    assert weights(folder) == weights(finished)
    timing = {"train_seconds", "tokens_per_second", "eval_seconds"}
    expected = [{k: v for k, v in event.items() if k not in timing} for event in events(finished)]
    assert [{k: v for k, v in event.items() if k not in timing} for event in events(folder)] == expected
    assert read(folder, "receipt.json") == read(finished, "receipt.json")
    assert read(folder, "samples.json") == read(finished, "samples.json")


def test_whole_epochs_see_every_row_and_fill_the_last_step(corpus_file: Path, tmp_path: Path) -> None:
    epochs = ("--training.max_steps", "null", "--training.num_train_epochs", "1", "--data.max_train_documents", "30")
    run(*tiny_run(corpus_file, tmp_path / "run", *epochs, "--evaluation.ngram_order", "null"))
    receipt = read(tmp_path / "run", "receipt.json")
    assert receipt["training"]["blocks_not_seen"] == 0
    assert receipt["training"]["targets_trained"] == receipt["train"]["blocks"]["targets"]
    assert receipt["train"]["blocks"]["blocks"] % 4 != 0, "the last step is to be a partial one"
    assert not any(name.startswith("baseline_") for name in read(tmp_path / "run", "metrics.json"))


def test_text_infilling_and_going_on_from_a_checkpoint(corpus_file: Path, tmp_path: Path) -> None:
    """BART's targets are whole texts; --model.name goes on from them; the tokenizer and its frame stay the same."""
    infilling = ("--denoising.method", "text_infilling", "--training.max_steps", "4")
    run(*tiny_run(corpus_file, tmp_path / "first", "--model.config", BART, *infilling))
    blocks = read(tmp_path / "first", "receipt.json")["train"]["blocks"]
    assert blocks["targets"] == blocks["tokens_in_rows"] + 2 * blocks["blocks"]
    sample = read(tmp_path / "first", "samples.json")["samples"][0]
    assert "▁▁▁" in sample["prompt"]
    assert "▁" not in sample["reference"]
    checkpoint = str(tmp_path / "first" / "model")
    old = ("--old_domain.files", str(corpus_file))
    run(*from_checkpoints(corpus_file, tmp_path / "second", "--model.name", checkpoint, *infilling, *old))
    first, second = read(tmp_path / "first", "metrics.json"), read(tmp_path / "second", "metrics.json")
    assert second["eval_tokens"] == first["eval_tokens"]
    assert second["start_loss"] == pytest.approx(first["eval_loss"], abs=1e-5)
    assert second["eval_loss"] < first["eval_loss"]
    assert second["old_start_loss"] > second["old_eval_loss"] > 0
    assert second["old_eval_tokens"] == second["old_start_tokens"] > second["eval_tokens"]


@pytest.mark.parametrize("encoder", ["bert", "roberta", "modernbert"])
def test_two_encoders_become_one_model(encoder: str, encoders: Path, corpus_file: Path, tmp_path: Path, capsys) -> None:
    from transformers import AutoModelForMaskedLM, AutoModelForSeq2SeqLM

    decoder = "bert" if encoder == "modernbert" else encoder
    names = ("--model.name", str(encoders / encoder), "--model.decoder_name", str(encoders / decoder))
    infilling = ("--denoising.method", "text_infilling", "--training.max_steps", "4", "--training.learning_rate", "0")
    proved = str(encoder == "bert").lower()
    run(*from_checkpoints(corpus_file, tmp_path / "run", *names, *infilling, "--proof.enabled", proved))
    told = capsys.readouterr().err
    assert ("8 proofs hold" in told) == (encoder == "bert")
    assert "the decoder is made causal, and its cross-attention is new" in told
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "run" / "model")
    assert model.config.model_type == "encoder-decoder"
    assert model.config.decoder.is_decoder
    for side, name in (("encoder", encoder), ("decoder", decoder)):  # at learning rate 0, they are what they were
        source = AutoModelForMaskedLM.from_pretrained(encoders / name).get_input_embeddings().weight
        assert torch.equal(getattr(model, side).get_input_embeddings().weight, source)
    words = ("--tokenizer.new_tokens", "[tensorially, quaternionic]")
    again = ("--model.name", str(tmp_path / "run" / "model"), "--training.learning_rate", "0.01", *words)
    run(*from_checkpoints(corpus_file, tmp_path / "again", *infilling, *again))
    metrics = read(tmp_path / "again", "metrics.json")
    assert metrics["eval_loss"] < metrics["start_loss"]
    grown = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "again" / "model")
    assert grown.encoder.config.vocab_size == grown.decoder.config.vocab_size == model.decoder.config.vocab_size + 2


def test_a_decoder_without_a_head_gets_one_only_when_asked(encoders: Path, tmp_path: Path) -> None:
    """As a sentence encoder is saved: its body alone. The head that is drawn shares the table of tokens."""
    from transformers import AutoModel, AutoTokenizer

    from pipelines.errors import ConfigError
    from pipelines.models.encoder_decoder import build_encoder_decoder
    from pipelines.sections import Seq2SeqModelConfig

    tokenizer = AutoTokenizer.from_pretrained(encoders / "bert")
    AutoModel.from_pretrained(encoders / "bert").save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    body = str(tmp_path)
    with pytest.raises(ConfigError, match="--model.new_head true"):
        build_encoder_decoder(Seq2SeqModelConfig(name=body, decoder_name=body), tokenizer, 16)
    config = Seq2SeqModelConfig(name=body, decoder_name=body, new_head=True)
    model = build_encoder_decoder(config, tokenizer, 16)
    table = model.decoder.get_input_embeddings().weight
    assert model.decoder.get_output_embeddings().weight is table
    assert torch.equal(table, model.encoder.get_input_embeddings().weight)


BAD_PAIRS = {
    "other tokens": (("bert", "other"), ["do not read the same tokens", "400 entries against 380", "--tokenizer.name"]),
    "no cross-attention": (("bert", "modernbert"), ["modernbert model", "no cross-attention", "bert, roberta"]),
    "no such folder": (("bert", "./nowhere"), ["model.decoder_name is", "there is no such folder"]),
}


@pytest.mark.parametrize(("pair", "parts"), BAD_PAIRS.values(), ids=BAD_PAIRS)
def test_pairs_that_cannot_be_joined(pair, parts, encoders: Path, corpus_file: Path, tmp_path: Path, capsys) -> None:
    decoder = pair[1] if pair[1].startswith(".") else str(encoders / pair[1])
    names = ("--model.name", str(encoders / pair[0]), "--model.decoder_name", decoder)
    infilling = ("--denoising.method", "text_infilling")
    told = fail(capsys, *from_checkpoints(corpus_file, tmp_path / "run", *names, *infilling))
    for part in parts:
        assert part in told
    assert not (tmp_path / "run").exists()


BAD_FLAGS = {
    "decoder": (["--model.config", "{model_type: llama}"], ["A llama model", "pretrain_clm.py"]),
    "encoder": (["--model.config", "{model_type: bert}"], ["A bert model", "pretrain_mlm.py"]),
    "block above positions": (
        ["--model.config", BART.replace("}", ", max_position_embeddings: 16}")],
        ["block_size is 32", "the model has 16 positions"],
    ),
    "density 0": (["--denoising.noise_density", "0"], ["denoising.noise_density must be above 0 and below 1"]),
    "density 1": (["--denoising.noise_density", "1"], ["denoising.noise_density must be above 0 and below 1"]),
    "short spans": (["--denoising.mean_noise_span_length", "0.5"], ["mean_noise_span_length must be at least 1"]),
    "unknown method": (["--denoising.method", "infilling"], ["denoising.method", "text_infilling"]),
    "decoder without encoder": (["--model.decoder_name", "somewhere"], ["no encoder to join it to", "model.name"]),
    "small block": (["--data.block_size", "3"], ["data.block_size is 3, which has no room"]),
    "small vocabulary": (["--tokenizer.vocab_size", "300"], ["vocab_size is 300", "at least 359"]),
}


@pytest.mark.parametrize(("flags", "parts"), BAD_FLAGS.values(), ids=BAD_FLAGS)
def test_bad_flags(flags, parts, corpus_file: Path, tmp_path: Path, capsys) -> None:
    told = fail(capsys, *tiny_run(corpus_file, tmp_path / "run", *flags))
    for part in parts:
        assert part in told
    assert not (tmp_path / "run").exists()


def test_an_encoders_tokenizer_has_no_sentinels(encoders: Path, corpus_file: Path, tmp_path: Path, capsys) -> None:
    told = fail(capsys, *from_checkpoints(corpus_file, tmp_path / "run", "--model.name", str(encoders / "bert")))
    for part in ("this tokenizer has no sentinels", "--denoising.method text_infilling"):
        assert part in told
    assert not (tmp_path / "run").exists()


@pytest.mark.processes
def test_two_processes_train_and_score_like_one(finished: Path, corpus_file: Path, tmp_path: Path) -> None:
    flags = tiny_run(corpus_file, tmp_path / "run", "--training.per_device_train_batch_size", "2")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", RECIPE, *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert read(tmp_path / "run", "plan.json")["processes"] == 2
    one, two = (read(folder, "metrics.json") for folder in (finished, tmp_path / "run"))
    for name in ("eval_loss", "eval_accuracy", "eval_hidden_loss", "eval_tokens", "baseline_kneser_ney_5gram_loss"):
        assert two[name] == pytest.approx(one[name], abs=5e-3), name
    losses = [[event["loss"] for event in events(folder) if "loss" in event] for folder in (finished, tmp_path / "run")]
    assert losses[1][0] == pytest.approx(losses[0][0], abs=1e-5)
    assert losses[1] == pytest.approx(losses[0], abs=5e-3)  # AdamW magnifies rounding; tests/test_denoising.py is exact


COMMITTED = sorted((RECIPES / "configs" / "pretrain_seq2seq").glob("*.yaml"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.name)
def test_every_committed_config_parses(path: Path) -> None:
    assert len(COMMITTED) >= 2
    config = config_to_dict(parse_config(pretrain_seq2seq.Config, RECIPE, ["--config", str(path)]))
    known = dict(flatten(config))
    assert {"data.block_size", "denoising.method", "model.preset"} <= known.keys()
    assert known["data.card"] == "installed_docs", "no network"
