"""What masked language modeling hides: shares, whole words, and nothing but text; a pure function of seed and place."""

from dataclasses import replace

import numpy as np
import pytest
from architectures import FewTokens
from conftest import sentences
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.data.masking import Masking
from pipelines.data.order import TrainingOrder
from pipelines.data.packing import IGNORE_INDEX, PackedDocuments, TrainingBlocks
from pipelines.data.tokenization import tokenize
from pipelines.data.tokenizer_training import MASK, train_tokenizer
from pipelines.errors import ConfigError
from pipelines.sections import MaskingConfig

BOS, EOS, PAD, MASK_ID = 0, 1, 2, 3


def documents(lengths: list[int], block_size: int = 16) -> PackedDocuments:
    """Documents of so many text tokens (4 and above) between BOS and EOS."""
    draw = np.random.default_rng(0)
    parts = [np.concatenate(([BOS], draw.integers(4, 64, length), [EOS])) for length in lengths]
    starts = np.concatenate(([0], np.cumsum([len(part) for part in parts])[:-1]))
    return PackedDocuments(np.concatenate(parts).astype(np.int32), starts.astype(np.int64), None, block_size, PAD)


def masking(**settings: object) -> Masking:
    return Masking.of(MaskingConfig(**settings), FewTokens())


def rows_of(packed: PackedDocuments, rule: Masking) -> list[dict[str, np.ndarray]]:
    return [rule.row(packed, index, np.random.default_rng([7, index])) for index in range(len(packed))]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.floats(0.01, 0.99), st.integers(2, 24))
def test_a_share_of_the_text_is_hidden_and_nothing_else(lengths: list[int], share: float, block_size: int) -> None:
    packed = documents(lengths, block_size)
    text_tokens = 0
    for index, row in enumerate(rows_of(packed, masking(mlm_probability=share))):
        block, labels = packed.block(index), row["labels"]
        text = block["input_ids"] >= 4
        assert (packed.text_positions(index) == text).all()
        text_tokens += text.sum()
        chosen = labels != IGNORE_INDEX
        assert not (chosen & ~text).any()
        assert chosen.sum() == (max(1, round(share * text.sum())) if text.any() else 0)
        assert (labels[chosen] == block["input_ids"][chosen]).all()
        assert (row["input_ids"][~chosen] == block["input_ids"][~chosen]).all()
        assert (row["position_ids"] == block["position_ids"]).all()
        assert not np.isin(row["input_ids"][chosen], [BOS, EOS, PAD]).any()
    assert text_tokens == sum(lengths)


def test_eighty_ten_ten() -> None:
    rows = rows_of(documents([400] * 50, block_size=256), masking(mlm_probability=0.5))
    chosen = np.concatenate([row["labels"] != IGNORE_INDEX for row in rows])
    shown = np.concatenate([row["input_ids"] for row in rows])[chosen]
    truth = np.concatenate([row["labels"] for row in rows])[chosen]
    count = len(truth)
    assert count > 9_000
    assert (shown == MASK_ID).mean() == pytest.approx(0.8, abs=4 * (0.8 * 0.2 / count) ** 0.5)
    kept = 0.1 + 0.1 / 60  # a random token is the true one once in 60
    assert (shown == truth).mean() == pytest.approx(kept, abs=4 * (kept * 0.9 / count) ** 0.5)
    swapped = shown[(shown != MASK_ID) & (shown != truth)]
    assert len(np.unique(swapped)) == 60, "any token that is not special"


def test_all_masked() -> None:
    for row in rows_of(documents([30, 30]), masking(mask_replace_prob=1.0, random_replace_prob=0.0)):
        assert (row["input_ids"][row["labels"] != IGNORE_INDEX] == MASK_ID).all()


def test_evaluation_hides_everything_chosen_whatever_training_does() -> None:
    rule = masking(mlm_probability=0.5, whole_word_mask=True).for_evaluation(0.15)
    packed = documents([100] * 4, block_size=64)
    rows = rows_of(packed, rule)
    assert all((row["input_ids"][row["labels"] != IGNORE_INDEX] == MASK_ID).all() for row in rows)
    assert sum((row["labels"] != IGNORE_INDEX).sum() for row in rows) == pytest.approx(60, abs=4)


def test_a_row_is_a_function_of_seed_and_place() -> None:
    """Whatever was read before, and by whichever process or worker; another epoch masks something else."""
    packed = documents([20] * 10)
    order = TrainingOrder(len(packed), seed=3)
    run, again = (TrainingBlocks(packed, order, 40, 38, masking()) for _ in range(2))
    backwards = {place: again[place] for place in reversed(range(40))}
    for place in range(40):
        for name, values in run[place].items():
            np.testing.assert_array_equal(values, backwards[place][name])
    assert all((run[place]["labels"] == IGNORE_INDEX).all() for place in (38, 39))
    first = run.order.epoch_permutation(0)[0]
    second = len(packed) + int(np.flatnonzero(run.order.epoch_permutation(1) == first)[0])
    assert (run[0]["labels"] != run[second]["labels"]).any()
    other = TrainingBlocks(packed, replace(order, seed=4), 40, 38, masking())
    assert any((run[place]["labels"] != other[place]["labels"]).any() for place in range(38))


@pytest.mark.parametrize("whole_word_mask", [False, True])
def test_targets_are_those_of_the_rows(whole_word_mask: bool) -> None:
    packed = documents([20, 3, 0, 50, 1])
    packed = replace(packed, word_starts_N=np.random.default_rng(1).random(len(packed.tokens_N)) < 0.6)
    run = TrainingBlocks(packed, TrainingOrder(len(packed), 0), 20, 17, masking(whole_word_mask=whole_word_mask))
    assert run.targets() == sum(int((run[place]["labels"] != IGNORE_INDEX).sum()) for place in range(20)) > 0


def test_whole_words() -> None:
    """Words are hidden whole or not at all, also at the edges of blocks and documents."""
    packed = documents([30, 9, 1, 44], block_size=16)
    packed = replace(packed, word_starts_N=np.arange(len(packed.tokens_N)) % 3 == 0)
    hidden = 0
    for index, row in enumerate(rows_of(packed, masking(mlm_probability=0.5, whole_word_mask=True))):
        chosen, text = row["labels"] != IGNORE_INDEX, packed.text_positions(index)
        starts = np.append(packed.word_starts_N, np.ones(16, dtype=bool))[index * 16 : index * 16 + 16]
        words = np.cumsum(starts | ~text)
        for word in np.unique(words):
            inside = chosen[(words == word) & text]
            assert inside.all() or not inside.any()
        hidden += chosen.sum()
        assert chosen.sum() <= round(0.5 * text.sum())
    assert hidden > 25


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_word_starts_of_a_real_tokenizer(kind: str) -> None:
    texts = sentences(60)
    tokenizer = train_tokenizer([texts], kind, 300, [MASK])
    data = Dataset.from_dict({"text": texts})
    packed, _ = tokenize(data, tokenizer, 32, f"words-{kind}", "train", with_words=True)
    starts = packed.word_starts_N
    assert 0.2 < starts.mean() < 0.95
    first = packed.tokens_N[: int(packed.document_starts_D[1])].tolist()
    words: list[list[int]] = []
    for token, begins in zip(first[1:-1], starts[1 : len(first) - 1], strict=True):
        words = [*words, [token]] if begins else [*words[:-1], [*words[-1], token]]
    spelt = [tokenizer.decode(word).strip() for word in words]
    assert "".join(spelt) == texts[0].replace(" ", "")
    assert {"The", "array"} & set(spelt) or {"returns", "values"} & set(spelt), spelt


def test_a_tokenizer_that_cannot_say_words_is_refused() -> None:
    texts = sentences(20)
    tokenizer = train_tokenizer([texts], "char", 80, [MASK])
    with pytest.raises(ConfigError, match=r"whole_word_mask.*cannot say words.*bpe or wordpiece"):
        tokenize(Dataset.from_dict({"text": texts}), tokenizer, 32, "no-words", "train", with_words=True)


def test_a_tokenizer_without_a_mask_token_is_refused() -> None:
    tokenizer = train_tokenizer([sentences(20)], "bpe", 270)
    with pytest.raises(ConfigError, match=r"no mask token.*--tokenizer.vocab_size.*pretrain_clm"):
        Masking.of(MaskingConfig(), tokenizer)


def test_shares_above_one_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"mask_replace_prob \(0.8\).*random_replace_prob \(0.3\).*above 1"):
        masking(random_replace_prob=0.3)
