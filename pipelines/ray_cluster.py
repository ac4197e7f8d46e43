"""A Ray cluster: joined or started, its nodes held to one installation, its errors told as ours.

What Ray is asked for is little, so that what decides stays in one place: it runs functions on the nodes, says which are
done, runs those of a lost node elsewhere, and ends all of them when this process ends.
"""

import functools
import hashlib
import importlib.util
import logging
import os
import platform
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipelines.errors import ConfigError, PlumblineError
from pipelines.run import say

RETRIES = 3
"""Nodes on which work is tried anew when the one that did it is lost."""
_CONNECT_SECONDS = 5.0
_ADDRESS = "RAY_ADDRESS"


def require_ray(key: str) -> None:
    """Checks that Ray is there, and a cluster at the address if one is stated, without joining it.

    Args:
        key: the setting that asks for it, for messages.

    Raises:
        ConfigError: Ray is not installed, or nothing answers at RAY_ADDRESS.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            f"{key} is ray, which is not installed. Run: pip install -c requirements.lock -e '.[ray]' on every node, "
            f"or set --{key} local."
        )
    address = os.environ.get(_ADDRESS)
    if address is None or address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "://" in address:
        raise ConfigError(
            f"{_ADDRESS} is {address!r}; expected host:port of the cluster's head node, or auto. This process must run "
            "on a node of the cluster."
        )
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        raise ConfigError(
            f"{_ADDRESS} is {address!r}, but nothing answers there ({error.strerror or error}). Start the cluster's "
            f"head node, or unset {_ADDRESS} to use this machine alone."
        ) from None


def join_cluster() -> Any:
    """The module ray, connected: to RAY_ADDRESS, else the cluster that runs on this machine, else one of this machine.

    Raises:
        ConfigError: there is no cluster where one was named.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the future default; Ray warns where it is unset
    import ray

    if not ray.is_initialized():
        on_sigterm = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"No Ray cluster could be joined: {error} Start its head node, or unset {_ADDRESS} to use this machine "
                "alone."
            ) from None
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own would end this process without a word
        nodes = [node for node in ray.nodes() if node["Alive"]]
        told = ", ".join(f"{count:g} {name}" for name, count in sorted(capacity(ray).items()))
        say(f"Ray {ray.__version__}: {len(nodes)} node(s), {told}")
    return ray


def leave_cluster() -> None:
    """Ends what this process has on the cluster; one that was started for it ends as well."""
    if (ray := sys.modules.get("ray")) is not None:
        ray.shutdown()


def capacity(ray: Any) -> dict[str, float]:
    """CPU and GPU of all nodes together, GPU only if there are any."""
    resources = ray.cluster_resources()
    return {name: float(resources[name]) for name in ("CPU", "GPU") if resources.get(name)}


def largest_node(ray: Any, resource: str) -> float:
    """The most of a resource that one node has."""
    return max((float(node["Resources"].get(resource, 0)) for node in ray.nodes() if node["Alive"]), default=0.0)


@contextmanager
def errors_as_ours(lost: str) -> Iterator[None]:
    """Turns Ray's errors into what a user can mend.

    Args:
        lost: what to say when a node or its process ended again and again.

    Raises:
        PlumblineError, OSError: as the remote function raised it.
        ConfigError: the cluster did not get it done.
    """
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, (PlumblineError, OSError)):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise ConfigError(f"{lost} Ray says: {str(error).strip().splitlines()[0]}") from None


def installation(packages: Sequence[str]) -> dict[str, str]:
    """What the result of work depends on: versions of Python, of packages, and of this library's own files."""
    found = {"python": platform.python_version(), "plumbline": _own_digest()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@functools.cache
def _own_digest() -> str:
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def check_node(expected: dict[str, str], folder: Path) -> None:
    """On a node: the same installation as where the run was started, and the same folder.

    Args:
        expected: `installation` there.
        folder: of the run, absolute.

    Raises:
        ConfigError: a version differs, or the folder is not there.
    """
    node = platform.node()
    here = installation([name for name in expected if name not in ("python", "plumbline")])
    for name, wanted in expected.items():
        if here[name] != wanted:
            raise ConfigError(
                f"The Ray node {node} has {name} {here[name]}, the machine on which the run was started {wanted}. "
                "Install the same on every node, with -c requirements.lock and from the same commit."
            )
    if not folder.is_dir():
        raise ConfigError(
            f"The Ray node {node} has no folder {folder}. Name one with --run.dir that all nodes share under the same "
            "path."
        )
