"""Which licence a model may have, by those of its base model and of its data."""

from dataclasses import dataclass

from pipelines.data.licenses import LICENSES
from pipelines.errors import ConfigError, did_you_mean
from pipelines.publish_sections import PublishConfig

# What derived models must keep: their own terms say so (share-alike, copyleft, use restrictions that are passed on).
SHARE_ALIKE = frozenset(
    [
        "agpl-3.0",
        "gpl",
        "gpl-2.0",
        "gpl-3.0",
        "cc-by-sa-3.0",
        "cc-by-sa-4.0",
        "cdla-sharing-1.0",
        "eupl-1.1",
        "eupl-1.2",
    ]
    + ["odbl", "osl-3.0", "openrail", "openrail++", "bigcode-openrail-m", "bigscience-openrail-m"]
    + ["bigscience-bloom-rail-1.0", "creativeml-openrail-m", "gemma", "grok2-community"]
    + ["llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4"]
)
NON_COMMERCIAL = frozenset(
    [name for name in LICENSES if name.startswith("cc-by-nc")]
    + ["fair-noncommercial-research-license", "apple-amlr", "intel-research", "h-research"]
)
NO_DERIVATIVES = frozenset(name for name in LICENSES if "-nd-" in name)


@dataclass(frozen=True)
class License:
    """A licence of a model, by the Hub's names."""

    id: str
    name: str | None = None
    link: str | None = None


def choose_license(publish: PublishConfig, base: str | None, data: str | None) -> License | None:
    """The licence that a model is published under: the author's choice, else that of its base model, else none.

    This is arithmetic with licence names, no legal advice. Licences that are not stated, or are `other`, bind nothing
    here: the card names them.

    Args:
        publish: its license, license_name and license_link.
        base: licence id of the base model.
        data: licence ids of the training data, parted by commas.

    Raises:
        ConfigError: no licence id; or one that the licence of base model or data does not allow.
    """
    chosen = publish.license
    if chosen is None and (publish.license_name or publish.license_link):
        raise ConfigError("publish.license_name and license_link go with --publish.license other. Set it.")
    if chosen is not None and chosen not in LICENSES:
        raise ConfigError(
            f"publish.license {chosen!r} is no licence id of the Hub.{did_you_mean(chosen, LICENSES)} For one that has "
            "no id: --publish.license other --publish.license_name NAME."
        )
    if chosen == "other" and not publish.license_name:
        raise ConfigError("publish.license is other, which needs its name: set --publish.license_name.")
    if base is not None:
        _check(chosen, base, "base model")
    for one in [] if data is None else data.split(", "):
        _check(chosen, one, "training data", is_data=True)
    if chosen is None:
        return None if base is None or base in ("other", "unknown") else License(base)
    return License(chosen, publish.license_name, publish.license_link)


def _check(chosen: str | None, given: str, of: str, is_data: bool = False) -> None:
    """Raises ConfigError if a licence forbids what is chosen; None: the base model's own."""
    if given in NO_DERIVATIVES:
        raise ConfigError(
            f"The {of} has the licence {given}, which allows no derived works: a model made of it cannot be published. "
            "Train on another."
        )
    if given in NON_COMMERCIAL and chosen not in NON_COMMERCIAL | {"other"} and (is_data or chosen is not None):
        raise ConfigError(
            f"The {of} has the licence {given}, for non-commercial use alone; publish.license is {chosen}. Set one "
            f"that forbids it too, such as --publish.license {given.replace('-sa', '')}, or other with its name."
        )
    if given in SHARE_ALIKE and not is_data and chosen not in (None, given, "other"):
        raise ConfigError(
            f"The {of} has the licence {given}, which models made of it must keep; publish.license is {chosen}. Set "
            f"--publish.license {given}, or leave it out."
        )
