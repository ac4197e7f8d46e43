"""Which licence a model may have, by those of its base model and of its data."""

from dataclasses import dataclass
from typing import Any

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
    + ["cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"]
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

    @property
    def metadata(self) -> dict[str, Any]:
        """Keys of a card's metadata."""
        ids = self.id.split(", ")
        return {
            "license": ids if len(ids) > 1 else self.id,
            "license_name": self.name,
            "license_link": self.link,
        }

    @property
    def shown(self) -> str:
        """For messages."""
        return self.name or self.id


def choose_license(publish: PublishConfig, base: str | None, data: str | None) -> License | None:
    """The licence that a model is published under: the author's choice, else that of its base model, else none.

    This is arithmetic with licence names, no legal advice. Licences that are not stated, or are `other`, bind nothing
    here: the card names them.

    Args:
        publish: its license, license_name and license_link.
        base: licence ids of the base model, parted by commas.
        data: licence ids of the training data, parted by commas.

    Raises:
        ConfigError: no licence id; or one that the licence of base model or data does not allow.
    """
    chosen = publish.license
    if chosen != "other" and (publish.license_name or publish.license_link):
        raise ConfigError("publish.license_name and license_link go with --publish.license other. Set it.")
    if chosen is not None and chosen not in LICENSES:
        raise ConfigError(
            f"publish.license {chosen!r} is no licence id of the Hub.{did_you_mean(chosen, LICENSES)} For one that has "
            "no id: --publish.license other --publish.license_name NAME."
        )
    if chosen == "other" and not publish.license_name:
        raise ConfigError("publish.license is other, which needs its name: set --publish.license_name.")
    of_base = [] if base is None else base.split(", ")
    taken = of_base if chosen is None else [chosen]
    for given in of_base:
        _check(taken, given, "base model", SHARE_ALIKE)
    for given in [] if data is None else data.split(", "):
        _check(taken, given, "training data", frozenset())
    if chosen is not None:
        return License(chosen, publish.license_name, publish.license_link)
    is_plain = len(set(of_base)) == 1 and of_base[0] in LICENSES - {"other", "unknown"}
    return License(of_base[0]) if is_plain else None


def _check(taken: list[str], given: str, of: str, kept: frozenset[str]) -> None:
    """Raises ConfigError if a licence forbids those that are taken; none: the card will state none.

    Args:
        taken: licence ids of the model.
        given: licence id of what it is made of.
        of: what that is, for messages.
        kept: licences that have to be kept.
    """
    shown = ", ".join(taken) or None
    if given in NO_DERIVATIVES:
        raise ConfigError(
            f"The {of} has the licence {given}, which allows no derived works: a model made of it cannot be published. "
            "Train on another."
        )
    if given in kept and given not in taken and "other" not in taken:
        raise ConfigError(
            f"The {of} has the licence {given}, which models made of it must keep; publish.license is {shown}. Set "
            f"--publish.license {given}, or leave it out."
        )
    if given in NON_COMMERCIAL and not (set(taken) & NON_COMMERCIAL or "other" in taken):
        raise ConfigError(
            f"The {of} has the licence {given}, for non-commercial use alone; publish.license is {shown}. Set one that "
            f"forbids it too, such as --publish.license {given}, or other with its name."
        )
