"""Runs every bad input of tests/bad_inputs.py, and writes what it is told: tests/golden/errors.txt and docs/errors.md.

python tests/write_errors.py

Read the difference (git diff) before you commit it: what stands there is what users read.
"""

import contextlib
import importlib
import io
import logging
import os
import re
import shlex
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from bad_input_files import write
from bad_inputs import AREAS, BadInput
from conftest import RECIPES, REPOSITORY

GOLDEN = REPOSITORY / "tests/golden/errors.txt"
DOCS = REPOSITORY / "docs/errors.md"
KINDS = ("ConfigError", "DataError", "CardError", "CheckpointError", "TrainingError", "HubError", "OSError")
# What a recipe tells on its way to a message: where it runs, and what it leaves out of the data.
PROGRESS = re.compile(r"\d+ process\(es\) on CPU, \d+ thread\(s\) each|.* training documents share words with .*")
WIDTH = 110  # of the messages in the docs


@dataclass(frozen=True)
class Outcome:
    """What became of a command.

    Attributes:
        code: its exit code.
        out, err: what it printed.
        logged: warnings that were logged.
        changed: files of its folder that are new, gone or changed.
    """

    code: int
    out: str
    err: str
    logged: list[str]
    changed: list[str]

    @property
    def message(self) -> str:
        """What was printed, without the lines of progress before it."""
        lines = self.err.splitlines()
        while lines and PROGRESS.fullmatch(lines[0]):
            del lines[0]
        return "\n".join(lines)


def run_bad_input(one: BadInput, folder: Path) -> Outcome:
    """Runs the command of a bad input in process, with its files in a folder, which it is run in."""
    write(folder, dict(one.files))
    return run_command(one.command, folder, one.stdin, one.environment, one.during)


def run_command(
    command: str,
    folder: Path,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
    during: BadInput.During | None = None,
) -> Outcome:
    """Runs a recipe with flags through its real main, in a folder.

    Args:
        command: such as `pretrain_clm.py --training.max_steps 1`.
        folder: that it is run in.
        stdin: what stands on standard input.
        environment: variables that are set.
        during: what holds while it runs.
    """
    from pipelines.run import run_recipe

    script, *flags = shlex.split(command)
    module = importlib.import_module(script.removesuffix(".py"))
    out, err, logged = io.StringIO(), io.StringIO(), []
    with contextlib.ExitStack() as stack:
        stack.enter_context(during(folder) if during is not None else contextlib.nullcontext())
        before = tree(folder)
        stack.enter_context(contextlib.chdir(folder))
        stack.enter_context(mock.patch.dict(os.environ, environment or {}))
        stack.enter_context(mock.patch.object(sys, "argv", [f"recipes/{script}", *flags]))
        stack.enter_context(mock.patch.object(sys, "stdin", io.StringIO(stdin)))
        stack.enter_context(log_of_warnings(logged))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("error")
        positional = getattr(module, "POSITIONAL", None)
        code = run_recipe(module.main, module.Config, str(RECIPES / script), flags, positional)
        after = tree(folder)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return Outcome(code, plain(out.getvalue(), folder), plain(err.getvalue(), folder), logged, changed)


@contextlib.contextmanager
def log_of_warnings(found: list[str]) -> Iterator[None]:
    """Collects the warnings that any logger lets through."""

    def handle(self: logging.Handler, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            found.append(f"{record.name}: {record.getMessage()}")

    with mock.patch.object(logging.Handler, "handle", handle):  # a NullHandler has one of its own
        yield


def tree(folder: Path) -> dict[str, bytes | None]:
    """All that is in a folder: the content of files, None for folders. A lock is no content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.name != ".lock"
    }


def plain(text: str, folder: Path) -> str:
    """Text without what differs between machines: the folder, the repository, the versions of what is installed."""
    for path, name in ((folder.resolve(), "{folder}"), (folder, "{folder}"), (REPOSITORY, "{repository}")):
        text = text.replace(str(path), name)
    return text


# ---------------------------------------------------------------- golden messages


def entries() -> Iterator[tuple[str, BadInput]]:
    """(area, bad input) in the order of the catalogue."""
    for area, inside in AREAS.items():
        yield from ((area, one) for one in inside)


def golden_text(messages: Mapping[str, str]) -> str:
    """The golden file: for each input its name, its command and its message."""
    parts = [f"=== {one.id}\n$ {one.command}\n{messages[one.id]}\n" for _, one in entries()]
    return "\n".join(parts)


def read_golden() -> dict[str, str]:
    """The golden messages by the ids of their inputs."""
    parts = re.split(r"^=== (.*)\n\$ .*\n", GOLDEN.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: message.strip("\n") for name, message in zip(parts[1::2], parts[2::2], strict=True)}


# ---------------------------------------------------------------- docs
