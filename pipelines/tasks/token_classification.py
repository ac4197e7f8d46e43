"""A tag for each token of a row: named entities, parts of speech, word segmentation. Scored by entity, tag or word.

Rows come cut into words. A word may be several tokens of the model; the first one carries its tag, and predicts it.

Shape legend: B examples (windows), T positions, C tags, R rows.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.examples import Batch, Examples, Ragged, collate
from pipelines.data.framing import frame_of
from pipelines.data.labelled import Problem, Row, Rows
from pipelines.data.packing import IGNORE_INDEX
from pipelines.errors import ConfigError
from pipelines.metrics.loading import load_metric
from pipelines.metrics.seqeval.seqeval import entity_counts, entity_scores
from pipelines.task_sections import TokenClassificationConfig
from pipelines.tasks.heads import ClassLoss
from pipelines.tasks.labels import Labels
from pipelines.tasks.task import (
    Limit,
    Loss,
    Prediction,
    Scored,
    Task,
    all_too_long,
    batches,
    close_counts,
    found,
    new_counts,
    too_long,
)

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipelines.sections import ModelConfig

WORD = "word"
SEGMENTATION = {"B": f"B-{WORD}", "M": f"I-{WORD}", "I": f"I-{WORD}", "E": f"E-{WORD}", "S": f"S-{WORD}"}


class TokenClassification(Task):
    """A tag for each token."""

    key = "token-classification"
    name = "token classification"
    config_class = TokenClassificationConfig
    required = ("tokens", "tags")
    answers = ("tags",)
    learned_baseline = "linear"
    policies = ("split", "drop", "error")

    def __init__(self, config: TokenClassificationConfig) -> None:
        super().__init__(config)
        self.unit: str | None = config.unit
        self.labels = Labels((), {})
        self.has_blanks = True
        self.spans: tuple[str, ...] = ()
        """The tags as seqeval reads them, where spans are scored."""

    # ------------------------------------------------------------ rows

    def learn(self, train: Iterable[Row], names: tuple[str, ...] | None) -> None:
        """Takes the tags from the training rows, and what they mark: entities, words, or nothing but the tokens."""
        rows = list(train)
        tags = [tag for row in rows if isinstance(row["tags"], list) for tag in row["tags"]]
        self.set_labels(Labels.of(tags, names, len(tags), what="tag"))
        self.has_blanks = any(" " in join(row["tokens"]) for row in rows[:1_000] if self.input_problem(row) is None)

    def set_labels(self, labels: Labels) -> None:
        """Takes the tags, and finds out what they mark unless the config says it."""
        self.labels, bare = labels, set(labels.names)
        has_types = all(name == "O" or name[:2] in ("B-", "I-", "E-", "S-") for name in bare) and len(bare) > 1
        found = "entities" if has_types else "words" if {"B", "E", "S"} <= bare <= set(SEGMENTATION) else "tokens"
        if self.unit not in (None, "tokens", found):
            raise ConfigError(
                f"task.unit is {self.unit}, but the tags are {', '.join(labels.names)}: they mark {found}. Leave "
                "it out."
            )
        self.unit = self.unit or found
        if self.unit != "tokens":
            self.spans = tuple(SEGMENTATION[name] if self.unit == "words" else name for name in labels.names)

    def input_problem(self, row: Row) -> Problem | None:
        tokens = row["tokens"]
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            return Problem("tokens_not_list", f"tokens must be a list of text; found {found(tokens)}.")
        return None if tokens else Problem("empty_tokens", "there are no tokens.")

    def answer_problem(self, row: Row) -> Problem | None:
        tokens, tags = row["tokens"], row["tags"]
        if not isinstance(tags, list) or len(tags) != len(tokens):
            told = f"{len(tags)} tags" if isinstance(tags, list) else f"{found(tags)} for tags"
            return Problem("tags_not_one_each", f"there are {len(tokens)} tokens and {told}; each token needs one.")
        return next((one for one in map(self._tag, tags) if isinstance(one, Problem)), None)

    def _tag(self, value: Any) -> int | Problem:
        return self.labels.find(value, "tag")

    def targets(self, row: Row) -> list[int]:
        """The tags of a row as numbers."""
        return [index for index in map(self._tag, row["tags"]) if isinstance(index, int)]

    def texts(self, row: Row) -> list[str]:
        return [" ".join(row["tokens"])]

    # ------------------------------------------------------------ encoding

    def use_tokenizer(self, tokenizer: "PreTrainedTokenizerBase", model: "ModelConfig") -> None:
        super().use_tokenizer(tokenizer, model)
        if self.has_blanks:
            _blank_before_words(tokenizer)

    def use_saved_tokenizer(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        super().use_saved_tokenizer(tokenizer)
        if self.has_blanks:  # one that was trained elsewhere may not know it
            _blank_before_words(tokenizer)

    def encode(self, rows: Rows, limit: Limit, training: bool) -> Examples:
        counts = new_counts()
        counts |= {"rows_in_several_windows": 0, "words_without_token": 0}
        before, after = map(list, frame_of(self.tokenizer))
        room = limit.max_length - len(before) - len(after)
        ids: list[list[int]] = []
        labels: list[list[int]] = []
        words: list[int] = []
        row_E: list[int] = []
        for start, batch in batches(rows):
            encoded = self.tokenizer(
                [row["tokens"] for row in batch], is_split_into_words=True, add_special_tokens=False, verbose=False
            )
            for place, row in enumerate(batch):
                pieces = self._pieces(encoded["input_ids"][place], encoded.word_ids(place), len(row["tokens"]), counts)
                length = sum(map(len, pieces))
                if length > room and limit.overlength != "split" and (training or limit.overlength == "error"):
                    if limit.overlength == "error":
                        raise too_long(rows.where(start + place), length, limit)
                    counts["tokens_of_dropped_rows"] += length
                    continue
                targets = self.targets(row) if "tags" in row else [0] * len(pieces)
                windows = _windows([min(len(piece), room) for piece in pieces], room)
                counts["rows_in_several_windows"] += len(windows) > 1
                for first, last in windows:
                    window_ids, window_labels = list(before), [IGNORE_INDEX] * len(before)
                    for piece, target in zip(pieces[first:last], targets[first:last], strict=True):
                        window_ids += piece[:room]
                        window_labels += [target] + [IGNORE_INDEX] * (min(len(piece), room) - 1)
                        counts["tokens_kept"] += min(len(piece), room)
                        counts["tokens_truncated"] += max(len(piece) - room, 0)
                    ids.append(window_ids + after)
                    labels.append(window_labels + [IGNORE_INDEX] * len(after))
                    words.append(last - first)
                    row_E.append(start + place)
        if not ids:
            raise all_too_long(limit)
        rows_E = np.array(row_E, dtype=np.int64)
        counts["rows_dropped_overlength"] = len(rows) - len(np.unique(rows_E))
        return Examples(
            {"input_ids": Ragged(ids, np.int64), "labels": Ragged(labels, np.int64)},
            ("labels",),
            rows_E,
            np.array(words, dtype=np.int64),
            limit.max_length,
            self.tokenizer.pad_token_id or 0,
            close_counts(counts),
            [],
        )

    def _pieces(
        self, ids: list[int], word_of: Sequence[int | None], words: int, counts: dict[str, int]
    ) -> list[list[int]]:
        """The tokens of each word; one of which a tokenizer leaves nothing is unknown to it, and still has a tag."""
        pieces: list[list[int]] = [[] for _ in range(words)]
        for token, word in zip(ids, word_of, strict=True):
            pieces[int(word or 0)].append(token)
        unknown = self.tokenizer.unk_token_id
        for place, piece in enumerate(pieces):
            if not piece:
                counts["words_without_token"] += 1
                pieces[place] = [(self.tokenizer.pad_token_id or 0) if unknown is None else unknown]
        return pieces

    def collate(self, examples: Sequence[Any]) -> Batch:
        return collate(examples, self.tokenizer.pad_token_id or 0, {"labels": IGNORE_INDEX}, self.positions)

    # ------------------------------------------------------------ model

    def build(self, config: "ModelConfig", max_length: int | None) -> "PreTrainedModel":
        from pipelines.models.build import build_model, label_settings

        settings = label_settings(self.labels.names)
        return build_model("token", config, self.tokenizer, max_length, size_key="data.max_length", settings=settings)

    def loss(self, model: "PreTrainedModel", bf16: bool) -> Loss:
        return ClassLoss(bf16)

    # ------------------------------------------------------------ predictions and their worth

    def outputs(self, logits: "torch.Tensor", batch: Batch) -> list[Any]:
        probabilities_BT, tags_BT = (one.cpu().numpy() for one in logits.softmax(-1).max(-1))
        first_BT = (batch["labels"] != IGNORE_INDEX).cpu().numpy()
        return [
            (tags_T[first_T].tolist(), probabilities_T[first_T].tolist())
            for tags_T, probabilities_T, first_T in zip(tags_BT, probabilities_BT, first_BT, strict=True)
        ]

    def predictions(self, outputs: Sequence[Any], examples: Examples, rows: Sequence[Row]) -> list[Prediction]:
        said: list[Prediction] = [{"tags": [], "scores": []} for _ in rows]
        for (tags, scores), row in zip(outputs, examples.row_E.tolist(), strict=True):
            said[row]["tags"] += tags
            said[row]["scores"] += scores
        return said

    def score(self, predictions: Sequence[Prediction], rows: Sequence[Row]) -> Scored:
        gold = [self.targets(row) for row in rows]
        said = [one["tags"] for one in predictions]
        right_R = np.array([sum(a == b for a, b in zip(*pair, strict=True)) for pair in zip(said, gold, strict=True)])
        tokens_R = np.array([len(tags) for tags in gold])
        if not self.spans:
            flat = {"predictions": sum(said, []), "references": sum(gold, [])}
            metrics = {
                "accuracy": load_metric("accuracy").compute(**flat)["accuracy"],
                "f1_macro": load_metric("f1").compute(**flat, average="macro")["f1"],
            }
            return Scored(
                metrics,
                "accuracy",
                lambda rows: float(right_R[rows].sum() / tokens_R[rows].sum()),
                None,
                right_R - tokens_R,
                0.0,
            )
        tags = self._spans(said), self._spans(gold)
        counts_R3 = entity_counts(*tags)
        figures = load_metric("seqeval").compute(predictions=tags[0], references=tags[1])
        metrics = {name: figures[f"overall_{name}"] for name in ("f1", "precision", "recall", "accuracy")}
        worth_R = 2 * counts_R3[:, 0] - counts_R3[:, 1] - counts_R3[:, 2]

        def f1(rows: np.ndarray) -> float:
            return entity_scores(counts_R3[rows].sum(axis=0).tolist())[2]

        return Scored(metrics, "f1", f1, None, worth_R, 0.0)

    def _spans(self, tags: Sequence[Sequence[int]]) -> list[list[str]]:
        return [[self.spans[tag] for tag in row] for row in tags]

    def baselines(self, train: Rows, rows: Sequence[Row], seed: int) -> Iterator[tuple[str, list[Prediction]]]:
        from pipelines.baselines.tagging import LinearTagger, MostFrequentTag

        known = list(train)
        sentences, tags = (
            [row["tokens"] for row in known],
            [[self.labels.names[t] for t in self.targets(row)] for row in known],
        )
        unseen = [row["tokens"] for row in rows]
        for name, tagger in (("most_frequent_tag", MostFrequentTag()), ("linear", LinearTagger())):
            said = tagger.fit(sentences, tags).predict(unseen)
            yield (
                name,
                [{"tags": [self.labels.names.index(t) for t in row], "scores": [1.0] * len(row)} for row in said],
            )

    def analysis(self, predictions: Sequence[Prediction], rows: Sequence[Row]) -> dict[str, Any]:
        from pipelines.evaluation import analysis

        gold = [self.targets(row) for row in rows]
        flat = [
            {"label": tag, "probabilities": [score]}
            for one in predictions
            for tag, score in zip(one["tags"], one["scores"], strict=True)
        ]
        found = analysis.single_label(self.labels.names, sum(gold, []), flat)
        if self.spans:
            figures = load_metric("seqeval").compute(
                predictions=self._spans([one["tags"] for one in predictions]), references=self._spans(gold)
            )
            found["per_label"] = [
                {
                    "name": name,
                    "precision": one["precision"],
                    "recall": one["recall"],
                    "f1": one["f1"],
                    "rows": one["number"],
                }
                for name, one in figures.items()
                if isinstance(one, dict)
            ]
        return found

    # ------------------------------------------------------------ for people

    def shown(self, row: Row, prediction: Prediction) -> dict[str, str]:
        def words(tags: Sequence[int]) -> str:
            if self.unit == "words":
                return " ".join(join(row["tokens"][start : end + 1]) for _, start, end in self._found(tags)) or "none"
            if self.unit == "entities":
                found = [f"{kind}: {join(row['tokens'][start : end + 1])}" for kind, start, end in self._found(tags)]
                return "\n".join(found) or "none"
            return " ".join(f"{token}/{self.labels.names[tag]}" for token, tag in zip(row["tokens"], tags, strict=True))

        return {
            "input": join(row["tokens"]),
            "expected": words(self.targets(row)),
            "predicted": words(prediction["tags"]),
        }

    def _found(self, tags: Sequence[int]) -> list[tuple[str, int, int]]:
        """Type, first and last token of the spans that tags mark."""
        from seqeval.metrics.sequence_labeling import get_entities

        return get_entities([self.spans[tag] for tag in tags])

    def public(self, prediction: Prediction) -> Prediction:
        said = {"tags": [self.labels.names[tag] for tag in prediction["tags"]], "scores": prediction["scores"]}
        if not self.spans:
            return said
        found = [
            {
                "type": kind,
                "start": start,
                "end": end + 1,
                "score": float(np.mean(prediction["scores"][start : end + 1])),
            }
            for kind, start, end in self._found(prediction["tags"])
        ]
        return said | {"entities" if self.unit == "entities" else "words": found}

    def state(self) -> dict[str, Any]:
        return {"unit": self.unit, "has_blanks": self.has_blanks, "label_names": list(self.labels.names)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.unit, names = state["unit"], tuple(state["label_names"])
        self.has_blanks = state["has_blanks"]
        self.set_labels(Labels.named(names))


def _blank_before_words(tokenizer: Any) -> None:
    """Makes a byte-level tokenizer read a word given by itself as it stands in a text: behind a blank."""
    from tokenizers import pre_tokenizers

    backend = tokenizer.backend_tokenizer
    splitter = backend.pre_tokenizer
    if isinstance(splitter, pre_tokenizers.ByteLevel):
        splitter.add_prefix_space = True
        backend.pre_tokenizer = splitter
        tokenizer.add_prefix_space = tokenizer.init_kwargs["add_prefix_space"] = True  # or loading would undo it


def _windows(lengths: Sequence[int], room: int) -> list[tuple[int, int]]:
    """First word and the one behind the last of each window, filled from the left."""
    found, first, filled = [], 0, 0
    for word, length in enumerate(lengths):
        if filled + length > room:
            found.append((first, word))
            first, filled = word, 0
        filled += length
    return [*found, (first, len(lengths))]


def join(tokens: Sequence[str]) -> str:
    """Tokens as a text: with blanks between, but for single characters of languages that have none."""
    plain = all(len(token) == 1 for token in tokens) and not all(token.isascii() for token in tokens)
    return ("" if plain else " ").join(tokens)
