"""Evaluation figures: independent of the batch, equal to values worked out by hand, on the baseline's positions."""

import math

import numpy as np
import pytest
import torch
from exact_step import build

from pipelines.data.collation import BlockCollator
from pipelines.data.order import TrainingOrder
from pipelines.data.packing import PackedDocuments, TrainingBlocks
from pipelines.evaluation.language_modeling import (
    evaluate_language_model,
    language_model_metrics,
    ngram_baseline,
    sample_continuations,
)
from pipelines.models.ngram import KneserNeyModel
from pipelines.sections import LanguageModelEvaluationConfig
from pipelines.training.objectives import CausalLanguageModeling


@pytest.fixture(scope="module")
def documents() -> PackedDocuments:
    lengths = [1, 2, 40, 3, 1, 20, 9, 30, 6, 33]
    tokens = np.random.default_rng(1).integers(3, 64, sum(lengths)).astype(np.int32)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64)
    return PackedDocuments(tokens, starts, np.full(len(tokens), 2, dtype=np.int32), block_size=16, pad_token_id=2)


def evaluate(documents: PackedDocuments, batch_size: int, bf16: bool = False, max_blocks: int | None = None) -> dict:
    objective = CausalLanguageModeling(bf16)
    return evaluate_language_model(build("gpt2"), documents, objective, BlockCollator(), batch_size, max_blocks)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_loss_does_not_depend_on_the_batch_size(documents: PackedDocuments, batch_size: int) -> None:
    expected, found = evaluate(documents, batch_size=2), evaluate(documents, batch_size)
    assert found["eval_loss"] == pytest.approx(expected["eval_loss"], abs=1e-6)
    assert found["eval_tokens"] == expected["eval_tokens"] == documents.targets
    assert found["eval_bits_per_byte"] == pytest.approx(expected["eval_bits_per_byte"], abs=1e-6)


def test_bf16_is_near_fp32_whatever_the_batch_size(documents: PackedDocuments) -> None:
    expected = evaluate(documents, 8)["eval_loss"]
    for batch_size in (1, 3, 8):
        assert evaluate(documents, batch_size, bf16=True)["eval_loss"] == pytest.approx(expected, abs=2e-3)


def test_loss_is_the_mean_over_documents_alone(documents: PackedDocuments) -> None:
    """Each piece of a document inside a block by itself: no packing, no batch, no padding."""
    model, nats, count = build("gpt2").eval(), 0.0, 0
    tokens, starts = documents.segments(np.arange(len(documents)))
    with torch.no_grad():
        for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
            ids = torch.from_numpy(tokens[start:end].astype(np.int64))[None]
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits[0].double()
            nats += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
            count += ids.shape[1] - 1
    found = evaluate(documents, 3)
    assert count == found["eval_tokens"]
    assert found["eval_loss"] == pytest.approx(nats / count, abs=1e-6)


def test_figures_by_hand() -> None:
    figures = language_model_metrics(nats=math.log(2) * 30, tokens=10, target_bytes=15)
    assert figures["loss"] == pytest.approx(3 * math.log(2))
    assert figures["perplexity"] == pytest.approx(8)
    assert figures["bits_per_byte"] == pytest.approx(2)


def test_first_blocks_only(documents: PackedDocuments) -> None:
    found = evaluate(documents, 4, max_blocks=3)
    assert found["eval_tokens"] == documents.targets_per_block()[:3].sum()
    assert found["eval_bytes"] == 2 * found["eval_tokens"]
    assert evaluate(documents, 4, max_blocks=1000)["eval_tokens"] == documents.targets


def test_evaluation_leaves_mode_and_random_numbers_alone(documents: PackedDocuments) -> None:
    model = build("gpt2").train()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    objective = CausalLanguageModeling(bf16=False)
    evaluate_language_model(model, documents, objective, BlockCollator(), 4)
    sample_continuations(
        model, _Letters(), documents, LanguageModelEvaluationConfig(samples=2, sample_new_tokens=3), 0, None
    )
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)


def baseline_of(documents: PackedDocuments, order: int, rows: int, max_blocks: int | None = None):
    run = TrainingBlocks(documents, TrainingOrder(len(documents), seed=0), rows, rows)
    config = LanguageModelEvaluationConfig(ngram_order=order, max_blocks=max_blocks)
    return ngram_baseline(run, documents, 64, config)


@pytest.mark.parametrize("max_blocks", [None, 4])
def test_baseline_is_scored_on_the_same_positions(documents: PackedDocuments, max_blocks: int | None) -> None:
    figures, model = baseline_of(documents, 3, rows=4, max_blocks=max_blocks)
    neural = evaluate(documents, 4, max_blocks=max_blocks)
    assert figures["baseline_kneser_ney_3gram_tokens"] == neural["eval_tokens"]
    assert figures["baseline_kneser_ney_3gram_bytes"] == neural["eval_bytes"]
    assert model.order == 3


def test_baseline_sees_the_blocks_of_the_run_and_no_other(documents: PackedDocuments) -> None:
    """Two rows of the run are two blocks: the figures are those of a model fitted on these blocks alone."""
    figures, _ = baseline_of(documents, 2, rows=2)
    seen = np.sort(TrainingOrder(len(documents), seed=0).epoch_permutation(0)[:2])
    alone = KneserNeyModel.fit(*documents.segments(seen), vocab_size=64, order=2)
    scores = alone.log_probabilities(*documents.segments(np.arange(len(documents))))
    assert figures["baseline_kneser_ney_2gram_loss"] == pytest.approx(-np.nanmean(scores))
    everything, _ = baseline_of(documents, 2, rows=len(documents))
    assert everything["baseline_kneser_ney_2gram_loss"] < figures["baseline_kneser_ney_2gram_loss"]


def test_no_order_is_no_baseline(documents: PackedDocuments) -> None:
    assert baseline_of(documents, None, rows=4) == ({}, None)


def test_samples_show_prompt_reference_and_expectations(documents: PackedDocuments) -> None:
    _, baseline = baseline_of(documents, 2, rows=3)
    config = LanguageModelEvaluationConfig(samples=2, sample_new_tokens=5)
    samples = sample_continuations(build("gpt2"), _Letters(), documents, config, seed=0, baseline=baseline)
    assert len(samples["samples"]) == 2
    for sample in samples["samples"]:
        assert sample["prompt"]
        assert sample["reference"]
        assert len(sample["tokens"]) == 5
        shown = [entry["probability"] for entry in sample["tokens"]]
        assert shown == sorted(shown, reverse=True)
        assert all(0 < entry["baseline_probability"] < 1 for entry in sample["tokens"])
    again = sample_continuations(build("gpt2"), _Letters(), documents, config, seed=0, baseline=baseline)
    assert again == samples


class _Letters:
    """As much of a tokenizer as showing samples asks for."""

    def decode(self, ids: object, skip_special_tokens: bool = False) -> str:
        return " ".join(map(str, torch.as_tensor(ids).tolist()))
