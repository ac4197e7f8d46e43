"""The labels of a task: which there are, and what a value in the data means."""

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
    def of(cls, found: Iterable[Any], names: tuple[str, ...] | None, rows: int) -> "Labels":
        """The labels of a training split.

        Args:
            found: the values in the training rows.
            names: names that the card, the file or the config states; None: the values themselves are the names.
            rows: how many rows there are.

        Raises:
            DataError: fewer than two labels, or so many that the column can be none of labels.
        """
        distinct: set[Any] = {one for one in found if isinstance(one, str | int) and not (is_number(one) and one < 0)}
        if names is None:
            ordered = sorted(distinct, key=_in_order)
            labels = cls(tuple(map(str, ordered)), {value: index for index, value in enumerate(ordered)})
        else:
            numbered = {index: index for index in range(len(names))}
            labels = cls(names, numbered | {str(i): i for i in numbered} | {name: i for i, name in enumerate(names)})
        if len({labels.values[value] for value in distinct if value in labels.values}) == 1:
            raise DataError(
                f"All rows of the training split have the label {next(iter(distinct))!r}: there is nothing to learn. "
                "Is another column the label? Map it with --data.columns."
            )
        if len(labels) > max(50, rows // 2):
            raise DataError(
                f"The training split has {len(labels):,} different labels in {rows:,} rows, {labels.names[0]!r} among "
                "them. Is another column the label? Map it with --data.columns. For numbers to be predicted, set "
                "--task.problem_type regression."
            )
        return labels

    def find(self, value: Any, what: str = "label") -> int | Problem:
        """The label that a value stands for, or why it is none."""
        if value is None:
            return Problem(f"null_{what}", f"the {what} is missing.")
        if isinstance(value, float):
            return Problem(
                f"{what}_is_float",
                f"the {what} is the number {value!r}, expected a class (a whole number or text). For numbers to be "
                "predicted, set --task.problem_type regression.",
            )
        if is_number(value) and value < 0:
            return Problem(
                f"hidden_{what}",
                f"the {what} is {value}, which marks a hidden one: it can be neither learnt nor scored.",
            )
        index = self.values.get(int(value) if isinstance(value, bool) else value)
        if index is None:
            shown = ", ".join(repr(name) for name in self.names[:10]) + (", ..." if len(self) > 10 else "")
            return Problem(
                f"unknown_{what}",
                f"the {what} {value!r} is none of the {len(self)} of the training split or card: {shown}."
                f"{did_you_mean(str(value), self.names)}",
            )
        return index


def _in_order(value: Any) -> tuple[int, str]:
    """Whole numbers by their size, before words by the alphabet; csv has numbers as text."""
    word = str(value)
    return (len(word) if word.isdigit() else 100, word)


def is_number(value: Any) -> TypeGuard[int]:
    """Whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)
