"""A process in which a recipe runs beside this one: what it sees, when it ends, and what it told of an error."""

import os
import re
import subprocess
from typing import Any

from pipelines.run import end_with_parent

_ERROR = re.compile(r"^\w*(?:Error|Exception): .*", re.MULTILINE)
_LAST_WORDS = 40
_OF_LAUNCHERS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def start_recipe(command: list[str], device: str | None = None, **how: Any) -> "subprocess.Popen[Any]":
    """Starts a recipe that gets a SIGTERM if this process ends, however it does (Linux only).

    It reads no input, and sees nothing of the launcher that this process may have been started by.

    Args:
        command: program and arguments.
        device: number of the GPU that it may use; None: as this process.
        how: further arguments of `subprocess.Popen`, such as its streams.
    """
    variables = {
        name: value
        for name, value in os.environ.items()
        if name not in _OF_LAUNCHERS and not name.startswith(("ACCELERATE_", "TORCHELASTIC_"))
    }
    if device is not None:
        variables["CUDA_VISIBLE_DEVICES"] = device
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=variables, preexec_fn=end_with_parent, **how)


def told_error(told: str) -> str:
    """The last error in what a recipe told, as a line; its last words if it told none."""
    errors = _ERROR.findall(told)
    return errors[-1] if errors else " ".join(told.split()[-_LAST_WORDS:]) or "it ended without a word"
