"""Work items done by several processes: each leaves one file, and what has left its file is not done again."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from pipelines.errors import ConfigError
from pipelines.run import end_with_parent

Work = Callable[[Path, Any], None]
Steps = dict[str, tuple[Callable[..., Work], tuple[Any, ...]]]
AHEAD = 2  # items for each process that are read and wait


class Workers:
    """Processes that do the items of several steps, started when the first item comes.

    Args:
        steps: name -> (function that is called once in a process with the settings, and returns the one that does an
            item; its settings).
        processes: how many; 1: this one.
    """

    def __init__(self, steps: Steps, processes: int) -> None:
        self.processes = processes
        self._here = Doer(steps)
        self._pool: ProcessPoolExecutor | None = None

    def do(self, step: str, items: Iterable[tuple[Path, Any]]) -> None:
        """Does the items whose file is not there, in any order.

        Args:
            step: its name.
            items: (file that the item leaves, what it is made of); asked for as processes are free.

        Raises:
            ConfigError: a process ended without a word, as they do when memory is short.
        """
        left = ((path, item) for path, item in items if not path.exists())
        if self.processes == 1:
            for path, item in left:
                self._here.do(step, path, item)
            return
        try:
            self._do_in_pool(step, left)
        except BrokenProcessPool:
            raise ConfigError(
                "A worker process ended without a word, as the system does with processes when memory is short. Run "
                "the same command again with fewer --prepare.workers; what is done is kept."
            ) from None

    def _do_in_pool(self, step: str, items: Iterable[tuple[Path, Any]]) -> None:
        if self._pool is None:
            # Not forked: Arrow has threads, which a forked process would not have.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.processes, context, _begin, (self._here.steps,))
        waiting: set[Future[None]] = set()
        for path, item in items:
            waiting.add(self._pool.submit(_do, step, path, item))
            if len(waiting) >= AHEAD * self.processes:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for one in done:
                    one.result()
        for one in waiting:
            one.result()

    def end(self) -> None:
        """Ends the processes at once, whatever they do: what they write is complete or absent."""
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):
                process.kill()
            self._pool.shutdown(cancel_futures=True)


class Doer:
    """Does items in one process."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self._works: dict[str, Work] = {}

    def do(self, step: str, path: Path, item: Any) -> None:
        """Does an item of a step, which is begun with its first."""
        if step not in self._works:
            begin, settings = self.steps[step]
            self._works[step] = begin(*settings)
        self._works[step](path, item)


_doer: Doer | None = None


def _begin(steps: Steps) -> None:
    global _doer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes; the first one ends the others
    end_with_parent()
    _doer = Doer(steps)


def _do(step: str, path: Path, item: Any) -> None:
    assert _doer is not None
    _doer.do(step, path, item)


def default_workers() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
