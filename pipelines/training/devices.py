"""Accelerators by name: memory and speed from their vendors' data sheets."""

from dataclasses import dataclass

from pipelines.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Device:
    """An accelerator.

    Attributes:
        name: as in DEVICES.
        memory_bytes: as sold, a GB as 10^9 bytes; what is really free is some more or less.
        flops_per_second: of dense matrix products at their peak, in bf16 with fp32 sums; in fp32 where has_bf16 is
            False, since nothing here trains in fp16.
        has_bf16: whether it multiplies bfloat16 matrices.
        source: of the figures.
    """

    name: str
    memory_bytes: int
    flops_per_second: float
    has_bf16: bool
    source: str


def _device(name: str, gigabytes: float, teraflops: float, source: str, has_bf16: bool = True) -> tuple[str, Device]:
    return name, Device(name, round(gigabytes * 1e9), teraflops * 1e12, has_bf16, source)


# Where a data sheet states a rate with sparsity, this is half of it.
DEVICES = dict(
    [
        _device("a100-40gb", 40, 312, "NVIDIA A100 Tensor Core GPU data sheet"),
        _device("a100-80gb", 80, 312, "NVIDIA A100 Tensor Core GPU data sheet"),
        _device("h100-80gb", 80, 989.4, "NVIDIA H100 Tensor Core GPU data sheet, SXM"),
        _device("h200-141gb", 141, 989.4, "NVIDIA H200 Tensor Core GPU data sheet, SXM"),
        _device("b200", 180, 2250, "NVIDIA DGX B200 data sheet, one of eight"),
        _device("l4", 24, 121, "NVIDIA L4 Tensor Core GPU data sheet"),
        _device("l40s", 48, 362.05, "NVIDIA L40S data sheet"),
        _device("a10", 24, 125, "NVIDIA A10 Tensor Core GPU data sheet"),
        _device("rtx4090", 24, 165.2, "NVIDIA Ada GPU architecture white paper, GeForce RTX 4090"),
        _device("rtx3090", 24, 71, "NVIDIA Ampere GA102 GPU architecture white paper, GeForce RTX 3090"),
        _device("t4", 16, 8.1, "NVIDIA T4 data sheet, fp32", has_bf16=False),
        _device("v100-16gb", 16, 15.7, "NVIDIA V100 Tensor Core GPU data sheet, SXM2, fp32", has_bf16=False),
        _device("v100-32gb", 32, 15.7, "NVIDIA V100 Tensor Core GPU data sheet, SXM2, fp32", has_bf16=False),
        _device("mi300x", 192, 1307.4, "AMD Instinct MI300X accelerator data sheet"),
    ]
)


def device_named(name: str) -> Device:
    """The accelerator of that name, case ignored.

    Raises:
        ConfigError: there is none.
    """
    found = DEVICES.get(name.strip().lower())
    if found is None:
        raise ConfigError(
            f"There is no accelerator {name!r} in the table.{did_you_mean(name, DEVICES)} It has: {', '.join(DEVICES)}."
        )
    return found
