"""Denoising hides exactly what it says, loses no token, and a step depends on its rows alone."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from architectures import VOCABULARY, FewTokens
from conftest import sentences
from exact_step import assert_same_step, steps_of_processes
from exact_step_seq2seq import (
    BLOCK_SIZE,
    BOS,
    EOS,
    FAMILIES,
    FIRST_TEXT,
    MASK,
    PAD,
    SPAN_CORRUPTION,
    TEXT_INFILLING,
    build,
    collator,
    denoising,
    one_step,
    packed,
    ragged_rows,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.data.denoising import Denoising, SpanCorruption, TextInfilling, make_denoising, special_tokens
from pipelines.data.document_rows import DocumentRows, Seq2SeqCollator
from pipelines.data.order import BucketedOrder
from pipelines.data.packing import IGNORE_INDEX, TrainingBlocks
from pipelines.data.receipt import padding_receipt, rows_receipt
from pipelines.data.tokenizer_training import MASK as MASK_TOKEN
from pipelines.data.tokenizer_training import sentinels, train_tokenizer
from pipelines.errors import ConfigError, DataError
from pipelines.evaluation.denoising import FixedDamage, likeliest_tokens, shown
from pipelines.models.cost import counted_flops_per_token
from pipelines.models.encoder_decoder import build_encoder_decoder, check_encoder_decoder
from pipelines.models.ngram import KneserNeyModel
from pipelines.sections import DenoisingConfig, DenoisingEvaluationConfig, ModelConfig, Seq2SeqModelConfig
from pipelines.training.memory import formula_activations
from pipelines.training.objectives import SequenceToSequence

# ---------------------------------------------------------------- damage


CLOCK = "The old clock in the hall strikes twice every night"


def test_span_corruption_by_hand() -> None:
    """`The old clock in the hall strikes twice every night` without `old clock` and `every`."""
    words = [*CLOCK.split(), "<0>", "<1>", "<2>", "</s>"]
    text = np.arange(10)
    t5 = SpanCorruption(0.3, 1.5, (), (13,), sentinel_ids=(10, 11, 12))
    damaged = t5.apply(text, np.array([1, 8]), np.array([2, 1]))
    assert " ".join(words[token] for token in damaged.input_ids) == "The <0> in the hall strikes twice <1> night </s>"
    assert " ".join(words[token] for token in damaged.labels) == "<0> old clock <1> every </s>"
    assert damaged.hidden.tolist() == [False, True, True, False, True, False]
    assert t5.counts(np.array(10)) == (3, 2)
    assert (t5.input_lengths(np.array(10)), t5.target_lengths(np.array(10))) == (10, 6)


def test_text_infilling_by_hand() -> None:
    """An empty span inserts a mask, two spans may lie side by side, and the target is the whole text."""
    words = [*CLOCK.split(), "<m>", "<s>", "</s>"]
    bart = TextInfilling(0.4, 1.0, (11,), (12,), mask_token_id=10)
    damaged = bart.apply(np.arange(10), np.array([0, 1, 3, 9]), np.array([0, 2, 1, 1]))
    seen = "<s> <m> The <m> <m> the hall strikes twice every <m> </s>"
    assert " ".join(words[token] for token in damaged.input_ids) == seen
    assert " ".join(words[token] for token in damaged.labels) == f"<s> {CLOCK} </s>"
    assert np.flatnonzero(damaged.hidden).tolist() == [2, 3, 4, 10]
    assert bart.counts(np.array(10)) == (4, 4)
    assert (bart.input_lengths(np.array(10)), bart.target_lengths(np.array(10))) == (12, 12)


@st.composite
def damages(draw: st.DrawFn) -> tuple[Denoising, np.ndarray, int]:
    """A denoising, a text of distinct tokens from 1000 on, and a seed."""
    density = draw(st.floats(0.01, 0.99))
    span = draw(st.floats(1.0, 8.0))
    prefix, suffix = draw(st.sampled_from([((), (EOS,)), ((BOS,), (EOS,))]))
    text = 1000 + np.arange(draw(st.integers(2, 120)))
    if draw(st.booleans()):
        return SpanCorruption(density, span, prefix, suffix, tuple(range(10, 140))), text, draw(st.integers(0, 9999))
    return TextInfilling(density, span, prefix, suffix, MASK), text, draw(st.integers(0, 9999))


@settings(max_examples=500, deadline=None)
@given(damages())
def test_input_and_target_reassemble_to_the_text(case: tuple[Denoising, np.ndarray, int]) -> None:
    rules, text, seed = case
    damaged = rules.damage(text, np.random.default_rng(seed))
    length = len(text)
    hidden = min(max(round(length * rules.noise_density), 1), length - 1)
    spans = max(round(hidden / rules.mean_noise_span_length), 1)
    if isinstance(rules, SpanCorruption):
        spans = min(spans, length - hidden + 1)
    assert damaged.hidden.sum() == hidden
    assert len(damaged.input_ids) == rules.input_lengths(np.array(length))
    assert len(damaged.labels) == len(damaged.hidden) == rules.target_lengths(np.array(length))
    ends = len(rules.prefix), len(rules.suffix)
    assert tuple(damaged.input_ids[: ends[0]]) == rules.prefix
    assert tuple(damaged.input_ids[-ends[1] :]) == rules.suffix
    assert damaged.labels[-1] == EOS
    markers = damaged.input_ids[ends[0] : -ends[1]]
    if isinstance(rules, SpanCorruption):
        assert markers[markers < 1000].tolist() == list(rules.sentinel_ids[:spans])
        pieces: dict[int, list[int]] = {}
        for token in damaged.labels[:-1].tolist():
            if token < 1000:
                pieces[token] = last = []
            else:
                last.append(token)
        assert all(pieces.values()), "no span is empty"
        whole = [piece for token in markers.tolist() for piece in (pieces[token] if token < 1000 else [token])]
        assert whole == text.tolist()
        touching = (markers[1:] < 1000) & (markers[:-1] < 1000)
        assert not touching.any()
    else:
        assert (markers == MASK).sum() == spans
        whole = damaged.labels[ends[0] : -ends[1]]
        assert whole.tolist() == text.tolist()
        seen = whole[~damaged.hidden[ends[0] : -ends[1]]]
        assert markers[markers != MASK].tolist() == seen.tolist()


def test_every_choice_of_spans_is_equally_likely() -> None:
    """Two spans of one token in five that do not touch: six choices, the ends of the text among them."""
    rules, drawn = replace(SPAN_CORRUPTION, mean_noise_span_length=1.0), {}
    for seed in range(3000):
        starts, lengths = rules.spans(5, np.random.default_rng(seed))
        assert lengths.tolist() == [1, 1]
        drawn[tuple(starts.tolist())] = drawn.get(tuple(starts.tolist()), 0) + 1
    assert set(drawn) == {(0, 2), (0, 3), (0, 4), (1, 3), (1, 4), (2, 4)}
    assert all(400 < count < 600 for count in drawn.values())  # 500 expected, standard deviation 20


def test_infilled_spans_are_poisson_and_anywhere() -> None:
    rules = TextInfilling(0.3, 3.0, (), (EOS,), MASK)
    starts, lengths = rules.spans(100_000, np.random.default_rng(0))
    assert (lengths.sum(), len(lengths)) == (30_000, 10_000)
    assert (lengths == 0).mean() == pytest.approx(np.exp(-3), abs=0.01)
    assert lengths.var() == pytest.approx(3, abs=0.15)
    assert starts.min() < 100
    assert (starts + lengths).max() > 99_900


# ---------------------------------------------------------------- rows


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=12), st.integers(6, 20), st.booleans())
def test_every_text_token_is_in_one_row_or_counted(lengths: list[int], block_size: int, t5: bool) -> None:
    documents = packed(lengths, block_size)
    rules = SPAN_CORRUPTION if t5 else TEXT_INFILLING
    rows = DocumentRows.of(documents, rules)
    places = np.repeat(rows.starts_R - np.cumsum(rows.lengths_R) + rows.lengths_R, rows.lengths_R)
    places = places + np.arange(len(places))
    assert len(np.unique(places)) == len(places), "a token is in two rows"
    text = np.flatnonzero(documents.tokens_N >= FIRST_TEXT)
    left_out = np.setdiff1d(text, places)
    assert np.isin(places, text).all()
    assert rows.too_short == (len(left_out) + lengths.count(0), len(left_out))
    document = np.searchsorted(documents.document_starts_D, rows.starts_R, side="right")
    last = np.searchsorted(documents.document_starts_D, rows.starts_R + rows.lengths_R - 1, side="right")
    assert np.array_equal(document, last), "a row is part of one document"
    for one in np.unique(document):
        assert np.ptp(rows.lengths_R[document == one]) <= 1, "the parts of a document are equally long"
    for index in range(len(rows)):
        row = rules.row(rows, index, np.random.default_rng(index))
        assert len(row["input_ids"]) == rows.input_lengths_R[index] <= block_size
        assert len(row["labels"]) == rows.target_lengths_R[index] <= block_size
    receipt = rows_receipt(sum(lengths), rows)
    assert receipt["tokens_in_rows"] + receipt["tokens_in_parts_too_short"] == receipt["text_tokens"] == sum(lengths)
    assert receipt["documents_cut"] == sum(length > rules.longest_text(block_size) for length in lengths)
    with pytest.raises(DataError, match="does not close"):
        rows_receipt(sum(lengths) + 1, rows)


def test_a_block_without_room_is_refused() -> None:
    with pytest.raises(ConfigError, match="data.block_size is 3, which has no room"):
        TEXT_INFILLING.longest_text(3)
    assert TEXT_INFILLING.longest_text(4) == 2
    assert SPAN_CORRUPTION.longest_text(16) == 14
    dense = SpanCorruption(0.7, 1.0, (), (EOS,), sentinel_ids=())
    assert dense.target_lengths(np.array([14, 15])).tolist() == [16, 17], "10 hidden, 5 or 6 sentinels, EOS"
    assert dense.longest_text(16) == 14


@given(st.integers(1, 400), st.integers(1, 20), st.integers(0, 5), st.integers(0, 3))
def test_the_bucketed_order_shows_every_row_once_per_epoch(rows: int, per_step: int, seed: int, epoch: int) -> None:
    lengths = np.random.default_rng(rows).integers(2, 300, rows)
    order = BucketedOrder(rows, seed, lengths, per_step)
    shown = order.epoch_permutation(epoch)
    assert sorted(shown.tolist()) == list(range(rows))
    assert np.array_equal(shown, BucketedOrder(rows, seed, lengths, per_step).epoch_permutation(epoch))
    assert np.array_equal(order.consumed(rows + 1) - 1, np.bincount(order.epoch_permutation(1)[:1], minlength=rows))


def test_steps_hold_rows_of_similar_length_in_every_epoch() -> None:
    rows, per_step = 1003, 8
    lengths = np.random.default_rng(0).integers(2, 257, rows)
    order = BucketedOrder(rows, 0, lengths, per_step)
    places = np.concatenate([order.epoch_permutation(epoch) for epoch in range(3)])
    steps = lengths[places[: len(places) // per_step * per_step]].reshape(-1, per_step)
    spread = np.ptp(steps, axis=1)
    mixed = {rows // per_step, 2 * rows // per_step}  # the steps in which an epoch ends
    within = np.array([step for step in range(len(steps)) if step not in mixed])
    assert spread[within].max() < 30, "512 rows of a window are spread over 255 lengths"
    assert np.corrcoef(within[:-1], steps[within[:-1]].mean(axis=1))[0, 1] < 0.2, "steps are shuffled"
    other = BucketedOrder(rows, 1, lengths, per_step)
    assert not np.array_equal(order.epoch_permutation(0), other.epoch_permutation(0))
    assert not np.array_equal(order.epoch_permutation(0), order.epoch_permutation(1))


@pytest.mark.parametrize("rules", [SPAN_CORRUPTION, TEXT_INFILLING], ids=["t5", "bart"])
def test_the_planned_shape_is_that_of_the_batches(rules: Denoising) -> None:
    documents = DocumentRows.of(packed([30, 3, 14, 2, 9, 5, 28, 61, 7]), rules)
    rows, batch_size = len(documents), 4
    order = documents.order(seed=0, rows_per_step=8)
    run = TrainingBlocks(documents, order, rows, rows, rules)
    batches = [
        Seq2SeqCollator(PAD, BOS)([run[place] for place in range(first, min(first + batch_size, rows))])
        for first in range(0, rows, batch_size)
    ]
    shape = documents.row_shape(order, rows, batch_size)
    assert shape.inputs * rows == pytest.approx(sum(batch["input_ids"].numel() for batch in batches))
    assert shape.decoder_inputs * rows == pytest.approx(sum(batch["labels"].numel() for batch in batches))
    assert shape.longest_decoder_inputs == documents.target_lengths_R.max()
    filled = sum(int(batch["attention_mask"].sum() + (batch["labels"] != IGNORE_INDEX).sum()) for batch in batches)
    computed = round((shape.inputs + shape.decoder_inputs) * rows)
    assert shape.padding_share == pytest.approx(1 - filled / computed)
    receipt = padding_receipt(run, computed)
    assert receipt["positions_with_token"] == filled
    assert receipt["padding_share"] == pytest.approx(shape.padding_share)
    with pytest.raises(DataError, match="does not close"):
        padding_receipt(run, filled - 1)


def test_a_row_is_a_function_of_seed_and_place() -> None:
    documents = ragged_rows(SPAN_CORRUPTION)
    runs = [TrainingBlocks(documents, documents.order(seed, 8), 24, 20, SPAN_CORRUPTION) for seed in (0, 0, 1)]
    one, again, other = ([run[place]["labels"].tolist() for place in range(24)] for run in runs)
    assert one == again == [runs[0][place]["labels"].tolist() for place in reversed(range(24))][::-1]
    assert one != other
    assert sum(map(len, one)) == runs[0].targets()
    assert all(len(labels) == 0 for labels in one[20:]), "fillers have no target"
    assert sorted(map(tuple, one[:8])) != sorted(map(tuple, one[8:16])), "each epoch hides other spans"


def test_the_collator_masks_by_position() -> None:
    """EOS is supervised where pad = eos too; a row without labels supervises nothing."""
    rows = [
        {"input_ids": np.array([5, 6, 7]), "labels": np.array([8, 9, EOS])},
        {"input_ids": np.array([EOS]), "labels": np.array([], dtype=np.int64)},
    ]
    batch = Seq2SeqCollator(pad_token_id=EOS, decoder_start_token_id=4)(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7, *[EOS] * 5], [EOS] * 8]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, *[0] * 5], [1, *[0] * 7]]
    assert batch["decoder_input_ids"].tolist() == [[4, 8, 9, *[EOS] * 5], [4, *[EOS] * 7]]
    assert batch["labels"].tolist() == [[8, 9, EOS, *[IGNORE_INDEX] * 5], [IGNORE_INDEX] * 8]


# ---------------------------------------------------------------- exact steps

ONE_BATCH = (8, 1)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, dict[str, torch.Tensor]]]:
    folder = tmp_path_factory.mktemp("reference")
    return {family: one_step(family, *ONE_BATCH, folder / family) for family in FAMILIES}


@pytest.mark.parametrize("rows_and_accumulation", [(4, 2), (2, 4), (1, 8)])
@pytest.mark.parametrize("family", FAMILIES)
def test_accumulation_equals_one_batch(
    family: str, rows_and_accumulation: tuple[int, int], reference, tmp_path
) -> None:
    assert_same_step(one_step(family, *rows_and_accumulation, tmp_path), reference[family])


@pytest.mark.parametrize("rules", [SPAN_CORRUPTION, TEXT_INFILLING], ids=["t5", "bart"])
def test_the_rows_are_ragged(rules: Denoising) -> None:
    """Micro-batches of the test hold different numbers of targets and padding: a mean of means would differ."""
    documents = ragged_rows(rules)
    assert len(documents) == 8
    assert len(set(documents.target_lengths_R.tolist())) > 3
    assert len({-(-length // 8) for length in documents.input_lengths_R.tolist()}) == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_is_the_mean_over_all_targets(family: str, reference) -> None:
    """By hand: the mean of -ln softmax at the label, each row alone and without padding."""
    model, rules = build(family), denoising(family)
    documents, total = ragged_rows(rules), 0.0
    run = TrainingBlocks(documents, documents.order(0, 8), 8, 8, rules)
    with torch.no_grad():
        for place in range(8):
            ids, labels = (torch.from_numpy(run[place][name]) for name in ("input_ids", "labels"))
            start = torch.tensor([model.config.decoder_start_token_id])
            logits = model(input_ids=ids[None], decoder_input_ids=torch.cat((start, labels[:-1]))[None]).logits[0]
            for scores, label in zip(logits.double().numpy(), labels.tolist(), strict=True):
                total += np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[label]
    assert reference[family][0] == pytest.approx(total / documents.targets, abs=1e-6)


@pytest.mark.parametrize("attn_implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("family", ["t5", "bart", "marian"])
def test_padding_changes_nothing(family: str, attn_implementation: str) -> None:
    model, rules = build(family, attn_implementation).eval(), denoising(family)
    documents = ragged_rows(rules)
    rows = [rules.row(documents, index, np.random.default_rng(index)) for index in range(8)]
    together = collator(model)([*rows, {"input_ids": np.arange(40), "labels": np.arange(32) % 16}])
    if family != "t5":  # positions end there
        together = collator(model)(rows)
    with torch.no_grad():
        logits = SequenceToSequence(bf16=False).logits(model, together)
        for place, row in enumerate(rows):
            alone = SequenceToSequence(bf16=False).logits(model, collator(model)([row]))
            count = len(row["labels"])
            torch.testing.assert_close(logits[place, :count], alone[0, :count], atol=1e-5, rtol=0)


@pytest.mark.processes
@pytest.mark.parametrize("rows_and_accumulation", [(4, 1), (2, 2)])
def test_two_processes_equal_one(rows_and_accumulation: tuple[int, int], reference, tmp_path: Path) -> None:
    families = ["t5", "bart", "marian", "bert2bert"]
    steps = steps_of_processes("exact_step_seq2seq.py", *rows_and_accumulation, families, tmp_path)
    assert len(steps) == len(families)
    for family, step in steps.items():
        assert_same_step(step, reference[family])


# ---------------------------------------------------------------- evaluation


def scorer(family: str, batch_size: int, **config: int | None) -> tuple[torch.nn.Module, FixedDamage]:
    model, rules = build(family), denoising(family)
    evaluation = DenoisingEvaluationConfig(**config)
    objective = SequenceToSequence(bf16=False)
    return model, FixedDamage(ragged_rows(rules), rules, objective, collator(model), batch_size, evaluation)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_scores_do_not_depend_on_the_batch_size(family: str) -> None:
    results = []
    for batch_size in (1, 3, 8):
        model, fixed = scorer(family, batch_size)
        results.append(fixed.evaluate(model))
        assert results[-1].pop("eval_seconds") > 0
    assert results[0]["eval_tokens"] == ragged_rows(denoising(family)).targets
    for result in results[1:]:
        assert result == pytest.approx(results[0], rel=1e-6)
    model, fixed = scorer(family, 8, max_blocks=3)
    some = fixed.evaluate(model)
    assert some["eval_tokens"] == sum(len(fixed.row(index).labels) for index in range(3))


def test_scores_by_hand() -> None:
    model, fixed = scorer("t5", 3)
    nats, hits = [], []
    with torch.no_grad():
        for index in range(8):
            row = fixed.row(index)
            batch = fixed.collator([row._asdict()])
            logits = model(**{name: batch[name] for name in batch if name != "labels"}).logits[0, : len(row.labels)]
            losses = -torch.log_softmax(logits.double(), dim=-1)[torch.arange(len(row.labels)), row.labels]
            nats += zip(losses.tolist(), row.hidden.tolist(), strict=True)
            hits += (logits.argmax(-1).numpy() == row.labels).tolist()
    scores = fixed.evaluate(model)
    loss = np.mean([loss for loss, _ in nats])
    assert scores["eval_loss"] == pytest.approx(loss, abs=1e-6)
    assert scores["eval_hidden_loss"] == pytest.approx(np.mean([loss for loss, hidden in nats if hidden]), abs=1e-6)
    assert scores["eval_accuracy"] == pytest.approx(np.mean(hits))
    assert scores["eval_bits_per_token"] == pytest.approx(loss / np.log(2), abs=1e-6)
    assert scores["eval_perplexity"] == pytest.approx(np.exp(loss), abs=1e-4)


def test_the_damage_of_evaluation_is_fixed() -> None:
    one, other = (scorer("t5", 8)[1] for _ in range(2))
    assert all(np.array_equal(one.row(index).labels, other.row(index).labels) for index in range(8))


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_baselines_are_fitted_and_scored_on_the_same_targets(family: str) -> None:
    model, fixed = scorer(family, 8)
    run = TrainingBlocks(fixed.documents, fixed.documents.order(0, 4), 20, 18, fixed.denoising)
    metrics, ngram = fixed.baselines(run, VOCABULARY)
    scores = fixed.evaluate(model)
    for name in ("unigram", "kneser_ney_5gram"):
        assert metrics[f"baseline_{name}_tokens"] == scores["eval_tokens"]
        for metric in ("loss", "bits_per_token", "perplexity", "accuracy", "hidden_loss", "hidden_accuracy"):
            assert np.isfinite(metrics[f"baseline_{name}_{metric}"])
    distinct = {tuple(run[place]["labels"].tolist()) for place in range(18)}
    assert len(distinct) == 8 if family == "bart" else len(distinct) > 8
    counts = np.ones(VOCABULARY)
    for labels in distinct:
        np.add.at(counts, list(labels), 1)
    targets = np.concatenate([fixed.row(index).labels for index in range(8)])
    assert metrics["baseline_unigram_loss"] == pytest.approx(-np.log(counts / counts.sum())[targets].mean())
    assert metrics["baseline_unigram_accuracy"] == pytest.approx((targets == counts.argmax()).mean())
    start = model.config.decoder_start_token_id
    assert ngram is not None
    predicted, total = 0, 0.0
    for index in range(8):
        labels = fixed.row(index).labels.tolist()
        for place, label in enumerate(labels):
            distribution = ngram.distribution([start, *labels[:place]])
            total -= np.log(distribution[label])
            predicted += int(distribution.argmax() == label)
    assert metrics["baseline_kneser_ney_5gram_loss"] == pytest.approx(total / len(targets))
    assert metrics["baseline_kneser_ney_5gram_accuracy"] == pytest.approx(predicted / len(targets))
    assert scorer(family, 8, ngram_order=None)[1].baselines(run, VOCABULARY) == ({}, None)


def test_likeliest_tokens_by_hand() -> None:
    tokens, starts = np.array([0, 1, 2, 0, 1, 2, 0, 1, 3]), np.array([0, 3, 6])
    model = KneserNeyModel.fit(tokens, starts, vocab_size=5, order=2)
    assert likeliest_tokens(model, tokens, starts).tolist() == [-1, 1, 2, -1, 1, 2, -1, 1, 2]


# ---------------------------------------------------------------- tokenizers


@pytest.fixture(scope="module")
def texts() -> list[list[str]]:
    return [sentences(50)]


def test_a_trained_tokenizer_has_what_denoising_needs(texts) -> None:
    config = DenoisingConfig()
    assert special_tokens(config, 256) == sentinels(100)
    assert len(special_tokens(DenoisingConfig(noise_density=0.5, mean_noise_span_length=1.0), 256)) == 128
    assert special_tokens(DenoisingConfig(method="text_infilling"), 256) == [MASK_TOKEN]
    tokenizer = train_tokenizer(texts, "bpe", 500, special_tokens(config, 256))
    rules = make_denoising(config, tokenizer, 256)
    assert isinstance(rules, SpanCorruption)
    assert (rules.noise_density, rules.mean_noise_span_length) == (0.15, 3.0)
    assert tokenizer.convert_ids_to_tokens(list(rules.sentinel_ids[:2])) == ["<extra_id_0>", "<extra_id_1>"]
    ids = tokenizer("The array")["input_ids"]
    assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id), "texts are framed as in pretraining"
    assert (rules.prefix, rules.suffix) == ((tokenizer.bos_token_id,), (tokenizer.eos_token_id,))
    longest = rules.longest_text(256)
    assert rules.counts(np.array(longest))[1] <= len(rules.sentinel_ids)


def test_a_tokenizer_that_ends_texts_with_eos_stays_as_it_is(texts) -> None:
    from tokenizers import processors

    tokenizer = train_tokenizer(texts, "bpe", 500, special_tokens(DenoisingConfig(), 64))
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|eos|>", special_tokens=[("<|eos|>", tokenizer.eos_token_id)]
    )
    rules = make_denoising(DenoisingConfig(), tokenizer, 64)
    assert (rules.prefix, rules.suffix) == ((), (tokenizer.eos_token_id,))


@pytest.mark.parametrize(
    ("config", "special", "parts"),
    [
        ({}, [MASK_TOKEN], ["has no sentinels", "--denoising.method text_infilling"]),
        ({}, ["<extra_id_0>", "<extra_id_1>"], ["may have 13 hidden spans", "no <extra_id_2>", "--data.block_size"]),
        ({"method": "text_infilling"}, ["<extra_id_0>"], ["has no mask token", "--denoising.method span_corruption"]),
    ],
)
def test_a_tokenizer_without_the_tokens_is_refused(texts, config: dict, special: list[str], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        make_denoising(DenoisingConfig(**config), train_tokenizer(texts, "bpe", 400, special), 256)
    for part in parts:
        assert part in str(error.value)


def test_samples_show_the_text_and_marks() -> None:
    """Nothing of a text is lost to the eye, not even the word None."""
    text = ["Returns None if the array is empty."]
    for method, mark in (("span_corruption", " ▁1▁"), ("text_infilling", " ▁▁▁")):
        config = DenoisingConfig(method=method)
        tokenizer = train_tokenizer([text], "bpe", 400, special_tokens(config, 16))
        make_denoising(config, tokenizer, 16)
        ids = tokenizer(text[0])["input_ids"]
        assert shown(tokenizer, ids) == text[0]
        marker = tokenizer.convert_tokens_to_ids(special_tokens(config, 16)[0])
        assert shown(tokenizer, [*ids[:-1], marker, ids[-1], tokenizer.pad_token_id]) == text[0] + mark


# ---------------------------------------------------------------- models


@pytest.mark.parametrize("family", FAMILIES)
def test_the_decoder_sees_what_it_should(family: str) -> None:
    differences = check_encoder_decoder(build(family))
    assert differences["future"] < 1e-6
    assert differences["padding"] < 1e-6
    assert differences["source"] > 1e-6


class Leaky(torch.nn.Module):
    """Logits of V = 8 from means over what a decoder position must, or must not, see."""

    def __init__(self, future: bool, source: bool, padding: bool) -> None:
        super().__init__()
        self.future, self.source, self.padding = future, source, padding
        self.config = SimpleNamespace(vocab_size=8, pad_token_id=0, model_type="leaky", _attn_implementation="eager")

    def forward(self, input_ids, attention_mask, decoder_input_ids, use_cache):
        mask = torch.ones_like(attention_mask) if self.padding else attention_mask
        own = decoder_input_ids.flip(1).cumsum(1).flip(1) if self.future else decoder_input_ids
        read = (input_ids * mask).sum() / mask.sum() if self.source else 0.0
        return SimpleNamespace(logits=(own + read)[..., None] * torch.arange(8.0))


@pytest.mark.parametrize(
    ("leak", "found"),
    [
        ((True, True, False), "positions of the decoder see later ones"),
        ((False, True, True), "padding is seen"),
        ((False, False, False), "the decoder does not see what the encoder reads"),
    ],
)
def test_a_model_that_sees_the_wrong_thing_is_refused(leak: tuple[bool, bool, bool], found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        check_encoder_decoder(Leaky(*leak))
    assert check_encoder_decoder(Leaky(False, True, False))["source"] > 0


@pytest.mark.parametrize("model_type", ["llama", "bert"])
def test_other_architectures_are_refused(model_type: str) -> None:
    with pytest.raises(ConfigError, match=f"A {model_type} model is no sequence-to-sequence model"):
        build_encoder_decoder(Seq2SeqModelConfig(config={"model_type": model_type}), FewTokens(), 16)


def test_too_few_positions_are_refused() -> None:
    config = Seq2SeqModelConfig(config={"model_type": "bart", **FAMILIES["bart"], "max_position_embeddings": 8})
    with pytest.raises(ConfigError, match="data.block_size is 16, but the model has 8 positions"):
        build_encoder_decoder(config, FewTokens(), 16)


def test_a_decoder_alone_is_refused() -> None:
    with pytest.raises(ConfigError, match="model.decoder_name is 'x', but there is no encoder"):
        build_encoder_decoder(Seq2SeqModelConfig(decoder_name="x", preset="t5-tiny"), FewTokens(), 16)


@pytest.mark.parametrize(("inputs", "outputs"), [(16, 16), (16, 5)])
def test_counted_flops_by_hand(inputs: int, outputs: int) -> None:
    """Two operations a weight and position, 4 h T per attention and position, three times for the backward pass."""
    hidden, feed_forward, layers = 32, 64, 2
    attention = 4 * hidden**2
    mlp = 2 * hidden * feed_forward
    encoder = layers * inputs * (2 * (attention + mlp) + 4 * hidden * inputs)
    decoder = layers * outputs * (2 * (attention + mlp) + 4 * hidden * outputs)
    cross = layers * (outputs * (attention + 4 * hidden * inputs) + inputs * attention)
    head = 2 * outputs * hidden * VOCABULARY
    expected = 3 * (encoder + decoder + cross + head) / (inputs + outputs)
    assert counted_flops_per_token(build("bart"), inputs, decoder_size=outputs) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_flops_are_counted_for_every_family(family: str) -> None:
    assert counted_flops_per_token(build(family), 12, decoder_size=4) > 0


def test_memory_formula_by_hand() -> None:
    config = build_encoder_decoder(
        Seq2SeqModelConfig(config={"model_type": "t5", **FAMILIES["t5"], "num_decoder_layers": 3}), FewTokens(), 16
    ).config
    encoder = 16 * (34 * 32 + 5 * 2 * 16)
    decoder = 6 * (34 * 32 + 5 * 2 * 6) + (9 * 6 + 4 * 16) * 32 + 5 * 2 * 6 * 16
    assert formula_activations(config, 2, 16, bf16=True, decoder_size=6) == 2 * (2 * encoder + 3 * decoder)
    recomputed = formula_activations(config, 2, 16, True, "full", decoder_size=6)
    assert recomputed == 2 * (2 * 2 * 16 * 32 + 3 * 2 * 6 * 32 + max(encoder, decoder))
    for family in ("bart", "bert2bert"):
        sides = formula_activations(build(family).config, 1, 16, True, decoder_size=BLOCK_SIZE)
        assert sides == 2 * 2 * encoder + 2 * ((9 + 4) * 16 * 32 + 5 * 2 * 16 * 16)


def test_presets_build() -> None:
    from pipelines.models.build import build_model

    for preset in ("t5-tiny", "bart-tiny", "marian-tiny"):
        model = build_model("seq2seq", ModelConfig(preset=preset), FewTokens(), 16)
        assert model.config.decoder_start_token_id == (EOS if preset == "bart-tiny" else PAD)
        assert check_encoder_decoder(model)["padding"] < 1e-5
