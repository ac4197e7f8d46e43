"""Chat: a model learns to write the assistant's turns of conversations, and nothing else of them.

Shape legend: B examples, T positions, R rows.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.examples import Batch, Examples, Ragged, collate
from pipelines.data.labelled import Problem, Row, Rows
from pipelines.data.packing import IGNORE_INDEX
from pipelines.errors import ConfigError, DataError
from pipelines.metrics.chrf.chrf import chrf_of, chrf_statistics
from pipelines.metrics.loading import load_metric
from pipelines.task_sections import ChatConfig
from pipelines.tasks.conversation import (
    TURN_BEGIN,
    TURN_END,
    check_messages,
    encode_conversation,
    next_token_labels,
    prompt_ids,
    stop_ids,
    use_template,
)
from pipelines.tasks.heads import TargetLoss
from pipelines.tasks.task import Limit, Loss, Prediction, Scored, Task, batches, close_counts, new_counts, too_long
from pipelines.tasks.writing import pad_left, write

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipelines.sections import ModelConfig


class Chat(Task):
    """The assistant's turns of conversations."""

    key = name = "chat"
    config_class = ChatConfig
    required = ("messages",)
    answers = ()
    learned_baseline = "nearest_answer"
    generates = True
    frames = False

    def __init__(self, config: ChatConfig) -> None:
        super().__init__(config)
        self.chat_template, self.max_new_tokens = config.chat_template, config.max_new_tokens
        self.tokenization = config.tokenization

    # ------------------------------------------------------------ rows

    def input_problem(self, row: Row) -> Problem | None:
        told = check_messages(row["messages"])
        return None if told is None else Problem(*told)

    def answer_problem(self, row: Row) -> Problem | None:
        role = row["messages"][-1]["role"]
        if role != "assistant":
            return Problem("last_turn_not_assistant", f"the last turn is the {role}'s, which nobody answers.")
        return None

    def texts(self, row: Row) -> list[str]:
        return [message["content"] for message in row["messages"]]

    def input_key(self, row: Row) -> str:
        return "\0".join(f"{one['role']}: {one['content']}" for one in self._asked(row))

    def _asked(self, row: Row) -> list[dict[str, str]]:
        """The conversation that the assistant is to answer: without its own last turn, if it has one."""
        messages: list[dict[str, str]] = row["messages"]
        return messages[:-1] if messages[-1]["role"] == "assistant" else messages

    def _answer(self, row: Row) -> str:
        return str(row["messages"][len(self._asked(row))]["content"])

    # ------------------------------------------------------------ encoding

    def special_tokens(self) -> list[str]:
        return [TURN_BEGIN, TURN_END] if self.chat_template == "chatml" else []

    def use_tokenizer(self, tokenizer: "PreTrainedTokenizerBase", model: "ModelConfig") -> None:
        super().use_tokenizer(tokenizer, model)
        use_template(tokenizer, self.chat_template)

    def encode(self, rows: Rows, limit: Limit, training: bool) -> Examples:
        counts = new_counts()
        counts |= {"rows_with_nothing_to_learn_left": 0}
        policy = limit.policy(training)
        room = limit.max_length - 1
        if self.positions is not None:
            room = min(room, self.positions - self.max_new_tokens)
        if room < 1:
            raise ConfigError(
                f"task.max_new_tokens is {self.max_new_tokens}, which leaves no room for a conversation in the "
                f"{self.positions} positions of the model. Set fewer."
            )
        ids: list[list[int]] = []
        labels: list[list[int]] = []
        prompts: list[list[int]] = []
        row_E: list[int] = []
        for start, batch in batches(rows):
            for place, row in enumerate(batch):
                try:
                    row_ids, supervised = encode_conversation(self.tokenizer, row["messages"])
                except ConfigError as error:
                    raise ConfigError(f"{rows.where(start + place)}: {error}") from None
                over = len(row_ids) - limit.max_length
                if over > 0 and policy == "error":
                    raise too_long(rows.where(start + place), len(row_ids), limit)
                if over > 0 and policy == "drop":
                    counts["tokens_of_dropped_rows"] += len(row_ids)
                    continue
                row_labels = next_token_labels(row_ids, supervised)[: limit.max_length]
                if training and all(label == IGNORE_INDEX for label in row_labels):
                    counts["rows_with_nothing_to_learn_left"] += 1
                    counts["tokens_of_dropped_rows"] += len(row_ids)
                    continue
                counts["rows_truncated"] += over > 0
                counts["tokens_truncated"] += max(over, 0)
                counts["tokens_kept"] += min(len(row_ids), limit.max_length)
                ids.append(row_ids[: limit.max_length])
                labels.append(row_labels)
                asked = [] if training else prompt_ids(self.tokenizer, self._asked(row))
                prompts.append(asked[-room:])
                row_E.append(start + place)
        if not ids:
            raise DataError(f"No row has anything to learn within data.max_length ({limit.max_length}).")
        counts["rows_dropped_overlength"] = len(rows) - len(row_E)
        return Examples(
            {"input_ids": Ragged(ids, np.int64), "labels": Ragged(labels, np.int64)},
            ("labels",),
            np.array(row_E, dtype=np.int64),
            np.array([sum(label != IGNORE_INDEX for label in row) for row in labels], dtype=np.int64),
            limit.max_length,
            self._pad,
            close_counts(counts),
            prompts,
        )

    @property
    def _pad(self) -> int:
        pad = self.tokenizer.pad_token_id
        return int(self.tokenizer.eos_token_id if pad is None else pad)

    def collate(self, examples: Sequence[Any]) -> Batch:
        return collate(examples, self._pad, {"labels": IGNORE_INDEX}, self.positions)

    # ------------------------------------------------------------ model

    def build(self, config: "ModelConfig", max_length: int | None) -> "PreTrainedModel":
        from pipelines.models.attention_check import check_attention
        from pipelines.models.build import build_model
        from pipelines.models.sparse_head import SparseHead

        model = build_model("causal", config, self.tokenizer, max_length, size_key="data.max_length")
        check_attention(model, isolate_documents=False)
        model.config.eos_token_id = self.tokenizer.eos_token_id
        if model.generation_config is not None:
            model.generation_config.eos_token_id = sorted(stop_ids(self.tokenizer))
            model.generation_config.pad_token_id = self._pad
        self.sparse = SparseHead(model)
        return model

    def loss(self, model: "PreTrainedModel", bf16: bool) -> Loss:
        return TargetLoss(bf16, self.sparse)

    # ------------------------------------------------------------ predictions and their worth

    def write(self, model: Any, batch: Batch, info: Sequence[Any], loss: Any) -> list[Any]:
        inputs = pad_left(info, self._pad)
        device = batch["input_ids"].device
        inputs = {name: value.to(device) for name, value in inputs.items()}
        ids = write(
            model, inputs, loss.bf16, sorted(stop_ids(self.tokenizer)), self._pad, max_new_tokens=self.max_new_tokens
        )
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def predictions(self, outputs: Sequence[Any], examples: Examples, rows: Sequence[Row]) -> list[Prediction]:
        found: list[Prediction] = [{"text": ""} for _ in rows]
        for text, row in zip(outputs, examples.row_E.tolist(), strict=True):
            found[row] = {"text": text}
        return found

    def score(self, predictions: Sequence[Prediction], rows: Sequence[Row]) -> Scored:
        said, gold = [one["text"] for one in predictions], [self._answer(row) for row in rows]
        rouge = load_metric("rouge").compute(
            predictions=said, references=gold, rouge_types=["rougeL"], tokenization=self.tokenization
        )
        statistics_RK = chrf_statistics(said, gold)
        return Scored(
            {"chrf": load_metric("chrf").compute(predictions=said, references=gold)["score"], **rouge},
            "chrf",
            lambda chosen: chrf_of(statistics_RK[chosen].sum(axis=0)),
            None,
            np.array([chrf_of(row_K) for row_K in statistics_RK]),
            100.0,
        )

    def baselines(self, train: Rows, rows: Sequence[Row], seed: int) -> Iterator[tuple[str, list[Prediction]]]:
        from pipelines.baselines.retrieval import NearestAnswer

        known = list(train)
        baseline = NearestAnswer().fit([self.input_key(row) for row in known], [self._answer(row) for row in known])
        yield "nearest_answer", [{"text": text} for text in baseline.predict([self.input_key(row) for row in rows])]

    # ------------------------------------------------------------ for people

    def shown(self, row: Row, prediction: Prediction) -> dict[str, str]:
        asked = "\n".join(f"{one['role']}: {one['content']}" for one in self._asked(row))
        return {"input": asked, "expected": self._answer(row), "predicted": prediction["text"]}

    def public(self, prediction: Prediction) -> Prediction:
        return {"text": prediction["text"]}
