"""Pairs of sentences with people's scores of their similarity, read from tables (semantic textual similarity)."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.data.files import SourceFile, explain_not_utf8, find_files, open_bytes
from pipelines.errors import ConfigError, DataError, did_you_mean

ROLES = ("sentence1", "sentence2", "score")
Row = tuple[int, list[Any]]  # row number from 1, and what stands in it under ROLES


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
        for number, values in _rows(file, names):
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


def _rows(file: SourceFile, names: Mapping[str, str]) -> Iterator[Row]:
    readers = {"csv": _read_delimited, "tsv": _read_delimited, "json": _read_json_lines, "parquet": _read_parquet}
    if file.format not in readers:
        raise DataError(f"{file.shown} is a {file.format} file. Expected csv, tsv, json lines or parquet.")
    try:
        yield from readers[file.format](file, names)
    except UnicodeDecodeError:
        explain_not_utf8(file)
        raise


def _check_columns(found: list[str], names: Mapping[str, str], file: SourceFile, row: str = "") -> None:
    for role, name in names.items():
        if name not in found:
            raise DataError(
                f"{file.shown}{row} has no column {name!r}. Columns found: {', '.join(map(repr, found))}."
                f"{did_you_mean(name, found)} Map the column of the {role} with --evaluation.sts_columns "
                f"'{{COLUMN: {role}}}'."
            )


def _read_delimited(file: SourceFile, names: Mapping[str, str]) -> Iterator[Row]:
    with open_bytes(file) as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as lines:
        # As for documents, tsv has no quoting: the published STS benchmark files have single double quotes.
        reader = (
            csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            if file.format == "tsv"
            else csv.reader(lines, strict=True)
        )
        try:
            filled = (row for row in reader if row)
            header = next(filled, [])
            _check_columns(header, names, file)
            places = [header.index(names[role]) for role in ROLES]
            for number, row in enumerate(filled, start=1):
                if len(row) != len(header):
                    raise DataError(
                        f"{file.shown}, row {number:,} has {len(row)} fields, the header has {len(header)}. "
                        "A csv field with commas or line ends must stand in double quotes."
                    )
                yield number, [row[place] for place in places]
        except csv.Error as error:
            raise DataError(f"{file.shown}: line {reader.line_num:,}: {error}.") from None


def _read_json_lines(file: SourceFile, names: Mapping[str, str]) -> Iterator[Row]:
    with open_bytes(file) as stream, io.TextIOWrapper(stream, encoding="utf-8-sig") as lines:
        filled = (line for line in lines if line.strip())
        for number, line in enumerate(filled, start=1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{file.shown}, row {number:,} is not valid JSON: {error.msg}.") from None
            if not isinstance(row, dict):
                raise DataError(f"{file.shown}, row {number:,}: expected one object a line, {{column: value}}.")
            _check_columns(list(row), names, file, f", row {number:,}")
            yield number, [row[names[role]] for role in ROLES]


def _read_parquet(file: SourceFile, names: Mapping[str, str]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_bytes(file) as stream, pq.ParquetFile(stream) as parquet:
            _check_columns(parquet.schema_arrow.names, names, file)
            table = parquet.read(columns=list(names.values()))
            columns = [table.column(names[role]).to_pylist() for role in ROLES]
    except pa.ArrowException as error:
        raise DataError(f"{file.shown} cannot be read as parquet: {' '.join(str(error).split())}") from None
    yield from ((number, list(values)) for number, values in enumerate(zip(*columns, strict=True), start=1))
