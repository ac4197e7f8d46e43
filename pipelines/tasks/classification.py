"""Text classification: a label, several or a number for a text or a pair of texts; relations by entity markers.

Sentiment, topic, natural language inference (pairs), semantic similarity (a number), relation classification.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipelines.data.examples import Batch, Examples, Ragged, collate
from pipelines.data.labelled import Problem, Row, Rows
from pipelines.errors import ConfigError, DataError
from pipelines.metrics.loading import load_metric
from pipelines.task_sections import ClassificationConfig
from pipelines.tasks import relations
from pipelines.tasks.heads import ClassLoss, HeadLoss, MultiLabelLoss, RegressionLoss
from pipelines.tasks.labels import Labels
from pipelines.tasks.task import Limit, Loss, Prediction, Scored, Task, check_text, encode_texts, found

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from pipelines.sections import ModelConfig

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]
REGRESSION_ADVICE = " For numbers to be predicted, set --task.problem_type regression."
SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"


class TextClassification(Task):
    """A label (or several, or a number) for each text or pair of texts."""

    key, name = "text-classification", "text classification"
    config_class = ClassificationConfig
    required = ("text", "label")
    answers = ("label",)
    learned_baseline = "tfidf"
    optional = ("text_pair", "head", "tail")

    def __init__(self, config: ClassificationConfig) -> None:
        super().__init__(config)
        self.problem_type: str | None = config.problem_type
        self.labels = Labels((), {})
        self.has_pairs = self.has_entities = False

    # ------------------------------------------------------------ rows

    def learn(self, train: Iterable[Row], names: tuple[str, ...] | None) -> None:
        """Takes the kind of problem and the labels from the training rows."""
        rows = list(train)
        first = next((row["label"] for row in rows if row["label"] is not None), None)
        if self.problem_type is None:
            self.problem_type = MULTI if isinstance(first, list) else SINGLE
        self.has_pairs = "text_pair" in rows[0]
        self.has_entities = "head" in rows[0]
        if self.has_entities != ("tail" in rows[0]):
            raise ConfigError("A relation has two entities: map a column to each of the roles head and tail.")
        if self.has_pairs and self.has_entities:
            raise ConfigError(
                "Relations are between entities of one text: leave the role text_pair, or head and tail, out."
            )
        if self.problem_type == REGRESSION:
            numbers = {number for number in (_number(row["label"]) for row in rows) if number is not None}
            if len(numbers) == 1:
                raise DataError(f"All numbers of the training split are {numbers.pop():g}: there is nothing to learn.")
            return
        labels = [row["label"] if isinstance(row["label"], list) else [row["label"]] for row in rows]
        values = [value for several in labels for value in several]
        least = 1 if self.problem_type == MULTI else 2
        self.labels = Labels.of(values, names, len(rows), least, advice=REGRESSION_ADVICE)

    def input_problem(self, row: Row) -> Problem | None:
        text = check_text(row, "text", *(["text_pair"] if self.has_pairs else []))
        if text is None and self.has_entities:
            marked = relations.mark(row["text"], row["head"], row["tail"])
            return marked if isinstance(marked, Problem) else None
        return text

    def answer_problem(self, row: Row) -> Problem | None:
        target = self.target(row)
        return target if isinstance(target, Problem) else None

    def inputs(self) -> tuple[str, ...]:
        more = (("text_pair",) if self.has_pairs else ()) + (("head", "tail") if self.has_entities else ())
        return ("text", *more)

    def target(self, row: Row) -> Any:
        """The label of a row as a number, a list of 0.0 and 1.0 for several, or why it has none."""
        value = row["label"]
        if self.problem_type == REGRESSION:
            number = _number(value)
            return (
                Problem("label_not_number", f"the label {value!r} is no finite number.") if number is None else number
            )
        if self.problem_type == SINGLE:
            if isinstance(value, list):
                return Problem(
                    "several_labels",
                    f"the label is the list {value!r}, expected one. For several: --task.problem_type {MULTI}.",
                )
            return self.labels.find(value, floats=REGRESSION_ADVICE)
        if not isinstance(value, list):
            told = f"the label is {found(value)}, expected a list of labels (it may be empty)."
            return Problem("label_not_list", told)
        indices = [self.labels.find(one, floats="") for one in value]
        problems = [one for one in indices if isinstance(one, Problem)]
        if problems:
            return problems[0]
        if len(set(indices)) < len(indices):
            told = f"the label is {found(value)}, which names one twice; expected the labels that hold, each once."
            return Problem("label_twice", f"{told} A list of 0 and 1 for all labels is not read.")
        return [float(index in indices) for index in range(len(self.labels))]

    def texts(self, row: Row) -> list[str]:
        if self.has_entities:
            return [str(relations.mark(row["text"], row["head"], row["tail"]))]
        return [row["text"], row["text_pair"]] if self.has_pairs else [row["text"]]

    def stratum(self, row: Row) -> int | None:
        return self.target(row) if self.problem_type == SINGLE else None

    # ------------------------------------------------------------ encoding

    def special_tokens(self) -> list[str]:
        return list(relations.MARKERS) if self.has_entities else []

    def encode(self, rows: Rows, limit: Limit, training: bool) -> Examples:
        def sides(row: Row) -> tuple[str, str | None]:
            texts = self.texts(row)
            return texts[0], texts[1] if len(texts) > 1 else None

        ids, types, row_E, counts = encode_texts(self.tokenizer, rows, sides, limit, training)
        fields = {"input_ids": Ragged(ids, np.int64)}
        if types is not None:
            fields["token_type_ids"] = Ragged(types, np.int64)
        kept = rows.take(row_E.tolist()) if len(row_E) < len(rows) else rows
        unknown = [0.0] * len(self.labels) if self.problem_type == MULTI else 0
        targets = [self.target(row) if "label" in row else unknown for row in kept]
        dtype = np.int64 if self.problem_type == SINGLE else np.float32
        fields["labels"] = Ragged([one if isinstance(one, list) else [one] for one in targets], dtype)
        targets_E = np.full(len(ids), len(self.labels) if self.problem_type == MULTI else 1)
        return Examples(
            fields, ("labels",), row_E, targets_E, limit.max_length, self.tokenizer.pad_token_id or 0, counts, []
        )

    def collate(self, examples: Sequence[Any]) -> Batch:
        return collate(examples, self.tokenizer.pad_token_id or 0, {"token_type_ids": 0}, self.positions)

    # ------------------------------------------------------------ model

    def build(self, config: "ModelConfig", max_length: int | None) -> "PreTrainedModel":
        from pipelines.models.build import build_model, label_settings

        names = ("value",) if self.problem_type == REGRESSION else self.labels.names
        settings = label_settings(names, self.problem_type)
        return build_model(
            "sequence", config, self.tokenizer, max_length, size_key="data.max_length", settings=settings
        )

    def loss(self, model: "PreTrainedModel", bf16: bool) -> Loss:
        losses: dict[str | None, type[HeadLoss]] = {
            SINGLE: ClassLoss,
            MULTI: MultiLabelLoss,
            REGRESSION: RegressionLoss,
        }
        return losses[self.problem_type](bf16)

    # ------------------------------------------------------------ predictions and their worth

    def outputs(self, logits: "torch.Tensor", batch: Batch) -> list[Any]:
        if self.problem_type == SINGLE:
            return list(logits.softmax(-1).cpu().numpy())
        return list((logits.sigmoid() if self.problem_type == MULTI else logits).cpu().numpy())

    def predictions(self, outputs: Sequence[Any], examples: Examples, rows: Sequence[Row]) -> list[Prediction]:
        return [self._prediction(output) for output in outputs]

    def _prediction(self, figures_C: np.ndarray) -> Prediction:
        if self.problem_type == REGRESSION:
            return {"value": float(figures_C[0])}
        probabilities = [float(one) for one in figures_C]
        if self.problem_type == MULTI:
            return {
                "labels": [int(one > self.config.threshold) for one in probabilities],
                "probabilities": probabilities,
            }
        return {"label": int(np.argmax(figures_C)), "probabilities": probabilities}

    def score(self, predictions: Sequence[Prediction], rows: Sequence[Row]) -> Scored:
        targets = [self.target(row) for row in rows]
        if self.problem_type == SINGLE:
            return _score_single(predictions, targets, len(self.labels))
        return (
            _score_multi(predictions, targets)
            if self.problem_type == MULTI
            else _score_regression(predictions, targets)
        )

    def baselines(self, train: Rows, rows: Sequence[Row], seed: int) -> Iterator[tuple[str, list[Prediction]]]:
        from pipelines.baselines import classification as baselines

        targets = [self.target(row) for row in train]
        texts, unseen = ([self._baseline_text(row) for row in split] for split in (train, rows))
        if self.problem_type == REGRESSION:
            yield "mean", [{"value": baselines.mean_prediction(targets)}] * len(rows)
            values = baselines.TfidfRegressor().fit(texts, targets).predict(unseen)
            yield "tfidf", [{"value": float(value)} for value in values]
            return
        shares_C = baselines.majority_probabilities(np.array(targets), len(self.labels))
        yield "majority", [self._prediction(shares_C)] * len(rows)
        figures_RC = baselines.TfidfClassifier(len(self.labels)).fit(texts, np.array(targets)).predict_proba(unseen)
        yield "tfidf", [self._prediction(figures_C) for figures_C in figures_RC]

    def _baseline_text(self, row: Row) -> Any:
        texts = self.texts(row)
        return tuple(texts) if len(texts) > 1 else texts[0]

    # ------------------------------------------------------------ for people

    def shown(self, row: Row, prediction: Prediction) -> dict[str, str]:
        said = self.public(prediction)
        if self.problem_type == REGRESSION:
            expected, predicted = f"{self.target(row):g}", f"{said['value']:.3f}"
        elif self.problem_type == MULTI:
            names = [name for name, is_on in zip(self.labels.names, self.target(row), strict=True) if is_on]
            expected, predicted = ", ".join(names) or "none", ", ".join(said["labels"]) or "none"
        else:
            expected, predicted = self.labels.names[self.target(row)], f"{said['label']} ({said['score']:.3f})"
        return {"input": "\n".join(self.texts(row)), "expected": expected, "predicted": predicted}

    def slices(self, row: Row) -> dict[str, str]:
        return {"label": self.labels.names[self.target(row)]} if self.problem_type == SINGLE else {}

    def public(self, prediction: Prediction) -> Prediction:
        if self.problem_type == REGRESSION:
            return {"value": prediction["value"]}
        scores = dict(zip(self.labels.names, prediction["probabilities"], strict=True))
        if self.problem_type == MULTI:
            on = [name for name, is_on in zip(self.labels.names, prediction["labels"], strict=True) if is_on]
            return {"labels": on, "scores": scores}
        name = self.labels.names[prediction["label"]]
        return {"label": name, "score": scores[name], "scores": scores}

    def analysis(self, predictions: Sequence[Prediction], rows: Sequence[Row]) -> dict[str, Any]:
        from pipelines.evaluation import analysis

        targets = [self.target(row) for row in rows]
        if self.problem_type == SINGLE:
            return analysis.single_label(self.labels.names, targets, predictions)
        return analysis.multi_label(self.labels.names, targets, predictions) if self.problem_type == MULTI else {}

    def state(self) -> dict[str, Any]:
        kept = ("problem_type", "has_pairs", "has_entities")
        return {name: getattr(self, name) for name in kept} | {"label_names": list(self.labels.names)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.problem_type, names = state["problem_type"], tuple(state["label_names"])
        self.has_pairs, self.has_entities = state["has_pairs"], state["has_entities"]
        self.labels = Labels.named(names)


# ---------------------------------------------------------------- figures


def _score_single(predictions: Sequence[Prediction], targets: Sequence[int], classes: int) -> Scored:
    labels_R, said_R = np.array(targets), np.array([one["label"] for one in predictions])
    probabilities_RC = np.array([one["probabilities"] for one in predictions])
    correct_R, confidence_R = labels_R == said_R, probabilities_RC.max(axis=1)
    f1 = load_metric("f1")
    pair: dict[str, Any] = {"predictions": said_R, "references": labels_R}
    metrics = {"accuracy": load_metric("accuracy").compute(**pair)["accuracy"]}
    if classes == 2:
        metrics["f1"] = f1.compute(**pair)["f1"]
    metrics |= {f"f1_{average}": f1.compute(**pair, average=average)["f1"] for average in ("macro", "weighted")}
    metrics["matthews_correlation"] = load_metric("matthews_correlation").compute(**pair)["matthews_correlation"]
    error = load_metric("expected_calibration_error")
    metrics |= error.compute(predictions=confidence_R, references=correct_R.astype(int))
    return Scored(
        metrics,
        "accuracy",
        lambda rows: float(correct_R[rows].mean()),
        correct_R,
        probabilities_RC[np.arange(len(labels_R)), labels_R],
        1.0,
    )


def _score_multi(predictions: Sequence[Prediction], targets: Sequence[list[float]]) -> Scored:
    labels_RL = np.array(targets).astype(int)
    said_RL = np.array([one["labels"] for one in predictions])
    hits_R, said_R, labels_R = (one.sum(axis=1) for one in (labels_RL & said_RL, said_RL, labels_RL))
    counts = (one.sum(axis=0) for one in (labels_RL & said_RL, said_RL, labels_RL))
    per_label = [_f1(*figures) for figures in zip(*counts, strict=True)]

    def micro(rows: np.ndarray) -> float:
        return _f1(hits_R[rows].sum(), said_R[rows].sum(), labels_R[rows].sum())

    metrics = {
        "f1_micro": load_metric("f1").compute(
            predictions=said_RL.ravel(), references=labels_RL.ravel(), average="binary"
        )["f1"],
        "f1_macro": float(np.mean(per_label)),
        "accuracy": float((labels_RL == said_RL).all(axis=1).mean()),
    }
    worth_R = -np.abs(labels_RL - np.array([one["probabilities"] for one in predictions])).max(axis=1)
    return Scored(metrics, "f1_micro", micro, None, worth_R, 0.0)


def _score_regression(predictions: Sequence[Prediction], targets: Sequence[float]) -> Scored:
    labels_R, said_R = np.array(targets), np.array([one["value"] for one in predictions])

    def is_constant(rows: np.ndarray) -> bool:
        return bool(np.ptp(said_R[rows]) == 0 or np.ptp(labels_R[rows]) == 0)

    def correlation(name: str, rows: np.ndarray) -> float:
        """0 where one side is constant, as the mean of the training rows is, and no correlation is defined."""
        if is_constant(rows):
            return 0.0
        return float(load_metric(name).compute(predictions=said_R[rows], references=labels_R[rows])[name])

    every = np.arange(len(labels_R))
    metrics = {name: correlation(name, every) for name in ("spearmanr", "pearsonr")}
    metrics["mse"] = float(((labels_R - said_R) ** 2).mean())

    def spearman(rows: np.ndarray) -> float:
        from scipy.stats import spearmanr  # a thousand resamples: without the checks of the metric module

        return 0.0 if is_constant(rows) else float(spearmanr(said_R[rows], labels_R[rows]).statistic)

    return Scored(metrics, "spearmanr", spearman, None, -np.abs(labels_R - said_R), 0.0)


def _f1(hits: float, said: float, labels: float) -> float:
    return float(2 * hits / (said + labels)) if said + labels else 0.0


def _number(value: Any) -> float | None:
    """A value as a finite number; csv has numbers as text."""
    try:
        number = math.nan if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError):
        number = math.nan
    return number if math.isfinite(number) else None
