"""The model card: README.md of a run's model folder, made of the files of the run and of nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from pipelines.publish_sections import PublishConfig
from pipelines.publishing import evidence
from pipelines.publishing.description import Description
from pipelines.publishing.licenses import License, choose_license
from pipelines.publishing.metadata import base_ids, metadata_yaml
from pipelines.publishing.own_text import framed
from pipelines.publishing.pretraining_card import describe_pretraining
from pipelines.publishing.record import Record, read_record
from pipelines.publishing.sentence_encoder_card import describe_sentence_encoder
from pipelines.publishing.task_card import describe_task
from pipelines.publishing.templates import render
from pipelines.publishing.tokenizer_card import describe_tokenizer
from pipelines.publishing.vectors_card import describe_vectors
from pipelines.reporting.scores import domain_table, members_table, task_verdict, verdict
from pipelines.reporting.words import label_of, number
from pipelines.run_folder import RunFolder

# Section that only configs of these recipes have -> what describes their models. Without a model: a tokenizer.
DESCRIBE: dict[str, Callable[[Record, str], Description]] = {
    "task": describe_task,
    "contrastive": describe_sentence_encoder,
    "embeddings": describe_vectors,
    "model": describe_pretraining,
    "tokenizer": describe_tokenizer,
}


def write_card(folder: RunFolder, metrics: Mapping[str, float], publish: PublishConfig) -> None:
    """Writes README.md of the model folder; what its author wrote into an older one stays.

    Args:
        folder: with everything but metrics.json and report.html.
        metrics: final figures.
        publish: what the author states of the model.
    """
    record = read_record(folder.path, metrics)
    # Nothing is compared here: a card that stays on this machine passes nothing on.
    license = choose_license(publish, None, None)
    RunFolder(folder.model).write_text("README.md", model_card(record, publish, license, ".", record.own_text))


def model_card(record: Record, publish: PublishConfig, license: License | None, source: str, own: str) -> str:
    """The whole card.

    Args:
        record: of the run.
        publish: what its author states.
        license: of the model.
        source: what its code loads the model from: a repository, or "." for its own folder.
        own: the text of its author.
    """
    if source == ".":  # where the whole model lies, with the adapter beside it
        publish = replace(publish, weights="merged")
    describe = next(DESCRIBE[section] for section in DESCRIBE if section in record.config)
    if publish.weights == "adapter":
        describe = partial(describe_task, adapter_of=base_ids(record.bases, publish)[0])
    description = describe(record, source)
    if publish.revision not in (None, "main") and source != ".":
        pinned = f'"{source}", revision="{publish.revision}"'
        code, more = (text.replace(f'"{source}"', pinned) for text in (description.code, description.more))
        description = replace(description, code=code, more=more)
    metrics, analysis = dict(record.metrics), record.analysis
    command, needs = evidence.reproduction(record, has_records=publish.records and source != ".")
    name = source.split("/")[-1] if source != "." else description.title
    headline = analysis.get("headline")
    values: dict[str, Any] = {
        "metadata": metadata_yaml(record, description, publish, license, name),
        "description": description,
        "record": record,
        "verdict": (task_verdict(analysis, metrics) if analysis else verdict(metrics))[0],
        "other_runs": members_table(metrics),
        "domains": domain_table(metrics),
        "adapter": source == "." and (record.model / "adapter").is_dir(),
        "headline": label_of(headline) if headline else "",
        "overall": number(metrics.get(f"eval_{headline}"), 4),
        "slices": evidence.worst_slices(record),
        "data": evidence.data_sentence(record),
        "counts": evidence.split_counts(record.receipt),
        "contamination": evidence.contamination_sentence(record),
        "procedure": evidence.procedure(record),
        "machine": evidence.machine_sentence(record),
        "energy": evidence.energy_sentence(record),
        "command": command,
        "reproduction": needs,
        "checks": evidence.checks(record),
        "notes": framed(own),
    }
    return render("model_card.md", values)
