"""Which column holds the text. A column is never guessed: it is mapped, or its name is exactly `text`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
                self._refuse_missing(column, columns, shown)
        mapped = [column for column, role in self.mapping.items() if role == "text"]
        name = mapped[0] if mapped else "text"
        if not mapped and ("text" not in columns or "text" in self.mapping):
            raise DataError(_no_text_column(columns, shown))
        if list(columns).count(name) > 1:
            raise DataError(f"{shown} has {list(columns).count(name)} columns named {name!r}. Rename all but one.")
        return name

    def _refuse_missing(self, column: str, columns: Sequence[str], shown: str) -> None:
        found = f"{shown} has no column {column!r}. Columns found: {listed(columns)}.{did_you_mean(column, columns)}"
        if self.card is not None:
            raise CardError(
                f"The card {self.card.path} maps column {column!r}, but {found} "
                "Correct col_mapping in the card, or override it with --data.columns."
            )
        raise DataError(f"data.columns maps column {column!r}, but {found}")


def check_mapping(columns: Mapping[str, str]) -> None:
    """Checks data.columns by itself. Raises ConfigError for an unknown role or one given twice."""
    for column, role in columns.items():
        if role not in ROLES:
            raise ConfigError(
                f"data.columns gives column {column!r} the role {role!r}, which is none.{did_you_mean(role, ROLES)} "
                f"Roles: {', '.join(ROLES)}."
            )
    repeated = repeated_role(columns)
    if repeated:
        raise ConfigError(f"data.columns gives columns {listed(repeated[1])} all the role {repeated[0]!r}. Keep one.")


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
