"""Which column is what. A column is never guessed: it is mapped to a role, or its name is exactly that of the role."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from pipelines.data.card_schema import ROLES, listed, repeated_role
from pipelines.data.cards import DataCard
from pipelines.errors import CardError, ConfigError, DataError, did_you_mean, nearest


@dataclass(frozen=True)
class TextColumn:
    """Finds the column with the role `text` in one file after the other."""

    mapping: Mapping[str, str]  # column -> role
    card: DataCard | None  # the card the mapping comes from; None: data.columns

    def find(self, columns: Sequence[str], shown: str) -> str:
        """Name of the text column among those of a file, which messages call `shown`.

        Raises:
            CardError: the card maps a column that the file does not have.
            DataError: data.columns does so, or nothing is mapped and no column is named `text`.
        """
        for column in self.mapping:
            if column not in columns:
                refuse_missing(self.card, column, columns, shown)
        mapped = [column for column, role in self.mapping.items() if role == "text"]
        name = mapped[0] if mapped else "text"
        if not mapped and ("text" not in columns or "text" in self.mapping):
            raise DataError(_no_text_column(columns, shown))
        if list(columns).count(name) > 1:
            raise DataError(f"{shown} has {list(columns).count(name)} columns named {name!r}. Rename all but one.")
        return name


def check_mapping(columns: Mapping[str, str], key: str = "data.columns") -> None:
    """Checks a mapping of the config by itself. Raises ConfigError for an unknown role or one given twice."""
    for column, role in columns.items():
        if role not in ROLES:
            raise ConfigError(
                f"{key} gives column {column!r} the role {role!r}, which is none.{did_you_mean(role, ROLES)} "
                f"Roles: {', '.join(ROLES)}."
            )
    repeated = repeated_role(columns)
    if repeated:
        raise ConfigError(f"{key} gives columns {listed(repeated[1])} all the role {repeated[0]!r}. Keep one.")


def check_string(arrow_type: Any, column: str, shown: str) -> None:
    """Checks that an Arrow type is one of text. Raises DataError naming the type otherwise."""
    import pyarrow as pa

    inner = arrow_type.value_type if pa.types.is_dictionary(arrow_type) else arrow_type
    if not (pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)):
        raise not_text(column, str(arrow_type), shown)


def not_text(column: str, found: str, where: str) -> DataError:
    """The error for a text column that holds something else."""
    return DataError(
        f"{where}: column {column!r} holds {found}, expected text. "
        "Map another column to the role text with --data.columns, or convert this one."
    )


def _no_text_column(columns: Sequence[str], shown: str) -> str:
    near = nearest("text", columns)
    example = json.dumps(near if near is not None else "<column>", ensure_ascii=False)
    advice = "Map it" if near is not None else "Say which column holds the text"
    return (
        f"{shown} has no column 'text'. Columns found: {listed(columns)}.{did_you_mean('text', columns)}\n"
        f"{advice} with --data.columns '{{{example}: text}}'."
    )


@dataclass(frozen=True)
class RoleColumns:
    """Finds the columns of the roles that a task reads, in one file after the other."""

    mapping: Mapping[str, str]  # column, or path into it such as translation.en -> role
    card: DataCard | None  # the card the mapping comes from; None: data.columns
    required: Sequence[str]
    optional: Sequence[str]
    key: str = "data.columns"

    def check(self, task: str) -> None:
        """Raises ConfigError if data.columns maps a column to a role that the task does not read."""
        roles = [*self.required, *self.optional]
        for column, role in self.mapping.items() if self.card is None else ():
            if role not in roles:
                raise ConfigError(
                    f"{self.key} gives column {column!r} the role {role!r}, which {task} does not read. It reads: "
                    f"{', '.join(self.required)}; if given: {', '.join(self.optional)}."
                )

    def find(self, columns: Sequence[str], shown: str) -> dict[str, list[str]]:
        """The columns of each role among those of a file, which messages call `shown`; one, but for `choices`.

        Raises:
            CardError, DataError: a mapped column is missing, or a required role has none.
        """
        for column in self.mapping:
            if column not in columns and column.split(".")[0] not in columns:
                refuse_missing(self.card, column, columns, shown, self.key)
        found: dict[str, list[str]] = {}
        for role in [*self.required, *self.optional]:
            mapped = [column for column, other in self.mapping.items() if other == role]
            if not mapped and role in columns and role not in self.mapping:
                mapped = [role]
            if mapped:
                found[role] = mapped
            elif role in self.required:
                example = json.dumps(nearest(role, columns) or "<column>", ensure_ascii=False)
                raise DataError(
                    f"{shown} has no column {role!r}. Columns found: {listed(columns)}.{did_you_mean(role, columns)}\n"
                    f"Say which column holds it with --{self.key} '{{{example}: {role}}}'."
                )
        for name in (name for names in found.values() for name in names):
            if list(columns).count(name) > 1:
                raise DataError(f"{shown} has {list(columns).count(name)} columns named {name!r}. Rename all but one.")
        return found


def refuse_missing(
    card: DataCard | None, column: str, columns: Sequence[str], shown: str, key: str = "data.columns"
) -> NoReturn:
    """Raises the error for a mapped column that a file does not have."""
    found = f"{shown} has no column {column!r}. Columns found: {listed(columns)}.{did_you_mean(column, columns)}"
    if card is not None:
        raise CardError(
            f"The card {card.path} maps column {column!r}, but {found} "
            "Correct col_mapping in the card, or override it with --data.columns."
        )
    raise DataError(f"{key} maps column {column!r}, but {found}")
