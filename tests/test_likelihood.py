"""Log-likelihoods of continuations: equal to a loop without padding, whatever is computed together."""

import copy
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from architectures import DECODERS, SIZES
from conftest import sentences
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

import pipelines.models.recurrent  # noqa: F401  registers its model type
from pipelines.data.tokenizer_training import train_tokenizer
from pipelines.errors import ConfigError, DataError
from pipelines.evaluation import likelihood
from pipelines.evaluation.likelihood import Scores, continuation_scores
from pipelines.sections import ModelConfig
from pipelines.task_sections import LoraConfig
from pipelines.training.lora import add_lora

POSITIONS = 96
RECURRENT = {"model_type": "recurrent", "hidden_size": 32, "num_hidden_layers": 2}
KINDS = ("llama", "gpt2", "mistral", "recurrent")
TEXTS = sentences(40, seed=3)
WORDS = (" returns", " holds", " copies", " sorts", " reduces", " describes")
REQUESTS = [
    *(
        (text[: 7 + 9 * place], (" yes", " no", " The array returns its own shape 17."))
        for place, text in enumerate(TEXTS[:8])
    ),
    *((text[:40], WORDS) for text in TEXTS[8:12]),
    *((text, (" never",)) for text in TEXTS[12:15]),
    ("Größe: ", ("über 3 µm", "ja")),
]


@cache
def tokenizer_of(begins: bool = True) -> Any:
    """Byte-level BPE in which WORDS are tokens; texts begin with BOS or, as GPT-2's, with nothing."""
    tokenizer = train_tokenizer([[*sentences(300), *(word * 9 for word in WORDS)]], "bpe", 400)
    if not begins:
        from tokenizers import processors

        tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
        tokenizer.bos_token = None
    return tokenizer


@cache
def model_of(kind: str) -> Any:
    """A random model whose logits differ enough to tell tokens apart."""
    torch.manual_seed(1)
    values = RECURRENT if kind == "recurrent" else {"model_type": kind, **DECODERS[kind]}
    positions = {} if kind == "recurrent" else {"max_position_embeddings": POSITIONS}
    config = AutoConfig.for_model(**values, **positions, vocab_size=400)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(8)
    return model.eval()


def by_hand(model: Any, tokenizer: Any, prompt: str, continuation: str, first: list[int]) -> tuple[float, int]:
    """Log-likelihood and tokens: one row, all logits, token by token."""
    context = [*first, *tokenizer(prompt.rstrip(), add_special_tokens=False)["input_ids"]]
    whole = [*first, *tokenizer(prompt + continuation, add_special_tokens=False)["input_ids"]]
    assert whole[: len(context)] == context
    with torch.no_grad():
        log_p_TV = model(torch.tensor([whole])).logits[0].double().log_softmax(dim=-1)
    scored = range(len(context), len(whole))
    return sum(float(log_p_TV[place - 1, whole[place]]) for place in scored), len(scored)


def assert_equal(found: list[Scores], expected: list[Scores], atol: float = 1e-5) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.log_likelihoods_C, other.log_likelihoods_C, atol=atol, rtol=0)
        assert one.tokens_C.tolist() == other.tokens_C.tolist()
        assert one.is_cut == other.is_cut


@pytest.mark.parametrize("max_tokens", [None, 8, 200, 100_000])
@pytest.mark.parametrize("kind", KINDS)
def test_equal_to_a_loop_without_padding(kind: str, max_tokens: int | None) -> None:
    model, tokenizer = model_of(kind), tokenizer_of()
    found = continuation_scores(model, tokenizer, REQUESTS, max_tokens, POSITIONS)
    for (prompt, candidates), scores in zip(REQUESTS, found, strict=True):
        expected = [by_hand(model, tokenizer, prompt, one, [tokenizer.bos_token_id]) for one in candidates]
        np.testing.assert_allclose(scores.log_likelihoods_C, [value for value, _ in expected], atol=1e-5, rtol=0)
        assert scores.tokens_C.tolist() == [tokens for _, tokens in expected]
        assert scores.bytes_C.tolist() == [len(one.encode()) for one in candidates]
        assert not scores.is_cut
    assert max(tokens for scores in found for tokens in scores.tokens_C) > 5
    assert found[-1].bytes_C.tolist() == [11, 2]


def test_a_tokenizer_that_begins_texts_with_nothing() -> None:
    model, tokenizer = model_of("gpt2"), tokenizer_of(begins=False)
    assert tokenizer("")["input_ids"] == []
    found = continuation_scores(model, tokenizer, REQUESTS, 200, POSITIONS)
    for (prompt, candidates), scores in zip(REQUESTS, found, strict=True):
        expected = [by_hand(model, tokenizer, prompt, one, [])[0] for one in candidates]
        np.testing.assert_allclose(scores.log_likelihoods_C, expected, atol=1e-5, rtol=0)


def test_candidates_of_one_token_cost_one_row() -> None:
    """And are as if each were asked for alone, or computed as what begins a longer row."""
    model, tokenizer = model_of("llama"), tokenizer_of()
    shapes = []
    watch = model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    prompt = TEXTS[20]
    try:
        together = continuation_scores(model, tokenizer, [(prompt, WORDS)], None, POSITIONS)[0]
        assert shapes[2:] == [(1, shapes[2][1])]  # two are the probe of the head
        shapes.clear()
        longer = continuation_scores(model, tokenizer, [(prompt, (*WORDS, " holds its own shape"))], None, POSITIONS)[0]
        assert [rows for rows, _ in shapes[2:]] == [1]
    finally:
        watch.remove()
    assert together.tokens_C.tolist() == [1] * len(WORDS)
    alone = [continuation_scores(model, tokenizer, [(prompt, [word])], None, POSITIONS)[0] for word in WORDS]
    expected = [float(one.log_likelihoods_C[0]) for one in alone]
    np.testing.assert_allclose(together.log_likelihoods_C, expected, atol=1e-5, rtol=0)
    np.testing.assert_allclose(longer.log_likelihoods_C[:-1], expected, atol=1e-5, rtol=0)


def test_logits_are_computed_where_a_token_is_scored(monkeypatch) -> None:
    """And everywhere, to the same end, where a model's head does not allow that; no hook stays behind."""
    model, tokenizer, rows = model_of("llama"), tokenizer_of(), []
    watch = model.lm_head.register_forward_pre_hook(lambda module, args: rows.append(args[0].shape[:-1].numel()))
    try:
        sparse = continuation_scores(model, tokenizer, REQUESTS, 100_000, POSITIONS)
        assert rows[-1] < sum(int(scores.tokens_C.sum()) for scores in sparse)
        monkeypatch.setattr(likelihood.SparseHead, "agrees_with", lambda *args: False)
        assert_equal(continuation_scores(model, tokenizer, REQUESTS, 100_000, POSITIONS), sparse)
        assert rows[-1] > 1000
    finally:
        watch.remove()
    assert not model.base_model._forward_hooks


def test_blanks_at_the_end_of_a_prompt_belong_to_the_continuation() -> None:
    model, tokenizer = model_of("llama"), tokenizer_of()
    inside, outside = continuation_scores(
        model, tokenizer, [("Each row ", ("holds", "sorts")), ("Each row", (" holds", " sorts"))], None, POSITIONS
    )
    assert_equal([inside], [outside])
    assert inside.tokens_C.tolist() == [1, 1]
    assert (inside.bytes_C.tolist(), outside.bytes_C.tolist()) == ([5, 5], [6, 6])


def test_a_token_that_reaches_over_the_boundary_is_scored() -> None:
    """All candidates then go on from the same context."""
    model, tokenizer = model_of("llama"), tokenizer_of()
    encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    prompt, candidates = "Each row hold", ("s", "!")
    before, merged, apart = encode("Each row"), encode("Each row holds"), encode("Each row hold!")
    assert len(merged) == len(before) + 1 < len(apart) - 1
    scores = continuation_scores(model, tokenizer, [(prompt, candidates)], None, POSITIONS)[0]
    expected = [by_hand(model, tokenizer, "Each row", " hold" + end, [tokenizer.bos_token_id]) for end in candidates]
    np.testing.assert_allclose(scores.log_likelihoods_C, [value for value, _ in expected], atol=1e-5, rtol=0)
    assert scores.tokens_C.tolist() == [tokens for _, tokens in expected] == [1, len(apart) - len(before)]


@pytest.mark.parametrize("max_length", [24, POSITIONS, 10_000])
def test_a_long_prompt_loses_its_beginning(max_length: int) -> None:
    """But not its BOS, and as much for each candidate."""
    model, tokenizer = model_of("gpt2"), tokenizer_of()
    prompt, candidates = " ".join(TEXTS), (" yes", " The array returns its own shape.")
    long, short = continuation_scores(model, tokenizer, [(prompt, candidates), ("A row", (" yes",))], 64, max_length)
    assert (long.is_cut, short.is_cut) == (True, False)
    positions, bos = min(max_length, POSITIONS), tokenizer.bos_token_id
    continuations = [tokenizer(one, add_special_tokens=False)["input_ids"] for one in candidates]
    room = positions - 1 - max(map(len, continuations)) + 1
    context = [bos, *tokenizer(prompt, add_special_tokens=False)["input_ids"][-room:]]
    for found, tokens in zip(long.log_likelihoods_C, continuations, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([[*context, *tokens[:-1]]])).logits[0, len(context) - 1 :]
        expected = logits.double().log_softmax(dim=-1)[range(len(tokens)), tokens].sum()
        assert float(expected) == pytest.approx(found, abs=1e-5)
    assert len(context) + len(continuations[1]) - 1 == positions


@pytest.mark.parametrize("begins", [True, False])
def test_an_empty_prompt_is_bos_or_eos(begins: bool) -> None:
    model, tokenizer = model_of("llama"), tokenizer_of(begins)
    first = tokenizer.bos_token_id if begins else tokenizer.eos_token_id
    for prompt in ("", " \n"):
        found = continuation_scores(model, tokenizer, [(prompt, ("Each row", "A"))], None, POSITIONS)[0]
        expected = [by_hand(model, tokenizer, prompt, one, [first]) for one in ("Each row", "A")]
        np.testing.assert_allclose(found.log_likelihoods_C, [value for value, _ in expected], atol=1e-5, rtol=0)


def test_what_cannot_be_scored() -> None:
    model, tokenizer = model_of("llama"), tokenizer_of()
    nothing = copy.deepcopy(tokenizer_of(begins=False))
    nothing.eos_token = None

    def scores(requests: Any, tokenizer: Any = tokenizer, max_length: int = POSITIONS) -> Any:
        return continuation_scores(model, tokenizer, requests, None, max_length)

    assert scores([]) == []
    assert len(scores([("A row", (" yes",))], nothing)) == 1
    with pytest.raises(ConfigError, match="Request 0: the prompt is empty, and this tokenizer has neither BOS nor EOS"):
        scores([("", ("yes",))], nothing)
    with pytest.raises(DataError, match="Request 1 has no continuations"):
        scores([("a", ("yes",)), ("b", ())])
    with pytest.raises(DataError, match="Request 0: the continuation '' has no token"):
        scores([("a ", ("yes", ""))])
    long = " holds" * 30
    with pytest.raises(
        DataError, match="has 30 tokens, which with what it goes on from take 30 positions; there are 2"
    ):
        scores([("a", (long, " yes"))], max_length=29)
    assert scores([("a", (long, " yes"))], max_length=30)[0].is_cut


@pytest.mark.parametrize(
    ("auto", "values"),
    [
        (AutoModelForMaskedLM, {"model_type": "bert", **SIZES}),
        (AutoModelForCausalLM, {"model_type": "bert", **SIZES}),  # without is_decoder it sees what follows
        (
            AutoModelForSeq2SeqLM,
            {"model_type": "t5", "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2},
        ),
    ],
)
def test_only_causal_language_models(auto: Any, values: dict[str, Any]) -> None:
    config = AutoConfig.for_model(**values, vocab_size=400, decoder_start_token_id=0)
    with pytest.raises(ConfigError, match="by causal language models only"):
        continuation_scores(auto.from_config(config), tokenizer_of(), [("a", ("b",))], None, 64)


def test_lora_and_training_mode() -> None:
    """A model with LoRA is scored with it, and left as it was."""
    plain, tokenizer = copy.deepcopy(model_of("llama")), tokenizer_of()
    expected = continuation_scores(plain, tokenizer, REQUESTS[:3], None, POSITIONS)
    model = add_lora(plain, LoraConfig(r=2, lora_dropout=0.5), ModelConfig(name="a checkpoint"), [])
    model.train()
    assert_equal(continuation_scores(model, tokenizer, REQUESTS[:3], None, POSITIONS), expected)
    assert model.training
    torch.manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.05)
    changed = continuation_scores(model, tokenizer, REQUESTS[:3], None, POSITIONS)
    assert abs(changed[0].log_likelihoods_C - expected[0].log_likelihoods_C).max() > 1e-3
    merged = model.merge_and_unload()
    assert_equal(continuation_scores(merged, tokenizer, REQUESTS[:3], None, POSITIONS), changed, atol=1e-4)


@pytest.mark.processes
def test_two_processes_equal_one(tmp_path: Path) -> None:
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = subprocess.run([*launcher, __file__, str(tmp_path)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    expected = continuation_scores(model_of("llama"), tokenizer_of(), REQUESTS, 64, POSITIONS)
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found["processes"] == 2
        for one, other in zip(found["scores"], expected, strict=True):
            np.testing.assert_allclose(one, other.log_likelihoods_C, atol=1e-5, rtol=0)


def main(folder: Path) -> None:
    """Runs under torchrun."""
    from accelerate import PartialState

    state = PartialState(cpu=True)
    torch.set_num_threads(1)
    found = continuation_scores(model_of("llama"), tokenizer_of(), REQUESTS, 64, POSITIONS)
    scores = [one.log_likelihoods_C.tolist() for one in found]
    facts = {"processes": state.num_processes, "scores": scores}
    (folder / f"{state.process_index}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
