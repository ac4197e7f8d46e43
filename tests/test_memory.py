"""Memory: states by hand, activations against what autograd keeps, published runs, devices, measured steps."""

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import peft
import pytest
import torch
from architectures import FewTokens
from exact_step import ragged_documents
from transformers.optimization import Adafactor

from benchmarks.published_memory import GIB, LLAMA_31_8B, PHI_15, skeleton
from pipelines.data.collation import BlockCollator
from pipelines.data.order import BucketedOrder
from pipelines.data.packing import TrainingBlocks
from pipelines.errors import ConfigError
from pipelines.models.build import build_causal_lm, build_model
from pipelines.sections import ModelConfig, PretrainingConfig
from pipelines.training import peak, steps
from pipelines.training.activations import kept_bytes
from pipelines.training.arguments import training_arguments
from pipelines.training.devices import DEVICES, device_named
from pipelines.training.forecast import CONTEXT_BYTES, estimate_for_device
from pipelines.training.memory import memory_estimate, optimizer_bytes, training_states
from pipelines.training.objectives import CausalLanguageModeling
from pipelines.training.optimizers import muon_with_adamw
from pipelines.training.process_memory import PeakMemory

LAYER = 4 * 128**2 + 3 * 128 * 384 + 2 * 128  # of the preset nano: attention, MLP, two norms
OUTSIDE = 64 * 128 + 128  # the tied table and the last norm
TOTAL = 4 * LAYER + OUTSIDE


def nano(block_size: int = 64) -> Any:
    return build_causal_lm(ModelConfig(preset="nano"), FewTokens(), block_size)


# ------------------------------------------------------------ states


@pytest.mark.parametrize(
    ("parallelism", "processes", "weights", "gradients", "optimizer", "communication"),
    [
        ("ddp", 1, 4 * TOTAL, 4 * TOTAL, 8 * TOTAL, 0),
        ("fsdp2", 1, 4 * TOTAL, 4 * TOTAL, 8 * TOTAL, 0),
        ("ddp", 4, 4 * TOTAL, 4 * TOTAL, 8 * TOTAL, 4 * TOTAL),
        ("zero1", 4, 4 * TOTAL, 4 * TOTAL, 2 * TOTAL, 4 * TOTAL),
        ("zero2", 4, 4 * TOTAL, TOTAL, 2 * TOTAL, 4 * TOTAL),
        ("zero3", 4, TOTAL, TOTAL, 2 * TOTAL, 2 * (OUTSIDE + 2 * LAYER) + 6 * LAYER),
        ("fsdp2", 4, TOTAL, TOTAL, 2 * TOTAL, 2 * (OUTSIDE + 2 * LAYER) + 6 * LAYER),
    ],
)
def test_states_by_hand(
    parallelism: Any, processes: int, weights: int, gradients: int, optimizer: int, communication: int
) -> None:
    assert training_states(nano(), "adamw_torch_fused", True, processes, parallelism) == {
        "weights": weights,
        "gradients": gradients,
        "optimizer": optimizer,
        "communication": communication,
    }


def with_lora(model: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 asks transformers 5.23 by a deprecated name
        return peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))


def test_frozen_parameters_have_weights_alone() -> None:
    adapted = 4 * 2 * 2 * 2 * 128  # layers x two projections x two matrices of rank 2
    assert training_states(with_lora(nano()), "adamw_torch") == {
        "weights": 4 * (TOTAL + adapted),
        "gradients": 4 * adapted,
        "optimizer": 8 * adapted,
        "communication": 0,
    }


@pytest.mark.parametrize("optim", ["adamw_torch", "sgd", "adafactor", "muon"])
def test_optimizer_bytes_are_those_of_the_optimizer(optim: str) -> None:
    model = nano()
    arguments = SimpleNamespace(learning_rate=1e-3, weight_decay=0.0, adam_beta1=0.9, adam_beta2=0.9, adam_epsilon=1e-8)
    optimizer: Any = {
        "adamw_torch": lambda: torch.optim.AdamW(model.parameters()),
        "sgd": lambda: torch.optim.SGD(model.parameters(), lr=1e-3),
        "adafactor": lambda: Adafactor(model.parameters(), lr=1e-3, scale_parameter=False, relative_step=False),
        "muon": lambda: muon_with_adamw(model, arguments, []),
    }[optim]()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    parts = optimizer.parts.values() if optim == "muon" else [optimizer]
    states = [value for part in parts for state in part.state.values() for value in state.values()]
    held = sum(value.nbytes for value in states if isinstance(value, torch.Tensor) and value.ndim > 0)
    assert optimizer_bytes(model, optim) == held


# ------------------------------------------------------------ activations


def really_kept(model: Any, bf16: bool, inputs: dict[str, torch.Tensor]) -> int:
    """Bytes of the storages that autograd saves, parameters left out."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor), torch.autocast("cpu", enabled=bf16):
        output = model(**inputs)
    assert output.logits.requires_grad  # and the graph is alive, so no address was used twice
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in parameters)


@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize("name", ["decoder", "encoder", "lora", "choices"])
def test_counted_activations_are_what_autograd_keeps(name: str, bf16: bool) -> None:
    inputs: dict[str, Any] = {"input_ids": torch.ones((3, 64), dtype=torch.long)}
    choices = 4 if name == "choices" else 0
    if choices:
        model = build_model("choice", ModelConfig(preset="bert-tiny"), FewTokens(), 64)
        inputs = {"input_ids": torch.ones((3, choices, 64), dtype=torch.long)}
    elif name == "encoder":
        model = build_model("masked", ModelConfig(preset="bert-tiny"), FewTokens(), 64)
        inputs |= {"position_ids": torch.arange(64).repeat(3, 1)}
    else:
        model = nano() if name == "decoder" else with_lora(nano())
        inputs |= {"position_ids": torch.arange(32).repeat(2).expand(3, 64), "use_cache": False}  # two documents each
    counted = kept_bytes(model, 3, 64, bf16=bf16, choices=choices)
    kept = really_kept(model, bf16, inputs)
    rounding = (
        kept // 10_000 if name in ("encoder", "choices") and bf16 else 0
    )  # LayerNorm's statistics of bf16 are fp32 on a CPU
    assert abs(counted.activations + counted.weight_copies - kept) <= rounding
    assert (counted.weight_copies > 0) == bf16
    assert all(parameter.device.type == "cpu" and parameter.grad is None for parameter in model.parameters())


def test_activations_are_linear_in_rows_and_with_flash_in_positions() -> None:
    layer = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    model = build_causal_lm(ModelConfig(config=layer | heads), FewTokens(), 256)
    rows = [kept_bytes(model, count, 64, bf16=True).activations for count in (1, 2, 4)]
    assert rows[2] - rows[1] == 2 * (rows[1] - rows[0])
    length = [kept_bytes(model, 2, size, bf16=True, flash=True) for size in (64, 128, 256)]
    assert length[2].activations - length[1].activations == 2 * (length[1].activations - length[0].activations)
    assert [one.masks for one in length] == [2 * size**2 * 2 for size in (64, 128, 256)]
    dense = [kept_bytes(model, 2, size, bf16=True).activations for size in (64, 128, 256)]
    assert dense[2] - dense[1] > 2 * (dense[1] - dense[0])


def test_recomputation_keeps_less() -> None:
    model = nano()
    none, selective, full = (
        kept_bytes(model, 8, 64, bf16=False, recomputation=one).activations for one in ("none", "selective", "full")
    )
    layer = (none - full) // 3 + 4 * 8 * 64 * 128  # three of four layers are gone but for their inputs
    assert full < selective < none
    assert none - 4 * layer < full - layer, "what is outside of the layers is kept, and so are their inputs"


# ------------------------------------------------------------ the whole estimate


def test_the_estimate_is_the_sum_of_its_parts() -> None:
    settings: dict[str, Any] = {"rows": 2, "block_size": 64, "bf16": True}
    estimate = memory_estimate(nano(), **settings)
    assert estimate["logits"] == 2 * 64 * 64 * 6
    assert memory_estimate(nano(), **settings, head_share=0.25)["logits"] == 2 * 64 * 16 * 6
    assert memory_estimate(nano(), **settings | {"bf16": False})["logits"] == 2 * 64 * 64 * 8
    assert estimate["total"] == sum(value for name, value in estimate.items() if name != "total")
    assert {"weights", "gradients", "optimizer", "activations", "logits"} < set(estimate)
    low = memory_estimate(nano(), **settings, bytes_per_weight=2)
    assert [low[name] for name in ("weights", "gradients", "optimizer")] == [2 * TOTAL, 2 * TOTAL, 4 * TOTAL]
    assert low["weight_copies"] == 0
    with pytest.raises(ConfigError, match=r"parallelism must be one of .*'zero'.* Did you mean 'zero"):
        memory_estimate(nano(), **settings, parallelism="zero")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="At least one row"):
        memory_estimate(nano(), **settings | {"rows": 0})


def test_llama_of_8_billion_parameters_on_8_gpus() -> None:
    """torchtitan reports 82.4 GiB, with a loss that keeps 14 bytes a logit (benchmarks/published_memory.py)."""
    model = skeleton(LLAMA_31_8B, {})
    assert sum(parameter.numel() for parameter in model.parameters()) == 8_030_261_248
    estimate = memory_estimate(
        model, rows=2, block_size=8192, bf16=True, recomputation="selective", processes=8, parallelism="fsdp2",
        flash=True, bytes_per_logit=14,
    )  # fmt: skip
    assert estimate["weights"] + estimate["gradients"] + estimate["optimizer"] == 2 * 8_030_261_248
    assert estimate["total"] / (82.4 * GIB) == pytest.approx(1, abs=0.1)
    assert all(parameter.device.type == "meta" for parameter in model.parameters())


def test_lora_of_phi() -> None:
    """litgpt reports 4.82 GB for one row of 1,044 tokens, in bf16 throughout."""
    model = with_lora(skeleton(PHI_15, {}))
    estimate = memory_estimate(model, rows=1, block_size=1044, bf16=True, bytes_per_weight=2, flash=True)
    assert estimate["total"] / 4.82e9 == pytest.approx(1, abs=0.2)


# ------------------------------------------------------------ devices


def test_unknown_device() -> None:
    assert device_named("H100-80GB").memory_bytes == 80 * 10**9
    with pytest.raises(ConfigError, match=r"no accelerator 'a100-80'.* Did you mean 'a100-80gb'.*rtx4090"):
        device_named("a100-80")
    assert all(device.source and device.name == name for name, device in DEVICES.items())
    assert [name for name, device in DEVICES.items() if not device.has_bf16] == ["t4", "v100-16gb", "v100-32gb"]


def test_the_largest_micro_batch_is_the_last_that_fits() -> None:
    model = nano(1024)
    settings: dict[str, Any] = {"device": "l4", "total_tokens": 10**9, "block_size": 1024, "processes": 2}
    most = estimate_for_device(model, rows=2, **settings).largest_micro_batch
    assert most > 100
    last, next_one = (estimate_for_device(model, rows=rows, **settings) for rows in (most, most + 1))
    assert last.fits and not next_one.fits
    assert last.largest_micro_batch == next_one.largest_micro_batch == most
    assert last.needed_bytes == last.memory_bytes["total"] + last.allowance_bytes <= 24 * 10**9
    assert last.allowance_bytes > CONTEXT_BYTES
    large = estimate_for_device(skeleton(LLAMA_31_8B | {"num_hidden_layers": 1}, {}), rows=1, **settings)
    assert large.largest_micro_batch == 0 and not large.fits


def test_time_and_cost() -> None:
    settings: dict[str, Any] = {"total_tokens": 10**12, "rows": 4, "block_size": 256, "processes": 8}
    run = estimate_for_device(nano(256), device="a100-40gb", mfu=0.5, price_per_device_hour=2.0, **settings)
    flops = 6 * (TOTAL - 9 * 128) + 12 * 4 * 128 * 256  # of PaLM's formula, without norms
    assert run.tokens_per_second == pytest.approx(8 * 0.5 * 312e12 / flops)
    assert run.seconds == pytest.approx(10**12 / run.tokens_per_second)
    assert run.device_hours == pytest.approx(8 * run.seconds / 3600)
    assert run.cost == pytest.approx(2 * run.device_hours)
    slower = estimate_for_device(nano(256), device="a100-40gb", mfu=0.5, recomputation="full", **settings)
    assert slower.seconds == pytest.approx(run.seconds * 4 / 3)
    assert slower.cost is None
    with pytest.raises(ConfigError, match=r"mfu is a share .* found 40"):
        estimate_for_device(nano(), device="t4", mfu=40, **settings)


# ------------------------------------------------------------ measured


def test_the_meter_sees_what_was_held_and_let_go() -> None:
    meter = PeakMemory(torch.device("cpu"))
    meter.reset()
    before = meter.now_bytes()
    held = np.ones(2**26, dtype=np.uint8)
    del held
    assert 60_000_000 < meter.peak_bytes() - before < 80_000_000
    meter.reset()
    assert meter.peak_bytes() - before < 10_000_000


class Lengths:
    """Rows that are their own length."""

    def row(self, documents: Any, index: int, generator: Any) -> dict[str, np.ndarray]:
        return {"length": documents[index]}

    def filler(self, documents: Any) -> dict[str, np.ndarray]:
        return {"length": np.array(0)}


def test_the_largest_micro_batch_of_a_run_is_found() -> None:
    lengths_R = np.random.default_rng(0).integers(1, 100, 97) * 10
    lengths_R[13] = 5000
    order = BucketedOrder(97, 7, lengths_R, rows_per_step=8)
    blocks = TrainingBlocks(lengths_R, order, 104, 97, Lengths())  # type: ignore[arg-type]
    assert 5000 in [int(row["length"]) for row in peak.largest_micro_batch(blocks, 4)]
    short = TrainingBlocks(lengths_R, order, 8, 8, Lengths())  # type: ignore[arg-type]
    first = [[int(short[place]["length"]) for place in places] for places in (range(4), range(4, 8))]
    assert [int(row["length"]) for row in peak.largest_micro_batch(short, 4)] == max(first, key=max)


def measured(folder: Path, max_seconds: float, accumulation: int = 1) -> tuple[peak.StepCost, Any]:
    from accelerate import PartialState

    documents, model = ragged_documents(), nano(16)
    training = PretrainingConfig(
        max_steps=50, per_device_train_batch_size=8, gradient_accumulation_steps=accumulation, optim="muon"
    )
    plan = steps.make_plan(training, documents, documents, model, PartialState(cpu=True))  # type: ignore[arg-type]
    cost = peak.measure_step(
        plan=plan,
        arguments=training_arguments(training, plan, folder / "checkpoints", has_gpu=False),
        model=model,
        blocks=TrainingBlocks(documents, documents.order(0, 8), 400, 400),
        collator=BlockCollator(),
        objective=CausalLanguageModeling(bf16=plan.precision == "bf16"),
        use_muon=True,
        evaluate=lambda model: np.ones(2**26, dtype=np.uint8).sum(),
        max_seconds=max_seconds,
    )
    return cost, plan


def test_a_measured_step(tmp_path: Path) -> None:
    cost, plan = measured(tmp_path, 60.0, accumulation=3)
    assert (cost.measured_rows, cost.rows, cost.is_extrapolated) == (8, 8, False)
    assert set(cost.phase_peak_bytes) == set(peak.PHASES)
    assert cost.peak_memory_bytes == cost.phase_peak_bytes["evaluation"] > cost.baseline_bytes + 50_000_000
    assert cost.run_seconds(plan) == cost.step_seconds * 50 > 0
    assert not list(tmp_path.iterdir()), "a rehearsal writes nothing"


def test_fewer_rows_are_computed_where_time_is_short(tmp_path: Path) -> None:
    cost, _ = measured(tmp_path, 1e-9)
    assert (cost.measured_rows, cost.is_extrapolated) == (2, True)


def test_extrapolation_is_a_straight_line_of_forward_and_backward_alone() -> None:
    def step(rows: int, high: int, seconds: float) -> peak._Phases:
        return peak._Phases(rows, high, 700, seconds, 0.5)

    plan: Any = SimpleNamespace(gradient_accumulation_steps=3)
    some = [step(2, 300, 9.0), step(2, 100, 1.0), step(4, 490, 3.0), step(4, 500, 2.0)]
    cost = peak._cost(some, 50, None, rows=10, plan=plan)
    assert cost.phase_peak_bytes == {"forward_backward": 500 + 3 * 200, "update": 700}
    assert cost.step_seconds == 3 * (2.0 + 3 * 1.0) + 0.5
    assert cost.peak_memory_bytes == 1100
    whole = peak._cost([step(10, 300, 9.0), step(10, 100, 1.0), step(10, 290, 1.5)], 50, 900, rows=10, plan=plan)
    assert (whole.phase_peak_bytes["forward_backward"], whole.peak_memory_bytes) == (300, 900)
    assert not whole.is_extrapolated
