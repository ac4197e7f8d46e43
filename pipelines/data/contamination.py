"""Evaluation rows whose words stand in training text: shared word n-grams, looked up while the corpus streams by.

What a word is: the text is NFKC-normalised and lower-cased; a run of letters and digits is a word, punctuation, signs
and blanks only part words. So `"Well-known," he said` and `well @-@ known , he said` are the same four words.
`n't` is a word of its own, since corpora write `don't`, `do n't` and `don 't`. Every character of a script without
blanks (Han, kana, Thai, Lao, Burmese, Khmer) is a word.

What is looked up of each text of a row (its premise, its question, its answer):
    13 words or more: every 13-gram. GPT-3 searched its evaluation sets by 13-grams at most, of words without
        punctuation and case (Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C).
    8 to 12 words: every 8-gram. 8 is the least that GPT-3 used, since shorter ones collide by chance.
    5 to 7 words: the whole text, and only if no text of the row has 8 words. This is our own choice: a question of six
        words tells something where it is all there is, and little beside a paragraph that is searched anyway.
    less: nothing. A row of such texts alone is too short to tell, and is counted as that, not as clean.

A row is contaminated if one gram of one of its texts stands in one document; grams cross neither texts nor documents.
That is GPT-3's rule. PaLM asked for 70 % of a row's 8-grams (Chowdhery et al. 2022, "PaLM"): the share of the grams
that were found is given for every row, so that a stricter rule can be applied to it.

Shape suffixes: W words in a row, F texts, R evaluation rows, G distinct grams, P distinct (row, gram) pairs, H hits.
"""

import re
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRAM_WORDS = 13
SHORT_GRAM_WORDS = 8
FEWEST_WORDS = 5
SAMPLES = 5

# Each character of these is a word: Thai and Lao; Burmese; Khmer; kana; Han, its compatibility forms and extensions.
NO_BLANKS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
WORD = re.compile(rf"[^\W_{NO_BLANKS}]+|[{NO_BLANKS}]")
NOT_WORD = re.compile(r"[\W_]")
CONTRACTION = re.compile(r"n ?['’] ?t(?![^\W_])")
# WORD for ASCII text, at twice the speed: all else becomes a blank.
ASCII_WORDS = {code: " " for code in range(128) if not chr(code).isalnum()}

PIECE_CHARACTERS = 1 << 20  # a longer document is cut into words in parts: a list of words takes ten times its text
CHUNK_WORDS = 1 << 17  # words that are hashed at once: their 64-bit sums, 1 MiB, stay in the cache of a core
MARKS_PER_GRAM = 16  # so that one gram in 16 that is not in the index has to be searched in it


def words_of(text: str) -> list[str]:
    """The words of a text, as they are compared."""
    return _cut(_normal(text))


def _normal(text: str) -> str:
    text = (text if text.isascii() else unicodedata.normalize("NFKC", text)).lower()
    return CONTRACTION.sub(" nt", text) if "'" in text or "’" in text else text


def _cut(text: str) -> list[str]:
    return text.translate(ASCII_WORDS).split() if text.isascii() else WORD.findall(text)


def _pieces(text: str, overlap: int) -> Iterator[list[str]]:
    """The words of a text in parts of bounded size, each beginning with the last `overlap` words of those before."""
    text, carried, start = _normal(text), list[str](), 0
    while start < len(text):
        boundary = NOT_WORD.search(text, min(start + PIECE_CHARACTERS, len(text)))
        end = boundary.start() if boundary else len(text)
        words = carried + _cut(text[start:end])
        yield words
        carried, start = words[max(0, len(words) - overlap) :], end


@dataclass(frozen=True)
class Hits:
    """Grams found in a part of the documents."""

    documents: int
    """Documents read so far, those before this part included."""
    document_H: NDArray[np.int64]
    """Number of the document, from 1 in the order they came."""
    gram_H: NDArray[np.int64]
    """Number of the gram, from 0."""


@dataclass(frozen=True)
class _Index:
    """The distinct grams of one length."""

    words: int
    offset: int  # number of its first gram
    hashes: NDArray[np.uint64]  # sorted
    marks: NDArray[np.bool_]  # by the highest bits of a hash: whether any of `hashes` has these
    shift: Any  # np.uint64: how many lower bits are not among them


class EvaluationGrams:
    """The n-grams of evaluation rows, indexed, to be looked up in documents.

    Memory is that of the rows alone, whatever the size of the corpus: some 70 bytes for each word of theirs, 170 while
    the index is made (measured on 5 million words), beside what one batch of documents takes.
    The index finds grams by a 64-bit sum of their words' XXH3 hashes, each times an odd constant of its place; what it
    finds is then compared word by word, so nothing is reported that is not there.

    Args:
        rows: the texts of each row.
        gram_words: words of the grams of long texts, at least 8.

    Raises:
        ValueError: gram_words is below 8.
        TypeError: a row is a str, not a list of them.
    """

    def __init__(self, rows: Sequence[Sequence[str]], gram_words: int = GRAM_WORDS) -> None:
        if gram_words < SHORT_GRAM_WORDS:
            raise ValueError(f"gram_words is {gram_words}; expected at least {SHORT_GRAM_WORDS}.")
        import xxhash

        self.gram_words = gram_words
        self.rows = len(rows)
        # Number of each word, from 1; a word of the documents that is not among them is 0.
        self._vocabulary: dict[str, int] = {}
        numbers, sizes, owners = array("i"), array("q"), array("q")
        for row, texts in enumerate(rows):
            if isinstance(texts, str):
                raise TypeError(f"Row {row} is a str; expected a list of its texts.")
            for text in texts:
                words = words_of(text)
                numbers.extend(self._vocabulary.setdefault(word, len(self._vocabulary) + 1) for word in words)
                sizes.append(len(words))
                owners.append(row)
        self._names = ["", *self._vocabulary]
        hashes = (xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass")) for word in self._vocabulary)
        self._hash_V = np.fromiter((0, *hashes), np.uint64, len(self._names))
        self._number_W = np.array(numbers, np.int32)
        self._index(np.array(sizes, np.int64), np.array(owners, np.int64))

    def _index(self, words_F: NDArray[np.int64], row_F: NDArray[np.int64]) -> None:
        length_F = _gram_lengths(words_F, row_F, self.rows, self.gram_words)
        self.texts, self.texts_too_short = len(words_F), int((length_F == 0).sum())
        length_W, row_W, end_W = (np.repeat(values, words_F) for values in (length_F, row_F, np.cumsum(words_F)))
        self._lengths = [int(length) for length in np.unique(length_F) if length]
        self._indexes: dict[int, _Index] = {}
        places, pair_rows, pair_grams = ([np.zeros(0, np.int64)] for _ in range(3))
        count = 0
        for length, sums in _gram_hashes(self._hash_V[self._number_W], self._lengths):
            starts = np.flatnonzero((length_W == length) & (np.arange(len(length_W)) + length <= end_W))
            hashes, first, inverse = np.unique(sums[starts], return_index=True, return_inverse=True)
            bits = max(10, (MARKS_PER_GRAM * len(hashes)).bit_length())
            shift = np.uint64(64 - bits)
            marks = np.zeros(1 << bits, np.bool_)
            marks[hashes >> shift] = True
            self._indexes[length] = _Index(length, count, hashes, marks, shift)
            places.append(starts[first])
            pair_rows.append(row_W[starts])
            pair_grams.append(inverse + count)
            count += len(hashes)
        self.place_G = np.concatenate(places)
        """Where each gram stands first in the words of all rows."""
        pairs = np.unique(np.concatenate(pair_rows) * max(count, 1) + np.concatenate(pair_grams))
        self.row_P, self.gram_P = np.divmod(pairs, max(count, 1))
        self.grams_R = np.bincount(self.row_P, minlength=self.rows)
        """Distinct grams of each row; 0: too short to tell."""

    def __len__(self) -> int:
        """Distinct grams of all rows."""
        return len(self.place_G)

    def words(self, gram: int) -> str:
        """The words of a gram, with blanks between them."""
        index = next(one for one in self._indexes.values() if one.offset <= gram < one.offset + len(one.hashes))
        place = self.place_G[gram]
        return " ".join(self._names[number] for number in self._number_W[place : place + index.words].tolist())

    def first_row(self, gram: int) -> int:
        """The first row that has a gram, from 0."""
        return int(self.row_P[np.argmax(self.gram_P == gram)])

    def search(self, documents: Iterable[Sequence[str]]) -> Iterator[Hits]:
        """The grams that stand in documents: each place of each gram, in the order of the documents by length of gram.

        Measured on one core of a Xeon (virtual machine) with the 33 MB of `installed_docs`: 27 MB/s for 18,000 grams
        of 513 rows, 17 MB/s for 419,000 of rows that all stand in the documents; half of that for texts with characters
        outside ASCII, and 10 MB/s for documents of one line.

        Args:
            documents: their texts in batches, as `loading.text_batches` yields them.

        Raises:
            TypeError: a batch is a str, not a list of them.
        """
        overlap = max(self._lengths, default=1) - 1
        words, sizes, owners, number = list[str](), list[int](), list[int](), 0
        for batch in documents:
            if isinstance(batch, str):
                raise TypeError("A batch of documents is a str; expected a list of texts.")
            for text in batch:
                number += 1
                for piece in _pieces(text, overlap) if self._lengths else ():
                    words += piece
                    sizes.append(len(piece))
                    owners.append(number)
                    if len(words) >= CHUNK_WORDS:
                        yield self._look_up(words, sizes, owners, number)
                        words, sizes, owners = [], [], []
        yield self._look_up(words, sizes, owners, number)

    def _look_up(self, words: list[str], sizes: list[int], owners: list[int], number: int) -> Hits:
        number_W = np.fromiter(map(self._vocabulary.get, words, repeat(0)), np.int32, len(words))
        piece_W = np.repeat(np.arange(len(sizes)), sizes)
        documents, grams = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for length, sums in _gram_hashes(self._hash_V[number_W], self._lengths):
            index = self._indexes[length]
            starts = np.flatnonzero(index.marks[sums >> index.shift])
            starts = starts[piece_W[starts] == piece_W[starts + length - 1]]
            at = np.minimum(np.searchsorted(index.hashes, sums[starts]), len(index.hashes) - 1)
            known = index.hashes[at] == sums[starts]
            starts, found = starts[known], at[known] + index.offset
            inside = np.arange(length)
            theirs = self._number_W[self.place_G[found][:, None] + inside]
            equal = (number_W[starts[:, None] + inside] == theirs).all(axis=1)
            documents.append(np.array(owners, np.int64)[piece_W[starts[equal]]])
            grams.append(found[equal])
        return Hits(number, np.concatenate(documents), np.concatenate(grams))


def _gram_lengths(
    words_F: NDArray[np.int64], row_F: NDArray[np.int64], rows: int, gram_words: int
) -> NDArray[np.int64]:
    """Words of the grams that each text is searched by, 0 where it is too short; see the module's text."""
    most_R = np.zeros(rows, np.int64)
    np.maximum.at(most_R, row_F, words_F)
    whole = (most_R[row_F] < SHORT_GRAM_WORDS) & (words_F >= FEWEST_WORDS)
    lengths = np.where(words_F >= gram_words, gram_words, SHORT_GRAM_WORDS)
    return np.where(words_F >= SHORT_GRAM_WORDS, lengths, np.where(whole, words_F, 0))


def _gram_hashes(hash_W: NDArray[np.uint64], lengths: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """(n, hash of the n words from each place on) for each length, ascending; valid until the next one is asked for."""
    import xxhash

    sums = np.zeros(len(hash_W), np.uint64)
    for place in range(max(lengths, default=0)):
        odd = np.uint64(xxhash.xxh3_64_intdigest(f"place {place}".encode()) | 1)
        sums = sums[: max(0, len(hash_W) - place)]
        sums += hash_W[place:] * odd
        if place + 1 in lengths:
            yield place + 1, sums


# ---------------------------------------------------------------- rows


@dataclass(frozen=True)
class SharedGram:
    """One of the grams that a contaminated row shares with a document."""

    row: int
    """Number of the row, from 1."""
    document: int
    """Number of the first document that has the gram, from 1 in the order they came."""
    words: str
    """The gram, as it is compared: lower-cased, blanks between the words."""


@dataclass(frozen=True, eq=False)
class Contamination:
    """What of an evaluation set stands in a corpus."""

    contaminated_R: NDArray[np.bool_]
    """Whether a gram of the row was found."""
    share_R: NDArray[np.float64]
    """Share of the row's distinct grams that were found; NaN where the row is too short to have one."""
    samples: tuple[SharedGram, ...]
    """The first gram found of each of the first contaminated rows."""
    documents: int
    """Documents searched."""
    texts: int
    texts_too_short: int
    """Texts of the rows, and those among them too short to be searched."""
    gram_words: int
    """Words of the grams of long texts."""

    @property
    def rows(self) -> int:
        """Evaluation rows."""
        return len(self.contaminated_R)

    @property
    def rows_contaminated(self) -> int:
        """Rows of which at least one gram was found."""
        return int(self.contaminated_R.sum())

    @property
    def too_short_R(self) -> NDArray[np.bool_]:
        """Rows of which nothing could be searched: neither contaminated nor clean."""
        return np.isnan(self.share_R)

    @property
    def rows_too_short(self) -> int:
        """How many these are."""
        return int(self.too_short_R.sum())

    @property
    def share(self) -> float | None:
        """Contaminated rows among those that could be searched; None if there are none."""
        searched = self.rows - self.rows_too_short
        return self.rows_contaminated / searched if searched else None

    def as_dict(self) -> dict[str, Any]:
        """Counts and samples for a JSON file, without the figures of each row."""
        return {
            "rows": self.rows,
            "rows_contaminated": self.rows_contaminated,
            "rows_too_short": self.rows_too_short,
            "share": self.share,
            "texts": self.texts,
            "texts_too_short": self.texts_too_short,
            "documents": self.documents,
            "gram_words": self.gram_words,
            "samples": [vars(sample) for sample in self.samples],
        }


def find_contaminated(
    rows: Sequence[Sequence[str]],
    documents: Iterable[Sequence[str]],
    gram_words: int = GRAM_WORDS,
    samples: int = SAMPLES,
) -> Contamination:
    """Which evaluation rows have an n-gram in common with a document; the module's text says which n-grams.

    Args:
        rows: the texts of each row, such as its premise and its hypothesis.
        documents: the corpus, its texts in batches, as `loading.text_batches` yields them. It is read once, and never
            held in memory: that is bounded by the rows (see EvaluationGrams).
        gram_words: words of the grams of texts that have as many, at least 8.
        samples: of so many contaminated rows a gram and its document are told.

    Raises:
        ValueError, TypeError: see EvaluationGrams and its `search`.
    """
    grams = EvaluationGrams(rows, gram_words)
    document_G = np.zeros(len(grams), np.int64)  # the first that has the gram; 0: none
    read = 0
    for hits in grams.search(documents):
        read = hits.documents
        new = document_G[hits.gram_H] == 0
        # Backwards, since of several values for one place the last one stays.
        document_G[hits.gram_H[new][::-1]] = hits.document_H[new][::-1]
    found_P = document_G[grams.gram_P] > 0
    found_R = np.bincount(grams.row_P, weights=found_P, minlength=grams.rows)
    share_R = np.full(grams.rows, np.nan)
    np.divide(found_R, grams.grams_R, out=share_R, where=grams.grams_R > 0)
    told = []
    for row in np.flatnonzero(found_R)[:samples].tolist():
        inside = grams.gram_P[(grams.row_P == row) & found_P]
        gram = int(inside[np.lexsort((grams.place_G[inside], document_G[inside]))[0]])
        told.append(SharedGram(row + 1, int(document_G[gram]), grams.words(gram)))
    return Contamination(
        contaminated_R=found_R > 0,
        share_R=share_R,
        samples=tuple(told),
        documents=read,
        texts=grams.texts,
        texts_too_short=grams.texts_too_short,
        gram_words=gram_words,
    )
