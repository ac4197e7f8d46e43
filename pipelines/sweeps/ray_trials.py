"""A trial on a node of a Ray cluster: an actor that has what the trial needs, and the recipe as its child process.

Optuna decides as it does with trials on this machine. Ray only finds a node with room, and starts a trial of a lost
node on another one, where the run goes on from its last checkpoint in the shared folder.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pipelines.errors import ConfigError
from pipelines.ray_cluster import (
    RETRIES,
    capacity,
    check_node,
    errors_as_ours,
    installation,
    join_cluster,
    largest_node,
)
from pipelines.recipe_process import start_recipe
from pipelines.sweeps.trials import is_locked

PACKAGES = ("numpy", "torch", "transformers", "datasets", "accelerate", "tokenizers")
INTERRUPTED = 130
_LOST = (
    "A trial could not be run: its node or the process that watches it ended again and again. What is done is kept; "
)
_LOST += "the same command goes on."


class TrialActor:
    """On a node: starts a recipe when it is first asked, and tells whether it runs.

    The recipe gets a SIGTERM when this process ends, which Ray ends when the sweep does.

    Args:
        command: program and arguments.
        log: file that what it says is added to, <number>.log beside the run folder <number>.
        directory: in which the sweep runs: relative paths of the recipe's config start there.
        expected: installation of the machine on which the sweep runs.
    """

    def __init__(self, command: list[str], log: Path, directory: Path, expected: dict[str, str]) -> None:
        self.command, self.log, self.directory, self.expected = command, log, directory, expected
        self._process: subprocess.Popen[Any] | None = None

    def poll(self) -> int | None:
        """Its exit code; None while it runs, or waits for one that was started before and still writes."""
        if self._process is None:
            if is_locked(self.log.with_suffix("")):
                return None
            check_node(self.expected, self.log.parent)
            for path in (self.directory, Path(self.command[1]).parent):
                if not path.is_dir():
                    raise ConfigError(
                        f"The Ray node {os.uname().nodename} has no folder {path}. The repository and the folder in "
                        "which the sweep is started must be there on every node, under the same paths."
                    )
            with self.log.open("ab") as stream:
                command = [sys.executable, *self.command[1:]]
                self._process = start_recipe(
                    command, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True, cwd=self.directory
                )
        return self._process.poll()

    def stop(self) -> None:
        """Asks the recipe to write a checkpoint and end."""
        if self._process is not None:
            self._process.terminate()


class RayTrial:
    """A recipe that runs on the cluster; as `TrialProcess`.

    Args:
        command: program and arguments.
        log: file that what it says is added to, in a folder that all nodes share.
        cpus: that it asks for. It asks for a GPU too if the cluster has any.

    Raises:
        ConfigError: no node has so many CPUs, or Ray cannot be joined.
    """

    def __init__(self, command: list[str], log: Path, cpus: int) -> None:
        self._ray = join_cluster()
        most = largest_node(self._ray, "CPU")
        if cpus > most:
            raise ConfigError(
                f"A trial asks for {cpus} CPUs, but the largest node of the Ray cluster has {most:g}. "
                "Lower --run.threads."
            )
        # In its place if it dies another is started, which goes on with the run.
        actor = self._ray.remote(TrialActor).options(
            num_cpus=cpus, num_gpus=1 if "GPU" in capacity(self._ray) else 0, max_restarts=RETRIES
        )
        self._actor = actor.remote(command, log, Path.cwd(), installation(PACKAGES))
        self._asked: Any = None
        self._code: int | None = None
        self._is_running = self._stopping = False

    def poll(self) -> int | None:
        """Its exit code; None while it runs, or waits for a node."""
        if self._code is not None:
            return self._code
        if self._asked is None:
            self._asked = self._actor.poll.remote()
        if not self._ray.wait([self._asked], timeout=0)[0]:
            return None
        asked, self._asked = self._asked, None
        with errors_as_ours(_LOST):
            try:
                self._code = self._ray.get(asked)
            except self._ray.exceptions.ActorUnavailableError:  # being started elsewhere
                return None
        self._is_running = True
        if self._code is not None:
            self._ray.kill(self._actor)  # gives back what it held
        return self._code

    def stop(self) -> None:
        """Asks it to write a checkpoint and end; one that still waits for a node ends at once."""
        if self._stopping or self._code is not None:
            return
        self._stopping = True
        if self._is_running:
            self._actor.stop.remote()
        else:
            self._ray.kill(self._actor)
            self._code = INTERRUPTED

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        while (code := self.poll()) is None:
            time.sleep(0.1)
        return code
