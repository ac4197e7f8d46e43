"""What is found out before the first step of a run that will be published, so that no push fails after it."""

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.checking import attempt, checking
from pipelines.config import config_to_yaml
from pipelines.data.sources import stated_source
from pipelines.environment import recorded_command
from pipelines.errors import ConfigError
from pipelines.pretrained import checkpoint_of
from pipelines.publish_sections import PublishConfig
from pipelines.publishing.contents import check_adapter_base, leak_message
from pipelines.publishing.hub_calls import call
from pipelines.publishing.leaks.search import find_leaks
from pipelines.publishing.licenses import License
from pipelines.publishing.metadata import base_ids
from pipelines.publishing.record import Base, RepoType, bases_of
from pipelines.publishing.rights import check_destination, check_names, check_tag
from pipelines.publishing.terms import terms_of
from pipelines.run import say


def check_before_training(publish: PublishConfig, config: Any) -> None:
    """Checks all of a push that can be known before a run.

    Args:
        publish: with repo_id, which a rehearsal (dry_run) may leave out.
        config: the resolved config of the run.

    Raises:
        ConfigError: the repository's name, its licence or a setting is wrong; the config holds what must not leave.
        HubError: no access token, one without write rights, or the Hub cannot be reached.
    """
    attempt(check_names, publish, otherwise=None)
    source = stated_source(config.data)
    model = getattr(config, "model", None)
    bases = [] if model is None else bases_of(dataclasses.asdict(model))
    if publish.weights == "adapter":
        attempt(_check_adapter, publish, config, bases, otherwise=None)
    if publish.export:
        attempt(_check_export, model, otherwise=None)
    if publish.records:
        attempt(_check_config, config, publish.hide, otherwise=None)
    if publish.dry_run:
        terms_of(publish, bases, source, ask=False).license(publish)
        return
    destination = check_destination(publish, "model")
    check_tag(destination, publish.git_tag)
    license = terms_of(publish, bases, source, ask=True).license(publish)
    check_card(f"---\n{_metadata(publish, bases, source, license)}\n---\n", "model")
    stated = "without a licence (--publish.license)" if license is None else f"under {license.shown}"
    told = f"Will be published as {destination.repo_id}, {'private' if destination.private else 'public'}, {stated}"
    say(told)
    if (check := checking()) is not None:
        check.note("ok", "publish", told)


def check_card(text: str, repo_type: RepoType) -> None:
    """Has the Hub judge the metadata of a card. Raises ConfigError with what it says."""
    from huggingface_hub import RepoCard

    try:
        call("checking the card's metadata", lambda: RepoCard(text).validate(repo_type))
    except ValueError as error:
        raise ConfigError(f"The Hub refuses the metadata of the card: {' '.join(str(error).split())}") from None


def _check_adapter(publish: PublishConfig, config: Any, bases: Sequence[Base]) -> None:
    if getattr(getattr(config, "lora", None), "r", None) is None:
        raise ConfigError("publish.weights is adapter, but the run trains none. Set --lora.r, or leave it out.")
    check_adapter_base(publish, bases)


def _check_export(model: Any) -> None:
    """Raises ConfigError if a model of this section cannot be exported."""
    from transformers import AutoConfig

    from pipelines.models.build import scratch_values
    from pipelines.publishing.export import check_export

    check_export()
    if model is None:
        raise ConfigError("publish.export is for models of transformers, and this recipe makes none. Leave it out.")
    if model.name is None:
        model_type = scratch_values(model)["model_type"]
        known = None if model_type == "recurrent" else AutoConfig.for_model(model_type)
    else:
        known = checkpoint_of("model.name", model.name, model.revision).load("config", AutoConfig.from_pretrained)
        model_type = known.model_type
    joined = getattr(model, "decoder_name", None) is not None
    if known is None or known.is_encoder_decoder or joined:
        what = "a recurrent model" if known is None else "an encoder-decoder"
        raise ConfigError(
            f"publish.export is set, but the model is of type {model_type}: {what} cannot be exported. Leave it out."
        )


def _check_config(config: Any, hide: bool) -> None:
    """Raises ConfigError if the config or the command holds what would stop the push after the run."""
    with tempfile.TemporaryDirectory(prefix="plumbline-") as aside:
        written = {"run/config.yaml": config_to_yaml(config), "run/environment.json": recorded_command()}
        files = {name: Path(aside) / name.replace("/", "-") for name in written}
        for name, text in written.items():
            files[name].write_text(text, encoding="utf-8")
        leaks = [leak for leak in find_leaks(files) if not (hide and leak.can_be_hidden)]
    if leaks:
        raise ConfigError(leak_message(leaks))


def _metadata(publish: PublishConfig, bases: Sequence[Base], source: Mapping[str, Any], license: License | None) -> str:
    """What is known of the card's front matter before training."""
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        **(license.metadata if license else {}),
        language=publish.language or source["language"] or None,
        base_model=base_ids(bases, publish) or None,
        datasets=source["hub_datasets"] or None,
        tags=["plumbline", *publish.tags],
    )
    return str(data.to_yaml())
