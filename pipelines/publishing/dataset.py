"""Publishing the data of a run: its cleaned corpus, or the scored rows with their predictions."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.checking import end_check
from pipelines.data.loading import corpus_of_run
from pipelines.data.remote import quiet_datasets
from pipelines.errors import CheckpointError, ConfigError
from pipelines.publish_sections import PublishRunConfig
from pipelines.publishing import contents, evidence
from pipelines.publishing.checks import check_card
from pipelines.publishing.licenses import NO_DERIVATIVES, License, choose_license
from pipelines.publishing.own_text import framed, own_text
from pipelines.publishing.push import ASIDE, locked, push, rehearsal, require_repo_id, show
from pipelines.publishing.record import Record, read_record
from pipelines.publishing.rights import check_destination, check_names, check_tag
from pipelines.publishing.templates import render
from pipelines.publishing.terms import terms_of
from pipelines.run_folder import RunFolder

SHARD_BYTES = 500_000_000  # of text, in one Parquet file
SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
SIZE_NAMES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "n>1B")


# Keys of the section that say nothing of data -> their default.
OF_MODELS: dict[str, Any] = {
    "weights": "merged",
    "records": True,
    "checkpoints": False,
    "export": [],
    "base_model": None,
}


@dataclass(frozen=True)
class Split:
    """One split as it was written."""

    name: str
    rows: int
    size_bytes: int
    columns: tuple[str, ...]


def push_dataset(folder: RunFolder, publish: PublishRunConfig) -> None:
    """Pushes the corpus or the predictions of a finished run as a dataset, with a card made of its receipt.

    Args:
        folder: of the run.
        publish: with content corpus or predictions, and repo_id, which a rehearsal (dry_run) may leave out.

    Raises:
        ConfigError: the run has no such data, or its licence does not allow it or is not known.
        DataError: the corpus has changed since the run.
        HubError: the Hub refused, or what it gives back is not what was pushed.
    """
    record = read_record(folder.path)
    idle = [key for key, plain in OF_MODELS.items() if getattr(publish, key) != plain]
    if idle:
        raise ConfigError(f"publish.{idle[0]} is for models; publish.content is {publish.content}. Leave it out.")
    check_names(publish)
    terms = terms_of(publish, [], record.source, ask=not publish.dry_run)
    license = data_license(publish, record.source | {"license": ", ".join(terms.data) or None})
    if publish.dry_run:
        with rehearsal(folder) as into:
            staged = _stage(record, publish, license, publish.repo_id or "user/name", "", into)
        end_check()
        show(staged, "dataset", publish)
        return
    require_repo_id(publish)
    destination = check_destination(publish, "dataset")
    if "plumbline" in destination.tags and _tag_of(publish) not in destination.tags:
        raise ConfigError(
            f"{destination.repo_id} holds another kind of data of a Plumbline run, which this would replace. Name "
            "another repository."
        )
    check_tag(destination, publish.git_tag, destination.head)
    own = own_text(destination.card()) or ""
    with locked(folder), tempfile.TemporaryDirectory(prefix=ASIDE, dir=folder.path) as aside:
        staged = _stage(record, publish, license, destination.repo_id, own, Path(aside) / "repository")
        check_card(staged.files[contents.CARD].read_text(encoding="utf-8"), "dataset")
        end_check()
        published = push(destination, staged, f"{publish.content.capitalize()} of {record.recipe}", publish, None)
        folder.write_json(f"published_{publish.content}.json", published)


def _tag_of(publish: PublishRunConfig) -> str:
    return f"plumbline-{publish.content}"


def data_license(publish: PublishRunConfig, source: Mapping[str, Any]) -> License:
    """The licence of data that is passed on: its own.

    Raises:
        ConfigError: it is not known, forbids that, or another one is asked for.
    """
    given, asked = source["license"], publish.license
    choose_license(publish, None, None)  # is it one?
    if given is None and asked is None:
        raise ConfigError(
            f"The licence of {source['name']} is not known, so its rows cannot be passed on. If you may, state it: "
            "--publish.license ID, such as mit."
        )
    for one in (given or "").split(", "):
        if one in NO_DERIVATIVES:
            raise ConfigError(f"{source['name']} has the licence {one}, which allows no changed copies.")
    if given is not None and asked is not None and asked != given:
        raise ConfigError(
            f"{source['name']} has the licence {given}, and data that is passed on keeps its licence; publish.license "
            f"is {asked}. Leave it out."
        )
    if given == "other":
        return License("other", source["license_name"], publish.license_link)
    return License(str(given or asked), publish.license_name, publish.license_link)


def _stage(
    record: Record, publish: PublishRunConfig, license: License, repo_id: str, own: str, into: Path
) -> contents.Staged:
    write = {"corpus": _write_corpus, "predictions": _write_predictions}[publish.content]
    splits = write(record, into / "data")
    shutil.copy2(record.folder / "receipt.json", into / "receipt.json")
    (into / contents.CARD).write_text(_card(record, publish, license, repo_id, own, splits), encoding="utf-8")
    staged = contents.Staged(into)
    contents.refuse_leaks(staged, publish.hide)
    return staged


def _write_corpus(record: Record, into: Path) -> list[Split]:
    """The documents that the run read and kept, as Parquet."""
    corpus = corpus_of_run(record.folder)
    if corpus is None:
        raise ConfigError(
            f"publish.content is corpus, but the run in {record.folder} was trained on labelled rows. The corpora of "
            "pretraining runs can be published, and the predictions of this one."
        )
    into.mkdir(parents=True)
    splits = []
    for name, rows in corpus.splits.items():
        shards = -(-corpus.receipt[name]["bytes"] // SHARD_BYTES) or 1
        for index in range(shards):
            shard = rows.shard(shards, index, contiguous=True)
            with quiet_datasets():
                shard.to_parquet(into / f"{name}-{index:05d}-of-{shards:05d}.parquet")
        splits.append(_split(name, len(rows), into, tuple(rows.column_names)))
    return splits


def _write_predictions(record: Record, into: Path) -> list[Split]:
    """The scored rows with what the model said of them, as Parquet."""
    import pyarrow.parquet as pq

    scored = record.folder / "predictions.parquet"
    if not scored.is_file():
        raise CheckpointError(
            f"publish.content is predictions, but {record.folder} holds no predictions.parquet: only fine-tuning runs "
            "write it."
        )
    into.mkdir(parents=True)
    shutil.copy2(scored, into / f"{record.split}-00000-of-00001.parquet")
    schema = pq.read_schema(scored)
    return [_split(record.split, pq.read_metadata(scored).num_rows, into, tuple(schema.names))]


def _split(name: str, rows: int, folder: Path, columns: tuple[str, ...]) -> Split:
    return Split(name, rows, sum(path.stat().st_size for path in folder.glob(f"{name}-*.parquet")), columns)


def _card(
    record: Record, publish: PublishRunConfig, license: License, repo_id: str, own: str, splits: list[Split]
) -> str:
    from huggingface_hub import DatasetCardData

    total = sum(split.rows for split in splits)
    pretty = record.source["pretty_name"]
    title = {"corpus": f"{pretty}, cleaned", "predictions": f"Predictions on {pretty}"}
    about = {
        "corpus": "The documents that a pretraining run with Plumbline read, after what is counted below was dropped; "
        "the splits are those of the run.",
        "predictions": f"The rows of the {record.split} split of {record.source['name']} that a fine-tuned model was "
        "scored on, with what it said of each, written by Plumbline.",
    }
    data = DatasetCardData(
        **license.metadata,
        language=publish.language or record.source["language"] or None,
        pretty_name=title[publish.content],
        size_categories=SIZE_NAMES[sum(total >= size for size in SIZES)],
        source_datasets=record.source["hub_datasets"] or None,
        tags=["plumbline", _tag_of(publish), *publish.tags],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split.name, "path": f"data/{split.name}-*.parquet"} for split in splits],
            }
        ],
    )
    command, needs = evidence.reproduction(record, has_records=False, has_data=True)
    return render(
        "dataset_card.md",
        {
            "metadata": data.to_yaml(),
            "title": title[publish.content],
            "about": about[publish.content],
            "splits": [(split.name, split.rows, split.size_bytes) for split in splits],
            "columns": [f"`{column}`" for column in splits[0].columns],
            "repo_id": repo_id,
            "data": evidence.data_sentence(record, license.shown),
            "counts": evidence.split_counts(record.receipt),
            "contamination": evidence.contamination_sentence(record),
            "command": command,
            "reproduction": needs,
            "notes": framed(own),
        },
    )
