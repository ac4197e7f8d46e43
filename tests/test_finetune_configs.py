"""Every committed config of recipes/finetune_*.py, run on small rows and a stand-in for its checkpoint."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import RECIPES
from finetune_runs import LLAMA, T5, write_rows
from test_finetune import run

CONFIGS = sorted((RECIPES / "configs").glob("finetune_*/*.yaml"))
# What a checkpoint is, by a part of its name.
KINDS = {"minilm": "encoder", "bert": "encoder", "smollm2": "decoder", "bart": "seq2seq", "t5": "seq2seq"}
SMALL = {  # keys of a config that are too large for the rows and models here -> what they are instead
    "data.max_length": "64",
    "tokenizer.vocab_size": "400",
    "task.stride": "8",
    "task.max_target_length": "8",
    "task.max_new_tokens": "8",
    "evaluation.resamples": "50",
}


def test_there_are_configs_of_all_tasks() -> None:
    assert len(CONFIGS) >= 20 and len({path.parent for path in CONFIGS}) == 7


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each kind: an encoder is its body alone, as sentence encoders are saved."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    from pipelines.data.tokenizer_training import train_tokenizer
    from pipelines.tasks.conversation import CHATML, TURN_BEGIN, TURN_END

    folder = tmp_path_factory.mktemp("stand-ins")
    texts = [line for task in ("qa", "chat") for line in write_rows(folder, task).read_text().splitlines()]
    encoder = {"model_type": "bert", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    made: dict[str, Path] = {}
    for kind, tokens, auto, config in (
        ("encoder", "wordpiece", AutoModel, encoder | {"num_attention_heads": 2}),
        ("decoder", "bpe", AutoModelForCausalLM, yaml.safe_load(LLAMA)),
        ("seq2seq", "bpe", AutoModelForSeq2SeqLM, yaml.safe_load(T5) | {"decoder_start_token_id": 0}),
    ):
        tokenizer = train_tokenizer([texts], tokens, 400, [TURN_BEGIN, TURN_END])
        if kind == "decoder":
            tokenizer.chat_template, tokenizer.eos_token = CHATML, TURN_END
        ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
        made[kind] = folder / kind
        size = {"vocab_size": len(tokenizer)} | ids
        auto.from_config(AutoConfig.for_model(**config, **size)).save_pretrained(made[kind])
        tokenizer.save_pretrained(made[kind])
    return made


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name.removeprefix('finetune_')}/{path.stem}")
def test_a_committed_config_runs(path: Path, stand_ins: dict[str, Path], tmp_path: Path) -> None:
    task, content = path.parent.name.removeprefix("finetune_"), yaml.safe_load(path.read_text())
    rows = "words" if path.stem == "segmentation" else task
    arguments = ["--config", str(path), "--data.card", "null", "--data.config_name", "null"]
    for seed, split in enumerate(("train", "validation", "test")):
        arguments += [f"--data.files.{split}", str(write_rows(tmp_path, rows, 24, seed))]
    for key in ("name", "decoder_name"):
        name: Any = content["model"].get(key)
        if name is not None:
            kind = next(kind for part, kind in KINDS.items() if part in name.lower())
            arguments += [f"--model.{key}", str(stand_ins[kind])]
    for key, value in SMALL.items():
        section, name = key.split(".")
        if name in content.get(section, {}) or (key, task) == ("task.stride", "qa") or section == "evaluation":
            arguments += [f"--{key}", value]
    arguments += [
        "--run.dir",
        str(tmp_path / "run"),
        "--run.threads",
        "1",
        "--training.max_steps",
        "2",
        "--proof.enabled",
        "false",
    ]
    arguments += ["--training.bf16", "false", "--training.per_device_train_batch_size", "8"]
    metrics = run(task, arguments)
    assert metrics["train_steps"] == 2 and metrics["eval_rows"] == 24
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
