"""Corpora built on this machine, with no network: the only code a data card can trigger, and only by name.

`installed_docs` is the docstrings of the standard library and of packages the project itself depends on, read with
`ast` and never imported. Its train, validation and test splits share no near duplicates; see `near_duplicates.py`.
"""

import ast
import gc
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import sysconfig
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.errors import CardError, DataError, did_you_mean

# Part of the cache key: raise it whenever a change here or in near_duplicates.py can change a split.
BUILDER_VERSION = 1
SPLITS = ("train", "validation", "test")

MIN_CHARACTERS = 200
# Below two words in five a docstring is a listing, a doctest or a table of numbers. Measured: the rule drops 719 of
# 37,640 long enough (0.53 MB), 440 of them from sympy and 146 from transformers.
MIN_WORD_FRACTION = 0.4
# Of the clusters, for each of validation and test. Measured: 357 kB and 309 kB of text.
HELD_OUT_SHARE = 0.01

_WORD = re.compile(r"""(?<!\S)[("'`*\[]*[^\W\d_](?:[^\W\d_]|['-])*[)"'`.,:;*!?\]]*(?!\S)""")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ufffd\ud800-\udfff]")
_SKIPPED_NAMES = frozenset({"tests", "test", "conftest.py", "_vendor", "_vendored", "vendored", "externals"})
# Linux distributions ship these apart from, or add them to, the same Python version: they would make splits differ.
_OPTIONAL_STDLIB = frozenset(
    {"distutils", "ensurepip", "idlelib", "lib2to3", "tkinter", "turtledemo", "turtle.py", "sitecustomize.py"}
)
_COUNTS = (
    "files_read", "files_unreadable", "files_skipped", "docstrings_found", "too_short", "not_prose",
    "exact_duplicates", "kept", "moved_to_train",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One package to read: `folder` holds its modules; None (and version None) when it is not installed."""

    name: str
    module: str
    licence: str
    version: str | None
    folder: Path | None
    skipped: frozenset[str] = frozenset()


class Document(NamedTuple):
    """One docstring: its package, dotted name and cleaned text."""

    package: str
    name: str
    text: str


# Distribution, top module, licence. A closed list: a package outside it is never read.
PACKAGES = (
    ("accelerate", "accelerate", "Apache-2.0"),
    ("datasets", "datasets", "Apache-2.0"),
    ("fsspec", "fsspec", "BSD-3-Clause"),
    ("huggingface_hub", "huggingface_hub", "Apache-2.0"),
    ("jinja2", "jinja2", "BSD-3-Clause"),
    ("joblib", "joblib", "BSD-3-Clause"),
    ("matplotlib", "matplotlib", "matplotlib licence (PSF-based)"),
    ("mpmath", "mpmath", "BSD-3-Clause"),
    ("networkx", "networkx", "BSD-3-Clause"),
    ("numpy", "numpy", "BSD-3-Clause"),
    ("pandas", "pandas", "BSD-3-Clause"),
    ("peft", "peft", "Apache-2.0"),
    ("pyarrow", "pyarrow", "Apache-2.0"),
    ("scikit-learn", "sklearn", "BSD-3-Clause"),
    ("scipy", "scipy", "BSD-3-Clause"),
    ("sympy", "sympy", "BSD-3-Clause"),
    ("torch", "torch", "BSD-3-Clause"),
    ("transformers", "transformers", "Apache-2.0"),
)


def cache_root() -> Path:
    """Folder of everything built or downloaded: $PLUMBLINE_CACHE, else plumbline in the user's cache folder."""
    named = os.environ.get("PLUMBLINE_CACHE")
    if named:
        return Path(named).expanduser()
    parent = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    return (Path(parent) if parent else Path.home() / ".cache") / "plumbline"


def build(name: str, cache_dir: Path | None = None) -> dict[str, Path]:
    """Parquet path of each split of the corpus `name`; built once, then found in `cache_dir` (default `cache_root()`).

    Raises CardError for a name not in `BUILDERS`, DataError when the corpus cannot be built or its copy is damaged.
    """
    if name not in BUILDERS:
        raise CardError(
            f"Expected the name of a builder, one of {sorted(BUILDERS)}, but the data card names {name!r}."
            f"{did_you_mean(name, BUILDERS)} Correct `builder` in the card."
        )
    return BUILDERS[name](cache_root() if cache_dir is None else cache_dir)


def installed_docs(cache_dir: Path) -> dict[str, Path]:
    """The docstrings of the installed packages of `PACKAGES` and of the standard library, see `build_docs`."""
    return build_docs(find_sources(), cache_dir)


BUILDERS: dict[str, Callable[[Path], dict[str, Path]]] = {"installed_docs": installed_docs}


def find_sources() -> list[Source]:
    """`PACKAGES` as installed, then the standard library. Nothing is imported."""
    sources = []
    for name, module, licence in PACKAGES:
        version, folder = None, None
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            found = None
        # An editable install has no folder there: it counts as absent, for its version says nothing of its text.
        if found is not None and (place := Path(str(found.locate_file(module)))).is_dir():
            version, folder = found.version, place
        sources.append(Source(name, module, licence, version, folder))
    stdlib = Path(sysconfig.get_path("stdlib"))
    sources.append(Source("python", "", "PSF-2.0", platform.python_version(), stdlib, _OPTIONAL_STDLIB))
    return sources


def build_docs(sources: Sequence[Source], cache_dir: Path, held_out_share: float = HELD_OUT_SHARE) -> dict[str, Path]:
    """Parquet path of each split, columns text, package, name (str) and cluster (int64); `receipt.json` lies beside.

    The folder's name is a hash of package versions, Python version, `held_out_share` and `BUILDER_VERSION`; the same
    versions give the same bytes. A package edited in place keeps its version, so it goes unnoticed. Raises DataError
    when a split is empty, the receipt's totals do not close, or the copy in `cache_dir` is damaged.
    """
    key = {
        "builder_version": BUILDER_VERSION,
        "python": platform.python_version(),
        "packages": {source.name: source.version for source in sources},
        "held_out_share": held_out_share,
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_dir / f"installed_docs-{digest}"
    cached = _cached(folder)
    if cached is not None:
        return cached

    from pipelines.data.near_duplicates import assign_splits

    documents, packages = collect(sources)
    splits, cluster, near_duplicates = assign_splits([document.text for document in documents], held_out_share)
    for document, moved in zip(documents, near_duplicates.pop("moved"), strict=True):
        packages[document.package]["moved_to_train"] += int(moved)
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=cache_dir) as scratch:
        # A folder inside the temporary one: that one is gone whatever happens, and is private to this user.
        fresh = Path(scratch) / "corpus"
        fresh.mkdir()
        written = {split: _write_split(fresh, split, documents, splits, cluster) for split in SPLITS}
        receipt = {**key, "packages": packages, "near_duplicates": near_duplicates, "splits": written}
        _check_totals(receipt)
        (fresh / "receipt.json").write_text(json.dumps(receipt, indent=2) + "\n", encoding="utf-8")
        return _publish(fresh, folder)


def collect(sources: Sequence[Source]) -> tuple[list[Document], dict[str, dict[str, Any]]]:
    """The documents worth keeping, by package then file then place in the file, and what became of the rest.

    Per package: version, licence and the counts of `_COUNTS`; the first of exactly equal texts is the one kept.
    """
    documents: list[Document] = []
    packages: dict[str, dict[str, Any]] = {}
    seen: set[bytes] = set()
    with _collector_off():
        for source in sorted(sources, key=lambda source: source.name):
            counts: dict[str, Any] = dict.fromkeys(_COUNTS, 0)
            packages[source.name] = {"version": source.version, "licence": source.licence, **counts}
            if source.folder is not None:
                documents.extend(_read_package(source, source.folder, seen, packages[source.name]))
    return documents, packages


def _read_package(source: Source, folder: Path, seen: set[bytes], counts: dict[str, Any]) -> Iterator[Document]:
    """The documents of one package that are long enough, prose and new; adds to `seen` and `counts`."""
    for relative in _python_files(folder):
        parts = relative.split("/")
        if _SKIPPED_NAMES.intersection(parts) or parts[0] in source.skipped:
            counts["files_skipped"] += 1
            continue
        module = ".".join([source.module, *parts] if source.module else parts)
        found = read_docstrings(folder / relative, module.removesuffix(".py").removesuffix(".__init__"))
        counts["files_unreadable" if found is None else "files_read"] += 1
        for name, text in found or ():
            counts["docstrings_found"] += 1
            fate = _fate(text, seen)
            counts[fate] += 1
            if fate == "kept":
                yield Document(source.name, name, text)


def _python_files(folder: Path) -> list[str]:
    """Paths of the .py files below `folder`, relative, with slashes, sorted; other packages' folders are left out."""
    files = []
    for place, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if name not in ("site-packages", "dist-packages", "__pycache__")]
        files += [(Path(place) / name).relative_to(folder).as_posix() for name in names if name.endswith(".py")]
    return sorted(files)


def read_docstrings(path: Path, module: str) -> list[tuple[str, str]] | None:
    """Dotted name and cleaned docstring of the module, classes and functions in a file, in the order of the source.

    None when the file cannot be read as Python: unreadable, not in its declared encoding, or a syntax error.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found = []
    stack: list[tuple[ast.AST, str]] = [(tree, "")]
    while stack:
        node, scope = stack.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = module if isinstance(node, ast.Module) else scope + node.name
            scope = f"{name}." if isinstance(node, ast.Module | ast.ClassDef) else f"{name}.<locals>."
            text = ast.get_docstring(node)
            if text is not None:
                found.append((name, text))
        # Statements only: no expression holds a docstring, and without them the walk takes a twentieth of the parse.
        inner = [child for field in ("body", "handlers", "orelse", "finalbody", "cases")
                 for child in getattr(node, field, ())]  # fmt: skip
        stack.extend((child, scope) for child in reversed(inner))
    return found


def _fate(text: str, seen: set[bytes]) -> str:
    """Which count of the receipt a docstring belongs to; a kept one is added to `seen`."""
    if len(text) < MIN_CHARACTERS:
        return "too_short"
    if _CONTROL.search(text) or len(_WORD.findall(text)) < MIN_WORD_FRACTION * len(text.split()):
        return "not_prose"
    digest = hashlib.sha256(text.encode()).digest()
    if digest in seen:
        return "exact_duplicates"
    seen.add(digest)
    return "kept"


def _write_split(folder: Path, split: str, documents: Sequence[Document], splits: Any, cluster: Any) -> dict[str, Any]:
    """Write one split's Parquet; its rows, bytes of UTF-8 text, and the file's name and SHA-256."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = np.flatnonzero(splits == SPLITS.index(split)).tolist()
    columns: dict[str, Any] = {
        field: pa.array([getattr(documents[row], field) for row in rows], pa.string())
        for field in ("text", "package", "name")
    }
    columns["cluster"] = pa.array(cluster[rows], pa.int64())
    path = folder / f"{split}.parquet"
    pq.write_table(pa.table(columns), path, compression="zstd")
    text_bytes = sum(len(documents[row].text.encode()) for row in rows)
    return {"rows": len(rows), "text_bytes": text_bytes, "file": path.name, "sha256": _sha256(path)}


def _check_totals(receipt: dict[str, Any]) -> None:
    """Raise DataError unless every docstring and every kept document is accounted for and no split is empty."""
    packages, splits = receipt["packages"], receipt["splits"]
    for name, counts in packages.items():
        told = sum(counts[key] for key in ("too_short", "not_prose", "exact_duplicates", "kept"))
        if told != counts["docstrings_found"]:
            raise DataError(f"installed_docs: {told} of {counts['docstrings_found']} docstrings of {name} counted.")
    kept, rows = sum(counts["kept"] for counts in packages.values()), sum(split["rows"] for split in splits.values())
    if kept != rows:
        raise DataError(f"installed_docs: {kept} documents were kept, but the splits hold {rows} rows.")
    empty = [name for name, split in splits.items() if not split["rows"]]
    if empty:
        raise DataError(
            f"installed_docs: expected documents in every split, found none in {', '.join(empty)} ({kept} in all). "
            "Install the project's dependencies in this environment."
        )


def _publish(fresh: Path, folder: Path) -> dict[str, Path]:
    """Rename the finished folder to its final name; when another process came first, use what it made."""
    try:
        os.rename(fresh, folder)
    except OSError as error:
        made = _cached(folder)
        if made is None:
            raise DataError(f"Expected to move the built corpus to {folder}, but: {error}. Free that path.") from error
        return made
    return {split: folder / f"{split}.parquet" for split in SPLITS}


def _cached(folder: Path) -> dict[str, Path] | None:
    """The splits of a finished folder, None when there is no folder; DataError when they are not as written."""
    if not folder.exists():
        return None
    remedy = f"Delete {folder} and run again; it will be rebuilt."
    try:
        splits = json.loads((folder / "receipt.json").read_text(encoding="utf-8"))["splits"]
        damaged = [name for name in SPLITS if _sha256(folder / f"{name}.parquet") != splits[name]["sha256"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"Expected a whole corpus in {folder}, but reading it failed: {error!r}. {remedy}") from error
    if damaged:
        raise DataError(f"Expected the SHA-256 of receipt.json, found another for {', '.join(damaged)}. {remedy}")
    return {split: folder / f"{split}.parquet" for split in SPLITS}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _collector_off() -> Iterator[None]:
    """Garbage collection off: syntax trees hold no cycles, and parsing 17 MB of source took 1.7 s instead of 2.6 s."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
