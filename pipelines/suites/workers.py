"""Several processes that share the tasks and seeds of a suite, each with its share of the machine."""

import fcntl
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.run import end_with_parent, run_recipe_with
from pipelines.suites.entries import Entry
from pipelines.training.hardware import cpu_threads

Work = Callable[[Any, str], None]  # (config, recipe) -> what a helper does


def share_of_machine(config: Any) -> Any:
    """The config of one worker: its share of the CPU threads, unless run.threads states them."""
    workers = config.evaluation.workers
    if workers == 1 or config.run.threads is not None:
        return config
    return replace(config, run=replace(config.run, threads=max(1, cpu_threads(None) // workers)))


@contextmanager
def claimed(entry: Entry, seed: int) -> Iterator[bool]:
    """Whether this process has a seed for itself; False if another one is at it. The end of a process lets go of it."""
    entry.folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(entry.folder / f".seed-{seed}.lock", os.O_CREAT | os.O_WRONLY, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = True
    except OSError:
        mine = False
    try:
        yield mine
    finally:
        os.close(lock)


@contextmanager
def helpers(work: Work, config: Any, recipe: str, folder: Path) -> Iterator[None]:
    """Other workers beside this process, evaluation.workers in all. Inside they work; at the end they are waited for.

    Args:
        work: a function of a module: each helper imports it.
        config, recipe: of the run.
        folder: of the run, where each writes what it says to worker-<number>.log.
    """
    spawn = multiprocessing.get_context("spawn")
    started = [
        spawn.Process(target=_help, args=(work, config, recipe, str(folder), number))
        for number in range(1, config.evaluation.workers)
    ]
    for one in started:
        one.start()
    try:
        yield
        for one in started:
            one.join()
    finally:
        for one in started:
            if one.is_alive():
                one.terminate()  # it writes a checkpoint
        for one in started:
            one.join()


def _help(work: Work, config: Any, recipe: str, folder: str, number: int) -> None:
    end_with_parent()
    if "CUDA_VISIBLE_DEVICES" not in os.environ:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(number)  # a GPU for each worker; the first has number 0
    with (Path(folder) / f"worker-{number}.log").open("a", encoding="utf-8") as log:
        sys.stdout = sys.stderr = log
        code = run_recipe_with(lambda: work(config, recipe))
        log.flush()
    os._exit(code)
