"""Data cards: `data_cards/<name>/README.md`, a dataset card of the Hugging Face Hub with column roles.

docs/data_cards.md states every key. A card holds facts only and runs no code: what it can start is a builder of
pipelines/data/builders.py, by name.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.data.card_schema import CardConfig, read_configs
from pipelines.data.card_values import as_mapping, as_string, as_strings, listed
from pipelines.data.licenses import LICENSES
from pipelines.errors import CardError, did_you_mean

REGISTRY = Path(__file__).resolve().parents[2] / "data_cards"
REQUIRED_KEYS = ("license", "language", "pretty_name", "task_categories", "configs", "train-eval-index")
CARD_KEYS = (*REQUIRED_KEYS, "license_name", "license_link", "license_details", "dataset_info", "plumbline")
# Keys of the Hub's specification that say nothing about how data is loaded.
HUB_KEYS = frozenset(
    [
        "annotations_creators",
        "arxiv",
        "extra_gated_button_content",
        "extra_gated_fields",
        "extra_gated_heading",
        "extra_gated_prompt",
        "language_bcp47",
        "language_creators",
        "multilinguality",
        "paperswithcode_id",
        "size_categories",
        "source_datasets",
        "tags",
        "task_ids",
        "thumbnail",
        "viewer",
    ]
)


@dataclass(frozen=True)
class DataCard:
    """A validated data card."""

    name: str
    path: Path  # of its README.md
    pretty_name: str
    license: str
    license_name: str | None  # of a licence without an id
    language: tuple[str, ...]
    task_categories: tuple[str, ...]
    configs: dict[str, CardConfig]
    default_config: str | None  # None where several configs stand without a default

    def config(self, name: str | None = None) -> CardConfig:
        """The config of that name, or the default one.

        Raises:
            CardError: no config of that name, or no name where the card has several and no default.
        """
        wanted = name if name is not None else self.default_config
        if wanted is None:
            raise CardError(
                f"{self.path} has several configs: {listed(self.configs)}. Choose one with --data.config_name."
            )
        if wanted not in self.configs:
            raise CardError(
                f"{self.path} has no config {wanted!r}.{did_you_mean(wanted, self.configs)} "
                f"It has: {listed(self.configs)}. Set --data.config_name to one of them."
            )
        return self.configs[wanted]


def list_cards() -> list[str]:
    """Names of the cards in the registry, sorted."""
    return sorted(path.parent.name for path in REGISTRY.glob("*/README.md"))


def load_card(name_or_path: str) -> DataCard:
    """Reads and validates a data card.

    Args:
        name_or_path: a name in the registry `data_cards/`, or the path of a folder that holds a README.md.

    Raises:
        CardError: there is no such card, or it is not valid; names the key, what was found and what is expected.
    """
    path = _find(name_or_path)
    front = _front_matter(path)
    _check_keys(path, front)
    licence = _license(path, front)
    configs = read_configs(path, front)
    defaults = [entry["config_name"] for entry in front["configs"] if entry.get("default") is True]
    if len(defaults) > 1:
        raise CardError(f"{path}: configs {listed(defaults)} are all `default: true`. Keep one.")
    fallback = "default" if "default" in configs else None
    only = next(iter(configs)) if len(configs) == 1 else fallback
    return DataCard(
        name=path.parent.name,
        path=path,
        pretty_name=as_string(path, front["pretty_name"], "pretty_name"),
        license=licence,
        license_name=front.get("license_name"),
        language=as_strings(path, front["language"], "language"),
        task_categories=as_strings(path, front["task_categories"], "task_categories"),
        configs=configs,
        default_config=defaults[0] if defaults else only,
    )


# ---------------------------------------------------------------- finding and reading


def _find(name_or_path: str) -> Path:
    registered = REGISTRY / name_or_path / "README.md"
    is_name = re.fullmatch(r"[\w.-]+", name_or_path) is not None and name_or_path not in {".", ".."}
    if is_name and registered.is_file():
        return registered
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        if (folder / "README.md").is_file():
            return (folder / "README.md").resolve()
        raise CardError(f"The folder {folder} holds no README.md. A data card is a folder with a README.md.")
    if folder.is_file():
        raise CardError(f"{folder} is a file. --data.card takes the folder of a card: {folder.parent}.")
    raise CardError(
        f"There is no data card {name_or_path!r}: neither in {REGISTRY} nor as a folder."
        f"{did_you_mean(name_or_path, list_cards())} Cards: {listed(list_cards())}. "
        "For files without a card use --data.files.train."
    )


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key stated twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 2  # counted from 0, and the card's first line is ---
            if key in lines:
                raise CardError(f"key {key!r} stands twice, in lines {lines[key]} and {line}. Keep one.")
            lines[key] = line
        return super().construct_mapping(node, deep)


def _front_matter(path: Path) -> dict[str, Any]:
    try:
        content = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CardError(f"{path} cannot be read: {error.strerror}. Check its access rights.") from None
    except UnicodeDecodeError as error:
        raise CardError(
            f"{path}: expected UTF-8, found byte {error.object[error.start]:#04x} at {error.start}."
        ) from None
    found = re.match(r"---[ \t]*\n(.*?)\n---[ \t]*(\n|$)", content, flags=re.DOTALL)
    if found is None:
        raise CardError(f"{path}: expected YAML between two lines `---` at the top of the file, found none.")
    try:
        front = yaml.load(found.group(1), Loader=_Loader)
    except CardError as error:
        raise CardError(f"{path}: {error}") from None
    except yaml.YAMLError as error:
        raise CardError(f"{path}: the YAML at the top cannot be read: {' '.join(str(error).split())}") from None
    return as_mapping(path, front, "the YAML at the top")


def _check_keys(path: Path, front: dict[str, Any]) -> None:
    missing = [key for key in REQUIRED_KEYS if key not in front]
    for key in front:
        hint = did_you_mean(str(key), missing or CARD_KEYS)
        if key not in CARD_KEYS and key not in HUB_KEYS:
            raise CardError(
                f"{path}: unknown key {key!r}.{hint} Keys that say how data is loaded: {', '.join(CARD_KEYS)}."
            )
    if missing:
        raise CardError(f"{path}: missing {listed(missing)}. A card states: {', '.join(REQUIRED_KEYS)}.")


def _license(path: Path, front: dict[str, Any]) -> str:
    licenses = as_strings(path, front["license"], "license")
    for licence in licenses:
        if licence not in LICENSES:
            raise CardError(
                f"{path}: license {licence!r} is not a licence id of the Hub.{did_you_mean(licence, LICENSES)} "
                "For one that has no id write `license: other` with `license_name`."
            )
        if licence == "other" and not front.get("license_name"):
            raise CardError(f"{path}: `license: other` needs `license_name` (and better also `license_details`).")
    return ", ".join(licenses)
