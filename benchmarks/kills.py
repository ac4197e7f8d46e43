"""Kills a run at random moments, and compares what it comes to in the end with a run that was left alone.

python -m benchmarks.kills [--kills 20] [--processes 2] [--sharded] [--seed 0]

A tiny causal model, with a checkpoint every 5 steps and an evaluation every 10. Each kill is a SIGKILL to a process
drawn at random, during a step, an evaluation or the writing of a checkpoint in turn; then the same command goes on.
Printed: what each kill hit, steps that were lost or made twice in the record, the largest difference in loss and
weights, and whether the receipts are the same. One process must end bit for bit as the one left alone.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

RECIPE = Path(__file__).parents[1] / "recipes" / "pretrain_clm.py"
SHARDED = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP"}
STEPS, SAVE_STEPS, EVAL_STEPS, ROWS = 300, 5, 10, 8
MODEL = (
    "{model_type: llama, hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 2, "
    "num_key_value_heads: 2}"
)
MOMENTS = ("step", "evaluation", "checkpoint")


def command(folder: Path, corpus: Path, processes: int) -> list[str]:
    """The command of a run."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    values = {
        "data.files.train": corpus, "data.validation_share": 0.1, "data.block_size": 64, "tokenizer.vocab_size": 300,
        "model.config": MODEL, "run.dir": folder, "run.threads": 1, "proof.enabled": "false",
        "training.max_steps": STEPS, "training.per_device_train_batch_size": ROWS // processes,
        "training.save_steps": SAVE_STEPS, "training.eval_steps": EVAL_STEPS, "training.logging_steps": 1,
        "training.bf16": "false", "training.optim": "adamw_torch_fused", "training.learning_rate": 1e-3,
        "evaluation.ngram_order": "null", "evaluation.samples": 1,
    }  # fmt: skip
    flags = [part for key, value in values.items() for part in (f"--{key}", str(value))]
    return [sys.executable, *(launcher if processes > 1 else ()), str(RECIPE), *flags]


def start(command: list[str], sharded: bool) -> "subprocess.Popen[str]":
    """Starts a run; its words go to a pipe that is read at the end."""
    environment = os.environ | (SHARDED if sharded else {})
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)


def ranks(process: "subprocess.Popen[str]", processes: int) -> list[psutil.Process]:
    """The processes of a run."""
    if processes == 1:
        return [psutil.Process(process.pid)]
    return [one for one in psutil.Process(process.pid).children() if str(RECIPE) in one.cmdline()]


def events(folder: Path, name: str) -> list[dict[str, Any]]:
    """The lines of a record, without one that is being written."""
    path = folder / name
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def reached(moment: str, folder: Path, beyond: int) -> bool:
    """Whether a run, past a step, is in a moment of the kind."""
    made = [one for one in events(folder, "metrics.jsonl") if "loss" in one]
    step = made[-1]["step"] if made else 0
    if step <= beyond:
        return False
    if moment == "checkpoint":
        return any((folder / "checkpoints" / ".incomplete").glob("checkpoint-*"))
    if moment == "evaluation":
        scored = [one["step"] for one in events(folder, "metrics.jsonl") if "eval_loss" in one]
        return step % EVAL_STEPS == 0 and step not in scored
    return True


def kill_once(
    run: list[str], folder: Path, processes: int, sharded: bool, moment: str, draw: random.Random
) -> tuple[str, int]:
    """Starts a run, kills one of its processes in a moment, and waits until all have ended.

    Returns:
        What was hit, and the exit code of the command.
    """
    done = [one["step"] for one in events(folder, "metrics.jsonl") if "loss" in one]
    beyond = (done[-1] if done else 0) + draw.randrange(1, 9)
    process = start(run, sharded)
    while process.poll() is None and not reached(moment, folder, beyond):
        time.sleep(0.002)
    if process.poll() is not None:
        raise SystemExit(f"the run ended before it could be killed: {process.communicate()[1][-3000:]}")
    time.sleep(draw.random() * 0.02)
    hit = draw.randrange(processes)
    ranks(process, processes)[hit].send_signal(signal.SIGKILL)
    process.communicate(timeout=300)
    step = [one["step"] for one in events(folder, "metrics.jsonl") if "loss" in one][-1]
    return f"process {hit} in the {moment} after step {step}", process.returncode


def compare(folder: Path, whole: Path) -> dict[str, Any]:
    """How a run differs from the one that was left alone."""
    from safetensors.torch import load_file

    found, expected = events(folder, "steps.jsonl"), events(whole, "steps.jsonl")
    numbers = [one["step"] for one in found]
    weights, others = (load_file(one / "model" / "model.safetensors") for one in (folder, whole))
    receipts = [json.loads((one / "receipt.json").read_text()) for one in (folder, whole)]
    same: Callable[[str], bool] = lambda name: (folder / name).read_bytes() == (whole / name).read_bytes()  # noqa: E731
    return {
        "steps_lost": len(set(range(1, STEPS + 1)) - set(numbers)),
        "steps_twice": len(numbers) - len(set(numbers)),
        "largest_loss_difference": max(abs(a["loss"] - b["loss"]) for a, b in zip(found, expected, strict=False)),
        "largest_weight_difference": max(float((weights[name] - one).abs().max()) for name, one in others.items()),
        "receipts_are_equal": receipts[0] == receipts[1],
        "weights_are_bitwise_equal": same("model/model.safetensors"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--sharded", action="store_true", help="FSDP2")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="plumbline-kills-") as folder:
        corpus, run, whole = (Path(folder) / name for name in ("corpus.jsonl", "run", "whole"))
        words = [f"word{number}" for number in range(200)]
        rows = ({"text": " ".join(draw.choices(words, k=40))} for _ in range(2_000))
        corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
        undisturbed = start(command(whole, corpus, arguments.processes), arguments.sharded)
        told = undisturbed.communicate()[1]
        if undisturbed.returncode:
            raise SystemExit(told[-3000:])
        for number in range(arguments.kills):
            how = (arguments.processes, arguments.sharded, MOMENTS[number % len(MOMENTS)], draw)
            hit, code = kill_once(command(run, corpus, arguments.processes), run, *how)
            print(f"{number + 1:3} {hit}: exit code {code}", flush=True)
        last = start(command(run, corpus, arguments.processes), arguments.sharded)
        told = last.communicate()[1]
        if last.returncode:
            raise SystemExit(told[-3000:])
        for name, value in compare(run, whole).items():
            print(f"{name:28} {value}")


if __name__ == "__main__":
    main()
