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
    return Table(_json_table([[_at(row, path) for row in rows] for path in paths], paths, file), {})


def _json_rows(file: SourceFile) -> Iterator[dict[str, Any]]:
    line = 1
    with open_bytes(file) as stream:
        for chunk in line_chunks(stream):
            if line == 1:
                chunk = chunk.removeprefix(BOM)
                if not is_json_lines(chunk):
                    yield from json_value_rows(chunk + stream.read(), file)
                    return
            check_utf8(chunk, 0, file)
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
        except (pa.ArrowException, TypeError, OverflowError, UnicodeEncodeError) as error:
            first = next(value for value in column if value is not None)
            for number, value in enumerate(column, start=1):
                if value is not None and json_type(value) != json_type(first):
                    raise DataError(
                        f"{file.shown}, row {number:,}: column {path!r} holds {json_type(value)} ({value!r}), but "
                        f"{json_type(first)} ({first!r}) before. Give all rows one type."
                    ) from None
            raise DataError(f"{file.shown}: column {path!r} mixes types: {' '.join(str(error).split())}") from None
    return pa.table(columns)


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
        paths = choose(header, file.shown)
        places = [header.index(path) for path in paths]
        values: list[list[str]] = [[] for _ in paths]
        for row in rows:
            for column, place in zip(values, places, strict=True):
                column.append(row[place])
    return Table(
        pa.table({path: pa.array(column, pa.string()) for path, column in zip(paths, values, strict=True)}), {}
    )


def _read_conll(file: SourceFile, choose: ChooseColumns) -> Table:
    """A line a token: the token first, its tag last, blanks or tabs between; an empty line ends a row."""
    import pyarrow as pa

    paths = choose(CONLL_COLUMNS, file.shown)
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
                if len(fields) < 2:
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
