"""word2vec and fastText, trained by gensim.

Skip-gram and CBOW with negative sampling: Mikolov et al. (2013), "Distributed Representations of Words and Phrases and
their Compositionality", sections 2.2 (negative samples, drawn by count ** 0.75) and 2.3 (frequent words left out).
fastText: Bojanowski et al. (2017), "Enriching Word Vectors with Subword Information", skip-gram.

With one worker gensim gives the same bits for the same words, seed and machine, whatever PYTHONHASHSEED is. With more,
the threads change each other's vectors as they come. It reports no loss that could be trusted (a float32 running sum
that is never cleared between epochs, and none for fastText), so none is logged.
"""

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ConfigError, DataError
from pipelines.models.static_vectors import Ngrams, StaticVectors

if TYPE_CHECKING:
    from pipelines.sections import EmbeddingsConfig

GENSIM_DOCUMENT_WORDS = 10_000  # gensim drops what a document has beyond (word2vec_inner.pyx, MAX_SENTENCE_LEN)


def require_gensim(purpose: str) -> None:
    """Raises ConfigError if gensim, which `purpose` needs, is not installed."""
    import importlib.util

    if importlib.util.find_spec("gensim") is None:
        raise ConfigError(f"{purpose} needs gensim, which is not installed. Run: pip install -e '.[embeddings]'")


class WordsOfDocuments:
    """The documents as lists of words, as often as asked for; one longer than gensim reads comes in pieces."""

    def __init__(self, words: list[str], ids_N: NDArray[np.int32], document_starts_D: NDArray[np.int64]) -> None:
        self.words_V = np.array(words, dtype=object)
        self.ids_N = ids_N
        ends_D = np.append(document_starts_D[1:], len(ids_N))
        self.pieces = [
            (first, min(first + GENSIM_DOCUMENT_WORDS, int(end)))
            for start, end in zip(document_starts_D, ends_D, strict=True)
            for first in range(int(start), int(end), GENSIM_DOCUMENT_WORDS)
        ]

    def __len__(self) -> int:
        return len(self.pieces)

    def __iter__(self) -> Iterator[list[str]]:
        for start, end in self.pieces:
            yield self.words_V[self.ids_N[start:end]].tolist()


def train_word2vec(
    words: list[str],
    counts_V: NDArray[np.int64],
    ids_N: NDArray[np.int32],
    document_starts_D: NDArray[np.int64],
    config: "EmbeddingsConfig",
    epochs: int,
    learning_rate: float,
    say_epoch: Callable[[int], None],
) -> tuple[StaticVectors, int]:
    """Trains word2vec or fastText on documents.

    Args:
        words: the vocabulary, most frequent first.
        counts_V: how often each word stands in ids_N.
        ids_N: the text as rows of the vocabulary.
        document_starts_D: where each document begins; windows do not cross.
        config: method skipgram, cbow or fasttext, and the rest of the section.
        epochs: passes over the text.
        learning_rate: at the start; falls in a line to 1/250 of it.
        say_epoch: called with the number of each finished epoch, from 1.

    Returns:
        The vectors, and the words that were trained on: those read less those that subsampling left out.

    Raises:
        DataError: gensim did not read exactly `epochs` times the text.
    """
    from gensim.models import FastText, Word2Vec
    from gensim.models.callbacks import CallbackAny2Vec

    class EpochEnd(CallbackAny2Vec):
        done = 0

        def on_epoch_end(self, model: Any) -> None:
            self.done += 1
            say_epoch(self.done)

    logging.getLogger("gensim").setLevel(logging.ERROR)  # it warns of small corpora, word by word
    settings: dict[str, Any] = {
        "vector_size": config.vector_size,
        "window": config.window,
        "sg": int(config.method != "cbow"),
        "negative": config.negative_samples,
        "sample": config.subsample or 0,
        "alpha": learning_rate,
        "min_alpha": learning_rate / 250,  # 0.025 to 0.0001, gensim's own end
        "min_count": 1,  # the vocabulary is chosen already
        "sorted_vocab": 0,  # and in order
        "seed": config.seed,
        "workers": config.workers,
    }
    if config.method == "fasttext":
        ngrams = {"min_n": config.fasttext.ngram_min, "max_n": config.fasttext.ngram_max}
        model = FastText(**settings, **ngrams, bucket=config.fasttext.buckets)
    else:
        model = Word2Vec(**settings)
    documents = WordsOfDocuments(words, ids_N, document_starts_D)
    model.build_vocab_from_freq(dict(zip(words, counts_V.tolist(), strict=True)), corpus_count=len(documents))
    trained, read = model.train(
        documents, total_examples=len(documents), epochs=epochs, report_delay=1e9, callbacks=[EpochEnd()]
    )
    if read != epochs * len(ids_N) or model.wv.index_to_key != words:
        raise DataError(
            f"The receipt does not close: gensim read {read:,} words, not {epochs:,} times {len(ids_N):,}, or changed "
            "the vocabulary. This is a defect of Plumbline."
        )
    ngram_vectors = None
    if config.method == "fasttext":
        ngram_vectors = Ngrams(model.wv.vectors_ngrams, config.fasttext.ngram_min, config.fasttext.ngram_max)
    vectors = StaticVectors(words, counts_V.tolist(), model.wv.vectors, config.method, config.lowercase, ngram_vectors)
    return vectors, int(trained)
