"""The shape of a data card's front matter: configs, data files, roles and drawn splits, checked key by key."""

import os
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.data.builders import BUILDERS
from pipelines.data.card_features import read_dataset_info
from pipelines.data.card_values import as_list, as_mapping, as_string, as_strings, check_keys, listed
from pipelines.errors import CardError, did_you_mean

SPLITS = ("train", "validation", "test")
ROLES = (
    "text",
    "text_pair",
    "label",
    "document",
    "summary",
    "question",
    "context",
    "answers",
    "source",
    "target",
    "tokens",
    "tags",
    "choices",
    "messages",
    "head",
    "tail",
    "id",
    "group",
)
BUILDER_SCHEME, HUB_SCHEME = "builder://", "hf://datasets/"


@dataclass(frozen=True)
class DrawnSplit:
    """A validation split that the card draws from its training split."""

    method: str  # "hash" or "tail", as data.split_method
    share: float  # of the distinct documents (hash) or of the characters (tail), between 0 and 1
    seed: int


@dataclass(frozen=True)
class CardConfig:
    """One config of a card: which files make which split, and what their columns are."""

    name: str
    data_files: dict[str, tuple[str, ...]]  # split -> hf://, https://, builder:// or absolute local path
    roles: dict[str, str]  # column, or path into a struct such as `translation.en` -> role
    features: tuple[str, ...]  # column names, empty where the card does not state them
    label_names: dict[str, tuple[str, ...]]  # column -> names of the labels 0, 1, ..., where the card states them
    rows: dict[str, int]  # split -> rows, where the card states them
    drawn: DrawnSplit | None


def check_role(role: Any, where: str) -> str:
    """`role` itself if it is on the closed list; `where` begins the message otherwise.

    Raises:
        CardError: not a role.
    """
    if role not in ROLES:
        raise CardError(f"{where}: {role!r} is not a role.{did_you_mean(str(role), ROLES)} Roles: {', '.join(ROLES)}.")
    return str(role)


def repeated_role(columns: Mapping[str, str]) -> tuple[str, list[str]] | None:
    """A role given to more than one column, with those columns. Only `choices` may be spread over several."""
    for role in ROLES:
        named = [column for column, other in columns.items() if other == role]
        if len(named) > 1 and role != "choices":
            return role, named
    return None


# ---------------------------------------------------------------- configs


def read_configs(path: Path, front: dict[str, Any]) -> dict[str, CardConfig]:
    """The configs of a card's front matter, by name, in the card's order.

    Raises:
        CardError: a key, split, path, role or count that is missing, unknown or at odds with another one.
    """
    entries = as_list(path, front["configs"], "configs")
    files: dict[str, dict[str, tuple[str, ...]]] = {}
    for place, entry in enumerate(entries):
        where = f"configs[{place}]"
        check_keys(path, entry, where, required=("config_name", "data_files"), optional=("default",))
        name = as_string(path, entry["config_name"], f"{where}.config_name")
        if name in files:
            raise CardError(f"{path}: two configs are named {name!r}. Rename one.")
        files[name] = _data_files(path, entry["data_files"], f"{where}.data_files")
    drawn = _drawn_splits(path, front.get("plumbline"), files)
    infos = _by_config(path, front.get("dataset_info", []), "dataset_info", files)
    tasks = _by_config(path, front["train-eval-index"], "train-eval-index", files, key="config")
    configs = {}
    for name, data_files in files.items():
        info = read_dataset_info(path, infos.get(name, {}), data_files)
        known = {*data_files, *(["validation"] if name in drawn else [])}
        if name not in tasks:
            raise CardError(f"{path}: train-eval-index says nothing of config {name!r}. Give it a `col_mapping`.")
        roles = _roles(path, tasks[name], name, info.features, known)
        configs[name] = CardConfig(name, data_files, roles, info.features, info.label_names, info.rows, drawn.get(name))
    return configs


def _data_files(path: Path, entries: Any, where: str) -> dict[str, tuple[str, ...]]:
    files: dict[str, tuple[str, ...]] = {}
    for place, entry in enumerate(as_list(path, entries, where)):
        check_keys(path, entry, f"{where}[{place}]", required=("split", "path"))
        split = entry["split"]
        if split not in SPLITS:
            raise CardError(
                f"{path}: {where}[{place}].split is {split!r}.{did_you_mean(str(split), SPLITS)} "
                f"Splits: {', '.join(SPLITS)}."
            )
        if split in files:
            raise CardError(f"{path}: {where} names split {split!r} twice. Make one entry whose path is a list.")
        paths = as_strings(path, entry["path"], f"{where}[{place}].path")
        files[split] = tuple(_data_path(path, item, f"{where}[{place}].path") for item in paths)
    if "train" not in files:
        raise CardError(f"{path}: {where} has no split `train`. Found: {listed(files)}.")
    return files


def _data_path(path: Path, item: str, where: str) -> str:
    if item.startswith(BUILDER_SCHEME):
        builder, _, split = item.removeprefix(BUILDER_SCHEME).partition("/")
        if builder not in BUILDERS:
            raise CardError(
                f"{path}: {where} is {item!r}, but there is no builder {builder!r}.{did_you_mean(builder, BUILDERS)} "
                f"Builders: {listed(sorted(BUILDERS))}."
            )
        if split not in SPLITS:
            raise CardError(f"{path}: {where} is {item!r}; expected {BUILDER_SCHEME}{builder}/<{' | '.join(SPLITS)}>.")
        return item
    if "://" in item:
        if item.startswith("https://") or re.match(re.escape(HUB_SCHEME) + r"[\w.-]+/[\w.-]+(@[^/]+)?/.", item):
            return item
        raise CardError(
            f"{path}: {where} is {item!r}; expected {HUB_SCHEME}<user>/<name>/<file>, https://, "
            f"{BUILDER_SCHEME}<name>/<split> or a path relative to the card's folder."
        )
    normal = posixpath.normpath(item.replace("\\", "/"))
    if normal.startswith("../") or normal == ".." or os.path.isabs(item) or re.match(r"~|[A-Za-z]:", item):
        raise CardError(
            f"{path}: {where} is {item!r}, which leaves the card's folder. Paths of a card are relative to it; "
            "put the file or a copy of the card beside it, or use --data.files.train."
        )
    return str(path.parent / normal)


def _drawn_splits(path: Path, section: Any, files: Mapping[str, Any]) -> dict[str, DrawnSplit]:
    if section is None:
        return {}
    check_keys(path, section, "plumbline", required=("drawn_splits",))
    drawn: dict[str, DrawnSplit] = {}
    for place, entry in enumerate(as_list(path, section["drawn_splits"], "plumbline.drawn_splits")):
        where = f"plumbline.drawn_splits[{place}]"
        check_keys(path, entry, where, required=("split", "from", "method", "share"), optional=("config_name", "seed"))
        name = entry.get("config_name", "default")
        _known_config(path, name, f"{where}.config_name", files)
        if (entry["split"], entry["from"]) != ("validation", "train"):
            raise CardError(
                f"{path}: {where} draws {entry['split']!r} from {entry['from']!r}; "
                "a card can draw validation from train, nothing else."
            )
        if "validation" in files[name] or name in drawn:
            raise CardError(f"{path}: {where} draws a validation split that config {name!r} has already. Keep one.")
        method, share, seed = entry["method"], entry["share"], entry.get("seed", 0)
        if method not in ("hash", "tail"):
            raise CardError(f"{path}: {where}.method is {method!r}; expected hash or tail.")
        if not isinstance(share, float) or not 0 < share < 1:
            raise CardError(f"{path}: {where}.share is {share!r}; expected a number between 0 and 1, such as 0.01.")
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise CardError(f"{path}: {where}.seed is {seed!r}; expected a whole number.")
        drawn[name] = DrawnSplit(method, share, seed)
    return drawn


def _by_config(
    path: Path, section: Any, where: str, files: Mapping[str, Any], key: str = "config_name"
) -> dict[str, dict[str, Any]]:
    """Entries of a section that is one map or a list of maps, by the config they speak of."""
    found: dict[str, dict[str, Any]] = {}
    entries = [section] if isinstance(section, dict) else as_list(path, section, where, may_be_empty=True)
    for place, entry in enumerate(entries):
        name = as_mapping(path, entry, f"{where}[{place}]").get(key, "default")
        _known_config(path, name, f"{where}[{place}].{key}", files)
        if name in found:
            raise CardError(f"{path}: {where} speaks of config {name!r} twice. Keep one entry.")
        found[name] = entry
    return found


def _known_config(path: Path, name: Any, where: str, files: Mapping[str, Any]) -> None:
    if name not in files:
        raise CardError(
            f"{path}: {where} is {name!r}, which is no config.{did_you_mean(str(name), files)} "
            f"Configs: {listed(files)}."
        )


def _roles(path: Path, task: dict[str, Any], config: str, features: tuple[str, ...], known: set[str]) -> dict[str, str]:
    where = f"train-eval-index of config {config!r}"
    check_keys(path, task, where, required=("task", "splits", "col_mapping"), optional=("config", "task_id", "metrics"))
    splits = as_mapping(path, task["splits"], f"{where}: splits")
    for key, split in splits.items():
        if key not in ("train_split", "eval_split", "test_split"):
            raise CardError(
                f"{path}: {where}: splits has the key {key!r}; expected train_split, eval_split, test_split."
            )
        if split not in known:
            raise CardError(
                f"{path}: {where}: {key} is {split!r}, but its configs have only {listed(sorted(known))}."
                f"{did_you_mean(str(split), known)} Add it to data_files or correct it."
            )
    columns = as_mapping(path, task["col_mapping"], f"{where}: col_mapping")
    roles = {
        str(column): check_role(role, f"{path}: {where}: col_mapping.{column}") for column, role in columns.items()
    }
    repeated = repeated_role(roles)
    if repeated:
        raise CardError(f"{path}: {where}: columns {listed(repeated[1])} all have the role {repeated[0]!r}. Keep one.")
    for column in roles:
        if features and column not in features and column.split(".")[0] not in features:
            raise CardError(
                f"{path}: {where} names column {column!r}, but dataset_info.features has "
                f"{listed(features)}.{did_you_mean(column, features)}"
            )
    return roles
