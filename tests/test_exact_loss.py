"""Loss and gradients of an optimizer step depend on its rows alone: not on accumulation, padding or processes.

A step of plain SGD with learning rate 1 moves the weights by minus the gradient, so equal weights are equal gradients.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from architectures import DECODERS, ENCODERS, build
from exact_step import assert_same_step, one_step, ragged_documents, steps_of_processes, training_rows

from pipelines.data.packing import IGNORE_INDEX

ONE_BATCH = (8, 1)
MODEL_TYPES = [*DECODERS, *ENCODERS]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, dict[str, torch.Tensor]]]:
    folder = tmp_path_factory.mktemp("reference")
    return {family: one_step(family, *ONE_BATCH, folder / family) for family in MODEL_TYPES}


@pytest.mark.parametrize("rows_and_accumulation", [(4, 2), (2, 4), (1, 8)])
@pytest.mark.parametrize("family", MODEL_TYPES)
def test_accumulation_equals_one_batch(
    family: str, rows_and_accumulation: tuple[int, int], reference, tmp_path
) -> None:
    assert_same_step(one_step(family, *rows_and_accumulation, tmp_path), reference[family])


def test_the_rows_are_ragged() -> None:
    """Micro-batches of the test hold different numbers of targets: a mean of means would differ."""
    for model_type, name in (("llama", "shift_labels"), ("bert", "labels")):
        rows = training_rows(model_type)
        targets = [int((rows[place][name] != IGNORE_INDEX).sum()) for place in range(8)]
        assert len(rows) == 8
        assert len(set(targets)) > 2


def test_loss_is_the_mean_over_all_targets(reference) -> None:
    """By hand: the mean of -ln softmax at the label, with no help of the trainer or transformers' loss."""
    model, documents = build("llama", block_size=16), ragged_documents()
    total, count = 0.0, 0
    with torch.no_grad():
        for index in range(len(documents)):
            block = {name: torch.from_numpy(values)[None] for name, values in documents.block(index).items()}
            logits = model(input_ids=block["input_ids"], position_ids=block["position_ids"], use_cache=False).logits[0]
            for position, label in enumerate(block["shift_labels"][0].tolist()):
                if label != IGNORE_INDEX:
                    scores = logits[position].double().numpy()
                    total += np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[label]
                    count += 1
    assert reference["llama"][0] == pytest.approx(total / count, abs=1e-6)


def test_masked_loss_is_the_mean_over_all_masked_tokens(reference) -> None:
    """By hand, document by document without packing or mask: the mean of -ln softmax at the label."""
    model, rows = build("bert", block_size=16), training_rows("bert")
    total, count = 0.0, 0
    with torch.no_grad():
        for place in range(8):
            row = {name: torch.from_numpy(values) for name, values in rows[place].items()}
            starts = [*torch.nonzero(row["position_ids"] == 0).flatten().tolist(), 16]
            for start, end in zip(starts, starts[1:], strict=False):
                logits = model(input_ids=row["input_ids"][None, start:end]).logits[0].double()
                labels = row["labels"][start:end]
                masked = labels != IGNORE_INDEX
                total -= float(torch.log_softmax(logits[masked], -1).gather(1, labels[masked][:, None]).sum())
                count += int(masked.sum())
    assert reference["bert"][0] == pytest.approx(total / count, abs=1e-6)


@pytest.mark.processes
@pytest.mark.parametrize("rows_and_accumulation", [(4, 1), (2, 2)])
def test_two_processes_equal_one(rows_and_accumulation: tuple[int, int], reference, tmp_path: Path) -> None:
    families = ["gpt2", "llama", "bert", "roberta", "distilbert", "electra", "deberta-v2", "modernbert"]
    steps = steps_of_processes("exact_step.py", *rows_and_accumulation, families, tmp_path)
    assert len(steps) == len(families)
    for family, step in steps.items():
        assert_same_step(step, reference[family])
