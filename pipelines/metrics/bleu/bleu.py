"""BLEU of a corpus of translations (Papineni et al. 2002), by sacrebleu, with its exponential smoothing.

The figures are those of the Hub's module `sacrebleu`, by its names; the Hub's `bleu` has others and does not smooth.
"""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np
from datasets import List
from numpy.typing import NDArray
from sacrebleu.metrics import BLEU

from pipelines.metrics.info import TEXT, metric_info
from pipelines.metrics.text import check_option, corpus_statistics

TOKENIZERS = ("13a", "zh", "char", "intl", "none")  # sacrebleu's that need no download and no other package


def bleu_statistics(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    tokenize: str = "13a",
    lowercase: bool = False,
) -> NDArray[np.int64]:
    """What BLEU is computed from, (R, 10), to be added up over rows.

    Args:
        predictions: translations (R,).
        references: the reference of each, or a list of several, not of the same number in all rows.
        tokenize: one of TOKENIZERS; `zh` or `char` for Chinese.
        lowercase: whether case is of no account.

    Returns:
        For each row: tokens of the prediction, tokens of the reference nearest in length, matching n-grams of orders 1
        to 4, n-grams of orders 1 to 4.

    Raises:
        DataError: see `reference_lists`.
        ConfigError: no such tokenizer.
    """
    check_option("tokenize", tokenize, TOKENIZERS)
    return corpus_statistics(BLEU(tokenize=tokenize, lowercase=lowercase, force=True), predictions, references)


def bleu_of(sums: NDArray[np.int64]) -> float:
    """BLEU, 0 to 100, from statistics added up, (10,)."""
    return bleu_figures(sums)["score"]


def bleu_figures(sums: NDArray[np.int64]) -> dict[str, Any]:
    """BLEU from statistics added up, (10,).

    Returns:
        score, 0 to 100; counts of matching n-grams and totals of n-grams for orders 1 to 4; precisions, percent; bp,
        the brevity penalty; sys_len and ref_len, tokens.
    """
    sys_len, ref_len, *counts = sums.tolist()
    found = BLEU.compute_bleu(counts[:4], counts[4:], sys_len, ref_len, smooth_method="exp")
    names = ("score", "counts", "totals", "precisions", "bp", "sys_len", "ref_len")
    return {name: getattr(found, name) for name in names}


class Bleu(evaluate.Metric):
    """`bleu_figures` as an `evaluate` metric."""

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(__doc__, bleu_statistics.__doc__, (TEXT, TEXT), (TEXT, List(TEXT)))

    def _compute(self, predictions, references, **settings):
        return bleu_figures(bleu_statistics(predictions, references, **settings).sum(axis=0))
