"""Blocks lose no token, predict each one once, and restart with each document."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.data.order import TrainingOrder
from pipelines.data.packing import IGNORE_INDEX, PackedDocuments, TrainingBlocks

PAD = 999


@st.composite
def packed_documents(draw: st.DrawFn) -> PackedDocuments:
    lengths = draw(st.lists(st.integers(1, 30), min_size=1, max_size=12))
    block_size = draw(st.integers(1, 16))
    tokens = np.arange(1, sum(lengths) + 1, dtype=np.int32)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64)
    return PackedDocuments(tokens, starts, np.full(len(tokens), 3, dtype=np.int32), block_size, PAD)


@settings(max_examples=1000, deadline=None)
@given(packed_documents())
def test_tokens_in_are_tokens_out(documents: PackedDocuments) -> None:
    blocks = [documents.block(index) for index in range(len(documents))]
    inputs = np.concatenate([block["input_ids"] for block in blocks])
    labels = np.concatenate([block["shift_labels"] for block in blocks])
    count = len(documents.tokens_N)
    assert np.array_equal(inputs[:count], documents.tokens_N)
    assert (inputs[count:] == PAD).all()
    assert count <= len(inputs) < count + documents.block_size

    # Every token but the first of its document is a target, exactly once, at the position before it.
    is_target = np.setdiff1d(np.arange(count), documents.document_starts_D)
    assert np.array_equal(np.flatnonzero(labels != IGNORE_INDEX), is_target - 1)
    assert np.array_equal(labels[is_target - 1], documents.tokens_N[is_target])
    assert documents.targets == len(is_target)
    per_block = [(block["shift_labels"] != IGNORE_INDEX).sum() for block in blocks]
    assert np.array_equal(documents.targets_per_block(), per_block)


@settings(max_examples=300, deadline=None)
@given(packed_documents())
def test_positions_restart_with_documents_and_blocks(documents: PackedDocuments) -> None:
    for index in range(len(documents)):
        positions = documents.block(index)["position_ids"]
        first = index * documents.block_size
        restarts = set(documents.document_starts_D - first) | {0, len(documents.tokens_N) - first}
        expected, position = [], 0
        for offset in range(documents.block_size):
            position = 0 if offset in restarts else position + 1
            expected.append(position)
        assert positions.tolist() == expected


@settings(max_examples=300, deadline=None)
@given(packed_documents(), st.data())
def test_segments_hold_the_same_predictions(documents: PackedDocuments, data: st.DataObject) -> None:
    blocks = data.draw(st.lists(st.integers(0, len(documents) - 1), unique=True, min_size=1).map(sorted))
    tokens, starts = documents.segments(np.array(blocks))
    from_blocks = [
        (int(block["input_ids"][t]), int(block["shift_labels"][t]))
        for block in map(documents.block, blocks)
        for t in range(documents.block_size)
        if block["shift_labels"][t] != IGNORE_INDEX
    ]
    from_segments = [(int(tokens[i - 1]), int(tokens[i])) for i in range(len(tokens)) if i not in set(starts.tolist())]
    assert from_segments == from_blocks


def test_two_documents_by_hand() -> None:
    # Documents [1 2 3] and [4 5 6 7] in blocks of 5: the second one goes over the edge.
    documents = PackedDocuments(np.arange(1, 8, dtype=np.int32), np.array([0, 3]), np.ones(7, dtype=np.int32), 5, PAD)
    first, second = documents.block(0), documents.block(1)
    assert first["input_ids"].tolist() == [1, 2, 3, 4, 5]
    assert first["shift_labels"].tolist() == [2, 3, IGNORE_INDEX, 5, 6]
    assert first["position_ids"].tolist() == [0, 1, 2, 0, 1]
    assert second["input_ids"].tolist() == [6, 7, PAD, PAD, PAD]
    assert second["shift_labels"].tolist() == [7, *[IGNORE_INDEX] * 4]
    assert second["position_ids"].tolist() == [0, 1, 0, 1, 2]
    assert documents.target_bytes() == 5
    assert documents.target_bytes(blocks=1) == 4
    with pytest.raises(IndexError):
        documents.block(2)


@given(st.integers(1, 50), st.integers(0, 200), st.integers(0, 5))
def test_order_shows_every_block_once_per_epoch(blocks: int, places: int, seed: int) -> None:
    documents = PackedDocuments(np.arange(blocks, dtype=np.int32), np.array([0]), None, 1, PAD)
    run = TrainingBlocks(documents, TrainingOrder(blocks, seed), places, places)
    shown = [int(run[place]["input_ids"][0]) for place in range(len(run))]
    for epoch in range(places // blocks):
        assert sorted(shown[epoch * blocks : (epoch + 1) * blocks]) == list(range(blocks))
    assert np.array_equal(run.order.consumed(places), np.bincount(shown, minlength=blocks))


def test_order_is_a_function_of_seed_and_place() -> None:
    documents = PackedDocuments(np.arange(20, dtype=np.int32), np.array([0]), None, 1, PAD)
    whole = TrainingBlocks(documents, TrainingOrder(20, 7), 60, 60)
    shown = [int(whole[place]["input_ids"][0]) for place in range(60)]
    longer = TrainingBlocks(documents, TrainingOrder(20, 7), 90, 90)
    assert [int(longer[place]["input_ids"][0]) for place in reversed(range(60))] == shown[::-1]
    other = TrainingBlocks(documents, TrainingOrder(20, 8), 60, 60)
    assert [int(other[place]["input_ids"][0]) for place in range(60)] != shown
    assert shown[:20] != shown[20:40]


def test_rows_after_the_last_place_have_no_target() -> None:
    documents = PackedDocuments(np.arange(20, dtype=np.int32), np.array([0]), None, 4, PAD)
    run = TrainingBlocks(documents, TrainingOrder(5, 0), 8, 5)
    assert all((run[place]["shift_labels"] == IGNORE_INDEX).all() for place in range(5, 8))
    assert all((run[place]["shift_labels"] != IGNORE_INDEX).any() for place in range(5))
