"""Stands in for the module ray, as far as the library uses it: one node, tasks done when they are submitted.

What is sent goes through pickle, as Ray sends it. Each task is done twice, as Ray does one of a node that seemed lost.
"""

import pickle
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock


class RayError(Exception):
    pass


class RayTaskError(RayError):
    """As Ray raises what a task raised: with its traceback in the message."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(f"Traceback (most recent call last):\n  {cause}")
        self.cause = cause


class ActorUnavailableError(RayError):
    pass


class Reference:
    def __init__(self, make: Callable[[], Any]) -> None:
        self.is_ready = True
        try:
            self.value, self.error = pickle.loads(pickle.dumps(make())), None
        except RayError as error:
            self.error = error
        except Exception as error:
            self.error = RayTaskError(error)


def over(value: Any, references: list[Reference]) -> Any:
    """A value as it comes out at the other end; references go over as they are."""
    return value if value in ([one] for one in references) else pickle.loads(pickle.dumps(value))


class StandIn(ModuleType):
    """The module.

    Attributes:
        before: called before each task with its arguments; may raise.
        killed: actors that were killed.
        asked: options of each task or actor.
    """

    def __init__(self, cpus: int = 2, gpus: int = 0) -> None:
        super().__init__("ray")
        self.__version__ = "0"
        self.exceptions = SimpleNamespace(
            RayError=RayError, RayTaskError=RayTaskError, ActorUnavailableError=ActorUnavailableError
        )
        self.resources = {"CPU": float(cpus)} | ({"GPU": float(gpus)} if gpus else {})
        self.before: Callable[..., None] = lambda *_: None
        self.is_up, self.most_waiting = False, 0
        self.killed: list[Any] = []
        self.asked: list[dict[str, Any]] = []
        self.kept: list[Reference] = []

    def init(self, **_: Any) -> None:
        self.is_up = True
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def is_initialized(self) -> bool:
        return self.is_up

    def shutdown(self) -> None:
        self.is_up = False

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": self.resources}, {"Alive": False, "Resources": {"CPU": 99.0}}]

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def put(self, value: Any) -> Reference:
        self.kept.append(Reference(lambda: value))
        return self.kept[-1]

    def get(self, references: Any) -> Any:
        if isinstance(references, list):
            return [self.get(one) for one in references]
        if references.error is not None:
            raise references.error
        return references.value

    def wait(self, references: list[Reference], timeout: float | None = None) -> tuple[list[Any], list[Any]]:
        self.most_waiting = max(self.most_waiting, len(references))
        done = [one for one in references if one.is_ready][:1]
        return done, [one for one in references if one not in done]

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)

    def remote(self, what: Any) -> Any:
        def options(**asked: Any) -> Any:
            self.asked.append(asked)
            return SimpleNamespace(remote=self._actor(what) if isinstance(what, type) else self._task(what))

        return SimpleNamespace(options=options)

    def _task(self, function: Callable[..., Any]) -> Callable[..., Reference]:
        def submit(*given: Any) -> Reference:
            def twice() -> Any:
                self.before(*given)
                function(*(over(one, self.kept) for one in given))
                return function(*(over(one, self.kept) for one in given))

            return Reference(twice)

        return submit

    def _actor(self, kind: type) -> Callable[..., Any]:
        def make(*given: Any) -> Any:
            actor = kind(*(over(one, self.kept) for one in given))
            methods = {}
            for name in ("poll", "stop"):
                call = getattr(actor, name)
                methods[name] = SimpleNamespace(remote=lambda call=call: Reference(lambda: (self.before(), call())[1]))
            return SimpleNamespace(actor=actor, **methods)

        return make


@contextmanager
def stand_in(**how: Any) -> Iterator[StandIn]:
    """The module in place of ray, whether that is installed or not."""
    import importlib.util
    import sys

    found, ray = importlib.util.find_spec, StandIn(**how)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    spec = lambda name, package=None: SimpleNamespace() if name == "ray" else found(name, package)  # noqa: E731
    with mock.patch.dict(sys.modules, ray=ray), mock.patch.object(importlib.util, "find_spec", spec):
        try:
            yield ray
        finally:
            signal.signal(signal.SIGTERM, on_sigterm)
