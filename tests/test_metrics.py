"""The metrics: what `evaluate` loads without a network, figures worked out by hand, and the same from other code."""

import importlib
import math
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pytest
import sacrebleu
from scipy import stats
from seqeval.metrics import sequence_labeling
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES, IOE1, IOE2
from sklearn import metrics as sklearn_metrics

from pipelines.errors import ConfigError, DataError, PlumblineError
from pipelines.metrics.accuracy.accuracy import accuracy
from pipelines.metrics.bleu.bleu import bleu_figures, bleu_of, bleu_statistics
from pipelines.metrics.chrf.chrf import chrf_of, chrf_statistics
from pipelines.metrics.expected_calibration_error.expected_calibration_error import expected_calibration_error
from pipelines.metrics.f1.f1 import precision_recall_f1
from pipelines.metrics.glue.glue import glue_figures
from pipelines.metrics.loading import FOLDER, load_metric, metric_names
from pipelines.metrics.matthews_correlation.matthews_correlation import matthews_correlation
from pipelines.metrics.mean_reciprocal_rank.mean_reciprocal_rank import reciprocal_ranks
from pipelines.metrics.pearsonr.pearsonr import correlation
from pipelines.metrics.rouge.rouge import rouge_rows
from pipelines.metrics.seqeval.seqeval import entity_counts, entity_scores, seqeval_figures
from pipelines.metrics.squad.squad import exact_match, squad, token_f1
from pipelines.metrics.squad_v2.squad_v2 import exact_and_f1, squad_v2
from pipelines.metrics.super_glue.super_glue import super_glue_figures
from pipelines.metrics.text import answer_tokens, character_tokens

# ---------------------------------------------------------------- by evaluate and by hand

CLASSES = {"predictions": [0, 2, 1, 0, 0, 1], "references": [0, 1, 2, 0, 1, 1]}
PAIRS = {"predictions": [0, 1, 1, 0, 1], "references": [0, 1, 0, 1, 1]}
NUMBERS = {"predictions": [0.5, 2.0, 1.0, 3.5], "references": [1.0, 2.5, 0.0, 3.0]}
TEXTS = {
    "predictions": ["the cat sat on", "a dog ran away"],
    "references": [["the cat sat on the mat", "a cat sat"], ["a dog ran"]],
}
TAGS = {
    "predictions": [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-LOC"]],
    "references": [["B-PER", "I-PER", "O", "O"], ["B-PER", "B-LOC"]],
}


def answers(*texts: str) -> dict[str, list]:
    return {"text": list(texts), "answer_start": list(range(len(texts)))}


QUESTIONS = {
    "predictions": [{"id": "b", "prediction_text": "in Paris"}, {"id": "a", "prediction_text": "The cat!"}],
    "references": [{"id": "a", "answers": answers("cat", "dog")}, {"id": "b", "answers": answers("Paris")}],
}
QUESTIONS_V2 = {
    "predictions": [
        {"id": "a", "prediction_text": "cat", "no_answer_probability": 0.1},
        {"id": "b", "prediction_text": "in Rome", "no_answer_probability": 0.6},
        {"id": "c", "prediction_text": "dog", "no_answer_probability": 0.4},
        {"id": "d", "prediction_text": "", "no_answer_probability": 0.9},
    ],
    "references": [
        {"id": "d", "answers": answers()},
        {"id": "a", "answers": answers("the cat")},
        {"id": "b", "answers": answers("Paris")},
        {"id": "c", "answers": answers()},
    ],
}
RANKS = {"predictions": [[0.1, 0.9, 0.5], [0.5, 0.5, 0.2], [1.0, 1.0, 1.0, 1.0]], "references": [1, 0, 3]}
CONFIDENCES = {"predictions": [0.4, 0.5, 0.9, 0.7], "references": [0, 1, 1, 0]}

# metric -> rows, settings, and the same by a plain function
CASES: dict[str, tuple[dict, dict, Callable[..., Any]]] = {
    "accuracy": (CLASSES, {"normalize": False}, lambda **kw: {"accuracy": accuracy(**kw)}),
    "f1": (CLASSES, {"average": None}, lambda **kw: {"f1": precision_recall_f1(**kw)[2]}),
    "precision": (CLASSES, {"average": "macro"}, lambda **kw: {"precision": precision_recall_f1(**kw)[0]}),
    "recall": (CLASSES, {"average": "macro"}, lambda **kw: {"recall": precision_recall_f1(**kw)[1]}),
    "matthews_correlation": (CLASSES, {}, lambda **kw: {"matthews_correlation": matthews_correlation(**kw)}),
    "pearsonr": (NUMBERS, {}, lambda **kw: {"pearsonr": correlation("pearsonr", **kw)[0]}),
    "spearmanr": (NUMBERS, {}, lambda **kw: {"spearmanr": correlation("spearmanr", **kw)[0]}),
    "squad": (QUESTIONS, {"tokenization": "characters"}, squad),
    "squad_v2": (QUESTIONS_V2, {"no_answer_threshold": 0.3}, squad_v2),
    "rouge": (
        TEXTS,
        {"use_stemmer": True},
        lambda **kw: {name: float(row.mean()) for name, row in rouge_rows(**kw).items()},
    ),
    "bleu": (TEXTS, {"lowercase": True}, lambda **kw: bleu_figures(bleu_statistics(**kw).sum(axis=0))),
    "chrf": (
        TEXTS,
        {"char_order": 4, "word_order": 2, "beta": 1},
        lambda **kw: {
            "score": chrf_of(chrf_statistics(**kw).sum(axis=0), kw["beta"]),
            **{name: kw[name] for name in ("char_order", "word_order", "beta")},
        },
    ),
    "seqeval": (TAGS, {"mode": "strict", "scheme": "IOB2"}, seqeval_figures),
    "mean_reciprocal_rank": (RANKS, {}, lambda **kw: {"mean_reciprocal_rank": float(reciprocal_ranks(**kw).mean())}),
    "expected_calibration_error": (
        CONFIDENCES,
        {"n_bins": 2},
        lambda **kw: {"expected_calibration_error": expected_calibration_error(**kw)},
    ),
    "glue": (PAIRS, {}, lambda **kw: glue_figures("mrpc", **kw)),
    "super_glue": (CLASSES, {}, lambda **kw: super_glue_figures("cb", **kw)),
}
CONFIGS = {"glue": "mrpc", "super_glue": "cb"}  # of the metrics that need one


def is_plain(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(is_plain, value.values() if isinstance(value, dict) else value))
    return type(value) in (float, int)


def test_every_metric_is_the_same_by_evaluate_and_by_hand(monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a metric reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    names = metric_names()
    assert len(names) == 17
    assert names == sorted(CASES)
    for name in names:
        rows, settings, by_hand = CASES[name]
        expected = by_hand(**rows, **settings)
        module = importlib.import_module(f"pipelines.metrics.{name}.{name}")
        kinds = [value for value in vars(module).values() if isinstance(value, type)]
        (kind,) = (value for value in kinds if issubclass(value, evaluate.Metric))
        config = CONFIGS.get(name)
        for metric in (evaluate.load(str(FOLDER / name), config), load_metric(name, config), kind(config_name=config)):
            assert metric.name == name
            assert metric.description == module.__doc__
            found = metric.compute(**rows, **settings)
            assert found == expected, name
            assert is_plain(found), found
            for prediction, reference in zip(rows["predictions"], rows["references"], strict=True):
                metric.add(prediction=prediction, reference=reference)
            assert metric.compute(**settings) == expected, name
    assert capfd.readouterr() == ("", "")


def test_metrics_are_combined_by_evaluate() -> None:
    both = evaluate.combine([load_metric("accuracy"), load_metric("f1")])
    assert both.compute(predictions=[1, 0], references=[1, 1]) == {"accuracy": 0.5, "f1": 2 / 3}


def test_rows_are_kept_in_memory() -> None:
    metric = load_metric("accuracy")
    metric.add_batch(**CLASSES)
    assert not list(Path(evaluate.config.HF_METRICS_CACHE).rglob("*.arrow"))
    assert metric.compute() == {"accuracy": 0.5}


@pytest.mark.parametrize("kind", [list, tuple, np.int32, np.int64, np.float32, np.float64, "torch"])
def test_numbers_of_any_kind(kind: Any) -> None:
    import torch

    if kind == "torch":
        rows = {name: torch.tensor(values) for name, values in CLASSES.items()}
    else:
        make = kind if kind in (list, tuple) else lambda values: np.array(values, dtype=kind)
        rows = {name: make(values) for name, values in CLASSES.items()}
    assert load_metric("accuracy").compute(**rows) == {"accuracy": 0.5} == {"accuracy": accuracy(**rows)}


# ---------------------------------------------------------------- classes and numbers


def test_scores_of_classes_by_hand() -> None:
    predictions, references = [1, 1, 0, 1, 0, 2], [1, 0, 0, 1, 1, 2]
    assert accuracy(predictions, references) == 4 / 6
    assert accuracy(predictions, references, normalize=False) == 4.0
    assert accuracy(predictions, references, sample_weight=[1, 2, 1, 1, 2, 1]) == 4 / 8
    # class 0: 1 of 2 predicted, 1 of 2 found; class 1: 2 of 3 and 2 of 3; class 2: all
    f1s = [1 / 2, 2 / 3, 1.0]

    def f1(**settings: Any) -> Any:
        return precision_recall_f1(predictions, references, **settings)[2]

    assert f1(average=None) == pytest.approx(f1s)
    assert f1(average=None, labels=[2, 0]) == pytest.approx([1.0, 1 / 2])
    assert f1(average="macro") == pytest.approx(sum(f1s) / 3)
    assert f1(average="weighted") == pytest.approx((2 * f1s[0] + 3 * f1s[1] + f1s[2]) / 6)
    assert f1(average="micro") == pytest.approx(4 / 6)
    assert precision_recall_f1([1, 1, 0, 0], [1, 0, 1, 0], pos_label=0) == [0.5, 0.5, 0.5]
    assert precision_recall_f1([1, 1, 1, 0], [1, 0, 0, 0]) == pytest.approx([1 / 3, 1.0, 1 / 2])


def test_matthews_correlation_by_hand() -> None:
    # 3 true and 1 false positive, 2 true and 2 false negatives
    predictions, references = [1] * 4 + [0] * 4, [1, 1, 1, 0, 0, 0, 1, 1]
    expected = (3 * 2 - 1 * 2) / math.sqrt(4 * 5 * 3 * 4)
    assert matthews_correlation(predictions, references) == pytest.approx(expected)


def test_correlations_by_hand() -> None:
    predictions, references = [1.0, 2.0, 2.0, 7.0], [1.0, 3.0, 2.0, 4.0]
    # deviations (-2, -1, -1, 4) and (-1.5, 0.5, -0.5, 1.5)
    assert correlation("pearsonr", predictions, references)[0] == pytest.approx(9 / math.sqrt(22 * 5))
    # ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4: deviations (-1.5, 0, 0, 1.5) and (-1.5, 0.5, -0.5, 1.5)
    assert correlation("spearmanr", predictions, references)[0] == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    metric = load_metric("pearsonr")
    assert metric.compute(**NUMBERS, return_pvalue=True).keys() == {"pearsonr", "p-value"}
    assert load_metric("spearmanr").compute(**NUMBERS, return_pvalue=True).keys() == {"spearmanr", "spearmanr_pvalue"}


def test_where_a_figure_does_not_exist_it_has_the_value_that_is_stated() -> None:
    assert precision_recall_f1([0, 0], [0, 0]) == [0.0, 0.0, 0.0]
    assert precision_recall_f1([0, 1], [0, 2], average=None)[2] == [1.0, 0.0, 0.0]
    assert matthews_correlation([1, 1], [1, 1]) == matthews_correlation([1, 1], [0, 1]) == 0.0
    for kind in ("pearsonr", "spearmanr"):
        assert all(map(math.isnan, correlation(kind, [0.3, 0.3, 0.3], [1, 2, 3])))
        assert math.isfinite(correlation(kind, [1.0, 1.0, 1.0 + 1e-15], [1, 2, 3])[0])
    assert entity_scores([0, 0, 0]) == (0.0, 0.0, 0.0)
    assert entity_scores([0, 0, 0], zero_division=1) == (1.0, 1.0, 1.0)
    assert entity_scores([0, 0, 3], zero_division=1) == (1.0, 0.0, 0.0)
    assert token_f1("the", ["a"]) == 0.0
    assert exact_match("the", ["a"]) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_classes_and_numbers_are_those_of_scikit_learn_and_scipy(seed: int) -> None:
    draw = np.random.default_rng(seed)
    references = draw.integers(0, 2 + seed, 1_000)
    predictions = np.where(draw.random(1_000) < 0.6, references, draw.integers(0, 2 + seed, 1_000))
    weights = draw.random(1_000)
    assert accuracy(predictions, references) == np.mean(predictions == references)
    assert accuracy(predictions, references, sample_weight=weights) == pytest.approx(
        np.average(predictions == references, weights=weights)
    )
    for average in ("micro", "macro", "weighted", None, *(["binary"] if seed == 0 else [])):
        for place, name in enumerate(("precision", "recall", "f1")):
            expected = getattr(sklearn_metrics, f"{name}_score")
            for weight in (None, weights):
                found = precision_recall_f1(predictions, references, average=average, sample_weight=weight)[place]
                np.testing.assert_array_equal(
                    found, expected(references, predictions, average=average, sample_weight=weight)
                )
    assert matthews_correlation(predictions, references) == sklearn_metrics.matthews_corrcoef(references, predictions)
    if seed == 0:
        assert matthews_correlation(predictions, references) == pytest.approx(
            np.corrcoef(predictions, references)[0, 1]
        )
    scores = references + draw.normal(size=1_000)
    for kind in ("pearsonr", "spearmanr"):
        assert correlation(kind, scores, references) == tuple(getattr(stats, kind)(references, scores))
    ranks = [stats.rankdata(values) for values in (scores, references)]
    assert correlation("spearmanr", scores, references)[0] == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_reciprocal_ranks_by_hand() -> None:
    """First; behind the one it ties with; behind all three that it ties with."""
    assert reciprocal_ranks(**RANKS).tolist() == [1.0, 1 / 2, 1 / 4]
    assert reciprocal_ranks([[0.3, 0.2, 0.1], [-np.inf, 5.0]], [2, 0]).tolist() == [1 / 3, 1 / 2]


def test_expected_calibration_error_by_hand() -> None:
    # two bins: 0.4 and 0.5, of which one is right; 0.7 and 0.9, of which one is right
    expected = 2 / 4 * abs(1 / 2 - 0.45) + 2 / 4 * abs(1 / 2 - 0.8)
    assert expected_calibration_error(**CONFIDENCES, n_bins=2) == pytest.approx(expected)
    # 15 bins: each confidence stands alone, but 0.9 and 0.91 share (13/15, 14/15]
    found = expected_calibration_error([0.0, 0.9, 0.91, 1.0], [0, 1, 0, 0])
    assert found == pytest.approx((0 + abs(1 - 1.81) + 1) / 4)


@pytest.mark.parametrize("n_bins", [1, 2, 3, 7, 10, 15, 100])
def test_a_confidence_on_an_edge_is_in_the_bin_below(n_bins: int) -> None:
    for place in range(1, n_bins + 1):
        edge, inside = place / n_bins, (place - 0.5) / n_bins
        found = expected_calibration_error([edge, inside], [1, 0], n_bins)
        assert found == pytest.approx(abs(1 - edge - inside) / 2)


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The  Eiffel-Tower!", ["eiffeltower"]),
        ("A theme, an ANT and the-end", ["theme", "ant", "and", "theend"]),
        ("$2.50\u00a0(US)", ["250", "us"]),
        ("cat—the—dog", ["cat—", "—dog"]),
        ("the", []),
        ("《红楼梦》 曹雪芹", ["《红楼梦》", "曹雪芹"]),
    ],
)
def test_answers_as_words(text: str, tokens: list[str]) -> None:
    assert answer_tokens(text, "words") == tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("《红楼梦》,曹雪芹。", ["红", "楼", "梦", "曹", "雪", "芹"]),
        ("用GPU训练 BERT模型", ["用", "gpu", "训", "练", "bert", "模", "型"]),
        ("３．５亿、ＧＰＵ", ["3", "5", "亿", "gpu"]),
        ("人々、〇\u3000𠮷野家", ["人", "々", "〇", "𠮷", "野", "家"]),
        ("the cat's हिन्दी モデル", ["the", "cat", "s", "हिन्दी", "モデル"]),
        ("“……”——！？", []),
    ],
)
def test_answers_as_characters(text: str, tokens: list[str]) -> None:
    assert answer_tokens(text, "characters") == character_tokens(text) == tokens


def test_squad_by_hand() -> None:
    assert exact_match("the Cat!", ["dog", "a cat"]) == 1.0
    assert exact_match("cats", ["cat"]) == exact_match("", ["cat"]) == token_f1("", ["cat"]) == 0.0
    # big red cat / red cat sat: two of three both ways
    assert token_f1("the big red cat", ["a red cat sat"]) == pytest.approx(2 / 3)
    assert token_f1("the big red cat", ["dog", "big red"]) == pytest.approx(2 * (2 / 3) * 1 / (2 / 3 + 1))
    assert token_f1("cat cat", ["cat"]) == pytest.approx(2 * (1 / 2) * 1 / (1 / 2 + 1))
    assert squad(**QUESTIONS) == {"exact_match": 50.0, "f1": pytest.approx(100 * (1 + 2 / 3) / 2)}


def test_squad_of_chinese_by_hand() -> None:
    assert exact_match("曹雪芹。", ["《曹雪芹》"]) == 0.0
    assert exact_match("曹 雪芹。", ["《曹雪芹》"], "characters") == 1.0
    assert token_f1("作家曹雪芹", ["曹雪芹"]) == 0.0
    assert token_f1("作家曹雪芹", ["曹雪芹"], "characters") == pytest.approx(2 * (3 / 5) * 1 / (3 / 5 + 1))


def test_squad_v2_by_hand() -> None:
    """cat is right, in Rome has one word of none, dog should be nothing, and the empty answer is right."""
    found = squad_v2(**QUESTIONS_V2)
    assert found == {
        **{"exact": 50.0, "f1": 50.0, "total": 4},
        **{"HasAns_exact": 50.0, "HasAns_f1": 50.0, "HasAns_total": 2},
        **{"NoAns_exact": 50.0, "NoAns_f1": 50.0, "NoAns_total": 2},
        # nothing let through: 2 of 4; cat too: 3 of 4; dog too: 2 of 4
        **{"best_exact": 75.0, "best_exact_thresh": 0.1, "best_f1": 75.0, "best_f1_thresh": 0.1},
    }
    withheld = squad_v2(**QUESTIONS_V2, no_answer_threshold=0.4)
    assert (withheld["exact"], withheld["HasAns_exact"], withheld["NoAns_exact"]) == (50.0, 50.0, 50.0)
    withheld = squad_v2(**QUESTIONS_V2, no_answer_threshold=0.3)
    assert (withheld["exact"], withheld["HasAns_exact"], withheld["NoAns_exact"]) == (75.0, 50.0, 100.0)
    assert exact_and_f1("the", []) == exact_and_f1("", ["a"]) == (1.0, 1.0)
    assert exact_and_f1("cat", []) == exact_and_f1("", ["cat"]) == (0.0, 0.0)
    answered = {"predictions": QUESTIONS_V2["predictions"][:2], "references": QUESTIONS_V2["references"][1:3]}
    assert not any(name.startswith("NoAns") for name in squad_v2(**answered))


@pytest.mark.parametrize("seed", range(20))
def test_the_best_threshold_is_the_best_of_all_that_are_tried(seed: int) -> None:
    draw = random.Random(seed)
    words = ["red", "cat", "sat"]
    questions = [str(place) for place in range(30)]
    texts = {place: " ".join(draw.choices(words, k=draw.randint(0, 3))) for place in questions}
    gold = {place: [" ".join(draw.choices(words, k=2))] if draw.random() < 0.5 else [] for place in questions}
    none = {place: draw.random() for place in questions}
    rows = {
        "predictions": [
            {"id": place, "prediction_text": texts[place], "no_answer_probability": none[place]} for place in questions
        ],
        "references": [{"id": place, "answers": answers(*gold[place])} for place in questions],
    }
    found = squad_v2(**rows)
    for column, name in enumerate(("exact", "f1")):
        tried = {
            threshold: 100
            * np.mean(
                [
                    exact_and_f1(texts[place] if none[place] <= threshold else "", gold[place])[column]
                    for place in questions
                ]
            )
            for threshold in (0.0, *none.values())
        }
        assert found[f"best_{name}"] == pytest.approx(max(tried.values()))
        assert tried[found[f"best_{name}_thresh"]] == pytest.approx(max(tried.values()))
        at_best = squad_v2(**rows, no_answer_threshold=found[f"best_{name}_thresh"])
        assert at_best[name] == pytest.approx(found[f"best_{name}"])


# ---------------------------------------------------------------- texts


def test_rouge_by_hand() -> None:
    """The sentences of Lin (2004), sections 3.1 and 3.2."""
    reference = "police killed the gunman"
    rows = rouge_rows(["police kill the gunman", "the gunman kill police"], [reference] * 2)
    assert rows["rouge1"].tolist() == [3 / 4, 3 / 4]
    assert rows["rouge2"].tolist() == pytest.approx([1 / 3, 1 / 3])
    assert rows["rougeL"].tolist() == [3 / 4, 2 / 4]
    stemmed = rouge_rows(["police kill the gunman"], [reference], ["rougeL"], use_stemmer=True)
    assert stemmed == {"rougeL": np.array([1.0])}
    # w1 w2 w3 w5 are in one of the two lines in order, 4 of 5 and 4 of 10; in one line of ten only w1 w3 w5 are
    lines = ["w1 w3 w8 w9 w5\nw1 w2 w6 w7 w8", "w1 w3 w8 w9 w5 w1 w2 w6 w7 w8"]
    rows = rouge_rows(lines, ["w1 w2 w3 w4 w5"] * 2, ["rougeL", "rougeLsum"])
    union, whole = 2 * (4 / 5) * (4 / 10) / (4 / 5 + 4 / 10), 2 * (3 / 5) * (3 / 10) / (3 / 5 + 3 / 10)
    assert rows["rougeLsum"].tolist() == pytest.approx([union, whole])
    assert rows["rougeL"].tolist() == pytest.approx([whole, whole])


def test_rouge_of_several_references_is_the_best_and_the_aggregate_the_mean() -> None:
    rows = {"predictions": ["a b", "a b c d"], "references": [["x", "a b"], ["a", "b c"]]}
    found = load_metric("rouge").compute(**rows, rouge_types=["rouge1"], use_aggregator=False)
    assert found == {"rouge1": pytest.approx([1.0, 2 / 3])}
    assert load_metric("rouge").compute(**rows, rouge_types=["rouge1"]) == {"rouge1": pytest.approx(5 / 6)}


def test_rouge_of_chinese_by_hand() -> None:
    rows = {"predictions": ["今天下雨了。"], "references": ["今天没下雨"]}
    assert rouge_rows(**rows)["rouge1"].tolist() == [0.0]
    found = rouge_rows(**rows, tokenization="characters")
    assert found["rouge1"].tolist() == found["rougeL"].tolist() == pytest.approx([4 / 5])
    assert found["rouge2"].tolist() == pytest.approx([2 / 4])


def test_bleu_by_hand() -> None:
    # n-grams that match: 4 3 2 1 of 4 3 2 1, and 3 2 1 0 of 4 3 2 1; 8 tokens for 6 + 3
    rows = {"predictions": ["the cat sat on", "a dog ran away"], "references": ["the cat sat on the mat", "a dog ran"]}
    found = load_metric("bleu").compute(**rows)
    precisions, penalty = [7 / 8, 5 / 6, 3 / 4, 1 / 2], math.exp(1 - 9 / 8)
    assert found["score"] == pytest.approx(100 * penalty * math.prod(precisions) ** (1 / 4))
    assert found["precisions"] == pytest.approx([100 * precision for precision in precisions])
    assert (found["counts"], found["totals"]) == ([7, 5, 3, 1], [8, 6, 4, 2])
    assert (found["sys_len"], found["ref_len"]) == (8, 9)
    assert found["bp"] == pytest.approx(penalty)
    # no 4-gram of 1 matches: half a match, by exponential smoothing
    smoothed = bleu_of(bleu_statistics(["a dog ran away"], ["a dog ran"]).sum(axis=0))
    assert smoothed == pytest.approx(100 * (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** (1 / 4))
    assert bleu_of(bleu_statistics(["x y"], ["a b"])[0]) == bleu_of(bleu_statistics([""], ["a b"])[0]) == 0.0


def test_bleu_of_chinese_and_of_case() -> None:
    assert bleu_statistics(["今天下雨了"], ["今天下雨了"]).tolist() == [[1, 1, 1, 0, 0, 0, 1, 0, 0, 0]]
    for tokenize in ("zh", "char"):
        assert bleu_statistics(["今天下雨了"], ["今天下雨了"], tokenize).tolist() == [[5, 5, *[5, 4, 3, 2] * 2]]
    assert bleu_statistics(["The Cat"], ["the cat"])[0, 2] == 0
    assert bleu_statistics(["The Cat"], ["the cat"], lowercase=True)[0, 2] == 2


def test_chrf_by_hand() -> None:
    # a, b of a, b, c and ab of ab, bc: precisions 1 and 1, recalls 2/3 and 1/2
    found = load_metric("chrf").compute(predictions=["a b"], references=["abc"], char_order=2)
    recall = (2 / 3 + 1 / 2) / 2
    assert found == {
        "score": pytest.approx(100 * 5 * recall / (4 + recall)),
        "char_order": 2,
        "word_order": 0,
        "beta": 2,
    }
    assert chrf_statistics(["a b"], ["abc"], char_order=2).tolist() == [[2, 3, 2, 1, 2, 1]]


def corpus(seed: int, rows: int) -> tuple[list[str], list[list[str]]]:
    """Predictions, some of them empty, with one to three references."""
    draw = random.Random(seed)
    words = ["The", "cat", "sat", "on", "a", "mat", ",", "and", "ran", "away", "over", "the", "hills", ".", "今天"]

    def text(fewest: int) -> str:
        return " ".join(draw.choices(words, k=draw.randint(fewest, 12)))

    return [text(0) for _ in range(rows)], [[text(1) for _ in range(draw.randint(1, 3))] for _ in range(rows)]


@pytest.mark.parametrize("seed", range(3))
def test_sums_of_statistics_give_the_score_of_the_corpus_to_the_last_digit(seed: int) -> None:
    predictions, lists = corpus(seed, 200)
    padded = [[texts[place] if place < len(texts) else None for texts in lists] for place in range(3)]
    for tokenize in ("13a", "zh", "char", "intl", "none"):
        statistics = bleu_statistics(predictions, lists, tokenize)
        assert statistics.shape == (200, 10)
        expected = sacrebleu.corpus_bleu(predictions, padded, tokenize=tokenize)
        assert bleu_of(statistics.sum(axis=0)) == expected.score > 0
        assert bleu_figures(statistics.sum(axis=0))["precisions"] == expected.precisions
    for settings in ({}, {"word_order": 2}, {"char_order": 4, "beta": 1}):
        statistics = chrf_statistics(predictions, lists, **settings)
        expected = sacrebleu.corpus_chrf(predictions, padded, **settings)
        assert chrf_of(statistics.sum(axis=0), settings.get("beta", 2)) == expected.score > 0


# ---------------------------------------------------------------- tags


def chunks(tags: list[str]) -> set[tuple[str, int, int]]:
    """Entities as conlleval has them: what is not O begins one, unless it is an I- that goes on with the same type."""
    found, start = set(), 0
    while start < len(tags):
        end = start + 1
        if tags[start] != "O":
            kind = tags[start][2:]
            while end < len(tags) and tags[end] == f"I-{kind}":
                end += 1
            found.add((kind, start, end))
        start = end
    return found


def tagged(seed: int, rows: int, tags: list[str]) -> tuple[list[list[str]], list[list[str]]]:
    """Random rows of 0 to 12 tags, and the same with some tags changed."""
    draw = random.Random(seed)
    references = [draw.choices(tags, k=draw.randint(0, 12)) for _ in range(rows)]
    return [[tag if draw.random() < 0.7 else draw.choice(tags) for tag in row] for row in references], references


def test_seqeval_by_hand() -> None:
    # predicted: PER 0-1, LOC 3, LOC 1; in the references: PER 0-1, PER 0, LOC 1
    found = seqeval_figures(**TAGS)
    assert found == {
        "LOC": {"precision": 1 / 2, "recall": 1.0, "f1": pytest.approx(2 / 3), "number": 1},
        "PER": {"precision": 1.0, "recall": 1 / 2, "f1": pytest.approx(2 / 3), "number": 2},
        **{"overall_precision": 2 / 3, "overall_recall": 2 / 3, "overall_f1": pytest.approx(2 / 3)},
        "overall_accuracy": 4 / 6,
    }
    assert entity_counts(**TAGS).tolist() == [[1, 2, 1], [1, 1, 2]]
    # an I- after O is an entity to conlleval and none in strict IOB2
    assert entity_counts([["O", "I-A"]], [["O", "B-A"]]).tolist() == [[1, 1, 1]]
    assert entity_counts([["O", "I-A"]], [["O", "B-A"]], "IOB2").tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("seed", range(3))
def test_seqeval_is_conlleval(seed: int) -> None:
    predictions, references = tagged(seed, 300, ["O", "B-A", "I-A", "B-B", "I-B", "I-A-x"])
    invalid = sum(
        tag[0] == "I" and before[1:] != tag[1:]
        for row in predictions + references
        for before, tag in zip(["O", *row], row, strict=False)
    )
    assert invalid > 300
    pairs = [(chunks(one), chunks(other)) for one, other in zip(predictions, references, strict=True)]
    counts = entity_counts(predictions, references)
    assert counts.tolist() == [[len(one & other), len(one), len(other)] for one, other in pairs]
    found = seqeval_figures(predictions, references)
    right, predicted, gold = counts.sum(axis=0).tolist()
    assert found["overall_precision"] == right / predicted
    assert found["overall_recall"] == right / gold
    assert found["overall_f1"] == pytest.approx(2 * right / (predicted + gold))
    overall = ("overall_precision", "overall_recall", "overall_f1")
    assert entity_scores(counts.sum(axis=0)) == tuple(found[name] for name in overall)
    for kind in ("A", "B", "A-x"):
        right, predicted, gold = (
            sum(entity[0] == kind for row in rows for entity in row)
            for rows in ([one & other for one, other in pairs], [one for one, _ in pairs], [one for _, one in pairs])
        )
        assert found[kind]["f1"] == pytest.approx(2 * right / (predicted + gold))
        assert (found[kind]["precision"], found[kind]["recall"]) == (right / predicted, right / gold)
        assert found[kind]["number"] == gold
    assert len(found) == 3 + 4
    same = [
        one == other for pair in zip(predictions, references, strict=True) for one, other in zip(*pair, strict=True)
    ]
    assert found["overall_accuracy"] == np.mean(same)


SCHEMES = {None: None, "IOB1": IOB1, "IOB2": IOB2, "IOE1": IOE1, "IOE2": IOE2, "IOBES": IOBES, "BILOU": BILOU}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_seqeval_is_the_library_in_every_scheme(scheme: str | None) -> None:
    prefixes = {"IOB1": "BI", "IOB2": "BI", "IOE1": "IE", "IOE2": "IE", "BILOU": "BILU"}.get(scheme, "BIES")
    tags = ["O", *(f"{prefix}-{kind}" for prefix in prefixes for kind in ("A", "B"))]
    predictions, references = tagged(7, 200, tags)
    mode = "strict" if scheme else None
    found = seqeval_figures(predictions, references, scheme, mode)
    settings = {"mode": mode, "scheme": SCHEMES[scheme], "zero_division": 0}
    report = sequence_labeling.classification_report(references, predictions, output_dict=True, **settings)
    for kind in ("A", "B"):
        assert found[kind] == {
            name.replace("support", "number").replace("f1-score", "f1"): value for name, value in report[kind].items()
        }
        assert found[kind]["number"] > 50
    for name in ("precision", "recall", "f1"):
        expected = getattr(sequence_labeling, f"{name}_score")(references, predictions, **settings)
        assert found[f"overall_{name}"] == pytest.approx(expected)
    assert found["overall_accuracy"] == sequence_labeling.accuracy_score(references, predictions)
    sums = entity_counts(predictions, references, scheme).sum(axis=0)
    assert entity_scores(sums) == (found["overall_precision"], found["overall_recall"], found["overall_f1"])


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize("name", CASES)
def test_lengths_that_differ(name: str) -> None:
    rows, settings, by_hand = CASES[name]
    short = {"predictions": rows["predictions"][:-1], "references": rows["references"]}
    with pytest.raises(DataError, match=r"There are \d predictions and \d references|have no prediction, such as '"):
        by_hand(**short, **settings)
    metric = load_metric(name, CONFIGS.get(name))
    with pytest.raises(ValueError, match=r"Mismatch in the number of predictions \(\d\) and references \(\d\)"):
        metric.compute(**short, **settings)
    assert metric.compute(**rows, **settings) == by_hand(**rows, **settings)  # the failure left nothing behind
    nothing = {"predictions": [], "references": []}
    with pytest.raises(DataError, match="needs at least"):
        by_hand(**nothing, **settings)


def text_rows(prediction: Any, reference: Any) -> dict[str, list]:
    return {"predictions": [prediction], "references": [reference]}


def question(text: Any, *gold: str, **more: Any) -> dict[str, list]:
    return text_rows({"id": "a", "prediction_text": text, **more}, {"id": "a", "answers": answers(*gold)})


MISTAKES: dict[str, tuple[str, dict, type[PlumblineError], str]] = {
    "probabilities for classes": ("accuracy", text_rows(0.7, 1), DataError, "row 0 is 0.7. Give the number"),
    "scores for classes": ("f1", text_rows([0.7, 0.3], 1), DataError, "one number per row; found an array of shape"),
    "names for classes": ("f1", text_rows("cat", 1), DataError, "the first row is 'cat'"),
    "nan": ("pearsonr", {"predictions": [1, math.nan], "references": [1, 2]}, DataError, "row 1 is nan"),
    "one row": ("spearmanr", text_rows(1, 1), DataError, "needs at least 2 rows; found 1"),
    "average": ("f1", text_rows(1, 1) | {"average": "marco"}, ConfigError, "Did you mean 'macro'?"),
    "three classes": ("f1", {"predictions": [0, 1, 2], "references": [0, 1, 2]}, DataError, "Target is multiclass"),
    "no answer": ("squad", question("x"), DataError, "The metric squad_v2"),
    "no text": ("squad", question(None, "x"), DataError, "row 0 is None"),
    "tokenization": ("squad", question("x", "x") | {"tokenization": "word"}, ConfigError, "Did you mean 'words'?"),
    "no probability": (
        "squad_v2",
        question("x", "x", no_answer_probability=None),
        DataError,
        "needs a no_answer_probability",
    ),
    "other id": (
        "squad_v2",
        {"predictions": [{"id": "x", "prediction_text": ""}], "references": [{"id": "y", "answers": answers()}]},
        DataError,
        "1 of 1 questions have no prediction, such as 'y'",
    ),
    "id twice": (
        "squad",
        {name: rows * 2 for name, rows in question("x", "x").items()},
        DataError,
        "2 predictions have 1 ids",
    ),
    "no reference": ("rouge", text_rows("x", []), DataError, "Row 0 has no reference"),
    "reference no text": ("chrf", text_rows("x", ["y", 3]), DataError, "The references of row 0 must be texts"),
    "rouge type": ("rouge", text_rows("x", "x") | {"rouge_types": ["rougel"]}, ConfigError, "Did you mean 'rougeL'?"),
    "stemmed characters": (
        "rouge",
        text_rows("x", "x") | {"use_stemmer": True, "tokenization": "characters"},
        ConfigError,
        "stems English words",
    ),
    "tokenize": ("bleu", text_rows("x", "x") | {"tokenize": "13b"}, ConfigError, "Did you mean '13a'?"),
    "lengths of a row": ("seqeval", text_rows(["O"], ["O", "O"]), DataError, "Row 0 has 1 predicted tags and 2"),
    "no tags": ("seqeval", text_rows([], []), DataError, "no tags"),
    "prefix": ("seqeval", text_rows(["U-A"], ["O"]), DataError, "Row 0 has the tag 'U-A'"),
    "empty tag": ("seqeval", text_rows([""], ["O"]), DataError, "Row 0 has the tag ''"),
    "prefix of another scheme": (
        "seqeval",
        text_rows(["E-A"], ["O"]) | {"scheme": "IOB2", "mode": "strict"},
        DataError,
        "one of B-, I- and a type in IOB2",
    ),
    "scheme without mode": ("seqeval", text_rows(["O"], ["O"]) | {"scheme": "IOB2"}, ConfigError, "give both"),
    "scheme": (
        "seqeval",
        text_rows(["O"], ["O"]) | {"scheme": "IOB3", "mode": "strict"},
        ConfigError,
        "Did you mean 'IOB2'?",
    ),
    "zero_division": ("seqeval", text_rows(["O"], ["O"]) | {"zero_division": "warn"}, ConfigError, "It can be 0, 1"),
    "no such candidate": ("mean_reciprocal_rank", text_rows([0.1, 0.2], 2), DataError, "candidate 2; the row has 2"),
    "nan score": ("mean_reciprocal_rank", text_rows([math.nan, 0.2], 1), DataError, "row 0 has a score that is no"),
    "confidence in percent": ("expected_calibration_error", text_rows(87.5, 1), DataError, "0 to 1; found 87.5"),
    "class for right": ("expected_calibration_error", text_rows(0.5, 2), DataError, "1 where the answer is right"),
    "three classes of two": ("glue", CLASSES, DataError, "Target is multiclass"),
    "scores for the classes of a task": ("super_glue", text_rows(0.7, 1), DataError, "row 0 is 0.7. Give the number"),
    "no bin": ("expected_calibration_error", text_rows(0.5, 1) | {"n_bins": 0}, ConfigError, "n_bins is 0"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_explained(mistake: str) -> None:
    name, inputs, kind, message = MISTAKES[mistake]
    by_hand = CASES[name][2]
    with pytest.raises(kind) as caught:
        by_hand(**inputs)
    assert message in str(caught.value)


def test_an_unknown_metric_and_its_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"no metric 'acuracy'\. Did you mean 'accuracy'\? Metrics: accuracy, bleu, .+ squad_v2"
    ):
        load_metric("acuracy")
    with pytest.raises(ConfigError, match=r"no metric '../accuracy'"):
        load_metric("../accuracy")


def test_an_unknown_config_and_its_nearest() -> None:
    with pytest.raises(ConfigError, match=r"config_name is 'mrcp'\. Did you mean 'mrpc'\? It can be 'sst2', .+ 'hans'"):
        load_metric("glue", "mrcp")
    with pytest.raises(ConfigError, match=r"config_name is 'default'\. It can be 'boolq', .+ 'axg'"):
        load_metric("super_glue")
    with pytest.raises(ConfigError, match=r"accuracy has no configs; config_name is 'mrpc'"):
        load_metric("accuracy", "mrpc")
    with pytest.raises(ConfigError, match=r"rows of multirc are no plain classes: use multirc_figures"):
        super_glue_figures("multirc", [1], [1])
