"""Publishing a run: checked before its first step, pushed when it is done, and called published when it loads back."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.checking import attempt, checking, end_check
from pipelines.errors import ConfigError
from pipelines.publish_sections import PublishConfig
from pipelines.publishing.checks import check_before_training, check_card
from pipelines.publishing.contents import CARD, Staged, check_model, refuse_leaks, stage_model
from pipelines.publishing.licenses import choose_license
from pipelines.publishing.model_card import model_card, write_card
from pipelines.publishing.own_text import own_text
from pipelines.publishing.push import ASIDE, locked, push, rehearsal, require_repo_id, show
from pipelines.publishing.record import PUBLISHED, Record, read_record
from pipelines.publishing.rights import Destination, check_destination, check_names, check_tag
from pipelines.publishing.terms import Terms, terms_of
from pipelines.report import finish_run
from pipelines.run import is_first_process, say
from pipelines.run_folder import RunFolder, find_run_folder, report_if_finished


def open_run(config: Any, recipe: str) -> RunFolder | None:
    """The run folder of a config, found and not made, once it is known that the run can be published if it will be.

    Args:
        config: the resolved config.
        recipe: path of the recipe.

    Returns:
        The folder; None if the run is finished: then its result is told, and it is pushed if the config says so.

    Raises:
        ConfigError: the folder cannot be used; the repository's name, its licence or a setting is wrong; the config
            holds what must not leave.
        HubError: no access token, one without write rights, or the Hub cannot be reached.
    """
    folder = attempt(find_run_folder, config, recipe, otherwise=RunFolder(Path("runs"), Path(recipe).stem))
    if checking() is None and report_if_finished(folder, config):
        _publish(folder, config)
        return None
    publish = attempt(wanted, folder, config, otherwise=config.publish)
    attempt(choose_license, publish, None, None, otherwise=None)  # is it one?
    if publish.repo_id is None and not publish.dry_run:
        attempt(_check_effect, publish, otherwise=None)
    elif is_first_process():
        attempt(check_before_training, publish, config, otherwise=None)
    return folder


def finish_and_publish(folder: RunFolder, metrics: Mapping[str, float], config: Any) -> None:
    """The last step of every training recipe: the model card, the report, metrics.json, and the push if one is wanted.

    Raises:
        ConfigError, CheckpointError, HubError: it cannot be pushed. The run is finished all the same.
    """
    write_card(folder, metrics, config.publish)
    finish_run(folder, dict(metrics))
    _publish(folder, config)


def _publish(folder: RunFolder, config: Any) -> None:
    publish = wanted(folder, config)
    if (publish.repo_id is not None or publish.dry_run) and is_first_process():
        push_model(folder, publish)


def _check_effect(publish: PublishConfig) -> None:
    """Raises ConfigError for a setting of a push where there will be none."""
    of_cards = ("license", "license_name", "license_link", "base_model", "language", "tags")
    changed = [name for name, value in vars(PublishConfig()).items() if getattr(publish, name) != value]
    idle = [name for name in changed if name not in of_cards]
    if idle:
        raise ConfigError(
            f"publish.{idle[0]} is {getattr(publish, idle[0])}, which has no effect without --publish.repo_id."
        )


def wanted(folder: RunFolder, config: Any) -> PublishConfig:
    """The section publish, with training.push_to_hub and hub_model_id taken into it.

    Raises:
        ConfigError: two names of the repository.
    """
    publish: PublishConfig = config.publish
    training = getattr(config, "training", None)
    if training is None or not getattr(training, "push_to_hub", False):
        return publish
    names = {name for name in (training.hub_model_id, publish.repo_id) if name is not None}
    if len(names) > 1:
        raise ConfigError(
            f"training.hub_model_id is {training.hub_model_id!r} and publish.repo_id {publish.repo_id!r}: they are two "
            "names of the same. Keep one."
        )
    return replace(publish, repo_id=next(iter(names), f"{folder.recipe}-{folder.path.name}"))


def push_model(folder: RunFolder, publish: PublishConfig) -> None:
    """Pushes the model of a finished run.

    Args:
        folder: of the run.
        publish: with repo_id, which a rehearsal (dry_run) may leave out.

    Raises:
        CheckpointError: a file of the run is damaged.
        ConfigError: what is wanted cannot be, or something would leave that must not.
        HubError: the Hub refused, or what it gives back is not what was pushed. The same command goes on.
    """
    record = read_record(folder.path)
    check_model(record)
    check_names(publish)
    if publish.dry_run:
        with rehearsal(folder) as into:
            terms = terms_of(publish, record.bases, record.source, ask=False)
            staged = _stage(record, publish, terms, publish.repo_id or "user/name", record.own_text, into)
        end_check()
        show(staged, "model", publish)
        return
    require_repo_id(publish)
    destination = check_destination(publish, "model")
    # The last commit may be this run, pushed in part.
    check_tag(destination, publish.git_tag, record.pushed.get("commit"), destination.head)
    terms = terms_of(publish, record.bases, record.source, ask=True)
    own = _own_text(record, destination)
    with locked(folder), tempfile.TemporaryDirectory(prefix=ASIDE, dir=folder.path) as aside:
        staged = _stage(record, publish, terms, destination.repo_id, own, Path(aside) / "repository")
        check_card(staged.files[CARD].read_text(encoding="utf-8"), "model")
        end_check()
        model = record.model if "model" in record.config else None
        published = push(destination, staged, f"Model of {record.recipe}", publish, model)
        own_texts = record.pushed.get("own_texts", {}) | {destination.repo_id: own}
        folder.write_json(PUBLISHED, published | {"own_texts": own_texts})
        card = model_card(record, publish, terms.license(publish), ".", own)
        RunFolder(record.model).write_text(CARD, card)


def _stage(record: Record, publish: PublishConfig, terms: Terms, repo_id: str, own: str, into: Path) -> Staged:
    license = terms.license(publish)
    record = replace(record, shows_rows=terms.is_public)
    if terms.data and not record.source["license"]:
        source = record.source | {"license": ", ".join(terms.data)}
        record = replace(record, receipt=record.receipt | {"source": source})
    staged = stage_model(record, publish, into)
    if "onnx" in publish.export:
        from pipelines.publishing.export import export_onnx

        say("Exporting to ONNX")
        export_onnx(record.model, into / "onnx")
    (into / CARD).write_text(model_card(record, publish, license, repo_id, own), encoding="utf-8")
    refuse_leaks(staged, publish.hide)
    return staged


def _own_text(record: Record, destination: Destination) -> str:
    """The author's part of the card, which may have been changed here or on the Hub since the last push.

    Raises:
        ConfigError: it was changed in both places.
    """
    here, there = record.own_text, own_text(destination.card())
    last = record.pushed.get("own_texts", {}).get(destination.repo_id)
    if there is None or there == here or (last is None and not there):
        return here
    if here == (last or ""):
        return there
    if there == last:
        return here
    raise ConfigError(
        f"Your own text in the card was changed both in {record.model / CARD} and in {destination.repo_id}. Make them "
        "equal, then run the same command again."
    )
