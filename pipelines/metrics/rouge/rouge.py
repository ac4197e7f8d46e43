"""ROUGE of summaries (Lin 2004), by the library rouge_score, as a port of ROUGE-1.5.5.

The aggregate is the plain mean of the rows. The Hub's module of this name takes the middle of 1,000 random resamples
instead, which differs a little and from run to run.
"""

import re
from collections.abc import Sequence

import evaluate
import numpy as np
from datasets import List
from numpy.typing import NDArray
from rouge_score import rouge_scorer

from pipelines.errors import ConfigError, did_you_mean
from pipelines.metrics.info import TEXT, metric_info
from pipelines.metrics.text import character_tokens, is_characters, reference_lists

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


class CharacterTokenizer:
    """The tokenization `characters` in the shape that rouge_score wants."""

    def tokenize(self, text: str) -> list[str]:
        return character_tokens(text)


def rouge_rows(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    rouge_types: Sequence[str] | None = None,
    use_stemmer: bool = False,
    tokenization: str = "words",
) -> dict[str, NDArray[np.float64]]:
    """F-measures of every row by ROUGE type, 0 to 1, (R,) each.

    Args:
        predictions: summaries (R,).
        references: the reference of each, or a list of several, of which the nearest by each type counts.
        rouge_types: by default ROUGE_TYPES; `rouge1` to `rouge9` count runs of words, `rougeL` the longest common
            subsequence, `rougeLsum` that of sentences, which are lines: put a newline between sentences.
        use_stemmer: strips English endings, as in "cats".
        tokenization: `words`, the library's, which knows nothing but a-z and 0-9, so that a Chinese text has no token
            and scores 0; or `characters`, this project's choice for Chinese.

    Raises:
        DataError: see `reference_lists`.
        ConfigError: no such tokenization or type, or a stemmer of characters.
    """
    types = list(ROUGE_TYPES if rouge_types is None else rouge_types)
    for name in types:
        if not re.fullmatch("rouge([1-9]|L|Lsum)", name):
            near = did_you_mean(name, ROUGE_TYPES)
            raise ConfigError(f"rouge_types has {name!r}.{near} It can have rouge1 to rouge9, rougeL and rougeLsum.")
    tokenizer = CharacterTokenizer() if is_characters(tokenization) else None
    if tokenizer and use_stemmer:
        raise ConfigError("use_stemmer stems English words: it goes with tokenization 'words' alone.")
    scorer = rouge_scorer.RougeScorer(types, use_stemmer=use_stemmer, tokenizer=tokenizer)
    lists = reference_lists(predictions, references)
    rows = [scorer.score_multi(texts, prediction) for prediction, texts in zip(predictions, lists, strict=True)]
    return {name: np.array([float(row[name].fmeasure) for row in rows]) for name in types}


class Rouge(evaluate.Metric):
    """`rouge_rows` as an `evaluate` metric: their means, or the rows themselves with use_aggregator=False."""

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(__doc__, rouge_rows.__doc__, (TEXT, TEXT), (TEXT, List(TEXT)))

    def _compute(self, predictions, references, use_aggregator=True, **settings):
        rows = rouge_rows(predictions, references, **settings)
        return {name: float(row.mean()) if use_aggregator else row.tolist() for name, row in rows.items()}
