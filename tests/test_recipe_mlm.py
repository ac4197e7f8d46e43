"""recipes/pretrain_mlm.py from its flags to its run folder, in this process; continued pretraining too."""

import json
import shutil
from pathlib import Path

import pretrain_mlm
import pytest
import torch
from conftest import RECIPES, sentences

from pipelines.config import parse_config
from pipelines.errors import ConfigError
from pipelines.training.checkpoints import list_checkpoints

RECIPE = str(RECIPES / "pretrain_mlm.py")
TINY = (
    "{model_type: modernbert, hidden_size: 32, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2, "
    "local_attention: 8}"
)


def flags(corpus_file: Path, run_dir: Path, *more: str) -> list[str]:
    """Flags of a run of some seconds: 12 steps of a model of 20 thousand parameters."""
    return [
        *("--data.files.train", str(corpus_file), "--data.validation_share", "0.1", "--data.block_size", "32"),
        *("--tokenizer.vocab_size", "300", "--model.config", TINY, "--run.dir", str(run_dir), "--run.threads", "1"),
        *("--proof.enabled", "false"),
        *("--training.max_steps", "12", "--training.per_device_train_batch_size", "4", "--training.save_steps", "4"),
        *("--training.logging_steps", "1", "--training.eval_steps", "6", "--training.bf16", "false"),
        *("--evaluation.samples", "1", "--evaluation.pseudo_perplexity_tokens", "20"),
        *more,
    ]


def without(arguments: list[str], *names: str) -> list[str]:
    """Flags without some of them and their values."""
    pairs = zip(arguments[::2], arguments[1::2], strict=True)
    return [part for name, value in pairs if name not in names for part in (name, value)]


def run(*arguments: str) -> dict[str, float]:
    config = parse_config(pretrain_mlm.Config, RECIPE, list(arguments))
    pretrain_mlm.main(config)
    return json.loads((Path(config.run.dir) / "metrics.json").read_text())


@pytest.fixture(scope="module")
def finished(corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    run(*flags(corpus_file, folder, "--training.save_total_limit", "null"))
    return folder


def test_the_run_folder_is_complete(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    for name in ("eval_loss", "eval_bits_per_token", "eval_pseudo_perplexity", "train_tokens_per_second", "train_mfu"):
        assert metrics[name] > 0
    assert metrics["eval_tokens"] == metrics["baseline_unigram_tokens"] == metrics["baseline_neighbours_tokens"]
    losses = [json.loads(line).get("loss") for line in (finished / "metrics.jsonl").read_text().splitlines()]
    losses = [loss for loss in losses if loss is not None]
    assert len(losses) == 12 and losses[-1] < losses[0]
    receipt = json.loads((finished / "receipt.json").read_text())
    assert receipt["training"]["rows"] == 48
    assert receipt["training"]["targets_trained"] > 0
    page = (finished / "report.html").read_text()
    assert "▁▁▁" in page and "Neighbours" in page and "Unigram" in page


def test_resume_is_bitwise(finished: Path, corpus_file: Path, tmp_path: Path) -> None:
    """The mask of a row follows from its place in the run, so going on from step 4 masks what the first run masked."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    for name in ("metrics.json", "model"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for checkpoint in list_checkpoints(folder / "checkpoints")[:2]:
        shutil.rmtree(checkpoint)
    assert [path.name for path in list_checkpoints(folder / "checkpoints")] == ["checkpoint-4"]
    again = run(*flags(corpus_file, folder, "--training.save_total_limit", "null"))
    first = json.loads((finished / "metrics.json").read_text())
    weights = "model/model.safetensors"
    assert (folder / weights).read_bytes() == (finished / weights).read_bytes()
    assert again["eval_loss"] == first["eval_loss"]
    assert again["eval_pseudo_perplexity"] == first["eval_pseudo_perplexity"]


def test_resume_keeps_the_random_numbers_of_dropout(corpus_file: Path, tmp_path: Path) -> None:
    bert = (
        "{model_type: bert, hidden_size: 32, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2, "
        "hidden_dropout_prob: 0.1}"
    )
    arguments = ["--model.config", bert, "--evaluation.baselines", "false", "--training.save_total_limit", "null"]
    once = flags(corpus_file, tmp_path / "once", *arguments)
    run(*once)
    shutil.copytree(tmp_path / "once", tmp_path / "again")
    (tmp_path / "again" / "metrics.json").unlink()
    for checkpoint in list_checkpoints(tmp_path / "again" / "checkpoints")[:2]:
        shutil.rmtree(checkpoint)
    run(*flags(corpus_file, tmp_path / "again", *arguments))
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("once", "again")]
    assert weights[0] == weights[1]


def test_more_epochs_go_on_before_the_filled_up_step(corpus_file: Path, tmp_path: Path) -> None:
    """The last step of whole epochs is filled up with rows without targets, which hold data in a longer run."""
    arguments = ["--evaluation.baselines", "false", "--evaluation.pseudo_perplexity_tokens", "null"]
    base = without(flags(corpus_file, tmp_path / "run", *arguments), "--training.max_steps", "--training.save_steps")
    base += ["--training.max_steps", "null", "--training.per_device_train_batch_size", "64"]
    base += ["--training.save_steps", "1"]
    run(*base, "--training.num_train_epochs", "1")
    receipt = json.loads((tmp_path / "run" / "receipt.json").read_text())
    assert receipt["training"]["rows"] % 64, "the last step is not full"
    run(*base, "--training.num_train_epochs", "2")
    again = json.loads((tmp_path / "run" / "receipt.json").read_text())
    assert again["training"]["rows"] == 2 * receipt["training"]["rows"]


def test_the_model_card_code_runs(finished: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    card = (finished / "model" / "README.md").read_text()
    monkeypatch.chdir(finished / "model")
    exec(compile(card.split("```python\n")[1].split("```")[0], "README.md", "exec"), {})
    assert capsys.readouterr().out.strip("\n")


def test_the_saved_tokenizer_frames_texts_as_documents_were(finished: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(finished / "model")
    ids = tokenizer("The array")["input_ids"]
    assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert ids[1:-1] == tokenizer("The array", add_special_tokens=False)["input_ids"]


def test_whole_words_from_flags(corpus_file: Path, tmp_path: Path) -> None:
    metrics = run(*flags(corpus_file, tmp_path / "run", "--masking.whole_word_mask", "true"))
    assert metrics["train_steps"] == 12


@pytest.fixture(scope="module")
def new_domain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("new") / "new.jsonl"
    words = ("cryostat", "plasmoid", "tokamak", "neutrino")
    texts = [f"Each {words[i % 4]} cools a {words[i % 3]}. " + text for i, text in enumerate(sentences(200, seed=9))]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def test_continued_pretraining_with_new_tokens(
    finished: Path, new_domain: Path, corpus_file: Path, tmp_path: Path
) -> None:
    """Both domains are scored before and after; new tokens begin at the mean of their pieces."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    from pipelines.data.new_tokens import add_new_tokens
    from pipelines.models.build import build_model
    from pipelines.sections import ModelConfig

    name = str(finished / "model")
    arguments = flags(
        new_domain, tmp_path / "run", "--model.name", name, "--tokenizer.new_tokens", "2", "--training.max_steps", "3"
    )
    arguments = [*arguments, "--old_domain.files", str(corpus_file)]
    metrics = run(*without(arguments, "--model.config", "--tokenizer.vocab_size"))
    for prefix in ("", "old_"):
        assert metrics[f"{prefix}start_loss"] > 0
        assert metrics[f"{prefix}eval_loss"] != metrics[f"{prefix}start_loss"]
        assert metrics[f"{prefix}eval_tokens"] == metrics[f"{prefix}start_tokens"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Old domain" in page and "before training" in page.lower()

    plain = AutoTokenizer.from_pretrained(name)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run" / "model")
    assert len(tokenizer) == len(plain) + 2
    added = sorted(set(tokenizer.get_vocab()) - set(plain.get_vocab()))
    assert set(added) <= {" cryostat", " plasmoid", " tokamak", " neutrino"}
    text = "Each cryostat cools a plasmoid and a tokamak, neutrinos too."
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text

    old = AutoModelForMaskedLM.from_pretrained(name).get_input_embeddings().weight
    pieces = add_new_tokens(plain, [token.strip() for token in added], [])
    model = build_model("masked", ModelConfig(name=name), plain, 32, pieces)
    new = model.get_input_embeddings().weight
    assert sorted(pieces) == [300, 301]
    for token, cut in pieces.items():
        assert len(cut) > 1
        torch.testing.assert_close(new[token], old[cut].mean(dim=0))


REFUSED = {
    "probability 0": (["--masking.mlm_probability", "0"], r"masking.mlm_probability must be above 0 and below 1"),
    "probability 1": (["--masking.mlm_probability", "1"], r"masking.mlm_probability must be above 0 and below 1"),
    "probability 1.5": (["--masking.mlm_probability", "1.5"], r"above 0 and below 1; found 1.5"),
    "decoder": (
        ["--model.config", "{model_type: llama}"],
        r"llama model is no masked language model.*pretrain_clm\.py",
    ),
    "decoder preset": (["--model.preset", "tiny", "--model.config", "null"], r"llama.*encoder.*pretrain_clm\.py"),
    "encoder-decoder": (["--model.config", "{model_type: bart}"], r"bart model is no masked.*pretrain_seq2seq\.py"),
    "characters": (["--masking.whole_word_mask", "true", "--tokenizer.type", "char"], r"cannot say words"),
    "new tokens": (["--tokenizer.new_tokens", "5"], r"tokenizer.new_tokens adds to an existing tokenizer"),
    "no sdpa": (["--model.config", "{model_type: mpnet}"], r"attn_implementation.*eager"),
    "old and old": (["--old_domain.card", "a", "--old_domain.files", "b"], r"old_domain.card and old_domain.files"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_are_named_and_leave_nothing(case: str, corpus_file: Path, tmp_path: Path) -> None:
    more, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message):
        run(*flags(corpus_file, tmp_path / "run", *more))
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_without_a_mask_token_is_refused(corpus_file: Path, tmp_path: Path) -> None:
    from pipelines.data.tokenizer_training import train_tokenizer

    train_tokenizer([sentences(20)], "bpe", 270).save_pretrained(tmp_path / "tokenizer")
    arguments = flags(corpus_file, tmp_path / "run", "--tokenizer.name", str(tmp_path / "tokenizer"))
    with pytest.raises(ConfigError, match="no mask token"):
        run(*without(arguments, "--tokenizer.vocab_size"))
    assert not (tmp_path / "run").exists()


def test_a_decoders_checkpoint_is_refused(finished: Path, corpus_file: Path, tmp_path: Path) -> None:
    """And an encoder's by pretrain_clm."""
    import pretrain_clm

    arguments = flags(corpus_file, tmp_path / "run", "--model.name", str(finished / "model"))
    arguments = without(arguments, "--model.config", "--tokenizer.vocab_size", "--evaluation.pseudo_perplexity_tokens")
    config = parse_config(pretrain_clm.Config, str(RECIPES / "pretrain_clm.py"), arguments)
    with pytest.raises(ConfigError, match=r"modernbert model is no causal.*pretrain_mlm\.py"):
        pretrain_clm.main(config)
