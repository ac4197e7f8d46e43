"""Saved models and their tasks: what is written beside the weights, and how a model is made to predict again."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.errors import ConfigError
from pipelines.pretrained import Checkpoint, saved_checkpoint
from pipelines.tasks.chat import Chat
from pipelines.tasks.classification import TextClassification
from pipelines.tasks.multiple_choice import MultipleChoice
from pipelines.tasks.question_answering import QuestionAnswering
from pipelines.tasks.task import Task
from pipelines.tasks.text_generation import Summarization, Translation
from pipelines.tasks.token_classification import TokenClassification

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FILE = "plumbline.json"
TASKS: dict[str, type[Any]] = {
    task.key: task
    for task in (
        TextClassification,
        TokenClassification,
        QuestionAnswering,
        MultipleChoice,
        Summarization,
        Translation,
        Chat,
    )
}


def write_task(folder: Path, task: Task, max_length: int) -> None:
    """Writes the task, its section and what it has learnt into a model folder."""
    content = {
        "task": task.key,
        "max_length": max_length,
        "config": dataclasses.asdict(task.config),
        "state": task.state(),
    }
    (folder / FILE).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


class Saved(NamedTuple):
    """A model that can predict."""

    task: Task
    model: "PreTrainedModel"
    max_length: int


def load_saved(name: str | None, revision: str | None) -> Saved:
    """A fine-tuned model with its task.

    Args:
        name: a run folder, a model folder, a Hub id or package://...; made by Plumbline, or any model of transformers
            with the head of a task that needs no more: sequence or token classification, spans, choices.
        revision: of a Hub model.

    Raises:
        ConfigError, HubError: there is no such model, or it does not say what its task is.
    """
    import transformers
    from transformers import AutoConfig, AutoTokenizer

    import pipelines.models.recurrent  # noqa: F401  registers its model type with transformers
    from pipelines.models.build import positions_of

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    checkpoint = saved_checkpoint(name, revision)
    config = checkpoint.load("config", AutoConfig.from_pretrained)
    told = _told(checkpoint) or _guess(str(name), config)
    if told["task"] not in TASKS:
        raise ConfigError(
            f"{checkpoint.name} is a model for {told['task']!r}, which this version of Plumbline does not know. "
            "Install the version that made it."
        )
    task_class = TASKS[told["task"]]
    try:
        task: Task = task_class(task_class.config_class(**told["config"]))
        task.load_state(told["state"])
    except (TypeError, KeyError) as error:
        raise ConfigError(
            f"{FILE} of {checkpoint.name} was written by another version of Plumbline: {error}."
        ) from None
    task.use_saved_tokenizer(checkpoint.load("tokenizer", AutoTokenizer.from_pretrained))
    model = checkpoint.load_with_head(config)
    task.positions = positions_of(model)
    max_length = told["max_length"] if task.positions is None else min(told["max_length"], task.positions)
    return Saved(task, model.eval(), max_length)


def _told(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """What `write_task` wrote, or None where it did not."""
    content = checkpoint.find_json(FILE)
    try:
        return content and {name: content[name] for name in ("task", "max_length", "config", "state")}
    except (TypeError, KeyError) as error:
        raise ConfigError(f"{FILE} of {checkpoint.name} has no {error}. Is the model folder whole?") from None


def _guess(name: str, config: Any) -> dict[str, Any]:
    """Task and labels by the architecture that a config names."""
    architecture = (config.architectures or [""])[0]
    labels = [config.id2label[index] for index in sorted(config.id2label or {})]
    problem_type = config.problem_type or ("regression" if len(labels) == 1 else "single_label_classification")
    pairs = {"problem_type": problem_type, "has_pairs": False, "has_entities": False, "label_names": labels}
    by_ending = {
        "ForSequenceClassification": ("text-classification", pairs),
        "ForTokenClassification": ("token-classification", {"unit": None, "has_blanks": True, "label_names": labels}),
        "ForQuestionAnswering": ("question-answering", {"with_no_answer": False, "threshold": None}),
        "ForMultipleChoice": ("multiple-choice", {}),
    }
    for ending, (task, state) in by_ending.items():
        if architecture.endswith(ending):
            return {"task": task, "max_length": 512, "config": {}, "state": state}
    raise ConfigError(
        f"{name} is a {architecture or config.model_type}, made by no fine-tuning recipe, so it does not say what to "
        "predict. For a model that writes use recipes/generate.py."
    )
