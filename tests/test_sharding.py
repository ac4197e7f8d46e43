"""More processes and FSDP2: the same steps, scores and weights as one process; checkpoints that any number reads."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import finetune_runs
import pyarrow.parquet as pq
import pytest
import torch
from architectures import build
from conftest import RECIPES, tiny_run
from exact_step import SHARDED, assert_same_step, steps_of_processes
from safetensors.torch import load_file
from step_of_heads import one_step

from pipelines.errors import CheckpointError, ConfigError
from pipelines.models.sharded import share_of_process
from pipelines.run import run_recipe
from pipelines.training import sharding

ADAMW = ("--training.optim", "adamw_torch_fused", "--training.learning_rate", "1e-3")


def run(recipe: str, flags: list[str], processes: int = 1, engine: str = "FSDP") -> str:
    """Runs a recipe here, or in several gloo processes under torchrun; returns what these told."""
    path = str(RECIPES / f"{recipe}.py")
    if processes == 1 and "--run.stop_at_step" not in flags:  # a stopped run holds its folder until its process ends
        module = importlib.import_module(recipe)
        assert run_recipe(module.main, module.Config, path, flags) in (0, 130)
        return ""
    command = [*(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"), str(processes)]
    environment = os.environ | (SHARDED if engine == "FSDP" and processes > 1 else {})
    done = subprocess.run([*command, path, *flags], capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0 or "Stopped after step" in done.stderr, done.stderr[-3000:]
    return done.stderr


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# ---------------------------------------------------------------- exactness

# Heads that share weights with tables, that do not, that read tables past their module; layers used twice.
HEADS = [
    *(f"exact_step:{family}" for family in ("gpt2", "llama", "bert", "deberta-v2", "albert", "modernbert")),
    *(f"exact_step_seq2seq:{family}" for family in ("t5", "bart", "bert2bert")),
    *(f"task_step:{case}" for case in ("single-bert", "tokens-modernbert", "question-bert", "choice-bert")),
]


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("heads")
    return {case: one_step(case, 8, 1, folder / case) for case in HEADS}


@pytest.mark.processes
@pytest.mark.parametrize("engine", ["MULTI_CPU", "FSDP"])
def test_a_step_of_four_processes_is_that_of_one(engine: str, one_process: dict[str, Any], tmp_path: Path) -> None:
    """Two micro-batches each, ragged rows and a filler: loss and gradient to 1e-6."""
    found = steps_of_processes("step_of_heads.py", 1, 2, HEADS, tmp_path, processes=4, engine=engine)
    assert len(found) == len(HEADS)
    for case, step in found.items():
        assert_same_step(step, one_process[case])


def test_processes_share_all_parts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a sharded model they compute equally many; what is computed twice does not count."""
    from accelerate import PartialState

    state = PartialState(cpu=True)
    for count in range(1, 9):
        for processes in range(1, 6):
            for is_sharded in (False, True):
                monkeypatch.setattr("pipelines.models.sharded.is_sharded", lambda model, told=is_sharded: told)
                shares = []
                for index in range(processes):
                    monkeypatch.setitem(state._shared_state, "num_processes", processes)
                    monkeypatch.setitem(state._shared_state, "process_index", index)
                    shares.append(list(share_of_process(range(count), None)))
                assert sorted(part for share in shares for part, counts in share if counts) == list(range(count))
                if is_sharded:
                    assert {len(share) for share in shares} == {-(-count // processes)}


@pytest.mark.processes
@pytest.mark.parametrize(("task", "engine"), [("classification", "MULTI_CPU"), ("translation", "FSDP")])
def test_two_processes_fine_tune_and_score_as_one(task: str, engine: str, tmp_path: Path) -> None:
    """31 rows cannot be halved: each is scored, or written for, once. The best weights are not the last."""
    no_dropout = finetune_runs.BERT.replace("0.1", "0.0, attention_probs_dropout_prob: 0.0")
    model = {"classification": no_dropout, "translation": finetune_runs.T5}[task]
    runs = [tmp_path / "one", tmp_path / "two"]
    for processes, folder, batch in ((1, runs[0], "8"), (2, runs[1], "4")):
        more = ("--training.per_device_train_batch_size", batch, "--training.load_best_model_at_end", "true")
        flags = finetune_runs.flags(task, tmp_path, folder, *more)
        flags[flags.index("--model.config") + 1] = model
        flags[flags.index("--proof.enabled") + 1] = "true"
        flags[flags.index("--data.files.validation") + 1] = str(finetune_runs.write_rows(tmp_path, task, 31, 3))
        run(f"finetune_{task}", flags, processes, engine)
    proofs = json.loads((runs[1] / "proof.json").read_text())["proofs"]
    assert proofs[0]["name"] == "accumulation and 2 processes" and proofs[0]["figure"] < 1e-5
    steps = [[one["loss"] for one in lines(folder / "steps.jsonl")] for folder in runs]
    assert steps[1] == pytest.approx(steps[0], abs=1e-5)
    one, two = (json.loads((run / "metrics.json").read_text()) for run in runs)
    assert one["eval_rows"] == 31 and one.keys() == two.keys()
    for name in one:
        if name.startswith(("eval_", "baseline_")) and name != "eval_seconds":
            assert two[name] == pytest.approx(one[name], abs=1e-5), name
    said = "predicted_label" if task == "classification" else "predicted_text"
    tables = [pq.read_table(run / "predictions.parquet")[said].to_pylist() for run in runs]
    assert tables[0] == tables[1] and len(tables[0]) == 31
    weights = [load_file(run / "model" / "model.safetensors") for run in runs]
    assert weights[0].keys() == weights[1].keys()
    for name, expected in weights[0].items():
        torch.testing.assert_close(weights[1][name], expected, atol=1e-5, rtol=0)


# ---------------------------------------------------------------- checkpoints


@pytest.mark.processes
def test_checkpoints_are_read_by_any_number_of_processes(corpus_file: Path, tmp_path: Path) -> None:
    """One process, then four, two and one again: the losses and weights of the run that was never stopped."""
    run("pretrain_clm", tiny_run(corpus_file, tmp_path / "whole", *ADAMW))
    folder, pieces = tmp_path / "run", []
    for processes, stop in ((1, 3), (4, 6), (2, 9), (1, None)):
        batch = ("--training.per_device_train_batch_size", str(4 // processes))
        stops = () if stop is None else ("--run.stop_at_step", str(stop))
        run("pretrain_clm", tiny_run(corpus_file, folder, *ADAMW, *batch, *stops), processes)
        if stop is not None:
            checkpoint = folder / "checkpoints" / f"checkpoint-{stop}"
            assert (checkpoint / "checksums.json").is_file()
            pieces.append(len(list(checkpoint.glob(f"{sharding.PIECES}/*.safetensors"))))
    assert pieces == [0, 4, 2], "files in pieces: none, one for each process"
    found, expected = (lines(one / "steps.jsonl") for one in (folder, tmp_path / "whole"))
    assert [one["step"] for one in found] == list(range(1, 13))
    for one, two in zip(found, expected, strict=True):
        assert one == pytest.approx(two, abs=1e-5)
    weights, whole = (load_file(one / "model" / "model.safetensors") for one in (folder, tmp_path / "whole"))
    assert weights.keys() == whole.keys()
    for name, weight in whole.items():
        torch.testing.assert_close(weights[name], weight, atol=1e-5, rtol=0)


def saved_in_pieces(folder: Path) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """A model and its optimizer after a step, as one process writes them in pieces."""
    from torch.distributed.checkpoint import HuggingFaceStorageWriter, save

    model = build("llama", block_size=16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.arange(8)[None]).logits.sum().backward()
    optimizer.step()
    pieces = HuggingFaceStorageWriter(str(folder / sharding.PIECES), save_distributed=True)
    with sharding._quiet():
        save(sharding._named_tensors(model, optimizer), storage_writer=pieces, no_dist=True)
    return model, optimizer


def test_pieces_hold_the_weights_and_all_of_the_optimizer(tmp_path: Path) -> None:
    model, optimizer = saved_in_pieces(tmp_path)
    again = build("llama", block_size=16)
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.add_(1.0)
    other = torch.optim.AdamW(again.parameters(), lr=0.1)
    sharding.load_weights(again, tmp_path)
    sharding.load_optimizer(again, other, tmp_path)
    for (name, one), two in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two), name
        assert optimizer.state[one].keys() == other.state[two].keys() == {"step", "exp_avg", "exp_avg_sq"}
        for slot, value in optimizer.state[one].items():
            assert torch.equal(value, other.state[two][slot]), (name, slot)


def test_pieces_of_another_model_are_refused_by_name(tmp_path: Path) -> None:
    saved_in_pieces(tmp_path)
    with pytest.raises(CheckpointError, match=r"has no weights 'weights/transformer"):
        sharding.load_weights(build("gpt2", block_size=16), tmp_path)


def test_a_skeleton_has_no_weights_and_is_filled_with_those_of_the_model() -> None:
    model = build("gpt2", block_size=16).eval()
    skeleton = sharding.skeleton_of(model)
    assert {parameter.device.type for parameter in skeleton.parameters()} == {"meta"}
    assert skeleton.get_output_embeddings().weight is skeleton.get_input_embeddings().weight, "tied"
    with torch.no_grad():
        model.transformer.wte.weight.add_(1.0)  # trained after the skeleton was made
    whole = sharding.assembled(model, skeleton)
    assert whole.get_output_embeddings().weight is whole.get_input_embeddings().weight
    ids = torch.arange(8)[None]
    assert torch.equal(whole(ids).logits, model(ids).logits)


# ---------------------------------------------------------------- what a launcher may ask for


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "DeepSpeed.*fsdp2.yaml"),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"}, "fsdp_version: 2"),
        (
            {"ACCELERATE_USE_PARALLELISM_CONFIG": "true", "PARALLELISM_CONFIG_CP_SIZE": "4"},
            "context parallelism over 4 processes.*parallelism_config_cp_size",
        ),
        ({"ACCELERATE_USE_PARALLELISM_CONFIG": "true"}, "for GPUs alone.*fsdp2.yaml"),
    ],
)
def test_what_would_not_be_exact_is_refused(
    variables: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=told):
        sharding.check_launcher(has_gpu=False)
