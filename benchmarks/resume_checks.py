"""Runs that go on from a checkpoint: the same batches, the same masks, and what becomes of a damaged checkpoint."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import DataCollatorForLanguageModeling, PreTrainedModel

from benchmarks.finding import Finding, heard, quoted, told
from benchmarks.tiny import (
    BERT,
    LLAMA,
    Kind,
    build,
    exact_trainer,
    framed,
    masking,
    packed,
    plain_trainer,
    tokenizer,
)
from pipelines.data.collation import BlockCollator
from pipelines.data.order import TrainingOrder
from pipelines.data.packing import TrainingBlocks
from pipelines.errors import CheckpointError
from pipelines.evaluation.masked_language_modeling import FixedMask
from pipelines.models.attention_check import check_encoder
from pipelines.sections import MaskedLanguageModelEvaluationConfig
from pipelines.training.checkpoints import newest_complete
from pipelines.training.objectives import CausalLanguageModeling, MaskedLanguageModeling
from pipelines.training.trainer import Objective

LENGTH = 16  # tokens of each of the documents, which is also a block
DOCUMENTS = 40
ROWS = 4  # of a step: 10 steps are a pass over the documents
SAVED = 5  # a checkpoint after every so many steps
BUFFER = 20  # documents of the shuffle buffer

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Run:
    """What a run was given and what came of it: the batch of each of its own steps, the weights at the end."""

    batches: list[Batch]
    weights: dict[str, torch.Tensor]


def documents() -> list[np.ndarray]:
    """Documents of equal length, BOS and EOS included."""
    return [framed(seed, LENGTH - 2) for seed in range(DOCUMENTS)]


def settings(steps: int) -> dict[str, Any]:
    return {
        "max_steps": steps,
        "per_device_train_batch_size": ROWS,
        "save_steps": SAVED,
        "lr_scheduler_type": "constant",
        "learning_rate": 1e-3,
    }


def plain_run(
    objective: Kind, data: Any, folder: Path, steps: int, resume: bool = False, seed: int | None = None
) -> Run:
    """A run of transformers.Trainer; what the model is given is read off a hook of the model.

    Args:
        objective: causal or masked.
        data: rows of input_ids.
        folder: output_dir.
        steps: max_steps.
        resume: go on from the newest checkpoint in the folder.
        seed: of the collator's masks; None: they come from the global generator.
    """
    model = build(BERT if objective == "masked" else LLAMA, objective)
    collator = DataCollatorForLanguageModeling(tokenizer(), mlm=objective == "masked", mlm_probability=0.4, seed=seed)
    trainer = plain_trainer(model, folder, collator, train=data, **settings(steps))
    with recorded(model, training=True) as batches:
        trainer.train(resume_from_checkpoint=resume or None)
    return Run(batches, _weights(model))


def exact_run(objective: Kind, folder: Path, steps: int, resume: Path | None = None) -> Run:
    """The same run by Plumbline, over the same documents as blocks."""
    model = build(BERT if objective == "masked" else LLAMA, objective)
    loss: Any = CausalLanguageModeling(bf16=False)
    if objective == "masked":
        loss = MaskedLanguageModeling(False, *check_encoder(model, isolate_documents=True))
    blocks = TrainingBlocks(
        packed(documents(), LENGTH), TrainingOrder(DOCUMENTS, seed=0), steps * ROWS, steps * ROWS,
        masking() if objective == "masked" else None,
    )  # fmt: skip
    kept = Recorder(loss)
    trainer = exact_trainer(model, folder, blocks, BlockCollator(), kept, **settings(steps))
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    return Run(kept.batches, _weights(model))


class Recorder:
    """An objective that keeps the batches that it is given."""

    def __init__(self, objective: Objective) -> None:
        self.objective, self.batches = objective, list[Batch]()

    def count(self, batch: Batch) -> torch.Tensor:
        return self.objective.count(batch)

    def loss_sum(self, model: Any, batch: Batch) -> torch.Tensor:
        self.batches.append({name: tensor.clone() for name, tensor in batch.items()})
        return self.objective.loss_sum(model, batch)


@contextmanager
def recorded(model: PreTrainedModel, training: bool) -> Iterator[list[Batch]]:
    """The batches that a model is given in training, or in evaluation."""
    batches: list[Batch] = []

    def keep(module: Any, inputs: Any, named: dict[str, Any]) -> None:
        if module.training == training:
            batches.append({name: one.clone() for name, one in named.items() if torch.is_tensor(one)})

    hook = model.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield batches
    finally:
        hook.remove()


def _weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def same_batches(whole: Run, resumed: Run, step: int) -> tuple[int, int]:
    """(steps after `step` whose batch is bitwise the same in both runs, steps after `step`)."""
    rest = whole.batches[step:]
    same = sum(
        one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
        for one, other in zip(rest, resumed.batches, strict=False)
    )
    return same, len(rest)


def off_by(whole: Run, other: Run) -> float:
    """The largest difference of a weight; 0 is bitwise."""
    return max(float((whole.weights[name] - weight).abs().max()) for name, weight in other.weights.items())


def plain_resumed(
    objective: Kind, make: Callable[[], Any], steps: int, step: int, seed: int | None = None
) -> tuple[Run, Run, list[str]]:
    """(a whole run, the same from its checkpoint after `step` on, what was said on going on)."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        whole = plain_run(objective, make(), Path(first), steps, seed=seed)
        name = f"checkpoint-{step}"
        shutil.copytree(Path(first) / name, Path(second) / name)
        with heard() as messages:
            resumed = plain_run(objective, make(), Path(second), steps, resume=True, seed=seed)
    return whole, resumed, messages


def exact_resumed(objective: Kind, steps: int, step: int) -> tuple[Run, Run]:
    """The same by Plumbline."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        whole = exact_run(objective, Path(folder), steps)
        return whole, exact_run(objective, Path(other), steps, Path(folder) / f"checkpoint-{step}")


def rows() -> Dataset:
    return Dataset.from_list([{"input_ids": one.tolist()} for one in documents()])


def stream() -> Any:
    """The documents as a stream with a shuffle buffer."""
    return rows().to_iterable_dataset().shuffle(seed=0, buffer_size=BUFFER)


# ---------------------------------------------------------------- checks


def resume() -> list[Finding]:
    """A causal run that goes on from a checkpoint in its first and in its second pass over the data.

    A user meets it (with streams) as rows that are seen twice and others that are not, after any interruption that
    does not fall on the end of a pass: Trainer does not know how long a pass is, and says nothing.
    """
    findings = []
    for check, make, cases in (
        ("map-style", rows, ((12, 5), (25, 15))),
        (f"stream, first pass (shuffle buffer of {BUFFER})", stream, ((9, 5),)),
        (f"stream, second pass (shuffle buffer of {BUFFER})", stream, ((20, 15),)),
    ):
        plain = [plain_resumed("causal", make, *case) for case in cases]
        exact = [exact_resumed("causal", *case) for case in cases]
        findings.append(_resume_finding(f"resume: {check}", cases, plain, exact))
    return findings


def _resume_finding(
    check: str, cases: Any, plain: list[tuple[Run, Run, list[str]]], exact: list[tuple[Run, Run]]
) -> Finding:
    theirs = [_same(whole, resumed, case[1]) for (whole, resumed, _), case in zip(plain, cases, strict=True)]
    ours = [_same(whole, resumed, case[1]) for (whole, resumed), case in zip(exact, cases, strict=True)]
    said = [message for _, _, messages in plain for message in messages]
    holds = all(one["same"] == one["steps"] and one["weights_off_by"] == 0 for one in theirs)
    return Finding(
        check,
        f"after a resume (from step {' and '.join(f'{step} of {steps}' for steps, step in cases)}; "
        f"{DOCUMENTS // ROWS} are a pass), the batches and weights of the uninterrupted run",
        "; ".join(map(_shown, theirs)) + ("" if holds else f"; {told(said)}"),
        holds,
        "; ".join(map(_shown, ours)) + ("" if "map" in check else " (blocks on disk: there are no streams)"),
        all(one["same"] == one["steps"] and one["weights_off_by"] == 0 for one in ours),
        {"trainer": theirs, "plumbline": ours, "said": said},
    )


def _same(whole: Run, resumed: Run, step: int) -> dict[str, Any]:
    same, steps = same_batches(whole, resumed, step)
    return {"same": same, "steps": steps, "weights_off_by": off_by(whole, resumed)}


def _shown(one: dict[str, Any]) -> str:
    weights = (
        "weights bitwise the same" if one["weights_off_by"] == 0 else f"weights off by {one['weights_off_by']:.0e}"
    )
    return f"{one['same']} of {one['steps']} batches the same, {weights}"


def masks() -> list[Finding]:
    """Masks of DataCollatorForLanguageModeling: after a resume, and in two evaluations of the same rows.

    A user meets it as a run that cannot be repeated bitwise once it was stopped (the loader is a batch ahead when the
    state of the generator is saved, and a collator with a seed of its own starts anew), and as an eval_loss that
    differs though no weight does.
    """
    steps, step = 12, 5
    plain = {
        name: _same(*plain_resumed("masked", rows, steps, step, seed)[:2], step)
        for name, seed in (("by default", None), ("with seed=3", 3))
    }
    ours = _same(*exact_resumed("masked", steps, step), step)
    resumed = Finding(
        "masks: resume",
        f"after a resume (from step {step}), the masks and weights of the uninterrupted run",
        "; ".join(f"{name}: {_shown(one)}" for name, one in plain.items()),
        all(one["same"] == one["steps"] for one in plain.values()),
        _shown(ours),
        ours["same"] == ours["steps"] and ours["weights_off_by"] == 0,
        {"trainer": plain, "plumbline": ours},
    )
    return [resumed, _two_evaluations()]


def _two_evaluations() -> Finding:
    model = build(BERT, "masked")
    shared, losses = {}, {}
    for name, seed in (("by default", None), ("with seed=3", 3)):
        collator = DataCollatorForLanguageModeling(tokenizer(), mlm_probability=0.4, seed=seed)
        with tempfile.TemporaryDirectory() as folder, recorded(model, training=False) as batches:
            trainer = plain_trainer(model, Path(folder), collator, evaluate=rows())
            losses[name] = [float(trainer.evaluate()["eval_loss"]) for _ in range(2)]
        labels = torch.cat([batch["labels"] for batch in batches])
        shared[name] = int((labels[:DOCUMENTS] == labels[DOCUMENTS:]).all(dim=1).sum())
    objective = MaskedLanguageModeling(False, *check_encoder(model, isolate_documents=True))
    config = MaskedLanguageModelEvaluationConfig()
    fixed = FixedMask(packed(documents(), LENGTH), masking().for_evaluation(0.4), objective, 8, config)
    ours = [fixed.evaluate(model)["eval_loss"] for _ in range(2)]
    equal = sum(np.array_equal(fixed.row(index)["labels"], fixed.row(index)["labels"]) for index in range(DOCUMENTS))
    cells = [
        f"{name}: {count} of {DOCUMENTS} rows share a mask, eval_loss {losses[name][0]:.4f} and {losses[name][1]:.4f}"
        for name, count in shared.items()
    ]
    return Finding(
        "masks: two evaluations",
        "two evaluations of the same weights on the same rows have the same masks and the same eval_loss",
        "; ".join(cells),
        all(count == DOCUMENTS for count in shared.values()),
        f"{equal} of {DOCUMENTS}, eval_loss {ours[0]:.4f} and {ours[1]:.4f}",
        equal == DOCUMENTS and ours[0] == ours[1],
        {"trainer": {"shared": shared, "losses": losses}, "plumbline": {"shared": equal, "losses": ours}},
    )


# ---------------------------------------------------------------- damaged checkpoints


def damaged_checkpoint() -> list[Finding]:
    """The newer of two checkpoints damaged: its last file not yet written, its optimizer missing, a bit flipped.

    A user meets it after a kill in the middle of saving, a power cut, or a full or failing disk, on
    `trainer.train(resume_from_checkpoint=True)`.
    """
    steps = 12
    damages: dict[str, Callable[[Path], None]] = {
        "killed while saving (no trainer_state.json)": lambda folder: (folder / "trainer_state.json").unlink(),
        "no optimizer.pt": lambda folder: (folder / "optimizer.pt").unlink(),
        "a bit of the weights flipped": lambda folder: _flip(folder / "model.safetensors"),
    }
    theirs, ours = {}, {}
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        whole = plain_run("causal", rows(), Path(first), steps)
        exact_run("causal", Path(second), steps)
        for name, damage in damages.items():
            theirs[name] = _after_damage(Path(first), damage, lambda folder: _went_on(folder, whole, steps))
            ours[name] = _after_damage(Path(second), damage, _chosen)
    return [
        Finding(
            "damaged_checkpoint",
            "a resume goes on from the newest complete checkpoint, and names the damaged one",
            "; ".join(f"{name}: {one}" for name, one in theirs.items()),
            all("checkpoint-5" in one for one in theirs.values()),
            "; ".join(f"{name}: {one}" for name, one in ours.items()),
            all(one.startswith("checkpoint-5") for one in ours.values()),
            {"trainer": theirs, "plumbline": ours},
        )
    ]


def _after_damage(run: Path, damage: Callable[[Path], None], outcome: Callable[[Path], str]) -> str:
    """What becomes of a copy of the checkpoints 5 and 10 with the second one damaged."""
    with tempfile.TemporaryDirectory() as folder:
        for step in (SAVED, 2 * SAVED):
            shutil.copytree(run / f"checkpoint-{step}", Path(folder) / f"checkpoint-{step}")
        damage(Path(folder) / f"checkpoint-{2 * SAVED}")
        return outcome(Path(folder))


def _went_on(folder: Path, whole: Run, steps: int) -> str:
    with heard() as messages:
        try:
            resumed = plain_run("causal", rows(), folder, steps, resume=True)
        except Exception as error:  # whatever it is, the user meets it
            return f"ends with {type(error).__name__}"
    start = steps - len(resumed.batches)
    off = off_by(whole, resumed)
    return f"goes on from checkpoint-{start} as if nothing were ({told(messages)}), weights off by {off:.0e}"


def _chosen(folder: Path) -> str:
    try:
        checkpoint, damaged = newest_complete(folder)
    except CheckpointError as error:
        return quoted(error)
    assert checkpoint is not None
    return f"{checkpoint.name} ({'; '.join(damaged.values())})"


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-998] ^= 0x40  # in the upper half of a fp32 number
    path.write_bytes(bytes(content))
