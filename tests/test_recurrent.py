"""LSTM and GRU language models: packed = separate, exact steps, checkpoints, generation, FLOPs, a run of the recipe."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import architectures
import pretrain_clm
import pytest
import torch
from architectures import FewTokens
from conftest import RECIPES, REPOSITORY, tiny_run
from exact_step import one_step
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from pipelines.config import parse_config
from pipelines.data.packing import PackedDocuments
from pipelines.errors import ConfigError
from pipelines.models.attention_check import check_attention
from pipelines.models.build import build_causal_lm
from pipelines.models.cost import count_parameters, training_flops_per_token
from pipelines.models.presets import PRESETS
from pipelines.models.recurrent import STEPS_AT_ONCE, RecurrentForCausalLM, RecurrentModel
from pipelines.models.sequences import find_sequences
from pipelines.sections import ModelConfig
from pipelines.training.memory import formula_activations
from pipelines.training.objectives import CausalLanguageModeling
from pipelines.training.optimizers import muon_with_adamw

CELLS = ("lstm", "gru")
SIZES = {"model_type": "recurrent", "hidden_size": 32, "embedding_size": 24, "num_hidden_layers": 2}
VOCABULARY = 64


def build(cell: str, **settings: object) -> RecurrentForCausalLM:
    """The same small model every time, with weights twice as large as drawn: a mistake is far above rounding."""
    torch.manual_seed(0)
    config = ModelConfig(config=SIZES | {"cell_type": cell} | settings)
    model = build_causal_lm(config, FewTokens(), block_size=16)
    assert isinstance(model, RecurrentForCausalLM)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data.mul_(2)
    return model.eval()


def tokens(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(4, VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


def alone(model: RecurrentForCausalLM, ids_T: torch.Tensor) -> torch.Tensor:
    """Logits of one document by nn.LSTM or nn.GRU as a user would call them, without anything of the module."""
    hidden = model.model.embed_tokens(ids_T[None]) * model.config.embedding_size**0.5
    for layer in model.model.layers:
        hidden, _ = layer.cell(hidden)
    return model.lm_head(model.projection(hidden))[0]


# ------------------------------------------------------------ packing


@pytest.mark.parametrize("cell", CELLS)
def test_packed_documents_equal_separate_ones(cell: str) -> None:
    """Two blocks of 96 positions: documents of 1 and 2 tokens, longer than a chunk, across the blocks, and padding."""
    model = build(cell)
    lengths = [3, 1, 1, 40, 30, 2, 50, 33, 12]
    assert max(lengths) > STEPS_AT_ONCE
    flat = tokens(sum(lengths))
    starts = torch.tensor([0, *torch.tensor(lengths).cumsum(0)[:-1]])
    documents = PackedDocuments(flat.numpy(), starts.numpy(), None, block_size=96, pad_token_id=2)
    blocks = [documents.block(index) for index in range(len(documents))]
    ids_BT, position_ids_BT = (
        torch.stack([torch.from_numpy(block[name]) for block in blocks]) for name in ("input_ids", "position_ids")
    )
    packed = model(input_ids=ids_BT, position_ids=position_ids_BT, use_cache=False).logits
    packed.square().mean().backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    separate = torch.stack(
        [
            torch.cat([alone(model, part) for part in ids_T.tensor_split(begins[1:].tolist())])
            for ids_T, begins in zip(ids_BT, ((row == 0).nonzero()[:, 0] for row in position_ids_BT), strict=True)
        ]
    )
    assert float(separate.detach().std()) > 0.5
    torch.testing.assert_close(packed, separate, atol=1e-5, rtol=0)
    separate.square().mean().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: n + m)


@pytest.mark.parametrize("cell", CELLS)
def test_rows_without_position_ids_are_one_document_each(cell: str) -> None:
    model, ids_BT = build(cell), tokens(3, 50)
    with torch.no_grad():
        logits = model(input_ids=ids_BT, use_cache=False).logits
        torch.testing.assert_close(logits, torch.stack([alone(model, row) for row in ids_BT]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("preset", ["lstm-tiny", "gru-tiny"])
def test_the_check_passes_and_would_see_a_leak(preset: str) -> None:
    model = build_causal_lm(ModelConfig(preset=preset), FewTokens(), block_size=16)
    assert max(check_attention(model, isolate_documents=True).values()) < 1e-5
    forward = model.forward
    model.forward = lambda position_ids=None, **inputs: forward(**inputs)
    with pytest.raises(ConfigError, match="packed documents see each other"):
        check_attention(model, isolate_documents=True)


def test_chunks_by_hand() -> None:
    """Rows `a a a b` and `c . d d` (a point is padding), chunks of two steps."""
    real = torch.tensor([[True, True, True, True], [True, False, True, True]])
    found = find_sequences(real, torch.tensor([[0, 1, 2, 0], [0, 0, 0, 1]]), steps_at_once=2, has_past=False)
    longest, pair, b, c = [0, 1, 2], [6, 7], 3, 4
    assert [chunk.tolist() for chunk in found.chunks] == [[longest[:2], pair, [b, 4], [c, 6]], [longest[2:]]]
    assert found.row_S.tolist() == [0, 1, 0, 1]
    assert found.is_last_S.tolist() == [False, True, True, False]
    assert found.place_BT.tolist() == [[0, 1, 8, 4], [6, 6, 2, 3]]


@pytest.mark.parametrize("cell", CELLS)
def test_bf16_is_close_and_keeps_the_state_in_fp32(cell: str) -> None:
    model, objective = build(cell), CausalLanguageModeling(bf16=True)
    ids = tokens(2, 40)
    batch = {"input_ids": ids[:, :-1], "shift_labels": ids[:, 1:]}
    kept = []
    for layer in model.model.layers:
        layer.cell.register_forward_hook(lambda module, inputs, outputs: kept.append(outputs[0].dtype))
    losses = objective.losses(model, batch)
    losses.sum().backward()
    assert kept == [torch.float32, torch.float32]
    exact = CausalLanguageModeling(bf16=False).losses(model, batch)
    assert 0 < float((losses - exact).detach().abs().max()) < 0.1


# ------------------------------------------------------------ exact steps


@pytest.fixture
def in_architectures(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The cells as architectures that exact_step can build."""
    for cell in CELLS:
        monkeypatch.setitem(architectures.DECODERS, cell, SIZES | {"cell_type": cell})
    yield


@pytest.mark.parametrize("cell", CELLS)
def test_accumulation_equals_one_batch(cell: str, in_architectures: None, tmp_path: Path) -> None:
    loss, weights = one_step(cell, 8, 1, tmp_path / "8x1")
    before = architectures.build(cell).state_dict()
    assert all(not torch.equal(weights[name], before[name]) for name in weights)
    for rows, accumulation in ((4, 2), (1, 8)):
        other_loss, other_weights = one_step(cell, rows, accumulation, tmp_path / f"{rows}x{accumulation}")
        assert other_loss == pytest.approx(loss, abs=1e-6)
        for name, weight in weights.items():
            torch.testing.assert_close(other_weights[name], weight, atol=1e-6, rtol=0)


@pytest.mark.parametrize("cell", CELLS)
def test_muon_takes_the_matrices_of_the_cells(cell: str) -> None:
    from types import SimpleNamespace

    model = build(cell)
    arguments = SimpleNamespace(learning_rate=1.0, weight_decay=0.1, adam_beta1=0.9, adam_beta2=0.9, adam_epsilon=1e-8)
    optimizer = muon_with_adamw(model, arguments, decay_names=[])
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    taken = {names[id(parameter)] for group in optimizer.parts["muon"].param_groups for parameter in group["params"]}
    assert taken == {
        *(f"model.layers.{layer}.cell.weight_{kind}_l0" for layer in (0, 1) for kind in ("ih", "hh")),
        "projection.weight",
    }


# ------------------------------------------------------------ initialisation, checkpoints, generation


def test_initialisation() -> None:
    """Gates in torch's order (input, forget, cell, output): only the forget gate's bias is 1, and that once."""
    torch.manual_seed(0)
    model = build_causal_lm(ModelConfig(config=SIZES | {"cell_type": "lstm"}), FewTokens(), block_size=16)
    for layer in model.model.layers:
        assert layer.cell.bias_ih_l0.tolist() == [0.0] * 32 + [1.0] * 32 + [0.0] * 64
        assert layer.cell.bias_hh_l0.tolist() == [0.0] * 128
        for gate in layer.cell.weight_hh_l0.split(32):
            torch.testing.assert_close(gate @ gate.T, torch.eye(32), atol=1e-5, rtol=0)
    assert float(model.model.embed_tokens.weight.detach().std()) == pytest.approx(24**-0.5, rel=0.1)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("tied", [True, False])
def test_save_and_load_with_auto_classes(cell: str, tied: bool, tmp_path: Path) -> None:
    model = build(cell, tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert isinstance(loaded, RecurrentForCausalLM)
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(weight, loaded.state_dict()[name]) for name, weight in model.state_dict().items())
    assert (loaded.lm_head.weight is loaded.model.embed_tokens.weight) == tied
    ids = tokens(2, 9)
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits, model(ids).logits, atol=1e-6, rtol=0)
    assert isinstance(AutoModel.from_pretrained(tmp_path), RecurrentModel)
    assert AutoConfig.from_pretrained(tmp_path).cell_type == cell
    again = build_causal_lm(ModelConfig(name=str(tmp_path)), FewTokens(), block_size=16)
    assert torch.equal(again.base_model.layers[1].cell.weight_hh_l0, model.base_model.layers[1].cell.weight_hh_l0)


def generate(model: RecurrentForCausalLM, ids: torch.Tensor, **settings: object) -> torch.Tensor:
    fixed = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, "pad_token_id": 2}
    return model.generate(ids, **{**fixed, **settings})[:, ids.shape[1] :]


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_generation_with_cache_equals_without(cell: str, beams: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids = build(cell), tokens(4, 7)
    lengths = []
    model.model.register_forward_pre_hook(
        lambda module, args, kwargs: lengths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    cached = generate(model, ids, use_cache=True, num_beams=beams)
    assert lengths == [7] + [1] * 11, "behind a cache only the last token is computed"
    assert torch.equal(cached, generate(model, ids, use_cache=False, num_beams=beams))
    assert len(cached.unique()) > 8, "not one token over and over"


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("cell", CELLS)
def test_padded_prompts_generate_as_unpadded_ones(cell: str, side: str, use_cache: bool) -> None:
    model, lengths = build(cell), [7, 3, 1]
    ids, mask = torch.full((3, 7), 2), torch.zeros(3, 7, dtype=torch.long)
    prompts = [tokens(length, seed=length) for length in lengths]
    for row, prompt in enumerate(prompts):
        place = slice(7 - len(prompt), 7) if side == "left" else slice(0, len(prompt))
        ids[row, place], mask[row, place] = prompt, 1
    padded = generate(model, ids, attention_mask=mask, use_cache=use_cache)
    for row, prompt in enumerate(prompts):
        assert torch.equal(padded[row], generate(model, prompt[None], use_cache=False)[0])


@pytest.mark.parametrize("cell", CELLS)
def test_a_mask_without_position_ids_takes_padding_out(cell: str) -> None:
    model, ids = build(cell), tokens(1, 6)
    holed = torch.tensor([[2, ids[0, 0], ids[0, 1], 2, *ids[0, 2:], 2]])
    mask = torch.tensor([[0, 1, 1, 0, 1, 1, 1, 1, 0]])
    with torch.no_grad():
        logits = model(input_ids=holed, attention_mask=mask, use_cache=False).logits
        torch.testing.assert_close(logits[0, mask[0].bool()], alone(model, ids[0]), atol=1e-5, rtol=0)
        with pytest.raises(ValueError, match="must be 2-D"):
            model(input_ids=holed, attention_mask=mask[:, None, None])
        with pytest.raises(ValueError, match="no token"):
            model(input_ids=holed, attention_mask=mask * 0)


@pytest.mark.parametrize("cell", CELLS)
def test_a_cache_goes_on_where_it_stopped(cell: str) -> None:
    model, ids = build(cell), tokens(2, 11)
    with torch.no_grad():
        first = model(ids[:, :4], use_cache=True)
        second = model(ids[:, 4:], past_key_values=first.past_key_values, use_cache=True)
        whole = model(ids, use_cache=False).logits
        assert second.past_key_values.get_seq_length() == 11
        torch.testing.assert_close(torch.cat([first.logits, second.logits], 1), whole, atol=1e-5, rtol=0)
        restarted = model(
            ids[:, 4:], position_ids=torch.arange(7)[None], past_key_values=first.past_key_values, use_cache=True
        )
        torch.testing.assert_close(restarted.logits, model(ids[:, 4:]).logits, atol=1e-5, rtol=0)


def test_hidden_states_and_labels_as_in_transformers() -> None:
    model, ids = build("gru"), tokens(2, 9)
    output = model(ids, labels=ids, output_hidden_states=True)
    assert [tuple(states.shape) for states in output.hidden_states] == [(2, 9, 24), (2, 9, 32), (2, 9, 32)]
    by_hand = torch.nn.functional.cross_entropy(output.logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    torch.testing.assert_close(output.loss, by_hand)


def test_a_larger_tokenizer_enlarges_the_tables() -> None:
    model = build("lstm")
    model.resize_token_embeddings(VOCABULARY + 3)
    assert model(tokens(1, 4)).logits.shape[-1] == VOCABULARY + 3
    assert model.lm_head.weight is model.model.embed_tokens.weight


# ------------------------------------------------------------ cost and sizes


@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3)])
def test_flops_by_hand(cell: str, gates: int) -> None:
    """Multiply-adds as two, backward twice forward: 6 x (gates (H E + H H) in each layer + H E + E V)."""
    first, second = gates * 32 * (24 + 32), gates * 32 * (32 + 32)
    for tied in (True, False):
        model = build(cell, tie_word_embeddings=tied)
        expected = 6 * (first + second + 32 * 24 + 24 * VOCABULARY)
        assert training_flops_per_token(model, 16) == training_flops_per_token(model, 256) == expected
    same = build(cell, embedding_size=32)
    assert training_flops_per_token(same, 16) == 6 * (gates * 4 * 32 * 32 + 32 * VOCABULARY)


@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3)])
def test_parameters_by_hand(cell: str, gates: int) -> None:
    layers = gates * 32 * (24 + 32 + 2) + gates * 32 * (32 + 32 + 2)
    counts = count_parameters(build(cell))
    assert counts == {
        "total": layers + 32 * 24 + VOCABULARY * 24,
        "trainable": layers + 32 * 24 + VOCABULARY * 24,
        "embedding": VOCABULARY * 24,
    }


@pytest.mark.parametrize(("size", "vocabulary"), [("tiny", 4096), ("small", 8192)])
@pytest.mark.parametrize("cell", CELLS)
def test_presets_have_the_parameters_of_the_llama_of_their_name(cell: str, size: str, vocabulary: int) -> None:
    totals = []
    for name in (f"{cell}-{size}", size):
        values = dict(PRESETS[name])
        config = AutoConfig.for_model(values.pop("model_type"), vocab_size=vocabulary, **values)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        model.tie_weights()
        totals.append(count_parameters(model)["total"])
    assert totals[0] == pytest.approx(totals[1], rel=0.01)


def test_a_memory_formula_needs_no_heads() -> None:
    assert formula_activations(build("lstm").config, 2, 16, bf16=True) == 2 * 2 * 16 * 34 * 32


# ------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"cell_type": "rnn"}, ["cell_type", "'lstm', 'gru'", "rnn"]),
        ({"hidden_size": 0}, ["hidden_size must be at least 1; found 0"]),
        ({"embedding_size": -3}, ["embedding_size must be at least 1; found -3"]),
        ({"dropout": 1.0}, ["dropout must be at least 0 and below 1, found 1.0"]),
        ({"hiden_size": 3}, ["hiden_size is no setting of a recurrent config", "'hidden_size'"]),
    ],
)
def test_bad_settings_are_refused(settings: dict, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        build_causal_lm(ModelConfig(config=SIZES | settings), FewTokens(), block_size=16)
    for part in parts:
        assert part in str(error.value)


def test_any_attention_that_runs_here_is_accepted() -> None:
    for attention in ("sdpa", "eager"):
        config = ModelConfig(config=SIZES, attn_implementation=attention)
        assert build_causal_lm(config, FewTokens(), block_size=16).config.cell_type == "lstm"


# ------------------------------------------------------------ the recipe

MODEL = "{model_type: recurrent, cell_type: lstm, hidden_size: 32, embedding_size: 24, dropout: 0.1}"


def run(corpus_file: Path, folder: Path, *flags: str) -> bytes:
    """The weights after 12 steps with Muon, as bytes."""
    options = ("--model.config", MODEL, "--training.optim", "muon", "--training.save_total_limit", "null")
    every = tiny_run(corpus_file, folder, *options, *flags)
    pretrain_clm.main(parse_config(pretrain_clm.Config, str(RECIPES / "pretrain_clm.py"), every))
    return (folder / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def finished(corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recurrent") / "finished"
    run(corpus_file, folder)
    return folder


def test_a_run_finishes_and_its_loss_falls(finished: Path) -> None:
    losses = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1]["eval_loss"] < losses[0]["loss"]
    plan = json.loads((finished / "plan.json").read_text())
    assert plan["flops_per_token"] == 6 * (128 * (24 + 32) + 128 * (32 + 32) + 32 * 24 + 24 * plan["vocab_size"])


def test_resuming_is_bitwise_the_uninterrupted_run(finished: Path, corpus_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "model")
    (folder / "metrics.json").unlink()
    for step in (8, 12):
        shutil.rmtree(folder / "checkpoints" / f"checkpoint-{step}")
    assert run(corpus_file, folder) == (finished / "model" / "model.safetensors").read_bytes()


def test_recomputing_activations_changes_nothing(finished: Path, corpus_file: Path, tmp_path: Path) -> None:
    weights = run(corpus_file, tmp_path / "run", "--training.activation_checkpointing", "true")
    assert weights == (finished / "model" / "model.safetensors").read_bytes()


@pytest.mark.processes
def test_the_model_card_code_runs_by_itself(finished: Path) -> None:
    """In a process that has not imported anything of Plumbline."""
    code = (finished / "model" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert "import pipelines.models.recurrent" in code
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=finished / "model",
        env={"PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()
