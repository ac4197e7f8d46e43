"""Which files a split is read from: paths and globs resolved, formats known by their endings, bytes decompressed."""

import bz2
import codecs
import glob
import gzip
import io
import lzma
import posixpath
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from pipelines.data.card_schema import listed
from pipelines.errors import DataError, did_you_mean

FORMATS = {
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".arrow": "arrow",
    ".conll": "conll",
    ".conll2003": "conll",
    ".iob2": "conll",
    ".bio": "conll",
}
COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz")
CHUNK_BYTES = 32 << 20
PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class SourceFile:
    """A local file and how to read it. `shown` is the path or URL that messages name."""

    path: Path
    shown: str
    format: str  # a value of FORMATS
    compression: str | None  # one of COMPRESSIONS


def find_files(paths: str | Sequence[str], key: str) -> list[SourceFile]:
    """The local files that paths and globs name, globs sorted; `~` is the home folder.

    Args:
        paths: one or several paths or globs.
        key: the config key or card that named them, for messages.

    Raises:
        DataError: a path names nothing, a folder, an empty file or an unknown format, or the formats differ.
    """
    found = [file for path in ([paths] if isinstance(paths, str) else paths) for file in _find(path, key)]
    if not found:
        raise DataError(f"{key} is an empty list. Give at least one file.")
    return one_format(found, key)


def one_format(files: list[SourceFile], key: str) -> list[SourceFile]:
    """`files`, if they all have one format. Raises DataError otherwise, naming two that differ."""
    for file in files:
        if file.format != files[0].format:
            raise DataError(
                f"{key} mixes formats: {files[0].shown} is {files[0].format}, {file.shown} is {file.format}. "
                "The files of one split must have one format; convert one of them."
            )
    return files


def as_source(path: Path, shown: str, named: str) -> SourceFile:
    """The file with the format that the ending of `named` tells.

    Raises:
        DataError: not a known ending, or the file is empty.
    """
    format, compression = format_of(shown, named)
    if path.stat().st_size == 0:
        raise DataError(f"{shown} is empty (0 bytes). Expected at least one document.")
    return SourceFile(path, shown, format, compression)


def format_of(shown: str, named: str) -> tuple[str, str | None]:
    """The format and compression that the ending of `named` tells. Raises DataError if it tells none."""
    endings = [ending.lower() for ending in Path(posixpath.basename(named)).suffixes]
    compression = endings.pop() if endings and endings[-1] in COMPRESSIONS else None
    ending = endings[-1] if endings else ""
    if ending not in FORMATS:
        found = f"the ending {ending!r}, which tells no known format" if ending else "no ending that tells its format"
        raise DataError(
            f"{shown} has {found}.{did_you_mean(ending, FORMATS) if ending else ''} "
            f"Known: {', '.join(FORMATS)}, each also with {', '.join(COMPRESSIONS)}. Rename or convert the file."
        )
    return FORMATS[ending], compression


def _find(path: str, key: str) -> list[SourceFile]:
    literal = Path(path).expanduser()
    if literal.is_file():
        return [as_source(literal, path, path)]
    if literal.is_dir():
        inside = sorted(item.name for item in literal.iterdir() if item.is_file())
        ending = next((Path(name).suffix for name in inside if Path(name).suffix in FORMATS), ".jsonl")
        raise DataError(
            f"{key} is {path!r}, which is a folder. Name its files, such as '{literal / ('*' + ending)}'. "
            f"It holds: {listed(inside[:10])}{' and more' if len(inside) > 10 else ''}."
        )
    if glob.has_magic(path):
        matches = sorted(match for match in glob.glob(str(literal), recursive=True) if Path(match).is_file())
        if not matches:
            raise DataError(f"{key} is {path!r}, and no file matches it. Working folder: {Path.cwd()}.")
        return [as_source(Path(match), match, match) for match in matches]
    folder = literal.parent
    if not folder.is_dir():
        raise DataError(f"{key} is {path!r}, but there is no folder {str(folder)!r}. Working folder: {Path.cwd()}.")
    inside = sorted(item.name for item in folder.iterdir())
    where = "" if literal.is_absolute() else f" Working folder: {Path.cwd()}."
    raise DataError(f"{key} is {path!r}, but there is no such file.{did_you_mean(literal.name, inside)}{where}")


# ---------------------------------------------------------------- bytes


@contextmanager
def open_bytes(file: SourceFile) -> Iterator[BinaryIO]:
    """The decompressed bytes of a file, buffered.

    Raises:
        DataError: the file cannot be opened, or its compression is damaged.
    """
    try:
        with _open(file) as stream:
            yield stream
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        advice = f" Is it a whole {file.compression} file?" if file.compression else ""
        if isinstance(error, PermissionError):
            advice = " Check its access rights."
        raise DataError(f"{file.shown} cannot be read: {error}.{advice}") from None


def _open(file: SourceFile) -> BinaryIO:
    if file.compression == ".gz":
        return cast(BinaryIO, gzip.open(file.path))
    if file.compression == ".bz2":
        return cast(BinaryIO, bz2.open(file.path))
    if file.compression == ".xz":
        return cast(BinaryIO, lzma.open(file.path))
    if file.compression == ".zst":
        import pyarrow as pa

        return io.BufferedReader(pa.input_stream(str(file.path), compression="zstd"), CHUNK_BYTES)
    return open(file.path, "rb")


def line_chunks(stream: BinaryIO) -> Iterator[bytes]:
    """The bytes of a stream in chunks of some 32 MiB that end at a line end."""
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk + stream.readline()


def check_utf8(data: bytes, start: int, file: SourceFile) -> None:
    """Checks that bytes, which begin `start` bytes into the (decompressed) file, are UTF-8.

    Raises:
        DataError: names the byte offset of the first that is not, and the command that converts the file.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(data)
    try:
        for place in range(0, len(data), PIECE_BYTES):  # a whole book as one str takes up to four times its bytes
            decoder.decode(view[place : place + PIECE_BYTES])
        decoder.decode(b"", final=True)
        return
    except UnicodeDecodeError:
        pass
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:  # whose offset is that in the whole
        inside = " of the decompressed text" if file.compression else ""
        name = file.path.name.removesuffix(file.compression or "")
        is_utf16 = start + error.start == 0 and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        shown, encoding = ("UTF-16", "UTF-16") if is_utf16 else ("Latin-1", "LATIN1")
        raise DataError(
            f"{file.shown} is not UTF-8: byte {data[error.start]:#04x} at offset {start + error.start:,}{inside}. "
            f"If it is {shown}, convert it with: iconv -f {encoding} -t UTF-8 {name} > utf8-{name}"
        ) from None


def explain_not_utf8(file: SourceFile) -> None:
    """Raises the DataError of `check_utf8` for the first byte of a file that is not UTF-8, if there is one."""
    start = 0
    with open_bytes(file) as stream:
        for chunk in line_chunks(stream):
            check_utf8(chunk, start, file)
            start += len(chunk)
