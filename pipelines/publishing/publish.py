"""Publishing a run: checked before its first step, pushed when it is done, and called published when it loads back."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.errors import ConfigError
from pipelines.publish_sections import PublishConfig
from pipelines.publishing.checks import check_before_training, check_card, license_of
from pipelines.publishing.contents import CARD, Staged, check_model, refuse_leaks, stage_model
from pipelines.publishing.licenses import License, choose_license
from pipelines.publishing.model_card import model_card, write_card
from pipelines.publishing.own_text import own_text
from pipelines.publishing.push import ASIDE, locked, push, rehearsal, require_repo_id, show
from pipelines.publishing.record import PUBLISHED, Record, read_record
from pipelines.publishing.rights import Destination, check_destination, check_name
from pipelines.report import finish_run
from pipelines.run import is_first_process, say
from pipelines.run_folder import RunFolder, report_if_finished


def check_publishing(folder: RunFolder, config: Any) -> None:
    """Finds out before the first step whether the run can be published, if its config says that it will be.

    Raises:
        ConfigError: the repository's name, its licence or a setting is wrong; the config holds what must not leave.
        HubError: no access token, one without write rights, or the Hub cannot be reached.
    """
    publish = wanted(folder, config)
    if publish.repo_id is not None and is_first_process():
        check_before_training(publish, config)


def publish_if_finished(folder: RunFolder, config: Any) -> bool:
    """Whether the run is finished already; if so, tells its result, and pushes it if its config says so."""
    if not report_if_finished(folder, config):
        return False
    _publish(folder, config)
    return True


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
    if publish.repo_id is not None and is_first_process():
        push_model(folder, publish)


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
    if publish.base_model is not None:
        check_name(publish.base_model, "publish.base_model")
    if publish.dry_run:
        base_license = None if record.base is None else record.base.license
        license = choose_license(publish, base_license, record.source["license"])
        with rehearsal(folder) as into:
            name = publish.repo_id or "user/name"
            staged = _stage(record, publish, license, name, _own_text_here(record), into)
        show(staged, "model", publish)
        return
    require_repo_id(publish)
    destination = check_destination(publish, "model")
    license = license_of(publish, record.base, record.source)
    own = _own_text(record, destination, publish)
    is_network = "model" in record.config
    with locked(folder), tempfile.TemporaryDirectory(prefix=ASIDE, dir=folder.path) as aside:
        staged = _stage(record, publish, license, destination.repo_id, own, Path(aside) / "repository")
        check_card(staged.files[CARD].read_text(encoding="utf-8"), "model")
        title = f"Model of {record.recipe}"
        published = push(destination, staged, title, publish, record.model if is_network else None)
        folder.write_json(PUBLISHED, published | {"own_text": own})
        (record.model / CARD).write_text(model_card(record, publish, license, ".", own), encoding="utf-8")


def _stage(
    record: Record, publish: PublishConfig, license: License | None, repo_id: str, own: str, into: Path
) -> Staged:
    staged = stage_model(record, publish, into)
    if "onnx" in publish.export:
        from pipelines.publishing.export import export_onnx

        say("Exporting to ONNX")
        export_onnx(record.model, into / "onnx")
    (into / CARD).write_text(model_card(record, publish, license, repo_id, own), encoding="utf-8")
    refuse_leaks(staged, publish.hide)
    return staged


def _own_text_here(record: Record) -> str:
    card = record.model / CARD
    return (own_text(card.read_text(encoding="utf-8")) if card.is_file() else None) or ""


def _own_text(record: Record, destination: Destination, publish: PublishConfig) -> str:
    """The author's part of the card, which may have been changed here or on the Hub since the last push.

    Raises:
        ConfigError: it was changed in both places.
    """
    here, there = _own_text_here(record), own_text(destination.card(publish.revision))
    if there in (None, "", here):
        return here
    last = record.pushed.get("own_text", "") if record.pushed.get("repo_id") == destination.repo_id else ""
    if here == last:
        return str(there)
    if there == last:
        return here
    raise ConfigError(
        f"Your own text in the card was changed both in {record.model / CARD} and in {destination.repo_id}. Make them "
        "equal, then run the same command again."
    )
