"""Extractive question answering: the answer is a span of the context, or (SQuAD 2.0) there is none.

Long contexts are read in overlapping windows (Devlin et al. 2019, section 4.2); the best span of all wins.

Shape legend: B examples (windows), T positions.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.examples import Batch, Examples, Ragged, collate
from pipelines.data.labelled import Problem, Row, Rows
from pipelines.errors import ConfigError
from pipelines.metrics.loading import load_metric
from pipelines.metrics.squad.squad import token_f1
from pipelines.metrics.squad_v2.squad_v2 import exact_and_f1
from pipelines.task_sections import QuestionAnsweringConfig
from pipelines.tasks.heads import SpanLoss
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


@dataclass(frozen=True)
class Window:
    """What a window shows of a context: the first position of the context, and where each token stands in it."""

    first: int
    offsets: list[tuple[int, int]]


class QuestionAnswering(Task):
    """A span of a context for each question, or none."""

    key = "question-answering"
    name = "question answering"
    config_class = QuestionAnsweringConfig
    required = ("question", "context", "answers")
    answers = ("answers",)
    learned_baseline = "linear_span"
    policies = ("split", "drop", "error")

    def __init__(self, config: QuestionAnsweringConfig) -> None:
        super().__init__(config)
        self.stride, self.max_answer_tokens = config.stride, config.max_answer_tokens
        self.n_best, self.tokenization = config.n_best, config.tokenization
        self.with_no_answer = False

    # ------------------------------------------------------------ rows

    def learn(self, train: Iterable[Row], names: tuple[str, ...] | None) -> None:
        """Whether there are questions without an answer."""
        self.with_no_answer = any(answers_of(row) == [] for row in train)

    def input_problem(self, row: Row) -> Problem | None:
        return check_text(row, "question", "context")

    def answer_problem(self, row: Row) -> Problem | None:
        answers = answers_of(row)
        if isinstance(answers, Problem):
            return answers
        if not answers and not self.with_no_answer:
            return Problem("no_answer", "there is no answer, though every training row has one.")
        for answer, start in answers:
            there = row["context"][start : start + len(answer)] if start >= 0 else ""
            if there != answer or not answer.strip():
                place = row["context"].find(answer) if answer.strip() else -1
                hint = f"It begins at {place}." if place >= 0 else "It is nowhere in the context."
                return Problem(
                    "answer_not_at_offset",
                    f"the answer {answer!r} does not stand at character {start} of the context, but {there!r}. {hint}",
                )
        return None

    def texts(self, row: Row) -> list[str]:
        return [row["question"], row["context"]]

    def group_key(self, row: Row) -> str:
        """Questions on one context stay together."""
        return str(row["group"]) if row.get("group") is not None else row["context"]

    # ------------------------------------------------------------ encoding

    def encode(self, rows: Rows, limit: Limit, training: bool) -> Examples:
        counts = new_counts()
        counts |= {"tokens_read_again_in_overlaps": 0, "questions_cut": 0, "rows_in_several_windows": 0}
        ids, types, starts, ends, row_E = [], [], [], [], []
        windows: list[Window] = []
        longest_question = limit.max_length // 2
        room = limit.max_length - longest_question - 8  # of the context, special tokens left out
        if self.stride >= room:
            raise ConfigError(
                f"task.stride is {self.stride}, but beside the longest question a window of data.max_length "
                f"{limit.max_length} shows {room} tokens of the context. Set a smaller --task.stride."
            )
        for start, batch in batches(rows):
            questions = [row["question"].strip() for row in batch]
            lengths = self.tokenizer(questions, add_special_tokens=False, verbose=False)
            for place, question_ids in enumerate(lengths["input_ids"]):
                if len(question_ids) > longest_question:
                    end = lengths[place].offsets[longest_question - 1][1]
                    counts["questions_cut"] += 1
                    counts["tokens_truncated"] += len(question_ids) - longest_question
                    questions[place] = questions[place][:end]
            encoded = self.tokenizer(
                questions,
                [row["context"] for row in batch],
                truncation="only_second",
                max_length=limit.max_length,
                stride=self.stride,
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
                verbose=False,
            )
            of_row = encoded["overflow_to_sample_mapping"]
            several = {row for row, next_row in zip(of_row, of_row[1:], strict=False) if row == next_row}
            for window, place in enumerate(of_row):
                window_ids = encoded["input_ids"][window]
                if place in several and limit.overlength != "split" and (training or limit.overlength == "error"):
                    if limit.overlength == "error":
                        raise too_long(rows.where(start + place), len(window_ids) + 1, limit)
                    again = self.stride if window and of_row[window - 1] == place else 0
                    counts["tokens_of_dropped_rows"] += len(window_ids) - again
                    continue
                again = self.stride if window and of_row[window - 1] == place else 0
                counts["tokens_kept"] += len(window_ids) - again
                counts["tokens_read_again_in_overlaps"] += again
                sides = encoded.sequence_ids(window)
                first = sides.index(1) if 1 in sides else len(sides)
                last = len(sides) - sides[::-1].index(1) if 1 in sides else first
                offsets = encoded["offset_mapping"][window][first:last]
                begin, end = self._span(batch[place], Window(first, offsets))
                ids.append(window_ids)
                types.append(encoded["token_type_ids"][window] if "token_type_ids" in encoded else [])
                starts.append([begin])
                ends.append([end])
                row_E.append(start + place)
                windows.append(Window(first, offsets) if not training else Window(first, []))
            counts["rows_in_several_windows"] += len(several)
        if not ids:
            raise all_too_long(limit)
        fields = {"input_ids": Ragged(ids, np.int64)}
        if any(map(any, types)):
            fields["token_type_ids"] = Ragged(types, np.int64)
        fields |= {"start_positions": Ragged(starts, np.int64), "end_positions": Ragged(ends, np.int64)}
        rows_E = np.array(row_E, dtype=np.int64)
        counts["rows_dropped_overlength"] = len(rows) - len(np.unique(rows_E))
        return Examples(
            fields,
            ("start_positions", "end_positions"),
            rows_E,
            np.ones(len(rows_E), dtype=np.int64),
            limit.max_length,
            self.tokenizer.pad_token_id or 0,
            close_counts(counts),
            windows,
        )

    def _span(self, row: Row, window: Window) -> tuple[int, int]:
        """First and last position of the first answer in a window; twice position 0 where it is not whole in it."""
        answers = answers_of(row)
        if isinstance(answers, Problem) or not answers or not window.offsets:
            return 0, 0
        answer, start = answers[0]
        start, end = _without_blanks(answer, start)
        if start < window.offsets[0][0] or end > window.offsets[-1][1]:
            return 0, 0
        inside = [i for i, (low, high) in enumerate(window.offsets) if low < end and high > start]
        return (window.first + inside[0], window.first + inside[-1]) if inside else (0, 0)

    def within_reach(self, rows: Rows, limit: Limit) -> Rows:
        """Those without an answer, or whose first one is whole tokens of one window, max_answer_tokens at most."""
        examples = self.encode(rows, limit, training=False)
        windows = zip(examples.info, examples.row_E.tolist(), strict=True)
        return rows.take(sorted({row for window, row in windows if self._reaches(rows.as_list[row], window)}))

    def _reaches(self, row: Row, window: Window) -> bool:
        """Read from characters, not by `_span`: the proof of scoring judges that by these rows."""
        answers = answers_of(row)
        if isinstance(answers, Problem) or not answers:
            return not answers
        start, end = _without_blanks(*answers[0])
        context, places = row["context"], list(enumerate(window.offsets))
        firsts = [i for i, (low, high) in places if low <= start < high and not context[low:start].strip()]
        lasts = [i for i, (low, high) in places if low < end <= high and not context[end:high].strip()]
        return bool(firsts and lasts) and lasts[-1] - firsts[0] < self.max_answer_tokens

    def collate(self, examples: Sequence[Any]) -> Batch:
        return collate(examples, self.tokenizer.pad_token_id or 0, {"token_type_ids": 0}, self.positions)

    # ------------------------------------------------------------ model

    def build(self, config: "ModelConfig", max_length: int | None) -> "PreTrainedModel":
        from pipelines.models.build import build_model

        return build_model("question", config, self.tokenizer, max_length, size_key="data.max_length")

    def loss(self, model: "PreTrainedModel", bf16: bool) -> Loss:
        return SpanLoss(bf16)

    # ------------------------------------------------------------ predictions and their worth

    def outputs(self, logits: "torch.Tensor", batch: Batch) -> list[Any]:
        return list(logits.cpu().numpy())

    def predictions(self, outputs: Sequence[Any], examples: Examples, rows: Sequence[Row]) -> list[Prediction]:
        candidates: list[list[tuple[float, int, int]]] = [[] for _ in rows]
        none = np.full(len(rows), math.inf)
        for logits_2T, window, row in zip(outputs, examples.info, examples.row_E.tolist(), strict=True):
            none[row] = min(none[row], float(logits_2T[0, 0] + logits_2T[1, 0]))
            candidates[row] += self._best_spans(logits_2T, window)
        return [
            self._prediction(row["context"], best, none[index])
            for index, (row, best) in enumerate(zip(rows, candidates, strict=True))
        ]

    def _best_spans(self, logits_2T: np.ndarray, window: Window) -> list[tuple[float, int, int]]:
        """(score, first and last character) of the best spans of a window: sums of start and end logit."""
        count = len(window.offsets)
        if not count:
            return []
        start_N, end_N = logits_2T[:, window.first : window.first + count]
        score_NN = start_N[:, None] + end_N[None]
        place_N = np.arange(count)
        length_NN = place_N[None] - place_N[:, None]
        score_NN = np.where((length_NN >= 0) & (length_NN < self.max_answer_tokens), score_NN, -np.inf)
        best = np.argpartition(-score_NN.ravel(), min(self.n_best, count * count - 1))[: self.n_best]
        spans = [(float(score_NN.ravel()[one]), *divmod(int(one), count)) for one in best]
        return [
            (score, window.offsets[start][0], window.offsets[end][1])
            for score, start, end in spans
            if score > -math.inf
        ]

    def _prediction(self, context: str, candidates: list[tuple[float, int, int]], none: float) -> Prediction:
        ordered = sorted(set(candidates), key=lambda one: (-one[0], one[1:]))[: self.n_best]
        if not ordered:
            ordered = [(-math.inf, 0, 0)]
        scores = np.array([score for score, *_ in ordered] + ([none] if self.with_no_answer else []))
        scores = np.maximum(scores, -1e4)
        weights = np.exp(scores - scores.max())
        probabilities = (weights / weights.sum()).tolist()
        places = [_without_blanks(context[start:end], start) for _, start, end in ordered]  # a token may hold a blank
        n_best = [
            {"text": context[start:end], "start": start, "end": end, "score": probability}
            for (start, end), probability in zip(places, probabilities, strict=False)
        ]
        margin = float(none - ordered[0][0]) if self.with_no_answer else None
        return {**n_best[0], "no_answer_margin": margin, "n_best": n_best}

    def tune(self, predictions: Sequence[Prediction], rows: Sequence[Row]) -> None:
        if self.with_no_answer:
            self.threshold = best_threshold(*self._figures(predictions, rows))

    def _figures(
        self, predictions: Sequence[Prediction], rows: Sequence[Row]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each row: its margin, F1 with the best span, and F1 with no answer."""
        margins = np.array([one["no_answer_margin"] for one in predictions])
        gold = [_gold(row) for row in rows]
        with_span = [
            token_f1(one["text"], texts, self.tokenization) for one, texts in zip(predictions, gold, strict=True)
        ]
        return margins, np.array(with_span), np.array([float(texts == [""]) for texts in gold])

    def _answers(self, predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[str]:
        """The final answer to each question, "" for none.

        The threshold is that of `tune`; without one, that of the other half of the rows (by group), so that no row is
        answered by a threshold that its own answer helped to choose.
        """
        texts = [one["text"] for one in predictions]
        if any(one["no_answer_margin"] is None for one in predictions):
            return texts  # every question has an answer, or a baseline has decided by itself
        figures = self._figures(predictions, rows)
        thresholds = np.full(len(rows), 0.0 if self.threshold is None else self.threshold)
        if self.threshold is None:
            import xxhash

            half_R = np.array([xxhash.xxh3_64_intdigest(self.group_key(row).encode()) % 2 for row in rows])
            for half in (0, 1):
                others = half_R != half
                if others.any():
                    thresholds[half_R == half] = best_threshold(*(figure[others] for figure in figures))
        return [
            "" if margin > limit else text for text, margin, limit in zip(texts, figures[0], thresholds, strict=True)
        ]

    def score(self, predictions: Sequence[Prediction], rows: Sequence[Row]) -> Scored:
        answers = self._answers(predictions, rows)
        for one, answer in zip(predictions, answers, strict=True):
            one["answer"] = answer  # what was scored is what is shown
        gold = [_gold(row) for row in rows]
        f1_R = np.array(
            [100 * exact_and_f1(one, texts, self.tokenization)[1] for one, texts in zip(answers, gold, strict=True)]
        )
        ids = [str(index) for index in range(len(rows))]
        references = [
            {
                "id": one,
                "answers": {
                    "text": texts if texts != [""] else [],
                    "answer_start": [0] * (len(texts) if texts != [""] else 0),
                },
            }
            for one, texts in zip(ids, gold, strict=True)
        ]
        said: list[dict[str, Any]] = [
            {"id": one, "prediction_text": text} for one, text in zip(ids, answers, strict=True)
        ]
        options = {"tokenization": self.tokenization}
        if not self.with_no_answer:
            metrics = load_metric("squad").compute(predictions=said, references=references, **options)
        else:
            from scipy.special import expit

            margins = [one["no_answer_margin"] for one in predictions]
            for one, answer, margin in zip(said, answers, margins, strict=True):
                one["no_answer_probability"] = float(answer == "") if margin is None else float(expit(margin))
            figures = load_metric("squad_v2").compute(
                predictions=said, references=references, no_answer_threshold=2.0, **options
            )
            names = {
                "exact": "exact_match", "f1": "f1", "HasAns_f1": "f1_has_answer", "NoAns_f1": "f1_no_answer",
            }  # fmt: skip
            metrics = {ours: figures[theirs] for theirs, ours in names.items() if theirs in figures}
        metrics = {"f1": metrics.pop("f1"), **metrics}
        return Scored(metrics, "f1", lambda rows: float(f1_R[rows].mean()), None, f1_R, 100.0)

    def baselines(self, train: Rows, rows: Sequence[Row], seed: int) -> Iterator[tuple[str, list[Prediction]]]:
        from pipelines.baselines.question_answering import SpanBaseline

        known = list(train)
        baseline = SpanBaseline().fit(
            [row["question"] for row in known],
            [row["context"] for row in known],
            [_columns(row) for row in known],
        )
        spans = baseline.predict([row["question"] for row in rows], [row["context"] for row in rows])
        limit = baseline.threshold if self.with_no_answer else -math.inf
        yield "linear_span", [_said(*one) if one.score >= limit else _said("", 0, one.score) for one in spans]

    # ------------------------------------------------------------ for people

    def shown(self, row: Row, prediction: Prediction) -> dict[str, str]:
        return {
            "input": f"{row['question']}\n\n{row['context']}",
            "expected": " | ".join(dict.fromkeys(_gold(row))) or "no answer",
            "predicted": self.public(prediction)["answer"] or "no answer",
        }

    def slices(self, row: Row) -> dict[str, str]:
        word = row["question"].strip().split(" ")[0].lower()
        known = ("what", "who", "when", "where", "which", "how", "why", "in")
        return {"question": word if word in known else "other"} | (
            {"answer": "none" if _gold(row) == [""] else "some"} if self.with_no_answer else {}
        )

    def public(self, prediction: Prediction) -> Prediction:
        margin, limit = prediction["no_answer_margin"], self.threshold or 0.0
        answer = prediction.get("answer", prediction["text"] if margin is None or margin <= limit else "")
        kept = ("start", "end", "score", "n_best", *(["no_answer_margin"] if self.with_no_answer else []))
        return {"answer": answer, **{name: prediction[name] for name in kept}}

    def state(self) -> dict[str, Any]:
        return {"with_no_answer": self.with_no_answer, "threshold": self.threshold}

    def load_state(self, state: dict[str, Any]) -> None:
        self.with_no_answer, self.threshold = state["with_no_answer"], state["threshold"]


def _said(text: str, start: int, score: float) -> Prediction:
    """What a baseline says."""
    place = {"start": start, "end": start + len(text), "score": score}
    return {"text": text, **place, "no_answer_margin": None, "n_best": []}


def _without_blanks(text: str, start: int) -> tuple[int, int]:
    """First character, and the one behind the last, of a text at `start` without the blanks around it."""
    inner = text.strip()
    first = start + text.index(inner)
    return first, first + len(inner)


def answers_of(row: Row) -> list[tuple[str, int]] | Problem:
    """(text, first character) of each answer, from {text: [...], answer_start: [...]} or a list of such maps."""
    answers = row.get("answers", {"text": [], "answer_start": []})
    if isinstance(answers, dict):
        texts, starts = answers.get("text"), answers.get("answer_start")
    elif isinstance(answers, list) and all(isinstance(one, dict) for one in answers):
        texts, starts = ([one.get(name) for one in answers] for name in ("text", "answer_start"))
    else:
        texts = starts = None
    if (
        not isinstance(texts, list)
        or not isinstance(starts, list)
        or len(texts) != len(starts)
        or not all(isinstance(text, str) for text in texts)
        or not all(isinstance(start, int) for start in starts)
    ):
        return Problem(
            "answers_malformed",
            f"answers are {found(answers)}; expected {{'text': [...], 'answer_start': [...]}} of one length.",
        )
    return list(zip(texts, starts, strict=True))


def _columns(row: Row) -> dict[str, list[Any]]:
    """The answers to a question as columns."""
    answers = answers_of(row)
    texts, starts = zip(*answers, strict=True) if answers and not isinstance(answers, Problem) else ((), ())
    return {"text": list(texts), "answer_start": list(starts)}


def _gold(row: Row) -> list[str]:
    """The right answers to a question; [""] where there is none."""
    answers = answers_of(row)
    return [""] if isinstance(answers, Problem) or not answers else [text for text, _ in answers]


def best_threshold(margin_R: np.ndarray, with_span_R: np.ndarray, with_none_R: np.ndarray) -> float:
    """The threshold on margins that gives the best mean F1: rows with a larger margin have no answer.

    As the official SQuAD 2.0 script looks for its best threshold, but halfway between two margins.
    """
    order = np.argsort(margin_R, kind="stable")
    # Answering the first k rows by their span, the others by none.
    gains = np.concatenate(([0.0], np.cumsum(with_span_R[order] - with_none_R[order])))
    margins = margin_R[order]
    # Rows of one margin fall on one side together.
    allowed = np.concatenate(([True], np.diff(margins) > 0, [True]))
    best = int(np.flatnonzero(allowed)[np.argmax(gains[allowed])])
    if best == 0:
        return float(margins[0] - 1)
    if best == len(margins):
        return float(margins[-1] + 1)
    return float((margins[best - 1] + margins[best]) / 2)
