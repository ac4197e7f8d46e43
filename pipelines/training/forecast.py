"""A run on hardware that is not here: whether it fits, and what it costs."""

from dataclasses import dataclass
from typing import Any

from pipelines.errors import ConfigError
from pipelines.models.cost import training_flops_per_token
from pipelines.training.activations import Recomputation
from pipelines.training.devices import Device, device_named
from pipelines.training.memory import Parallelism, memory_estimate
from pipelines.training.plan import ASSUMED_MFU

# Assumed, not measured: a CUDA context with its libraries' kernels, and what the caching allocator cannot use.
CONTEXT_BYTES = 1_000_000_000
FRAGMENTATION_SHARE = 0.05


@dataclass(frozen=True)
class Forecast:
    """A run on a device.

    Attributes:
        device: what it runs on.
        processes: one for each device.
        memory_bytes: the parts of memory_estimate.
        allowance_bytes: CUDA context and fragmentation, assumed.
        largest_micro_batch: rows that fit; 0: not even one.
        tokens_per_second: over all processes.
        mfu: share of the device's peak that this assumes.
        seconds: of the run.
        price_per_device_hour: as given.
    """

    device: Device
    processes: int
    memory_bytes: dict[str, int]
    allowance_bytes: int
    largest_micro_batch: int
    tokens_per_second: float
    mfu: float
    seconds: float
    price_per_device_hour: float | None

    @property
    def needed_bytes(self) -> int:
        """What one device must have."""
        return self.memory_bytes["total"] + self.allowance_bytes

    @property
    def fits(self) -> bool:
        """Whether it has."""
        return self.needed_bytes <= self.device.memory_bytes

    @property
    def device_hours(self) -> float:
        """Hours of all devices together."""
        return self.seconds / 3600 * self.processes

    @property
    def cost(self) -> float | None:
        """In the currency of the price, if one was given."""
        return None if self.price_per_device_hour is None else self.device_hours * self.price_per_device_hour


def estimate_for_device(
    model: Any,
    *,
    device: str,
    total_tokens: int,
    rows: int,
    block_size: int,
    optim: str = "adamw_torch_fused",
    recomputation: Recomputation = "none",
    decoder_size: int = 0,
    choices: int = 0,
    head_share: float = 1.0,
    processes: int = 1,
    parallelism: Parallelism = "ddp",
    isolate_documents: bool = True,
    mfu: float = ASSUMED_MFU,
    price_per_device_hour: float | None = None,
) -> Forecast:
    """What a run needs of a device that is not here. Nothing of it was ever held against a GPU.

    Args:
        model: as trained; it may be on the meta device.
        device: a name of devices.DEVICES.
        total_tokens: positions that the run computes over all processes.
        rows, block_size, optim, recomputation, decoder_size, choices, head_share, processes, parallelism,
            isolate_documents: see memory_estimate.
        mfu: share of the device's peak that is reached; full recomputation does a third more work besides.
        price_per_device_hour: in any currency.

    Raises:
        ConfigError: an unknown device, an impossible share or price.
    """
    found = device_named(device)
    if not 0 < mfu <= 1:
        raise ConfigError(f"mfu is a share of the device's peak, above 0 and at most 1; found {mfu:g}.")
    if price_per_device_hour is not None and not price_per_device_hour >= 0:
        raise ConfigError(f"price_per_device_hour must not be below 0; found {price_per_device_hour:g}.")

    def estimate(count: int) -> dict[str, int]:
        return memory_estimate(
            model,
            rows=count,
            block_size=block_size,
            bf16=found.has_bf16,
            optim=optim,
            recomputation=recomputation,
            decoder_size=decoder_size,
            choices=choices,
            head_share=head_share,
            processes=processes,
            parallelism=parallelism,
            flash=True,
            isolate_documents=isolate_documents,
        )

    memory = estimate(rows)
    other_rows = 1 if rows > 1 else 2
    each = (memory["total"] - estimate(other_rows)["total"]) / (rows - other_rows)
    room = (found.memory_bytes - CONTEXT_BYTES) / (1 + FRAGMENTATION_SHARE) - (memory["total"] - rows * each)
    flops = training_flops_per_token(model, block_size, head_share, decoder_size)
    if recomputation == "full":
        flops *= 4 / 3
    speed = found.flops_per_second * mfu * processes / flops
    return Forecast(
        device=found,
        processes=processes,
        memory_bytes=memory,
        allowance_bytes=CONTEXT_BYTES + round(FRAGMENTATION_SHARE * memory["total"]),
        largest_micro_batch=max(0, int(room // each)),
        tokens_per_second=speed,
        mfu=mfu,
        seconds=total_tokens / speed,
        price_per_device_hour=price_per_device_hour,
    )
