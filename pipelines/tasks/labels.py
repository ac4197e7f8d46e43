"""The labels of a task: which there are, and what a value in the data means."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeGuard

from pipelines.data.labelled import Problem
from pipelines.errors import DataError, did_you_mean


@dataclass(frozen=True)
class Labels:
    """Labels 0, 1, ... by name, and the value in the data that stands for each."""

    names: tuple[str, ...]
    values: dict[Any, int]

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def named(cls, names: Iterable[str]) -> "Labels":
        """Labels that data calls by their name; numbers count from 0 (csv has them as text)."""
        known = tuple(names)
        numbered = {index: index for index in range(len(known))}
        by_digits = {str(index): index for index in numbered}
        return cls(known, numbered | by_digits | {name: index for index, name in enumerate(known)})

    @classmethod
    def of(
        cls,
        found: Iterable[Any],
        names: tuple[str, ...] | None,
        rows: int,
        least: int = 2,
        what: str = "label",
        advice: str = "",
    ) -> "Labels":
        """The labels of a training split.

        Args:
            found: the values in the training rows.
            names: names that the card, the file or the config states; None: the values themselves are the names.
            rows: how many rows there are.
            least: how many labels a task needs.
            what: label or tag, for messages.
            advice: for messages on values that are no classes.

        Raises:
            DataError: fewer labels, or so many that the column can be none of labels.
        """
        there = [one for one in found if isinstance(one, str | int | float) and not _is_missing(one)]
        plain = {_plain(one) for one in there}
        distinct = {one for one in plain if isinstance(one, str | int) and not _is_hidden(one)}
        if names is None and there and all(isinstance(one, bool) for one in there):
            names = ("False", "True")
        if names is None:
            ordered = sorted({str(one) for one in distinct}, key=_in_order)
            by_name: dict[Any, int] = {name: index for index, name in enumerate(ordered)}
            by_number = {int(name): index for name, index in by_name.items() if name.isdecimal()}
            labels = cls(tuple(ordered), by_name | by_number)
        else:
            labels = cls.named(names)
        known = {labels.values[value] for value in distinct if value in labels.values}
        if len(known) < least and plain <= labels.values.keys():  # what is none is told row by row
            only = f"have the {what} {next(iter(distinct))!r}" if distinct else f"are without a {what}"
            raise DataError(
                f"All rows of the training split {only}: there is nothing to learn. Is another column the {what}? "
                "Map it with --data.columns."
            )
        if len(labels) > max(50, rows // 2):
            raise DataError(
                f"The training split has {len(labels):,} different {what}s in {rows:,} rows, {labels.names[0]!r} among "
                f"them. Is another column the {what}? Map it with --data.columns.{advice}"
            )
        return labels

    def find(self, value: Any, what: str = "label", floats: str = "") -> int | Problem:
        """The label that a value stands for, or why it is none; `floats` is advice for numbers that are no classes."""
        if _is_missing(value):
            return Problem(f"null_{what}", f"the {what} is missing.")
        value = _plain(value)
        if isinstance(value, float):
            return Problem(
                f"{what}_is_float",
                f"the {what} is the number {value!r}, expected a class (a whole number or text).{floats}",
            )
        if value not in self.values and _is_hidden(value):
            told = f"the {what} is {value}, which marks a hidden one: it can be neither learnt nor scored."
            return Problem(f"hidden_{what}", told)
        index = self.values.get(value) if isinstance(value, str | int) else None
        if index is None:
            shown = ", ".join(repr(name) for name in self.names[:10]) + (", ..." if len(self) > 10 else "")
            told = f"the {what} {value!r} is none of the {len(self)} of the training split or card: {shown}."
            hint = did_you_mean(str(value), self.names)
            if is_number(value) and str(value) in self.names:
                hint = f" Numbers count from 0: 0 to {len(self) - 1} stand for these names."
            return Problem(f"unknown_{what}", told + hint)
        return index


def _is_missing(value: Any) -> bool:
    """Nothing, or an empty field of a csv file."""
    return value is None or (isinstance(value, str) and not value.strip())


def _is_hidden(value: Any) -> bool:
    """A whole number below 0, also as text."""
    return (is_number(value) and value < 0) or (isinstance(value, str) and re.fullmatch(r"-\d+", value) is not None)


def _plain(value: Any) -> Any:
    """Truth values as 0 and 1, and whole numbers as such: a reader makes floats of a column where one value is."""
    is_whole = isinstance(value, bool) or (isinstance(value, float) and value.is_integer())
    return int(value) if is_whole else value


def _in_order(word: str) -> tuple[int, str]:
    """Whole numbers by their size, before words by the alphabet; csv has numbers as text."""
    return (len(word) if word.isdigit() else 100, word)


def is_number(value: Any) -> TypeGuard[int]:
    """Whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)
