"""Files -> documents: one reader for each format, all yielding Arrow string arrays of the text column.

Local files are read here rather than by the loaders of `datasets` because those (5.2, measured) serve a stale copy of
a file replaced within one mtime, fail on JSON lines that gain a key, turn dates into timestamps, read "NA" and "null"
in a CSV as missing, and take the first column as an index when a row is one field longer than the header.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from pipelines.data.columns import check_string, not_text
from pipelines.data.files import SourceFile, check_utf8, explain_not_utf8, line_chunks, open_bytes
from pipelines.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

ChooseColumn = Callable[[list[str], str], str]  # (columns, file for messages) -> column

BATCH_ROWS = 10_000
PEEK_ROWS = 1_000  # JSON rows whose keys are taken for the columns of a file
MAX_DOCUMENT_BYTES = 2**31 - 1  # of an Arrow string
BOM = b"\xef\xbb\xbf"
JSON_TYPES = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


def read_texts(file: SourceFile, choose: ChooseColumn, sample_by: str) -> Iterator["pa.Array"]:
    """The text column of a file, in order, as Arrow string arrays; null where a row has none.

    Args:
        file: what to read.
        choose: called with the columns found and the file's name; returns the one to read. Not called for text files.
        sample_by: what one document of a text file is: "document" (the file), "paragraph" or "line".

    Raises:
        DataError: the file cannot be read as its format; names the file and the row, line or byte offset.
    """
    import pyarrow as pa

    rows = 0
    try:
        for array in _read(file, choose, sample_by):
            array.validate(full=True)  # UTF-8 too: Parquet and Arrow files only claim it
            rows += len(array)
            yield array
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if file.format not in ("parquet", "arrow"):
            explain_not_utf8(file)
        reason = " ".join(str(error).split())
        raise DataError(f"{file.shown} cannot be read as {file.format} after row {rows:,}: {reason}") from None
    if rows == 0:
        raise DataError(f"{file.shown} has no rows. Expected at least one document.")


def with_text(texts: "pa.Array") -> tuple["pa.Array", int, int]:
    """The texts that hold more than blanks, and how many are null and how many empty."""
    import pyarrow.compute as pc

    stated = texts.drop_null()
    blank = pc.or_(pc.equal(pc.binary_length(stated), 0), pc.utf8_is_space(stated))
    kept = stated.filter(pc.invert(blank))
    return kept, len(texts) - len(stated), len(stated) - len(kept)


def _read(file: SourceFile, choose: ChooseColumn, sample_by: str) -> Iterator["pa.Array"]:
    if file.format == "text":
        return _read_text(file, sample_by)
    if file.format == "conll":
        raise DataError(f"{file.shown} holds tagged tokens, not documents. Expected text, json lines, csv or parquet.")
    readers = {"json": _read_json, "csv": _read_csv, "tsv": _read_csv, "parquet": _read_parquet, "arrow": _read_arrow}
    return readers[file.format](file, choose)


# ---------------------------------------------------------------- text


def _read_text(file: SourceFile, sample_by: str) -> Iterator["pa.Array"]:
    offset, rest = 0, b""
    with open_bytes(file) as stream:
        for chunk in [stream.read()] if sample_by == "document" else line_chunks(stream):
            check_utf8(chunk, offset, file)
            data = chunk.removeprefix(BOM) if offset == 0 else chunk
            data = rest + data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")  # as Python's text mode
            offset += len(chunk)
            if sample_by == "document":
                documents = [data] if data else []
            elif sample_by == "line":
                documents = data.removesuffix(b"\n").split(b"\n")
            else:
                *paragraphs, rest = re.split(rb"\n{2,}", data)
                documents = [paragraph.strip(b"\n") for paragraph in paragraphs]
            yield _from_bytes([document for document in documents if document or sample_by == "line"], file)
        if rest.strip(b"\n"):
            yield _from_bytes([rest.strip(b"\n")], file)


def text_documents(data: bytes, sample_by: str, file: SourceFile) -> "pa.Array":
    """The documents of a whole text file, or of whole lines or paragraphs of one, as an Arrow string array."""
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")  # as Python's text mode
    if sample_by == "document":
        documents = [data]
    elif sample_by == "line":
        documents = data.removesuffix(b"\n").split(b"\n")
    else:
        documents = [paragraph.strip(b"\n") for paragraph in re.split(rb"\n{2,}", data)]
    return _from_bytes([document for document in documents if document or (sample_by == "line" and data)], file)


def _from_bytes(documents: list[bytes], file: SourceFile) -> "pa.Array":
    import pyarrow as pa

    longest = max(map(len, documents), default=0)
    if longest > MAX_DOCUMENT_BYTES:
        raise DataError(
            f"{file.shown} holds a document of {longest:,} bytes; the limit is {MAX_DOCUMENT_BYTES:,}. "
            "Set --data.sample_by paragraph or line, or split the file."
        )
    return pa.array(documents, type=pa.binary()).cast(pa.string())


# ---------------------------------------------------------------- JSON


def _read_json(file: SourceFile, choose: ChooseColumn) -> Iterator["pa.Array"]:
    column: str | None = None
    offset, line = 0, 1
    with open_bytes(file) as stream:
        for chunk in line_chunks(stream):
            if offset == 0:
                chunk = chunk.replace(BOM, b"   ", 1) if chunk.startswith(BOM) else chunk  # blanks keep the offsets
                if not is_json_lines(chunk):
                    yield from _read_json_value(chunk + stream.read(), file, choose)
                    return
            check_utf8(chunk, offset, file)
            offset += len(chunk)
            if not chunk.strip():
                line += chunk.count(b"\n")
                continue
            if column is None:
                column = choose(json_columns(chunk, file, line), file.shown)
            yield from json_line_texts(chunk, column, file, partial(int, line))
            line += chunk.count(b"\n")


def json_line_texts(chunk: bytes, column: str, file: SourceFile, line: Callable[[], int]) -> list["pa.Array"]:
    """One column of some whole JSON lines, as Arrow string arrays; null where a line has none.

    Args:
        chunk: the lines, UTF-8.
        column: which.
        file: they are of, for messages.
        line: gives the number of the first of them, which messages say; called only for those.

    Raises:
        DataError: a line holds no object, or something else than text in that column.
    """
    import pyarrow as pa
    import pyarrow.json

    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(chunk),
            read_options=pyarrow.json.ReadOptions(block_size=len(chunk) + 1),
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=pa.schema({column: pa.string()}), unexpected_field_behavior="ignore"
            ),
        )
    except pa.ArrowInvalid as error:
        _explain_json(chunk, column, file, line(), str(error))
    return list(table.column(column).chunks)


def is_json_lines(start: bytes) -> bool:
    """Whether a file is one object a line, rather than a list of objects or one object over several lines."""
    first = start.lstrip().split(b"\n", 1)[0].strip()
    if first.startswith(b"["):
        return False
    return first != b"{" and not (first.startswith(b"{") and first.endswith(b","))


def _read_json_value(data: bytes, file: SourceFile, choose: ChooseColumn) -> Iterator["pa.Array"]:
    import pyarrow as pa

    rows = json_value_rows(data, file)
    if not rows:
        return
    column = choose(list(dict.fromkeys(key for row in rows[:PEEK_ROWS] for key in row)), file.shown)
    texts = [row.get(column) for row in rows]
    for place, text in enumerate(texts, start=1):
        _check_json_text(text, column, f"{file.shown}, row {place:,}")
    for start in range(0, len(texts), BATCH_ROWS):
        yield pa.array(texts[start : start + BATCH_ROWS], type=pa.string())


def json_value_rows(data: bytes, file: SourceFile) -> list[dict[str, Any]]:
    """The rows of a file that is one list of objects, or one object. Raises DataError if it is neither."""
    check_utf8(data, 0, file)
    try:
        value = json.loads(data)
    except json.JSONDecodeError as error:
        raise DataError(f"{file.shown}: line {error.lineno} is not valid JSON: {error.msg}.") from None
    except (ValueError, RecursionError) as error:  # thousands of digits, or of brackets in each other
        raise DataError(f"{file.shown} cannot be read as JSON: {error}.") from None
    rows = value if isinstance(value, list) else [value]
    for place, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{file.shown}: row {place:,} is {json_type(row)}, expected an object {{column: value}}.")
    return rows


def json_columns(chunk: bytes, file: SourceFile, line: int) -> list[str]:
    """The keys of the first PEEK_ROWS of some JSON lines, of which the first is number `line`. May raise DataError."""
    columns: dict[str, None] = {}
    for place, row in enumerate(chunk.split(b"\n", PEEK_ROWS)[:PEEK_ROWS]):
        if row.strip():
            columns.update(dict.fromkeys(json_row(row, file, line + place)))
    return list(columns)


def json_row(row: bytes, file: SourceFile, line: int) -> dict[str, Any]:
    """One line of a JSON lines file. Raises DataError if it holds no object."""
    try:
        value = json.loads(row)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{file.shown}: line {line:,} is not valid JSON: {error.msg}, at character {error.colno}. "
            "Expected one object a line. Mend or delete that line."
        ) from None
    except (ValueError, RecursionError) as error:  # thousands of digits, or of brackets in each other
        raise DataError(f"{file.shown}: line {line:,} cannot be read as JSON: {error}. Delete that line.") from None
    if not isinstance(value, dict):
        raise DataError(f"{file.shown}: line {line:,} is {json_type(value)}, expected an object {{column: value}}.")
    return value


def _explain_json(chunk: bytes, column: str, file: SourceFile, line: int, reason: str) -> NoReturn:
    for place, row in enumerate(chunk.split(b"\n")):
        if row.strip():
            _check_json_text(
                json_row(row, file, line + place).get(column), column, f"{file.shown}, line {line + place:,}"
            )
    raise DataError(f"{file.shown} cannot be read as JSON lines from line {line:,} on: {reason}")


def _check_json_text(text: Any, column: str, where: str) -> None:
    if text is not None and not isinstance(text, str):
        raise not_text(column, json_type(text), where)
    try:
        (text or "").encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: column {column!r} holds half a surrogate pair at character {error.start}, "
            "which UTF-8 cannot hold. Mend or delete that row."
        ) from None


def json_type(value: Any) -> str:
    """What a JSON value is, in words."""
    return "null" if value is None else JSON_TYPES.get(type(value), "text")


# ---------------------------------------------------------------- CSV and TSV


def _read_csv(file: SourceFile, choose: ChooseColumn) -> Iterator["pa.Array"]:
    import pyarrow as pa

    with open_bytes(file) as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as lines:
        rows = csv_rows(lines, file)
        header = next(rows, None)
        if header is None:
            return
        column = choose(header, file.shown)
        place = header.index(column)
        texts: list[str] = []
        only_numbers, filled = True, False
        for row in rows:
            if only_numbers and row[place].strip():
                only_numbers, filled = _is_number(row[place]), True
            texts.append(row[place])
            if len(texts) == BATCH_ROWS:
                yield pa.array(texts, type=pa.string())
                texts = []
        if only_numbers and filled:
            raise not_text(column, "numbers only", file.shown)
        yield pa.array(texts, type=pa.string())


def csv_rows(lines: Any, file: SourceFile) -> Iterator[list[str]]:
    """The header and rows of a csv or tsv file, all with as many fields as the header. Raises DataError otherwise."""
    csv.field_size_limit(MAX_DOCUMENT_BYTES)  # the default refuses documents over 128 KiB
    # TSV has no quoting (IANA text/tab-separated-values): a double quote is a character like any other.
    is_tsv, width = file.format == "tsv", None
    reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if is_tsv else csv.reader(lines, strict=True)
    try:
        for row in reader:
            width = len(row) if width is None else width
            if len(row) == width:
                yield row
            elif row:  # a blank line is no row
                raise DataError(
                    f"{file.shown}: the row that ends in line {reader.line_num:,} has {len(row)} fields, "
                    f"the header has {width}. {_csv_advice(file)}"
                )
    except csv.Error as error:
        raise DataError(f"{file.shown}: line {reader.line_num:,}: {error}. {_csv_advice(file)}") from None


def _csv_advice(file: SourceFile) -> str:
    if file.format == "tsv":
        return "A tsv field cannot hold a tab or a line end; save such text as csv."
    return 'A field with commas, quotes or line ends must stand in double quotes, each quote in it doubled ("").'


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


# ---------------------------------------------------------------- Parquet and Arrow


def _read_parquet(file: SourceFile, choose: ChooseColumn) -> Iterator["pa.Array"]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with arrow_source(file) as source, pq.ParquetFile(source) as parquet:
        column = choose(parquet.schema_arrow.names, file.shown)
        check_string(parquet.schema_arrow.field(column).type, column, file.shown)
        for batch in parquet.iter_batches(BATCH_ROWS, columns=[column]):
            yield batch.column(0).cast(pa.string())


def _read_arrow(file: SourceFile, choose: ChooseColumn) -> Iterator["pa.Array"]:
    import pyarrow as pa

    with arrow_source(file) as source:
        try:
            batches = pa.ipc.open_stream(source)  # what datasets writes
            schema = batches.schema
        except pa.ArrowInvalid:
            whole = pa.ipc.open_file(source)
            schema = whole.schema
            batches = (whole.get_batch(place) for place in range(whole.num_record_batches))
        column = choose(schema.names, file.shown)
        check_string(schema.field(column).type, column, file.shown)
        place = schema.get_field_index(column)
        for batch in batches:
            yield batch.column(place).cast(pa.string())


def arrow_source(file: SourceFile) -> Any:
    """The file as an Arrow input that can seek: mapped, or decompressed into memory."""
    import pyarrow as pa

    if file.compression is None:
        return pa.memory_map(str(file.path))
    with open_bytes(file) as stream:
        return pa.BufferReader(stream.read())
