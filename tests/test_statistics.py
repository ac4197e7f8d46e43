"""How sure a score is: McNemar's test by hand, intervals that cover, comparisons that tell a difference from chance."""

import math

import numpy as np
import pytest

from pipelines.evaluation.analysis import calibration, single_label, slices, worst
from pipelines.evaluation.statistics import Resamples, compare, interval, mcnemar, spread


def mean_of(values: np.ndarray):
    return lambda rows: float(values[rows].mean())


def test_mcnemar_by_hand() -> None:
    """9 rows only the first has right, 1 only the second: two-sided, 2 * (C(10,0) + C(10,1)) / 2**10."""
    first = np.array([True] * 9 + [False] + [True] * 20 + [False] * 5)
    second = np.array([False] * 9 + [True] + [True] * 20 + [False] * 5)
    assert mcnemar(first, second) == pytest.approx(2 * (1 + 10) / 1024)
    assert mcnemar(first, first) == 1.0
    assert mcnemar(first, second) == mcnemar(second, first)


def test_an_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    draw, hits = np.random.default_rng(0), 0
    for trial in range(200):
        values = draw.binomial(1, 0.7, 120).astype(float)
        low, high = interval(mean_of(values), Resamples(list(map(str, range(120))), 400, trial))
        hits += low <= 0.7 <= high
    assert 180 <= hits <= 198


def test_rows_of_a_group_are_drawn_together() -> None:
    groups = [f"g{place // 5}" for place in range(50)]
    values = np.repeat(np.random.default_rng(1).random(10), 5)
    for rows in Resamples(groups, 20, 0):
        assert len(rows) == 50
        assert all(np.bincount(rows // 5, minlength=10) % 5 == 0)
    whole = np.subtract(*interval(mean_of(values), Resamples(groups, 500, 0))[::-1])
    alone = np.subtract(*interval(mean_of(values), Resamples(list(map(str, range(50))), 500, 0))[::-1])
    assert whole > 1.5 * alone  # fifty rows are not fifty independent ones


def test_comparisons() -> None:
    draw = np.random.default_rng(2)
    truth = draw.random(400)
    strong, weak = truth < 0.8, truth < 0.7
    resamples = Resamples(list(map(str, range(400))), 500, 0)

    def verdict(model: np.ndarray, baseline: np.ndarray, with_correct: bool) -> str:
        correct = (model, baseline) if with_correct else None
        found = compare("b", "accuracy", mean_of(model), mean_of(baseline), correct, 400, resamples)
        assert found.low <= found.difference <= found.high
        assert found.test == ("McNemar" if with_correct else "paired bootstrap")
        assert f"{found.model_score:.4f}" in found.sentence()
        return found.verdict

    for with_correct in (True, False):
        assert verdict(strong, weak, with_correct) == "better"
        assert verdict(weak, strong, with_correct) == "worse"
        assert verdict(strong, strong, with_correct) == "not distinguishable"
        noisy = strong.copy()
        noisy[:3] = ~noisy[:3]
        assert verdict(noisy, strong, with_correct) == "not distinguishable"


def test_rows_of_a_group_are_not_tested_as_if_they_were_alone() -> None:
    """McNemar's test takes rows for independent ones, so that two rows of one group are enough to rule it out."""
    right, other = np.arange(40) % 3 > 0, np.arange(40) % 5 > 0
    for groups, test in ((range(40), "McNemar"), ([0, 0, *range(38)], "paired bootstrap")):
        resamples = Resamples(list(map(str, groups)), 50, 0)
        found = compare("b", "accuracy", mean_of(right), mean_of(other), (right, other), 40, resamples)
        assert found.test == test
        assert (found.p_value == mcnemar(right, other)) == (test == "McNemar")


def test_chance_is_seldom_called_a_difference() -> None:
    draw, called = np.random.default_rng(3), 0
    resamples = Resamples(list(map(str, range(150))), 200, 0)
    for _ in range(100):
        one, other = draw.random((2, 150)) < 0.7
        called += (
            compare("b", "m", mean_of(one), mean_of(other), (one, other), 150, resamples).verdict
            != "not distinguishable"
        )
    assert called <= 8


def test_spread_by_hand() -> None:
    found = spread([0.8, 0.82, 0.84])
    assert found["mean"] == pytest.approx(0.82) and found["std"] == pytest.approx(0.02)
    half = 4.302652729911275 * 0.02 / math.sqrt(3)  # Student's t at 97.5 %, two degrees of freedom
    assert found["ci_low"] == pytest.approx(0.82 - half) and found["ci_high"] == pytest.approx(0.82 + half)
    assert spread([0.5]) == {"mean": 0.5}


def test_analysis_by_hand() -> None:
    said = [{"label": one, "probabilities": [1 - p, p]} for one, p in ((0, 0.05), (1, 0.95), (1, 0.65), (0, 0.35))]
    found = single_label(["no", "yes"], [0, 1, 0, 1], said)
    assert found["confusion"] == {"names": ["no", "yes"], "counts": [[1, 1], [1, 1]]}
    assert found["per_label"][0]["precision"] == 0.5 and found["per_label"][1]["rows"] == 2
    assert [(one["rows"], one["accuracy"]) for one in found["calibration"]] == [(2, 0.0), (2, 1.0)]
    bins = calibration(np.array([0.99, 1.0, 0.0]), np.array([True, False, False]))
    assert [one["rows"] for one in bins] == [1, 2]
    assert worst(np.array([0.3, 0.1, 0.2]), 2) == [1, 2] and worst(np.array([0.3, 0.1, 0.2]), 5) == [1, 2, 0]
    assert worst(np.array([0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.5]), 4) == [3, 0, 2, 5]  # not the first three of five
    lengths = np.arange(80)
    parts = slices(lengths, [{"label": "a" if place < 75 else "b"} for place in range(80)], mean_of(lengths / 80))
    assert [(one["kind"], one["rows"]) for one in parts] == [("length", 20)] * 4 + [("label", 75)]  # five are too few
    assert parts[0]["score"] < parts[3]["score"]
