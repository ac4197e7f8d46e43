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

import conftest
from bad_input_files import write
from bad_inputs import AREAS, BadInput, During

GOLDEN = conftest.REPOSITORY / "tests/golden/errors.txt"
DOCS = conftest.REPOSITORY / "docs/errors.md"
KINDS = ("ConfigError: ", "DataError: ", "CardError: ", "CheckpointError: ", "HubError: ")
# What a recipe tells on its way to a message.
PROGRESS = re.compile(
    r"\d+ process\(es\) on CPU, \d+ thread\(s\) each|.* training documents share words with .*|The head of .* is new.*"
)
# Where: a key or flag, a file, a row or line, or what was found in a place that there is one of.
PLACE = re.compile(r"\w+[._]\w+|command line|row \d|line \d|[Ss]tandard input|--\w+|The [\w ]+ (asks|has)|No \w+:")
# What to do: a word that asks for it, or what would be right.
ADVICE = re.compile(
    r"did you mean|expected|please |either |of its own|labelled data is|\bmust |\bneeds? |there is no |no such file|"
    r"\b(add|check|choose|compare|convert|correct|delete|"
    r"give|go on|have|install|it is|it reads|keep|known|leave|lower|map|mend|name|put|raise|rename|restore|run|save|"
    r"say|sections|set|stand|states|take|tasks|train|try|use|wait|without|write|fields found|is it a|is for|suites|"
    r"presets are|supported)\b",
    re.IGNORECASE,
)


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

    def faults(self) -> list[str]:
        """What is wrong with it, as the answer to a bad input."""
        message = self.message
        checks = {
            f"exit code {self.code}": self.code == 2,
            "a traceback": "Traceback" not in self.err,
            f"on standard output: {self.out!r}": self.out == "",
            f"logged: {self.logged}": self.logged == [],
            f"left behind: {self.changed}": self.changed == [],
            "not one message": sum(line.startswith(KINDS) for line in self.err.splitlines()) == 1,
            "something before the message": message.startswith(KINDS),
            "more lines than are read": len(message.splitlines()) <= 5,
            "no place": PLACE.search(message) is not None,
            "no advice": ADVICE.search(message.partition(": ")[2]) is not None,
        }
        return [name for name, is_fine in checks.items() if not is_fine]


def run_bad_input(one: BadInput, folder: Path) -> Outcome:
    """Runs the command of a bad input with its files in a folder."""
    write(folder, dict(one.files))
    return run_command(one.command, folder, one.stdin, one.environment, one.during)


def run_command(
    command: str,
    folder: Path,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
    during: During | None = None,
) -> Outcome:
    """Runs a recipe through its real main, in this process.

    Args:
        command: recipe and flags, such as `pretrain_clm.py --training.max_steps 1`.
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
        stack.enter_context(contextlib.nullcontext() if during is None else during(folder))
        before = tree(folder)
        stack.enter_context(contextlib.chdir(folder))
        stack.enter_context(mock.patch.dict(os.environ, environment or {}))
        stack.enter_context(mock.patch.object(sys, "argv", [f"recipes/{script}", *flags]))
        stack.enter_context(mock.patch.object(sys, "stdin", io.StringIO(stdin)))
        stack.enter_context(logged_warnings(logged))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.enter_context(warnings.catch_warnings(action="error"))
        positional = getattr(module, "POSITIONAL", None)
        code = run_recipe(module.main, module.Config, str(conftest.RECIPES / script), flags, positional)
        after = tree(folder)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return Outcome(code, plain(out.getvalue(), folder), plain(err.getvalue(), folder), logged, changed)


@contextlib.contextmanager
def logged_warnings(found: list[str]) -> Iterator[None]:
    """Collects the warnings that reach a handler of a logger."""

    def handle(self: logging.Handler, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            found.append(f"{record.name}: {record.getMessage()}")

    with mock.patch.object(logging.Handler, "handle", handle):  # a NullHandler has one of its own
        yield


def tree(folder: Path) -> dict[str, tuple[int, int] | None]:
    """All that is in a folder, and what is unfinished in the cache: size and time of files, None for folders."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.name != ".lock"}
    found |= {str(path): path for path in Path(os.environ["PLUMBLINE_CACHE"]).glob(".*")}
    stats = {name: path.stat() for name, path in found.items() if path.is_file()}
    return dict.fromkeys(found) | {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def plain(text: str, folder: Path) -> str:
    """Text without the paths of this machine, and without figures that differ between machines or versions."""
    for path, name in ((folder.resolve(), "{folder}"), (folder, "{folder}"), (conftest.REPOSITORY, "{repository}")):
        text = text.replace(str(path), name)
    return re.sub(r"(?<=a logit changes by )[\d.e-]+|(?<=one of its )\d+(?= codes)", "{number}", text)


# ---------------------------------------------------------------- golden messages


def golden_text(messages: Mapping[str, str]) -> str:
    """The golden file: of each input its id, its command and its message."""
    inputs = [one for inside in AREAS.values() for one in inside]
    return "\n".join(f"=== {one.id}\n$ {one.command}\n{messages[one.id]}\n" for one in inputs)


def read_golden() -> dict[str, str]:
    """The golden messages by the ids of their inputs."""
    _, *parts = re.split(r"^=== (.*)\n\$ .*\n", GOLDEN.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: message.strip("\n") for name, message in zip(parts[::2], parts[1::2], strict=True)}


# ---------------------------------------------------------------- docs

INTRODUCTION = """\
# Messages

What a recipe says when something you can mend is wrong: {count} examples by area, with what was typed, what it answers,
why, and what to do. The tests run each of them, and hold the answers to this page.

There is one message, with exit code 2, before the first step wherever that can be known. It says what was expected,
what was found, where (a key, a file, a row, a column), and what to do. Nothing is half-written: no run folder is made.

| exit code | means |
|---|---|
| 0 | done |
| 2 | something you can mend: one message, no traceback |
| 130 | interrupted; the last checkpoint is kept, and the same command goes on |
| 1 | a defect of ours: a traceback, and the request to report it |

| a message begins with | it is about |
|---|---|
| `ConfigError` | a setting: unknown, of the wrong type, or at odds with another one |
| `DataError` | a file, column or row |
| `CardError` | a data card |
| `CheckpointError` | a run folder or checkpoint that is damaged or not finished |
| `TrainingError` | training that cannot go on: a loss that is not finite |
| `VerificationError` | a finished run that is not what its files say |
| `ProofError` | a proof of the run's arithmetic, before its first step, that did not hold |
| `HubError` | the Hugging Face Hub: it was not reached, or it refused |
| `OSError`, `OutOfMemoryError` | the machine: a full disk, too little GPU memory |

`accelerate launch` adds a traceback of its own (`CalledProcessError`) below the message; with `--quiet` it does not.
`{{folder}}` stands for the folder that a command was run in, `{{repository}}` for that of Plumbline, `{{number}}` for a
figure of your machine; `small.yaml` is a config of a small run. Long lines are broken here. This page is made by
`python tests/write_errors.py`.

{contents}
"""
WIDTH = 118
VALUES = "true|false|null|drop|tail|paragraph|line|regression|truncate|likelihood|chatml|text_infilling|2"
FLAG = re.compile(rf"(?<![`\w])--\w+(\.\w+)*( '[^']*'| ({VALUES})\b)?")


def docs_text(messages: Mapping[str, str]) -> str:
    """The page docs/errors.md."""
    contents = "\n".join(f"- [{area}](#{area.lower().replace(' ', '-')})" for area in AREAS)
    parts = [INTRODUCTION.format(count=len(messages), contents=contents)]
    for area, inputs in AREAS.items():
        parts.append(f"## {area}\n")
        parts += [f"### {one.id[0].upper()}{one.id[1:]}\n\n{example(one, messages[one.id])}\n" for one in inputs]
    return "\n".join(parts)


def example(one: BadInput, message: str) -> str:
    """What was typed and answered, with the files that are short, and its cause and cure."""
    lines = []
    for name, content in one.files.items():
        if isinstance(content, str) and name != "small.yaml" and 0 < len(content) <= 320:
            lines += [f"$ cat {name}", *content.rstrip("\n").split("\n")]
    variables = "".join(f"{name}={value} " for name, value in one.environment.items())
    typed = "".join(f"echo {shlex.quote(line)} | " for line in one.stdin.splitlines())
    lines += [f"$ {typed}{variables}{one.command}", *message.split("\n")]
    shown = [part for line in lines for part in wrapped(line)]
    why = FLAG.sub(r"`\g<0>`", f"**Cause.** {one.cause} **Cure.** {one.cure}")
    why = textwrap.fill(why, 120, break_long_words=False, break_on_hyphens=False)
    return "\n".join(["```console", *shown, "```", "", why])


def wrapped(line: str) -> list[str]:
    """A line broken at blanks."""
    kept = {"break_long_words": False, "break_on_hyphens": False, "expand_tabs": False, "replace_whitespace": False}
    return textwrap.wrap(line, WIDTH, **kept) or [""]


# ---------------------------------------------------------------- all of it


def main() -> None:
    """Runs all, and writes both files; nothing is written where a command is answered otherwise than it should be."""
    with tempfile.TemporaryDirectory() as root:
        for name in ("PLUMBLINE_CACHE", "HF_HOME", "HF_DATASETS_CACHE"):
            os.environ[name] = f"{root}/{name.lower()}"
        messages = {}
        for one in (one for inputs in AREAS.values() for one in inputs):
            outcome = run_bad_input(one, Path(tempfile.mkdtemp(dir=root)))
            if outcome.faults():
                raise SystemExit(f"{one.id}: {'; '.join(outcome.faults())}\n{outcome.err}")
            messages[one.id] = outcome.message
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(golden_text(messages), encoding="utf-8")
    DOCS.write_text(docs_text(messages), encoding="utf-8")
    print(f"{len(messages)} messages in {GOLDEN} and {DOCS}")


if __name__ == "__main__":
    main()
