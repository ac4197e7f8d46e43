"""What a run will need, measured: a few steps of its own trainer on its own largest rows."""

import copy
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from pipelines.data.order import padded_length
from pipelines.data.packing import TrainingBlocks
from pipelines.errors import ConfigError
from pipelines.training.plan import ASSUMED_MFU, Plan
from pipelines.training.process_memory import PeakMemory, free_bytes
from pipelines.training.trainer import ExactTrainer, Objective

PHASES = ("forward_backward", "update", "evaluation")
STEPS = 3  # the resident set of a CPU grows a little after the second, until malloc has what it needs
MOST_OF_FREE_MEMORY = 0.7  # what the formula may ask for before fewer rows are computed: it is no measurement


@dataclass(frozen=True)
class StepCost:
    """Memory and time of one process, measured. On a CPU memory is the resident set, libraries and data included.

    Attributes:
        baseline_bytes: before the first step, with the model in place.
        phase_peak_bytes: the highest in each of PHASES that was run; the optimizer's state is there in all of them.
        step_seconds: an optimizer step with all its micro-batches.
        rows: of the run's micro-batch.
        measured_rows: computed at once, at most; fewer than `rows` if the rest is extrapolated.
    """

    baseline_bytes: int
    phase_peak_bytes: dict[str, int]
    step_seconds: float
    rows: int
    measured_rows: int

    @property
    def peak_memory_bytes(self) -> int:
        """The highest of all phases: what `train_peak_memory_bytes` of the run will be."""
        return max(self.phase_peak_bytes.values())

    @property
    def is_extrapolated(self) -> bool:
        """Whether fewer rows than the run's were computed."""
        return self.measured_rows < self.rows

    def run_seconds(self, plan: Plan) -> float:
        """Training time of the run. Its average rows are shorter than those measured if they differ in length."""
        return self.step_seconds * plan.steps


def measure_step(
    *,
    plan: Plan,
    arguments: TrainingArguments,
    model: Any,
    blocks: TrainingBlocks,
    collator: Callable[..., Any],
    objective: Objective,
    use_muon: bool = False,
    evaluate: Callable[[Any], Any] | None = None,
    max_seconds: float = 15.0,
) -> StepCost:
    """Memory and time of an optimizer step at the run's real shape, by ExactTrainer itself.

    Three steps, the first without the optimizer's state, as in a run; with gradients from an earlier micro-batch if the
    run accumulates. The rows are those of the run's largest micro-batch. Where that would take more than max_seconds,
    or more memory than is free by the formula, two smaller numbers of rows are computed (two steps each),
    and memory and time of forward and backward extrapolated as straight lines. The model's weights are changed.

    Saving is left out: in true runs it never raised the peak (docs/memory.md).

    Args:
        plan: of the run.
        arguments: of the run; steps, saving and logging are left out.
        model: of the run, with LoRA if the run has it.
        blocks: the run.
        collator, objective: of the run.
        use_muon: as ExactTrainer's.
        evaluate: evaluates the model on one batch; None: evaluation is not measured.
        max_seconds: of computing, by the plan's floating-point operations; one row and two are always computed.

    Raises:
        ConfigError: the device's memory is not enough.
    """
    batch_size = plan.per_device_train_batch_size
    rows = largest_micro_batch(blocks, batch_size)
    micro_batches = min(2, plan.gradient_accumulation_steps)  # gradients stand beside the activations of the second
    counts = [batch_size] * STEPS
    affordable = _least_of_all(_affordable_rows(plan, max_seconds, micro_batches), arguments)
    if affordable < batch_size:
        more = min(batch_size, max(2, affordable))
        counts = [max(1, more // 2)] * 2 + [more] * 2
    # Micro-batches are dealt to the processes in turn: each gets as many, of the same rows.
    steps = [rows[:count] for count in counts for _ in range(micro_batches * plan.processes)]
    with tempfile.TemporaryDirectory(prefix="plumbline-step-") as folder:
        trainer = _Rehearsal(
            counts=counts,
            model=model,
            args=_for_rehearsal(arguments, len(counts), micro_batches, folder),
            train_dataset=_Steps(steps),
            data_collator=lambda items: collator(items[0]),
            processing_class=None,
            objective=objective,
            evaluate_model=lambda model: {},
            log_event=lambda event: None,
            epoch_of_step=float,
            flops_per_token=1.0,
            use_muon=use_muon,
        )
        try:
            trainer.train()
            evaluation = None if evaluate is None else _evaluation_peak(evaluate, trainer)
        except torch.OutOfMemoryError as error:
            raise ConfigError(
                f"A micro-batch of {batch_size} rows does not fit into the memory of {arguments.device}: "
                f"{str(error).splitlines()[0]} Lower --training.per_device_train_batch_size (and raise "
                "--training.gradient_accumulation_steps by as much), or set --training.activation_checkpointing true."
            ) from None
    return _cost(trainer.measured, trainer.baseline_bytes, evaluation, batch_size, plan)


def largest_micro_batch(blocks: TrainingBlocks, batch_size: int) -> list[dict[str, np.ndarray]]:
    """The rows of the micro-batch that has most positions, padding included, in the first epoch of a run.

    Blocks of packed text are all of one size. Rows of different length come in an order that knows their lengths.
    """
    lengths_R = getattr(blocks.order, "lengths_R", None)
    first = 0
    if lengths_R is not None:
        places_R = blocks.order.epoch_permutation(0)[: min(blocks.places, blocks.last_place)]
        starts = np.arange(0, len(places_R), batch_size)
        longest = np.maximum.reduceat(lengths_R[places_R], starts)
        positions = padded_length(longest) * np.diff(starts, append=len(places_R))
        first = int(starts[positions.argmax()])
    return [blocks[place] for place in range(first, first + batch_size)]


@dataclass(frozen=True)
class _Phases:
    """One optimizer step: micro-batches one by one, and the update."""

    rows: int
    forward_backward_bytes: int
    update_bytes: int
    micro_batch_seconds: float
    update_seconds: float


class _Steps(torch.utils.data.Dataset):
    """Item i is the list of rows of micro-batch i."""

    def __init__(self, micro_batches: list[list[dict[str, np.ndarray]]]) -> None:
        self.micro_batches = micro_batches

    def __len__(self) -> int:
        return len(self.micro_batches)

    def __getitem__(self, index: int) -> list[dict[str, np.ndarray]]:
        return self.micro_batches[index]


class _Rehearsal(ExactTrainer):
    """ExactTrainer that reads memory and clock between its phases."""

    def __init__(self, counts: list[int], **values: Any) -> None:
        super().__init__(**values)
        self.counts = counts  # rows of each step's micro-batches
        self.meter = PeakMemory(self.args.device)
        self.baseline_bytes = self.meter.now_bytes()
        self.measured: list[_Phases] = []
        self._peaks: list[int] = []
        self._seconds: list[float] = []
        self._mark = 0.0

    def _elapsed(self) -> float:
        if self.args.device.type == "cuda":
            torch.cuda.synchronize(self.args.device)
        before, self._mark = self._mark, time.perf_counter()
        return self._mark - before

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        self.meter.reset()
        self._elapsed()
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._seconds.append(self._elapsed())
        self._peaks.append(self.meter.peak_bytes())
        self.meter.reset()
        return loss

    def _guard(self, loss: float, grad_norm: float) -> None:
        """Nothing is learnt here: a loss that is not finite costs as much as another."""

    def finish_step(self) -> None:
        super().finish_step()
        rows = self.counts[len(self.measured)]
        self.measured.append(
            _Phases(
                rows=rows,
                forward_backward_bytes=max(self._peaks),
                update_bytes=self.meter.peak_bytes(),
                micro_batch_seconds=self._seconds[-1],
                update_seconds=self._elapsed(),
            )
        )
        self._peaks, self._seconds = [], []


def _least_of_all(number: int, arguments: TrainingArguments) -> int:
    """The smallest of the processes' numbers: all must make the same steps."""
    if arguments.world_size == 1:
        return number
    least = torch.tensor(number, device=arguments.device)
    torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)
    return int(least)


def _affordable_rows(plan: Plan, max_seconds: float, micro_batches: int) -> int:
    """Rows of a micro-batch that the steps can compute in the time, and that fit into free memory by the formula."""
    batch_size = plan.per_device_train_batch_size
    flops_per_row = plan.flops_per_token * plan.tokens_per_step / plan.rows_per_step
    seconds_per_row = flops_per_row / (plan.matmul_flops_per_second * ASSUMED_MFU)
    affordable = max_seconds / (STEPS * micro_batches * seconds_per_row)
    free, estimate = free_bytes(torch.device(plan.device)), plan.memory_estimate_bytes
    if free is not None:
        per_row = (estimate["activations"] + estimate["logits"]) / batch_size
        states = sum(estimate[name] for name in ("gradients", "optimizer", "weight_copies"))
        affordable = min(affordable, (MOST_OF_FREE_MEMORY * free - states) / max(per_row, 1))
    return max(1, min(batch_size, int(affordable)))


def _for_rehearsal(arguments: TrainingArguments, steps: int, micro_batches: int, folder: str) -> TrainingArguments:
    """The run's arguments for a few steps that write nothing. A row of the data set is a whole micro-batch."""
    changed = copy.copy(arguments)
    changed.output_dir = folder
    changed.max_steps, changed.warmup_steps = steps, 0
    changed.per_device_train_batch_size, changed.gradient_accumulation_steps = 1, micro_batches
    changed.lr_scheduler_type, changed.lr_scheduler_kwargs = "constant", {}
    changed.save_strategy, changed.eval_strategy = SaveStrategy.NO, IntervalStrategy.NO
    changed.eval_on_start = False
    changed.report_to, changed.logging_strategy = [], IntervalStrategy.NO
    changed.dataloader_num_workers = 0
    return changed


def _evaluation_peak(evaluate: Callable[[Any], Any], trainer: _Rehearsal) -> int:
    trainer.meter.reset()
    evaluate(trainer.model)
    return trainer.meter.peak_bytes()


def _cost(measured: list[_Phases], baseline_bytes: int, evaluation: int | None, rows: int, plan: Plan) -> StepCost:
    """Peaks over all steps, time of the fastest but the first; lines through fewer rows, if these are not the run's."""
    last = measured[-1]
    highest: dict[int, int] = {}
    for step in measured:
        highest[step.rows] = max(highest.get(step.rows, 0), step.forward_backward_bytes)
    fastest: dict[int, float] = {}
    for step in measured[1:]:  # the first warms up
        fastest[step.rows] = min(fastest.get(step.rows, step.micro_batch_seconds), step.micro_batch_seconds)
    forward_backward, extra, seconds = highest[last.rows], 0, fastest[last.rows]
    fewer = measured[1]
    if fewer.rows < last.rows < rows:
        steeper = (rows - last.rows) / (last.rows - fewer.rows)
        extra = max(0, round(steeper * (highest[last.rows] - highest[fewer.rows])))
        seconds += max(0.0, steeper * (fastest[last.rows] - fastest[fewer.rows]))
    peaks = {
        "forward_backward": forward_backward + extra,
        "update": max(step.update_bytes for step in measured),
    }
    if evaluation is not None:
        peaks["evaluation"] = evaluation
    return StepCost(
        baseline_bytes=baseline_bytes,
        phase_peak_bytes=peaks,
        step_seconds=seconds * plan.gradient_accumulation_steps + min(step.update_seconds for step in measured[1:]),
        rows=rows,
        measured_rows=last.rows,
    )
