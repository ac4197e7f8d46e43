"""Metrics without a network, arguments without an effect, and what is written for publication."""

import contextlib
import dataclasses
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from transformers import DataCollatorForLanguageModeling, TrainingArguments

from benchmarks.data_checks import our_cache
from benchmarks.finding import Finding
from benchmarks.resume_checks import plain_run, recorded, rows, settings
from benchmarks.tiny import LLAMA, build, plain_trainer, text, tokenizer
from pipelines.config_rules import check_training_extra
from pipelines.errors import ConfigError
from pipelines.publishing.leaks.search import find_leaks
from pipelines.sections import PretrainingConfig

ROOT = Path(__file__).parents[1]

# ---------------------------------------------------------------- metrics

METRICS_OFFLINE = """
import json
figures = {"predictions": [0, 1, 1, 0], "references": [0, 1, 0, 0]}
import evaluate
try:
    evaluated = evaluate.load("accuracy").compute(**figures)["accuracy"]
except Exception as error:
    evaluated = f"{type(error).__name__}: {' '.join(str(error).split())}"
from pipelines.metrics.loading import load_metric, metric_names
ours = load_metric("accuracy").compute(**figures)["accuracy"]
print(json.dumps({"trainer": evaluated, "plumbline": ours, "modules": len(metric_names())}))
"""


def metrics() -> list[Finding]:
    """evaluate.load("accuracy") in a process of its own with HF_HUB_OFFLINE=1 and empty caches.

    A user meets it on a cluster node without a network, at the first evaluation of a run.
    """
    with tempfile.TemporaryDirectory() as folder:
        caches = ("HF_HOME", "HF_METRICS_CACHE", "HF_MODULES_CACHE", "HF_DATASETS_CACHE", "HF_EVALUATE_CACHE")
        environment = os.environ | dict.fromkeys(caches, folder) | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", METRICS_OFFLINE]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=200)
    if done.returncode:
        raise RuntimeError(f"metrics without a network: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1].replace(folder, "..."))
    error = isinstance(found["trainer"], str)
    return [
        Finding(
            "metrics",
            "accuracy of 3 right in 4 without a network: 0.75",
            f"evaluate.load: {found['trainer'] if not error else found['trainer'][:80] + '...'}",
            found["trainer"] == 0.75,
            f"{found['plumbline']} ({found['modules']} modules of its own)",
            found["plumbline"] == 0.75,
            found,
        )
    ]


# ---------------------------------------------------------------- arguments


def fields() -> list[Finding]:
    """Fields of TrainingArguments that Trainer accepts and does not look at, as its own documentation says.

    A user meets it as a run that starts anew in spite of `resume_from_checkpoint` in its arguments or YAML file.
    """
    named = [
        field.name
        for field in dataclasses.fields(TrainingArguments)
        if "Not directly used by Trainer" in str(field.metadata.get("help", ""))
    ]
    steps = 12
    with tempfile.TemporaryDirectory() as folder:
        plain_run("causal", rows(), Path(folder), steps)
        resumed = _steps_run({"resume_from_checkpoint": f"{folder}/checkpoint-10"}, steps)
        untrained = _steps_run({"do_train": False}, steps)
    refused = [name for name in named if _refused(name)]
    taken = [name for name in named if name not in refused]
    return [
        Finding(
            "fields",
            "an argument that is accepted has an effect",
            f"no effect by its own documentation: {', '.join(named)}. With resume_from_checkpoint=checkpoint-10 of "
            f"{steps}: {resumed} steps from scratch; with do_train=False: {untrained} steps",
            not named or (resumed == 2 and untrained == 0),
            f"refused: {', '.join(refused) or 'none'}"
            + (f"; accepted without effect: {', '.join(taken)}" if taken else ""),
            not taken,
            {
                "trainer": {"fields": named, "resumed": resumed, "do_train": untrained},
                "plumbline": {"refused": refused},
            },
        )
    ]


def _steps_run(given: dict[str, Any], steps: int) -> int:
    """Training steps of a run with such arguments."""
    model = build(LLAMA, "causal")
    with tempfile.TemporaryDirectory() as folder, recorded(model, training=True) as batches:
        plain_trainer(model, Path(folder), _collator(), train=rows(), **settings(steps), **given).train()
    return len(batches)


def _refused(name: str) -> bool:
    """Whether Plumbline refuses a field in training.extra."""
    try:
        check_training_extra(SimpleNamespace(training=PretrainingConfig(extra={name: "anything"})))
    except ConfigError:
        return True
    return False


# ---------------------------------------------------------------- publication


def published() -> list[Finding]:
    """What Trainer.save_model and create_model_card write, which push_to_hub uploads.

    A user meets it on the Hub: a card that says nothing, and the path of the output folder (a home folder, a project)
    in training_args.bin.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        trainer = plain_trainer(
            build(LLAMA, "causal"), output, _collator(), train=rows(), **settings(2) | {"save_steps": 100}
        )
        trainer.train()
        trainer.save_model()
        trainer.create_model_card()
        card = (output / "README.md").read_text(encoding="utf-8")
        carriers = _files_with(output, str(output))
        ours_card, ours_carriers, leaks = _our_files(Path(folder))
    sentence = next(line for line in card.splitlines() if line.startswith("This model is"))
    ours = next(line for line in ours_card.splitlines() if "trained with Plumbline" in line)
    return [
        Finding(
            "published",
            "the card says what the model is; no file to be uploaded holds the output path",
            f"card: {sentence!r}; output path in {', '.join(carriers) or 'no file'}",
            "None dataset" not in card and not carriers,
            f"card: {ours[:110]!r}; output path in {', '.join(ours_carriers) or 'no file'}; {leaks} leaks found",
            "None" not in ours and not ours_carriers and leaks == 0,
            {"trainer": {"sentence": sentence, "files": carriers}, "plumbline": {"card": ours, "files": ours_carriers}},
        )
    ]


def _collator() -> DataCollatorForLanguageModeling:
    return DataCollatorForLanguageModeling(tokenizer(), mlm=False)


def _files_with(folder: Path, path: str) -> list[str]:
    """Names of the files that hold a path."""
    files = (one for one in folder.rglob("*") if one.is_file())
    return sorted({one.name for one in files if path.encode() in one.read_bytes()})


def _our_files(folder: Path) -> tuple[str, list[str], int]:
    """(card, files with the run's path, leaks that the search of all uploads finds) of a tiny run."""
    corpus, run = folder / "corpus.jsonl", folder / "run"
    lines = (json.dumps({"text": text(seed, 20 + seed % 30)}) for seed in range(120))
    corpus.write_text("\n".join(lines), encoding="utf-8")
    flags = {
        "data.files.train": corpus, "data.validation_share": 0.1, "data.block_size": 32, "tokenizer.type": "char",
        "tokenizer.vocab_size": 40, "model.config": json.dumps(LLAMA), "run.dir": run,
        "run.threads": 1, "training.max_steps": 4, "training.per_device_train_batch_size": 4, "training.bf16": "false",
        "evaluation.samples": 1, "evaluation.sample_new_tokens": 4,
    }  # fmt: skip
    from pipelines.config import parse_config

    recipes = str(ROOT / "recipes")
    if recipes not in sys.path:
        sys.path.append(recipes)
    recipe = importlib.import_module("pretrain_clm")
    command = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    with our_cache(), contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        recipe.main(parse_config(recipe.Config, f"{recipes}/pretrain_clm.py", command))
    model = run / "model"
    leaks = find_leaks({one.relative_to(model).as_posix(): one for one in model.rglob("*") if one.is_file()})
    return (model / "README.md").read_text(encoding="utf-8"), _files_with(model, str(run)), len(leaks)
