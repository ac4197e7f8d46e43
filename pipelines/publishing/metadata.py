"""The front matter of a model card, with the scores as a model-index."""

import math
from collections.abc import Sequence
from typing import Any

from pipelines.publish_sections import PublishConfig
from pipelines.publishing.description import Description
from pipelines.publishing.licenses import License
from pipelines.publishing.record import Base, Record
from pipelines.reporting.scores import COUNTS, INTERVAL, baselines_of
from pipelines.reporting.words import label_of

# Our names of metrics that are variants -> the Hub's (https://huggingface.co/metrics).
HUB_METRICS = {
    **dict.fromkeys(("rouge1", "rouge2", "rougeL", "rougeLsum"), "rouge"),
    **dict.fromkeys(("f1_macro", "f1_micro", "f1_weighted"), "f1"),
    "pearson": "pearsonr",
    "spearman": "spearmanr",
}


def base_ids(bases: Sequence[Base], publish: PublishConfig) -> list[str]:
    """The base models on the Hub, as the author states the first or as they are known."""
    known = [base.hub_id for base in bases if base.hub_id is not None]
    return known if publish.base_model is None else [publish.base_model, *known[1:]]


def metadata_yaml(
    record: Record, description: Description, publish: PublishConfig, license: License | None, model_name: str
) -> str:
    """The front matter as YAML.

    Args:
        record: of the run.
        description: of the model.
        publish: what the author states.
        license: of the model, if it is known.
        model_name: heading of the model-index.
    """
    from huggingface_hub import ModelCardData

    bases = base_ids(record.bases, publish)
    relation = "adapter" if publish.weights == "adapter" else "finetune"
    results = eval_results(record, description)
    data = ModelCardData(
        **(license.metadata if license else {}),
        language=publish.language or record.source["language"] or None,
        library_name="peft" if publish.weights == "adapter" else description.library_name,
        pipeline_tag=description.pipeline_tag,
        base_model=bases[0] if len(bases) == 1 else bases or None,
        base_model_relation=relation if bases else None,
        datasets=record.source["hub_datasets"] or None,
        metrics=sorted({result.metric_type for result in results}) or None,
        tags=list(dict.fromkeys(["plumbline", *description.tags, *publish.tags])),
        model_name=model_name if results else None,
        eval_results=results or None,
    )
    return str(data.to_yaml())


def eval_results(record: Record, description: Description) -> list[Any]:
    """One EvalResult for each held-out score, with its interval, rows and baselines in metric_args."""
    from huggingface_hub import EvalResult

    metrics, source = dict(record.metrics), record.source
    baselines, results = baselines_of(metrics), []
    for key, value in metrics.items():
        name = key.removeprefix("eval_")
        if not key.startswith("eval_") or name.endswith((*INTERVAL, *COUNTS, "words")) or not math.isfinite(value):
            continue
        beside = {label_of(rival): figures[name] for rival, figures in baselines.items() if name in figures}
        arguments: dict[str, Any] = {"baselines": beside} if beside else {}
        if f"{key}_ci_low" in metrics:
            arguments["confidence_interval_95"] = [metrics[f"{key}{end}"] for end in INTERVAL]
        if "eval_rows" in metrics:
            arguments["rows"] = metrics["eval_rows"]
        results.append(
            EvalResult(
                task_type=description.pipeline_tag or "other",
                dataset_type=next(iter(source["hub_datasets"]), source["name"]),
                dataset_name=source["pretty_name"],
                dataset_config=source["config_name"],
                dataset_split=record.split,
                metric_type=HUB_METRICS.get(name, name),
                metric_name=label_of(name),
                metric_value=value,
                metric_args=arguments or None,
            )
        )
    return results
