"""Scores of masked language models: independent of the batch, beside count baselines checked by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from architectures import ENCODERS, FewTokens, build
from test_masking import documents, masking

from pipelines.data.collation import BlockCollator
from pipelines.data.order import TrainingOrder
from pipelines.data.packing import IGNORE_INDEX, PackedDocuments, TrainingBlocks
from pipelines.evaluation.masked_language_modeling import FixedMask, visible_neighbours
from pipelines.evaluation.token_scores import token_metrics
from pipelines.models.attention_check import check_encoder
from pipelines.models.neighbours import HIDDEN, NeighbourModel
from pipelines.sections import MaskedLanguageModelEvaluationConfig
from pipelines.training.objectives import MaskedLanguageModeling


def scorer(packed: PackedDocuments, model: torch.nn.Module, batch_size: int = 4, **settings: object) -> FixedMask:
    objective = MaskedLanguageModeling(False, *check_encoder(model, isolate_documents=True))
    config = MaskedLanguageModelEvaluationConfig(**settings)
    return FixedMask(packed, masking().for_evaluation(0.3), objective, batch_size, config)


@pytest.fixture(scope="module")
def packed() -> PackedDocuments:
    return documents([30, 2, 7, 50, 12, 1, 3, 40], block_size=16)


def test_scores_do_not_depend_on_the_batch_size(packed: PackedDocuments) -> None:
    model = build("bert", block_size=16)
    scores = [scorer(packed, model, batch_size).evaluate(model) for batch_size in (1, 3, 8)]
    for score in scores[1:]:
        assert score["eval_loss"] == pytest.approx(scores[0]["eval_loss"], abs=1e-6)
        assert score["eval_accuracy"] == scores[0]["eval_accuracy"]
        assert score["eval_tokens"] == scores[0]["eval_tokens"] > 30


def test_the_loss_by_hand(packed: PackedDocuments) -> None:
    """Block by block through the plain model with a full head, mean over all masked tokens."""
    model = build("modernbert", block_size=16).eval()
    fixed = scorer(packed, model)
    nats, hits, tokens = 0.0, 0, 0
    for index in range(len(packed)):
        batch = BlockCollator()([fixed.row(index)])
        with torch.no_grad():
            logits = model(**fixed.objective.inputs(batch)).logits[0].double()
        for position in torch.nonzero(batch["labels"][0] != IGNORE_INDEX).flatten():
            label = batch["labels"][0, position]
            nats -= float(torch.log_softmax(logits[position], -1)[label])
            hits += int(logits[position].argmax() == label)
            tokens += 1
    found = fixed.evaluate(model)
    assert found["eval_loss"] == pytest.approx(nats / tokens, abs=1e-6)
    assert (found["eval_accuracy"], found["eval_tokens"]) == (hits / tokens, tokens)
    assert found["eval_bits_per_token"] == pytest.approx(nats / tokens / math.log(2), abs=1e-6)


@pytest.mark.parametrize("model_type", ENCODERS)
def test_the_sparse_head_gives_the_logits_of_the_whole_one(model_type: str, packed: PackedDocuments) -> None:
    model = build(model_type, block_size=16).eval()
    fixed = scorer(packed, model)
    assert fixed.objective.head is not None
    batch = BlockCollator()([fixed.row(index) for index in range(3)])
    with torch.no_grad():
        sparse, labels = fixed.objective.logits(model, batch)
        whole, same = replace(fixed.objective, head=None).logits(model, batch)
    assert sparse.shape == (int((batch["labels"] != IGNORE_INDEX).sum()), 64)
    torch.testing.assert_close(sparse, whole, atol=1e-5, rtol=1e-5)
    assert torch.equal(labels, same)


def test_pseudo_perplexity_by_hand(packed: PackedDocuments) -> None:
    model = build("bert", block_size=16).eval()
    fixed = scorer(packed, model, pseudo_perplexity_tokens=10_000)
    nats, count = 0.0, 0
    for index in range(len(packed)):
        block = packed.block(index)
        for place in np.flatnonzero(packed.text_positions(index)):
            ids = torch.from_numpy(block["input_ids"].copy())[None]
            ids[0, place] = 3
            batch = {"input_ids": ids, "position_ids": torch.from_numpy(block["position_ids"])[None]}
            with torch.no_grad():
                logits = model(**fixed.objective.inputs(batch)).logits[0, place].double()
            nats -= float(torch.log_softmax(logits, -1)[block["input_ids"][place]])
            count += 1
    found = fixed.pseudo_perplexity(model)
    assert found["eval_pseudo_perplexity_tokens"] == count == 145
    assert found["eval_pseudo_perplexity"] == pytest.approx(math.exp(nats / count), rel=1e-5)
    some = scorer(packed, model, pseudo_perplexity_tokens=9).pseudo_perplexity(model)
    assert some["eval_pseudo_perplexity_tokens"] == 9
    assert scorer(packed, model, pseudo_perplexity_tokens=None).pseudo_perplexity(model) == {}


def test_neighbours_stop_at_masks_and_documents() -> None:
    row = {
        "input_ids": np.array([0, 5, 3, 3, 8, 1, 0, 3, 1]),
        "position_ids": np.array([0, 1, 2, 3, 4, 5, 0, 1, 2]),
        "labels": np.array([-100, -100, 6, 7, -100, -100, -100, 9, -100]),
    }
    left, right, tokens = visible_neighbours(row)
    assert left.tolist() == [5, HIDDEN, 0]
    assert right.tolist() == [HIDDEN, 8, 1]
    assert tokens.tolist() == [6, 7, 9]
    first = {name: values[6:] for name, values in row.items()} | {"labels": np.array([4, -100, 9])}
    left, right, _ = visible_neighbours(first)
    assert left.tolist() == [HIDDEN, 3] and right.tolist() == [3, HIDDEN]


def test_neighbour_model_by_hand() -> None:
    """Segment 0 1 0 1 2: bigrams 01 twice, 10 once, 12 once. n1 = 2, n2 = 1, so d = 2 / (2 + 2) = 0.5."""
    model = NeighbourModel.fit(np.array([0, 1, 0, 1, 2]), np.array([0]), 3, np.arange(3))
    np.testing.assert_allclose(model.unigram_V, [3 / 8, 3 / 8, 2 / 8])
    continuation = np.array([1 + 1 / 3, 1 + 1 / 3, 1 + 1 / 3]) / 4
    np.testing.assert_allclose(model.continuation_V, continuation)
    after = np.array([[0, 1.5 / 2, 0], [0.5 / 2, 0, 0.5 / 2], [0, 0, 0]]) + np.outer([0.25, 0.5, 1.0], continuation)
    np.testing.assert_allclose(after.sum(axis=1), 1)
    both = after[0] * after[:, 2]  # left 0, right 2: what stands in the middle?
    left_only, right_only = after[1], model.unigram_V * after[:, 0]
    found = model.distributions(np.array([0, 1, HIDDEN, HIDDEN]), np.array([2, HIDDEN, 0, HIDDEN]))
    expected = [both, left_only, right_only, model.unigram_V]
    np.testing.assert_allclose(found, [row / row.sum() for row in expected])
    nats, hits = model.score(np.array([0, 1]), np.array([2, HIDDEN]), np.array([1, 2]))
    assert nats == pytest.approx(-math.log(both[1] / both.sum()) - math.log(after[1, 2]))
    assert hits == (both.argmax() == 1) + (after[1].argmax() == 2)


def test_a_bigram_never_crosses_a_segment() -> None:
    model = NeighbourModel.fit(np.array([0, 1, 2, 3]), np.array([0, 2]), 4, np.arange(4))
    assert model.discounted_VV[1].nnz == 0
    assert model.backoff_V[1] == 1


def test_what_is_never_hidden_is_no_candidate() -> None:
    """BOS 0 and EOS 1 are the commonest tokens of short documents, and neighbours, but never the answer."""
    model = NeighbourModel.fit(np.array([0, 2, 1, 0, 3, 1, 0, 2, 1]), np.array([0, 3, 6]), 4, np.array([2, 3]))
    np.testing.assert_allclose(model.unigram_V, [0, 0, 3 / 5, 2 / 5])
    after = model.distributions(np.array([0, HIDDEN]), np.array([1, HIDDEN]))
    assert (after[:, :2] == 0).all()
    np.testing.assert_allclose(after.sum(axis=1), 1)
    assert model.score_unigram(np.array([2, 3]))[1] == 1


def test_baselines_are_scored_on_the_very_masks(packed: PackedDocuments) -> None:
    model = build("bert", block_size=16)
    fixed = scorer(packed, model)
    run = TrainingBlocks(packed, TrainingOrder(len(packed), 0), 8, 8, masking())
    metrics, neighbours = fixed.baselines(run, vocab_size=64)
    scores = fixed.evaluate(model)
    assert metrics["baseline_unigram_tokens"] == metrics["baseline_neighbours_tokens"] == scores["eval_tokens"]
    assert metrics["baseline_neighbours_loss"] < metrics["baseline_unigram_loss"], "half of it was seen in training"
    counts = np.bincount(run.documents.segments(np.flatnonzero(run.order.consumed(8)))[0], minlength=64)
    truth = np.concatenate([visible_neighbours(fixed.row(index))[2] for index in range(len(packed))])
    counts[:4] = 0  # special tokens are never what is hidden
    assert metrics["baseline_unigram_accuracy"] == (truth == counts.argmax()).mean()
    samples = fixed.samples(model, _Letters(), neighbours)["samples"]
    assert len(samples) == 3, "documents of 32 tokens and more"
    for sample in samples:
        assert "▁▁▁" in sample["prompt"]
        assert len(sample["tokens"]) == 5
        assert sample["output"].split()[0] == sample["reference"].split()[0] or "▁▁▁" in sample["prompt"].split()[0]
    assert scorer(packed, model, baselines=False).baselines(run, 64) == ({}, None)


def test_metrics_by_hand() -> None:
    metrics = token_metrics(nats=4 * math.log(8), hits=1, tokens=4)
    assert metrics == {
        "loss": pytest.approx(math.log(8)),
        "bits_per_token": pytest.approx(3),
        "perplexity": pytest.approx(8),
        "accuracy": 0.25,
        "tokens": 4,
    }


class _Letters(FewTokens):
    """As much of a tokenizer as showing samples asks for."""

    bos_token, eos_token, cls_token, sep_token, mask_token = "<0>", "<1>", "<0>", "<1>", "<3>"

    def decode(self, ids: object) -> str:
        return " ".join(f"<{token}>" for token in torch.as_tensor(ids).tolist())
