"""What this machine computes, and how fast."""

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def cpu_threads(requested: int | None) -> int:
    """CPU threads for this process: as requested, else its share of the cores it may run on."""
    if requested is not None:
        return requested
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def use_cpu_threads(requested: int | None) -> int:
    """Sets torch's threads and returns them: `accelerate launch` and torchrun leave OMP_NUM_THREADS=1."""
    import torch

    threads = cpu_threads(requested)
    torch.set_num_threads(threads)
    return threads


def bf16_is_native(device: "torch.device") -> bool:
    """Whether the hardware multiplies bfloat16 matrices itself (CUDA from Ampere on, CPUs with AVX512-BF16 or AMX)."""
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def matmul_flops_per_second(device: "torch.device", bf16: bool) -> float:
    """The machine's own limit: floating-point operations per second of one large square matrix product.

    2048 x 2048 on a CPU, 8192 x 8192 on a GPU, in the dtype of the run; the best of several timings over some 0.3 s.
    """
    import torch

    size = 2048 if device.type == "cpu" else 8192
    dtype = torch.bfloat16 if bf16 else torch.float32
    generator = torch.Generator(device=device).manual_seed(0)  # the run's own random numbers stay untouched
    left = torch.randn(size, size, device=device, generator=generator).to(dtype)
    right = torch.randn(size, size, device=device, generator=generator).to(dtype)
    best, started = float("inf"), time.perf_counter()
    while time.perf_counter() - started < 0.3 or best == float("inf"):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        before = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - before)
    return 2 * size**3 / best


def micro_batch_seconds(model: Any, loss_sum: Callable[[Any, Any], "torch.Tensor"], parts: Sequence[Any]) -> float:
    """Seconds that forward and backward of a micro-batch take on the model's device, the second time.

    Leaves no gradient behind, and the random numbers as they were.
    """
    import torch

    device = next(model.parameters()).device
    moved = [{name: value.to(device) for name, value in part.items()} for part in parts]
    model.train()
    seconds = 0.0
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for _ in range(2):
            started = time.perf_counter()
            for part in moved:
                loss_sum(model, part).backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds = time.perf_counter() - started
    model.zero_grad(set_to_none=True)
    return seconds
