"""Baselines of token classification: the commonest tag of each word, and a linear model of words and their neighbours.

Shape legend: N words of all sentences end to end, W words of one sentence, T tags, F features.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from pipelines.baselines.sampling import evenly_spread
from pipelines.errors import DataError

Sentences = Sequence[Sequence[str]]

TOKENS = 500_000  # that LinearTagger learns from at most, in evenly spread sentences: up to two minutes with 50 tags
EPOCHS = 8
AFFIX = 4  # characters of the longest prefix and suffix
EDGE = ""  # stands twice before and after each sentence
SENTENCES_AT_ONCE = 1_000


class MostFrequentTag:
    """The commonest tag of each word in training; a word not seen gets the commonest of all tags."""

    def fit(self, sentences: Sentences, tags: Sentences) -> "MostFrequentTag":
        """Counts tags.

        Raises:
            DataError: there is no word, or a sentence has not as many tags as words.
        """
        _check(sentences, tags)
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for word, tag in zip(chain.from_iterable(sentences), chain.from_iterable(tags), strict=True):
            counts[word][tag] += 1
        self.tags = {word: _commonest(count) for word, count in counts.items()}
        self.other = _commonest(Counter(chain.from_iterable(tags)))
        return self

    def predict(self, sentences: Sentences) -> list[list[str]]:
        """A tag for each word."""
        return [[self.tags.get(word, self.other) for word in sentence] for sentence in sentences]


class LinearTagger:
    """Averaged structured perceptron with Viterbi decoding (Collins 2002).

    The score of a sentence's tags is a sum over words, of the features of the word and its two neighbours on each side,
    and over pairs of tags in a row. Features that stand once in training are left out.
    """

    def fit(self, sentences: Sentences, tags: Sentences) -> "LinearTagger":
        """Learns to tag; the order in which sentences are seen is drawn with a fixed seed.

        Raises:
            DataError: there is no word, or a sentence has not as many tags as words.
        """
        from sklearn.feature_extraction.text import CountVectorizer

        _check(sentences, tags)
        spread = evenly_spread([len(sentence) for sentence in sentences], TOKENS)
        kept = [row for row in spread if len(sentences[row])]
        learned = [sentences[row] for row in kept]
        self.tags = sorted(set(chain.from_iterable(tags[row] for row in kept)))
        ids = {tag: place for place, tag in enumerate(self.tags)}
        distinct = [EDGE, *dict.fromkeys(chain.from_iterable(learned))]
        self.word = CountVectorizer(analyzer=word_features, dtype=np.float32).fit(distinct)
        self.far = CountVectorizer(analyzer=outline, dtype=np.float32).fit(distinct)
        self.pairs = CountVectorizer(analyzer=list, dtype=np.float32).fit(_pairs(learned))
        features_NF = self._features(learned)
        self.columns = np.flatnonzero(features_NF.getnnz(axis=0) > 1)
        self._learn(features_NF[:, self.columns], [np.array([ids[tag] for tag in tags[row]]) for row in kept])
        return self

    def predict(self, sentences: Sentences) -> list[list[str]]:
        """A tag for each word."""
        found: list[list[str]] = []
        for start in range(0, len(sentences), SENTENCES_AT_ONCE):
            part = sentences[start : start + SENTENCES_AT_ONCE]
            scores_NT = self._features(part)[:, self.columns] @ self.weights_FT
            ends = np.cumsum([len(sentence) for sentence in part])
            for scores_WT in np.split(scores_NT, ends[:-1]):
                found.append([self.tags[tag] for tag in viterbi(scores_WT, self.first_T, self.next_TT)])
        return found

    def _learn(self, features_NF: Any, gold: Sequence[np.ndarray]) -> None:
        """Sets the weights: the mean of those after each step, by the bookkeeping of Daumé (2006, section 2.1)."""
        count = len(self.tags)
        weights_FT, late_FT = np.zeros((2, features_NF.shape[1], count))
        steps_TT, late_TT = np.zeros((2, count + 1, count))  # the last row: tags that open a sentence
        ends = np.cumsum([len(tags) for tags in gold])
        parts = [features_NF[end - len(tags) : end] for tags, end in zip(gold, ends, strict=True)]
        generator = np.random.default_rng(0)
        step = 1
        for _ in range(EPOCHS):
            for place in generator.permutation(len(gold)):
                right = gold[place]
                guess = np.array(viterbi(parts[place] @ weights_FT, steps_TT[-1], steps_TT[:-1]))
                step += 1
                if (guess == right).all():
                    continue
                entries = parts[place].tocoo()
                for tags, sign in ((right, 1.0), (guess, -1.0)):
                    cells = entries.col, tags[entries.row]
                    np.add.at(weights_FT, cells, sign)
                    np.add.at(late_FT, cells, sign * step)
                    cells = np.concatenate(([count], tags[:-1])), tags
                    np.add.at(steps_TT, cells, sign)
                    np.add.at(late_TT, cells, sign * step)
        self.weights_FT = weights_FT - late_FT / step
        steps_TT -= late_TT / step
        self.first_T, self.next_TT = steps_TT[-1], steps_TT[:-1]

    def _features(self, sentences: Sentences) -> Any:
        """Features of all words, CSR (N, F)."""
        from scipy import sparse

        distinct = [EDGE, *dict.fromkeys(chain.from_iterable(sentences))]
        ids = {word: place for place, word in enumerate(distinct)}
        word, far = self.word.transform(distinct), self.far.transform(distinct)
        edged = [[0, 0, *(ids[word] for word in sentence), 0, 0] for sentence in sentences]
        blocks = [self.pairs.transform(_pairs(sentences))]
        for offset, table in ((0, word), (-1, word), (1, word), (-2, far), (2, far)):
            places = chain.from_iterable(row[2 + offset : len(row) - 2 + offset] for row in edged)
            blocks.append(table[np.fromiter(places, dtype=np.int64)])
        return sparse.hstack(blocks, "csr")


def viterbi(scores_WT: np.ndarray, first_T: np.ndarray, next_TT: np.ndarray) -> list[int]:
    """The tags with the highest sum of scores.

    Args:
        scores_WT: of each tag of each word.
        first_T: of a tag that opens the sentence.
        next_TT: of a tag (column) after another (row).
    """
    if not len(scores_WT):
        return []
    best_T = scores_WT[0] + first_T
    origins = []
    for scores_T in scores_WT[1:]:
        paths_TT = best_T[:, None] + next_TT
        origins.append(paths_TT.argmax(axis=0))
        best_T = paths_TT.max(axis=0) + scores_T
    tags = [int(best_T.argmax())]
    for origin_T in reversed(origins):
        tags.append(int(origin_T[tags[-1]]))
    return tags[::-1]


def word_features(word: str) -> list[str]:
    """A word's own features: itself, in lower case, its form, prefixes and suffixes; and one that all words have."""
    lower = word.lower()
    affixes = range(1, min(AFFIX, len(word)) + 1)
    ends = [f"p {lower[:size]}" for size in affixes] + [f"s {lower[-size:]}" for size in affixes]
    return ["all", f"w {word}", f"exact {_form(word)}", *outline(word), *ends]


def outline(word: str) -> list[str]:
    """What is used of a word that stands farther off: its lower case, and its form without repetitions."""
    form = _form(word)
    runs = "".join(kind for place, kind in enumerate(form) if form[place - 1 : place] != kind)
    return [f"l {word.lower()}", f"f {runs}"]


def _form(word: str) -> str:
    """A for capitals, a for other letters, 0 for digits; all else as it is."""
    return "".join("0" if c.isdigit() else "A" if c.isupper() else "a" if c.isalpha() else c for c in word)


def _pairs(sentences: Sentences) -> list[list[str]]:
    """Of each word: it and the left one, it and the right one, and these two."""
    found = []
    for sentence in sentences:
        lower = [EDGE, *(word.lower() for word in sentence), EDGE]
        for left, word, right in zip(lower, lower[1:], lower[2:], strict=False):
            found.append([f"l {left} {word}", f"r {word} {right}", f"a {left} {right}"])
    return found


def _commonest(counts: Counter[str]) -> str:
    """Of equals, the first by code points."""
    return min(counts, key=lambda tag: (-counts[tag], tag))


def _check(sentences: Sentences, tags: Sentences) -> None:
    for row, (sentence, right) in enumerate(zip(sentences, tags, strict=True)):
        if len(sentence) != len(right):
            raise DataError(f"Row {row} has {len(sentence)} tokens and {len(right)} tags; each token needs one tag.")
    if not any(map(len, sentences)):
        raise DataError(f"A tagger needs training tokens, found none in {len(sentences):,} rows.")
