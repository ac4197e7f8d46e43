"""Fine-tuning for each task of a suite, on the shared path of the fine-tuning recipes."""

import gc
import shutil
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pipelines.errors import ConfigError
from pipelines.finetuning.evaluating import Evaluator
from pipelines.finetuning.steps import Fitted, fit, tokenizer_of
from pipelines.models.build import POSITION_NAMES, scratch_values
from pipelines.pretrained import checkpoint_of
from pipelines.run import say
from pipelines.run_folder import RunFolder, refuse_other_config
from pipelines.sections import ModelConfig, RunConfig, TokenizerConfig
from pipelines.suites.definition import Suite, training_of
from pipelines.suites.entries import Entry, write_predictions
from pipelines.task_sections import FinetuningConfig, FinetuningEvaluationConfig, LabelledDataConfig, LoraConfig
from pipelines.tasks.saved import write_task
from pipelines.tasks.task import Prediction, choose_limit
from pipelines.training.saving import save_model

if TYPE_CHECKING:
    from accelerate import PartialState


@dataclass
class TaskRun:
    """The config of one task and seed, as the fine-tuning recipes have it."""

    run: RunConfig
    data: LabelledDataConfig
    tokenizer: TokenizerConfig
    model: ModelConfig
    lora: LoraConfig
    task: Any
    training: FinetuningConfig
    evaluation: FinetuningEvaluationConfig = field(default_factory=FinetuningEvaluationConfig)


class FineTuning:
    """Trains a model for each task and seed.

    Args:
        config: of recipes/evaluate_glue.py.
        suite: has the settings of each task.
        entries: all of the run; diagnostic sets are predicted by the models of the task they belong to.
        state: the processes.
    """

    def __init__(self, config: Any, suite: Suite, entries: list[Entry], state: "PartialState") -> None:
        self.config, self.suite, self.state = config, suite, state
        self.diagnostics = {
            entry.name: [one for one in entries if one.spec.model_of == entry.name] for entry in entries
        }
        warm = config.evaluation.warm_start
        self.warm_folder = next((one.folder / "model" for one in entries if one.name == warm), None)
        if warm in suite.tasks and self.warm_folder is None:
            raise ConfigError(
                f"evaluation.warm_start is {warm!r}, a task that is left out. Name a model tuned on MNLI."
            )

    def order(self, entries: list[Entry]) -> list[Entry]:
        """The tasks that are trained, the one that others start from first."""
        trained = [entry for entry in entries if entry.spec.model_of is None]
        return sorted(trained, key=lambda entry: entry.name != self.config.evaluation.warm_start)

    def run(self, entry: Entry, seed: int) -> None:
        """Trains one seed of a task, unless it is done, and keeps its predictions and figures."""
        diagnostics = self.diagnostics[entry.name]
        wants_model = self.config.evaluation.save_models or entry.name == self.config.evaluation.warm_start
        has_model = entry.seed_folder(seed).model.is_dir() or (entry.folder / "model").is_dir()
        inside, config = entry.seed_folder(seed), self._config(entry, seed)
        if (inside.path / "config.yaml").is_file():
            refuse_other_config(config, inside.path / "config.yaml", finished=inside.finished)
        if all(one.is_done(seed) for one in (entry, *diagnostics)) and (has_model or not wants_model):
            return
        started = time.perf_counter()
        if self.state.is_main_process and inside.finished:
            say("It was finished without all predictions that are asked for now, and is trained anew")
            shutil.rmtree(inside.path)
        self.state.wait_for_everyone()
        data = entry.data.for_training()
        with self.state.main_process_first():
            entry.task.use_tokenizer(tokenizer_of(entry.task, config, data.train), config.model)
        rows = (data.train, data.validation, data.splits[str(entry.split)])
        one = fit(entry.task, config, inside, *rows, self.state, data)
        said = {(entry.name, str(entry.split)): one.evaluator.predict(one.trainer.model)}
        if entry.hidden is not None:
            said[entry.name, entry.hidden] = self._predict(one, entry, entry.hidden, entry.task)
        for other in diagnostics:
            other.task.use_saved_tokenizer(entry.task.tokenizer)
            if isinstance(other.task, type(entry.task)):
                other.task.load_state(entry.task.state())
            other.task.positions = entry.task.positions
            for split in other.predicted:
                said[other.name, split] = self._predict(one, other, split, other.task)
        if self.state.is_main_process:
            one.metrics["seconds"] = time.perf_counter() - started
            self._keep(entry, inside, seed, one, said, wants_model)
        self.state.wait_for_everyone()
        del one
        gc.collect()

    def _keep(
        self,
        entry: Entry,
        inside: RunFolder,
        seed: int,
        one: Fitted,
        said: dict[tuple[str, str], list[Prediction]],
        wants_model: bool,
    ) -> None:
        inside.write_json("receipt.json", one.receipt)
        if wants_model:
            probe = entry.task.collate([one.evaluator.examples.block(0)])
            save_model(one.trainer, entry.task.tokenizer, inside, one.evaluator.loss.inputs(probe))
            write_task(inside.model, entry.task, one.plan.block_size)
        for other in [entry, *self.diagnostics[entry.name]]:
            place = other.seed_folder(seed)
            place.path.mkdir(parents=True, exist_ok=True)
            for split in other.predicted:
                write_predictions(place, split, said[other.name, split])
            place.write_json("metrics.json", one.metrics if other is entry else {})
        shutil.rmtree(inside.checkpoints, ignore_errors=True)
        inside.unlock()

    def keep_best(self, entry: Entry, seed: int) -> None:
        """Moves the model of the best seed to the folder of the task, and deletes the others'."""
        best = entry.seed_folder(seed)
        if best.model.is_dir():
            shutil.rmtree(entry.folder / "model", ignore_errors=True)
            best.model.rename(entry.folder / "model")
        for path in entry.folder.glob("seed-*/model"):
            shutil.rmtree(path)

    def _predict(self, one: Fitted, entry: Entry, split: str, task: Any) -> list[Prediction]:
        """What a trained model says of the rows of another split or set."""
        rows, training = entry.data.splits[split], self.config.training
        limit = choose_limit(task, one.plan.block_size, None, task.positions)
        examples = task.encode(rows, limit, training=False)
        batching = (training.per_device_eval_batch_size, training.max_tokens_per_batch)
        return Evaluator(task, rows, examples, one.evaluator.loss, *batching).predict(one.trainer.model)

    def _config(self, entry: Entry, seed: int) -> TaskRun:
        model, spec = self.config.model, entry.spec
        warm = self.config.evaluation.warm_start
        if warm is not None and spec.warm_start and entry.name != warm:
            model = replace(model, name=str(self.warm_folder or warm), revision=None, preset=None, config=None)
        room = None  # from scratch, a model has the positions asked for, unless its config states them
        if model.name is None:
            stated = scratch_values(model)
            room = next((stated[name] for name in POSITION_NAMES if name in stated), None)
        else:
            from transformers import AutoConfig

            loaded = checkpoint_of("model.name", model.name, model.revision)
            room = getattr(loaded.load("config", AutoConfig.from_pretrained), "max_position_embeddings", None)
        return TaskRun(
            run=RunConfig(**vars(replace(self.config.run, overwrite=False))),
            data=LabelledDataConfig(max_length=min(spec.max_length, room or spec.max_length)),
            tokenizer=self.config.tokenizer,
            model=model,
            lora=self.config.lora,
            task=entry.task.config,
            training=replace(training_of(self.suite, spec, self.config.training), seed=seed),
        )
