"""A process that runs recipes and Python source one after the other, so that torch and transformers are imported once.

Its environment decides which Hub it speaks to: huggingface_hub reads HF_ENDPOINT when it is imported.
"""

import importlib
import io
import json
import linecache
import os
import select
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
LONGEST_SLEEP_SECONDS = 0.02


@dataclass(frozen=True)
class Done:
    """How a call ended.

    Attributes:
        code: exit code.
        out, err: what was printed, also by libraries and child processes.
        waits: the seconds that time.sleep was asked for.
    """

    code: int
    out: str
    err: str
    waits: list[float]


class HubWorker:
    """A worker process while the context lasts; after one that hung or crashed, the next call starts another."""

    def __init__(self, environment: Mapping[str, str], timeout_seconds: float = 120.0) -> None:
        self.environment = {**os.environ, **environment, "OMP_NUM_THREADS": "1"}
        self.timeout_seconds = timeout_seconds
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "HubWorker":
        self._printed = [tempfile.TemporaryFile(buffering=0) for _ in range(2)]  # noqa: SIM115
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        for file in self._printed:
            file.close()

    def run(self, recipe: str, *argv: str, stdin: str | None = None, cwd: Path | None = None) -> Done:
        """Runs a recipe by the name of its module, such as "predict", with the exit code of its process."""
        return self._call({"recipe": recipe, "argv": list(argv), "stdin": stdin, "cwd": cwd and str(cwd)})

    def execute(self, code: str, cwd: Path) -> Done:
        """Runs Python source as a script of its own; code 1 and a traceback in `err` if it raises."""
        return self._call({"code": code, "stdin": None, "cwd": str(cwd)})

    def _start(self) -> None:
        read, write = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(write)],
            **dict(zip(("stdout", "stderr"), self._printed, strict=True)),
            stdin=subprocess.PIPE,
            env=self.environment,
            pass_fds=(write,),
            text=True,
        )
        os.close(write)
        self._answers = os.fdopen(read)

    def _stop(self) -> None:
        """Ends the process: at the end of its input, or after ten seconds by force."""
        if self._process is None:
            return
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()
        self._process = None

    def _call(self, wanted: dict[str, Any]) -> Done:
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._start()
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        is_ready = select.select([self._answers], [], [], self.timeout_seconds)[0]
        line = self._answers.readline() if is_ready else ""
        out, err = (self._take(file) for file in self._printed)
        if not line:
            self._process.kill()
            self._stop()
            ended = "ended" if is_ready else f"was ended after {self.timeout_seconds} s"
            raise RuntimeError(f"The worker {ended} in {wanted}\n{out}\n{err}")
        answer = json.loads(line)
        return Done(answer["code"], out, err, answer["waits"])

    @staticmethod
    def _take(file: Any) -> str:
        """What was printed, which is then gone; the place in the file is shared with the process."""
        file.seek(0)
        text = file.read().decode(errors="replace")
        file.seek(0)
        file.truncate()
        return text


def serve() -> None:
    """Answers each call, a line of JSON on standard input, with a line of JSON in the pipe of the first argument."""
    sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "recipes")]
    calls, answers = os.fdopen(os.dup(0)), os.fdopen(int(sys.argv[1]), "w")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    waits: list[float] = []
    sleep = time.sleep

    def sleep_shortly(seconds: float) -> None:
        waits.append(seconds)
        sleep(min(seconds, LONGEST_SLEEP_SECONDS))

    time.sleep = sleep_shortly
    for line in calls:
        wanted = json.loads(line)
        waits.clear()
        code = _exit_code(wanted)
        answers.write(json.dumps({"code": code, "waits": waits}) + "\n")
        answers.flush()


def _exit_code(wanted: dict[str, Any]) -> int:
    """The exit code of a process that did what is wanted, in its folder and with its standard input."""
    folder, arguments, stdin = os.getcwd(), sys.argv, sys.stdin
    sys.argv = [f"recipes/{wanted['recipe']}.py", *wanted["argv"]] if "recipe" in wanted else ["-c"]
    sys.stdin = io.TextIOWrapper(io.BytesIO((wanted["stdin"] or "").encode()), encoding="utf-8")
    try:
        os.chdir(wanted["cwd"] or folder)
        return _run(wanted) if "recipe" in wanted else _execute(wanted["code"])
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        os.chdir(folder)
        sys.argv, sys.stdin = arguments, stdin
        sys.stdout.flush()
        sys.stderr.flush()


def _run(wanted: dict[str, Any]) -> int:
    from pipelines.run import run_recipe

    module = importlib.import_module(wanted["recipe"])
    positional = getattr(module, "POSITIONAL", None)
    return run_recipe(module.main, module.Config, module.__file__, wanted["argv"], positional=positional)


def _execute(code: str) -> int:
    name = f"<source {len(linecache.cache)}>"
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)  # for tracebacks
    exec(compile(code, name, "exec"), {"__name__": "__main__"})
    return 0


if __name__ == "__main__":
    serve()
