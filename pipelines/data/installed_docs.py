"""`installed_docs`: the docstrings of the standard library and of packages the project itself depends on.

They are read with `ast` and never imported. The train, validation and test splits share no near duplicates; see
near_duplicates.py.
"""

import ast
import gc
import hashlib
import os
import platform
import re
import sysconfig
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.data.builders import SPLITS, Built, build_corpus, find_package
from pipelines.errors import DataError

# Part of the cache key: raise it whenever a change here or in near_duplicates.py can change a split.
BUILDER_VERSION = 1

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
_DROPPED = ("too_short", "not_prose", "exact_duplicates")


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


def installed_docs(cache_dir: Path) -> dict[str, Path]:
    """The docstrings of the installed packages of `PACKAGES` and of the standard library, see `build_docs`."""
    return build_docs(find_sources(), cache_dir)


def find_sources() -> list[Source]:
    """`PACKAGES` as installed, then the standard library. Nothing is imported."""
    sources = []
    for name, module, licence in PACKAGES:
        version, folder = find_package(name, module) or (None, None)
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

    def make() -> Built:
        import pyarrow as pa

        from pipelines.data.near_duplicates import assign_splits

        documents, packages = collect(sources)
        splits, cluster, near_duplicates = assign_splits([document.text for document in documents], held_out_share)
        for document, moved in zip(documents, near_duplicates.pop("moved"), strict=True):
            packages[document.package]["moved_to_train"] += int(moved)
        _check_totals(packages)
        columns = {
            field: pa.array([getattr(document, field) for document in documents], pa.string())
            for field in ("text", "package", "name")
        }
        table = pa.table({**columns, "cluster": pa.array(cluster, pa.int64())})
        tables = {split: table.filter(pa.array(splits == number)) for number, split in enumerate(SPLITS)}
        total = {count: sum(told[count] for told in packages.values()) for count in _COUNTS}
        dropped = {reason: total[reason] for reason in _DROPPED}
        receipt = {"packages": packages, "rows_read": total["docstrings_found"], "rows_dropped": dropped}
        return Built(tables, {**receipt, "near_duplicates": near_duplicates})

    remedy = "Install the project's dependencies in this environment."
    return build_corpus("installed_docs", key, cache_dir, make, remedy)


def read_documents(docs: Mapping[str, Path]) -> Iterator[tuple[str, Document]]:
    """Split and docstring of every row of a built corpus: train, then validation, then test."""
    import pyarrow.parquet as pq

    for split in SPLITS:
        for row in pq.read_table(docs[split], columns=list(Document._fields)).to_pylist():
            yield split, Document(**row)


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


def is_prose(text: str) -> bool:
    """Whether a text is free of control characters and at least `MIN_WORD_FRACTION` of it are words."""
    return not _CONTROL.search(text) and len(_WORD.findall(text)) >= MIN_WORD_FRACTION * len(text.split())


def _fate(text: str, seen: set[bytes]) -> str:
    """Which count of the receipt a docstring belongs to; a kept one is added to `seen`."""
    if len(text) < MIN_CHARACTERS:
        return "too_short"
    if not is_prose(text):
        return "not_prose"
    digest = hashlib.sha256(text.encode()).digest()
    if digest in seen:
        return "exact_duplicates"
    seen.add(digest)
    return "kept"


def _check_totals(packages: dict[str, dict[str, Any]]) -> None:
    """Raise DataError unless every docstring of every package is accounted for."""
    for name, counts in packages.items():
        told = counts["kept"] + sum(counts[reason] for reason in _DROPPED)
        if told != counts["docstrings_found"]:
            raise DataError(f"installed_docs: {told} of {counts['docstrings_found']} docstrings of {name} counted.")


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
