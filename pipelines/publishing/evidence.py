"""What the cards of all models say of data, training, machine and reproduction, from the files of the run."""

from typing import Any

from pipelines.publishing.record import Record
from pipelines.reporting.words import label_of, number, quantity

SHOWN_SLICES = 5


def data_sentence(record: Record, license: str | None = None) -> str:
    """Where the training data came from, and under which licence, as its card states it or as is given."""
    source = record.source
    licence = source["license_name"] or source["license"] or license or "not stated"
    languages = f"; languages: {', '.join(source['language'])}" if source["language"] else ""
    hub = ", ".join(f"[{name}](https://huggingface.co/datasets/{name})" for name in source["hub_datasets"])
    place = f" On the Hub: {hub}." if hub else ""
    return f"{source['pretty_name']} (`{source['name']}`). Licence: {licence}{languages}.{place}"


def split_counts(receipt: dict[str, Any]) -> dict[str, Any]:
    """The receipt's counts of each split: names of the splits, and rows of a label and a figure for each."""
    parts = {name: receipt[name] for name in ("train", "validation", "test") if name in receipt}
    flat = {}
    for name, part in parts.items():
        rows = part["rows"] if isinstance(part.get("rows"), dict) else part
        tokens = part.get("tokens") or {}
        dropped = {f"Dropped: {label_of(reason).lower()}": count for reason, count in rows["rows_dropped"].items()}
        known = {label_of(key): value for key, value in (rows | tokens).items() if key in SHOWN_COUNTS}
        flat[name] = {label_of("rows_read"): rows["rows_read"]} | dropped | known
    labels = dict.fromkeys(label for counts in flat.values() for label in counts)
    return {
        "splits": list(parts),
        "rows": [(label, [number(counts.get(label)) for counts in flat.values()]) for label in labels],
    }


SHOWN_COUNTS = (
    *("moved_from_train", "moved_to_validation", "rows_kept", "rows_also_in_train"),
    *("text_tokens", "tokens_kept", "tokens_truncated", "rows_truncated"),
)


def contamination_sentence(record: Record) -> str:
    """What is known of held-out texts that the model was trained on."""
    receipt, found = record.receipt, []
    held_out = receipt.get(record.split, {})
    rows = held_out["rows"] if isinstance(held_out.get("rows"), dict) else held_out
    same = receipt.get("train_texts_in_validation", rows.get("rows_also_in_train"))
    if same is not None:
        found.append(f"{same:,} texts of the {record.split} split stand in the training split too, letter for letter.")
    if "decontamination" in receipt:
        left_out = receipt["train"].get("rows", receipt["train"])["rows_dropped"]["contaminated"]
        sets = record.config["data"]["decontaminate"]
        shown = ", ".join([sets] if isinstance(sets, str) else sets)
        found.append(f"{left_out:,} training documents that share words with {shown} were left out.")
    else:
        found.append("The training data was not searched for texts of public benchmarks.")
    if record.base is not None:
        found.append(f"What {record.base.shown} was trained on before was not searched.")
    return " ".join(found)


def worst_slices(record: Record) -> list[dict[str, Any]]:
    """The parts of the scored split with the lowest scores, worst first, if they are below that of all rows."""
    overall = record.metrics.get(f"eval_{record.analysis.get('headline')}")
    parts = [part for part in record.analysis.get("slices", []) if overall is not None and part["score"] < overall]
    return sorted(parts, key=lambda part: float(part["score"]))[:SHOWN_SLICES]


def procedure(record: Record) -> list[tuple[str, str]]:
    """The plan and the settings that decide what is learnt: label and value."""
    plan, config = record.plan, record.config
    rows = [] if record.architecture is None else [("Architecture", record.architecture)]
    rows += [
        ("Base model", f"{base.shown}, licence {', '.join(base.licenses) or 'not known'}") for base in record.bases
    ]
    done = {"steps": record.metrics.get("train_steps"), "epochs": record.receipt.get("training", {}).get("epochs")}
    plan = plan | {key: value for key, value in done.items() if value is not None}  # fewer, if it ended early
    rows += [(label_of(key), quantity(plan[key], key)) for key in PLANNED if plan.get(key) is not None]
    if config.get("training", {}).get("load_best_model_at_end"):
        rows.append(("Weights", "those of the best evaluation"))
    for section in ("lora", "masking", "denoising", "contrastive", "embeddings", "tokenizer"):
        settings = {key: value for key, value in config.get(section, {}).items() if value not in (None, [], {}, False)}
        if section == "tokenizer" and "vocab_size" not in settings:
            settings.pop("type", None)  # of one that would have been trained
        if settings and (section != "lora" or "r" in settings):
            rows.append((label_of(section), ", ".join(f"{key}: {_shown(value)}" for key, value in settings.items())))
    training = config.get("training", {})
    rows += [(f"`{key}`", _shown(training[key])) for key in SETTINGS if training.get(key) not in (None, False)]
    return rows + [
        (label, quantity(record.metrics[key], key)) for key, label in MEASURED.items() if key in record.metrics
    ]


PLANNED = (
    "steps",
    "epochs",
    "rows_per_step",
    "tokens_per_step",
    "total_tokens",
    "warmup_steps",
    "processes",
    "precision",
)
SETTINGS = (
    *("learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "optim", "weight_decay", "adam_beta1", "adam_beta2"),
    *("max_grad_norm", "load_best_model_at_end", "seed"),
)
MEASURED = {
    "train_seconds": "Time to train",
    "train_tokens_per_second": "Positions per second",
    "train_mfu": "Share of the measured rate of matrix products (MFU)",
    "train_peak_memory_bytes": "Peak memory",
}


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(one)}" for key, one in value.items() if one is not None)
    return f"{value:g}" if isinstance(value, float) else str(value)


def machine_sentence(record: Record) -> str:
    """Hardware and versions."""
    environment = record.environment
    hardware = environment["hardware"]
    gpus = f", {len(hardware['gpus'])} x {hardware['gpus'][0]}" if hardware["gpus"] else ", no GPU"
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items() if version)
    return (
        f"{hardware['processor']}, {hardware['cores']} cores{gpus}. Python {environment['python']}, {versions}. "
        f"Started {environment['started'][:10]}."
    )


def energy_sentence(record: Record) -> str:
    """What codecarbon measured, or that nothing was."""
    energy = record.energy
    if not energy:
        return "Energy was not measured."
    emissions = energy.get("emissions_kg")
    carbon = f", {emissions:.4g} kg of CO2 by the electricity mix of {energy['country_iso_code']}" if emissions else ""
    return (
        f"{quantity(energy['seconds'], 'seconds')} of training took {energy['energy_kwh']:.4g} kWh{carbon} (codecarbon "
        f"{energy['codecarbon_version']}; power of the CPU: {energy['cpu_power']})."
    )


def reproduction(record: Record, has_records: bool, has_data: bool = False) -> tuple[str, str]:
    """The command that makes the model again, and what it needs.

    Args:
        record: of the run.
        has_records: run/ stands beside the card.
        has_data: so does the data.
    """
    environment, source = record.environment, record.source
    config = "run/config.yaml" if has_records else "config.yaml"
    recipe = record.recipe
    launcher = "python" if recipe.startswith("train_") else "accelerate launch"
    commit = environment["git_commit"]
    changed = " with uncommitted changes" if environment["git_changes"] else ""
    state = f"commit `{commit}`{changed}" if commit else f"version {environment['versions']['plumbline']}"
    fingerprints = ", ".join(f"{name} `{value}`" for name, value in environment["data"].items())
    is_own = source["has_own_files"] and not has_data
    data = " Training files that are not on the Hub are not here." if is_own else ""
    processes = record.plan.get("processes", 1)
    return (
        f"{launcher} recipes/{recipe}.py --config {config}",
        f"With Plumbline at {state}, {processes} {'process' if processes == 1 else 'processes'}, "
        f"and data of these fingerprints: {fingerprints}.{data}",
    )


def checks(record: Record) -> list[str]:
    """What was proved on this very run."""
    done = ["The receipt closes: every row and every token read is accounted for, or the run would have stopped."]
    saved = "what was saved was loaded back and compared with what was trained: equal, or the run would have stopped."
    done.append(f"After training, {saved}")
    if record.config.get("data", {}).get("isolate_documents") and record.task is None:
        done.append(
            "Before training, it was measured on this very model that documents in one block do not see each other."
        )
    if "proof" not in record.config:
        return done
    if record.proofs.get("enabled"):
        shown = [proof for proof in record.proofs["proofs"] if proof["figure"] is not None]
        done += [
            f"{proof['statement']} (On a small copy of it before the run: {proof['figure']:.1g}.)" for proof in shown
        ]
    else:
        done.append("Proofs of the run's arithmetic were not made (`proof.enabled` is false).")
    return done
