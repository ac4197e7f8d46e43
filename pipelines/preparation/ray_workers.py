"""The same work items as in `workers.py`, done by all nodes of a Ray cluster that share the run folder.

An item is a Ray task: of a node that is lost Ray does its items elsewhere. What an item leaves is a file, complete or
absent, so that one that is done twice, by a node that only seemed to be lost, changes nothing.
"""

import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipelines.preparation.workers import AHEAD, Doer, Steps
from pipelines.ray_cluster import (
    RETRIES,
    capacity,
    check_node,
    errors_as_ours,
    installation,
    join_cluster,
    leave_cluster,
)

PACKAGES = ("numpy", "pyarrow", "xxhash", "ftfy", "py3langid")
_LOST = "A work item could not be done: the process or the node that did it ended again and again. Items hold a chunk "
_LOST += (
    "several times in memory: lower --prepare.chunk_megabytes, in another run folder, if memory was short. What is "
)
_LOST += "done is kept; the same command goes on."


class RayWorkers:
    """Tasks on the cluster, which is joined by then, or when the first item comes.

    Args:
        steps: as for `Workers`.
        tasks: at once at most; None: as many as the cluster has CPUs, and so many again that wait.
        folder: the run folder, absolute.
    """

    def __init__(self, steps: Steps, tasks: int | None, folder: Path) -> None:
        self.steps, self.tasks, self.folder = steps, tasks, folder
        self._ray: Any = None
        self._key = uuid.uuid4().hex

    def do(self, step: str, items: Iterable[tuple[Path, Any]]) -> None:
        """Does the items whose file is not there, in any order; as `Workers.do`.

        Raises:
            ConfigError: Ray cannot be joined, its nodes differ, or an item was lost on several of them.
        """
        waiting: list[Any] = []
        for path, item in items:
            if path.exists():
                continue
            if self._ray is None:
                self._ray = join_cluster()
                # Sent to each node once, and in a list, so that it is read once in each process and not for each item.
                self._sent = [self._ray.put((self.steps, installation(PACKAGES), self.folder))]
                self._task = self._ray.remote(_do).options(num_cpus=1, max_retries=RETRIES)
            with errors_as_ours(_LOST):
                while len(waiting) >= self._room():
                    done, waiting = self._ray.wait(waiting)
                    self._ray.get(done)
            waiting.append(self._task.remote(self._key, self._sent, step, path, item))
        if waiting:
            with errors_as_ours(_LOST):
                self._ray.get(waiting)

    def _room(self) -> int:
        """Tasks that may wait or run: nodes may join and leave."""
        return self.tasks or AHEAD * max(1, int(capacity(self._ray).get("CPU", 1)))

    def end(self) -> None:
        """Leaves the cluster, which ends all tasks of this process at once."""
        if self._ray is not None:
            leave_cluster()


_doers: dict[str, Doer] = {}  # of a process on a node: key of a run -> what does its items


def _do(key: str, sent: list[Any], step: str, path: Path, item: Any) -> None:
    """An item, on a node."""
    if key not in _doers:
        import ray

        steps, expected, folder = ray.get(sent[0])
        check_node(expected, folder)
        _doers[key] = Doer(steps)
    _doers[key].do(step, path, item)
