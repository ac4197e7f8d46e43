"""What fine-tuning knows of a task: which rows it reads, what a model makes of them, and what that is worth.

A task is one module of this folder. The steps of pipelines/finetuning/ call the methods of `Task` in their order here.

Shape legend: R rows, E examples, B examples of a batch, T positions, C classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from pipelines.checking import refuse
from pipelines.data.examples import Batch, Examples
from pipelines.data.framing import document_frame, frame_of, frame_texts
from pipelines.data.labelled import Problem, Row, Rows
from pipelines.errors import ConfigError, DataError
from pipelines.models.vocabulary import vocabulary_size

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipelines.sections import ModelConfig

Prediction = dict[str, Any]  # what a model, or a baseline, says of a row; plain values


@dataclass(frozen=True)
class Limit:
    """How long an example may be, and what becomes of longer rows."""

    max_length: int
    overlength: str
    """truncate, split, drop or error."""

    def policy(self, training: bool) -> str:
        """The policy of a split: where rows are scored, they are not dropped, but cut."""
        return "truncate" if self.overlength == "drop" and not training else self.overlength


@dataclass(frozen=True)
class Scored:
    """The figures of some predictions, and what a test needs to compare them with others of the same rows.

    Attributes:
        metrics: name -> figure, without a prefix.
        headline: the metric that comparisons are about; higher is better.
        statistic: row indices (with repetitions) -> the headline of those rows.
        correct_R: bool, whether each row is right, where the headline is the share of right rows; else None.
        worth_R: what each row is worth, to find the worst.
        best_worth: what a row is worth of which all is right.
    """

    metrics: dict[str, float]
    headline: str
    statistic: Callable[[np.ndarray], float]
    correct_R: np.ndarray | None
    worth_R: np.ndarray
    best_worth: float


class Loss(Protocol):
    """The loss of a head as (sum, count), with its logits apart so that evaluation computes a model once."""

    def inputs(self, batch: Any) -> dict[str, Any]: ...
    def count(self, batch: Any) -> "torch.Tensor": ...
    def loss_sum(self, model: Any, batch: Any) -> "torch.Tensor": ...
    def logits(self, model: Any, batch: Any) -> Any: ...
    def loss_of(self, logits: Any, batch: Any) -> "torch.Tensor": ...


class Task(ABC):
    """One kind of labelled data and what is done with it."""

    key: ClassVar[str]
    """The Hub's name of the task, which a saved model is known by; `chat` has none there."""
    name: ClassVar[str]
    """For messages, such as "text classification"."""
    config_class: ClassVar[type]
    """The dataclass of its section in pipelines/task_sections.py."""
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    answers: ClassVar[tuple[str, ...]]
    """Those of the required roles that hold what is learnt: rows to predict have none of them."""
    policies: ClassVar[tuple[str, ...]] = ("truncate", "drop", "error")
    """Values of data.overlength that make sense; the first is the default."""
    generates: ClassVar[bool] = False
    """Whether predictions are written by the model token by token, which is done once, at the end."""
    frames: bool = True
    """Whether texts are to stand between the tokens that begin and end a document."""
    learned_baseline: ClassVar[str | None] = None
    """The baseline that gets better with training rows."""
    sparse: Any = None
    """Computes the vocabulary at supervised positions alone, for a decoder."""
    positions: int | None = None
    """That the model has; None: it counts without a table."""
    threshold: float | None = None
    """What `tune` has set."""
    tokenizer: "PreTrainedTokenizerBase"
    known_tokens: int
    """Entries of the tokenizer before the task added its own."""

    def __init__(self, config: Any) -> None:
        self.config = config

    # ------------------------------------------------------------ rows

    def learn(self, train: Iterable[Row], names: tuple[str, ...] | None) -> None:  # noqa: B027
        """Takes from the training rows what rows are judged by, such as their labels. May raise DataError."""

    def problem(self, row: Row) -> Problem | None:
        """What is wrong with a row, if anything."""
        return self.input_problem(row) or self.answer_problem(row)

    @abstractmethod
    def input_problem(self, row: Row) -> Problem | None:
        """What is wrong with what a model is given."""

    @abstractmethod
    def answer_problem(self, row: Row) -> Problem | None:
        """What is wrong with what is learnt, in a row whose input can be used."""

    def inputs(self) -> tuple[str, ...]:
        """The roles that a row to predict must have."""
        return tuple(role for role in self.required if role not in self.answers)

    @abstractmethod
    def texts(self, row: Row) -> list[str]:
        """All texts of a row, for training a tokenizer."""

    def input_key(self, row: Row) -> str:
        """All of a row that a model is given."""
        return "\0".join(self.texts(row))

    def group_key(self, row: Row) -> str:
        """Rows of one group stay together when splits or folds are drawn: of a column `group`, or with equal input."""
        return str(row["group"]) if row.get("group") is not None else self.input_key(row)

    def stratum(self, row: Row) -> int | None:
        """The class of a row, which folds hold in equal shares; None where there is none."""
        return None

    # ------------------------------------------------------------ encoding

    def special_tokens(self) -> list[str]:
        """Tokens that the task needs in a tokenizer, added where they are missing."""
        return []

    def use_tokenizer(self, tokenizer: "PreTrainedTokenizerBase", model: "ModelConfig") -> None:
        """Takes the tokenizer, and adds the tokens that the task needs. May raise ConfigError.

        Args:
            tokenizer: is changed in place. It is made to frame texts only for a model from random weights.
            model: what will read its tokens.
        """
        self.tokenizer, self.known_tokens = tokenizer, vocabulary_size(tokenizer)
        if self.frames and model.name is None and frame_of(tokenizer)[1][-1:] != (document_frame(tokenizer)[1],):
            frame_texts(tokenizer)
        missing = [token for token in self.special_tokens() if token not in tokenizer.get_vocab()]
        tokenizer.add_tokens(missing, special_tokens=True)
        if tokenizer.pad_token_id is None and not self.generates:
            tokenizer.pad_token = tokenizer.eos_token  # a decoder with a head finds the end of a text by it

    def use_saved_tokenizer(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Takes the tokenizer of a trained model."""
        self.tokenizer = tokenizer

    @abstractmethod
    def encode(self, rows: Rows, limit: Limit, training: bool) -> Examples:
        """Rows as examples. May raise DataError (overlength: error)."""

    @abstractmethod
    def collate(self, examples: Sequence[Any]) -> Batch:
        """Examples as a batch."""

    def within_reach(self, rows: Rows, limit: Limit) -> Rows:
        """The rows whose right answer is one that `predictions` can give; encoded as `encode` does, not in training."""
        return rows

    # ------------------------------------------------------------ model

    @abstractmethod
    def build(self, config: "ModelConfig", max_length: int | None) -> "PreTrainedModel":
        """The model to fine-tune, with positions for max_length (None: a checkpoint's own). May raise ConfigError."""

    @abstractmethod
    def loss(self, model: "PreTrainedModel", bf16: bool) -> Loss:
        """The loss of the model's head."""

    # ------------------------------------------------------------ predictions and their worth

    def write(self, model: Any, batch: Batch, info: Sequence[Any], loss: Any) -> list[Any]:
        """What the model writes for each example of a batch, if `generates`; `info` is that of the examples."""
        raise NotImplementedError

    def outputs(self, logits: Any, batch: Batch) -> list[Any]:
        """What `predictions` needs of each example of a batch, on the CPU; nothing where the model writes."""
        return []

    @abstractmethod
    def predictions(self, outputs: Sequence[Any], examples: Examples, rows: Sequence[Row]) -> list[Prediction]:
        """What the model says of each row."""

    def tune(self, predictions: Sequence[Prediction], rows: Sequence[Row]) -> None:  # noqa: B027
        """Sets what decides between answers, such as a threshold, by predictions of rows that are not scored by it."""

    @abstractmethod
    def score(self, predictions: Sequence[Prediction], rows: Sequence[Row]) -> Scored:
        """The figures of predictions, by the metric modules of pipelines/metrics."""

    @abstractmethod
    def baselines(self, train: Rows, rows: Sequence[Row], seed: int) -> Iterator[tuple[str, list[Prediction]]]:
        """Names and predictions of the baselines, fitted on the training rows."""

    @abstractmethod
    def shown(self, row: Row, prediction: Prediction) -> dict[str, str]:
        """A row for the report: `input`, `expected` and `predicted`, in words."""

    def analysis(self, predictions: Sequence[Prediction], rows: Sequence[Row]) -> dict[str, Any]:
        """Tables for the report besides slices and worst errors, such as a confusion matrix."""
        return {}

    def slices(self, row: Row) -> dict[str, str]:
        """Which slices of the report a row is in, besides those of its length, such as label -> positive."""
        return {}

    @abstractmethod
    def public(self, prediction: Prediction) -> Prediction:
        """A prediction as users read it: names instead of numbers."""

    # ------------------------------------------------------------ what a saved model needs to predict again

    def state(self) -> dict[str, Any]:
        """What the task has learnt from training rows and choices of a threshold: plain values."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Takes what `state` gave."""


def encode_texts(
    tokenizer: "PreTrainedTokenizerBase",
    rows: Rows,
    sides: Callable[[Row], tuple[str, str | None]],
    limit: Limit,
    training: bool,
) -> tuple[list[list[int]], list[list[int]] | None, np.ndarray, dict[str, int]]:
    """Texts, or pairs of texts, as token ids with the tokenizer's own special tokens, under an over-length policy.

    Args:
        tokenizer: what encodes.
        rows: the split.
        sides: text and text pair (or None) of a row.
        limit: how long, and what becomes of longer ones. Where not `training`, `drop` is `truncate`.
        training: whether the split is trained on.

    Returns:
        (ids, token_type_ids or None, row_E, counts): row_E is the row of each example; counts has text_tokens =
        tokens_kept + tokens_truncated + tokens_of_dropped_rows, rows_truncated and rows_dropped_overlength.

    Raises:
        DataError: a row is too long and the policy is `error`.
    """
    ids: list[list[int]] = []
    types: list[list[int]] = []
    kept: list[int] = []
    counts = new_counts()
    policy = limit.policy(training)
    for start, batch in batches(rows):
        firsts, seconds = zip(*(sides(row) for row in batch), strict=True)
        pairs = [seconds] if seconds[0] is not None else []
        encoded = tokenizer(list(firsts), *map(list, pairs), return_attention_mask=False, verbose=False)
        has_types = "token_type_ids" in encoded
        for place, row_ids in enumerate(encoded["input_ids"]):
            row_types = encoded["token_type_ids"][place] if has_types else []
            before = len(row_ids)
            if before > limit.max_length:
                if policy == "error":
                    raise too_long(rows.where(start + place), before, limit)
                if policy == "drop":
                    counts["tokens_of_dropped_rows"] += before
                    continue
                cut = tokenizer(
                    firsts[place], seconds[place], truncation=True, max_length=limit.max_length, verbose=False
                )
                row_ids, row_types = cut["input_ids"], cut["token_type_ids"] if has_types else []
                counts["rows_truncated"] += 1
                counts["tokens_truncated"] += before - len(row_ids)
            counts["tokens_kept"] += len(row_ids)
            ids.append(row_ids)
            types.append(row_types)
            kept.append(start + place)
    if not ids:
        raise all_too_long(limit)
    counts["rows_dropped_overlength"] = len(rows) - len(kept)
    return ids, (types if any(map(any, types)) else None), np.array(kept, dtype=np.int64), close_counts(counts)


def batches(rows: Rows, size: int = 1_000) -> Iterator[tuple[int, list[Row]]]:
    """(index of the first row, rows) of a split, a thousand at a time."""
    for start in range(0, len(rows), size):
        yield start, rows.table.slice(start, size).to_pylist()


def new_counts() -> dict[str, int]:
    """Counts of a split before its first row."""
    return dict.fromkeys(("tokens_kept", "tokens_truncated", "tokens_of_dropped_rows", "rows_truncated"), 0)


def close_counts(counts: dict[str, int]) -> dict[str, int]:
    """Counts with their total, text_tokens."""
    total = counts["tokens_kept"] + counts["tokens_truncated"] + counts["tokens_of_dropped_rows"]
    return {"text_tokens": total} | counts


def too_long(where: str, tokens: int, limit: Limit) -> DataError:
    """The error for a row that is too long where the policy is `error`."""
    return DataError(
        f"{where} has {tokens:,} tokens, more than data.max_length ({limit.max_length:,}). Raise it, shorten the row, "
        "or choose what becomes of such rows with --data.overlength."
    )


def all_too_long(limit: Limit) -> DataError:
    """The error for a split of which no row is left."""
    return DataError(f"Every row is longer than data.max_length ({limit.max_length}) and was dropped. Raise it.")


def choose_limit(task: Task, max_length: int | None, overlength: str | None, positions: int | None) -> Limit:
    """The length limit of a run.

    Args:
        task: knows which policies make sense.
        max_length, overlength: of the data section.
        positions: that a checkpoint has; None: it is made to measure.

    Raises:
        ConfigError: more than the model's positions, or a policy that the task does not have.
    """
    if overlength is not None and overlength not in task.policies:
        told = (
            f"data.overlength is {overlength!r}, which {task.name} does not have. Choose: {', '.join(task.policies)}."
        )
        refuse(ConfigError(told))
        overlength = None
    if max_length is not None and positions is not None and max_length > positions:
        told = f"data.max_length is {max_length}, but the model has {positions} positions."
        refuse(ConfigError(f"{told} Set --data.max_length {positions} or less, or a model with more positions."))
        max_length = positions
    return Limit(max_length or min(positions or 512, 512), overlength or task.policies[0])


def found(value: Any) -> str:
    """A value for messages, not too long."""
    if value is None:
        return "nothing"
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:80]} ..."
    return f"the number {shown}" if isinstance(value, int | float) and not isinstance(value, bool) else shown


def check_text(row: Row, *roles: str) -> Problem | None:
    """The problem of a row whose texts of the given roles are not all text with something in it."""
    for role in roles:
        value = row.get(role)
        if not isinstance(value, str):
            return Problem(f"{role}_not_text", f"the {role} must be text; found {found(value)}.")
        if not value.strip():
            return Problem(f"empty_{role}", f"the {role} is empty.")
    return None
