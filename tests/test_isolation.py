"""Packed documents give the logits of separate ones, for every architecture and attention listed as supported."""

import pytest
import torch
from architectures import (
    CASES,
    DECODERS,
    ENCODERS,
    LEAKING_CASES,
    TABLES,
    VOCABULARY,
    build,
    objective_of,
    written,
)
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

from pipelines.data.packing import PackedDocuments
from pipelines.errors import ConfigError
from pipelines.models.attention_check import check_attention, check_encoder
from pipelines.models.encoder_inputs import EncoderInputs

LENGTHS = [3, 1, 30, 12, 5]


def enlarged(model_type: str, attention: str | None = None) -> torch.nn.Module:
    """With weights larger than drawn, so that a leak is far above rounding."""
    model = build(model_type, attention)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data.mul_(5)
    return model.eval()


def check(model: torch.nn.Module, isolate_documents: bool = True) -> object:
    """What a recipe measures before it trains."""
    checker = check_encoder if objective_of(model.config.model_type) == "masked" else check_attention
    return checker(model, isolate_documents)


def packed_block() -> dict[str, torch.Tensor]:
    tokens = torch.randint(4, VOCABULARY, (sum(LENGTHS),), generator=torch.Generator().manual_seed(1))
    starts = torch.tensor([0, *torch.tensor(LENGTHS).cumsum(0)[:-1]])
    documents = PackedDocuments(tokens.numpy(), starts.numpy(), None, block_size=64, pad_token_id=2)
    return {name: torch.from_numpy(values)[None] for name, values in documents.block(0).items()}


@pytest.mark.parametrize(("model_type", "attention"), CASES)
def test_packed_documents_equal_separate_ones(model_type: str, attention: str) -> None:
    model, block = enlarged(model_type, attention), packed_block()
    assert model.config._attn_implementation == attention
    if objective_of(model_type) == "masked":
        inputs, tolerance = EncoderInputs(model)(block), 2e-5
    else:
        inputs, tolerance = {"position_ids": block["position_ids"], "input_ids": block["input_ids"]}, 1e-5
    with torch.no_grad():
        packed = model(**inputs).logits[0, : sum(LENGTHS)].split(LENGTHS)
        for part, ids in zip(packed, block["input_ids"][0, : sum(LENGTHS)].split(LENGTHS), strict=True):
            torch.testing.assert_close(part, model(input_ids=ids[None]).logits[0], atol=tolerance, rtol=tolerance)
    check(model)


@pytest.mark.parametrize(("model_type", "attention"), LEAKING_CASES)
def test_a_leaking_architecture_is_refused(model_type: str, attention: str) -> None:
    with pytest.raises(ConfigError, match=f"In a {model_type} model .* see each other.*isolate_documents false"):
        check(enlarged(model_type, attention))
    check(enlarged(model_type, attention), isolate_documents=False)


def test_an_attention_mask_of_ones_would_leak() -> None:
    """Why batches carry no attention_mask: the check sees the leak that one brings."""
    model = enlarged("llama")
    plain = model.forward

    def with_mask(**inputs: torch.Tensor) -> object:
        return plain(**inputs, attention_mask=torch.ones_like(inputs["input_ids"]))

    model.forward = with_mask
    with pytest.raises(ConfigError, match="see each other"):
        check_attention(model, isolate_documents=True)


@pytest.mark.parametrize("wrong", ["ones", "selecting"])
def test_a_wrong_mask_of_an_encoder_would_leak(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mask of ones isolates nothing; one of True and False is added as 1 and 0 by eager attention."""
    model = enlarged("bert", "eager")
    if wrong == "ones":
        monkeypatch.setattr(
            EncoderInputs, "_mask", lambda self, visible: torch.ones_like(visible[:, 0], dtype=torch.long)
        )
    else:
        monkeypatch.setattr(EncoderInputs, "_mask", lambda self, visible: visible[:, None])
    with pytest.raises(ConfigError, match="see each other"):
        check_encoder(model, isolate_documents=True)


def test_one_mask_for_all_layers_of_modernbert_is_seen() -> None:
    """A single mask replaces the sliding window too: documents longer than it would see too much."""
    model, block = enlarged("modernbert"), packed_block()
    inputs = EncoderInputs(model)(block)
    inputs["attention_mask"] = inputs["attention_mask"]["full_attention"]
    with torch.no_grad():
        packed = model(**inputs).logits[0, 4:34]
        alone = model(input_ids=block["input_ids"][:, 4:34]).logits[0]
    assert float((packed - alone).abs().max()) > 1e-3


@pytest.mark.parametrize("vocabulary", [74, 113])
def test_padding_in_the_probe_is_no_leak(vocabulary: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With so many entries, random tokens of the probe hold the padding id, from which RoBERTa counts positions."""
    monkeypatch.setattr("architectures.VOCABULARY", vocabulary)
    check_encoder(build("roberta"), isolate_documents=True)


def test_a_model_that_sees_the_future_is_refused() -> None:
    """BERT without is_decoder: the token to predict would be in its input."""
    with pytest.raises(ConfigError, match=r"positions see later ones.*is_decoder.*pretrain_mlm\.py"):
        check_attention(enlarged("bert"), isolate_documents=False)


def test_an_encoder_that_sees_one_side_only_is_refused() -> None:
    model = enlarged("bert")
    model.config.is_decoder = True
    for layer in model.bert.encoder.layer:
        layer.attention.self.is_causal = True
    model.bert.config.is_decoder = True
    with pytest.raises(ConfigError, match=r"do not see later ones.*pretrain_clm\.py"):
        check_encoder(model, isolate_documents=False)


def test_supported_architectures_exist_in_transformers() -> None:
    assert len(DECODERS) > 10
    assert len(ENCODERS) > 10
    for auto_class, model_types in ((AutoModelForCausalLM, DECODERS), (AutoModelForMaskedLM, ENCODERS)):
        for model_type in model_types:
            assert type(AutoConfig.for_model(model_type)) in auto_class._model_mapping


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_of_the_docs_are_what_is_tested(name: str) -> None:
    """Made anew by `python tests/architectures.py`."""
    assert written(name) == TABLES[name]()
