"""The steps of training static word vectors: check, plan, start, train, save.

Nothing here is resumable: gensim keeps no state that could go on bitwise, and the runs are short. What an interrupted
run left is deleted when the same command begins again, and so is a finished run that is asked for another evaluation.
"""

import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pipelines.environment import environment
from pipelines.errors import CheckpointError, ConfigError, did_you_mean
from pipelines.models.cooccurrence import Cooccurrences, count_cooccurrences
from pipelines.models.static_vectors import StaticVectors
from pipelines.models.word2vec import require_gensim, train_word2vec
from pipelines.run import say
from pipelines.run_folder import RunFolder, claim_run_folder, write_run_files
from pipelines.training.hardware import use_cpu_threads

if TYPE_CHECKING:
    from pipelines.data.words import WordCorpus
    from pipelines.sections import EmbeddingsConfig, WordVectorEvaluationConfig

# method -> epochs and learning rate where the config leaves them open. The first three have those of gensim. Pennington
# et al. (2014), section 4.2, take 50 epochs, and 0.05 for steps of one pair; for steps of 16,384 pairs 0.2 fitted the
# counts of 5 million words in 5 epochs as closely as 0.05 did in 15.
METHODS = {"skipgram": (5, 0.025), "cbow": (5, 0.025), "fasttext": (5, 0.025), "glove": (25, 0.2)}


@dataclass(frozen=True)
class EmbeddingsPlan:
    """The whole run in figures, before it starts."""

    method: str
    train_documents: int
    words: int
    """Words of the training split that are in the vocabulary."""
    vocab_size: int
    vector_size: int
    window: int
    epochs: int
    words_to_train: int
    """Words read in all epochs; glove reads them once, to count pairs."""
    learning_rate: float
    parameters: dict[str, int]
    device: str
    cpu_threads: int
    workers: int

    def as_dict(self) -> dict[str, Any]:
        """Content of plan.json."""
        return asdict(self)


def check_embeddings(config: "EmbeddingsConfig") -> None:
    """Raises ConfigError for an unknown method, n-gram lengths the wrong way round, or gensim missing."""
    if config.method not in METHODS:
        raise ConfigError(
            f"embeddings.method is {config.method!r}; expected one of {', '.join(METHODS)}."
            f"{did_you_mean(config.method, METHODS)}"
        )
    shortest, longest = config.fasttext.ngram_min, config.fasttext.ngram_max
    if shortest > longest:
        raise ConfigError(
            f"embeddings.fasttext.ngram_min is {shortest} and ngram_max {longest}: the shortest n-gram must not be "
            "longer than the longest."
        )
    if config.method != "glove":
        require_gensim(f"embeddings.method {config.method}")


def make_plan(config: "EmbeddingsConfig", text: "WordCorpus", threads: int | None) -> EmbeddingsPlan:
    """Works out the whole run, and sets the CPU threads of torch and of linear algebra.

    Args:
        config: checked.
        text: the kept words.
        threads: as asked for; None for the cores of this process.
    """
    import scipy.sparse.linalg  # noqa: F401  its thread pool must be there to be limited
    from threadpoolctl import threadpool_limits

    cpu_threads = use_cpu_threads(threads)
    threadpool_limits(cpu_threads)
    epochs, learning_rate = METHODS[config.method]
    epochs = epochs if config.epochs is None else config.epochs
    vocab_size, row = len(text.words), config.vector_size + (config.method == "glove")  # a bias each
    parameters = {"words": vocab_size * row, "contexts": vocab_size * row}
    if config.method == "fasttext":
        parameters["ngrams"] = config.fasttext.buckets * row
    return EmbeddingsPlan(
        method=config.method,
        train_documents=len(text.document_starts_D),
        words=len(text.ids_N),
        vocab_size=vocab_size,
        vector_size=config.vector_size,
        window=config.window,
        epochs=epochs,
        words_to_train=len(text.ids_N) * (1 if config.method == "glove" else epochs),
        learning_rate=learning_rate if config.learning_rate is None else config.learning_rate,
        parameters={"total": sum(parameters.values())} | parameters,
        device="cpu",
        cpu_threads=cpu_threads,
        workers=1 if config.method == "glove" else config.workers,
    )


def start_run(folder: RunFolder, config: Any, plan: EmbeddingsPlan, receipt: dict[str, Any], fingerprint: str) -> None:
    """Makes the run folder, or clears what an interrupted run left in it, writes what is known, and tells the plan.

    Raises:
        ConfigError: the folder cannot be used.
    """
    left = (folder.path / "config.yaml").is_file()
    claim_run_folder(folder, clear=True)
    record = environment({"corpus": fingerprint})
    record["versions"] |= {name: version(name) for name in ("scipy", "gensim") if _is_installed(name)}
    write_run_files(folder, config, plan=plan.as_dict(), receipt=receipt, environment=record)
    if left:
        say("Starting again from the beginning: this recipe keeps no checkpoints.")
    say(
        f"{plan.method}: {plan.vocab_size:,} words x {plan.vector_size}, {plan.parameters['total']:,} parameters; "
        f"{plan.train_documents:,} documents = {plan.words:,} words, {plan.epochs} epochs; run folder {folder.path}"
    )


def _is_installed(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


def count_pairs(
    text: "WordCorpus", config: "EmbeddingsConfig", evaluation: "WordVectorEvaluationConfig"
) -> Cooccurrences | None:
    """The co-occurrence counts, if GloVe or the count model need them."""
    if config.method != "glove" and not evaluation.baselines:
        return None
    return count_cooccurrences(text.ids_N, text.document_starts_D, len(text.words), config.window)


def train_vectors(
    config: "EmbeddingsConfig",
    plan: EmbeddingsPlan,
    text: "WordCorpus",
    cooccurrences: Cooccurrences | None,
    folder: RunFolder,
) -> tuple[StaticVectors, dict[str, int], dict[str, float]]:
    """Trains the vectors by the method of the config.

    Args:
        config: checked.
        plan: its figures.
        text: the kept words.
        cooccurrences: needed for glove.
        folder: GloVe's loss per epoch goes to its metrics.jsonl.

    Returns:
        (vectors, receipt of training, metrics): train_seconds (for glove with the time to count pairs),
        train_words_per_second (words read / train_seconds), and for glove train_pairs_per_second (without counting).

    Raises:
        DataError: a total does not close; for glove: no two words stand together.
        TrainingError: the loss of GloVe is not finite.
    """
    started = time.perf_counter()

    def say_epoch(epoch: int) -> None:
        say(f"epoch {epoch} of {plan.epochs}, {time.perf_counter() - started:,.0f} s")

    if config.method == "glove":
        assert cooccurrences is not None
        vectors = _train_glove(config, plan, text, cooccurrences, folder, started)
        seconds = time.perf_counter() - started
        pairs = cooccurrences.matrix_VV.nnz
        receipt = {"words_read": len(text.ids_N), "pairs_counted": cooccurrences.pairs}
        receipt |= {"distinct_pairs_both_ways": pairs, "pairs_trained": pairs * plan.epochs}
        metrics = {"train_pairs_per_second": pairs * plan.epochs / seconds}
        seconds += cooccurrences.seconds
    else:
        vectors, trained = train_word2vec(
            words=text.words,
            counts_V=text.counts_V,
            ids_N=text.ids_N,
            document_starts_D=text.document_starts_D,
            config=config,
            epochs=plan.epochs,
            learning_rate=plan.learning_rate,
            say_epoch=say_epoch,
        )
        seconds, metrics = time.perf_counter() - started, {}
        receipt = {"words_read": plan.words_to_train, "words_left_out_by_subsampling": plan.words_to_train - trained}
        receipt["words_trained"] = trained
    figures = {"train_seconds": seconds, "train_words_per_second": receipt["words_read"] / seconds}
    return vectors, receipt, figures | metrics


def _train_glove(
    config: "EmbeddingsConfig",
    plan: EmbeddingsPlan,
    text: "WordCorpus",
    cooccurrences: Cooccurrences,
    folder: RunFolder,
    started: float,
) -> StaticVectors:
    from pipelines.models.glove import GloVe, train_glove

    def log(epoch: int, step: int, loss: float) -> None:
        seconds = time.perf_counter() - started
        folder.append_metrics({"step": step, "epoch": epoch, "loss": loss, "train_seconds": seconds})
        say(f"epoch {epoch} of {plan.epochs}, loss {loss:.4f}, {seconds:,.0f} s")

    settings = config.glove
    model = GloVe(plan.vocab_size, plan.vector_size, settings.x_max, settings.alpha, config.seed)
    train_glove(model, cooccurrences.matrix_VV, plan.epochs, plan.learning_rate, settings.batch_size, config.seed, log)
    return StaticVectors(text.words, text.counts_V.tolist(), model.vectors(), "glove", config.lowercase)


def save_vectors(vectors: StaticVectors, folder: RunFolder) -> None:
    """Writes model/ aside, loads it back, compares, and only then puts it in its place.

    Raises:
        CheckpointError: what was loaded is not what was saved.
    """
    import numpy as np

    with folder.new_model() as aside:
        vectors.save(aside)
        loaded = StaticVectors.load(aside)
        same = loaded.words == vectors.words and np.array_equal(loaded.embeddings_VD, vectors.embeddings_VD)
        if vectors.ngrams is not None:
            same = same and loaded.ngrams is not None and np.array_equal(loaded.ngrams.vectors, vectors.ngrams.vectors)
        if not same:
            raise CheckpointError(f"The vectors saved in {aside} are not the trained ones.")
