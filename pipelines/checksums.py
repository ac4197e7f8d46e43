"""SHA-256 of files, kept beside them in checksums.json."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

CHECKSUMS = "checksums.json"
# Files of a finished run that may change or come later; of model/ the card, which has the author's own text.
_UNSEALED = (CHECKSUMS, "metrics.json", "published.json", "model/README.md")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def run_checksums(run: Path, metrics: str) -> dict[str, str]:
    """The content of checksums.json of a run folder: path -> SHA-256 of its records and of all in model/.

    Args:
        run: the folder; its checkpoints and members are left out, they have their own or are deleted.
        metrics: what metrics.json will hold, since that is written last.
    """
    sealed = {name: sha256_of(path) for name, path in sealed_files(run).items()}
    return sealed | {"metrics.json": hashlib.sha256(metrics.encode()).hexdigest()}


def sealed_files(run: Path) -> dict[str, Path]:
    """The records of a run folder and all in model/ that checksums are kept of, by their paths in it."""
    files = [*run.iterdir(), *(run / "model").rglob("*")]
    names = {path.relative_to(run).as_posix(): path for path in sorted(files) if path.is_file()}
    return {
        name: path
        for name, path in names.items()
        if name not in _UNSEALED and not name.startswith(".") and path.suffix != ".log"
    }


def damages(folder: Path) -> Iterator[str]:
    """What is wrong with the files that checksums.json of a folder names: each must be there, unchanged."""
    try:
        checksums = dict(json.loads((folder / CHECKSUMS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        yield f"{CHECKSUMS} is missing or unreadable"
        return
    for name, checksum in checksums.items():
        path = folder / name
        if not path.is_file():
            yield f"{name} is missing"
        elif sha256_of(path) != checksum:
            yield f"{name} has changed since it was written"
