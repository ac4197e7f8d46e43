"""A baseline of extractive question answering: linear models of where an answer begins and where it ends.

Looked for in the sentences that share most with the question by idf. Two logistic regressions give each word a score of
being the first of the answer, and the last, from the word, its neighbours and the question word; the span with the
highest sum wins, as from the two logits of a neural model.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from pipelines.baselines.sampling import evenly_spread
from pipelines.baselines.segmentation import sentence_spans, word_spans, words
from pipelines.errors import DataError

QUESTION_WORD = re.compile(
    r"\b(?:how (?:many|much|long)|who|whom|whose|when|where|which|why|how|what)\b"
    r"|为什么|什么时候|什么|多少|哪|谁|何|怎么|几",
)
SENTENCES = 3  # of a context, in which the answer is looked for
LONGEST = 10  # words of an answer
STEM = 5  # letters by which a word of the question and one of the context are the same
ROWS = 10_000  # training rows that are learned from at most, evenly spread
ALPHA = 1e-5  # penalty of the models
LENGTH_WEIGHT = 0.5  # of the log share of answers as long as a span: first and last word say part of it
HELD_OUT = 5  # every fifth of these sets the threshold of no answer

Feature = tuple[str, float]


class Span(NamedTuple):
    """A span of a context, the character it begins at, and its score: -inf if the context has no word."""

    text: str
    start: int
    score: float


class Sentence(NamedTuple):
    """The words of a sentence: where each stands in the context, and its features."""

    spans: list[tuple[int, int]]
    features: list[list[Feature]]


class SpanBaseline:
    """Finds the answer to a question in its context.

    Attributes:
        threshold: a best span that scores less is no answer; -inf if all training rows have answers. Otherwise it is
            the one with the best mean F1 of words on every fifth training row, from which nothing else is learned.
    """

    threshold = -np.inf

    def fit(
        self, questions: Sequence[str], contexts: Sequence[str], answers: Sequence[dict[str, Any]]
    ) -> "SpanBaseline":
        """Learns from rows as SQuAD has them.

        Args:
            questions, contexts: texts.
            answers: of each row `text` and `answer_start`, in characters; empty lists where there is no answer.

        Raises:
            DataError: no row has an answer that begins and ends with a word of the sentences it is looked for in.
        """
        from scipy import sparse
        from sklearn.feature_extraction import FeatureHasher
        from sklearn.linear_model import SGDClassifier

        self.hasher = FeatureHasher(input_type="pair")
        rows = evenly_spread([1] * len(questions), ROWS)
        held_out = [] if all(answers[row]["text"] for row in rows) else rows[HELD_OUT - 1 :: HELD_OUT]
        distinct = set(contexts)
        counts = Counter(chain.from_iterable(set(words(context.lower())) for context in distinct))
        self.unseen = np.log(1 + len(distinct)) + 1
        self.idf = {word: np.log((1 + len(distinct)) / (1 + count)) + 1 for word, count in counts.items()}

        blocks: list[Any] = []
        first: list[bool] = []
        last: list[bool] = []
        lengths: Counter[int] = Counter()
        for row in sorted(set(rows).difference(held_out)):
            starts = answers[row]["answer_start"]
            ends = [start + len(text) for start, text in zip(starts, answers[row]["text"], strict=True)]
            lengths.update(len(words(text)) for text in answers[row]["text"][:1])
            for sentence in self._sentences(questions[row], contexts[row]):
                blocks.append(self.hasher.transform(sentence.features))
                first += [start in starts for start, _ in sentence.spans]
                last += [end in ends for _, end in sentence.spans]
        if not any(first) or not any(last):
            raise DataError(
                f"The baseline needs training answers that begin and end with a word of their context; none of "
                f"{len(rows):,} rows has one. Are `answer_start` characters of `context`?"
            )
        features = sparse.vstack(blocks, "csr")
        settings = {"loss": "log_loss", "alpha": ALPHA, "average": True, "max_iter": 5, "tol": None, "random_state": 0}
        self.models = [SGDClassifier(**settings).fit(features, targets) for targets in (first, last)]
        share = [(lengths[length] + 1) / (lengths.total() + LONGEST) for length in range(1, LONGEST + 1)]
        self.length_scores = LENGTH_WEIGHT * np.log(share)
        if held_out:
            spans = self.predict([questions[row] for row in held_out], [contexts[row] for row in held_out])
            self.threshold = best_threshold(spans, [answers[row]["text"] for row in held_out])
        return self

    def predict(self, questions: Sequence[str], contexts: Sequence[str]) -> list[Span]:
        """The best span of each context, whatever it scores."""
        return [self._best(question, context) for question, context in zip(questions, contexts, strict=True)]

    def _best(self, question: str, context: str) -> Span:
        best = Span("", 0, -np.inf)
        for spans, features in self._sentences(question, context):
            hashed = self.hasher.transform(features)
            first, last = (model.decision_function(hashed) for model in self.models)
            for more in range(min(LONGEST, len(spans))):
                scores = first[: len(spans) - more] + last[more:] + self.length_scores[more]
                place = int(scores.argmax())
                if scores[place] > best.score:
                    start, end = spans[place][0], spans[place + more][1]
                    best = Span(context[start:end], start, float(scores[place]))
        return best

    def _sentences(self, question: str, context: str) -> Iterator[Sentence]:
        """The sentences that share most with the question, best first."""
        lower = question.lower()
        match = QUESTION_WORD.search(lower)
        kind = match.group() if match else "?"
        after = words(lower[match.end() :])[:1] if match else []
        asked = {word[:STEM]: self._idf(word) for word in words(lower) if word[0].isalnum()}
        total = sum(asked.values()) or 1.0
        shares = []
        for start, end in sentence_spans(context):
            stems = {word[:STEM] for word in words(context[start:end].lower())}
            shares.append((sum(asked[stem] for stem in asked if stem in stems) / total, start, end))
        shares.sort(key=lambda share: -share[0])
        for rank, (share, start, end) in enumerate(shares[:SENTENCES]):
            spans = [(start + begin, start + stop) for begin, stop in word_spans(context[start:end])]
            tokens = [context[begin:stop] for begin, stop in spans]
            common = [(f"rank {rank}", 1.0), ("share", share), ("behind", shares[0][0] - share)]
            weights = np.array([asked.get(token.lower()[:STEM], 0.0) for token in tokens]) / total
            yield Sentence(spans, self._features(tokens, weights, kind, "".join(after)[: STEM + 1], common))

    def _features(
        self, tokens: list[str], weights: np.ndarray, kind: str, after: str, common: list[Feature]
    ) -> list[list[Feature]]:
        """Features of each word of a sentence.

        Args:
            tokens: the words.
            weights: share of the question's idf that each has, 0 for words that are not in the question.
            kind: the question word.
            after: the word after it, as in `what year`.
            common: features of all words.
        """
        asked = np.flatnonzero(weights)
        distances = np.maximum(np.abs(np.arange(len(tokens))[:, None] - asked), 1)
        near = (weights[asked] / distances).sum(axis=1)
        lower = ["<", "<", *(token.lower() for token in tokens), ">", ">"]
        shapes = ["<", "<", *map(shape, tokens), ">", ">"]
        found = [False, False, *(weights > 0).tolist(), False, False]
        features = []
        for place in range(2, len(tokens) + 2):
            left, word, right = lower[place - 1 : place + 2]
            shape_left, form, shape_right = shapes[place - 1 : place + 2]
            plain = (f"w {word}", f"l {left}", f"r {right}", f"ls {shape_left} {form}", f"rs {form} {shape_right}")
            alone = (
                f"s {shape_left} {form} {shape_right}",
                f"ll {lower[place - 2]} {left}",
                f"rr {right} {lower[place + 2]}",
                f"q {found[place - 1 : place + 2]}",
                f"{after} w {word[: STEM + 1]}",
                f"{after} l {left}",
                f"{after} r {right[: STEM + 1]}",
                f"{after} s {form}",
                f"{kind} s {shape_left} {form} {shape_right}",
                f"{kind} q {found[place]}",
            )
            names = chain(plain, alone, (f"{kind} {name}" for name in plain))
            figures = [("near", near[place - 2]), (f"{kind} idf", self._idf(word) / self.unseen), *common]
            features.append([*((name, 1.0) for name in names), *figures])
        return features

    def _idf(self, word: str) -> float:
        return self.idf.get(word, self.unseen)


def shape(word: str) -> str:
    """What a word looks like: 0 digits, 0000 four of them, 0x with digits, A capital first, a other; else itself."""
    if word.isdigit():
        return "0000" if len(word) == 4 else "0"
    if any(character.isdigit() for character in word):
        return "0x"
    if not word[0].isalnum():
        return word
    return "A" if word[0].isupper() else "a"


def best_threshold(spans: Sequence[Span], answers: Sequence[Sequence[str]]) -> float:
    """The score below which a span is best taken for no answer, by the mean F1 of words; of equals, the lowest.

    Args:
        spans: best span of each row.
        answers: the right answers of each row, none for no answer.
    """
    scores = np.array([span.score for span in spans])
    gains = [word_f1(span.text, right) if right else -1.0 for span, right in zip(spans, answers, strict=True)]
    candidates = [-np.inf, *np.unique(scores), np.inf]
    values = [sum(gain for gain, score in zip(gains, scores, strict=True) if score >= limit) for limit in candidates]
    return float(candidates[int(np.argmax(values))])


def word_f1(text: str, answers: Sequence[str]) -> float:
    """The F1 of a text's words beside those of the answer it is nearest to; letter case does not count."""
    found, best = Counter(words(text.lower())), 0.0
    for answer in answers:
        right = Counter(words(answer.lower()))
        best = max(best, 2 * (found & right).total() / ((found.total() + right.total()) or 1))
    return best
