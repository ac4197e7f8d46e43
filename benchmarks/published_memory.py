"""Memory that others have published of their trainers on GPUs, beside what pipelines.training.memory works out.

python -m benchmarks.published_memory      # under a minute, no GPU, no weights

Models stand on the meta device, in the dimensions of their published configs. Bytes are of one GPU; the CUDA context is
left out, as it is in what the trainers report of the allocator.
"""

import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import peft
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from pipelines.training.memory import memory_estimate

GIB, GB = 2**30, 10**9
LLAMA_31_8B = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
}  # fmt: skip
LLAMA_2_7B = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096,
}  # fmt: skip
PHI_15 = {
    "model_type": "phi", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24,
    "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 51200, "max_position_embeddings": 2048,
}  # fmt: skip
TITAN = {"bf16": True, "processes": 8, "parallelism": "fsdp2", "recomputation": "selective"}
TUNE = {"bf16": True, "bytes_per_weight": 2, "recomputation": "full"}
LITGPT = {"bf16": True, "bytes_per_weight": 2}


@dataclass(frozen=True)
class Published:
    """A figure of others: of which run, and the estimate's arguments for it."""

    run: str
    bytes: float
    unit: int
    config: dict[str, Any]
    estimate: dict[str, Any]
    lora: dict[str, Any] = field(default_factory=dict)


LITGPT_LLAMA_LORA = {"r": 8, "target_modules": ["q_proj", "v_proj"]}
TUNE_LORA = {"r": 8, "target_modules": ["q_proj", "v_proj", "o_proj"]}
FIGURES = [
    Published("torchtitan, Llama 3.1 8B, FSDP2 on 8 H100, 2 x 8,192", 82.4 * GIB, GIB, LLAMA_31_8B,
              TITAN | {"rows": 2, "block_size": 8192}),
    Published("the same, 14 bytes a logit", 82.4 * GIB, GIB, LLAMA_31_8B,
              TITAN | {"rows": 2, "block_size": 8192, "bytes_per_logit": 14}),
    Published("the same on 128 H100", 67.0 * GIB, GIB, LLAMA_31_8B,
              TITAN | {"rows": 2, "block_size": 8192, "bytes_per_logit": 14, "processes": 128}),
    Published("torchtune, Llama 3.1 8B, LoRA, 2 x 2,048", 16.2 * GIB, GIB, LLAMA_31_8B,
              TUNE | {"rows": 2, "block_size": 2048}, TUNE_LORA),
    Published("litgpt, Llama 2 7B, LoRA, 1 x 1,304", 21.30 * GB, GB, LLAMA_2_7B,
              LITGPT | {"rows": 1, "block_size": 1304}, LITGPT_LLAMA_LORA),
    Published("litgpt, Llama 2 7B, LoRA, 2 x 1,304", 29.07 * GB, GB, LLAMA_2_7B,
              LITGPT | {"rows": 2, "block_size": 1304}, LITGPT_LLAMA_LORA),
    Published("litgpt, phi-1.5, LoRA, 1 x 1,044", 4.82 * GB, GB, PHI_15,
              LITGPT | {"rows": 1, "block_size": 1044}, LITGPT_LLAMA_LORA),
    Published("litgpt, phi-1.5, LoRA, 4 x 1,044", 10.68 * GB, GB, PHI_15,
              LITGPT | {"rows": 4, "block_size": 1044}, LITGPT_LLAMA_LORA),
]  # fmt: skip


def skeleton(config: dict[str, Any], lora: dict[str, Any]) -> Any:
    """A decoder without storage, with LoRA if any is given."""
    values = dict(config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(values.pop("model_type"), **values))
        return peft.get_peft_model(model, peft.LoraConfig(**lora)) if lora else model


def estimated(figure: Published) -> dict[str, int]:
    """Ours."""
    return memory_estimate(skeleton(figure.config, figure.lora), flash=True, **figure.estimate)


def lines() -> Iterator[str]:
    """The table, a line at a time."""
    yield "| run | published | ours | ratio | states | activations | logits |"
    yield "|---|---|---|---|---|---|---|"
    for figure in FIGURES:
        parts = estimated(figure)
        unit = "GiB" if figure.unit == GIB else "GB"
        states = parts["total"] - parts["activations"] - parts["logits"]
        sizes = [states, parts["activations"], parts["logits"]]
        columns = [f"{figure.bytes / figure.unit:.1f} {unit}", f"{parts['total'] / figure.unit:.1f} {unit}"]
        columns += [f"{parts['total'] / figure.bytes:.2f}", *(f"{size / figure.unit:.1f}" for size in sizes)]
        yield f"| {figure.run} | {' | '.join(columns)} |"


def main() -> None:
    """Prints the table as Markdown."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    print(f"{datetime.now(UTC):%Y-%m-%d}; {packages}; Python {platform.python_version()}\n")
    for line in lines():
        print(line, flush=True)


if __name__ == "__main__":
    main()
