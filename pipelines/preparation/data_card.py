"""The data card of a prepared corpus, made of its receipt, in the format of docs/data_cards.md."""

from pathlib import Path
from typing import Any

from pipelines.data.licenses import LICENSES
from pipelines.errors import ConfigError, did_you_mean
from pipelines.preparation_sections import PreparedCardConfig

SHARDS = "train-*.parquet"
_LINES = {"bytes_added_by_normalisation": "repair", "bytes_of_boilerplate_lines": "boilerplate lines"}
_LINES |= {"bytes_added_by_tags": "tags for personal data"}
_OFF = "not looked for"


def check_card(config: PreparedCardConfig) -> None:
    """Raises ConfigError for a licence that is none of the Hub's, or `other` without a name."""
    if config.license is not None and config.license not in LICENSES:
        raise ConfigError(
            f"card.license is {config.license!r}, which is no licence id of the Hub."
            f"{did_you_mean(config.license, LICENSES)} For one that has no id set --card.license other and "
            "--card.license_name."
        )
    if (config.license == "other") != (config.license_name is not None):
        raise ConfigError(
            "card.license_name is the name of a licence that has no id: set it with --card.license other, then alone."
        )


def data_card(receipt: dict[str, Any], config: Any) -> str:
    """README.md of the folder that holds the shards.

    Args:
        receipt: of the whole run: `train`, `source` and `decontamination`.
        config: of the run: what is stated by hand, the languages that were kept, and which steps were on.
    """
    import yaml

    source, card, language = receipt["source"], config.card, config.language
    name = source["pretty_name"]
    pretty = card.pretty_name or f"{name} (prepared)"
    licence = card.license or source["license"] or "unknown"
    licence_name = card.license_name if card.license else source["license_name"]
    rows = receipt["train"]["rows"]["rows_kept"]
    front: dict[str, Any] = {"pretty_name": pretty}
    front["license"] = licence.split(", ") if ", " in licence else licence
    if licence_name:
        front["license_name"] = licence_name
    front |= {
        "language": list(language.keep) if language.enabled else source["language"] or ["und"],
        "task_categories": ["text-generation", "fill-mask"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": SHARDS}]}],
        "dataset_info": {
            "features": [
                {"name": "text", "dtype": "string"},
                {"name": "source_file", "dtype": "string"},
                {"name": "source_row", "dtype": "int64"},
            ],
            "splits": [{"name": "train", "num_examples": rows}],
        },
        "train-eval-index": [
            {
                "config": "default",
                "task": "text-generation",
                "splits": {"train_split": "train"},
                "col_mapping": {"text": "text"},
            }
        ],
    }
    yaml_text = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{yaml_text}---\n\n# {pretty}\n\n{_prose(receipt, config)}"


def _prose(receipt: dict[str, Any], config: Any) -> str:
    train, source = receipt["train"], receipt["source"]
    rows, sizes = train["rows"], train["bytes"]
    table = ["| | rows | bytes |", "|---|---|---|", f"| read | {rows['rows_read']:,} | {sizes['bytes_read']:,} |"]
    table += [
        f"| {reason} | {count:,} | {sizes['bytes_dropped'][reason]:,} |"
        for reason, count in rows["rows_dropped"].items()
    ]
    table += [f"| {told} | | {-sizes[name]:,} |" for name, told in _LINES.items() if sizes[name]]
    table.append(f"| **kept** | **{rows['rows_kept']:,}** | **{sizes['bytes_kept']:,}** |")
    lines = "\n".join(table)
    replaced = ", ".join(f"{count:,} {kind}" for kind, count in train["personal_data_replaced"].items()) or "none"
    personal = f"{replaced}. Found by form and checksum; names are not found" if config.personal_data.enabled else _OFF
    sets = ", ".join(map(_told, receipt["decontamination"])) or "none"
    exact = "dropped" if config.exact_duplicates.enabled else _OFF
    near = "found by an estimate, so some stay" if config.near_duplicates.enabled else _OFF
    return f"""Prepared by Plumbline's `recipes/prepare_corpus.py` from {source["pretty_name"]}.
`config.yaml` of the run states every threshold, `receipt.json` every count.

{lines}

- **Columns.** `text`; `source_file` and `source_row` (from 1) say where a document comes from.
- **Splits.** One, train. Validation is drawn where the corpus is used.
- **Duplicates.** Equal texts: {exact}. Near duplicates: {near}.
- **Personal data replaced by tags.** {personal}.
- **Evaluation sets that were searched.** {sets}.
- **Limits.** The rules drop by form, not by truth.
"""


def _told(one: dict[str, Any]) -> str:
    """An evaluation set; of an absolute path the last part, since a card is published."""
    path = Path(one["name"]).expanduser()
    short = f", {one['rows_too_short']:,} of them too short to tell" if one["rows_too_short"] else ""
    return f"{path.name if path.is_absolute() else one['name']} ({one['rows']:,} rows{short})"
