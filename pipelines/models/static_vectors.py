"""One vector for each word: kept in files that other tools read too, and looked up again.

A folder of static vectors holds
    model.safetensors   embeddings (V, D), and for fastText ngrams (buckets, D), both fp32
    vocabulary.json     word -> how often it stood in the training text, in the order of the rows
    config.json         method, vector_size, lowercase, and for fastText ngram_min and ngram_max
    vectors.txt         the embeddings once more in word2vec's text format, for gensim, fastText, spaCy and others

Shape suffixes: V vocabulary, D numbers of a vector, G n-grams of one word.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import CheckpointError, DataError

FloatArray = NDArray[np.float32]
WEIGHTS, VOCABULARY, CONFIG, TEXT = "model.safetensors", "vocabulary.json", "config.json", "vectors.txt"


@dataclass(frozen=True, eq=False)
class Ngrams:
    """Vectors of character n-grams, found by hash (Bojanowski et al. 2017, section 3.2)."""

    vectors: FloatArray
    """(buckets, D)."""
    shortest: int
    """Characters of the shortest n-gram, marks of word ends included."""
    longest: int
    """Characters of the longest."""

    def vector(self, word: str) -> FloatArray:
        """The mean vector of a word's n-grams, (D,); zeros for a word too short to have one."""
        rows_G = ngram_buckets(word, self.shortest, self.longest, len(self.vectors))
        return self.vectors[rows_G].sum(axis=0) / np.float32(max(len(rows_G), 1))


@dataclass(frozen=True, eq=False)
class StaticVectors:
    """Words and their vectors."""

    words: list[str]
    """In the order of the rows; each once."""
    counts: list[int]
    """How often each stood in the training text."""
    embeddings_VD: FloatArray
    """The vectors; for fastText the means of a word's own vector and those of its n-grams."""
    method: str
    """skipgram, cbow, fasttext or glove; or what else made them."""
    lowercase: bool
    """Whether words are lower-cased before they are looked up."""
    ngrams: Ngrams | None = None
    """What gives unknown words a vector, with fastText."""

    @cached_property
    def rows(self) -> dict[str, int]:
        """Word -> row of embeddings_VD."""
        return {word: row for row, word in enumerate(self.words)}

    @cached_property
    def unit_VD(self) -> FloatArray:
        """The vectors at length 1; those of zeros stay zeros."""
        lengths_V1 = np.linalg.norm(self.embeddings_VD, axis=1, keepdims=True)
        return self.embeddings_VD / np.maximum(lengths_V1, np.finfo(np.float32).tiny)

    def spelled(self, word: str) -> str:
        """The word as the vocabulary has it: NFC, lower-cased if the training text was."""
        import unicodedata

        word = unicodedata.normalize("NFC", word)
        return word.lower() if self.lowercase else word

    def __contains__(self, word: str) -> bool:
        return self.spelled(word) in self.rows

    def vector(self, word: str) -> FloatArray:
        """The vector of a word, (D,). With fastText, an unknown word gets the mean of its n-grams.

        Raises:
            DataError: the word is unknown and there are no n-grams.
        """
        word = self.spelled(word)
        if word in self.rows:
            return self.embeddings_VD[self.rows[word]]
        if self.ngrams is None:
            raise DataError(
                f"{word!r} is not among the {len(self.words):,} words that have a vector. Ask `word in vectors` first; "
                "only vectors of method fasttext know every word."
            )
        return self.ngrams.vector(word)

    def nearest(self, word: str, n: int = 10) -> list[tuple[str, float]]:
        """The n words of the vocabulary nearest to a word by cosine, nearest first, the word itself left out.

        Raises:
            DataError: the word has no vector.
        """
        vector_D = self.vector(word)
        cosine_V = self.unit_VD @ vector_D / max(float(np.linalg.norm(vector_D)), 1e-12)
        order = np.argsort(-cosine_V, kind="stable")[: n + 1]
        return [(self.words[row], float(cosine_V[row])) for row in order if self.words[row] != self.spelled(word)][:n]

    def save(self, folder: Path) -> None:
        """Writes the four files of the module's text into a folder, which is made."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        config: dict[str, Any] = {"method": self.method, "vector_size": self.embeddings_VD.shape[1]}
        config["lowercase"] = self.lowercase
        tensors = {"embeddings": np.ascontiguousarray(self.embeddings_VD)}
        if self.ngrams is not None:
            config |= {"ngram_min": self.ngrams.shortest, "ngram_max": self.ngrams.longest}
            tensors["ngrams"] = np.ascontiguousarray(self.ngrams.vectors)
        save_file(tensors, folder / WEIGHTS)
        vocabulary = dict(zip(self.words, self.counts, strict=True))
        (folder / VOCABULARY).write_text(json.dumps(vocabulary, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        with (folder / TEXT).open("w", encoding="utf-8") as stream:
            stream.write(f"{len(self.words)} {self.embeddings_VD.shape[1]}\n")
            for word, row_D in zip(self.words, self.embeddings_VD.tolist(), strict=True):
                stream.write(f"{word} {' '.join([f'{number:.9g}' for number in row_D])}\n")

    @classmethod
    def load(cls, folder: str | Path) -> "StaticVectors":
        """The vectors that `save` wrote.

        Raises:
            CheckpointError: a file is missing, cannot be read, or does not go with the others.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        folder = Path(folder)
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            vocabulary = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
            tensors = load_file(folder / WEIGHTS)
            embeddings_VD, ngrams = tensors["embeddings"], None
            if "ngrams" in tensors:
                ngrams = Ngrams(tensors["ngrams"], config["ngram_min"], config["ngram_max"])
            method, lowercase, vector_size = config["method"], config["lowercase"], config["vector_size"]
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise CheckpointError(f"{folder} holds no static vectors: {type(error).__name__}: {error}") from None
        if embeddings_VD.shape != (len(vocabulary), vector_size):
            raise CheckpointError(
                f"{folder} is damaged: {len(vocabulary):,} words in {VOCABULARY} and vector_size {vector_size}, but "
                f"embeddings of shape {embeddings_VD.shape}."
            )
        return cls(list(vocabulary), list(vocabulary.values()), embeddings_VD, method, lowercase, ngrams)


def ngram_buckets(word: str, shortest: int, longest: int, buckets: int) -> list[int]:
    """The buckets of a word's character n-grams, those of fastText and gensim; one may occur twice.

    The word is set between < and >; its n-grams of `shortest` to `longest` characters are taken from left to right,
    shorter ones first, but neither mark alone. The bucket is the 32-bit FNV-1a hash of the UTF-8 bytes modulo
    `buckets`, where a byte above 127 counts as a negative number, as in the fastText program.
    """
    return [_hash(ngram.encode()) % buckets for ngram in _ngrams(f"<{word}>", shortest, longest)]


def _ngrams(marked: str, shortest: int, longest: int) -> Iterator[str]:
    for start in range(len(marked)):
        for end in range(start + shortest, min(start + longest, len(marked)) + 1):
            if end - start > 1 or 0 < start < len(marked) - 1:
                yield marked[start:end]


def _hash(encoded: bytes) -> int:
    value = 2166136261
    for byte in encoded:
        value ^= byte if byte < 128 else byte | 0xFFFFFF00
        value = value * 16777619 & 0xFFFFFFFF
    return value
