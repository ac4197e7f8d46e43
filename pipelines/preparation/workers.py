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
AHEAD = 2  # items for each process that are read and wait

_work: Work | None = None


def do_items(
    items: Iterable[tuple[Path, Any]], begin: Callable[..., Work], settings: tuple[Any, ...], workers: int
) -> None:
    """Does the items whose file is not there, in any order.

    Args:
        items: (file that the item leaves, what it is made of); asked for one after the other, as processes are free.
        begin: called in each process with `settings`; returns the function that does an item.
        settings: what `begin` takes, the same for all.
        workers: processes; 1: this one.

    Raises:
        ConfigError: a process ended without a word, as they do when memory is short.
    """
    left = ((path, item) for path, item in items if not path.exists())
    if workers == 1:
        work: Work | None = None
        for path, item in left:
            work = work or begin(*settings)
            work(path, item)
        return
    # Not forked: Arrow has threads, which a forked process would not have.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (begin, settings))
    try:
        waiting: set[Future[None]] = set()
        for path, item in left:
            waiting.add(pool.submit(_do, path, item))
            if len(waiting) >= AHEAD * workers:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for one in done:
                    one.result()
        for one in waiting:
            one.result()
        pool.shutdown()
    except BrokenProcessPool:
        raise ConfigError(
            "A worker process ended without a word, as the system does with processes when memory is short. Run the "
            "same command again with fewer --prepare.workers; what is done is kept."
        ) from None
    finally:
        for process in (pool._processes or {}).values():  # of an interrupted run; a finished pool has none
            process.kill()
        pool.shutdown(cancel_futures=True)


def _begin(begin: Callable[..., Work], settings: tuple[Any, ...]) -> None:
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes; the first one ends the others
    end_with_parent()
    _work = begin(*settings)


def _do(path: Path, item: Any) -> None:
    assert _work is not None
    _work(path, item)


def default_workers() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
