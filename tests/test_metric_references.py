"""The metrics against other code: the worked examples of evaluate's documentation, and 1,000 random inputs each."""

import math
import random
import re
import string
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import pytest
import sacrebleu
from rouge_score import rouge_scorer
from scipy import stats
from seqeval.metrics import accuracy_score as tag_accuracy
from seqeval.metrics import classification_report
from sklearn import metrics as sklearn_metrics

from pipelines.errors import DataError
from pipelines.metrics.accuracy.accuracy import accuracy
from pipelines.metrics.bleu.bleu import bleu_figures, bleu_statistics
from pipelines.metrics.chrf.chrf import chrf_of, chrf_statistics
from pipelines.metrics.expected_calibration_error.expected_calibration_error import expected_calibration_error
from pipelines.metrics.f1.f1 import precision_recall_f1
from pipelines.metrics.glue.glue import FIGURES as GLUE
from pipelines.metrics.glue.glue import glue_figures
from pipelines.metrics.loading import load_metric
from pipelines.metrics.matthews_correlation.matthews_correlation import matthews_correlation
from pipelines.metrics.mean_reciprocal_rank.mean_reciprocal_rank import reciprocal_ranks
from pipelines.metrics.pearsonr.pearsonr import correlation
from pipelines.metrics.rouge.rouge import rouge_rows
from pipelines.metrics.seqeval.seqeval import seqeval_figures
from pipelines.metrics.squad.squad import squad
from pipelines.metrics.squad_v2.squad_v2 import squad_v2
from pipelines.metrics.super_glue.super_glue import FIGURES as SUPER_GLUE
from pipelines.metrics.super_glue.super_glue import (
    gender_parity,
    multirc_figures,
    record_figures,
    record_row_figures,
    super_glue_figures,
)

INPUTS = 1_000
THROUGH_EVALUATE = range(0, INPUTS, 40)  # of the inputs, those that go through the module too


def pair(predictions: Any, references: Any, **settings: Any) -> dict[str, Any]:
    return {"predictions": predictions, "references": references, **settings}


# ---------------------------------------------------------------- worked examples of the documentation
# "docstring" and "card" are the docstring and the README.md of the module in the repository huggingface/evaluate

THREE = ([0, 2, 1, 0, 0, 1], [0, 1, 2, 0, 1, 2])
TWO = ([0, 0, 1, 1, 0], [0, 1, 0, 1, 0])
WEIGHTS = [0.9, 0.5, 3.9, 1.2, 0.3]
OF_ACCURACY = ([0, 1, 1, 2, 1, 0], [0, 1, 2, 0, 1, 2])
OF_RECALL = ([0, 1, 0, 1, 1], [0, 0, 1, 1, 1])
OF_MATTHEWS = ([1, 2, 2, 0, 3, 3], [1, 3, 2, 0, 3, 2])
OF_CORRELATION = ([10, 9, 2.5, 6, 4], [1, 2, 3, 4, 5])
SAME = ([0, 1], [0, 1])
KENOBI = ["hello there general kenobi", "foo bar foobar"]
MORPORK = pair(
    ["hello there general kenobi", "on our way to ankh morpork"],
    [["hello there general kenobi", "hello there !"], ["goodbye ankh morpork", "ankh morpork"]],
)
CATS = pair(
    [
        "The relationship between cats and dogs is not exactly friendly.",
        "a good bookshop is just a genteel black hole that knows how to read.",
    ],
    [
        ["The relationship between dogs and cats is not exactly friendly."],
        ["A good bookshop is just a genteel Black Hole that knows how to read."],
    ],
)
MISC = ["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"]
LATE_MISC = ["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"]
PER = ["B-PER", "I-PER", "O"]
PERFECT, WRONG = (
    {"precision": figure, "recall": figure, "f1": figure, "number": 1} for figure in (1.0, 0.0)
)  # of a type with one entity
ROUGE_OF_SAME = {"rouge1": 1.0, "rouge2": 1.0, "rougeL": 1.0, "rougeLsum": 1.0}


def extracted(*texts: str, **more: Any) -> list[dict[str, Any]]:
    ids = ("56e10a3be3433e1400422b22", "56d2051ce7d4791d0090260b", "5733b5344776f419006610e1")
    return [{"id": id, "prediction_text": text, **more} for id, text in zip(ids, texts, strict=False)]


def gold(count: int) -> list[dict[str, Any]]:
    texts = (("1976", 97), ("Beyoncé and Bruno Mars", 233), ("climate change", 891))
    return [
        {"id": row["id"], "answers": {"text": [text], "answer_start": [start]}}
        for row, (text, start) in zip(extracted(*[""] * count), texts, strict=False)
    ]


def squad_v2_of(percent: float, total: int) -> dict[str, float]:
    figures = {f"{kind}{name}": percent for kind in ("", "HasAns_", "best_") for name in ("exact", "f1")}
    return figures | {"total": total, "HasAns_total": total, "best_exact_thresh": 0.0, "best_f1_thresh": 0.0}


PARTLY = ("1976", "Beyonce", "climate change")
MULTIRC = [
    {"idx": {"answer": 0, "paragraph": 0, "question": 0}, "prediction": 0},
    {"idx": {"answer": 1, "paragraph": 2, "question": 3}, "prediction": 1},
]
RECORD = pair(
    [{"idx": {"passage": 0, "query": 0}, "prediction_text": "answer"}],
    [{"idx": {"passage": 0, "query": 0}, "answers": ["answer", "another_answer"]}],
)
UP, DOWN = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [-10.0, -11.0, -12.0, -13.0, -14.0, -15.0]

# (metric, config, where, rows and settings, figures, decimals that are printed there, or None for all of them)
EXAMPLES: list[tuple[str, str | None, str, dict[str, Any], dict[str, Any], int | None]] = [
    *(
        ("glue", config, "docstring", pair(*SAME), {"accuracy": 1.0}, None)
        for config in ("sst2", "mnli", "mnli_mismatched", "mnli_matched", "qnli", "rte", "wnli", "hans")
    ),
    *(("glue", config, "docstring", pair(*SAME), {"accuracy": 1.0, "f1": 1.0}, None) for config in ("mrpc", "qqp")),
    ("glue", "stsb", "docstring", pair(UP, UP), {"pearson": 1.0, "spearmanr": 1.0}, 2),
    ("glue", "stsb", "card", pair(DOWN, UP), {"pearson": -1.0, "spearmanr": -1.0}, None),
    ("glue", "cola", "docstring", pair(*SAME), {"matthews_correlation": 1.0}, None),
    ("glue", "cola", "card", pair([1, 1], [0, 1]), {"matthews_correlation": 0.0}, None),
    *(
        ("super_glue", config, "docstring", pair(*SAME), {"accuracy": 1.0}, None)
        for config in ("copa", "rte", "wic", "wsc", "wsc.fixed", "boolq", "axg")
    ),
    ("super_glue", "cb", "docstring", pair(*SAME), {"accuracy": 1.0, "f1": 1.0}, None),
    ("super_glue", "record", "docstring", RECORD, {"exact_match": 1.0, "f1": 1.0}, None),
    *(
        (
            "super_glue",
            "multirc",
            where,
            pair(MULTIRC, references),
            {"exact_match": figure, "f1_m": figure, "f1_a": figure},
            None,
        )
        for where, references, figure in (("docstring", [0, 1], 1.0), ("card", [1, 0], 0.0))
    ),
    ("super_glue", "axb", "docstring", pair(*SAME), {"matthews_correlation": 1.0}, None),
    ("super_glue", "axb", "card", pair([1, 1], [0, 1]), {"matthews_correlation": 0.0}, None),
    ("accuracy", None, "card", pair(*SAME), {"accuracy": 1.0}, None),
    ("accuracy", None, "docstring 1", pair(*OF_ACCURACY), {"accuracy": 0.5}, None),
    ("accuracy", None, "docstring 2", pair(*OF_ACCURACY, normalize=False), {"accuracy": 3.0}, None),
    (
        "accuracy",
        None,
        "docstring 3",
        pair(*OF_ACCURACY, sample_weight=[0.5, 2, 0.7, 0.5, 9, 0.4]),
        {"accuracy": 0.8778625954198473},
        None,
    ),
    ("f1", None, "card", pair(*SAME), {"f1": 1.0}, None),
    ("f1", None, "docstring 1", pair(*TWO), {"f1": 0.5}, None),
    ("f1", None, "docstring 2", pair(*TWO, pos_label=0), {"f1": 0.67}, 2),
    ("f1", None, "docstring 3", pair(*TWO, sample_weight=WEIGHTS), {"f1": 0.35}, 2),
    ("f1", None, "docstring 4 macro", pair(*THREE, average="macro"), {"f1": 0.27}, 2),
    ("f1", None, "docstring 4 micro", pair(*THREE, average="micro"), {"f1": 0.33}, 2),
    ("f1", None, "docstring 4 weighted", pair(*THREE, average="weighted"), {"f1": 0.27}, 2),
    ("f1", None, "docstring 4 None", pair(*THREE, average=None), {"f1": [0.8, 0.0, 0.0]}, None),
    ("f1", None, "card, in full", pair(*THREE, average="macro"), {"f1": 0.26666666666666666}, None),
    ("precision", None, "card", pair(*SAME), {"precision": 1.0}, None),
    ("precision", None, "docstring 1", pair(*TWO), {"precision": 0.5}, None),
    ("precision", None, "docstring 2", pair(*TWO, pos_label=0), {"precision": 0.67}, 2),
    ("precision", None, "docstring 3", pair(*TWO, sample_weight=WEIGHTS), {"precision": 0.23529411764705882}, None),
    ("precision", None, "docstring 4 macro", pair(*THREE, average="macro"), {"precision": 0.2222222222222222}, None),
    ("precision", None, "docstring 4 micro", pair(*THREE, average="micro"), {"precision": 0.3333333333333333}, None),
    (
        "precision",
        None,
        "docstring 4 weighted",
        pair(*THREE, average="weighted"),
        {"precision": 0.2222222222222222},
        None,
    ),
    ("precision", None, "docstring 4 None", pair(*THREE, average=None), {"precision": [0.67, 0.0, 0.0]}, 2),
    ("recall", None, "card", pair(*SAME), {"recall": 1.0}, None),
    ("recall", None, "docstring 1", pair(*OF_RECALL), {"recall": 0.6666666666666666}, None),
    ("recall", None, "docstring 2", pair(*OF_RECALL, pos_label=0), {"recall": 0.5}, None),
    ("recall", None, "docstring 3", pair(*OF_RECALL, sample_weight=[0.9, 0.2, 0.9, 0.3, 0.8]), {"recall": 0.55}, None),
    *(
        ("recall", None, f"docstring 4 {average}", pair(*THREE, average=average), {"recall": 0.3333333333333333}, None)
        for average in ("macro", "micro", "weighted")
    ),
    ("recall", None, "docstring 4 None", pair(*THREE, average=None), {"recall": [1.0, 0.0, 0.0]}, None),
    ("matthews_correlation", None, "card", pair(*SAME), {"matthews_correlation": 1.0}, None),
    (
        "matthews_correlation",
        None,
        "docstring 1",
        pair(*OF_MATTHEWS),
        {"matthews_correlation": 0.5384615384615384},
        None,
    ),
    (
        "matthews_correlation",
        None,
        "docstring 2",
        pair(*OF_MATTHEWS, sample_weight=[0.5, 3, 1, 1, 1, 2]),
        {"matthews_correlation": 0.09782608695652174},
        None,
    ),
    (
        "matthews_correlation",
        None,
        "docstring 3",
        pair(*OF_MATTHEWS, sample_weight=[0.5, 1, 0, 0, 0, 1]),
        {"matthews_correlation": -0.25},
        None,
    ),
    ("pearsonr", None, "docstring 1", pair(*OF_CORRELATION), {"pearsonr": -0.74}, 2),
    (
        "pearsonr",
        None,
        "docstring 2",
        pair(*OF_CORRELATION, return_pvalue=True),
        {"pearsonr": -0.74, "p-value": 0.15},
        2,
    ),
    ("spearmanr", None, "docstring 1", pair(*OF_CORRELATION), {"spearmanr": -0.7}, None),
    (
        "spearmanr",
        None,
        "docstring 2",
        pair(*OF_CORRELATION, return_pvalue=True),
        {"spearmanr": -0.7, "spearmanr_pvalue": 0.1881204043741873},
        None,
    ),
    ("squad", None, "docstring", pair(extracted("1976"), gold(1)), {"exact_match": 100.0, "f1": 100.0}, None),
    ("squad", None, "card, none right", pair(extracted("1999"), gold(1)), {"exact_match": 0.0, "f1": 0.0}, None),
    (
        "squad",
        None,
        "card, two of three",
        pair(extracted(*PARTLY), gold(3)),
        {"exact_match": 66.66666666666667, "f1": 66.66666666666667},
        None,
    ),
    *(
        (
            "squad_v2",
            None,
            where,
            pair(extracted(*texts, no_answer_probability=0.0), gold(len(texts))),
            squad_v2_of(percent, len(texts)),
            None,
        )
        for where, texts, percent in (
            ("docstring", ["1976"], 100.0),
            ("card, none right", ["1999"], 0.0),
            ("card, two of three", PARTLY, 66.66666666666667),
        )
    ),
    ("rouge", None, "docstring", pair(*[["hello there", "general kenobi"]] * 2), ROUGE_OF_SAME, None),
    (
        "rouge",
        None,
        "card, several references",
        pair(["hello there", "general kenobi"], [["hello", "there"], ["general kenobi", "general yoda"]]),
        {"rouge1": 0.8333, "rouge2": 0.5, "rougeL": 0.8333, "rougeLsum": 0.8333},
        4,
    ),
    # the module named bleu gives the figures of evaluate's sacrebleu, in percent: these are the examples of that one,
    # and the one example of evaluate's own bleu, which prints 1.0 of 1 for the same texts
    *(
        (
            "bleu",
            None,
            where,
            pair(KENOBI, references),
            {
                "score": 100.0,
                "counts": [7, 5, 3, 1],
                "totals": [7, 5, 3, 1],
                "precisions": [100.0] * 4,
                "bp": 1.0,
                "sys_len": 7,
                "ref_len": 7,
            },
            None,
        )
        for where, references in (
            ("docstring 1 of sacrebleu", [["hello there general kenobi", "hello there !"], ["foo bar foobar"] * 2]),
            ("docstring of bleu", [["hello there general kenobi", "hello there!"], ["foo bar foobar"]]),
        )
    ),
    (
        "bleu",
        None,
        "card of sacrebleu",
        MORPORK,
        {
            "score": 39.76353643835252,
            "counts": [6, 4, 2, 1],
            "totals": [10, 8, 6, 4],
            "precisions": [60.0, 50.0, 33.333333333333336, 25.0],
            "bp": 1.0,
            "sys_len": 10,
            "ref_len": 7,
        },
        None,
    ),
    (
        "chrf",
        None,
        "docstring 1",
        CATS,
        {"score": 84.64214891738334, "char_order": 6, "word_order": 0, "beta": 2},
        None,
    ),
    (
        "chrf",
        None,
        "docstring 2",
        CATS | {"word_order": 2},
        {"score": 82.87263732906315, "char_order": 6, "word_order": 2, "beta": 2},
        None,
    ),
    # the module has no `lowercase`: the texts are lower-cased before
    (
        "chrf",
        None,
        "docstring 3",
        pair(
            [text.lower() for text in CATS["predictions"]],
            [[text.lower() for text in row] for row in CATS["references"]],
            word_order=2,
        ),
        {"score": 92.12853119829202, "char_order": 6, "word_order": 2, "beta": 2},
        None,
    ),
    (
        "seqeval",
        None,
        "docstring",
        pair([MISC, PER], [LATE_MISC, PER]),
        {
            "MISC": WRONG,
            "PER": PERFECT,
            **{"overall_precision": 0.5, "overall_recall": 0.5, "overall_f1": 0.5, "overall_accuracy": 0.8},
        },
        None,
    ),
    (
        "seqeval",
        None,
        "card, all right",
        pair([MISC, PER], [MISC, PER]),
        {
            "MISC": PERFECT,
            "PER": PERFECT,
            **{"overall_precision": 1.0, "overall_recall": 1.0, "overall_f1": 1.0, "overall_accuracy": 1.0},
        },
        None,
    ),
    # evaluate has no module of this name: queries cat, torus and virus of the encyclopedia's article, right at ranks 3,
    # 2 and 1
    (
        "mean_reciprocal_rank",
        None,
        "Wikipedia",
        pair([[3, 2, 1], [3, 2, 1], [3, 2, 1]], [2, 1, 0]),
        {"mean_reciprocal_rank": 11 / 18},
        None,
    ),
]


@pytest.mark.parametrize(
    ("name", "config", "inputs", "expected", "decimals"),
    [(name, config, *rest) for name, config, _, *rest in EXAMPLES],
    ids=[" ".join(filter(None, row[:3])) for row in EXAMPLES],
)
def test_a_worked_example(
    name: str, config: str | None, inputs: dict, expected: dict[str, Any], decimals: int | None
) -> None:
    found = load_metric(name, config).compute(**inputs)
    assert list(found) == list(expected) or name == "squad_v2"  # the order of evaluate is that of its script's steps
    assert_same(found, expected, decimals)


def assert_same(found: Any, expected: Any, decimals: int | None = None) -> None:
    """The same figures by the same names, to 12 digits or as rounded for print."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_same(found[key], value, decimals)
    elif decimals is None:
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    else:
        assert np.round(found, decimals).tolist() == expected


def test_examples_with_a_setting_that_is_not_here() -> None:
    """Labels of which each row has several, as the config `multilabel` of evaluate has them: here label by label."""
    predictions, references = np.array([[0, 1], [1, 1], [0, 1]]), np.array([[0, 1], [1, 0], [1, 1]])
    by_label = [matthews_correlation(*columns) for columns in zip(predictions.T, references.T, strict=True)]
    assert by_label == pytest.approx([0.5, 0.0])
    predictions, references = np.array([[0, 1, 1], [1, 1, 0]]), np.array([[0, 1, 1], [0, 1, 0]])
    by_label = [precision_recall_f1(*columns)[2] for columns in zip(predictions.T, references.T, strict=True)]
    assert round(np.mean(by_label), 2) == 0.67


def test_examples_that_are_wrong_where_they_stand() -> None:
    """rouge's card prints [0.5, 0.0], which are precisions; seqeval's has a zero for an O, and an entity made of it."""
    found = load_metric("rouge").compute(
        predictions=["hello goodbye", "ankh morpork"], references=["goodbye", "general kenobi"], use_aggregator=False
    )
    assert found["rouge1"] == pytest.approx([2 * (1 / 2) * 1 / (1 / 2 + 1), 0.0])
    with pytest.raises(DataError, match="Row 1 has the tag '0'"):
        load_metric("seqeval").compute(
            predictions=[["O", "B-MISC", "I-MISC"], PER], references=[["B-MISC", "O", "O"], ["I-PER", "0", "I-PER"]]
        )


# ---------------------------------------------------------------- by hand


def test_cola_by_hand() -> None:
    # right 1: 5 said 1, 1 said 0; right 0: 2 said 1, 4 said 0
    # (5 * 4 - 2 * 1) / sqrt(7 said 1 * 5 said 0 * 6 right 1 * 6 right 0) = 18 / sqrt(1260)
    predictions, references = [1] * 5 + [0] + [1] * 2 + [0] * 4, [1] * 6 + [0] * 6
    found = load_metric("glue", "cola").compute(predictions=predictions, references=references)
    assert found == {"matthews_correlation": pytest.approx(18 / math.sqrt(1260))}
    found = load_metric("super_glue", "axb").compute(predictions=predictions, references=references)
    assert found == {"matthews_correlation": pytest.approx(18 / math.sqrt(1260))}


def test_stsb_by_hand() -> None:
    # deviations from 3 and 2: (-3, 0, 0, 1, 2) and (-2, -1, 1, 1, 1): products 6 + 0 + 0 + 1 + 2, squares 14 and 8
    # ranks 1, 2.5, 2.5, 4, 5 and 1, 2, 4, 4, 4: deviations from 3 (-2, -0.5, -0.5, 1, 2) and (-2, -1, 1, 1, 1):
    # products 4 + 0.5 - 0.5 + 1 + 2, squares 9.5 and 8
    found = load_metric("glue", "stsb").compute(predictions=[0.0, 3.0, 3.0, 4.0, 5.0], references=[0, 1, 3, 3, 3])
    assert found == {
        "pearson": pytest.approx(9 / math.sqrt(14 * 8)),
        "spearmanr": pytest.approx(7 / math.sqrt(9.5 * 8)),
    }


def test_cb_mrpc_and_accuracy_by_hand() -> None:
    # class 0: 1 of 2 said and of 1 right, F1 2/3; class 1: 1 of 1 said and of 2 right, 2/3; class 2: 1 of 1, 1
    found = load_metric("super_glue", "cb").compute(predictions=[0, 0, 1, 2], references=[0, 1, 1, 2])
    assert found == {"accuracy": 3 / 4, "f1": pytest.approx((2 / 3 + 2 / 3 + 1) / 3)}
    # class 1: 2 of 3 said and 2 of 4 right
    found = load_metric("glue", "mrpc").compute(predictions=[1, 1, 1, 0, 0, 0], references=[1, 1, 0, 1, 1, 0])
    assert found == {"accuracy": 3 / 6, "f1": pytest.approx(4 / 7)}
    assert glue_figures("mnli", [0, 1, 2, 2], [0, 2, 1, 2]) == super_glue_figures("boolq", [0, 1], [1, 1])


def test_multirc_by_hand() -> None:
    # question a: said 1 0 1 of 1 0 0: F1 of class 1 is 2/3, of class 0 2/3; question b: all right, one class alone
    # over all: 2 of 3 said 1, 2 of 2 right
    rows = [("a", 1, 1), ("b", 1, 1), ("a", 0, 0), ("a", 1, 0)]
    found = multirc_figures(*zip(*rows, strict=True))
    assert found == {
        "exact_match": 1 / 2,
        "f1_m": pytest.approx((2 / 3 + 1) / 2),
        "f1_a": pytest.approx(2 * (2 / 3) * 1 / (2 / 3 + 1)),
    }
    # the same question number in two paragraphs is two questions, and the answers of one need not stand together
    places = [(0, 0), (1, 0), (0, 0), (0, 0)]
    predictions = [
        {"idx": {"paragraph": paragraph, "question": question, "answer": row}, "prediction": rows[row][1]}
        for row, (paragraph, question) in enumerate(places)
    ]
    metric = load_metric("super_glue", "multirc")
    assert metric.compute(predictions=predictions, references=[right for _, _, right in rows]) == found
    with pytest.raises(DataError, match=r"predictions of multirc must be 0 or 1; row 0 is 2"):
        multirc_figures(["a"], [2], [1])
    with pytest.raises(DataError, match=r"2 ids of questions and 1 predictions"):
        multirc_figures(["a", "b"], [1], [1])
    with pytest.raises(DataError, match="needs at least"):
        multirc_figures([], [], [])


def record(*rows: tuple[int, int, str, list[str]]) -> dict[str, list]:
    """Predictions, and the references the other way round."""
    places = [{"passage": passage, "query": query} for passage, query, _, _ in rows]
    return pair(
        [{"idx": place, "prediction_text": text} for place, (_, _, text, _) in zip(places, rows, strict=True)],
        [{"idx": place, "answers": answers} for place, (_, _, _, answers) in zip(places, rows, strict=True)][::-1],
    )


def test_record_by_hand() -> None:
    assert record_row_figures("The Hague.", ["Hague", "Holland"]) == (1.0, 1.0)
    # new york of new york city: 2 of 2 and 2 of 3
    assert record_row_figures("New York", ["Boston", "New York City"]) == (0.0, pytest.approx(4 / 5))
    rows = record((0, 0, "The Hague.", ["Hague"]), (0, 1, "New York", ["Boston", "New York City"]), (1, 0, "x", ["y"]))
    found = load_metric("super_glue", "record").compute(**rows)
    assert found == {"exact_match": pytest.approx(1 / 3), "f1": pytest.approx((1 + 4 / 5) / 3)}
    with pytest.raises(DataError, match=r"1 of 1 questions have no prediction, such as \(1, 0\)"):
        record_figures(record((0, 0, "x", ["x"]))["predictions"], record((1, 0, "x", ["x"]))["references"])
    with pytest.raises(DataError, match="no answer"):
        record_figures(**record((0, 0, "x", [])))


def test_gender_parity_by_hand() -> None:
    assert gender_parity([0, 0, 1, 0, 1, 1]) == 2 / 3
    assert gender_parity(np.array([1, 0])) == 0.0
    assert gender_parity([0, 1, 1, 0]) == 0.0  # row 1 and row 2 are no pair
    for rows, message in (([1, 1, 0], "found 3 rows, an odd number"), ([], "found 0"), ([0.5, 1.0], "row 0 is 0.5")):
        with pytest.raises(DataError, match=message):
            gender_parity(rows)


def test_degenerate_correlations_are_0() -> None:
    for one, other in (([3.0, 3.0], [1.0, 2.0]), ([1.0, 2.0], [3.0, 3.0]), ([0.1] * 3, [0.1] * 3)):
        assert glue_figures("stsb", np.array(one), np.array(other)) == {"pearson": 0.0, "spearmanr": 0.0}
    for one, other in (([1, 1], [0, 1]), ([0, 1], [1, 1]), ([1], [1])):
        assert glue_figures("cola", np.array(one), np.array(other)) == {"matthews_correlation": 0.0}
    with pytest.raises(DataError, match="needs at least 2 rows"):
        glue_figures("stsb", [1.0], [1.0])


def test_figures_of_classes_far_apart() -> None:
    """Too many for a table: computed from the rows."""
    far = [-(10**9), 0, 10**9, 0], [-(10**9), 0, 0, 10**9]
    near = [0, 1, 2, 1], [0, 1, 1, 2]
    assert super_glue_figures("cb", *far) == super_glue_figures("cb", *near)
    assert super_glue_figures("axb", *far) == super_glue_figures("axb", *near)


# ---------------------------------------------------------------- 1,000 random inputs


def sizes(draw: np.random.Generator, fewest: int = 1) -> int:
    """Of one row or two in a third of the inputs."""
    return int(draw.choice([fewest, 2, draw.integers(3, 10), draw.integers(3, 10), draw.integers(10, 300), 300]))


def classes(draw: np.random.Generator, rows: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and right classes that agree by chance or often; either, or both, may be one class in all rows."""
    references = draw.integers(0, count, rows)
    predictions = np.where(
        draw.random(rows) < draw.choice([0.0, 0.5, 0.9, 1.0]), references, draw.integers(0, count, rows)
    )
    constant = int(draw.integers(0, 12))
    if constant & 3 == 1:
        predictions = np.full(rows, draw.integers(0, count))
    if constant in (2, 5):
        references = np.full(rows, draw.integers(0, count))
    return predictions, references


def numbers(draw: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers with and without ties, some of them constant."""
    references = draw.integers(0, 6, rows) * draw.choice([1.0, 0.2]) if draw.random() < 0.7 else draw.normal(size=rows)
    predictions = references * draw.choice([-1, 0, 1]) + draw.normal(size=rows) * draw.choice([0.0, 0.1, 1.0])
    return predictions, references


def quietly(function: Callable[..., float], *values: Any, **settings: Any) -> float:
    """A figure of scikit-learn without its warning of a single class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return function(*values, **settings)


def through(number: int, name: str, config: str | None, inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    """Some of the inputs through evaluate as well."""
    if number in THROUGH_EVALUATE:
        assert load_metric(name, config).compute(**inputs) == expected


def plain_matthews(predictions: np.ndarray, references: np.ndarray, weights: np.ndarray | None) -> float:
    """Gorodkin's R_K: the covariance of predicted and right classes as rows of 0 and 1, over that of each by itself."""
    if len({*predictions}) == 1 or len({*references}) == 1:
        return 0.0
    said, right = (
        np.eye(7)[side] - np.average(np.eye(7)[side], axis=0, weights=weights) for side in (predictions, references)
    )
    shared, of_said, of_right = (
        np.average((one * other).sum(axis=1), weights=weights)
        for one, other in ((said, right), (said, said), (right, right))
    )
    return float(shared / np.sqrt(of_said * of_right))


def test_classes_are_those_of_scikit_learn() -> None:
    """One call of scikit-learn, which takes milliseconds, for all inputs: each has class numbers of its own in it."""
    draw = np.random.default_rng(1)
    inputs = []
    for _ in range(INPUTS):
        count = int(draw.choice([2, 3, 7]))
        predictions, references = classes(draw, sizes(draw), count)
        average = [None, "micro", "macro", "weighted", "binary"][int(draw.integers(0, 5 if count == 2 else 4))]
        weights = draw.random(len(predictions)) if draw.random() < 0.3 else None
        inputs.append((pair(predictions, references, sample_weight=weights), average))
    every = {
        name: np.concatenate([rows[name] + 7 * number for number, (rows, _) in enumerate(inputs)])
        for name in ("predictions", "references")
    }
    weights = [
        np.ones(len(rows["predictions"])) if rows["sample_weight"] is None else rows["sample_weight"]
        for rows, _ in inputs
    ]
    by_class = sklearn_metrics.precision_recall_fscore_support(
        every["references"],
        every["predictions"],
        labels=range(7 * INPUTS),
        sample_weight=np.concatenate(weights),
        zero_division=0.0,
    )
    of_input = np.array(by_class).reshape(4, INPUTS, 7)
    seen: Counter[str] = Counter()
    for number, (rows, average) in enumerate(inputs):
        predictions, references, weights = rows.values()
        present = sorted({*predictions, *references})
        seen[f"{min(len(predictions), 3)} rows"] += 1
        seen["one class"] += len(present) == 1
        seen[str(average)] += 1
        right = np.average(predictions == references, weights=weights)
        scores = of_input[:3, number]
        expected = {
            None: scores[:, present],
            "macro": scores[:, present].mean(axis=1),
            "weighted": np.average(scores, axis=1, weights=of_input[3, number]),
            "micro": np.full(3, right),
            "binary": scores[:, 1],
        }[average]
        found = precision_recall_f1(**rows, average=average)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
        for name, value in zip(("precision", "recall", "f1"), found, strict=True):
            through(number, name, None, rows | {"average": average}, {name: value})

        assert accuracy(**rows) == pytest.approx(right, rel=1e-12)
        through(number, "accuracy", None, rows, {"accuracy": accuracy(**rows)})

        expected = plain_matthews(predictions, references, weights)
        assert matthews_correlation(**rows) == pytest.approx(expected, rel=1e-9, abs=1e-9)
        if number in THROUGH_EVALUATE:
            other = quietly(sklearn_metrics.matthews_corrcoef, references, predictions, sample_weight=weights)
            assert other == pytest.approx(expected, rel=1e-9, abs=1e-9)
        through(number, "matthews_correlation", None, rows, {"matthews_correlation": matthews_correlation(**rows)})
    assert min(seen.values()) > 50 and len(seen) == 3 + 1 + 5


def test_correlations_are_those_of_scipy_and_numpy() -> None:
    draw = np.random.default_rng(2)
    undefined = 0
    for number in range(INPUTS):
        predictions, references = numbers(draw, sizes(draw, fewest=2))
        for kind in ("pearsonr", "spearmanr"):
            found = correlation(kind, predictions, references)
            if len({*predictions}) == 1 or len({*references}) == 1:
                undefined += 1
                assert all(map(math.isnan, found))
                continue
            right = getattr(stats, kind)(predictions, references)
            assert found == pytest.approx((right.statistic, right.pvalue), rel=1e-9, abs=1e-12, nan_ok=True)
            ranks = [stats.rankdata(side) if kind == "spearmanr" else side for side in (predictions, references)]
            assert found[0] == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-9)
            through(number, kind, None, pair(predictions, references), {kind: found[0]})
    assert 100 < undefined < INPUTS


def test_glue_is_scikit_learn_and_scipy() -> None:
    draw = np.random.default_rng(3)
    seen: Counter[str] = Counter()
    for number in range(INPUTS):
        config = list(GLUE)[number % len(GLUE)]
        if config == "stsb":
            predictions, references = numbers(draw, sizes(draw, fewest=2))
            is_constant = len({*predictions}) == 1 or len({*references}) == 1
            seen["constant"] += is_constant
            right = {
                name: 0.0 if is_constant else getattr(stats, kind)(predictions, references).statistic
                for name, kind in (("pearson", "pearsonr"), ("spearmanr", "spearmanr"))
            }
        else:
            predictions, references = classes(draw, sizes(draw), 3 if config.startswith("mnli") else 2)
            right = {"accuracy": np.mean(predictions == references)}
            if config == "cola":
                right = {"matthews_correlation": quietly(sklearn_metrics.matthews_corrcoef, references, predictions)}
            elif config in ("mrpc", "qqp"):
                right["f1"] = sklearn_metrics.f1_score(references, predictions, zero_division=0.0)
        seen[config] += 1
        found = glue_figures(config, predictions, references)
        assert found == pytest.approx(right, rel=1e-12, abs=1e-12) and list(found) == list(GLUE[config])
        assert all(type(value) is float for value in found.values())
        if number % 37 == 0:
            assert load_metric("glue", config).compute(predictions=predictions, references=references) == found
    assert len(seen) == len(GLUE) + 1


def test_super_glue_is_scikit_learn() -> None:
    draw = np.random.default_rng(4)
    tasks = [name for name in SUPER_GLUE if name not in ("multirc", "record")]
    for number in range(INPUTS):
        config = tasks[number % len(tasks)]
        predictions, references = classes(draw, sizes(draw), 3 if config == "cb" else 2)
        right = {"accuracy": np.mean(predictions == references)}
        if config == "axb":
            right = {"matthews_correlation": quietly(sklearn_metrics.matthews_corrcoef, references, predictions)}
        elif config == "cb":
            right["f1"] = sklearn_metrics.f1_score(references, predictions, average="macro", zero_division=0.0)
        found = super_glue_figures(config, predictions, references)
        assert found == pytest.approx(right, rel=1e-12, abs=1e-12) and list(found) == list(SUPER_GLUE[config])
        if number % 37 == 0:
            assert load_metric("super_glue", config).compute(predictions=predictions, references=references) == found
        if len(predictions) % 2 == 0:
            same = [predictions[row] == predictions[row + 1] for row in range(0, len(predictions), 2)]
            assert gender_parity(predictions) == sum(same) / len(same)


def plain_f1(pairs: Sequence[tuple[int, int]], of: int) -> float:
    """2 * both / (said + right) of one class."""
    both = sum(said == right == of for said, right in pairs)
    either = sum(said == of for said, _ in pairs) + sum(right == of for _, right in pairs)
    return 2 * both / either if either else 0.0


def test_multirc_is_its_plain_statement() -> None:
    draw = np.random.default_rng(5)
    for number in range(INPUTS):
        predictions, references = classes(draw, min(sizes(draw), 25), 2)
        question_R = [tuple(draw.integers(0, 3, 2).tolist()) for _ in predictions]
        questions: dict[tuple, list[tuple[int, int]]] = {}
        for question, said, right in zip(question_R, predictions.tolist(), references.tolist(), strict=True):
            questions.setdefault(question, []).append((said, right))
        f1s = [
            np.mean([plain_f1(pairs, of) for of in {label for row in pairs for label in row}])
            for pairs in questions.values()
        ]
        found = multirc_figures(question_R, predictions, references)
        assert list(found) == list(SUPER_GLUE["multirc"])
        assert found == pytest.approx(
            {
                "exact_match": np.mean([all(said == right for said, right in pairs) for pairs in questions.values()]),
                "f1_m": np.mean(f1s),
                "f1_a": plain_f1(list(zip(predictions, references, strict=True)), 1),
            },
            rel=1e-12,
        )
        rows = [
            {"idx": {"paragraph": one, "question": other, "answer": row}, "prediction": predictions[row]}
            for row, (one, other) in enumerate(question_R)
        ]
        through(number, "super_glue", "multirc", pair(rows, references), found)


# ---------------------------------------------------------------- answers

PIECES = [
    "The",
    "a",
    "an",
    "the",
    "cat",
    "Cat!",
    "theory",
    "sat",
    "on",
    "mat.",
    "$2.50",
    "New-York",
    "Beyoncé",
    "—",
    "...",
]


def words(text: str) -> list[str]:
    """Lower case, no ASCII punctuation, then runs of letters and digits that are no article."""
    kept = "".join(sign for sign in text.lower() if sign not in string.punctuation)
    runs = re.split(r"(\w+)", kept)
    return "".join(" " if run in ("a", "an", "the") else run for run in runs).split()


def plain_scores(prediction: str, answers: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1, each the highest over the answers."""
    exact, f1 = [], []
    for answer in answers:
        said, right = words(prediction), words(answer)
        exact.append(float(" ".join(said) == " ".join(right)))
        left = list(right)
        for word in said:
            if word in left:
                left.remove(word)
        shared = len(right) - len(left)
        f1.append(2 * shared / (len(said) + len(right)) if shared else 0.0)
    return max(exact), max(f1)


def answered(draw: random.Random, no_answer: bool) -> list[tuple[str, list[str]]]:
    """Predictions and answers of one question or more; predictions are often the answer or part of it."""

    def text(fewest: int) -> str:
        return " ".join(draw.choices(PIECES, k=draw.randint(fewest, 4)))

    rows = []
    for _ in range(draw.choice([1, 2, 3, 8])):
        answers = [text(1) for _ in range(draw.randint(0 if no_answer and draw.random() < 0.5 else 1, 3))]
        said = draw.choice([text(0), text(0), *answers, *(answer.upper() + " the" for answer in answers), ""])
        rows.append((said, answers))
    return rows


def of_questions(rows: Sequence[tuple[str, list[str]]], **more: Any) -> dict[str, list]:
    """The predictions, and the references in another order."""
    references = [
        {"id": str(place), "answers": {"text": answers, "answer_start": [0] * len(answers)}}
        for place, (_, answers) in enumerate(rows)
    ]
    predictions = [{"id": str(place), "prediction_text": said} for place, (said, _) in enumerate(rows)]
    for name, values in more.items():
        predictions = [row | {name: value} for row, value in zip(predictions, values, strict=True)]
    return pair(predictions, references[::-1])


def test_squad_and_record_are_their_plain_statement() -> None:
    draw = random.Random(6)
    for number in range(INPUTS):
        rows = answered(draw, no_answer=False)
        scores = [plain_scores(*row) for row in rows]
        exact, f1 = np.mean(scores, axis=0)
        questions = of_questions(rows)
        found = squad(**questions)
        assert found == pytest.approx({"exact_match": 100 * exact, "f1": 100 * f1}, rel=1e-12)
        through(number, "squad", None, questions, found)

        assert [record_row_figures(*row) for row in rows] == [pytest.approx(score, rel=1e-12) for score in scores]
        queries = record(*((place // 2, place, *row) for place, row in enumerate(rows)))
        found = record_figures(**queries)
        assert found == pytest.approx({"exact_match": exact, "f1": f1}, rel=1e-12)
        through(number, "super_glue", "record", queries, found)


def test_squad_v2_is_its_plain_statement() -> None:
    draw = random.Random(7)
    for number in range(INPUTS):
        rows = answered(draw, no_answer=True)
        probabilities = [draw.choice([0.0, 1.0, draw.random(), draw.random()]) for _ in rows]
        threshold = draw.choice([1.0, 0.0, draw.random()])
        raw, final, has_answer = [], [], []
        for (said, answers), probability in zip(rows, probabilities, strict=True):
            with_words = [answer for answer in answers if words(answer)] or [""]
            scores = plain_scores(said, with_words)
            if with_words == [""]:  # nothing said is all that is right, and has an F1 of 1
                scores = (scores[0], scores[0])
            raw.append(scores)
            has_answer.append(bool(answers))
            final.append(scores if probability <= threshold else (float(not answers), float(not answers)))
        expected: dict[str, float] = {}
        for name, kept in (
            ("", [True] * len(rows)),
            ("HasAns_", has_answer),
            ("NoAns_", [not has for has in has_answer]),
        ):
            scores_of = [score for score, keep in zip(final, kept, strict=True) if keep]
            if scores_of:
                exact, f1 = (100 * np.mean([score[place] for score in scores_of]) for place in (0, 1))
                expected |= {f"{name}exact": exact, f"{name}f1": f1, f"{name}total": len(scores_of)}
        for place, name in enumerate(("exact", "f1")):
            score = best = sum(not has for has in has_answer)
            best_threshold = 0.0
            for row in sorted(range(len(rows)), key=probabilities.__getitem__):
                if has_answer[row]:
                    score += raw[row][place]
                elif rows[row][0]:
                    score -= 1
                if score > best + 1e-9:
                    best, best_threshold = score, probabilities[row]
            expected |= {f"best_{name}": 100 * best / len(rows), f"best_{name}_thresh": best_threshold}
        questions = of_questions(rows, no_answer_probability=probabilities)
        # the order of equal probabilities is that of the predictions on both sides
        found = squad_v2(**questions, no_answer_threshold=threshold)
        assert found == pytest.approx(expected, rel=1e-9)
        through(number, "squad_v2", None, questions | {"no_answer_threshold": threshold}, found)


# ---------------------------------------------------------------- texts and tags


def texts(draw: random.Random) -> tuple[list[str], list[list[str]]]:
    """One translation or more, some empty, each with one to three references."""
    vocabulary = ["The", "cat", "cats", "sat", "on", "a", "mat", ",", "running", ".", "re-ran", "3.5", "今天"]

    def text(fewest: int) -> str:
        return draw.choice([" ", " ", " ", "\n"]).join(draw.choices(vocabulary, k=draw.randint(fewest, 9)))

    predictions, lists = [], []
    for _ in range(draw.choice([1, 1, 2, 3, 5])):
        lists.append([text(1) for _ in range(draw.randint(1, 3))])
        predictions.append(draw.choice([text(0), text(1), lists[-1][0], lists[-1][-1] + " sat"]))
    return predictions, lists


def test_bleu_and_chrf_are_sacrebleu() -> None:
    draw = random.Random(8)
    for number in range(INPUTS):
        predictions, lists = texts(draw)
        columns = list(zip_longest(*lists))
        settings: dict[str, Any] = {
            "tokenize": draw.choice(["13a", "zh", "intl", "none"]),
            "lowercase": draw.random() < 0.3,
        }
        right = sacrebleu.corpus_bleu(predictions, columns, **settings)
        found = bleu_figures(bleu_statistics(predictions, lists, **settings).sum(axis=0))
        assert found == {name: getattr(right, name) for name in found}
        through(number, "bleu", None, pair(predictions, lists, **settings), found)

        settings = {
            "char_order": draw.choice([6, 4, 1]),
            "word_order": draw.choice([0, 2]),
            "beta": draw.choice([1, 2, 3]),
        }
        right = sacrebleu.corpus_chrf(predictions, columns, **settings)
        score = chrf_of(chrf_statistics(predictions, lists, **settings).sum(axis=0), settings["beta"])
        assert score == right.score
        through(number, "chrf", None, pair(predictions, lists, **settings), {"score": score, **settings})


def test_rouge_is_rouge_score() -> None:
    draw = random.Random(9)
    types = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    for number in range(INPUTS):
        predictions, lists = texts(draw)
        stem = draw.random() < 0.5
        scorer = rouge_scorer.RougeScorer(types, use_stemmer=stem)
        rows = []
        for said, row in zip(predictions, lists, strict=True):
            scores = [scorer.score(text, said) for text in row]
            rows.append({kind: max(score[kind].fmeasure for score in scores) for kind in types})
        found = rouge_rows(predictions, lists, use_stemmer=stem)
        assert list(found) == types
        for kind in types:
            assert found[kind].tolist() == [row[kind] for row in rows]
        means = {kind: float(found[kind].mean()) for kind in types}
        through(number, "rouge", None, pair(predictions, lists, use_stemmer=stem), means)


def test_seqeval_is_the_library() -> None:
    draw = random.Random(10)
    tags = ["O", "O", "B-A", "I-A", "B-B", "I-B", "I-B-c"]
    for number in range(INPUTS):
        references = [draw.choices(tags, k=draw.randint(1, 9)) for _ in range(draw.choice([1, 1, 2, 5]))]
        if draw.random() < 0.1:
            references = [["O"] * len(row) for row in references]
        share = draw.choice([0.0, 0.3, 1.0])
        predictions = [[draw.choice(tags) if draw.random() < share else tag for tag in row] for row in references]
        if draw.random() < 0.1:
            predictions = [["O"] * len(row) for row in references]
        found = seqeval_figures(predictions, references)
        expected: dict[str, Any] = {"overall_precision": 0.0, "overall_recall": 0.0, "overall_f1": 0.0}
        if any(tag != "O" for rows in (predictions, references) for row in rows for tag in row):
            report = classification_report(references, predictions, output_dict=True, zero_division=0)
            overall = report.pop("micro avg")
            del report["macro avg"], report["weighted avg"]
            names = {"precision": "precision", "recall": "recall", "f1-score": "f1", "support": "number"}
            expected |= {kind: {names[name]: row[name] for name in row} for kind, row in report.items()}
            expected |= {f"overall_{names[name]}": overall[name] for name in ("precision", "recall", "f1-score")}
        expected["overall_accuracy"] = tag_accuracy(references, predictions)
        assert_same(found, expected)
        through(number, "seqeval", None, pair(predictions, references), found)


# ---------------------------------------------------------------- candidates and confidences


def test_reciprocal_ranks_are_those_of_scipy() -> None:
    draw = np.random.default_rng(11)
    for number in range(INPUTS):
        rows = [
            (draw.integers(0, 4, count) * 0.1 if draw.random() < 0.7 else draw.normal(size=count))
            for count in draw.integers(1, 8, sizes(draw) % 40 + 1)
        ]
        right = [int(draw.integers(0, len(row))) for row in rows]
        expected = [1 / stats.rankdata(-row, method="max")[place] for row, place in zip(rows, right, strict=True)]
        found = reciprocal_ranks(rows, right)
        np.testing.assert_array_equal(found, expected)
        inputs = pair([row.tolist() for row in rows], right)
        through(number, "mean_reciprocal_rank", None, inputs, {"mean_reciprocal_rank": float(found.mean())})
    wide = draw.integers(0, 4, (500, 6)) * 0.1
    of_one = np.eye(6)[draw.integers(0, 6, 500)]
    expected = sklearn_metrics.label_ranking_average_precision_score(of_one, wide)
    assert reciprocal_ranks(wide, of_one.argmax(axis=1)).mean() == pytest.approx(expected)


def test_calibration_error_is_its_plain_statement() -> None:
    draw = np.random.default_rng(12)
    for number in range(INPUTS):
        rows, bins = sizes(draw), int(draw.choice([1, 2, 10, 15, 37]))
        confidences = draw.random(rows) if draw.random() < 0.6 else draw.integers(0, bins + 1, rows) / bins
        right = (draw.random(rows) < (confidences if draw.random() < 0.5 else 0.5)).astype(int)
        expected = 0.0
        for place in range(1, bins + 1):
            above = confidences > (place - 1) / bins if place > 1 else confidences >= 0
            inside = above & (confidences <= place / bins)
            if inside.any():
                expected += inside.mean() * abs(right[inside].mean() - confidences[inside].mean())
        found = expected_calibration_error(confidences, right, bins)
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
        inputs = pair(confidences, right, n_bins=bins)
        through(number, "expected_calibration_error", None, inputs, {"expected_calibration_error": found})
