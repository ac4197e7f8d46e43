"""How sure a score is, and whether two differ: bootstrap intervals, paired bootstrap, McNemar's test.

Shape legend: R rows, G groups, S resamples.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Comparison:
    """A model beside a baseline, on the same rows.

    Attributes:
        baseline: its name.
        metric: what is compared; higher is better.
        model_score, baseline_score: the two figures.
        difference, low, high: of the figures, with the interval of CONFIDENCE by paired bootstrap.
        p_value: chance of so large a difference, or a larger one, if there were none.
        test: McNemar or paired bootstrap.
        verdict: better, worse or not distinguishable, of the model.
    """

    baseline: str
    metric: str
    model_score: float
    baseline_score: float
    difference: float
    low: float
    high: float
    p_value: float
    test: str
    verdict: str

    def as_dict(self) -> dict[str, Any]:
        """For analysis.json."""
        return asdict(self)

    def sentence(self) -> str:
        """For people."""
        return (
            f"{self.verdict} than {self.baseline} in {self.metric}"
            if self.verdict != "not distinguishable"
            else f"not distinguishable from {self.baseline} in {self.metric}"
        ) + f": {self.model_score:.4f} against {self.baseline_score:.4f} (p {self.p_value:.2g}, {self.test})"


class Resamples:
    """Bootstrap resamples of rows: whole groups are drawn, since rows of one group are not independent.

    Args:
        groups: the group of each row, such as its context.
        count: S.
        seed: of the draws. The same seed gives the same resamples, which is what makes comparisons paired.
    """

    def __init__(self, groups: Sequence[str], count: int, seed: int) -> None:
        names, group_R = np.unique(np.array(groups, dtype=object).astype(str), return_inverse=True)
        by_group = np.argsort(group_R, kind="stable")
        ends_G = np.cumsum(np.bincount(group_R, minlength=len(names)))
        self.rows_G = np.split(by_group, ends_G[:-1])
        # Those in their order if no group has two rows, else None.
        self.each_alone = by_group if len(names) == len(groups) else None
        self.count, self.seed = count, seed

    def __iter__(self) -> Any:
        generator = np.random.default_rng(self.seed)
        for _ in range(self.count):
            drawn = generator.integers(0, len(self.rows_G), len(self.rows_G))
            if self.each_alone is not None:
                yield self.each_alone[drawn]
            else:
                yield np.concatenate([self.rows_G[group] for group in drawn])


def interval(statistic: Callable[[np.ndarray], float], resamples: Resamples) -> tuple[float, float]:
    """Percentile bootstrap interval of CONFIDENCE (Efron and Tibshirani 1993, section 13.3)."""
    return _percentiles(np.array([statistic(rows) for rows in resamples]))


def compare(
    name: str,
    metric: str,
    model: Callable[[np.ndarray], float],
    baseline: Callable[[np.ndarray], float],
    correct: tuple[np.ndarray, np.ndarray] | None,
    rows: int,
    resamples: Resamples,
) -> Comparison:
    """Whether a model and a baseline differ on the same rows.

    Args:
        name: of the baseline.
        metric: what `model` and `baseline` give of row indices.
        model, baseline: row indices -> figure.
        correct: which rows each has right (R,), if the figure is their share: McNemar's test, where no two rows are of
            one group. Else the paired bootstrap (Efron and Tibshirani 1993, section 16.2; Koehn 2004).
        rows: R.
        resamples: of these rows.
    """
    every = np.arange(rows)
    scores = model(every), baseline(every)
    differences_S = np.array([model(drawn) - baseline(drawn) for drawn in resamples])
    low, high = _percentiles(differences_S)
    if correct is not None and resamples.each_alone is not None:
        test, p_value = "McNemar", mcnemar(*correct)
    else:
        test = "paired bootstrap"
        side = min(int((differences_S <= 0).sum()), int((differences_S >= 0).sum()))
        p_value = min(1.0, 2 * (side + 1) / (len(differences_S) + 1))
    difference = scores[0] - scores[1]
    verdict = "not distinguishable"
    if p_value < 1 - CONFIDENCE and difference != 0:
        verdict = "better" if difference > 0 else "worse"
    return Comparison(name, metric, *scores, difference, low, high, p_value, test, verdict)


def mcnemar(first_R: np.ndarray, second_R: np.ndarray) -> float:
    """Exact two-sided McNemar test of who is right on which rows (McNemar 1947; a binomial test of the discordant)."""
    from scipy.stats import binomtest

    only_first, only_second = int((first_R & ~second_R).sum()), int((~first_R & second_R).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)


def spread(figures: Sequence[float]) -> dict[str, float]:
    """Mean, standard deviation (n - 1) and the mean's interval of CONFIDENCE by Student's t, of repeated runs."""
    from scipy.stats import t

    mean, count = float(np.mean(figures)), len(figures)
    if count < 2:
        return {"mean": mean}
    deviation = float(np.std(figures, ddof=1))
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * deviation / math.sqrt(count)
    return {"mean": mean, "std": deviation, "ci_low": mean - half, "ci_high": mean + half}


def _percentiles(figures_S: np.ndarray) -> tuple[float, float]:
    low, high = np.nanpercentile(figures_S, [100 * (1 - CONFIDENCE) / 2, 100 * (1 + CONFIDENCE) / 2])
    return float(low), float(high)
