"""The record of what a run was made with: versions, commit, command, hardware, data."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipelines.run import command_line

PACKAGES = ("plumbline", "torch", "transformers", "datasets", "accelerate", "tokenizers", "numpy", "huggingface_hub")


def environment(data: dict[str, Any]) -> dict[str, Any]:
    """What environment.json says: versions, git commit, command, hardware, and the given data fingerprints."""
    import torch

    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    root = Path(__file__).parents[1]
    hardware: dict[str, Any] = {
        "machine": platform.machine(),
        "processor": _processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": recorded_command(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": versions,
        "git_commit": _git(root, "rev-parse", "HEAD"),
        "git_changes": bool(_git(root, "status", "--porcelain")),
        "hardware": hardware,
        "data": data,
    }


def recorded_command() -> str:
    """The command without its run folder and the place of this checkout: records are published."""
    return command_line("--run.dir").replace(f"{Path(__file__).parents[1]}{os.sep}", "")


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
