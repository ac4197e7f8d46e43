"""Corpora that were loaded before, found again by what they were made of: a second start reads no source.

A record in the cache holds what `loading.load_corpus` came to. The name of the record is a hash of all that decides it:
settings, cards, code, and of each file its path, size, inode and times, as git tells whether a file has changed. Times
tell nothing of a file that was written just before it was read: its next change may fall in the same tick of the clock.
So what was made of such a file is not recorded (git calls this the racy problem), nor what changed while it was read.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.checksums import sha256_of
from pipelines.data.builders import cache_root
from pipelines.data.decontamination import evaluation_sources
from pipelines.data.sources import Source
from pipelines.errors import DataError
from pipelines.sections import CorpusConfig

if TYPE_CHECKING:
    import datasets

SETTLED_SECONDS = 5.0  # above the tick of any file system's clock (FAT: 2 s) and what a server's clock may be behind


@dataclass(frozen=True)
class Origin:
    """What a corpus is made of."""

    key: str
    """Hash of all that decides it, 32 hex digits."""
    is_settled: bool
    """No file was written so shortly before that its times may not tell its next change."""


@dataclass(frozen=True)
class LoadedCorpus:
    """What loading came to."""

    fingerprint: str
    receipt: dict[str, Any]
    splits: dict[str, "datasets.Dataset"]
    told: list[str]
    """What the user was told meanwhile, such as leaks."""


def origin_of(config: CorpusConfig, source: Source, is_trained_on: bool) -> Origin | None:
    """What a corpus is made of, without reading it; None where that is in no files.

    Args:
        config: the data section.
        source: it, opened.
        is_trained_on: as for `load_corpus`.

    Raises:
        CardError, ConfigError, DataError, HubError: an evaluation set of data.decontaminate cannot be found.
    """
    import pyarrow as pa

    now = time.time_ns()
    files: list[tuple[str, str, Path]] = []
    for split, found in source.splits.items():
        if isinstance(found, list):
            files += [(split, f"{file.shown} {file.format} {file.compression}", file.path) for file in found]
        elif found.cache_files:
            files += [(split, found._fingerprint, Path(file["filename"])) for file in found.cache_files]
        else:
            return None
    evaluation, cards = evaluation_sources(config.decontaminate or [])
    files += [("evaluation", f"{file.shown} {file.format} {file.compression}", file.path) for file in evaluation]
    cards += [source.card.path] if source.card is not None else []
    states = [file_state(path) for _, _, path in files]
    decides = {
        "code": _code(),
        "pyarrow": pa.__version__,
        "settings": {field.name: getattr(config, field.name) for field in fields(CorpusConfig)},
        "is_trained_on": is_trained_on,
        "source": [source.name, source.record, source.builder_receipt],
        "cards": [sha256_of(path) for path in cards],
        "files": [(*file[:2], str(file[2].absolute()), state) for file, state in zip(files, states, strict=True)],
    }
    content = json.dumps(decides, sort_keys=True, default=vars)
    written = max((max(state[2:]) for state in states), default=0)
    return Origin(hashlib.sha256(content.encode()).hexdigest()[:32], written < now - SETTLED_SECONDS * 1e9)


def file_state(path: Path) -> tuple[int, int, int, int]:
    """Size in bytes, inode, and the times of the last change of content and inode in ns; a link is followed."""
    found = path.stat()
    return found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


@cache
def _code() -> str:
    """Hash of the modules of this package: whatever changes in them, corpora may come out differently."""
    modules = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256("".join(sha256_of(path) for path in modules).encode()).hexdigest()


def find_loaded(origin: Origin) -> LoadedCorpus | None:
    """What loading came to before; None if it is not recorded, or its documents are not as they were written."""
    try:
        record = json.loads(_record(origin).read_text(encoding="utf-8"))
        folder = corpus_folder(record["fingerprint"])
        states = {split: list(file_state(folder / f"{split}.arrow")) for split in record["files"]}
        if states != record["files"]:
            return None
        return LoadedCorpus(record["fingerprint"], record["receipt"], open_splits(folder, states), record["told"])
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None


def record_loaded(origin: Origin, loaded: LoadedCorpus) -> None:
    """Makes the next start find what loading came to."""
    folder = corpus_folder(loaded.fingerprint)
    record = {
        "fingerprint": loaded.fingerprint,
        "files": {split: file_state(folder / f"{split}.arrow") for split in loaded.splits},
        "receipt": loaded.receipt,
        "told": loaded.told,
    }
    descriptor, aside = tempfile.mkstemp(prefix=".loaded-", dir=cache_root())
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(record, stream)
    os.replace(aside, _record(origin))


def _record(origin: Origin) -> Path:
    return cache_root() / f"loaded-{origin.key}.json"


def corpus_folder(fingerprint: str) -> Path:
    """Where the documents of a corpus are cached."""
    return cache_root() / f"corpus-{fingerprint}"


def open_splits(folder: Path, splits: Iterable[str]) -> dict[str, "datasets.Dataset"]:
    """The cached documents of each split, memory-mapped.

    Raises:
        DataError: a file is missing or is no Arrow stream.
    """
    import datasets
    import pyarrow as pa

    try:
        return {split: datasets.Dataset.from_file(str(folder / f"{split}.arrow")) for split in splits}
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"The cached corpus {folder} is damaged: {reason}. Delete it.") from None
