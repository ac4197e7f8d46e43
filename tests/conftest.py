"""Tests run offline, in caches of their own, with documents made here."""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
RECIPES = REPOSITORY / "recipes"

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"  # two test processes share two cores
# `evaluate` copies metric modules here, and reads the place when it is imported. One for the whole process, since the
# package of the copies is bound to the first place that it is imported from.
_METRICS = tempfile.mkdtemp(prefix="plumbline-metrics-")
atexit.register(shutil.rmtree, _METRICS, ignore_errors=True)
for _name in ("HF_METRICS_CACHE", "HF_MODULES_CACHE"):
    os.environ[_name] = _METRICS
sys.path.insert(0, str(RECIPES))


@pytest.fixture(scope="session", autouse=True)
def caches(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every cache of this test session in one temporary folder, shared by the processes that tests start."""
    root = tmp_path_factory.mktemp("caches")
    for name in ("PLUMBLINE_CACHE", "HF_HOME", "HF_DATASETS_CACHE"):
        os.environ[name] = str(root / name.lower())


SUBJECTS = ("The array", "A tensor", "Each row", "The function", "This class", "An optional axis")
VERBS = ("returns", "holds", "copies", "sorts", "reduces", "describes")
OBJECTS = ("the values given", "one number for each column", "its own shape", "what was asked for", "nothing at all")


def sentences(count: int, seed: int = 0) -> list[str]:
    """Documents of one to five sentences, different for every seed."""
    import random

    draw = random.Random(seed)
    return [
        " ".join(
            f"{draw.choice(SUBJECTS)} {draw.choice(VERBS)} {draw.choice(OBJECTS)} {draw.randrange(1000)}."
            for _ in range(draw.randint(1, 5))
        )
        for _ in range(count)
    ]


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A jsonl file of 300 documents in the column `text`."""
    import json

    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences(300)), encoding="utf-8")
    return path


# What every run of a recipe that trains in steps leaves in its folder, without what it shows of itself in samples.
RUN_FILES = {
    *("config.yaml", "environment.json", "plan.json", "proof.json", "receipt.json", "metrics.jsonl", "steps.jsonl"),
    *("checksums.json", "metrics.json", "report.html", "checkpoints", "model"),
}

TINY_MODEL = (
    "{model_type: llama, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2, "
    "num_key_value_heads: 2}"
)


def tiny_run(corpus_file: Path, run_dir: Path, *flags: str) -> list[str]:
    """Flags of a pretrain_clm run of some seconds: 12 steps of a model of 30 thousand parameters."""
    return [
        *("--data.files.train", str(corpus_file), "--data.validation_share", "0.1", "--data.block_size", "32"),
        *("--tokenizer.vocab_size", "300", "--model.config", TINY_MODEL, "--run.dir", str(run_dir)),
        *("--training.max_steps", "12", "--training.per_device_train_batch_size", "4", "--training.save_steps", "4"),
        *("--training.logging_steps", "1", "--training.eval_steps", "6", "--evaluation.samples", "1"),
        *("--evaluation.sample_new_tokens", "4", "--training.bf16", "false", "--run.threads", "1"),
        *("--proof.enabled", "false"),
        *flags,
    ]
