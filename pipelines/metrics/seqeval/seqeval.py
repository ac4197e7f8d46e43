"""Precision, recall and F1 of entities in tagged sequences, by seqeval's reading of tags.

Without a mode it is that of the CoNLL-2000 script conlleval, which makes entities of wrong sequences too: after O or
another type, an I- begins one. An entity is right if its type, first and last token are.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import evaluate
import numpy as np
import seqeval.scheme
from datasets import List
from numpy.typing import NDArray
from seqeval.metrics.sequence_labeling import get_entities

from pipelines.errors import ConfigError, DataError
from pipelines.metrics.info import TEXT, metric_info
from pipelines.metrics.inputs import check_rows
from pipelines.metrics.text import check_option

PREFIXES = {None: "BIES", "IOB1": "BI", "IOB2": "BI", "IOE1": "IE", "IOE2": "IE", "IOBES": "BIES", "BILOU": "BILU"}

Entities = set[tuple[str, int, int]]


def entity_counts(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], scheme: str | None = None
) -> NDArray[np.int64]:
    """Entities that are right, predicted and in the references of every row, (R, 3), to be added up over rows.

    Args:
        predictions: tags of each row, such as `B-PER` or `O`.
        references: the right ones.
        scheme: None reads tags as conlleval does; a key of PREFIXES takes strictly what is an entity in that scheme.

    Raises:
        DataError: lengths differ, there are no rows, or a tag is none of the scheme.
        ConfigError: no such scheme.
    """
    pairs = _entities(predictions, references, scheme)
    return np.array([(len(predicted & gold), len(predicted), len(gold)) for predicted, gold in pairs])


def entity_scores(counts: Sequence[int], zero_division: float = 0.0) -> tuple[float, float, float]:
    """Precision, recall and F1, 0 to 1, from right, predicted and reference entities, (3,).

    Args:
        counts: of entities.
        zero_division: precision without a predicted entity, and recall without one in the references.
    """
    right, predicted, gold = map(int, counts)
    precision = right / predicted if predicted else float(zero_division)
    recall = right / gold if gold else float(zero_division)
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def seqeval_figures(
    predictions: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    scheme: str | None = None,
    mode: str | None = None,
    zero_division: float = 0.0,
) -> dict[str, Any]:
    """Figures of entities by type and over all, and of tags.

    Args:
        predictions: tags of each row, such as `B-PER` or `O`.
        references: the right ones.
        scheme: a key of PREFIXES, for the mode `strict`.
        mode: None reads tags as conlleval does; `strict` takes only what is an entity in the scheme.
        zero_division: 0 or 1; see `entity_scores`.

    Returns:
        Every type with precision, recall, f1 and number, that of the references; overall_precision, overall_recall and
        overall_f1, over the entities of all types; overall_accuracy, the share of tags that are right.

    Raises:
        DataError: see `entity_counts`; or there are no tags.
        ConfigError: no such scheme, mode or zero_division, or one of scheme and mode without the other.
    """
    check_option("mode", mode, (None, "strict"))
    check_option("zero_division", zero_division, (0, 1))
    if (mode is None) != (scheme is None):
        raise ConfigError(
            f"scheme is {scheme!r} and mode is {mode!r}: give both, for entities of that scheme alone, or neither, for "
            "conlleval's reading of tags, which knows no scheme."
        )
    counts: dict[str, Counter[str]] = {"right": Counter(), "predicted": Counter(), "gold": Counter()}
    for predicted, gold in _entities(predictions, references, scheme):
        for name, found in (("right", predicted & gold), ("predicted", predicted), ("gold", gold)):
            counts[name].update(kind for kind, _, _ in found)
    figures: dict[str, Any] = {}
    for kind in sorted(counts["predicted"] | counts["gold"]):
        scores = entity_scores([of_kind[kind] for of_kind in counts.values()], zero_division)
        figures[kind] = dict(zip(("precision", "recall", "f1"), scores, strict=True))
        figures[kind]["number"] = counts["gold"][kind]
    overall = entity_scores([of_kind.total() for of_kind in counts.values()], zero_division)
    figures |= dict(zip(("overall_precision", "overall_recall", "overall_f1"), overall, strict=True))
    tags = [pair for row in zip(predictions, references, strict=True) for pair in zip(*row, strict=True)]
    if not tags:
        raise DataError("There are no tags in any row.")
    return figures | {"overall_accuracy": sum(one == other for one, other in tags) / len(tags)}


def _entities(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], scheme: str | None
) -> Iterator[tuple[Entities, Entities]]:
    check_option("scheme", scheme, tuple(PREFIXES))
    check_rows(predictions, references)
    for row, (predicted, gold) in enumerate(zip(predictions, references, strict=True)):
        if len(predicted) != len(gold):
            raise DataError(f"Row {row} has {len(predicted)} predicted tags and {len(gold)} in the references.")
        for tag in {*predicted, *gold}:
            if not re.fullmatch(f"O|[{PREFIXES[scheme]}](-.*)?", str(tag)):
                known = ", ".join(f"{prefix}-" for prefix in PREFIXES[scheme])
                raise DataError(
                    f"Row {row} has the tag {tag!r}. A tag is O, or one of {known} and a type"
                    + ("; for other prefixes give mode='strict' and a scheme." if scheme is None else f" in {scheme}.")
                )
        yield _entities_of(list(predicted), scheme), _entities_of(list(gold), scheme)


def _entities_of(tags: list[str], scheme: str | None) -> Entities:
    """Type, first and last token of the entities in one row."""
    if scheme is None:
        return set(get_entities(tags))
    tokens = seqeval.scheme.Tokens(tags, getattr(seqeval.scheme, scheme))
    return {(entity.tag, entity.start, entity.end - 1) for entity in tokens.entities}


class Seqeval(evaluate.Metric):
    """`seqeval_figures` as an `evaluate` metric."""

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(__doc__, seqeval_figures.__doc__, (List(TEXT), List(TEXT)))

    def _compute(self, predictions, references, **settings):
        return seqeval_figures(predictions, references, **settings)
