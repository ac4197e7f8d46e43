"""Models that a suite scores as they are: fine-tuned ones, and decoders by the likelihood of verbalised labels."""

from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.labelled import Row, Rows
from pipelines.errors import ConfigError
from pipelines.evaluation.likelihood import check_causal, continuation_scores
from pipelines.finetuning.evaluating import Evaluator
from pipelines.pretrained import saved_checkpoint
from pipelines.run import say
from pipelines.suites.entries import Entry, write_predictions
from pipelines.suites.judging import TaskRow
from pipelines.tasks.classification import TextClassification
from pipelines.tasks.multiple_choice import MultipleChoice
from pipelines.tasks.saved import load_saved
from pipelines.tasks.task import Limit, Prediction
from pipelines.training.hardware import bf16_is_native

if TYPE_CHECKING:
    from accelerate import PartialState

FEWSHOT_SEPARATOR = "\n\n"
NORMAL = 1.96  # standard errors to each side of a figure: 95 % of a normal distribution


class _Given:
    """What both have in common: nothing is trained, and every entry is predicted by itself."""

    def __init__(self, config: Any, state: "PartialState") -> None:
        self.config, self.state = config, state

    def order(self, entries: list[Entry]) -> list[Entry]:
        """As they come."""
        return entries

    def run(self, entry: Entry, seed: int) -> None:
        """Predicts the rows of an entry, unless it is done."""
        if entry.is_done(seed):
            return
        said = {split: self.predict(entry, entry.data.splits[split], seed) for split in entry.predicted}
        if self.state.is_main_process:
            inside = entry.seed_folder(seed)
            inside.path.mkdir(parents=True, exist_ok=True)
            for split, predictions in said.items():
                write_predictions(inside, split, predictions)
            inside.write_json("metrics.json", {})
        self.state.wait_for_everyone()

    def keep_best(self, entry: Entry, seed: int) -> None:
        """Nothing to keep."""

    def predict(self, entry: Entry, rows: Rows, seed: int) -> list[Prediction]:
        """What the model says of each row."""
        raise NotImplementedError


class SavedModel(_Given):
    """A fine-tuned model: a run of ours, or any with the head of a classifier or for choices.

    Raises:
        ConfigError, HubError: there is no such model.
    """

    def __init__(self, config: Any, state: "PartialState") -> None:
        super().__init__(config, state)
        self.saved = load_saved(config.model.name, config.model.revision)
        self.model: Any = self.saved.model.to(state.device)

    def order(self, entries: list[Entry]) -> list[Entry]:
        """All entries, if the model fits each of them.

        Raises:
            ConfigError: it was fine-tuned for other labels, or for something else.
        """
        for entry in entries:
            self._places(entry)
        return entries

    def predict(self, entry: Entry, rows: Rows, seed: int) -> list[Prediction]:
        task, places = entry.task, self._places(entry)
        task.use_saved_tokenizer(self.saved.task.tokenizer)
        task.positions = self.saved.task.positions
        limit = Limit(min(entry.spec.max_length, self.saved.max_length), task.policies[0])
        device = self.state.device
        loss = task.loss(self.model, bf16=device.type == "cuda" and bf16_is_native(device))
        training = self.config.training
        batching = (training.per_device_eval_batch_size, training.max_tokens_per_batch)
        evaluator = Evaluator(task, rows, task.encode(rows, limit, training=False), loss, *batching)
        predictions = evaluator.predict(self.model)
        if places is None:
            return predictions
        probabilities = [[one["probabilities"][place] for place in places] for one in predictions]
        return [{"label": int(np.argmax(one)), "probabilities": one} for one in probabilities]

    def _places(self, entry: Entry) -> list[int] | None:
        """Where the model has each label of a task; None: it has none by name, or chooses among texts."""
        name, saved, task = self.config.model.name, self.saved.task, entry.task
        kind = MultipleChoice if isinstance(task, MultipleChoice) else TextClassification
        if not isinstance(saved, kind):
            raise ConfigError(f"{name} is a model for {saved.name}; the task {entry.name} is {task.name}.")
        if not isinstance(saved, TextClassification) or not isinstance(task, TextClassification):
            return None
        theirs, ours = saved.labels.names, task.labels.names
        if saved.problem_type == task.problem_type == "regression":
            return None
        if saved.problem_type != task.problem_type or len(theirs) != len(ours):
            raise ConfigError(
                f"{name} is for {saved.problem_type} with the labels {', '.join(theirs) or 'none'}; the task "
                f"{entry.name} is {task.problem_type} with {', '.join(ours) or 'none'}. Score the tasks it was "
                "fine-tuned for, with --evaluation.tasks."
            )
        found = {label.lower(): place for place, label in enumerate(theirs)}
        if all(label.lower() in found for label in ours):
            return [found[label.lower()] for label in ours] if ours else None
        if all(label.upper().startswith("LABEL_") for label in theirs):
            say(f"{name} does not name its labels: they are taken as {', '.join(ours)}, in this order")
            return None
        raise ConfigError(
            f"{name} has the labels {', '.join(theirs)}; the task {entry.name} has {', '.join(ours)}. Score the tasks "
            "it was fine-tuned for, with --evaluation.tasks."
        )


class Decoder(_Given):
    """A causal language model: the label whose words it finds likeliest behind the question.

    Raises:
        ConfigError, HubError: there is no such model, or it is no causal language model.
    """

    def __init__(self, config: Any, state: "PartialState", entries: list[Entry]) -> None:
        super().__init__(config, state)
        self.entries = {entry.name: entry for entry in entries}
        self.model, self.tokenizer = load_decoder(config.model)
        self.model.to(state.device)

    def order(self, entries: list[Entry]) -> list[Entry]:
        """All entries, if each has a verbalizer for every label. Raises ConfigError if not."""
        for entry in entries:
            names = entry.task.labels.names if isinstance(entry.task, TextClassification) else ()
            if names and len(entry.spec.verbalizers) != len(names):
                raise ConfigError(
                    f"The task {entry.name} has {len(names)} labels, but {len(entry.spec.verbalizers)} verbalizers in "
                    f"its suite. State one for each label, in their order: {', '.join(names)}."
                )
        return entries

    def predict(self, entry: Entry, rows: Rows, seed: int) -> list[Prediction]:
        examples = self._examples(entry, seed)
        requests = [(examples + question(entry, row), candidates(entry, row)) for row in rows]
        # A text that does not fit loses its beginning: the model's own positions are the limit.
        scores = continuation_scores(
            self.model, self.tokenizer, requests, self.config.training.max_tokens_per_batch, max_length=1 << 20
        )
        cut = sum(one.is_cut for one in scores)
        if cut:
            say(f"{entry.name}: {cut:,} of {len(scores):,} questions are longer than the model reads, and begin later")
        return [_prediction(entry, one.log_likelihoods_C) for one in scores]

    def _examples(self, entry: Entry, seed: int) -> str:
        """Solved training rows before each question, drawn by the seed."""
        count = self.config.evaluation.num_fewshot
        if not count:
            return ""
        source = self.entries.get(entry.spec.model_of or "", entry)  # a diagnostic set has no training rows
        train = source.data.splits["train"]
        drawn = np.random.default_rng(seed).choice(len(train), min(count, len(train)), replace=False)
        solved = [question(source, row) + answer(source, row) for row in train.take(drawn.tolist())]
        return FEWSHOT_SEPARATOR.join([*solved, ""])


def load_decoder(model: Any) -> tuple[Any, Any]:
    """A causal language model and its tokenizer, in evaluation mode.

    Args:
        model: the model section.
    """
    import transformers
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    import pipelines.models.recurrent  # noqa: F401  registers its model type with transformers
    from pipelines.models.build import HEADS

    checkpoint = saved_checkpoint(model.name, model.revision)
    config = checkpoint.load("config", AutoConfig.from_pretrained)
    if type(config) not in getattr(transformers, HEADS["causal"].mapping) or config.is_encoder_decoder:
        raise ConfigError(f"{model.name} is a {config.model_type}, no causal language model: likelihoods need one.")
    tokenizer = checkpoint.load("tokenizer", AutoTokenizer.from_pretrained)
    loaded = checkpoint.load("model", AutoModelForCausalLM.from_pretrained).eval()
    try:
        check_causal(loaded)
    except ConfigError as error:
        raise ConfigError(f"model.name is {model.name}: {error}") from None
    return loaded, tokenizer


def question(entry: Entry, row: Row) -> str:
    """What the model is asked: the task's prompt with the roles of the row filled in.

    Raises:
        ConfigError: the prompt names a role that the rows do not have.
    """
    try:
        return str(entry.spec.prompt).format_map(row)
    except KeyError as error:
        raise ConfigError(
            f"The prompt of {entry.name} names {error}, which its rows do not have. They have: {', '.join(row)}."
        ) from None


def candidates(entry: Entry, row: Row) -> list[str]:
    """What it may answer: the verbalised labels, or the choices of the row."""
    if not isinstance(entry.task, MultipleChoice):
        return entry.spec.verbalizers
    if "stem" in row:  # COPA: the sentence goes on
        return [f" {choice[:1].lower()}{choice[1:]}" for choice in row["choices"]]
    return [choice if str(entry.spec.prompt).endswith("\n") else f" {choice}" for choice in row["choices"]]


def answer(entry: Entry, row: Row) -> str:
    """The right one of the candidates; of a number, the grade next to it."""
    target: Any = entry.task.target(row)
    return candidates(entry, row)[round(target)]


def _prediction(entry: Entry, log_likelihoods_C: np.ndarray) -> Prediction:
    """The candidate of the largest likelihood, shares by softmax; of a number, the expected grade."""
    shares_C = np.exp(log_likelihoods_C - log_likelihoods_C.max())
    shares_C /= shares_C.sum()
    if getattr(entry.task, "problem_type", None) == "regression":
        return {"value": float(shares_C @ np.arange(len(shares_C)))}
    return {"label": int(shares_C.argmax()), "probabilities": shares_C.tolist()}


def harness_rows(config: Any, decoder: Decoder) -> dict[str, TaskRow]:
    """Rows of the tasks that lm-eval scores, by name; without num_fewshot, with as many examples as each states."""
    from pipelines.suites.harness import run_harness

    evaluation = config.evaluation
    results = run_harness(
        decoder.model,
        decoder.tokenizer,
        evaluation.harness_tasks,
        include_path=evaluation.harness_path,
        num_fewshot=evaluation.num_fewshot or None,
        limit=evaluation.max_rows,
        batch_size=config.training.per_device_eval_batch_size,
    )
    rows: dict[str, TaskRow] = {}
    for task in dict.fromkeys(one.task for one in results):
        figures = {one.metric: one for one in results if one.task == task}
        main = figures.get("acc") or next(iter(figures.values()))
        half = None if main.stderr is None else NORMAL * main.stderr
        shots = "" if main.num_fewshot is None else f", {main.num_fewshot}-shot"
        rows[f"lm_eval_{task}"] = TaskRow(
            metrics={name: one.value for name, one in figures.items()},
            official=[main.metric],
            score=main.value,
            low=None if half is None else main.value - half,
            high=None if half is None else main.value + half,
            best=main.value,
            best_seed=config.training.seed,
            scores={str(config.training.seed): main.value},
            rows=main.samples,
            source=f"lm-eval, version {main.version}{shots}",
            note=f"{main.cut:,} prompts were cut to fit" if main.cut else "",
        )
    return rows
