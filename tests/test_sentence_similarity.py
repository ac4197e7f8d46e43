"""Scores of sentence embeddings against values by hand, and files of scored pairs."""

import json
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import sentences

from pipelines.data.loading import load_corpus
from pipelines.data.sentence_pairs import read_scored_pairs
from pipelines.data.sentences import cut_sentences
from pipelines.data.tokenization import TokenizedCorpus, tokenize_corpus
from pipelines.errors import ConfigError, DataError
from pipelines.evaluation import sentence_similarity as similarity
from pipelines.models.build import build_model
from pipelines.models.pooling import Pooling
from pipelines.sections import (
    CorpusConfig,
    DataFiles,
    ModelConfig,
    SentenceSimilarityEvaluationConfig,
    TokenizerConfig,
)

# ---------------------------------------------------------------- scores by hand


def test_alignment_and_uniformity_by_hand() -> None:
    left = np.array([[1.0, 0.0], [0.0, 1.0]])
    right = np.array([[0.6, 0.8], [0.0, 1.0]])
    assert similarity.alignment(left, right) == pytest.approx((0.4**2 + 0.8**2 + 0) / 2)
    corners = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    squared = [2.0, 4.0, 2.0]
    assert similarity.uniformity(corners) == pytest.approx(np.log(np.mean(np.exp(-2 * np.array(squared)))))
    assert similarity.uniformity(np.ones((5, 1))) == pytest.approx(0.0)


def test_uniformity_in_slices_is_that_of_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = similarity.unit(np.random.default_rng(0).normal(size=(50, 8)))
    whole = similarity.uniformity(vectors)
    monkeypatch.setattr(similarity, "ROWS_AT_ONCE", 7)
    assert similarity.uniformity(vectors) == pytest.approx(whole, rel=1e-12)


def test_spearman_ranks_ties_at_their_mean_and_pearson_by_hand() -> None:
    cosines, scores = np.array([0.9, 0.1, 0.4, 0.4]), np.array([5.0, 1.0, 2.0, 3.0])
    ranks, expected = np.array([4.0, 1.0, 2.5, 2.5]), np.array([4.0, 1.0, 2.0, 3.0])
    found = similarity.similarity_scores(cosines, scores)
    assert found["spearman"] == pytest.approx(np.corrcoef(ranks, expected)[0, 1])
    assert found["pearson"] == pytest.approx(np.corrcoef(cosines, scores)[0, 1])
    assert similarity.similarity_scores(np.array([0.5, 0.5]), np.array([1.0, 2.0])) == {}


COSINES = np.array(
    [
        [0.9, 0.1, 0.2, 0.3],  # found first
        [0.8, 0.5, 0.6, 0.1],  # third
        [0.4, 0.1, 0.4, 0.4],  # shares the first three places
        [0.5, 0.5, 0.5, 0.2],  # last
    ]
)


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_retrieval_by_hand(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "ROWS_AT_ONCE", at_once)
    found = similarity.retrieval_scores(lambda rows: COSINES[rows], 4, temperature=0.1)
    assert found["retrieval_accuracy"] == pytest.approx((1 + 0 + 1 / 3 + 0) / 4)
    assert found["retrieval_mrr"] == pytest.approx((1 + 1 / 3 + (1 + 1 / 2 + 1 / 3) / 3 + 1 / 4) / 4)
    scores = np.exp(COSINES / 0.1)
    assert found["loss"] == pytest.approx(np.mean(-np.log(np.diag(scores) / scores.sum(axis=1))))


def test_embeddings_that_are_all_equal_find_nothing() -> None:
    found = similarity.retrieval_scores(lambda rows: np.ones((rows.stop - rows.start, 50)), 50, temperature=1.0)
    assert found["retrieval_accuracy"] == pytest.approx(1 / 50)
    assert found["loss"] == pytest.approx(np.log(50))


# ---------------------------------------------------------------- models


@pytest.fixture(scope="module")
def text(corpus_file: Path) -> tuple[TokenizedCorpus, datasets.Dataset]:
    corpus = load_corpus(CorpusConfig(files=DataFiles(train=str(corpus_file)), validation_share=0.2))
    model = ModelConfig(config={"model_type": "bert"})
    packed = tokenize_corpus(corpus, TokenizerConfig(vocab_size=300), model, 32)
    return cut_sentences(packed, min_tokens=4), corpus.splits["train"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "sts.jsonl"
    texts = sentences(20, seed=5)
    pairs = [(left, right) for left in texts for right in texts][::7]
    shared = [len(set(left.split()) & set(right.split())) for left, right in pairs]
    columns = ("sentence1", "sentence2", "score")
    rows = [dict(zip(columns, (*pair, score), strict=True)) for pair, score in zip(pairs, shared, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def scorer(text: TokenizedCorpus, batch_size: int, **values) -> similarity.SentenceSimilarity:
    config = SentenceSimilarityEvaluationConfig(**values)
    return similarity.SentenceSimilarity(text.validation, 4, text.tokenizer, Pooling("mean"), 0.05, batch_size, config)


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_no_figure_depends_on_the_batch_size(family: str, text, pairs: Path) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = ModelConfig(config={"model_type": family, **sizes})
    model = build_model("encoder", config, text[0].tokenizer, 32, dropout=0.1)
    scorers = [scorer(text[0], size, sts_files=str(pairs)) for size in (1, 5, 64)]
    metrics = [one.evaluate(model.train()) for one in scorers]
    assert model.training
    for one in scorers[1:]:
        assert np.abs(one.embeddings - scorers[0].embeddings).max() < 1e-5
    for other in metrics[1:]:
        assert other.keys() == metrics[0].keys()
        for name in other.keys() - {"eval_seconds"}:
            assert other[name] == pytest.approx(metrics[0][name], abs=1e-5), name
    norms = np.linalg.norm(scorers[0].embeddings, axis=1)
    assert norms == pytest.approx(np.ones(len(norms)))


def test_scores_are_those_of_the_embeddings(text, pairs: Path) -> None:
    """From the vectors to eval_spearman and the alignment of pairs that people call alike, with scipy and by hand."""
    from scipy.stats import spearmanr

    one = scorer(text[0], 8, sts_files=str(pairs))
    vectors = similarity.unit(np.random.default_rng(0).normal(size=(len(one.tokens), 6)))
    found = one.scores(vectors)
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    left, right = np.split(vectors[len(one.halves.tokens) :], 2)
    cosines = [float(a @ b) for a, b in zip(left, right, strict=True)]
    scores = np.array([row["score"] for row in rows])
    assert found["spearman"] == pytest.approx(spearmanr(cosines, scores).statistic)
    alike = scores >= 0.8 * scores.max()
    assert 0 < alike.sum() < len(alike)
    assert found["sts_alignment"] == pytest.approx(np.mean([2 - 2 * cosines[place] for place in np.flatnonzero(alike)]))
    assert one.scored.texts == [row["sentence1"] for row in rows] + [row["sentence2"] for row in rows]
    assert one.counts()["eval_sts_pairs"] == len(rows)
    assert one.counts()["eval_sts_texts_truncated"] == one.scored.truncated > 0
    assert max(map(len, one.tokens)) == 32


def test_baselines_by_hand(text) -> None:
    one = scorer(text[0], 8)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = build_model("encoder", ModelConfig(config={"model_type": "bert", **sizes}), text[0].tokenizer, 32)
    start = one.start(model)
    table = model.get_input_embeddings().weight.detach().numpy()
    mean = table[one.tokens[3][1:-1]].mean(axis=0)
    assert start.token_vectors[3] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    metrics = one.baselines(start, text[1])
    assert metrics["baseline_start_loss"] == one.evaluate(model)["eval_loss"]
    assert "baseline_tfidf_loss" not in metrics
    one.halves = similarity.TextPairs(one.halves.tokens, one.halves.texts[: len(one.halves.texts) // 2] * 2)
    assert one._tfidf(text[1])["retrieval_mrr"] > 0.95  # a text finds its own copy, unless another has the same words
    assert scorer(text[0], 8, baselines=False).baselines(start, text[1]) == {}


def test_samples_are_the_nearest_others(text) -> None:
    one = scorer(text[0], 8, samples=2)
    count = len(one.tokens)
    start, one.embeddings = np.eye(count) + 0.1 * np.eye(count, k=1), np.eye(count) + 0.1 * np.eye(count, k=2)
    content = one.samples(similarity.Start(start, start))
    first = content["samples"][0]
    assert first["prompt"] == one.halves.texts[0]
    assert first["reference"].startswith(one.halves.texts[1])
    assert first["output"].startswith(one.halves.texts[2])
    assert len(content["samples"]) == 2


def test_too_few_documents_to_halve(text) -> None:
    config = SentenceSimilarityEvaluationConfig()
    with pytest.raises(DataError, match=r"0 held-out documents have two halves of at least 5000 tokens"):
        similarity.SentenceSimilarity(text[0].validation, 5000, text[0].tokenizer, Pooling("cls"), 0.05, 8, config)


# ---------------------------------------------------------------- files of scored pairs

ROWS = [("a cat", "a dog", 2.5), ('he said "no"', "she, too", 0.0), ("same", "same", 5.0)]


def write(path: Path) -> Path:
    columns = ("sentence1", "sentence2", "score")
    if path.suffix == ".parquet":
        pq.write_table(pa.table({name: [row[place] for row in ROWS] for place, name in enumerate(columns)}), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in ROWS))
    else:
        if path.suffix == ".tsv":
            lines = ["\t".join(map(str, row)) for row in [columns, *ROWS]]
        else:
            quoted = [[f'"{str(cell).replace(chr(34), chr(34) * 2)}"' for cell in row] for row in ROWS]
            lines = [",".join(columns), *(",".join(row) for row in quoted)]
        path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_same_pairs(ending: str, tmp_path: Path) -> None:
    pairs = read_scored_pairs(str(write(tmp_path / f"sts.{ending}")), {})
    assert list(zip(pairs.left, pairs.right, pairs.scores, strict=True)) == ROWS


def test_several_files_are_one_set_and_columns_are_mapped(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(f"id,one,two,label\n1,{name},x,1\n2,{name},y,3\n")
    mapping = {"one": "sentence1", "two": "sentence2", "label": "score"}
    pairs = read_scored_pairs(str(tmp_path / "*.csv"), mapping)
    assert (pairs.left, pairs.right, pairs.scores) == (["a", "a", "b", "b"], ["x", "y"] * 2, [1.0, 3.0] * 2)


CASES = {
    "no such column": ("p.csv", "s1,sentence2,score\na,b,1\n", ["'sentence1'", "Columns found: 's1'", "sts_columns"]),
    "no number": (
        "p.csv",
        "sentence1,sentence2,score\na,b,1\nc,d,high\n",
        ["p.csv, row 2", "'score' must hold a number", "'high'"],
    ),
    "not finite": ("p.csv", "sentence1,sentence2,score\na,b,1\nc,d,nan\n", ["row 2", "must hold a number"]),
    "empty sentence": ("p.csv", "sentence1,sentence2,score\na, ,1\nc,d,2\n", ["row 1", "'sentence2'"]),
    "short row": ("p.csv", "sentence1,sentence2,score\na,b\n", ["line 2", "2 fields", "header has 3"]),
    "constant": ("p.csv", "sentence1,sentence2,score\na,b,3\nc,d,3\n", ["two pairs with different scores", "are 3"]),
    "one pair": ("p.csv", "sentence1,sentence2,score\na,b,3\n", ["1 pairs"]),
    "missing key": (
        "p.jsonl",
        '{"sentence1": "a", "sentence2": "b", "score": 1}\n{"sentence1": "a", "score": 2}\n',
        ["p.jsonl, row 2", "'sentence2'"],
    ),
    "broken JSON": ("p.jsonl", '{"sentence1": "a"', ["p.jsonl: line 1", "not valid JSON"]),
    "a list": ("p.jsonl", '["a", "b", 1]\n', ["row 1", "expected an object"]),
    "null score": ("p.jsonl", '{"sentence1": "a", "sentence2": "b", "score": null}\n', ["row 1", "found None"]),
    "yes for a score": ("p.jsonl", '{"sentence1": "a", "sentence2": "b", "score": true}\n', ["found True"]),
    "plain text": ("p.txt", "a b 1\n", ["p.txt is plain text", "csv"]),
    "not parquet": ("p.parquet", "PAR?", ["p.parquet cannot be read as parquet"]),
    "not UTF-8": ("p.tsv", b"sentence1\tsentence2\tscore\ncaf\xe9\tb\t1\n", ["p.tsv is not UTF-8", "offset 29"]),
}


@pytest.mark.parametrize(("name", "content", "parts"), CASES.values(), ids=CASES)
def test_bad_pairs(name: str, content: str | bytes, parts: list[str], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as error:
        read_scored_pairs(str(tmp_path / name), {})
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("mapping", "part"),
    [({"a": "scor"}, "Did you mean 'score'"), ({"a": "score", "b": "score"}, "to 'a' and to 'b'")],
)
def test_bad_mappings(mapping: dict[str, str], part: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=part):
        read_scored_pairs(str(write(tmp_path / "sts.csv")), mapping)
