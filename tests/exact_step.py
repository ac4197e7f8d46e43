"""One optimizer step of ExactTrainer on ragged documents; as a script, the same under torchrun.

torchrun --nproc-per-node 2 exact_step.py OUTPUT_DIR ROWS_PER_PROCESS ACCUMULATION FAMILY [FAMILY ...]
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import TrainingArguments

from pipelines.data.collation import BlockCollator
from pipelines.data.packing import PackedDocuments, TrainingBlocks, TrainingOrder
from pipelines.models.build import build_causal_lm
from pipelines.sections import ModelConfig
from pipelines.training.objectives import CausalLanguageModeling
from pipelines.training.trainer import ExactTrainer

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
FAMILIES = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "llama": SIZES | {"num_key_value_heads": 2},
    "qwen3": SIZES | {"num_key_value_heads": 1, "head_dim": 16},
    "gpt_neox": SIZES,
    "modernbert-decoder": SIZES,
    "smollm3": SIZES | {"num_key_value_heads": 1},
}


class FewTokens:
    """As much of a tokenizer as building a model asks for."""

    bos_token_id, eos_token_id, pad_token_id = 0, 1, 2

    def get_vocab(self) -> dict[str, int]:
        return {str(index): index for index in range(64)}


def ragged_documents() -> PackedDocuments:
    """Eight blocks of 16 positions, with 1 to 40 tokens a document and a short last block."""
    lengths = [1, 2, 40, 3, 1, 1, 20, 9, 1, 1, 1, 1, 30, 6]
    tokens = np.random.default_rng(0).integers(3, 64, sum(lengths)).astype(np.int32)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64)
    return PackedDocuments(tokens, starts, None, block_size=16, pad_token_id=2)


def build(family: str) -> torch.nn.Module:
    """The same small model every time, in fp32, without dropout."""
    torch.manual_seed(0)
    model_config = ModelConfig(config={"model_type": family, **FAMILIES[family]})
    return build_causal_lm(model_config, FewTokens(), block_size=16)


def one_step(family: str, rows: int, accumulation: int, folder: Path) -> tuple[float, dict[str, torch.Tensor]]:
    """(logged loss, weights afterwards) of one SGD step with learning rate 1 over all eight blocks."""
    documents, losses = ragged_documents(), []
    trainer = ExactTrainer(
        model=build(family),
        args=TrainingArguments(
            output_dir=str(folder),
            max_steps=1,
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=accumulation,
            learning_rate=1.0,
            lr_scheduler_type="constant",
            optim="sgd",
            max_grad_norm=1e9,
            logging_steps=1,
            save_strategy="no",
            use_cpu=True,
            remove_unused_columns=False,
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=TrainingBlocks(documents, TrainingOrder(len(documents), seed=0), 8, 8),
        data_collator=BlockCollator(),
        processing_class=None,
        objective=CausalLanguageModeling(bf16=False),
        evaluate_model=lambda model: {},
        log_event=lambda event: losses.append(event["loss"]),
        epoch_of_step=float,
        flops_per_token=1.0,
    )
    trainer.train()
    assert trainer.account.targets == documents.targets
    state = trainer.accelerator.unwrap_model(trainer.model_wrapped).state_dict()
    return (losses[0] if losses else float("nan")), {name: tensor.clone() for name, tensor in state.items()}


def main(folder: Path, rows: int, accumulation: int, families: list[str]) -> None:
    """Runs under torchrun; the first process writes losses, weights and the real world size."""
    from accelerate import PartialState

    state = PartialState(cpu=True)
    torch.set_num_threads(1)
    losses = {}
    for family in families:
        losses[family], weights = one_step(family, rows, accumulation, folder / family)
        if state.is_main_process:
            torch.save(weights, folder / f"{family}.pt")
    if state.is_main_process:
        facts = {"world_size": torch.distributed.get_world_size(), "loss": losses}
        (folder / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
