"""Under which licences the material of a run is, and whether everybody may see its data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.publish_sections import PublishConfig
from pipelines.publishing.hub_calls import call
from pipelines.publishing.licenses import License, choose_license
from pipelines.publishing.record import Base, RepoType, license_ids


@dataclass(frozen=True)
class Terms:
    """What is known of the licences of a run's material.

    Attributes:
        bases: ids of the licences of its base models, and of those that they were made from.
        data: ids of the licences of its own data.
        older_data: of the data that its base models were trained on.
        is_public: everybody can see its data: a builder's, or a data set of the Hub that is neither private nor gated.
    """

    bases: tuple[str, ...]
    data: tuple[str, ...]
    older_data: tuple[str, ...]
    is_public: bool

    def license(self, publish: PublishConfig) -> License | None:
        """The licence of the model. Raises ConfigError if these do not allow the one that is chosen."""
        return choose_license(publish, ", ".join(self.bases) or None, ", ".join((*self.data, *self.older_data)) or None)


def terms_of(publish: PublishConfig, bases: Sequence[Base], source: Mapping[str, Any], ask: bool) -> Terms:
    """The terms of a run.

    Args:
        publish: whose base_model is asked for, if it is set.
        bases: checkpoints that it goes on from.
        source: of its data.
        ask: the Hub, for what is not known here; without it, data of the Hub counts as not public.

    Raises:
        HubError: a repository is not there, or the Hub cannot be asked.
    """
    models = [one for base in bases for one in base.licenses]
    data, older = list(license_ids(source["license"])), [one for base in bases for one in base.data_licenses]
    is_public = not source["has_own_files"] and (ask or not source["hub_datasets"])
    if ask:
        stated: list[tuple[str, RepoType]] = [] if publish.base_model is None else [(publish.base_model, "model")]
        for repo_id, repo_type in [*stated, *(one for base in bases for one in base.unknown)]:
            (models if repo_type == "model" else older).extend(_ask(repo_id, repo_type)[0])
        for repo_id in source["hub_datasets"]:
            found, is_open = _ask(repo_id, "dataset")
            data, is_public = data or list(found), is_public and is_open
    return Terms(tuple(dict.fromkeys(models)), tuple(data), tuple(dict.fromkeys(older)), is_public)


def _ask(repo_id: str, repo_type: RepoType) -> tuple[tuple[str, ...], bool]:
    """The licence ids that the card of a repository states, and whether everybody can see it."""
    from huggingface_hub import HfApi

    info: Any = call(f"asking for the licence of {repo_id}", lambda: HfApi().repo_info(repo_id, repo_type=repo_type))
    stated = None if info.card_data is None else info.card_data.get("license")
    return license_ids(stated), not (info.private or info.gated)
