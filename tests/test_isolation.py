"""Packed documents give the logits of separate ones, for every architecture and attention listed as supported."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from pipelines.data.packing import PackedDocuments
from pipelines.errors import ConfigError
from pipelines.models.attention_check import check_attention
from pipelines.models.build import build_causal_lm
from pipelines.sections import ModelConfig

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
GROUPED = SIZES | {"num_key_value_heads": 1, "head_dim": 16}
# docs/models.md lists these as supported; sliding windows are shorter than the longest document below.
SUPPORTED = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2},
    "llama": GROUPED,
    "qwen2": SIZES | {"num_key_value_heads": 1},
    "qwen3": GROUPED,
    "gpt_neox": SIZES,
    "mistral": GROUPED | {"sliding_window": 8},
    "smollm3": SIZES | {"num_key_value_heads": 1},
    "olmo2": SIZES | {"num_key_value_heads": 2},
    "phi3": SIZES | {"num_key_value_heads": 2},
    "granite": SIZES | {"num_key_value_heads": 1},
    "gemma3_text": GROUPED | {"sliding_window": 8},
    "modernbert-decoder": SIZES | {"local_attention": 8},
}
LEAKING = {"opt": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 64,
                   "word_embed_proj_dim": 32}}  # fmt: skip
TOKENIZER_LENGTH = 64


class FewTokens:
    """As much of a tokenizer as building a model asks for."""

    bos_token_id, eos_token_id, pad_token_id = 0, 1, 2

    def get_vocab(self) -> dict[str, int]:
        return {str(index): index for index in range(TOKENIZER_LENGTH)}


def build(model_type: str, sizes: dict, attention: str) -> torch.nn.Module:
    torch.manual_seed(0)
    config = ModelConfig(config={"model_type": model_type, **sizes}, attn_implementation=attention)
    model = build_causal_lm(config, FewTokens(), block_size=64)
    for parameter in model.parameters():  # larger than drawn, so that a leak is far above rounding
        if parameter.ndim == 2:
            parameter.data.mul_(5)
    return model.eval()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("model_type", SUPPORTED)
def test_packed_documents_equal_separate_ones(model_type: str, attention: str) -> None:
    model = build(model_type, SUPPORTED[model_type], attention)
    lengths = [3, 1, 30, 12, 5]
    tokens = torch.randint(0, TOKENIZER_LENGTH, (sum(lengths),), generator=torch.Generator().manual_seed(1))
    starts = torch.tensor([0, *torch.tensor(lengths).cumsum(0)[:-1]])
    documents = PackedDocuments(tokens.numpy(), starts.numpy(), None, block_size=64, pad_token_id=2)
    block = {name: torch.from_numpy(values)[None] for name, values in documents.block(0).items()}
    with torch.no_grad():
        packed = model(input_ids=block["input_ids"], position_ids=block["position_ids"], use_cache=False).logits[0]
        for start, length in zip(starts.tolist(), lengths, strict=True):
            alone = model(input_ids=tokens[start : start + length][None], use_cache=False).logits[0]
            torch.testing.assert_close(packed[start : start + length], alone, atol=1e-5, rtol=1e-5)
    assert max(check_attention(model, isolate_documents=True).values()) < 1e-5


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("model_type", LEAKING)
def test_a_leaking_architecture_is_refused(model_type: str, attention: str) -> None:
    with pytest.raises(ConfigError, match=f"In a {model_type} model .* see each other.*isolate_documents false"):
        check_attention(build(model_type, LEAKING[model_type], attention), isolate_documents=True)
    check_attention(build(model_type, LEAKING[model_type], attention), isolate_documents=False)


def test_an_attention_mask_of_ones_would_leak() -> None:
    """Why batches carry no attention_mask: the check sees the leak that one brings."""
    model = build("llama", SUPPORTED["llama"], "sdpa")
    plain = model.forward

    def with_mask(**inputs: torch.Tensor) -> object:
        return plain(**inputs, attention_mask=torch.ones_like(inputs["input_ids"]))

    model.forward = with_mask
    with pytest.raises(ConfigError, match="see each other"):
        check_attention(model, isolate_documents=True)


def test_a_model_that_sees_the_future_is_refused() -> None:
    """BERT without is_decoder: the token to predict would be in its input."""
    with pytest.raises(ConfigError, match="positions see later ones.*is_decoder"):
        check_attention(build("bert", SIZES, "sdpa"), isolate_documents=False)


def test_supported_architectures_exist_in_transformers() -> None:
    for model_type in SUPPORTED:
        assert type(AutoConfig.for_model(model_type)) in AutoModelForCausalLM._model_mapping
