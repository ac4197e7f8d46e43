"""Losses and gradients of a step, and eval_loss: do they depend on how the same rows are split into batches?

As a module, the steps of all heads in one of two gloo processes:
python -m torch.distributed.run --standalone --nproc-per-node 2 --module benchmarks.loss_checks FOLDER HEAD [HEAD ...]
"""

import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Trainer

from benchmarks.finding import Finding, heard
from benchmarks.tiny import (
    ADAMW,
    BLOCK,
    HEADS,
    LENGTHS,
    LLAMA,
    Head,
    Steps,
    build,
    exact_steps,
    exact_trainer,
    packed,
    plain_steps,
    plain_trainer,
    tokens,
)
from pipelines.data.collation import BlockCollator
from pipelines.data.order import TrainingOrder
from pipelines.data.packing import IGNORE_INDEX, TrainingBlocks
from pipelines.errors import TrainingError
from pipelines.evaluation.language_modeling import evaluate_language_model
from pipelines.finetuning.evaluating import Evaluator
from pipelines.run import end_with_parent
from pipelines.training.objectives import CausalLanguageModeling

ROUNDING = 1e-5  # share of the gradient that two ways of adding up the same fp32 numbers may differ by; 1e-6 is seen
SIDES: dict[str, Callable[..., Steps]] = {"trainer": plain_steps, "plumbline": exact_steps}
SAME_WAY = 0.01  # AdamW makes much of the rounding of tiny gradients: 0.0005 is seen
ADAMW_HEADS = (
    "classification BERT",
    "classification Llama",
    "tags BERT",
    "answers BERT",
    "seq2seq T5",
    "masked BERT",
    "causal Llama",
)
EVAL_HEADS = ("classification BERT", "tags BERT", "answers BERT", "seq2seq T5")


@cache
def one_batch(side: str, head: str) -> Steps:
    """The step that all others are compared with: eight rows at once, in one process."""
    with tempfile.TemporaryDirectory() as folder:
        return SIDES[side](HEADS[head](), 8, 1, Path(folder))


def gradients(heads: tuple[str, ...] = tuple(HEADS)) -> list[Finding]:
    """Eight rows as 4 rows x 2 accumulation steps and as one batch of 8, which `TrainingArguments` treats as the same.

    A user meets it as a logged loss and grad_norm that are a multiple of what they were, and with SGD as a learning
    rate that is. AdamW divides a constant factor out again (second row: steps with the default optimizer and
    clipping); what stays is that rows and tokens have other weights, as all micro-batches count alike.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for side, steps in SIDES.items():
            found[side] = {
                head: compared(steps(HEADS[head](), 4, 2, Path(folder)), one_batch(side, head)) for head in heads
            }
    finding = split_finding("gradients", "4 rows x 2 accumulation steps = 8 rows: same loss, same gradient", found)
    return [finding, _adamw([head for head in heads if head in ADAMW_HEADS])]


def _adamw(heads: list[str]) -> Finding:
    """How far the weights end from those of one batch, as a share of the way that they went."""
    off: dict[str, dict[str, float]] = {side: {} for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        for side, steps in SIDES.items():
            for head in heads:
                whole, split = (steps(HEADS[head](), *way, Path(folder), ADAMW).moved for way in ((8, 1), (4, 2)))
                off[side][head] = float((split - whole).norm() / whole.norm())
    worst = max(off["plumbline"].values())
    return Finding(
        "gradients: AdamW",
        f"the same weights after {ADAMW['max_steps']} steps of AdamW with clipping, to {SAME_WAY:.0%} of their way",
        ", ".join(f"{head} {share:.1%}" for head, share in off["trainer"].items()) + " off",
        max(off["trainer"].values()) < SAME_WAY,
        f"at most {worst:.2%} off",
        worst < SAME_WAY,
        off,
    )


def processes(heads: tuple[str, ...] = tuple(HEADS)) -> list[Finding]:
    """The same eight rows in two processes of 4 rows each (gloo, the real world size is asserted), and eval_loss there.

    A user meets it when a run moves from one GPU to several: loss and gradients change by their number.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
            *("--module", "benchmarks.loss_checks", folder, *heads),
        ]
        root = Path(__file__).parents[1]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=root)
        if done.returncode:
            raise RuntimeError(f"two processes failed: {done.stderr[-2000:]}")
        facts = json.loads((Path(folder) / "facts.json").read_text())
        if facts["world_size"] != 2:
            raise RuntimeError(f"expected two processes, found {facts['world_size']}")
        steps = torch.load(Path(folder) / "gradients.pt", weights_only=True)
    found = {
        side: {
            head: compared(Steps(facts["loss"][side][head], steps[side][head], torch.zeros(())), one_batch(side, head))
            for head in heads
        }
        for side in SIDES
    }
    finding = split_finding("processes", "2 processes x 4 rows = 8 rows in one: same loss, same gradient", found)
    alone = {side: eval_losses("classification BERT", (8,))[side][8] for side in SIDES}
    together = facts["eval_loss"]
    factors = {side: together[side] / alone[side] for side in SIDES}
    evaluation = Finding(
        "processes: eval_loss",
        "eval_loss of the same weights and rows: the same in two processes as in one",
        f"classification BERT: {together['trainer']:.4f} instead of {alone['trainer']:.4f}, x{factors['trainer']:.2f}",
        abs(factors["trainer"] - 1) < ROUNDING,
        f"{together['plumbline']:.4f} and {alone['plumbline']:.4f}, x{factors['plumbline']:.2f}",
        abs(factors["plumbline"] - 1) < ROUNDING,
        {"one process": alone, "two processes": together},
    )
    return [finding, evaluation]


def compared(step: Steps, whole: Steps) -> dict[str, float]:
    """How a step differs from the one in one batch: ratios of loss and gradient norm, and the share it is off by."""
    norm = float(whole.gradient.norm())
    return {
        "loss": step.loss,
        "loss_one_batch": whole.loss,
        "loss_ratio": step.loss / whole.loss,
        "gradient_ratio": float(step.gradient.norm()) / norm,
        "gradient_off_by": float((step.gradient - whole.gradient).norm()) / norm,
    }


def split_finding(check: str, should_hold: str, found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Finding:
    """The row of a table from the comparisons of each side and head."""
    worst = max(one["gradient_off_by"] for one in found["plumbline"].values())
    right = [head for head, one in found["trainer"].items() if one["gradient_off_by"] < ROUNDING]
    cells = [f"{head} {_ratio(one)}" for head, one in found["trainer"].items()]
    return Finding(
        check,
        should_hold,
        f"gradient: {', '.join(cells)}; right for {len(right)} of {len(cells)} heads",
        len(right) == len(cells),
        f"x1.00 for all {len(cells)} heads, off by at most {worst:.0e}",
        worst < ROUNDING,
        {side: {head: dict(one) for head, one in heads.items()} for side, heads in found.items()},
    )


def _ratio(one: Mapping[str, float]) -> str:
    near = abs(one["gradient_ratio"] - 1) < 0.2 and one["gradient_off_by"] >= ROUNDING
    return f"x{one['gradient_ratio']:.2f}" + (f" ({one['gradient_off_by']:.0%} off)" if near else "")


# ---------------------------------------------------------------- the loss itself


def by_hand(heads: tuple[str, ...] = tuple(HEADS)) -> list[Finding]:
    """The loss of eight rows in one batch, logged and as eval_loss, against -ln p worked out row by row in fp64.

    A user meets it as a perplexity that is too low: with GPT-2 (and every class not named ...ForCausalLM) the first
    token of each row is counted, but not predicted. And in question answering as a loss that grows with padding.
    """
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in heads:
            head = HEADS[name]()
            found[name] = {
                "by_hand": _mean_loss(head),
                "logged": one_batch("trainer", name).loss,
                "eval_loss": _plain_eval(head, 8, Path(folder)),
                "plumbline": one_batch("plumbline", name).loss,
            }
    off = {name: max(abs(one[key] - one["by_hand"]) for key in ("logged", "eval_loss")) for name, one in found.items()}
    wrong = [name for name in found if off[name] >= ROUNDING]
    cells = [
        f"{name} {found[name]['logged']:.4f} logged, {found[name]['eval_loss']:.4f} eval_loss instead of "
        f"{found[name]['by_hand']:.4f}"
        for name in wrong
    ]
    worst = max(abs(one["plumbline"] - one["by_hand"]) for one in found.values())
    return [
        Finding(
            "by_hand",
            "the loss of 8 rows in one batch is the mean of -ln p over what is supervised, each row by itself",
            "; ".join([*cells, f"right for {len(found) - len(wrong)} of {len(found)} heads"]),
            not wrong,
            f"off by at most {worst:.0e} nats",
            worst < ROUNDING,
            found,
        )
    ]


def _mean_loss(head: Head) -> float:
    """-ln p of all labels in nats, each row alone and without padding, over their number."""
    nats = count = 0.0
    model: Any = head.model.eval()
    for feature in head.features:
        row = {name: torch.tensor([value]) for name, value in feature.items()}
        row.setdefault("labels", row["input_ids"])
        if "start_positions" in row:
            del row["labels"]
        with torch.no_grad():
            output = model(**row)
        if "start_positions" in row:
            sides = ((output.start_logits, row["start_positions"]), (output.end_logits, row["end_positions"]))
            nats += sum(_nats(*side) for side in sides) / 2
            count += 1
            continue
        logits, labels = output.logits, row["labels"]
        if "labels" not in feature:  # next-token prediction
            logits, labels = logits[:, :-1], labels[:, 1:]
        nats += _nats(logits.flatten(0, -2), labels.flatten())
        count += int((labels != IGNORE_INDEX).sum())
    return nats / count


def _nats(logits_NV: torch.Tensor, labels_N: torch.Tensor) -> float:
    kept = labels_N != IGNORE_INDEX
    return float(-torch.log_softmax(logits_NV[kept].double(), -1).gather(1, labels_N[kept][:, None]).sum())


# ---------------------------------------------------------------- eval_loss


def eval_batches(heads: tuple[str, ...] = EVAL_HEADS, batches: tuple[int, ...] = (1, 3, 8)) -> list[Finding]:
    """eval_loss of the same weights on the same eight rows, by per_device_eval_batch_size.

    A user meets it as a perplexity that changes with the memory of the GPU. Batches are averaged by rows, not by what
    is supervised in them; in question answering padding takes part in the softmax.
    """
    found: dict[str, dict[str, dict[int, float]]] = {side: {} for side in SIDES}
    for head in heads:
        for side, losses in eval_losses(head, batches).items():
            found[side][head] = losses
    for side, losses in causal_eval_losses(batches).items():
        found[side]["causal Llama"] = losses
    spread = {
        side: {head: max(one.values()) - min(one.values()) for head, one in heads.items()}
        for side, heads in found.items()
    }
    cells = [f"{head} {' / '.join(f'{loss:.4f}' for loss in one.values())}" for head, one in found["trainer"].items()]
    return [
        Finding(
            "eval_batches",
            f"eval_loss does not depend on the eval batch size ({', '.join(map(str, batches))})",
            ", ".join(cells),
            max(spread["trainer"].values()) < ROUNDING,
            f"differs by at most {max(spread['plumbline'].values()):.0e} nats",
            max(spread["plumbline"].values()) < ROUNDING,
            found,
        )
    ]


def eval_losses(name: str, batches: tuple[int, ...]) -> dict[str, dict[int, float]]:
    """Side -> eval batch size -> eval_loss of a fine-tuning head, in however many processes there are."""
    head = HEADS[name]()
    assert head.task is not None and head.rows is not None
    losses: dict[str, dict[int, float]] = {side: {} for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        for batch in batches:
            losses["trainer"][batch] = _plain_eval(head, batch, Path(folder))
            evaluator = Evaluator(head.task, head.rows, head.examples, head.objective, batch, None)  # type: ignore[arg-type]
            losses["plumbline"][batch] = evaluator(head.model)["eval_loss"]
    return losses


def causal_eval_losses(batches: tuple[int, ...]) -> dict[str, dict[int, float]]:
    """The same for next-token prediction: transformers gets the documents as rows, Plumbline packs them."""
    head = HEADS["causal Llama"]()
    documents = packed([tokens(place, length) for place, length in enumerate(LENGTHS)], BLOCK)
    objective = CausalLanguageModeling(bf16=False)
    losses: dict[str, dict[int, float]] = {side: {} for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        for batch in batches:
            losses["trainer"][batch] = _plain_eval(head, batch, Path(folder))
            figures = evaluate_language_model(head.model, documents, objective, BlockCollator(), batch)
            losses["plumbline"][batch] = figures["eval_loss"]
    return losses


def _plain_eval(head: Head, batch: int, folder: Path) -> float:
    trainer: Trainer = plain_trainer(
        head.model, folder, head.collator, evaluate=head.features, per_device_eval_batch_size=batch
    )
    return float(trainer.evaluate()["eval_loss"])


# ---------------------------------------------------------------- losses that are not numbers

POISONED = 4  # the forward pass whose embeddings become NaN
STEPS = 8


def not_a_number() -> list[Finding]:
    """One bad batch (here: NaN in the embeddings of step 4 of 8), with the default logging_nan_inf_filter.

    A user meets it as a run that ends without an error, with a logged loss of 0.0, and a model of NaN.
    """
    rows = [tokens(place, BLOCK) for place in range(16)]
    settings: dict[str, Any] = {
        "max_steps": STEPS,
        "per_device_train_batch_size": 2,
        "logging_steps": 1,
        "save_strategy": "no",
    }
    with tempfile.TemporaryDirectory() as folder:
        model = poisoned()
        trainer = plain_trainer(model, Path(folder), _with_labels, train=_as_features(rows), **settings)
        trainer.train()
        logged = [event["loss"] for event in trainer.state.log_history if "loss" in event]
        lost, ours = _nan_tensors(model), poisoned()
        documents = packed(rows, BLOCK)
        blocks = TrainingBlocks(documents, TrainingOrder(len(rows), seed=0), 16, 16)
        exact = exact_trainer(
            ours, Path(folder), blocks, BlockCollator(), CausalLanguageModeling(bf16=False), **settings
        )
        stopped = None
        try:
            exact.train()
        except TrainingError as error:
            stopped = str(error)
    parameters, steps = len(list(model.parameters())), len(logged)
    ours_lost = _nan_tensors(ours)
    return [
        Finding(
            "not_a_number",
            "a loss that is not finite is shown, and does not reach the weights",
            f"all {steps} steps run; loss logged from step {POISONED} on: {logged[POISONED - 1]}; "
            f"{lost} of {parameters} weight tensors end as NaN",
            lost == 0,
            f"stops: {stopped.split('. ')[0]!r}; {ours_lost} weight tensors with NaN" if stopped else "went on",
            stopped is not None and ours_lost == 0,
            {"trainer": {"logged": logged, "nan_tensors": lost}, "plumbline": {"stopped": stopped}},
        )
    ]


def poisoned() -> Any:
    """A model whose embeddings become NaN in one training step."""
    model = build(LLAMA, "causal")
    passes = iter(range(1, 1 + STEPS * 2))

    def poison(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output * float("nan") if module.training and next(passes) == POISONED else output

    model.get_input_embeddings().register_forward_hook(poison)
    return model


def _nan_tensors(model: Any) -> int:
    return sum(bool(one.isnan().any()) for one in model.parameters())


def _as_features(rows: list[np.ndarray]) -> list[dict[str, Any]]:
    return [{"input_ids": row.tolist(), "labels": row.tolist()} for row in rows]


def _with_labels(features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    from transformers import default_data_collator

    return default_data_collator(features)


# ---------------------------------------------------------------- in two processes


def main(folder: Path, heads: list[str]) -> None:
    """Runs under torchrun: every head's step on both sides, and one evaluation; the first process writes them."""
    from accelerate import PartialState

    end_with_parent()
    state = PartialState(cpu=True)
    torch.set_num_threads(1)
    gc.freeze()
    with heard(), tempfile.TemporaryDirectory() as aside:
        steps = {side: {head: run(HEADS[head](), 4, 1, Path(aside)) for head in heads} for side, run in SIDES.items()}
        evaluated = {side: losses[4] for side, losses in eval_losses("classification BERT", (4,)).items()}
    if state.is_main_process:
        losses = {side: {head: one.loss for head, one in found.items()} for side, found in steps.items()}
        kept = {side: {head: one.gradient for head, one in found.items()} for side, found in steps.items()}
        torch.save(kept, folder / "gradients.pt")
        facts = {"world_size": torch.distributed.get_world_size(), "loss": losses, "eval_loss": evaluated}
        (folder / "facts.json").write_text(json.dumps(facts))
    state.wait_for_everyone()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
