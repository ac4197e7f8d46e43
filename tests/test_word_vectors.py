"""Words, co-occurrence counts, GloVe, word2vec and fastText, the files of vectors, and their scores."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.data.loading import Corpus
from pipelines.data.words import normalise, read_words, splitter
from pipelines.errors import CheckpointError, DataError, TrainingError
from pipelines.evaluation import word_sets
from pipelines.evaluation import word_vectors as evaluation
from pipelines.models import cooccurrence
from pipelines.models.cooccurrence import count_cooccurrences, count_vectors
from pipelines.models.glove import GloVe, train_glove
from pipelines.models.static_vectors import Ngrams, StaticVectors, ngram_buckets
from pipelines.models.word2vec import train_word2vec
from pipelines.sections import EmbeddingsConfig, FastTextConfig

# ---------------------------------------------------------------- words


def corpus_of(*texts: str, rows_kept: int | None = None) -> Corpus:
    from datasets import Dataset

    receipt = {"train": {"rows_kept": len(texts) if rows_kept is None else rows_kept}}
    return Corpus("mine", {"train": Dataset.from_dict({"text": list(texts)})}, receipt, "0", None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Don't split n_samples, but state-of-the-art!",
            ["don't", "split", "n_samples", "but", "state", "of", "the", "art"],
        ),
        ("'quoted' and 2.5", ["quoted", "and", "2", "5"]),
        ("用GPU训练 モデル", ["用", "gpu", "训", "练", "モデル"]),
        ("हिन्दी naïve", ["हिन्दी", "naïve"]),
        ("e\u0301cole = \u00e9cole", ["école", "école"]),
        ("  \n", []),
    ],
)
def test_what_a_word_is(text: str, words: list[str]) -> None:
    assert splitter("words")(normalise(text, lowercase=True)) == words


def test_segmented_text_and_case_may_be_kept() -> None:
    assert splitter("blanks")(normalise("我们 训练 Model .", lowercase=False)) == ["我们", "训练", "Model", "."]


def test_the_vocabulary_is_ranked_and_every_word_accounted_for() -> None:
    texts = ("b a c b", "rare", "a B d c b")  # b 4, a 2, c 2, d 1, rare 1
    text = read_words(corpus_of(*texts), EmbeddingsConfig(min_count=2, max_vocabulary=2))
    assert text.words == ["b", "a"]  # a before c: equal counts by code points
    assert text.counts_V.tolist() == [4, 2]
    assert text.ids_N.tolist() == [0, 1, 0, 1, 0, 0]
    assert text.document_starts_D.tolist() == [0, 3, 3]  # the second document has no kept word
    assert text.receipt["train"]["words"] == {
        **{"words": 10, "kept": 6, "below_min_count": 2, "beyond_max_vocabulary": 2},
        **{"distinct_words": 5, "distinct_words_kept": 2, "documents_without_kept_words": 1},
    }


def test_min_count_that_leaves_nothing_tells_the_highest_count() -> None:
    with pytest.raises(DataError, match=r"min_count 9 leaves 0 .* 5 words, 3 distinct; .* 'a', stands 3 times"):
        read_words(corpus_of("a a b", "a c"), EmbeddingsConfig(min_count=9))
    with pytest.raises(DataError, match="0 words, 0 distinct"):
        read_words(corpus_of("...", "?"), EmbeddingsConfig())


def test_a_receipt_that_does_not_close_stops() -> None:
    with pytest.raises(DataError, match="does not close: .* 3 documents loaded, 2 read"):
        read_words(corpus_of("a b", "a b", rows_kept=3), EmbeddingsConfig(min_count=1))


# ---------------------------------------------------------------- counts

SIX_WORDS = np.array([0, 1, 2, 0, 1, 3], np.int32)  # documents "a b c a" and "b d"
SIX_STARTS = np.array([0, 4])


def test_cooccurrences_by_hand() -> None:
    counts = count_cooccurrences(SIX_WORDS, SIX_STARTS, vocab_size=4, window=2)
    # Distance 1: ab, bc, ca and bd count 1. Distance 2: ac and ba count a half.
    expected = [[0, 1.5, 1.5, 0], [1.5, 0, 1, 1], [1.5, 1, 0, 0], [0, 1, 0, 0]]
    assert counts.matrix_VV.toarray().tolist() == expected
    assert counts.pairs == 6


def brute_force(ids: np.ndarray, starts: np.ndarray, vocab_size: int, window: int) -> np.ndarray:
    matrix = np.zeros((vocab_size, vocab_size))
    for document in np.split(ids, starts[1:]):
        for place, word in enumerate(document):
            for other in range(max(0, place - window), min(len(document), place + window + 1)):
                if other != place:
                    matrix[word, document[other]] += 1 / abs(place - other)
    return matrix


@pytest.mark.parametrize("at_once", [3, 4_000_000])
def test_cooccurrences_equal_brute_force(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooccurrence, "POSITIONS_AT_ONCE", at_once)
    draw = np.random.default_rng(0)
    ids, starts = draw.integers(0, 5, 60).astype(np.int32), np.array([0, 7, 7, 8, 40])
    counts = count_cooccurrences(ids, starts, vocab_size=5, window=4)
    assert np.allclose(counts.matrix_VV.toarray(), brute_force(ids, starts, 5, 4), rtol=1e-12)
    lengths = np.diff(starts, append=60)
    assert counts.pairs == sum(max(length - distance, 0) for length in lengths for distance in range(1, 5))


def ppmi(matrix: np.ndarray) -> np.ndarray:
    total, smoothed = matrix.sum(1), matrix.sum(0) ** 0.75
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(matrix * smoothed.sum() / np.outer(total, smoothed)), 0)


@pytest.mark.parametrize(("vector_size", "columns"), [(3, 3), (7, 7), (50, 8)])
def test_count_vectors_are_the_truncated_svd_of_ppmi(vector_size: int, columns: int) -> None:
    draw = np.random.default_rng(1)
    ids = draw.integers(0, 8, 300).astype(np.int32)
    matrix = count_cooccurrences(ids, np.array([0, 100]), 8, 3).matrix_VV
    left, values, _ = np.linalg.svd(ppmi(matrix.toarray()))
    best = (left[:, :columns] * values[:columns]) @ left[:, :columns].T
    vectors = count_vectors(matrix, vector_size)
    assert vectors.shape == (8, columns)
    assert np.allclose(vectors @ vectors.T, best, atol=1e-4)


def test_count_vectors_without_any_pair_are_zeros() -> None:
    assert not count_vectors(count_cooccurrences(np.arange(3, dtype=np.int32), np.arange(3), 3, 2).matrix_VV, 2).any()


# ---------------------------------------------------------------- GloVe


def six_word_pairs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    cells = count_cooccurrences(SIX_WORDS, SIX_STARTS, 4, 2).matrix_VV.tocoo()
    return torch.from_numpy(cells.row).long(), torch.from_numpy(cells.col).long(), torch.from_numpy(cells.data).float()


def test_glove_loss_and_step_are_the_papers() -> None:
    words, contexts, counts = six_word_pairs()
    model = GloVe(vocab_size=4, vector_size=3, x_max=1.2, alpha=0.75, seed=5)
    w, b = model.word_VE[:, :3].detach().double(), model.word_VE[:, 3].detach().double()
    v, c = model.context_VE[:, :3].detach().double(), model.context_VE[:, 4].detach().double()
    loss, gradients = 0.0, {"w": torch.zeros(4, 3), "b": torch.zeros(4), "v": torch.zeros(4, 3), "c": torch.zeros(4)}
    for i, j, x in zip(words.tolist(), contexts.tolist(), counts.double().tolist(), strict=True):
        weight = min(1.0, (x / 1.2) ** 0.75)
        residual = float(w[i] @ v[j] + b[i] + c[j]) - np.log(x)
        loss += weight * residual**2
        gradients["w"][i] += 2 * weight * residual * v[j]
        gradients["v"][j] += 2 * weight * residual * w[i]
        gradients["b"][i] += 2 * weight * residual
        gradients["c"][j] += 2 * weight * residual
    assert float(model(words, contexts, counts).detach()) == pytest.approx(loss, rel=1e-5)

    assert float(model.step(words, contexts, counts, learning_rate=0.3)) == pytest.approx(loss, rel=1e-5)
    found = {
        "w": model.word_VE[:, :3],
        "b": model.word_VE[:, 3],
        "v": model.context_VE[:, :3],
        "c": model.context_VE[:, 4],
    }
    for name, before in {"w": w, "b": b, "v": v, "c": c}.items():
        gradient = gradients[name]
        assert torch.allclose(found[name], (before - 0.3 * gradient / (1 + gradient**2).sqrt()).float(), atol=1e-6)
    assert torch.equal(model.word_VE[:, 4], torch.ones(4))
    assert torch.equal(model.context_VE[:, 3], torch.ones(4))


def test_glove_step_is_adagrad_of_autograd() -> None:
    """Over several steps, against torch.optim.Adagrad on the gradient that autograd finds."""
    words, contexts, counts = six_word_pairs()
    ours, theirs = (GloVe(4, 3, 1.2, 0.75, seed=5) for _ in range(2))
    optimizer = torch.optim.Adagrad(theirs.parameters(), lr=0.3, initial_accumulator_value=1.0)
    for part in (slice(0, 5), slice(3, 8), slice(0, 8)):
        ours.step(words[part], contexts[part], counts[part], 0.3)
        optimizer.zero_grad()
        theirs(words[part], contexts[part], counts[part]).backward()
        theirs.word_VE.grad[:, -1] = theirs.context_VE.grad[:, -2] = 0  # type: ignore[index]
        optimizer.step()
    assert torch.allclose(ours.word_VE, theirs.word_VE, atol=1e-6)
    assert torch.allclose(ours.context_VE, theirs.context_VE, atol=1e-6)


def glove_run(
    epochs: int = 40, learning_rate: float = 0.2, **changes: Any
) -> tuple[GloVe, list[tuple[int, int, float]]]:
    matrix = count_cooccurrences(SIX_WORDS, SIX_STARTS, 4, 2).matrix_VV
    model, log = GloVe(4, 3, 1.0, 0.75, seed=1), []
    settings = {"batch_size": 3, "seed": 1} | changes
    train_glove(model, matrix, epochs, learning_rate, log=lambda *event: log.append(event), **settings)
    return model, log


def test_glove_learns_the_counts_and_repeats_itself_bitwise() -> None:
    model, log = glove_run()
    assert [event[:2] for event in log[:3]] == [(1, 3), (2, 6), (3, 9)]  # 8 pairs in steps of 3
    assert log[-1][2] < 0.01 * log[0][2]
    again, same_log = glove_run()
    assert torch.equal(again.word_VE, model.word_VE)
    assert same_log == log
    assert not torch.equal(glove_run(seed=2)[0].word_VE, model.word_VE)
    assert np.array_equal(model.vectors(), (model.word_VE + model.context_VE).detach().numpy()[:, :3])


def test_glove_that_cannot_learn_says_so() -> None:
    with pytest.raises(TrainingError, match="loss of epoch .* Lower embeddings.learning_rate"):
        glove_run(learning_rate=1e30)
    nothing = count_cooccurrences(np.arange(3, dtype=np.int32), np.arange(3), 3, 2).matrix_VV
    with pytest.raises(DataError, match="no document of the training split has two kept words"):
        train_glove(GloVe(3, 2, 1.0, 0.75, 0), nothing, 1, 0.1, 4, 0, lambda *_: None)


# ---------------------------------------------------------------- word2vec and fastText

GROUPS = [[f"{group}{index}" for index in range(8)] for group in ("red", "blue")]


def two_groups(documents: int = 400) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Words, counts, text and starts of documents of ten words, each from one of two groups that never meet."""
    draw = np.random.default_rng(0)
    words = GROUPS[0] + GROUPS[1]
    ids = (draw.integers(0, 8, (documents, 10)) + 8 * draw.integers(0, 2, (documents, 1))).astype(np.int32)
    return words, np.bincount(ids.ravel(), minlength=16), ids.ravel(), np.arange(documents) * 10


def trained(text: tuple[Any, ...], method: str, epochs: int = 20, **changes: Any) -> tuple[StaticVectors, int]:
    small = {"vector_size": 16, "window": 3, "subsample": None, "fasttext": FastTextConfig(buckets=500)}
    config = EmbeddingsConfig(method=method, **(small | changes))
    return train_word2vec(*text, config, epochs, 0.05, say_epoch=lambda epoch: None)


def contrast(vectors: np.ndarray) -> float:
    """Mean cosine within the groups less that across them."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine, same = unit @ unit.T, np.kron(np.eye(2), np.ones((8, 8)))
    return float(cosine[(same - np.eye(16)) == 1].mean() - cosine[same == 0].mean())


@pytest.mark.parametrize("method", ["skipgram", "cbow", "fasttext", "glove", "ppmi_svd", "random"])
def test_groups_that_never_meet_are_told_apart(method: str) -> None:
    text = two_groups()
    counts = count_cooccurrences(text[2], text[3], 16, 3).matrix_VV
    if method == "glove":
        model = GloVe(16, 16, 100, 0.75, seed=3)
        train_glove(model, counts, 50, 0.2, 64, 3, lambda *_: None)
        vectors = model.vectors()
    elif method == "ppmi_svd":
        vectors = count_vectors(counts, 8)
    elif method == "random":
        vectors = cooccurrence.random_vectors(16, 16, 3)
    else:
        vectors = trained(text, method)[0].embeddings_VD
    assert (contrast(vectors) > 0.3) == (method != "random")


@pytest.mark.parametrize("method", ["skipgram", "cbow", "fasttext"])
def test_training_repeats_itself_bitwise(method: str) -> None:
    one, again, other = (trained(two_groups(50), method, 2, seed=seed)[0].embeddings_VD for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    another_method = "cbow" if method == "skipgram" else "skipgram"
    assert not np.array_equal(one, trained(two_groups(50), another_method, 2, seed=1)[0].embeddings_VD)


HASHED = """
import numpy as np
from pipelines.models.word2vec import train_word2vec
from pipelines.sections import EmbeddingsConfig
ids = np.arange(2000, dtype=np.int32) * 7 % 16
text = [f"word{row}" for row in range(16)], np.bincount(ids), ids, np.arange(0, 2000, 50)
config = EmbeddingsConfig(vector_size=8)
print(train_word2vec(*text, config, 2, 0.05, lambda epoch: None)[0].embeddings_VD.tobytes().hex())
"""


@pytest.mark.processes
def test_vectors_do_not_depend_on_the_hash_seed() -> None:
    one, other = (
        subprocess.run(
            [sys.executable, "-c", HASHED],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            timeout=120,
            check=True,
        ).stdout
        for seed in ("1", "2")
    )
    assert len(one) == 16 * 8 * 4 * 2 + 1
    assert one == other


def test_no_word_of_a_long_document_is_dropped() -> None:
    words, _, ids, _ = two_groups(2_500)
    text = (words, np.bincount(ids), ids, np.array([0, 24_990]))  # gensim reads 10,000 words of a document
    _, count = trained(text, "skipgram", 1)
    assert count == 25_000
    _, fewer = trained(text, "skipgram", 1, subsample=1e-3)
    assert 0 < fewer < 25_000


@pytest.mark.parametrize(("shortest", "longest", "buckets"), [(3, 6, 2_000), (1, 3, 101), (5, 5, 7)])
@settings(max_examples=60, deadline=None)
@given(word=st.text(min_size=1, max_size=12))
def test_ngram_buckets_are_gensims(word: str, shortest: int, longest: int, buckets: int) -> None:
    from gensim.models.fasttext import ft_ngram_hashes

    assert ngram_buckets(word, shortest, longest, buckets) == ft_ngram_hashes(word, shortest, longest, buckets)


def test_fasttext_vectors_of_known_and_unknown_words_are_gensims(tmp_path: Path) -> None:
    from gensim.models import FastText

    words, counts, ids, starts = two_groups(50)
    vectors, _ = trained((words, counts, ids, starts), "fasttext", 2, fasttext=FastTextConfig(3, 5, 500))
    vectors.save(tmp_path)
    loaded = StaticVectors.load(tmp_path)
    own = {"vector_size": 16, "window": 3, "sg": 1, "sample": 0, "alpha": 0.05, "min_alpha": 0.05 / 250, "seed": 42}
    gensim = FastText(**own, min_count=1, sorted_vocab=0, workers=1, min_n=3, max_n=5, bucket=500)
    gensim.build_vocab_from_freq(dict(zip(words, counts.tolist(), strict=True)), corpus_count=50)
    documents = [[words[word] for word in document] for document in np.split(ids, starts[1:])]
    gensim.train(documents, total_examples=50, epochs=2)
    for word in [*words, "red", "bluest", "é", "中文字", "a", "😀x", "red9blue"]:
        assert np.array_equal(loaded.vector(word), gensim.wv[word]), word
    assert loaded.nearest("red", 3)[0][0].startswith("red")
    assert "red9blue" not in loaded


# ---------------------------------------------------------------- files


def hand_made(ngrams: Ngrams | None = None, **rows: tuple[float, ...]) -> StaticVectors:
    matrix = np.array(list(rows.values()), np.float32)
    return StaticVectors(list(rows), [9 - place for place in range(len(rows))], matrix, "skipgram", True, ngrams)


def test_vectors_are_loaded_as_they_were_saved(tmp_path: Path) -> None:
    from gensim.models import KeyedVectors
    from safetensors.numpy import load_file

    draw = np.random.default_rng(0)
    rows = {word: tuple(draw.standard_normal(5)) for word in ("the", "état", "中", "x_1")}
    vectors = hand_made(Ngrams(draw.standard_normal((11, 5)).astype(np.float32), 3, 4), **rows)
    vectors.save(tmp_path)
    loaded = StaticVectors.load(tmp_path)
    assert (loaded.words, loaded.counts) == (vectors.words, vectors.counts)
    assert (loaded.method, loaded.lowercase) == ("skipgram", True)
    assert np.array_equal(loaded.embeddings_VD, vectors.embeddings_VD)
    assert np.array_equal(loaded.vector("unknown"), vectors.vector("unknown"))
    assert np.array_equal(load_file(tmp_path / "model.safetensors")["embeddings"], vectors.embeddings_VD)
    text = KeyedVectors.load_word2vec_format(str(tmp_path / "vectors.txt"))
    assert text.index_to_key == vectors.words
    assert np.array_equal(text.vectors, vectors.embeddings_VD)


def test_words_are_looked_up_as_they_were_read() -> None:
    vectors = hand_made(école=(1, 0), der=(0, 1))
    assert "E\u0301COLE" in vectors
    assert vectors.vector("École").tolist() == [1, 0]
    for word in ("École", "e\u0301cole", "İ", "plain"):
        assert vectors.spelled(word) == normalise(word, lowercase=True)
    with pytest.raises(DataError, match="'school' is not among the 2 words that have a vector"):
        vectors.vector("school")


def test_nearest_by_hand() -> None:
    vectors = hand_made(a=(2, 0), b=(1, 1), c=(0, 3), d=(-1, 0), zero=(0, 0))
    assert vectors.nearest("a", 2) == [("b", pytest.approx(0.5**0.5)), ("c", 0.0)]
    assert [word for word, _ in vectors.nearest("A", 10)] == ["b", "c", "zero", "d"]


def test_a_damaged_folder_is_told(tmp_path: Path) -> None:
    hand_made(a=(1, 0), b=(0, 1)).save(tmp_path)
    (tmp_path / "vocabulary.json").write_text('{"a": 1}')
    with pytest.raises(CheckpointError, match="1 words in vocabulary.json"):
        StaticVectors.load(tmp_path)
    (tmp_path / "vocabulary.json").write_text('{"a": 1, "b"')
    with pytest.raises(CheckpointError, match="holds no static vectors"):
        StaticVectors.load(tmp_path)
    with pytest.raises(CheckpointError, match="holds no static vectors"):
        StaticVectors.load(tmp_path / "nowhere")


# ---------------------------------------------------------------- scores


def test_spearman_by_hand() -> None:
    assert evaluation.spearman([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)  # 1 - 6 * 2 / (4 * 15)
    assert evaluation.spearman([1, 2, 2, 4], [1, 2, 3, 4]) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)  # ranks 1 2.5 2.5 4
    assert evaluation.spearman([1, 1], [1, 2]) is None
    assert evaluation.spearman([1], [1]) is None
    low, high = evaluation.spearman_interval(0.8, 12)  # type: ignore[misc]
    assert (low, high) == (pytest.approx(0.33460, abs=1e-5), pytest.approx(0.95167, abs=1e-5))  # z 1.0986 -+ 0.7506
    assert evaluation.spearman_interval(0.8, 3) is None


def test_similarity_states_what_is_not_covered() -> None:
    vectors = hand_made(a=(1, 0), b=(1, 1), c=(0, 1), d=(-1, 0))
    pairs = [("A", "b", 9.0), ("a", "c", 5.0), ("a", "d", 1.0), ("a", "unknown", 3.0), ("c", "c", 7.0)]
    scores = evaluation.score_similarity(vectors, pairs)
    # Cosines 0.71, 0, -1 and 1 against 9, 5, 1 and 7: ranks 3 2 1 4 and 4 2 1 3.
    assert scores["spearman"] == pytest.approx(0.8)
    # With the unknown pair at cosine 0: ranks 4 2.5 1 2.5 5 against 5 3 1 2 4.
    assert scores["spearman_all"] == pytest.approx(8.5 / (9.5 * 10) ** 0.5)
    assert (scores["coverage"], scores["pairs"], scores["pairs_covered"]) == (0.8, 5, 4)
    assert "spearman_subword" not in scores
    nothing = evaluation.score_similarity(hand_made(x=(1, 0)), pairs)
    assert nothing == {"coverage": 0, "pairs": 5, "pairs_covered": 0}


def test_subwords_cover_every_pair() -> None:
    ngrams = Ngrams(np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32), 3, 6)
    vectors = hand_made(ngrams, a=(1, 0), b=(1, 1))
    pairs = [("a", "b", 1.0), ("a", "unknown", 2.0), ("b", "words", 3.0)]
    cosines = [evaluation._cosine(vectors, left, right) for left, right, _ in pairs]
    expected = evaluation.spearman([1, 2, 3], cosines)
    assert evaluation.score_similarity(vectors, pairs)["spearman_subword"] == expected


def test_analogies_by_hand() -> None:
    vectors = hand_made(man=(1, 0.1), woman=(1, 1.1), king=(3, 0), queen=(3, 3), knave=(3, -2), apple=(-1, 0))
    sections = {
        "royalty": [("man", "woman", "King", "queen"), ("man", "woman", "king", "heir")],
        "fruit": [("woman", "man", "apple", "queen"), ("pear", "pears", "apple", "apples")],
    }
    assert evaluation.score_analogies(vectors, sections) == {
        "royalty": {"questions": 2, "covered": 1, "correct": 1},
        "fruit": {"questions": 2, "covered": 1, "correct": 0},
    }
    metrics, _ = evaluation.score_vectors(vectors, word_sets.EvaluationSets(analogies={"mine": sections}))
    assert metrics == {
        **{"mine_accuracy": 0.5, "mine_accuracy_all": 0.25, "mine_coverage": 0.5},
        **{"mine_questions": 4, "mine_questions_covered": 2},
    }


def test_asked_words_are_no_answers() -> None:
    vectors = hand_made(a=(1, 0), b=(1, 0.2), c=(1, 0.1), d=(0.2, 1))  # c is nearest to b - a + c, then b, then a
    assert evaluation.score_analogies(vectors, {"": [("a", "b", "c", "d")]})[""]["correct"] == 1


def test_scores_are_those_of_gensim(tmp_path: Path) -> None:
    """On the shipped sets with random vectors of some of their words: every section, and both correlations."""
    from gensim.models import KeyedVectors

    similar = word_sets.read_similarity(word_sets.shipped("wordsim353.tsv"))
    questions = word_sets.read_analogies(word_sets.shipped("questions-words.txt"))
    questions = {
        section: questions[section][:60] for section in ("family", "capital-common-countries", "gram2-opposite")
    }
    asked = dict.fromkeys(word.lower() for section in questions.values() for four in section for word in four)
    words = list(dict.fromkeys([*asked, *(word.lower() for pair in similar[::2] for word in pair[:2])]))[5:]
    matrix = np.random.default_rng(0).standard_normal((len(words), 4)).astype(np.float32)
    for section, asked in questions.items():  # so that some are solved
        for first, second, *_ in asked:
            if {first.lower(), second.lower()} <= set(words) and section != "family":
                matrix[words.index(second.lower())] = 1.5 * matrix[words.index(first.lower())] + 1
    vectors = StaticVectors(words, [1] * len(words), matrix, "random", True)
    theirs = KeyedVectors(4)
    theirs.add_vectors(words, matrix)

    file = tmp_path / "questions.txt"
    lines = [
        f": {section}\n" + "".join(" ".join(four) + "\n" for four in asked) for section, asked in questions.items()
    ]
    file.write_text("".join(lines))
    assert word_sets.read_analogies(file) == questions
    _, sections = theirs.evaluate_word_analogies(str(file))
    for section in sections[:-1]:
        counts = evaluation.score_analogies(vectors, questions)[section["section"]]
        assert counts["correct"] == len(section["correct"])
        assert counts["covered"] == len(section["correct"]) + len(section["incorrect"])
    assert sum(len(section["correct"]) for section in sections[:-1]) > 0
    ours = evaluation.score_similarity(vectors, similar)
    for name, dummies in (("spearman", False), ("spearman_all", True)):
        _, spearman, missing = theirs.evaluate_word_pairs(
            str(word_sets.shipped("wordsim353.tsv")), dummy4unknown=dummies
        )
        assert ours[name] == pytest.approx(spearman.statistic, abs=1e-6)
        assert ours["coverage"] == pytest.approx(1 - missing / 100) or dummies


def test_sets_are_read_with_blanks_comments_and_a_byte_order_mark(tmp_path: Path) -> None:
    similarity, analogies = tmp_path / "pairs.txt", tmp_path / "questions.txt"
    similarity.write_bytes("\ufeffa b 1.5 noun\r\n\r\n# c d 9\r\nnew york\tcity\t7\r\n".encode())
    assert word_sets.read_similarity(similarity) == [("a", "b", 1.5), ("new york", "city", 7.0)]
    analogies.write_bytes("\ufeff: one\na b c d\n:\ne f  g h\n".encode())
    assert word_sets.read_analogies(analogies) == {"one": [("a", "b", "c", "d")], "unnamed": [("e", "f", "g", "h")]}


def test_the_shipped_sets_are_whole() -> None:
    from pipelines.sections import WordVectorEvaluationConfig

    sets = word_sets.read_sets(WordVectorEvaluationConfig())
    assert {name: len(pairs) for name, pairs in sets.similarity.items()} == {"wordsim353": 353, "simlex999": 999}
    assert sum(len(questions) for questions in sets.analogies["analogy"].values()) == 19_544
    assert len(sets.analogies["analogy"]) == 14


def test_neighbours_run_from_frequent_to_rare() -> None:
    words = [f"w{rank}" for rank in range(1, 401)]
    matrix = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32)
    vectors = StaticVectors(words, list(range(400, 0, -1)), matrix, "random", True)
    found = evaluation.neighbours({"nearest": vectors}, samples=3, nearest=2)
    assert [one["word"] for one in found] == ["w100"]  # 100 is a quarter of the vocabulary
    found = evaluation.neighbours({"nearest": vectors, "other": vectors}, samples=1, nearest=2)
    assert [one["word"] for one in found[0]["nearest"]] == [word for word, _ in vectors.nearest("w100", 2)]
    assert found[0]["other"] == found[0]["nearest"]
    json.dumps(found)
