"""Contrastive training: sentences, objective, processes, and recipes/pretrain_contrastive.py from flags to folder."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pretrain_contrastive
import pytest
import torch
import yaml
from conftest import RECIPES
from contrastive_step import FixedViews, build, collate, one_step
from transformers import AutoModel, AutoTokenizer

from pipelines.config import parse_config
from pipelines.data.collation import pad
from pipelines.data.framing import frame_texts
from pipelines.data.packing import PackedDocuments
from pipelines.data.sentences import FILLER, Sentences, TwoViews, halves
from pipelines.data.tokenization import document_frame
from pipelines.errors import ConfigError
from pipelines.models.build import build_model
from pipelines.models.pooling import Pooling, check_sentence_encoder
from pipelines.run import run_recipe
from pipelines.sections import ModelConfig, TrainingConfig
from pipelines.training.checkpoints import list_checkpoints
from pipelines.training.contrastive import Contrastive, check_step, info_nce

RECIPE = str(RECIPES / "pretrain_contrastive.py")
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
FAMILIES = {
    "bert": SIZES,
    "modernbert": SIZES,
    "roberta": SIZES,
    "distilbert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2},
    "deberta-v2": SIZES,
    "electra": SIZES | {"embedding_size": 32},
}


class FewTokens:
    """As much of a tokenizer as building a model asks for."""

    bos_token_id, eos_token_id, pad_token_id = 0, 1, 2

    def get_vocab(self) -> dict[str, int]:
        return {str(index): index for index in range(64)}


def encoder(family: str, dropout: float | None = 0.1) -> torch.nn.Module:
    torch.manual_seed(0)
    attention = "eager" if family == "deberta-v2" else "sdpa"
    config = ModelConfig(config={"model_type": family, **FAMILIES[family]}, attn_implementation=attention)
    return build_model("encoder", config, FewTokens(), block_size=24, dropout=dropout)


# ---------------------------------------------------------------- sentences


def documents(lengths: list[int], block_size: int) -> PackedDocuments:
    """Documents of so many text tokens, numbered through the stream, between 1 and 2."""
    tokens, starts = [], []
    for length in lengths:
        starts.append(len(tokens))
        tokens += [1, *range(len(tokens) + 101, len(tokens) + 101 + length), 2]
    return PackedDocuments(np.array(tokens, dtype=np.int32), np.array(starts), None, block_size, pad_token_id=0)


def test_documents_are_cut_into_equal_parts_by_hand() -> None:
    sentences = Sentences.of(documents([4, 9, 2, 0, 5], block_size=6), (1, 2), min_tokens=3)
    rows = [sentences.block(index)["input_ids"].tolist() for index in range(len(sentences))]
    assert rows == [
        [1, 101, 102, 103, 104, 2],
        [1, 107, 108, 109, 2],  # nine tokens in three parts, not four, four and one
        [1, 110, 111, 112, 2],
        [1, 113, 114, 115, 2],
        [1, 126, 127, 128, 2],  # five tokens in two parts, the first of which is too short
    ]
    assert sentences.left_out == (2, 4)
    assert sentences.targets == sentences.targets_per_block().sum() == 5


@pytest.mark.parametrize("seed", range(5))
def test_every_token_of_text_is_in_one_sentence_or_left_out(seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(0, 60, 30).tolist()
    packed = documents(lengths, block_size=12)
    sentences = Sentences.of(packed, (1, 2), min_tokens=5)
    rows = [sentences.block(index)["input_ids"] for index in range(len(sentences))]
    found = np.concatenate([row[1:-1] for row in rows])
    assert len(np.unique(found)) == len(found) == sum(lengths) - sentences.left_out[1]
    assert all(7 <= len(row) <= 12 and row[0] == 1 and row[-1] == 2 for row in rows)
    assert np.isin(found, packed.tokens_N).all()
    assert found.min() > 100


def test_equal_sentences_share_an_id() -> None:
    packed = PackedDocuments(np.array([1, 7, 8, 2, 1, 7, 9, 2, 1, 7, 8, 2]), np.array([0, 4, 8]), None, 6, 0)
    sentences = Sentences.of(packed, (1, 2), min_tokens=1)
    first, second, third = (int(sentences.block(index)["sentence_id"]) for index in range(3))
    assert first == third != second
    assert min(first, second) >= 0 > FILLER


def test_halves_by_hand() -> None:
    first, second = halves(documents([7, 3, 30], block_size=6), (1, 2), min_tokens=2, count=10)
    assert [row.tolist() for row in first] == [[1, 101, 102, 103, 2], [1, 115, 116, 117, 118, 2]]
    assert [row.tolist() for row in second] == [[1, 104, 105, 106, 107, 2], [1, 119, 120, 121, 122, 2]]


def test_a_batch_holds_everything_twice() -> None:
    rows = [
        {"input_ids": np.array([1, 5, 2]), "sentence_id": np.array(4)},
        {"input_ids": np.arange(1, 11), "sentence_id": np.array(6)},
    ]
    batch = TwoViews(pad_token_id=0)(rows)
    assert batch["input_ids"].shape == (4, 16)
    assert torch.equal(batch["input_ids"][:2], batch["input_ids"][2:])
    assert batch["attention_mask"].sum(1).tolist() == [3, 10, 3, 10]
    assert batch["sentence_id"].tolist() == [4, 6]
    assert batch["input_ids"][0].tolist() == [1, 5, 2, *[0] * 13]


# ---------------------------------------------------------------- objective


def test_info_nce_by_hand_for_three_sentences() -> None:
    first = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    second = np.array([[0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
    expected = []
    for row in range(3):
        scores = [np.exp(float(first[row] @ other) / 0.5) for other in second]
        expected.append(-np.log(scores[row] / sum(scores)))
    cosines = torch.tensor(first @ second.T, dtype=torch.float32)
    losses = info_nce(cosines, torch.tensor([5, 6, 7]), torch.arange(3), temperature=0.5)
    assert losses.tolist() == pytest.approx(expected, abs=1e-6)


def test_equal_sentences_and_filler_are_nobodys_negatives() -> None:
    cosines = torch.tensor([[0.9, 0.7, 0.3, 0.8], [0.7, 0.9, 0.1, 0.8], [0.3, 0.1, 0.9, 0.8], [0.8, 0.8, 0.8, 0.8]])
    losses = info_nce(cosines, torch.tensor([5, 5, 6, FILLER]), torch.arange(4), temperature=1.0)
    by_hand = [
        np.log(np.exp(0.9) + np.exp(0.3)) - 0.9,
        np.log(np.exp(0.9) + np.exp(0.1)) - 0.9,
        np.log(np.exp(0.3) + np.exp(0.1) + np.exp(0.9)) - 0.9,
    ]
    assert losses.tolist() == pytest.approx(by_hand, abs=1e-6)


def test_loss_and_count_of_a_batch() -> None:
    views, model = FixedViews(), build()
    batch = collate([views.block(index) for index in range(5)] + [views.filler()])
    objective = Contrastive(bf16=False, pooling=Pooling("mean"), temperature=0.05)
    assert int(objective.count(batch)) == 5
    with torch.no_grad():
        vectors = torch.nn.functional.normalize(Pooling("mean")(model.eval(), batch), dim=1).double().numpy()
        total = float(objective.loss_sum(model, batch))
    first, second = vectors[:5], vectors[6:11]
    expected = 0.0
    for row in range(5):
        others = [j for j in range(5) if j == row or max(j, 1) != max(row, 1)]  # rows 0 and 1 are the same sentence
        scores = np.exp(second[others] @ first[row] / 0.05)
        expected -= np.log(scores[others.index(row)] / scores.sum())
    assert total == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> tuple[float, dict[str, torch.Tensor]]:
    return one_step(8, tmp_path_factory.mktemp("one"))


def test_the_step_has_a_gradient_everywhere_but_in_the_pooler(one_process) -> None:
    before = build().state_dict()
    same = {name for name, weights in one_process[1].items() if torch.equal(weights, before[name])}
    assert same - {"embeddings.position_ids", "embeddings.token_type_ids"} <= {
        "pooler.dense.weight",
        "pooler.dense.bias",
    } | {name for name in same if name.endswith("key.bias")}  # which softmax cancels
    assert "pooler.dense.weight" in same


@pytest.mark.processes
def test_two_processes_equal_one(one_process, tmp_path: Path) -> None:
    """Negatives of the other process, and the gradients that flow back to it: to 1e-6, with a filler row."""
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *(str(Path(__file__).with_name("contrastive_step.py")), str(tmp_path), "4"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["world_size"] == 2
    assert facts["loss"] == pytest.approx(one_process[0], abs=1e-6)
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert weights.keys() == one_process[1].keys()
    for name, expected in one_process[1].items():
        torch.testing.assert_close(weights[name], expected, atol=1e-6, rtol=0, msg=lambda text, name=name: name + text)


# ---------------------------------------------------------------- models


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_tells_the_views_apart_and_padding_changes_nothing(family: str) -> None:
    model = encoder(family)
    rows = [np.arange(3, 3 + length) for length in (4, 20, 9)]
    for mode in ("cls", "mean"):
        check_sentence_encoder(model, Pooling(mode), pad_token_id=2)
        model.eval()
        with torch.no_grad():
            together = Pooling(mode)(model, pad(rows, 2))
            for row, embedding in zip(rows, together, strict=True):
                torch.testing.assert_close(Pooling(mode)(model, pad([row], 2))[0], embedding, atol=1e-5, rtol=0)
    model.train()
    with torch.no_grad():
        twice = Pooling("mean")(model, pad([rows[1]] * 2, 2))
    assert float((twice[0] - twice[1]).abs().max()) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_views_are_refused(family: str) -> None:
    with pytest.raises(ConfigError, match=r"equal, since this model has no dropout.*--contrastive\.dropout 0\.1"):
        check_sentence_encoder(encoder(family, dropout=0.0), Pooling("mean"), pad_token_id=2)


def test_the_check_leaves_random_numbers_mode_and_gradients_as_they_were() -> None:
    model = encoder("bert")
    model.eval()
    before = torch.get_rng_state()
    check_sentence_encoder(model, Pooling("mean"), pad_token_id=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {"pooler.dense.weight", "pooler.dense.bias"}


def test_dropout_null_keeps_what_the_config_says() -> None:
    assert encoder("bert", dropout=None).config.hidden_dropout_prob == 0.1  # BertConfig's default
    assert encoder("bert", dropout=0.3).config.attention_probs_dropout_prob == 0.3
    config = ModelConfig(config={"model_type": "esm", **SIZES})
    assert build_model("encoder", config, FewTokens(), 24, dropout=0.2).config.hidden_dropout_prob == 0.2


def test_a_masked_language_model_is_gone_on_with(tmp_path: Path) -> None:
    config = ModelConfig(config={"model_type": "bert", **SIZES})
    masked = build_model("masked", config, FewTokens(), block_size=24)
    masked.save_pretrained(tmp_path)
    model = build_model("encoder", ModelConfig(name=str(tmp_path)), FewTokens(), block_size=24, dropout=0.2)
    for name, weights in masked.bert.state_dict().items():
        assert torch.equal(model.state_dict()[name], weights)
    assert model.encoder.layer[0].output.dropout.p == 0.2
    with pytest.raises(ConfigError, match="lacks weights of a masked language model"):
        model.save_pretrained(tmp_path / "encoder")
        build_model("masked", ModelConfig(name=str(tmp_path / "encoder")), FewTokens(), block_size=24)


def test_decoders_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"llama model is no sentence encoder.*recipes/pretrain_clm\.py"):
        build_model("encoder", ModelConfig(config={"model_type": "llama", **SIZES}), FewTokens(), 24)
    config = ModelConfig(config={"model_type": "bert", "is_decoder": True, **SIZES})
    with pytest.raises(ConfigError, match="does not see the last one: it is a decoder"):
        check_sentence_encoder(build_model("encoder", config, FewTokens(), 24), Pooling("mean"), 2)


@pytest.mark.parametrize(
    ("values", "processes", "part"),
    [
        ({"gradient_accumulation_steps": 2}, 1, "another, easier objective"),
        ({"per_device_train_batch_size": 1}, 1, "no other to be told from"),
    ],
)
def test_steps_without_negatives_are_refused(values, processes, part) -> None:
    with pytest.raises(ConfigError, match=part):
        check_step(TrainingConfig(**values), processes)
    check_step(TrainingConfig(per_device_train_batch_size=1), processes=2)


# ---------------------------------------------------------------- recipe

TINY_MODEL = (
    "{model_type: bert, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2, "
    "vocab_size: 320}"
)


def tiny_flags(corpus_file: Path, run_dir: Path, *flags: str) -> list[str]:
    """Flags of a run of 12 steps on some 600 sentences."""
    return [
        *("--data.files.train", str(corpus_file), "--data.validation_share", "0.1", "--data.block_size", "32"),
        *("--tokenizer.vocab_size", "300", "--model.config", TINY_MODEL, "--run.dir", str(run_dir)),
        *("--proof.enabled", "false"),
        *("--training.max_steps", "12", "--training.per_device_train_batch_size", "8", "--training.save_steps", "4"),
        *("--training.logging_steps", "1", "--training.eval_steps", "6", "--training.bf16", "false"),
        *("--evaluation.samples", "2", "--run.threads", "1"),
        *flags,
    ]


def run(*flags: str) -> None:
    pretrain_contrastive.main(parse_config(pretrain_contrastive.Config, RECIPE, list(flags)))


def pairs_file(folder: Path) -> Path:
    """Scored pairs, under other names and on another scale than 0 to 5."""
    path = folder / "pairs.csv"
    texts = ["The array holds nothing.", "Each row copies its own shape 7.", "A tensor sorts the values given 3."]
    lines = [f"{left},{right},{10 if left == right else 2 + len(right) % 3}" for left in texts for right in texts]
    path.write_text("s1,s2,gold\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def finished(corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contrastive") / "finished"
    pairs = pairs_file(folder.parent)
    columns = ("--evaluation.sts_columns", "{s1: sentence1, s2: sentence2, gold: score}")
    every = ("--training.save_total_limit", "null", "--evaluation.sts_files", str(pairs), *columns)
    run(*tiny_flags(corpus_file, folder, *every))
    return folder


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text())


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_the_run_folder_is_complete(finished: Path) -> None:
    metrics = read(finished, "metrics.json")
    for of in ("eval", "baseline_start", "baseline_token_vectors", "baseline_tfidf"):
        for score in ("retrieval_accuracy", "retrieval_mrr", "spearman", "pearson"):
            assert -1 <= metrics[f"{of}_{score}"] <= 1
    for score in ("loss", "alignment", "uniformity", "sts_alignment", "sts_uniformity"):
        assert np.isfinite(metrics[f"eval_{score}"] - metrics[f"baseline_start_{score}"])
    assert metrics["eval_loss"] != metrics["baseline_start_loss"]
    assert metrics["eval_sts_pairs"] == 9
    samples = read(finished, "samples.json")
    assert len(samples["samples"]) == 2
    assert all(sample.keys() == {"prompt", "reference", "output", "tokens"} for sample in samples["samples"])
    assert "Before training" in (finished / "report.html").read_text()
    plan = read(finished, "plan.json")
    assert plan["tokens_per_step"] == 2 * plan["rows_per_step"] * plan["block_size"] == 2 * 8 * 32
    assert plan["flops_per_token"] > 6 * (plan["parameters"]["total"] - 320 * 32 - 32 * 32 - 32 * 33 - 3 * 64)


def test_the_receipt_closes(finished: Path) -> None:
    receipt = read(finished, "receipt.json")
    for split in ("train", "validation"):
        blocks = receipt[split]["blocks"]
        found = blocks["tokens_in_sentences"] + blocks["tokens_in_parts_below_min_tokens"]
        assert found == receipt[split]["tokens"]["text_tokens"]
    assert receipt["training"]["targets_trained"] == receipt["training"]["rows"] == 12 * 8
    seen = receipt["training"]["blocks_seen"] + receipt["training"]["blocks_not_seen"]
    assert seen == receipt["train"]["blocks"]["blocks"] == read(finished, "plan.json")["train_blocks"]


@pytest.mark.parametrize("keep_steps", [0, 8])
def test_resuming_with_dropout_is_bitwise_the_uninterrupted_run(
    finished: Path, corpus_file: Path, tmp_path: Path, keep_steps: int
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "model")
    (folder / "metrics.json").unlink()
    for checkpoint in list_checkpoints(folder / "checkpoints"):
        if int(checkpoint.name.split("-")[1]) > keep_steps:
            shutil.rmtree(checkpoint)
    run(*tiny_flags(corpus_file, folder, "--training.save_total_limit", "null"))
    assert weights(folder) == weights(finished)
    before, after = (read(path, "metrics.json") for path in (finished, folder))
    for name in ("eval_loss", "eval_uniformity", "baseline_start_loss", "baseline_tfidf_retrieval_mrr"):
        assert after[name] == pytest.approx(before[name], abs=1e-6)


def test_a_run_of_whole_epochs_ends_inside_a_step(corpus_file: Path, tmp_path: Path) -> None:
    epochs = ("--training.max_steps", "null", "--training.num_train_epochs", "0.11", "--evaluation.baselines", "false")
    run(*tiny_flags(corpus_file, tmp_path / "run", *epochs))
    receipt, plan = read(tmp_path / "run", "receipt.json"), read(tmp_path / "run", "plan.json")
    assert plan["rows"] % 8
    assert receipt["training"]["targets_trained"] == plan["rows"] < plan["steps"] * 8
    assert not any(name.startswith("baseline") for name in read(tmp_path / "run", "metrics.json"))


@pytest.mark.processes
def test_two_processes_share_the_evaluation(finished: Path, corpus_file: Path, tmp_path: Path) -> None:
    """Each computes every second batch of embeddings; the scores before training are those of one process."""
    config = ("--config", str(finished / "config.yaml"))
    flags = ("--training.per_device_train_batch_size", "4", "--training.max_steps", "2", "--run.dir", str(tmp_path))
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = subprocess.run([*launcher, RECIPE, *config, *flags], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    plan = read(tmp_path, "plan.json")
    assert (plan["processes"], plan["rows_per_step"]) == (2, 8)
    expected, found = read(finished, "metrics.json"), read(tmp_path, "metrics.json")
    same = [name for name in expected if name.startswith("baseline_") or name.endswith(("documents", "pairs"))]
    assert len(same) > 15
    for name in same:
        assert found[name] == pytest.approx(expected[name], abs=1e-6), name
    assert found["eval_loss"] != found["baseline_start_loss"]


def test_the_card_code_gives_the_embeddings_that_were_scored(finished: Path, monkeypatch, capsys) -> None:
    card = (finished / "model" / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(finished / "model")
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert capsys.readouterr().out.strip()
    model, tokenizer = AutoModel.from_pretrained(".").eval(), AutoTokenizer.from_pretrained(".")
    frame = document_frame(tokenizer)
    for text, embedding in zip(names["texts"], names["embeddings"], strict=True):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer(text)["input_ids"] == [frame[0], *ids, frame[1]]
        with torch.no_grad():
            expected = Pooling("mean")(model, pad([np.array([frame[0], *ids[:30], frame[1]])], tokenizer.pad_token_id))
        torch.testing.assert_close(embedding, torch.nn.functional.normalize(expected[0], dim=0), atol=1e-5, rtol=0)
    metrics = read(finished, "metrics.json")
    for name in ("eval_spearman", "eval_retrieval_accuracy", "baseline_start_spearman", "baseline_tfidf_spearman"):
        assert f" {metrics[name]:.4f} |" in card


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_cards_of_other_families_run_too(pooling, corpus_file, tmp_path, monkeypatch) -> None:
    family = {"cls": "distilbert, n_layers: 1, dim: 32, n_heads: 2, hidden_dim: 32", "mean": "modernbert"}[pooling]
    sizes = "" if pooling == "cls" else ", hidden_size: 32, intermediate_size: 32, num_hidden_layers: 2"
    heads = "" if pooling == "cls" else ", num_attention_heads: 2"
    model = ("--model.config", f"{{model_type: {family}{sizes}{heads}}}", "--contrastive.pooling", pooling)
    run(*tiny_flags(corpus_file, tmp_path / "run", *model, "--training.max_steps", "2"))
    code = (tmp_path / "run" / "model" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path / "run" / "model")
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["embeddings"].shape == (3, 32)
    settings = read(tmp_path / "run" / "model" / "1_Pooling", "config.json")
    assert [name for name, value in settings.items() if value is True] == [
        f"pooling_mode_{pooling}_token{'s' if pooling == 'mean' else ''}"
    ]


def test_frame_texts_leaves_a_tokenizer_that_frames_by_itself_alone(finished: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(finished / "model")
    before = tokenizer.backend_tokenizer.to_str()
    frame_texts(tokenizer)
    assert tokenizer.backend_tokenizer.to_str() == before
    room = yaml.safe_load((finished / "config.yaml").read_text())["data"]["block_size"]
    assert len(tokenizer("The array returns " * 20, truncation=True)["input_ids"]) == room == 32


def test_default_config_parses_and_needs_no_network() -> None:
    config = parse_config(pretrain_contrastive.Config, RECIPE, [])
    assert (config.data.card, config.model.name, config.data.name) == ("installed_docs", None, None)
    check_step(config.training, processes=1)


FLAGS = {
    "temperature": (["--contrastive.temperature", "0"], ["contrastive.temperature must be at least 0.001"]),
    "no dropout": (["--contrastive.dropout", "0"], ["views of a sentence are equal", "--contrastive.dropout 0.1"]),
    "whole dropout": (["--contrastive.dropout", "1"], ["contrastive.dropout must be", "below 1"]),
    "accumulation": (["--training.gradient_accumulation_steps", "2"], ["per_device_train_batch_size", "objective"]),
    "one row": (["--training.per_device_train_batch_size", "1"], ["at least 2"]),
    "decoder": (["--model.config", "{model_type: llama}"], ["no sentence encoder", "recipes/pretrain_clm.py"]),
    "pooling": (["--contrastive.pooling", "max"], ["contrastive.pooling", "max"]),
    "minimum above maximum": (["--data.min_tokens", "31"], ["data.min_tokens is 31", "at most 30"]),
    "no sentences": (["--data.block_size", "4000", "--data.min_tokens", "3000"], ["0 sentences", "--data.min_tokens"]),
    "too long to halve": (["--data.min_tokens", "90", "--data.block_size", "300"], ["held-out documents", "halves"]),
    "missing pairs": (["--evaluation.sts_files", "nowhere.csv"], ["evaluation.sts_files", "nowhere.csv"]),
}


@pytest.mark.parametrize(("flags", "parts"), FLAGS.values(), ids=FLAGS)
def test_bad_flags(flags, parts, corpus_file, tmp_path, capsys) -> None:
    flags = tiny_flags(corpus_file, tmp_path / "run", *flags)
    assert run_recipe(pretrain_contrastive.main, pretrain_contrastive.Config, RECIPE, flags) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    for part in parts:
        assert part in message
    assert not (tmp_path / "run").exists()
