"""What a check found, and what was said while it ran."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LIBRARIES = ("transformers", "accelerate", "datasets", "torch")


@dataclass(frozen=True)
class Finding:
    """One row of the table.

    Attributes:
        check: name of the check; several rows of one check differ behind a colon.
        should_hold: what a user may expect.
        trainer: what plain transformers did, with figures.
        holds: whether that is what should hold; None: not measured.
        plumbline: what Plumbline did on the same input, with figures.
        plumbline_holds: whether that is what should hold.
        figures: the figures of both, unrounded, for the JSON file.
    """

    check: str
    should_hold: str
    trainer: str
    holds: bool | None
    plumbline: str
    plumbline_holds: bool | None
    figures: dict[str, Any]


@contextlib.contextmanager
def heard() -> Iterator[list[str]]:
    """Warnings and log messages (of level warning and above) of the libraries, as a list instead of on the terminal."""
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging as transformers_logging

    messages: list[str] = []
    listener = _Listener(messages)
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    before = [(one.handlers[:], one.level, one.propagate) for one in loggers]
    had_bars, had_datasets_bars = transformers_logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    transformers_logging.disable_progress_bar()
    disable_progress_bars()
    try:
        for one in loggers:
            one.handlers, one.propagate = [listener], False
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield messages
    finally:
        messages += [str(one.message) for one in warned]
        for one, (handlers, level, propagate) in zip(loggers, before, strict=True):
            one.handlers, one.propagate = handlers, propagate
            one.setLevel(level)
        if had_bars:
            transformers_logging.enable_progress_bar()
        if had_datasets_bars:
            enable_progress_bars()


class _Listener(logging.Handler):
    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def told(messages: list[str]) -> str:
    """How a cell tells whether anything was said."""
    return "nothing was said" if not messages else f"said: {messages[0].splitlines()[0][:90]!r}"


def quoted(error: BaseException) -> str:
    """An error in a cell: its type and the beginning of its message."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__} ({message[:70]}{'...' if len(message) > 70 else ''})"
