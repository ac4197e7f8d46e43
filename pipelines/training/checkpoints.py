"""Checkpoints that are complete or absent: written aside, checksummed, synced, renamed."""

import json
import os
import shutil
from pathlib import Path

from pipelines.checksums import CHECKSUMS, damages, sha256_of
from pipelines.errors import CheckpointError

ASIDE = ".incomplete"
ACCOUNT = "account.json"  # of a checkpoint: what the run has done so far


def seal(aside: Path, final: Path) -> None:
    """Turns a folder of finished files into a checkpoint: SHA-256 of each file, everything on disk, then one rename."""
    checksums = {path.relative_to(aside).as_posix(): sha256_of(path) for path in _files(aside)}
    (aside / CHECKSUMS).write_text(json.dumps(checksums, indent=1), encoding="utf-8")
    for path in [*_files(aside), aside]:
        _sync(path)
    if final.exists():
        shutil.rmtree(final)
    os.replace(aside, final)
    _sync(final.parent)


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, or None: every file that was sealed must be there, unchanged."""
    return next(damages(checkpoint), None)


def weight_names(checkpoint: Path) -> set[str]:
    """Names of the weights in the safetensors files of a checkpoint."""
    from safetensors import safe_open

    names: set[str] = set()
    for path in sorted(checkpoint.glob("model*.safetensors")):
        with safe_open(path, framework="pt") as weights:
            names |= set(weights.keys())
    return names


def step_of(checkpoint: Path) -> int:
    """The optimizer step in the name checkpoint-<step>."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def list_checkpoints(root: Path) -> list[Path]:
    """Folders checkpoint-<step>, the newest first."""
    found = [path for path in root.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=step_of, reverse=True)


def newest_complete(root: Path) -> tuple[Path | None, dict[Path, str]]:
    """The newest undamaged checkpoint, and the newer ones that are damaged, with the reason.

    Raises:
        CheckpointError: there are checkpoints, and every one is damaged.
    """
    damaged: dict[Path, str] = {}
    for checkpoint in list_checkpoints(root):
        reason = damage(checkpoint)
        if reason is None:
            return checkpoint, damaged
        damaged[checkpoint] = reason
    if damaged:
        raise CheckpointError(
            "Every checkpoint of this run is damaged: "
            + "; ".join(f"{checkpoint}: {reason}" for checkpoint, reason in damaged.items())
            + ". Start anew with --run.overwrite true, or restore the files."
        )
    return None, damaged


def set_aside(checkpoint: Path) -> Path:
    """Renames a damaged checkpoint, so that it is neither resumed from nor counted among those to keep."""
    aside = checkpoint.with_name(f"damaged-{checkpoint.name}")
    shutil.rmtree(aside, ignore_errors=True)
    os.replace(checkpoint, aside)
    _sync(aside.parent)
    return aside


def rotate(root: Path, limit: int | None) -> None:
    """Deletes all but the newest `limit` checkpoints (None: keeps all)."""
    for checkpoint in list_checkpoints(root)[limit:] if limit else []:
        shutil.rmtree(checkpoint)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
