"""Every task head: a step's loss and gradients depend on its rows alone, not on accumulation, padding or processes.

A step of plain SGD with learning rate 1 moves the weights by minus the gradient, so equal weights are equal gradients.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exact_step import assert_same_step, steps_of_processes
from task_step import CONFIGS, one_step, prepared

from pipelines.data.examples import Size, TokenBudget, budget_parts
from pipelines.data.packing import IGNORE_INDEX

CASES = list(CONFIGS)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("reference")
    return {case: one_step(case, 8, 1, folder / case) for case in CASES}


@pytest.mark.parametrize(
    ("rows", "accumulation", "max_tokens"),
    [(4, 2, None), (1, 8, None), (8, 1, 48), (4, 2, 40)],
    ids=["4x2", "1x8", "8x1 in parts", "4x2 in parts"],
)
@pytest.mark.parametrize("case", CASES)
def test_a_step_does_not_depend_on_how_it_is_split(
    case: str, rows: int, accumulation: int, max_tokens: int | None, reference, tmp_path: Path
) -> None:
    assert_same_step(one_step(case, rows, accumulation, tmp_path, max_tokens), reference[case])


@pytest.mark.parametrize("case", CASES)
def test_padding_changes_no_loss(case: str) -> None:
    """Each example alone, and all in one batch padded to the longest: the same summed loss."""
    task, examples, model = prepared(case)
    loss = task.loss(model, bf16=False)
    rows = [examples.block(index) for index in range(len(examples))]
    assert len({len(one["input_ids"]) for one in rows}) > 3
    with torch.no_grad():
        model.eval()
        together = float(loss.loss_sum(model, task.collate(rows)))
        alone = sum(float(loss.loss_sum(model, task.collate([one]))) for one in rows)
    assert together == pytest.approx(alone, abs=1e-4)
    assert int(loss.count(task.collate(rows))) == examples.targets_E.sum()


@pytest.mark.parametrize("case", CASES)
def test_a_filler_has_nothing_to_learn(case: str) -> None:
    task, examples, model = prepared(case)
    loss = task.loss(model, bf16=False)
    both, one = task.collate([examples.block(1), examples.filler()]), task.collate([examples.block(1)])
    with torch.no_grad():
        model.eval()
        assert int(loss.count(both)) == int(loss.count(one))
        assert float(loss.loss_sum(model, both)) == pytest.approx(float(loss.loss_sum(model, one)), abs=1e-5)


def test_losses_by_hand() -> None:
    """Summed losses from logits, with no help of transformers' own losses."""
    for case in ("single-bert", "multi-bert", "regression-roberta", "tokens-bert", "question-bert", "choice-bert"):
        task, examples, model = prepared(case)
        loss = task.loss(model, bf16=False)
        total, count = 0.0, 0
        model.eval()
        with torch.no_grad():
            for index in range(len(examples)):
                one = examples.block(index)
                logits = loss.logits(model, task.collate([one]))[0].double().numpy()
                if case == "single-bert" or case == "choice-bert":
                    total += _nats(logits, int(one["labels"][0]))
                    count += 1
                elif case == "multi-bert":
                    signs = 2 * one["labels"].astype(float) - 1
                    total += float(np.log1p(np.exp(-signs * logits)).sum())
                    count += 3
                elif case == "regression-roberta":
                    total += float((logits[0] - one["labels"][0]) ** 2)
                    count += 1
                elif case == "tokens-bert":
                    for position, label in enumerate(one["labels"].tolist()):
                        if label != IGNORE_INDEX:
                            total += _nats(logits[position], label)
                            count += 1
                else:
                    length = len(one["input_ids"])
                    for side, name in enumerate(("start_positions", "end_positions")):
                        total += _nats(logits[side, :length], int(one[name][0])) / 2
                    count += 1
            batch = task.collate([examples.block(index) for index in range(len(examples))])
            assert float(loss.loss_sum(model, batch)) == pytest.approx(total, abs=1e-4), case
            assert int(loss.count(batch)) == count, case


def _nats(logits: np.ndarray, label: int) -> float:
    return float(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[label])


def test_parts_hold_each_row_once_within_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 200).tolist()
    parts = budget_parts([Size(1, length, 0) for length in lengths], 16, 256)
    assert sorted(place for part in parts for place in part) == list(range(200))
    for part in parts:
        longest = max(-(-lengths[place] // 8) * 8 for place in part)
        assert len(part) <= 16 and (len(part) == 1 or len(part) * longest <= 256)
    assert budget_parts([Size(1, 500, 0)], 4, 100) == [[0]]


@pytest.mark.parametrize("case", ["choice-bert", "summary-t5", "single-bert"])
def test_batches_hold_no_more_positions_than_the_budget(case: str) -> None:
    """What a model computes: every choice as long as the longest of the batch, and the decoder's side besides."""
    task, examples, _ = prepared(case)
    blocks = [examples.block(index) for index in range(len(examples))]
    most = 0
    for max_tokens in range(16, 600, 8):
        batches = TokenBudget(task.collate, max_tokens, examples.has_decoder)(blocks)
        assert sum(len(batch["labels"]) for batch in batches) == len(blocks)
        for batch in batches:
            positions = sum(batch[name].numel() for name in ("input_ids", "decoder_input_ids") if name in batch)
            assert len(batch["labels"]) == 1 or positions <= max_tokens
        most = max(most, *(len(batch["labels"]) for batch in batches))
    assert most > 4


@pytest.mark.processes
def test_two_processes_equal_one(reference, tmp_path: Path) -> None:
    cases = ["single-bert", "multi-bert", "regression-roberta", "tokens-modernbert", "question-bert", "choice-bert"]
    cases += ["summary-t5", "summary-llama", "chat-qwen3"]
    steps = steps_of_processes("task_step.py", 2, 2, cases, tmp_path)
    assert len(steps) == len(cases)
    for case, step in steps.items():
        assert_same_step(step, reference[case])


def test_timing_a_micro_batch_leaves_nothing_behind() -> None:
    """No gradient, no draw of a random number, no other weight: the run after it is the run without it."""
    from pipelines.training.hardware import micro_batch_seconds

    task, examples, model = prepared("single-bert")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    batch = task.collate([examples.block(index) for index in range(4)])
    state = torch.get_rng_state()
    assert micro_batch_seconds(model, task.loss(model, bf16=False).loss_sum, [batch]) > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(weight.grad is None for weight in model.parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
