"""Baselines of multiple choice: the commonest position, and a linear model of TF-IDF features of prompt and choice.

Shape legend: N rows, P positions, K choices of one row, F features, D pairs of a right and a wrong choice.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipelines.baselines.features import CHARACTERS, TextFeatures
from pipelines.baselines.sampling import evenly_spread
from pipelines.errors import DataError

FloatArray = NDArray[np.float64]

INVERSE_PENALTY = 0.5  # as classification has for pairs; half of it, since each difference stands in both directions


def position_shares(labels_N: ArrayLike) -> FloatArray:
    """Share of the training rows in which each position is right, (P,); the baseline picks the largest."""
    labels = np.asarray(labels_N)
    return np.bincount(labels) / len(labels)


class TfidfChooser:
    """Conditional logit (McFadden 1974): the softmax over a row's choices of a linear score of prompt and choice.

    Fitted on the differences between the right choice and each wrong one. Features: what the two share, words of the
    choice, and words that one of the two has and the other has not.
    """

    def fit(self, prompts: Sequence[str], choices: Sequence[Sequence[str]], labels_N: ArrayLike) -> "TfidfChooser":
        """Learns from rows.

        Args:
            prompts: what is asked, with what it is about.
            choices: of each row; their number may differ.
            labels_N: the position of the right one.

        Raises:
            DataError: no row has a wrong choice, or no text has a word.
        """
        from scipy import sparse
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        kept = evenly_spread(
            [len(prompt) + sum(map(len, row)) for prompt, row in zip(prompts, choices, strict=True)], CHARACTERS
        )
        labels = np.asarray(labels_N)[kept]
        right, wrong, first = [], [], 0
        for row, label in zip(kept, labels, strict=True):
            others = [first + place for place in range(len(choices[row])) if place != label]
            right += [first + label] * len(others)
            wrong += others
            first += len(choices[row])
        if not right:
            raise DataError(
                f"Multiple choice needs training rows with two choices or more, found none in {len(labels)}."
            )
        self.features = TextFeatures()
        features = self.features.fit_transform(_pairs([prompts[row] for row in kept], [choices[row] for row in kept]))
        differences_DF = features[right] - features[wrong]
        both = sparse.vstack([differences_DF, -differences_DF], "csr")
        model = LogisticRegression(C=INVERSE_PENALTY / 2, fit_intercept=False, max_iter=1_000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(both, np.repeat([1, 0], len(right)))
        self.weights_F = model.coef_[0]
        return self

    def predict_proba(self, prompts: Sequence[str], choices: Sequence[Sequence[str]]) -> list[FloatArray]:
        """Probability of each choice of each row, (K,) each."""
        from scipy.special import softmax

        if not any(map(len, choices)):
            return [np.zeros(0) for _ in choices]
        scores = self.features.transform(_pairs(prompts, choices)) @ self.weights_F
        return [softmax(part) for part in np.split(scores, np.cumsum([len(row) for row in choices])[:-1])]


def _pairs(prompts: Sequence[str], choices: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    return [(prompt, choice) for prompt, row in zip(prompts, choices, strict=True) for choice in row]
