"""transformers.Trainer with an exact loss, an exact order and checkpoints that are complete or absent."""

import json
import shutil
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch.utils.data import SequentialSampler
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME
from transformers.trainer_callback import PrinterCallback, ProgressCallback, TrainerCallback

from pipelines.data.packing import TrainingBlocks
from pipelines.errors import TrainingError
from pipelines.training import checkpoints, sharding
from pipelines.training.best import BestWeights
from pipelines.training.optimizers import muon_with_adamw

POSITIONS = ("input_ids", "decoder_input_ids")  # what a batch holds of computed positions
SPIKE_WINDOW = 50  # optimizer steps whose median a loss is held against
SPIKE_WARMUP = 20  # steps before the spike guard starts
SPIKE_NATS = 1.0  # a spike is at least this far above the median: tiny losses of a memorized corpus vary by factors


@dataclass
class Account:
    """What a run has done so far, over all processes and resumptions; travels in the checkpoint."""

    seconds: float = 0.0
    """In training steps: data, forward, backward, update; not evaluation and saving."""
    positions: int = 0
    """Token positions computed, padding included."""
    targets: int = 0
    """Supervised positions."""
    recent_losses: list[float] = field(default_factory=list)
    """Losses of the last SPIKE_WINDOW steps, which the guard holds a loss against."""


def parts_of(batch: Any) -> list[Any]:
    """The parts of a micro-batch that are computed one after the other: itself, unless its collator has cut it."""
    return batch if isinstance(batch, list) else [batch]


def positions_of(part: Any) -> int:
    """Token positions of a batch, padding included."""
    return sum(part[name].numel() for name in POSITIONS if name in part)


class Objective(Protocol):
    """What a head is trained for: summed loss and number of supervised items of a batch."""

    def count(self, batch: Any) -> torch.Tensor: ...
    def loss_sum(self, model: Any, batch: Any) -> torch.Tensor: ...


class ExactTrainer(Trainer):
    """Trainer whose loss and gradient depend only on the rows of an optimizer step, not on how they are split.

    The loss of a step is the sum over its supervised items divided by their number, over all micro-batches and
    processes. transformers' own count is passed to the model and ignored by most heads, which multiplies loss and
    gradient by accumulation steps and process count.

    Args:
        objective: loss and count of a batch.
        evaluate_model: model -> metrics with the prefix eval_; called where Trainer evaluates.
        log_event: called with every logged event on rank 0.
        record_step: called on rank 0 with step, loss and grad_norm of every step that is about to be made.
        epoch_of_step: optimizer step -> true epoch (Trainer sees a run as a single pass over its places).
        flops_per_token: for MFU and total_flos.
        use_muon: Muon for hidden matrices, AdamW for the rest.
        max_loss_spike: see TrainingConfig.
        should_stop: asked after every step; True saves a checkpoint and ends training.
        stop_at_step: a checkpoint is saved and training ends after this step.
        best: keeps the weights of the best evaluation, and may end training.
    """

    loss_is_scaled_for_ga = True  # compute_loss divides by the count of the whole step

    def __init__(
        self,
        *,
        model: PreTrainedModel,
        args: TrainingArguments,
        train_dataset: TrainingBlocks,
        data_collator: Callable[..., Any],
        processing_class: PreTrainedTokenizerBase,
        objective: Objective,
        evaluate_model: Callable[[PreTrainedModel], dict[str, float]],
        log_event: Callable[[dict[str, float]], None],
        epoch_of_step: Callable[[int], float],
        flops_per_token: float,
        record_step: Callable[[dict[str, float]], None] = lambda step: None,
        use_muon: bool = False,
        max_loss_spike: float | None = None,
        save_total_limit: int | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        stop_at_step: int | None = None,
        best: BestWeights | None = None,
        callbacks: list[TrainerCallback] | None = None,
    ) -> None:
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=train_dataset,  # Trainer wants one; evaluate_model knows its own
            data_collator=data_collator,
            processing_class=processing_class,
            callbacks=[*(callbacks or []), _StopOnRequest(self)],
        )
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self.blocks = train_dataset
        self.checkpoint_root = Path(str(args.output_dir))
        self.objective: Objective = objective
        self.evaluate_model = evaluate_model
        self.log_event = log_event
        self.record_step = record_step
        self.epoch_of_step = epoch_of_step
        self.flops_per_token = flops_per_token
        self.use_muon = use_muon
        self.max_loss_spike = max_loss_spike
        self.save_limit = save_total_limit
        self.should_stop = should_stop
        self.stop_at_step = stop_at_step
        self.best = best
        self.stop_requested = False
        self.skeleton: Any = None  # of the model, while that is sharded
        self.pieces = sharding.PieceWriter()
        self.account = Account()
        self._step_started = 0.0
        self._step_loss = self._step_count = self._step_positions = torch.zeros(())
        self._last_logged = Account()

    def create_accelerator_and_postprocess(self) -> None:
        """Trainer's, with FSDP2 on CPUs too."""
        super().create_accelerator_and_postprocess()
        self.is_fsdp_enabled = sharding.shard_on_cpu(self.accelerator)

    # ------------------------------------------------------------ loss

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor]:
        """The micro-batches of one optimizer step, and the supervised items in all of them on all processes."""
        self._step_started = time.perf_counter()
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        parts = [part for batch in batches for part in parts_of(batch)]
        count = sum((self.objective.count(part) for part in parts), torch.zeros((), dtype=torch.int64))
        positions = sum(map(positions_of, parts))
        # The wish to stop travels with the count, so that all processes stop after the same step.
        facts = torch.tensor([int(count), positions, int(self.should_stop())], device=device)
        if self.args.world_size > 1:
            facts = self.accelerator.reduce(facts, reduction="sum")
        self._step_count, self._step_positions = facts[0], facts[1]
        self.stop_requested = bool(facts[2])
        self._step_loss = torch.zeros((), device=device)
        return batches, facts[0]

    def training_step(
        self, model: Any, inputs: Any, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Forward and backward of a micro-batch, part by part; processes exchange gradients after the last part."""
        *first, last = parts_of(inputs)
        total = torch.zeros((), device=self.args.device)
        for part in first:
            with self.accelerator.no_sync(model):
                total += super().training_step(model, part, num_items_in_batch)
        return total + super().training_step(model, last, num_items_in_batch)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Summed loss of a micro-batch over the item count of the step, times the processes that DDP averages over."""
        if return_outputs or num_items_in_batch is None:
            raise NotImplementedError("losses outside a training step are computed by `evaluate_model`")
        total = torch.as_tensor(num_items_in_batch).clamp(min=1)
        loss = self.objective.loss_sum(model, inputs) / total
        self._step_loss += loss.detach()
        return loss * self.accelerator.num_processes

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Trainer's gradient norm, held against the guard and recorded: the last look at a step before its update."""
        grad_norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        loss = self._step_loss
        if self.args.world_size > 1:
            loss = self.accelerator.reduce(loss, reduction="sum")
        figures = {"loss": float(loss), "grad_norm": float(grad_norm)}
        self._guard(**figures)
        if self.is_world_process_zero():
            self.record_step({"step": self.state.global_step + 1, **figures})
        return grad_norm

    def _guard(self, loss: float, grad_norm: float) -> None:
        step = self.state.global_step + 1
        finite = loss == loss and abs(loss) != float("inf") and grad_norm == grad_norm and grad_norm != float("inf")
        recent = self.account.recent_losses
        median = statistics.median(recent) if len(recent) >= SPIKE_WARMUP else None
        limit = float("inf")
        if self.max_loss_spike is not None and median is not None:
            limit = max(self.max_loss_spike * median, median + SPIKE_NATS)
        if finite and loss <= limit:
            self.account.recent_losses = [*recent, loss][-SPIKE_WINDOW:]
            return
        saved = checkpoints.list_checkpoints(self.checkpoint_root)
        last_good = f"The last good checkpoint is {saved[0]}." if saved else "There is no checkpoint yet."
        found = (
            f"the loss of step {step} is {loss:.4g}, more than {self.max_loss_spike:g} times the median "
            f"{median:.4g} of the steps before it"
            if finite
            else f"step {step} has loss {loss:.4g} and gradient norm {grad_norm:.4g}, which are not both finite"
        )
        raise TrainingError(
            f"Training stopped: {found}. {last_good} No update was made from this step. Try a lower "
            "--training.learning_rate or longer --training.warmup_steps (with --run.overwrite true), and look "
            "at the data of this step; --training.max_loss_spike null turns the spike guard off."
        )

    # ------------------------------------------------------------ order, optimizer, accounting

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        """The data set is already in the order of the run."""
        return SequentialSampler(self.blocks)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Muon with AdamW if asked for, else Trainer's own."""
        if self.use_muon and self.optimizer is None:
            target: Any = self.model if model is None else model
            self.optimizer = muon_with_adamw(target, self.args, self.get_decay_parameter_names(target))
        return super().create_optimizer(model)

    def floating_point_ops(self, inputs: Any) -> int:
        """Counted operations of a micro-batch."""
        return int(self.flops_per_token * sum(map(positions_of, parts_of(inputs))))

    def finish_step(self) -> None:
        """Adds a step to the account."""
        self.account.positions += int(self._step_positions)
        self.account.targets += int(self._step_count)
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # the update is part of the step
        self.account.seconds += time.perf_counter() - self._step_started

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Trainer's log with the true epoch and the speed since the last one, also handed to log_event."""
        self.state.epoch = self.epoch_of_step(self.state.global_step)
        if "loss" in logs:
            seconds = self.account.seconds - self._last_logged.seconds
            positions = self.account.positions - self._last_logged.positions
            self._last_logged = replace(self.account)
            logs["tokens_per_second"] = positions / seconds if seconds else 0.0
            logs["train_seconds"] = self.account.seconds
            logs["train_targets"] = self.account.targets
        super().log(logs, start_time)
        if self.is_world_process_zero() and ("loss" in logs or "eval_loss" in logs):
            self.log_event({"step": self.state.global_step, **logs})

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Metrics of evaluate_model, logged as Trainer logs them."""
        model: Any = self.model
        metrics = self.evaluate_model(model)
        stop = self.best is not None and self.best.offer(self.state.global_step, metrics, model)
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.control.should_training_stop |= stop
        return metrics

    # ------------------------------------------------------------ checkpoints

    def _maybe_log_save_evaluate(
        self, tr_loss: Any, grad_norm: Any, model: Any, trial: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Trainer's, but in the order log, save, evaluate: evaluation may run out of memory."""
        evaluate, self.control.should_evaluate = self.control.should_evaluate, False
        super()._maybe_log_save_evaluate(tr_loss, grad_norm, model, trial, *args, **kwargs)
        if evaluate:
            self.control.should_evaluate = True
            super()._maybe_log_save_evaluate(tr_loss, grad_norm, model, trial, *args, **kwargs)

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Trainer's train, with the account of the checkpoint restored; ends when the last checkpoint is written."""
        if self.is_fsdp_enabled:
            self.skeleton = sharding.skeleton_of(self.model)
        if resume_from_checkpoint is not None:
            saved = json.loads((Path(resume_from_checkpoint) / checkpoints.ACCOUNT).read_text(encoding="utf-8"))
            self.account, self._last_logged = Account(**saved), Account(**saved)
            if self.is_fsdp_enabled and not sharding.has_pieces(Path(resume_from_checkpoint)):
                self._load_whole_weights(resume_from_checkpoint, self.model)
        if self.is_fsdp_enabled:
            sharding.shard(self.model, self.accelerator)
        result = super().train(resume_from_checkpoint, *args, **kwargs)
        self.pieces.wait()
        return result

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Weights of a checkpoint in pieces or in one, whether this run is sharded or not."""
        target: Any = self.accelerator.unwrap_model(self.model if model is None else model)
        if sharding.has_pieces(Path(resume_from_checkpoint)):
            sharding.load_weights(target, Path(resume_from_checkpoint))
        elif not self.is_fsdp_enabled:
            self._load_whole_weights(resume_from_checkpoint, model)

    def _load_whole_weights(self, resume_from_checkpoint: str, model: Any) -> None:
        """Trainer's, which passes over weights that transformers saves under another name, as it does GPT-NeoX's head.

        What it passes over would stay as drawn, without a word: such a checkpoint is read as from_pretrained reads it.
        """
        is_sharded, self.is_fsdp_enabled = self.is_fsdp_enabled, False
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.is_fsdp_enabled = is_sharded
        target = self.accelerator.unwrap_model(self.model if model is None else model)
        if isinstance(target, PreTrainedModel) and checkpoints.weight_names(Path(resume_from_checkpoint)) - set(
            target.state_dict()
        ):
            saved: Any = type(target).from_pretrained(resume_from_checkpoint, dtype=torch.float32)
            target.load_state_dict(saved.state_dict())

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.checkpoint_root / checkpoints.ASIDE)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Trainer's checkpoint, written aside on all processes and sealed by the first."""
        name = f"checkpoint-{self.state.global_step}"
        root = self.checkpoint_root
        aside = Path(self._get_output_dir(trial)) / name
        self.pieces.wait()
        if self.args.should_save and aside.exists():
            shutil.rmtree(aside)
        self.accelerator.wait_for_everyone()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Setting `save_embedding_layers`")  # peft, of what is right here
            super()._save_checkpoint(model, trial)
        if self.args.should_save:
            # A pickle of the arguments, with this machine's paths; config.yaml has all that is in it.
            (aside / "training_args.bin").unlink(missing_ok=True)
            (aside / checkpoints.ACCOUNT).write_text(json.dumps(asdict(self.account)), encoding="utf-8")
        self.accelerator.wait_for_everyone()

        def seal() -> None:
            if self.args.should_save:
                checkpoints.seal(aside, root / name)
                checkpoints.rotate(root, self.save_limit)

        if self.is_fsdp_enabled:  # training goes on while the pieces are written
            self.pieces.write(self.accelerator.unwrap_model(self.model), self.optimizer, aside, then=seal)
            return
        seal()
        self.accelerator.wait_for_everyone()

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Trainer's; with a sharded model the scheduler alone, since the optimizer is among the pieces."""
        if not self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
        elif self.args.should_save:
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)  # type: ignore[union-attr]

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Trainer's, for checkpoints in pieces or in one, whether this run is sharded or not."""
        folder = None if checkpoint is None else Path(checkpoint)
        if folder is None or not (self.is_fsdp_enabled or sharding.has_pieces(folder)):
            return super()._load_optimizer_and_scheduler(checkpoint)
        optimizer, scheduler = cast(Any, self.optimizer), cast(Any, self.lr_scheduler)
        if sharding.has_pieces(folder):
            sharding.load_optimizer(self.accelerator.unwrap_model(self.model), optimizer, folder)
        else:
            optimizer.load_state_dict(torch.load(folder / OPTIMIZER_NAME, map_location="cpu", weights_only=True))
            sharding.shard_optimizer(optimizer)
        scheduler.load_state_dict(torch.load(folder / SCHEDULER_NAME, weights_only=True))
        for group, rate in zip(optimizer.param_groups, scheduler.get_last_lr(), strict=True):
            group["lr"] = rate
        return None


class _StopOnRequest(TrainerCallback):
    """Keeps the account of each step, and saves and stops after the step in which a stop was requested."""

    def __init__(self, trainer: ExactTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        state.compute_steps(args, state.max_steps)  # a checkpoint brings the intervals that it was written with

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        self.trainer.finish_step()
        if state.global_step >= state.max_steps:
            control.should_evaluate = False  # the recipe evaluates the finished model
        asked = self.trainer.stop_requested or (args.world_size == 1 and self.trainer.should_stop())
        if asked or state.global_step == self.trainer.stop_at_step:
            self.trainer.stop_requested = True
            control.should_save = True
            control.should_training_stop = True
        return control
