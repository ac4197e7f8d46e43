"""Files -> tables: chosen columns of labelled data with the types that the files give them, and names of labels.

`readers.py` reads one column of text from files of any size; here a file is read whole, and columns may be numbers,
lists or objects.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.data.card_schema import listed
from pipelines.data.files import SourceFile, check_utf8, explain_not_utf8, line_chunks, open_bytes
from pipelines.data.readers import (
    BOM,
    PEEK_ROWS,
    arrow_source,
    csv_rows,
    is_json_lines,
    json_row,
    json_type,
    json_value_rows,
)
from pipelines.errors import DataError

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

ChooseColumns = Callable[[Sequence[str], str], list[str]]  # (columns, file for messages) -> columns or paths into them
CONLL_COLUMNS = ("tokens", "tags")


@dataclass(frozen=True)
class Table:
    """The chosen columns of a file, by path, and the names of labels that the file itself states."""

    columns: "pa.Table"
    label_names: dict[str, tuple[str, ...]]


def read_table(file: SourceFile, choose: ChooseColumns) -> Table:
    """The chosen columns of a file, whole.

    Args:
        file: what to read; csv and tsv give strings, conll the columns `tokens` and `tags`.
        choose: called with the columns found and the file's name; returns those to read. `a.b` is field b of the
            objects in column a.

    Raises:
        DataError: the file cannot be read as its format, has no rows, or a column mixes types; names file and row.
    """
    import pyarrow as pa

    readers = {
        "json": _read_json,
        "csv": _read_csv,
        "tsv": _read_csv,
        "parquet": _read_parquet,
        "arrow": _read_arrow,
        "conll": _read_conll,
    }
    if file.format not in readers:
        raise DataError(
            f"{file.shown} is plain text, which has no columns. Labelled data is json lines, csv, tsv, parquet, arrow "
            "or conll."
        )
    try:
        table = readers[file.format](file, choose)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if file.format not in ("parquet", "arrow"):
            explain_not_utf8(file)
        raise DataError(f"{file.shown} cannot be read as {file.format}: {' '.join(str(error).split())}") from None
    if table.columns.num_rows == 0:
        raise DataError(f"{file.shown} has no rows. Expected at least one.")
    return table


def hub_table(dataset: "datasets.Dataset", choose: ChooseColumns, shown: str) -> Table:
    """The chosen columns of a Hub dataset."""
    paths = choose(dataset.column_names, shown)
    table = dataset.select_columns(list(dict.fromkeys(path.split(".")[0] for path in paths))).with_format("arrow")[:]
    return Table(_select(table, paths, shown), label_names(dataset.features))


def label_names(features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Names of labels by column, of features of `datasets` that are class labels or lists of them."""
    import datasets

    found = {}
    for column, feature in features.items():
        inner = getattr(feature, "feature", feature)
        if isinstance(inner, datasets.ClassLabel):
            found[column] = tuple(inner.names)
    return found


def _select(table: "pa.Table", paths: list[str], shown: str) -> "pa.Table":
    """Columns by path: a field of a struct becomes a column of its own."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {}
    for path in paths:
        if path in table.column_names:
            columns[path] = table.column(path)
            continue
        name, *fields = path.split(".")
        column = table.column(name)
        for field in fields:
            if not pa.types.is_struct(column.type) or column.type.get_field_index(field) < 0:
                names = (
                    [column.type.field(i).name for i in range(column.type.num_fields)] if column.type.num_fields else []
                )
                raise DataError(f"{shown}: column {name!r} has no field {field!r}. Fields found: {listed(names)}.")
            column = pc.struct_field(column, field)
        columns[path] = column
    return pa.table(columns)


# ---------------------------------------------------------------- Parquet and Arrow


def _stated_names(schema: "pa.Schema") -> dict[str, tuple[str, ...]]:
    """Names of labels that `datasets` wrote into the file."""
    import datasets

    stated = (schema.metadata or {}).get(b"huggingface")
    features = json.loads(stated).get("info", {}).get("features") if stated else None
    return label_names(datasets.Features.from_dict(features)) if features else {}


def _read_parquet(file: SourceFile, choose: ChooseColumns) -> Table:
    import pyarrow.parquet as pq

    with arrow_source(file) as source, pq.ParquetFile(source) as parquet:
        schema = parquet.schema_arrow
        paths = choose(schema.names, file.shown)
        table = parquet.read(columns=list(dict.fromkeys(_top(path, schema.names) for path in paths)))
        return Table(_select(table, paths, file.shown), _stated_names(schema))


def _read_arrow(file: SourceFile, choose: ChooseColumns) -> Table:
    import pyarrow as pa

    with arrow_source(file) as source:
        try:
            table = pa.ipc.open_stream(source).read_all()  # what datasets writes
        except pa.ArrowInvalid:
            table = pa.ipc.open_file(source).read_all()
    return Table(_select(table, choose(table.column_names, file.shown), file.shown), _stated_names(table.schema))


def _top(path: str, columns: Sequence[str]) -> str:
    return path if path in columns else path.split(".")[0]


# ---------------------------------------------------------------- JSON


def _read_json(file: SourceFile, choose: ChooseColumns) -> Table:
    rows = list(_json_rows(file))
    if not rows:
        return _no_rows()
    keys = list(dict.fromkeys(key for row in rows[:PEEK_ROWS] for key in row))
    paths = choose(keys, file.shown)
    for path in (path for path in paths if path not in keys):
        _check_fields(path, rows, file)
    return Table(_json_table([[_at(row, path) for row in rows] for path in paths], paths, file), {})


def _check_fields(path: str, rows: list[dict[str, Any]], file: SourceFile) -> None:
    """Raises DataError if no row has the field that a path names."""
    name, *fields = path.split(".")
    objects = [row.get(name) for row in rows]
    for field in fields:
        known = [one for one in objects if isinstance(one, Mapping)]
        names = list(dict.fromkeys(key for one in known[:PEEK_ROWS] for key in one))
        if not any(field in one for one in known):
            raise DataError(f"{file.shown}: column {name!r} has no field {field!r}. Fields found: {listed(names)}.")
        objects = [one.get(field) for one in known]


def _json_rows(file: SourceFile) -> Iterator[dict[str, Any]]:
    line, offset = 1, 0
    with open_bytes(file) as stream:
        for chunk in line_chunks(stream):
            if line == 1:
                chunk = chunk.replace(BOM, b"   ", 1) if chunk.startswith(BOM) else chunk  # blanks keep the offsets
                if not is_json_lines(chunk):
                    yield from json_value_rows(chunk + stream.read(), file)
                    return
            check_utf8(chunk, offset, file)
            offset += len(chunk)
            for row in chunk.split(b"\n"):
                if row.strip():
                    yield json_row(row, file, line)
                line += 1
            line -= 1  # a chunk ends with a line end


def _at(row: Mapping[str, Any], path: str) -> Any:
    if path in row:
        return row[path]
    value: Any = row
    for field in path.split("."):
        value = value.get(field) if isinstance(value, Mapping) else None
    return value


def _json_table(values: list[list[Any]], paths: list[str], file: SourceFile) -> "pa.Table":
    import pyarrow as pa

    columns = {}
    for path, column in zip(paths, values, strict=True):
        try:
            columns[path] = pa.array(column)
        except (pa.ArrowException, TypeError, OverflowError, UnicodeEncodeError):
            raise _explain_column(path, column, file) from None
    return pa.table(columns)


def _explain_column(path: str, column: list[Any], file: SourceFile) -> DataError:
    """The error for values that no one column can hold: names the row where they part."""
    import pyarrow as pa

    first = next(value for value in column if value is not None)
    for number, value in enumerate(column, start=1):
        where = f"{file.shown}, row {number:,}: column {path!r} holds"
        if value is not None and json_type(value) != json_type(first):
            return DataError(
                f"{where} {json_type(value)} ({_short(value)}), but {json_type(first)} ({_short(first)}) before. Give "
                "all rows one type."
            )
        try:
            pa.array([value])
        except OverflowError:
            return DataError(f"{where} {_short(value)}, a number of more than 64 bits.")
        except UnicodeEncodeError:
            return DataError(f"{where} half a surrogate pair, which UTF-8 cannot hold. Mend or delete that row.")
        except (pa.ArrowException, TypeError):
            kinds = sorted({json_type(one) for one in value}) if isinstance(value, list) else [json_type(value)]
            return DataError(f"{where} {' and '.join(kinds)} in one row ({_short(value)}). Give all of it one type.")
        try:
            pa.array([first, value])
        except (pa.ArrowException, TypeError):
            return DataError(f"{where} {_short(value)}, of another type than {_short(first)} before.")
    return DataError(f"{file.shown}: column {path!r} holds values of different types. Give all rows one.")


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]} ..."


def _no_rows() -> Table:
    import pyarrow as pa

    return Table(pa.table({}), {})


# ---------------------------------------------------------------- CSV, TSV and CoNLL


def _read_csv(file: SourceFile, choose: ChooseColumns) -> Table:
    import pyarrow as pa

    with open_bytes(file) as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as lines:
        rows = csv_rows(lines, file)
        header = next(rows, None)
        if header is None:
            return _no_rows()
        paths = [_plain_column(path, header, file) for path in choose(header, file.shown)]
        places = [header.index(path) for path in paths]
        values: list[list[str]] = [[] for _ in paths]
        for row in rows:
            for column, place in zip(values, places, strict=True):
                column.append(row[place])
    return Table(
        pa.table({path: pa.array(column, pa.string()) for path, column in zip(paths, values, strict=True)}), {}
    )


def _plain_column(path: str, columns: Sequence[str], file: SourceFile) -> str:
    if path not in columns:
        name, field = path.split(".", 1)
        raise DataError(f"{file.shown}: column {name!r} has no field {field!r}: a {file.format} file has no objects.")
    return path


def _read_conll(file: SourceFile, choose: ChooseColumns) -> Table:
    """A line a token: the token first, its tag last, blanks or tabs between; an empty line ends a row."""
    import pyarrow as pa

    paths = [_plain_column(path, CONLL_COLUMNS, file) for path in choose(CONLL_COLUMNS, file.shown)]
    rows: list[tuple[list[str], list[str]]] = []
    tokens: list[str] = []
    tags: list[str] = []
    with open_bytes(file) as stream, io.TextIOWrapper(stream, encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            fields = line.rstrip("\n").split("\t") if "\t" in line else line.split()
            if not "".join(fields).strip():
                if tokens:
                    rows.append((tokens, tags))
                    tokens, tags = [], []
            elif fields[0] != "-DOCSTART-":  # CoNLL-2003 marks documents so
                if len(fields) < 2 or not fields[0].strip() or not fields[-1].strip():
                    raise DataError(
                        f"{file.shown}, line {number:,}: expected a token and its tag with a blank or tab between; "
                        f"found {line.strip()!r}."
                    )
                tokens.append(fields[0])
                tags.append(fields[-1].strip())
    if tokens:
        rows.append((tokens, tags))
    columns = dict(zip(CONLL_COLUMNS, map(list, zip(*rows, strict=True)) if rows else ([], []), strict=True))
    return Table(pa.table({path: pa.array(columns[path], pa.list_(pa.string())) for path in paths}), {})
