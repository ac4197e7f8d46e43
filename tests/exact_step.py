"""One optimizer step of ExactTrainer on ragged documents; as a script, the same under torchrun.

torchrun --nproc-per-node 2 exact_step.py OUTPUT_DIR ROWS_PER_PROCESS ACCUMULATION MODEL_TYPE [MODEL_TYPE ...]
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from architectures import FewTokens, build, objective_of

from pipelines.data.collation import BlockCollator
from pipelines.data.masking import Masking
from pipelines.data.order import TrainingOrder
from pipelines.data.packing import PackedDocuments, TrainingBlocks
from pipelines.proofs.steps import take_steps
from pipelines.sections import MaskingConfig
from pipelines.training.objectives import CausalLanguageModeling, MaskedLanguageModeling
from pipelines.training.trainer import Objective

SHARDED = {  # what `accelerate launch` sets for its children by recipes/configs/accelerate/fsdp2.yaml
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
}


def ragged_documents() -> PackedDocuments:
    """Eight blocks of 16 positions, with 1 to 40 tokens a document and a short last block."""
    lengths = [1, 2, 40, 3, 1, 1, 20, 9, 1, 1, 1, 1, 30, 6]
    tokens = np.random.default_rng(0).integers(4, 64, sum(lengths)).astype(np.int32)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64)
    return PackedDocuments(tokens, starts, None, block_size=16, pad_token_id=2)


def masking() -> Masking:
    """Masks 40 % of the tokens."""
    return Masking.of(MaskingConfig(mlm_probability=0.4), FewTokens())


def training_rows(model_type: str) -> TrainingBlocks:
    """The run of all eight blocks once."""
    documents = ragged_documents()
    rows = masking() if objective_of(model_type) == "masked" else None
    return TrainingBlocks(documents, TrainingOrder(len(documents), seed=0), 8, 8, rows)


def one_step(model_type: str, rows: int, accumulation: int, folder: Path) -> tuple[float, dict[str, torch.Tensor]]:
    """(logged loss, weights afterwards) of one SGD step with learning rate 1 over all eight blocks."""
    model, blocks = build(model_type, block_size=16), training_rows(model_type)
    if objective_of(model_type) == "masked":
        objective = MaskedLanguageModeling.of(model, isolate_documents=True)
        assert objective.head is not None
    else:
        objective = CausalLanguageModeling(bf16=False)
    return sgd_step(model, blocks, BlockCollator(), objective, rows, accumulation, folder)


def sgd_step(
    model: torch.nn.Module,
    blocks: TrainingBlocks,
    collator: Callable,
    objective: Objective,
    rows: int,
    accumulation: int,
    folder: Path,
) -> tuple[float, dict[str, torch.Tensor]]:
    """(logged loss, weights afterwards) of one step with learning rate 1, which moves them by minus the gradient."""
    trained = take_steps(model, blocks, collator, objective, folder, rows=rows, accumulation=accumulation, steps=1)
    assert trained.targets == blocks.targets()
    return (trained.losses[0] if trained.losses else float("nan")), trained.weights


def assert_same_step(
    step: tuple[float, dict[str, torch.Tensor]], expected: tuple[float, dict[str, torch.Tensor]]
) -> None:
    """Loss and weights, which after this step stand for gradients, agree to 1e-6, above 1 relative to the weight."""
    assert step[0] == pytest.approx(expected[0], abs=1e-6)
    assert step[1].keys() == expected[1].keys()
    for name, weights in expected[1].items():
        torch.testing.assert_close(
            step[1][name], weights, atol=1e-6, rtol=5e-7, msg=lambda text, name=name: f"{name}: {text}"
        )


def steps_of_processes(
    script: str,
    rows: int,
    accumulation: int,
    families: list[str],
    folder: Path,
    processes: int = 2,
    engine: str = "MULTI_CPU",
) -> dict[str, tuple[float, dict[str, torch.Tensor]]]:
    """The same step of each family by several gloo processes, from a script of this folder under torchrun.

    `engine`: MULTI_CPU (data parallel), or FSDP (version 2), as accelerate names them.
    """
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)),
        *(str(Path(__file__).with_name(script)), str(folder), str(rows), str(accumulation), *families),
    ]
    environment = os.environ | (SHARDED if engine == "FSDP" else {})
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads((folder / "facts.json").read_text())
    assert (facts["world_size"], facts["engine"]) == (processes, engine)
    return {one: (facts["loss"][one], torch.load(folder / f"{one}.pt", weights_only=True)) for one in families}


def main(folder: Path, rows: int, accumulation: int, families: list[str], step: Callable = one_step) -> None:
    """Runs under torchrun; the first process writes losses, weights and the real world size."""
    from accelerate import PartialState

    state = PartialState(cpu=True)
    torch.set_num_threads(1)
    losses = {}
    for family in families:
        losses[family], weights = step(family, rows, accumulation, folder / family)
        if state.is_main_process:
            torch.save(weights, folder / f"{family}.pt")
    if state.is_main_process:
        world_size, engine = torch.distributed.get_world_size(), state.distributed_type.name
        facts = {"world_size": world_size, "engine": engine, "loss": losses}
        (folder / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
