"""The process around a run: exit codes, messages on the first process, the wish to stop."""

import errno
import gc
import os
import re
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from pipelines.checking import CHECK, Checked, attempt, begin_check, leave_check
from pipelines.config import parse_config
from pipelines.errors import PlumblineError

ConfigT = TypeVar("ConfigT")
# New objects between two searches for garbage while libraries are imported, which make some hundred thousand and no
# garbage: at Python's own threshold a fifth of the time of importing transformers goes into searching.
IMPORT_GC_THRESHOLD, GC_THRESHOLD = 50_000, gc.get_threshold()
# What gloo and NCCL raise in a process whose peer is gone.
_PEER_ENDED = re.compile(r"Connection (closed|reset) by peer|remote process exited|NCCL communicator was aborted")
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)


class Interrupted(Exception):
    """The run was asked to stop (SIGINT or SIGTERM) and has saved what it had."""


def launch(
    main: Callable[[ConfigT], None], config_class: type[ConfigT], recipe: str, positional: str | None = None
) -> None:
    """Runs a recipe and ends the process with its exit code; `positional` as for `parse_config`."""
    _follow_launcher()
    signal.signal(signal.SIGTERM, _interrupt)
    gc.set_threshold(IMPORT_GC_THRESHOLD)
    code = run_recipe(main, config_class, recipe, positional=positional)
    sys.stdout.flush()
    sys.stderr.flush()
    if code:
        # Other processes may wait in a collective that this one never joins; a normal exit would wait for them.
        os._exit(code)


def run_recipe(
    main: Callable[[ConfigT], None],
    config_class: type[ConfigT],
    recipe: str,
    argv: list[str] | None = None,
    positional: str | None = None,
) -> int:
    """Runs a recipe and returns its exit code, with what went wrong told on standard error of the first process.

    0 done; 2 a mistake the user can mend, told in one message; 1 a defect, with its traceback; 130 interrupted.
    With --check the recipe runs up to its first step, and what was found is printed.
    """

    def work() -> None:
        main(parse_config(config_class, recipe, argv, positional))

    if CHECK & set(sys.argv[1:] if argv is None else argv):
        return _check_recipe(work, recipe)
    return run_recipe_with(work)


def _check_recipe(work: Callable[[], None], recipe: str) -> int:
    check = begin_check()

    def find() -> None:
        try:
            if attempt(_ends_check, work, otherwise=False):
                check.note("ok", "check", "All steps before the first that trains or writes were gone through.")
                return
            told = "The last error ended the check: what comes after it in a run is not looked at."
        except KeyboardInterrupt:
            told = "Interrupted: what comes after this is not looked at."
        except Exception as error:
            if not check.failed:
                raise
            told = f"What comes next could not be looked at before the errors are mended ({type(error).__name__})."
        check.note("warning", "check", told)

    try:
        code = run_recipe_with(find)
        if is_first_process() and check.findings:
            print(check.table(), flush=True)
            code = code or run_recipe_with(lambda: check.write_json(recipe))
        return code or (2 if check.failed else 0)
    finally:
        leave_check()


def _ends_check(work: Callable[[], None]) -> bool:
    with suppress(Checked):
        work()
    return True


def run_recipe_with(work: Callable[[], None]) -> int:
    """Does the work of a recipe, or of a part of one, and returns its exit code as `run_recipe` does."""
    try:
        work()
    except PlumblineError as error:
        say(f"{type(error).__name__}: {error}")
        return 2
    except (Interrupted, KeyboardInterrupt) as stop:
        told = str(stop) or "Interrupted. What the last checkpoint holds is kept."
        say(f"\n{told}\nTo go on, run the same command again: {command_line()}")
        return 130
    except Exception as error:
        return _unforeseen(error)
    return 0


def _unforeseen(error: Exception) -> int:
    """A full disk and too little GPU memory are the machine's; anything else is ours."""
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        say(f"OSError: {error}. The last checkpoint is whole: make room or mend the disk, then run the command again.")
        return 2
    if "RANK" in os.environ and _PEER_ENDED.search(str(error)):
        # Not told by `say`: the first process may be the one that is gone.
        print(
            "Another process of this run has ended: see what it told, or whether it was killed. The last checkpoint is "
            f"whole; to go on, run the same command again: {command_line()}",
            file=sys.stderr,
        )
        return 2
    if type(error).__name__ == "OutOfMemoryError":
        say(
            f"OutOfMemoryError: {error}\nHalve --training.per_device_train_batch_size and double "
            "--training.gradient_accumulation_steps (same result, and the run goes on), or set "
            "--training.activation_checkpointing true."
        )
        return 2
    if not is_first_process():
        time.sleep(
            5
        )  # if the first process ended with a message, the launcher ends this one before it adds a traceback
    traceback.print_exc()
    print(
        "This is a defect in Plumbline, not in your input. Please report it with the traceback above.", file=sys.stderr
    )
    return 1


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _follow_launcher() -> None:
    """Passes a SIGTERM on that ends `accelerate launch`: it leaves a single child running (Linux only)."""
    if launched_by_accelerate() and "WORLD_SIZE" not in os.environ:
        end_with_parent()


def end_with_parent() -> None:
    """This process gets a SIGTERM when its parent ends (Linux only)."""
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1  # PR_SET_PDEATHSIG, prctl(2)
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def launched_by_accelerate() -> bool:
    """Whether `accelerate launch` started this process: it always sets this variable for its children."""
    return "ACCELERATE_MIXED_PRECISION" in os.environ


def command_line(*without: str) -> str:
    """The command that goes on with this run: as the user typed it, without what would start it anew or stop it again.

    Args:
        without: further flags that are left out.
    """
    arguments = list(sys.argv)
    for flag in ("--run.overwrite", "--run.stop_at_step", *without):
        if flag in arguments:
            place = arguments.index(flag)
            del arguments[place : place + 2]
        arguments = [argument for argument in arguments if not argument.startswith(f"{flag}=")]
    if launched_by_accelerate():
        return f"accelerate launch {shlex.join(arguments)}  (with the same options of accelerate launch)"
    launcher = "torchrun" if "TORCHELASTIC_RUN_ID" in os.environ else "python"
    return f"{launcher} {shlex.join(arguments)}"


def is_first_process() -> bool:
    """Whether this is the process that writes and speaks (rank 0, or the only one)."""
    return int(os.environ.get("RANK", "0")) == 0


def say(line: str) -> None:
    """A line for the user, on standard error of the first process."""
    for lines in _overhearing:
        lines.append(line)
    if is_first_process():
        print(line, file=sys.stderr, flush=True)


def end_imports() -> None:
    """Once the large libraries are imported in a process of `launch`: their objects stay, and are searched no more."""
    if gc.get_threshold()[0] == IMPORT_GC_THRESHOLD:
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)


_overhearing: list[list[str]] = []


@contextmanager
def overhear() -> Iterator[list[str]]:
    """Gathers what is said inside, on every process, to be said again where a result is taken from a cache."""
    lines: list[str] = []
    _overhearing.append(lines)
    try:
        yield lines
    finally:
        _overhearing.pop()


class StopRequest:
    """Turns SIGTERM and Ctrl-C into a wish that training grants after the current step; a second one stops at once."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: Any) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        say("\nStopping after this step, with a checkpoint (again to stop at once).")

    def __call__(self) -> bool:
        return self.requested
