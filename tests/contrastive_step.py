"""One optimizer step of contrastive training on fixed views, without dropout; as a script, the same under torchrun.

torchrun --nproc-per-node 2 contrastive_step.py OUTPUT_DIR ROWS_PER_PROCESS
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from exact_step import sgd_step
from transformers import BertConfig, BertModel

from pipelines.data.collation import pad
from pipelines.data.order import TrainingOrder
from pipelines.data.packing import TrainingBlocks
from pipelines.data.sentences import FILLER
from pipelines.models.pooling import Pooling, check_sentence_encoder
from pipelines.training.contrastive import Contrastive

SENTENCES = 7  # of 8 rows: one is filler


class FixedViews:
    """Seven pairs of views of 2 to 9 tokens, of which two pairs have the same sentence_id."""

    def __len__(self) -> int:
        return SENTENCES

    def targets_per_block(self) -> np.ndarray:
        return np.ones(SENTENCES, dtype=np.int64)

    def block(self, index: int) -> dict[str, np.ndarray]:
        draw = np.random.default_rng(index)
        views = [draw.integers(3, 64, draw.integers(2, 10)) for _ in range(2)]
        return {"first": views[0], "second": views[1], "sentence_id": np.array(max(index, 1))}

    def filler(self) -> dict[str, np.ndarray]:
        return {"first": np.array([1, 2]), "second": np.array([1, 2]), "sentence_id": np.array(FILLER)}


def collate(rows: list[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    ids_B = torch.tensor([int(row["sentence_id"]) for row in rows])
    return pad([row[view] for view in ("first", "second") for row in rows], pad_token_id=0) | {"sentence_id": ids_B}


def build() -> BertModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = BertModel(BertConfig(vocab_size=64, max_position_embeddings=16, hidden_dropout_prob=0.1, **sizes))
    check_sentence_encoder(model, Pooling("mean"), pad_token_id=0)  # freezes the pooler
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def one_step(rows: int, folder: Path) -> tuple[float, dict[str, torch.Tensor]]:
    """(logged loss, weights afterwards) of one SGD step with learning rate 1 over all eight rows."""
    blocks = TrainingBlocks(FixedViews(), TrainingOrder(SENTENCES, seed=0), 8, SENTENCES)
    assert blocks.targets() == SENTENCES
    objective = Contrastive(bf16=False, pooling=Pooling("mean"), temperature=1.0)
    return sgd_step(build(), blocks, collate, objective, rows, 1, folder)


def main(folder: Path, rows: int) -> None:
    """Runs under torchrun; the first process writes loss, weights and the real world size."""
    from accelerate import PartialState

    state = PartialState(cpu=True)
    torch.set_num_threads(1)
    loss, weights = one_step(rows, folder / "step")
    if state.is_main_process:
        torch.save(weights, folder / "weights.pt")
        (folder / "facts.json").write_text(json.dumps({"world_size": torch.distributed.get_world_size(), "loss": loss}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
