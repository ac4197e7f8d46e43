"""Shapes of the YAML values of a data card. Each check names the file, the place in it and what was expected."""

from pathlib import Path
from typing import Any

from pipelines.errors import CardError, did_you_mean


def listed(names: Any) -> str:
    """Names in quotes, or `none`."""
    return ", ".join(repr(name) for name in names) or "none"


def as_mapping(path: Path, value: Any, where: str) -> dict[str, Any]:
    """`value` if it is a map with at least one key."""
    if not isinstance(value, dict) or not value:
        raise CardError(f"{path}: {where} is {value!r}; expected a map `key: value`.")
    return value


def check_keys(
    path: Path,
    value: Any,
    where: str,
    required: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
    closed: bool = True,
) -> None:
    """Refuses what is no map, lacks a required key or (closed) has a key that is neither required nor optional."""
    for key in as_mapping(path, value, where):
        if closed and key not in required + optional:
            raise CardError(
                f"{path}: {where} has the unknown key {key!r}.{did_you_mean(str(key), required + optional)} "
                f"Keys: {', '.join(required + optional)}."
            )
    missing = [key for key in required if key not in value]
    if missing:
        raise CardError(f"{path}: {where} lacks {listed(missing)}.")


def as_list(path: Path, value: Any, where: str, may_be_empty: bool = False) -> list[Any]:
    """`value` if it is a list."""
    if not isinstance(value, list) or not (value or may_be_empty):
        raise CardError(f"{path}: {where} is {value!r}; expected a list `- ...`.")
    return value


def as_string(path: Path, value: Any, where: str) -> str:
    """`value` if it is text."""
    if not isinstance(value, str) or not value.strip():
        raise CardError(f"{path}: {where} is {value!r}; expected text.")
    return value


def as_strings(path: Path, value: Any, where: str) -> tuple[str, ...]:
    """One text or a list of texts, as a tuple."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise CardError(f"{path}: {where} is empty; expected text or a list of texts.")
    return tuple(as_string(path, item, where) for item in values)
