"""Documents -> words as ids of a counted vocabulary, for static word vectors.

Text is NFC-normalised, so that a letter with its accent is one character however it was typed, and lower-cased if asked
for. Then `embeddings.split` decides:

words: a run of letters, marks, digits and underscores, with apostrophes inside (`don't`, `n_samples`); all else parts
    words (`state-of-the-art` is four, `2.5` is two). Every Han character is a word of its own, since Chinese is written
    without blanks: its vectors are then those of characters. Kana, Thai, Lao, Khmer and Burmese have no blanks either,
    and a whole clause of them is one word here.
blanks: whatever blanks part, punctuation included: for text that was segmented before.

Words outside the vocabulary are passed over: what stood around them becomes neighbours, as in word2vec and GloVe.

Shape suffixes: N kept words of the text in order, D documents, V vocabulary, W distinct words of the text.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

    from pipelines.data.loading import Corpus
    from pipelines.sections import EmbeddingsConfig

BATCH_DOCUMENTS = 1_000
CHARACTER = r"[[\p{L}\p{M}\p{N}_]--[\p{Han}]]"
WORD = rf"(?V1)\p{{Han}}|{CHARACTER}+(?:['’]{CHARACTER}+)*"


@dataclass(frozen=True)
class WordCorpus:
    """The kept words of a training split."""

    words: list[str]
    """The vocabulary, by falling count, equal counts by code points."""
    counts_V: NDArray[np.int64]
    """How often each stands in the split."""
    ids_N: NDArray[np.int32]
    """The split, as rows of the vocabulary; words without a row are left out."""
    document_starts_D: NDArray[np.int64]
    """Where each document begins in ids_N; one without kept words begins where the next one does."""
    receipt: dict[str, Any]
    """Rows and words of every split; totals close."""


def normalise(text: str, lowercase: bool) -> str:
    """The text as words are taken from it: NFC, and lower-cased if asked for."""
    text = text if text.isascii() else unicodedata.normalize("NFC", text)
    return text.lower() if lowercase else text


def splitter(split: str) -> Callable[[str], list[str]]:
    """The function that cuts normalised text into words: see the module's text."""
    import regex

    return str.split if split == "blanks" else regex.compile(WORD).findall


def read_words(corpus: "Corpus", config: "EmbeddingsConfig") -> WordCorpus:
    """Cuts the training split into words, counts them, and keeps those of the vocabulary.

    Raises:
        DataError: fewer than two words stand min_count times, or a total does not close.
    """
    distinct, ids, lengths = _read_all(corpus.splits["train"], splitter(config.split), config.lowercase)
    count_W = np.bincount(ids, minlength=len(distinct))
    ranked = sorted(range(len(distinct)), key=lambda word: (-count_W[word], distinct[word]))
    frequent = [word for word in ranked if count_W[word] >= config.min_count]
    if len(frequent) < 2:
        found = f"{len(ids):,} words, {len(distinct):,} distinct"
        highest = f"; the most frequent, {distinct[ranked[0]]!r}, stands {count_W[ranked[0]]:,} times" if ranked else ""
        raise DataError(
            f"embeddings.min_count {config.min_count:,} leaves {len(frequent)} of the words of {corpus.name}, and two "
            f"are needed. The training split has {found}{highest}. Lower --embeddings.min_count, or give more text."
        )
    kept = frequent[: config.max_vocabulary]
    row_W = np.full(len(distinct), -1, np.int32)
    row_W[kept] = np.arange(len(kept), dtype=np.int32)
    row_of_word = row_W[ids]
    document_of_word = np.repeat(np.arange(len(lengths)), lengths)[row_of_word >= 0]
    ids_N = row_of_word[row_of_word >= 0]
    words = {
        "words": len(ids),
        "kept": len(ids_N),
        "below_min_count": int(count_W.sum() - count_W[frequent].sum()),
        "beyond_max_vocabulary": int(count_W[frequent[len(kept) :]].sum()),
        "distinct_words": len(distinct),
        "distinct_words_kept": len(kept),
        "documents_without_kept_words": len(lengths) - len(np.unique(document_of_word)),
    }
    return WordCorpus(
        words=[distinct[word] for word in kept],
        counts_V=count_W[kept],
        ids_N=ids_N,
        document_starts_D=np.searchsorted(document_of_word, np.arange(len(lengths))),
        receipt=_receipt(corpus, words, len(lengths)),
    )


def _read_all(
    documents: "Dataset", cut: Callable[[str], list[str]], lowercase: bool
) -> tuple[list[str], NDArray[np.int32], list[int]]:
    """All distinct words in order of appearance, every word of the text as a place in them, words per document."""
    place: defaultdict[str, int] = defaultdict(count().__next__)
    ids, lengths = [], []
    for batch in documents.with_format("arrow").iter(batch_size=BATCH_DOCUMENTS):
        places: list[int] = []
        for text in batch.column("text").to_pylist():
            before = len(places)
            places += map(place.__getitem__, cut(normalise(text, lowercase)))
            lengths.append(len(places) - before)
        ids.append(np.array(places, np.int32))
    return list(place), np.concatenate(ids), lengths


def _receipt(corpus: "Corpus", words: dict[str, int], documents: int) -> dict[str, Any]:
    """The corpus's receipt, with the words of train; the other splits are not read."""
    accounted = words["kept"] + words["below_min_count"] + words["beyond_max_vocabulary"]
    rows = corpus.receipt["train"]["rows_kept"]
    if words["words"] != accounted or rows != documents:
        raise DataError(
            f"The receipt does not close: {words['words']:,} words read, {accounted:,} accounted for ({words}); "
            f"{rows:,} documents loaded, {documents:,} read. This is a defect of Plumbline."
        )
    receipt = {name: part for name, part in corpus.receipt.items() if name not in corpus.splits}
    for split in corpus.splits:
        receipt[split] = {"rows": corpus.receipt[split]}
    receipt["train"]["words"] = words
    return receipt
