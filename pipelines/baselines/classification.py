"""Baselines of classification and regression: shares of the classes, the mean, and linear models of TF-IDF features.

Shape legend: N rows, C classes.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipelines.baselines.features import CHARACTERS, Text, TextFeatures, characters
from pipelines.baselines.sampling import evenly_spread
from pipelines.errors import DataError

FloatArray = NDArray[np.float64]

# Strengths of the penalties (of C the inverse), chosen among a few, as the features were, on the evaluation splits of
# SST-2, CoLA, UCI sentences and Chinese reviews, and of CB, QNLI, RTE and STS-B: in favour of the baseline.
C_TEXTS, C_PAIRS, RIDGE_ALPHA = 3.0, 0.5, 3.0


def majority_probabilities(labels_N: ArrayLike, classes: int) -> FloatArray:
    """Share of each class in the training rows, (C,); with labels (N, C) of 0 and 1, share of the rows with each label.

    Raises:
        DataError: there is no row, or a label is not in [0, classes).
    """
    return _one_hot(labels_N, classes).mean(axis=0)


def mean_prediction(labels_N: ArrayLike) -> float:
    """Mean of the training rows: of all constants, the one with the least squared error."""
    return float(np.mean(np.asarray(labels_N, np.float64)))


class TfidfClassifier:
    """One logistic regression for each class against the others; probabilities of single-label rows sum to 1.

    Args:
        classes: number of classes C.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def fit(self, texts: Sequence[Text], labels_N: ArrayLike) -> "TfidfClassifier":
        """Fits texts, or pairs of texts, to labels.

        Args:
            texts: training texts, or (text, text_pair).
            labels_N: integers in [0, C), or, for rows with several labels, (N, C) of 0 and 1.

        Raises:
            DataError: there is no row, no text has a word, or a label is not as described.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        kept = evenly_spread(list(map(characters, texts)), CHARACTERS)
        self.single_label = np.ndim(labels_N) == 1
        labels_NC = _one_hot(labels_N, self.classes)[kept]
        self.features = TextFeatures()
        features = self.features.fit_transform([texts[row] for row in kept])
        self.shares_C = labels_NC.mean(axis=0)
        self.models = {}
        for column in np.flatnonzero((self.shares_C > 0) & (self.shares_C < 1)):
            if self.single_label and self.classes == 2 and column == 0:
                continue
            model = LogisticRegression(C=C_PAIRS if self.features.pairs else C_TEXTS, max_iter=1_000)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                self.models[column] = model.fit(features, labels_NC[:, column])
        return self

    def predict_proba(self, texts: Sequence[Text]) -> FloatArray:
        """Probability of each class, (N, C); a class that no training row or each of them has keeps its share."""
        if not len(texts):
            return np.zeros((0, self.classes))
        features = self.features.transform(texts)
        probability_NC = np.tile(self.shares_C, (len(texts), 1))
        for column, model in self.models.items():
            probability_NC[:, column] = model.predict_proba(features)[:, 1]
        if self.single_label and self.classes == 2 and self.models:
            probability_NC[:, 0] = 1 - probability_NC[:, 1]
        elif self.single_label:
            probability_NC /= probability_NC.sum(axis=1, keepdims=True)
        return probability_NC


class TfidfRegressor:
    """Ridge regression on the same features."""

    def fit(self, texts: Sequence[Text], labels_N: ArrayLike) -> "TfidfRegressor":
        """Fits texts, or pairs of texts, to numbers.

        Raises:
            DataError: no text has a word.
        """
        from sklearn.linear_model import Ridge

        kept = evenly_spread(list(map(characters, texts)), CHARACTERS)
        self.features = TextFeatures()
        features = self.features.fit_transform([texts[row] for row in kept])
        self.model = Ridge(alpha=RIDGE_ALPHA, solver="sparse_cg", tol=1e-5)
        self.model.fit(features, np.asarray(labels_N, np.float64)[kept])
        return self

    def predict(self, texts: Sequence[Text]) -> FloatArray:
        """The number of each row, (N,)."""
        return self.model.predict(self.features.transform(texts)) if len(texts) else np.zeros(0)


def _one_hot(labels_N: ArrayLike, classes: int) -> FloatArray:
    """Labels as (N, C) of 0 and 1."""
    labels = np.asarray(labels_N)
    if not len(labels):
        raise DataError("A baseline needs training rows, found none.")
    highest = 1 if labels.ndim == 2 else classes - 1
    if labels.min() < 0 or labels.max() > highest or (labels.ndim == 2 and labels.shape[1] != classes):
        raise DataError(
            f"Labels must be integers from 0 to {classes - 1}, or rows of {classes} zeros and ones; found shape "
            f"{labels.shape} with values from {labels.min()} to {labels.max()}."
        )
    return labels.astype(np.float64) if labels.ndim == 2 else np.eye(classes)[labels]
