"""The section `dataset_info` of a data card: columns, names of labels, row counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.data.card_values import as_list, as_mapping, as_string, check_keys, listed
from pipelines.errors import CardError

# Keys under which the Hub's YAML writes what a list holds; `sequence` is the word of datasets before 4.
_LISTS = ("list", "sequence", "large_list")


@dataclass(frozen=True)
class DatasetInfo:
    """What a card states of the columns and rows of one config; empty where it states nothing."""

    features: tuple[str, ...] = ()
    label_names: dict[str, tuple[str, ...]] = field(default_factory=dict)  # column -> names of 0, 1, ...
    rows: dict[str, int] = field(default_factory=dict)  # split -> rows


def read_dataset_info(path: Path, info: dict[str, Any], splits: Mapping[str, Any]) -> DatasetInfo:
    """The entry of `dataset_info` that speaks of the config with these splits.

    Raises:
        CardError: a key, class label, split or count that is missing, unknown or malformed.
    """
    if not info:
        return DatasetInfo()
    where = "dataset_info"
    check_keys(path, info, where, optional=("config_name", "features", "splits", "download_size", "dataset_size"))
    features, labels = [], {}
    for place, feature in enumerate(as_list(path, info.get("features", []), f"{where}.features", may_be_empty=True)):
        at = f"{where}.features[{place}]"
        check_keys(path, feature, at, required=("name",), closed=False)
        name = as_string(path, feature["name"], f"{at}.name")
        features.append(name)
        names = _label_names(path, feature, f"{at} ({name})")
        if names is not None:
            labels[name] = names
    rows = {}
    for place, split in enumerate(as_list(path, info.get("splits", []), f"{where}.splits", may_be_empty=True)):
        at = f"{where}.splits[{place}]"
        check_keys(path, split, at, required=("name", "num_examples"), optional=("num_bytes",))
        if split["name"] not in splits:
            raise CardError(f"{path}: {at}.name is {split['name']!r}, but configs have {listed(splits)}.")
        if not isinstance(split["num_examples"], int) or split["num_examples"] < 1:
            raise CardError(f"{path}: {at}.num_examples is {split['num_examples']!r}; expected a count of rows.")
        rows[split["name"]] = split["num_examples"]
    return DatasetInfo(tuple(features), labels, rows)


def _label_names(path: Path, feature: dict[str, Any], where: str) -> tuple[str, ...] | None:
    """Names of the labels of a column that is a class label or a list of them (of lists, ...), None for any other."""
    kind: Any = feature
    while isinstance(kind, dict) and "class_label" not in kind:
        kind = next((kind[key] for key in ("dtype", *_LISTS) if key in kind), None)
    if kind is None or not isinstance(kind, dict):
        return None
    check_keys(path, kind["class_label"], f"{where}: class_label", required=("names",))
    names = kind["class_label"]["names"]
    if isinstance(names, dict):
        by_number = {
            str(number): name for number, name in as_mapping(path, names, f"{where}: class_label.names").items()
        }
        numbers = [str(number) for number in range(len(names))]
        if set(by_number) != set(numbers):
            raise CardError(
                f"{path}: {where}: class_label.names has the keys {listed(by_number)}; expected 0 to "
                f"{len(names) - 1}, each once and in quotes: `names: {{'0': negative, '1': positive}}`."
            )
        names = [by_number[number] for number in numbers]
    found = tuple(
        as_string(path, name, f"{where}: the name of label {number}")
        for number, name in enumerate(as_list(path, names, f"{where}: class_label.names"))
    )
    repeated = sorted({name for name in found if found.count(name) > 1})
    if repeated:
        raise CardError(f"{path}: {where}: class_label.names has {listed(repeated)} more than once. Rename one.")
    return found
