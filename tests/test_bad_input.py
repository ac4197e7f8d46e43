"""Every mistake a user can make: one message, exit code 2, nothing half-written."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pretrain_clm
import pytest
from conftest import RECIPES, TINY_MODEL, tiny_run

from pipelines.run import run_recipe

RECIPE = str(RECIPES / "pretrain_clm.py")


def fail(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """The one message of a run that must end with exit code 2."""
    capsys.readouterr()
    assert run_recipe(pretrain_clm.main, pretrain_clm.Config, RECIPE, list(flags)) == 2
    lines = capsys.readouterr().err.splitlines()
    messages = [line for line in lines if not line.endswith("thread(s) each")]
    assert "Traceback" not in "\n".join(lines)
    assert messages[0].split(":")[0] in {"ConfigError", "DataError", "CardError", "CheckpointError", "HubError"}
    assert len(messages) <= 3, messages
    return "\n".join(messages)


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


CASES = {
    "missing file": ("corpus.jsn", None, ["corpus.jsn", "no such file", "corpus.jsonl"]),
    "empty file": ("empty.jsonl", "", ["empty.jsonl", "empty (0 bytes)"]),
    "no usable column": (
        "reviews.csv",
        "Text ,stars\ngood,5\n",
        ["reviews.csv", "no column 'text'", "'Text '", "--data.columns"],
    ),
    "only blanks": ("blank.jsonl", '{"text": "  "}\n', ["Every one of the 1 rows", "blank"]),
    "not UTF-8": ("latin.txt", "caf\xe9 au lait".encode("latin-1"), ["latin.txt", "UTF-8", "offset 3", "iconv"]),
    "broken JSON": ("torn.jsonl", '{"text": "a"}\n{"text": "b\n', ["torn.jsonl", "line 2", "JSON"]),
    "unknown ending": ("corpus.docx", "x", ["corpus.docx", ".jsonl"]),
    "smaller than a block": (
        "small.jsonl",
        '{"text": "a b c"}\n{"text": "d e f"}\n',
        ["less than one block of 32", "block_size"],
    ),
    "a single document": ("one.txt", "word " * 500, ["one document", "--data.split_method tail"]),
}


@pytest.mark.parametrize(("name", "content", "parts"), CASES.values(), ids=CASES)
def test_bad_files(name, content, parts, corpus_file, tmp_path, capsys) -> None:
    shutil.copy(corpus_file, tmp_path / "corpus.jsonl")
    path = tmp_path / name if content is None else written(tmp_path / name, content)
    message = fail(capsys, *tiny_run(path, tmp_path / "run"))
    for part in parts:
        assert part in message
    assert not (tmp_path / "run").exists()


FLAGS = {
    "block above positions": (
        ["--model.config", TINY_MODEL.replace("}", ", max_position_embeddings: 16}")],
        ["block_size is 32", "the model has 16 positions", "--data.block_size 16"],
    ),
    "tokenizer larger than vocabulary": (
        ["--model.config", TINY_MODEL.replace("}", ", vocab_size: 100}")],
        ["vocab_size is 100", "the tokenizer has 300 entries"],
    ),
    "unknown model type": (["--model.config", "{model_type: lama}"], ["'lama'", "'llama'"]),
    "unknown model setting": (
        ["--model.config", "{model_type: llama, hiden_size: 3}"],
        ["hiden_size", "'hidden_size'"],
    ),
    "encoder": (["--model.config", "{model_type: t5}"], ["no causal language model", "decoder"]),
    "leaking model": (
        [
            "--model.config",
            "{model_type: opt, hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, ffn_dim: 32, "
            "word_embed_proj_dim: 32}",
        ],
        ["opt", "see each other", "--data.isolate_documents false"],
    ),  # fmt: skip
    "unknown preset": (["--model.preset", "tinny"], ["'tinny'", "'tiny'"]),
    "unknown attention": (["--model.attn_implementation", "sdp"], ["'sdp'", "sdpa or eager"]),
    "missing checkpoint folder": (["--model.name", "./nowhere"], ["./nowhere", "no such folder"]),
    "Hub model without network": (["--model.name", "user/model"], ["user/model", "cannot be reached", "HF_ENDPOINT"]),
    "Hub tokenizer without network": (["--tokenizer.name", "user/tok"], ["user/tok", "cannot be reached"]),
    "unknown key": (["--training.max_step", "1"], ["training.max_step", "'training.max_steps'"]),
    "wrong type": (["--training.max_steps", "many"], ["training.max_steps", "'many'"]),
    "no steps": (["--training.max_steps", "0"], ["training.max_steps", "at least 1"]),
    "impossible interval": (["--training.save_steps", "1.5"], ["training.save_steps", "whole number"]),
    "two sources": (["--data.card", "installed_docs"], ["data.card and data.files", "exclude each other"]),
    "missing config file": (["--config", "nowhere.yaml"], ["nowhere.yaml", "There is no config file"]),
    "value TrainingArguments refuses": (
        ["--training.extra.logging_strategy", "sometimes"],
        ["TrainingArguments refuses", "sometimes"],
    ),  # fmt: skip
    "schedule argument": (["--training.lr_scheduler_kwargs", "{num_cycle: 2}"], ["num_cycle", "warmup_stable_decay"]),
    "flex on a CPU": (["--model.attn_implementation", "flex_attention"], ["flex_attention", "sdpa or eager"]),
    "negative workers": (["--training.dataloader_num_workers", "-1"], ["dataloader_num_workers must be at least 0"]),
    "tracker that is not installed": (["--training.report_to", "clearml"], ["clearml"]),
}


@pytest.mark.parametrize(("flags", "parts"), FLAGS.values(), ids=FLAGS)
def test_bad_flags(flags, parts, corpus_file, tmp_path, capsys) -> None:
    base = tiny_run(corpus_file, tmp_path / "run")
    replaced = {"--model.preset": ["--model.config"], "--model.name": ["--model.config", "--tokenizer.vocab_size"]}
    replaced |= {"--model.config": ["--model.config"], "--tokenizer.name": ["--tokenizer.vocab_size"]}
    for key in replaced.get(flags[0], []):
        place = base.index(key)
        base = base[:place] + base[place + 2 :]
    message = fail(capsys, *base, *flags)
    for part in parts:
        assert part in message
    assert not (tmp_path / "run").exists()


def test_duplicate_key(tmp_path, capsys) -> None:
    config = written(tmp_path / "my.yaml", "training:\n  seed: 1\n  seed: 2\n")
    assert "'seed' stands twice" in fail(capsys, "--config", str(config), "--run.dir", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_committed_config_needs_its_file(tmp_path, capsys) -> None:
    config = RECIPES / "configs/pretrain_clm/shakespeare-char.yaml"
    message = fail(capsys, "--config", str(config), "--run.dir", str(tmp_path / "run"))
    assert "data.files.train" in message
    assert not (tmp_path / "run").exists()


def test_unknown_card_and_card_with_missing_column(tmp_path, capsys, corpus_file) -> None:
    assert "'installed_docs'" in fail(capsys, "--data.card", "instaled_docs", "--run.dir", str(tmp_path / "run"))
    card = tmp_path / "card"
    card.mkdir()
    shutil.copy(corpus_file, card / "corpus.jsonl")
    written(
        card / "README.md",
        "---\npretty_name: x\nlicense: mit\nlanguage: [en]\ntask_categories: [text-generation]\nconfigs:\n"
        "- config_name: default\n  data_files:\n  - {split: train, path: corpus.jsonl}\ntrain-eval-index:\n"
        "- config: default\n  task: text-generation\n  splits: {train_split: train}\n  col_mapping: {txt: text}\n---\n",
    )
    message = fail(capsys, "--data.card", str(card), "--run.dir", str(tmp_path / "run"))
    for part in ("CardError", "'txt'", "corpus.jsonl", "'text'"):
        assert part in message
    assert not (tmp_path / "run").exists()


def test_hub_dataset_without_network(tmp_path, capsys) -> None:
    message = fail(capsys, "--data.name", "user/set", "--run.dir", str(tmp_path / "run"))
    assert "cannot be reached" in message
    assert not (tmp_path / "run").exists()


def test_run_folder_that_cannot_be_made(corpus_file, tmp_path, capsys) -> None:
    blocker = written(tmp_path / "file", "x")
    message = fail(capsys, *tiny_run(corpus_file, blocker / "run"))
    assert f"{blocker} is a file" in message
    other = tmp_path / "other"
    other.mkdir()
    written(other / "precious.txt", "x")
    assert "it is no run folder" in fail(capsys, *tiny_run(corpus_file, other))
    assert [path.name for path in other.iterdir()] == ["precious.txt"]


def test_overwrite_deletes_runs_and_nothing_else(corpus_file, tmp_path, capsys) -> None:
    written(tmp_path / "precious.txt", "x")
    message = fail(capsys, *tiny_run(corpus_file, tmp_path, "--run.overwrite", "true"))
    assert "it is no run folder" in message
    assert (tmp_path / "precious.txt").is_file()


def test_full_disk_is_told(corpus_file, tmp_path, capsys, monkeypatch) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipelines.run_folder.config_to_yaml", no_space)
    assert "No space left on device" in fail(capsys, *tiny_run(corpus_file, tmp_path / "run"))


def test_a_folder_in_use_is_refused(corpus_file, tmp_path, capsys) -> None:
    import fcntl

    folder = tmp_path / "run"
    folder.mkdir()
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "Another process" in fail(capsys, *tiny_run(corpus_file, folder, "--run.overwrite", "true"))


def test_a_defect_is_told_as_one(capsys) -> None:
    def broken(config: object) -> None:
        raise ZeroDivisionError("oops")

    assert run_recipe(broken, pretrain_clm.Config, RECIPE, []) == 1
    told = capsys.readouterr().err
    assert "ZeroDivisionError" in told
    assert "report it" in told


@pytest.mark.processes
def test_the_process_ends_with_the_exit_code(tmp_path) -> None:
    command = [sys.executable, RECIPE, "--data.files.train", "nowhere.txt", "--run.dir", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "nowhere.txt" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.processes
def test_help_loads_nothing_heavy() -> None:
    code = (
        "import json, runpy, sys; sys.argv = ['pretrain_clm.py', '--help']\n"
        f"try: runpy.run_path({RECIPE!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(json.dumps([name for name in ('torch', 'transformers', 'datasets', 'accelerate', 'pyarrow', 'scipy') "
        "if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=RECIPES)
    *shown, loaded = done.stdout.splitlines()
    assert json.loads(loaded) == []
    assert any("--training.learning_rate" in line for line in shown)
    assert any("Peak learning rate" in line for line in shown)
