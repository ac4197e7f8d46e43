"""Pairs of sentences with people's scores of their similarity, read from tables (semantic textual similarity)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.data.files import find_files
from pipelines.data.tables import read_table
from pipelines.errors import ConfigError, DataError, did_you_mean

ROLES = ("sentence1", "sentence2", "score")


@dataclass(frozen=True)
class ScoredPairs:
    """Pairs of sentences in the order of their files."""

    left: list[str]
    right: list[str]
    scores: list[float]
    """Similarity as people see it, on any scale; not all equal."""


def read_scored_pairs(files: str | list[str], columns: Mapping[str, str]) -> ScoredPairs:
    """Reads the files of one similarity set as one table.

    Args:
        files: csv, tsv, json lines or parquet; several hold parts of the set.
        columns: column -> role, for roles whose column has another name; the roles are ROLES.

    Raises:
        ConfigError: `columns` names no role, or one twice.
        DataError: a file is missing, lacks a column, or has a row without two sentences and a finite score; there are
            fewer than two pairs, or all scores are equal.
    """
    names = _column_of_role(columns)
    sides: tuple[list[str], list[str]] = ([], [])
    scores: list[float] = []
    for file in find_files(files, "evaluation.sts_files"):
        table = read_table(file, lambda columns, shown: _columns(columns, names, shown)).columns
        for number, values in enumerate(zip(*(column.to_pylist() for column in table.columns), strict=True), start=1):
            where = f"{file.shown}, row {number:,}"
            for side, role, value in zip(sides, ROLES[:2], values[:2], strict=True):
                if not isinstance(value, str) or not value.strip():
                    raise DataError(f"{where}: column {names[role]!r} must hold a sentence; found {value!r}.")
                side.append(value)
            scores.append(_score(values[2], names["score"], where))
    shown = files if isinstance(files, str) else ", ".join(files)
    if len(scores) < 2 or min(scores) == max(scores):
        found = f"all {len(scores)} scores are {scores[0]:g}" if len(scores) > 1 else f"{len(scores)} pairs"
        raise DataError(f"{shown}: a rank correlation needs two pairs with different scores; found: {found}.")
    return ScoredPairs(*sides, scores)


def _column_of_role(columns: Mapping[str, str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for column, role in columns.items():
        if role not in ROLES:
            raise ConfigError(
                f"evaluation.sts_columns maps the column {column!r} to {role!r}; the roles are {', '.join(ROLES)}."
                f"{did_you_mean(role, ROLES)} Write: --evaluation.sts_columns '{{COLUMN: ROLE}}'."
            )
        if role in given:
            raise ConfigError(f"evaluation.sts_columns gives the role {role} to {given[role]!r} and to {column!r}.")
        given[role] = column
    return {role: role for role in ROLES} | given


def _score(value: Any, column: str, where: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{where}: column {column!r} must hold a number; found {value!r}.")
    return number


def _columns(found: Sequence[str], names: Mapping[str, str], shown: str) -> list[str]:
    for role, name in names.items():
        if name not in found:
            raise DataError(
                f"{shown} has no column {name!r}. Columns found: {', '.join(map(repr, found))}."
                f"{did_you_mean(name, found)} Map the column of the {role} with --evaluation.sts_columns "
                f"'{{COLUMN: {role}}}'."
            )
    return list(names.values())
