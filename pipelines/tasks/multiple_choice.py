"""Multiple choice: which of several texts goes with a text (and a question).

Shape legend: B examples, C choices of an example, T positions.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.collation import pad
from pipelines.data.examples import Batch, Examples, Ragged
from pipelines.data.labelled import Problem, Row, Rows
from pipelines.metrics.loading import load_metric
from pipelines.metrics.mean_reciprocal_rank.mean_reciprocal_rank import reciprocal_ranks
from pipelines.task_sections import MultipleChoiceConfig
from pipelines.tasks.heads import ChoiceLoss
from pipelines.tasks.task import (
    Limit,
    Loss,
    Prediction,
    Scored,
    Task,
    all_too_long,
    batches,
    check_text,
    close_counts,
    found,
    new_counts,
    too_long,
)

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from pipelines.sections import ModelConfig

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class MultipleChoice(Task):
    """One of several choices for each row."""

    key = "multiple-choice"
    name = "multiple choice"
    config_class = MultipleChoiceConfig
    required = ("text", "choices", "label")
    answers = ("label",)
    learned_baseline = "tfidf"
    optional = ("text_pair", "question")

    # ------------------------------------------------------------ rows

    def input_problem(self, row: Row) -> Problem | None:
        text = check_text(row, "text", *(["question"] if "question" in row else []))
        if text is not None:
            return text
        choices = row["choices"]
        if not isinstance(choices, list) or not all(isinstance(one, str) and one.strip() for one in choices):
            return Problem("choices_not_texts", f"choices must be a list of text; found {found(choices)}.")
        if len(choices) < 2:
            return Problem("too_few_choices", f"expected at least two choices, found {len(choices)}.")
        return None

    def answer_problem(self, row: Row) -> Problem | None:
        target = self.target(row)
        return target if isinstance(target, Problem) else None

    def target(self, row: Row) -> int | Problem:
        """The place of the right choice, from 0, or why the row has none: a place, a letter A, B, ..., or its words."""
        value, choices = row["label"], row["choices"]
        word = value.strip() if isinstance(value, str) else None
        if value is None or word == "":
            return Problem("null_label", "the label is missing.")
        if word is not None and value in choices:
            return int(choices.index(value))
        if word is not None and len(word) == 1 and word in LETTERS[: len(choices)]:
            return LETTERS.index(word)
        try:
            place = int(value) if float(value) == int(value) else -1
        except (TypeError, ValueError, OverflowError):
            place = -1
        if not 0 <= place < len(choices):
            letters = f", A to {LETTERS[len(choices) - 1]}" if len(choices) <= len(LETTERS) else ""
            expected = f"expected 0 to {len(choices) - 1}{letters}, or words."
            return Problem("unknown_label", f"the label {value!r} is no choice: {expected}")
        return place

    def texts(self, row: Row) -> list[str]:
        return [self._prompt(row), *self._choices(row)]

    def _choices(self, row: Row) -> list[str]:
        """The choices, each behind the text that all of them go on from, if there is one (as in SWAG)."""
        begin = row.get("text_pair")
        return [f"{begin} {choice}" for choice in row["choices"]] if begin else row["choices"]

    def _prompt(self, row: Row) -> str:
        return f"{row['text']} {row['question']}" if row.get("question") else str(row["text"])

    # ------------------------------------------------------------ encoding

    def encode(self, rows: Rows, limit: Limit, training: bool) -> Examples:
        counts = new_counts()
        policy = limit.policy(training)
        ids: list[list[int]] = []
        types: list[list[int]] = []
        lengths: list[list[int]] = []
        labels: list[list[int]] = []
        row_E: list[int] = []
        for start, batch in batches(rows):
            for place, row in enumerate(batch):
                pair = [self._prompt(row)] * len(row["choices"]), self._choices(row)
                encoded = self.tokenizer(*pair, verbose=False)
                before = sum(map(len, encoded["input_ids"]))
                if max(map(len, encoded["input_ids"])) > limit.max_length:
                    if policy == "error":
                        raise too_long(rows.where(start + place), max(map(len, encoded["input_ids"])), limit)
                    if policy == "drop":
                        counts["tokens_of_dropped_rows"] += before
                        continue
                    encoded = self.tokenizer(*pair, truncation=True, max_length=limit.max_length, verbose=False)
                    counts["rows_truncated"] += 1
                after = sum(map(len, encoded["input_ids"]))
                counts["tokens_truncated"] += before - after
                counts["tokens_kept"] += after
                ids.append([token for choice in encoded["input_ids"] for token in choice])
                types.append([one for choice in encoded.get("token_type_ids", []) for one in choice])
                lengths.append([len(choice) for choice in encoded["input_ids"]])
                target = self.target(row) if "label" in row else 0
                labels.append([target if isinstance(target, int) else 0])
                row_E.append(start + place)
        if not ids:
            raise all_too_long(limit)
        counts["rows_dropped_overlength"] = len(rows) - len(row_E)
        fields = {"input_ids": Ragged(ids, np.int64), "choice_lengths": Ragged(lengths, np.int64)}
        if any(map(any, types)):
            fields["token_type_ids"] = Ragged(types, np.int64)
        fields["labels"] = Ragged(labels, np.int64)
        return Examples(
            fields,
            ("labels",),
            np.array(row_E, dtype=np.int64),
            np.ones(len(row_E), dtype=np.int64),
            limit.max_length,
            self.tokenizer.pad_token_id or 0,
            close_counts(counts),
            [],
        )

    def collate(self, examples: Sequence[Any]) -> Batch:
        """input_ids, attention_mask and maybe token_type_ids (B, C, T); choice_counts and labels (B,)."""
        import torch

        most = max(len(one["choice_lengths"]) for one in examples)
        batch: Batch = {}
        for name in (name for name in ("input_ids", "token_type_ids") if name in examples[0]):
            parts: list[np.ndarray] = []
            for one in examples:
                choices = np.split(one[name], np.cumsum(one["choice_lengths"])[:-1])
                parts += choices + [choices[0]] * (most - len(choices))  # a choice that is none is masked in the logits
            padded = pad(parts, (self.tokenizer.pad_token_id or 0) if name == "input_ids" else 0, self.positions)
            batch[name] = padded["input_ids"].view(len(examples), most, -1)
            if name == "input_ids":
                batch["attention_mask"] = padded["attention_mask"].view(len(examples), most, -1)
        batch["choice_counts"] = torch.tensor([len(one["choice_lengths"]) for one in examples])
        batch["labels"] = torch.from_numpy(np.concatenate([one["labels"] for one in examples]))
        return batch

    # ------------------------------------------------------------ model

    def build(self, config: "ModelConfig", max_length: int | None) -> "PreTrainedModel":
        from pipelines.models.build import build_model

        return build_model("choice", config, self.tokenizer, max_length, size_key="data.max_length")

    def loss(self, model: "PreTrainedModel", bf16: bool) -> Loss:
        return ChoiceLoss(bf16)

    # ------------------------------------------------------------ predictions and their worth

    def outputs(self, logits: "torch.Tensor", batch: Batch) -> list[Any]:
        probabilities_BC, counts = logits.softmax(-1).cpu().numpy(), batch["choice_counts"].tolist()
        return [probabilities_C[:count] for probabilities_C, count in zip(probabilities_BC, counts, strict=True)]

    def predictions(self, outputs: Sequence[Any], examples: Examples, rows: Sequence[Row]) -> list[Prediction]:
        said: list[Prediction] = [{} for _ in rows]
        for probabilities_C, row in zip(outputs, examples.row_E.tolist(), strict=True):
            said[row] = _prediction(probabilities_C)
        return said

    def score(self, predictions: Sequence[Prediction], rows: Sequence[Row]) -> Scored:
        labels_R = np.array([self.target(row) for row in rows])
        said_R = np.array([one["label"] for one in predictions])
        probabilities = [one["probabilities"] for one in predictions]
        correct_R = labels_R == said_R
        ranks_R = reciprocal_ranks(probabilities, labels_R.tolist())
        metrics = {
            "accuracy": load_metric("accuracy").compute(predictions=said_R, references=labels_R)["accuracy"],
            "mean_reciprocal_rank": float(np.mean(ranks_R)),
        }
        worth_R = np.array([one[label] for one, label in zip(probabilities, labels_R.tolist(), strict=True)])
        return Scored(metrics, "accuracy", lambda chosen: float(correct_R[chosen].mean()), correct_R, worth_R, 1.0)

    def baselines(self, train: Rows, rows: Sequence[Row], seed: int) -> Iterator[tuple[str, list[Prediction]]]:
        from pipelines.baselines.multiple_choice import TfidfChooser, position_shares

        known = list(train)
        labels = [target for target in map(self.target, known) if isinstance(target, int)]
        position = int(position_shares(labels).argmax())
        yield (
            "commonest_position",
            [_prediction(np.eye(len(row["choices"]))[min(position, len(row["choices"]) - 1)]) for row in rows],
        )
        baseline = TfidfChooser().fit(
            [self._prompt(row) for row in known], [self._choices(row) for row in known], labels
        )
        figures = baseline.predict_proba([self._prompt(row) for row in rows], [self._choices(row) for row in rows])
        yield "tfidf", [_prediction(np.asarray(one)) for one in figures]

    # ------------------------------------------------------------ for people

    def shown(self, row: Row, prediction: Prediction) -> dict[str, str]:
        target, choices = self.target(row), row["choices"]
        said = f"{choices[prediction['label']]} ({max(prediction['probabilities']):.3f})"
        return {"input": self._prompt(row), "expected": choices[target], "predicted": said}

    def public(self, prediction: Prediction) -> Prediction:
        return prediction


def _prediction(probabilities_C: np.ndarray) -> Prediction:
    return {"label": int(np.argmax(probabilities_C)), "probabilities": [float(one) for one in probabilities_C]}
