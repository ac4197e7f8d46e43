"""One optimizer step of ExactTrainer on ragged denoising rows; as a script, the same under torchrun.

torchrun --nproc-per-node 2 exact_step_seq2seq.py OUTPUT_DIR ROWS_PER_PROCESS ACCUMULATION FAMILY [FAMILY ...]
"""

import sys
from pathlib import Path

import numpy as np
import torch
from architectures import NO_DROPOUT, SIZES, VOCABULARY, FewTokens
from exact_step import main, sgd_step
from transformers import BertConfig, EncoderDecoderConfig, EncoderDecoderModel

from pipelines.data.denoising import Denoising, SpanCorruption, TextInfilling
from pipelines.data.document_rows import DocumentRows, Seq2SeqCollator
from pipelines.data.packing import PackedDocuments, TrainingBlocks
from pipelines.models.build import build_model
from pipelines.sections import ModelConfig
from pipelines.training.objectives import SequenceToSequence

BLOCK_SIZE = 16
BOS, EOS, PAD, MASK, FIRST_TEXT = 0, 1, 2, 3, 12
SPAN_CORRUPTION = SpanCorruption(0.4, 2.0, (BOS,), (EOS,), sentinel_ids=tuple(range(4, FIRST_TEXT)))
TEXT_INFILLING = TextInfilling(0.4, 2.0, (BOS,), (EOS,), mask_token_id=MASK)
BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "dropout": 0.0,
}
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "dropout_rate": 0.0}
FAMILIES: dict[str, dict] = {"t5": T5, "bart": BART, "marian": BART, "bert2bert": SIZES | NO_DROPOUT}


def build(family: str, attn_implementation: str = "sdpa") -> torch.nn.Module:
    """The same small model every time, in fp32, without dropout."""
    torch.manual_seed(0)
    if family != "bert2bert":
        config = ModelConfig(config={"model_type": family, **FAMILIES[family]}, attn_implementation=attn_implementation)
        return build_model("seq2seq", config, FewTokens(), BLOCK_SIZE)
    side = {"vocab_size": VOCABULARY, "max_position_embeddings": BLOCK_SIZE, **FAMILIES[family]}
    sides = (BertConfig(**side), BertConfig(**side, is_decoder=True, add_cross_attention=True))
    joined = EncoderDecoderConfig.from_encoder_decoder_configs(
        *sides, decoder_start_token_id=BOS, pad_token_id=PAD, eos_token_id=EOS, vocab_size=VOCABULARY
    )
    return EncoderDecoderModel(joined)


def denoising(family: str) -> Denoising:
    """T5's for T5, BART's for the others."""
    return SPAN_CORRUPTION if family == "t5" else TEXT_INFILLING


def collator(model: torch.nn.Module) -> Seq2SeqCollator:
    return Seq2SeqCollator(PAD, model.config.decoder_start_token_id)


def packed(text_lengths: list[int], block_size: int = BLOCK_SIZE) -> PackedDocuments:
    """Documents with so many text tokens each, between BOS and EOS."""
    draw, parts = np.random.default_rng(0), []
    for length in text_lengths:
        parts.append([BOS, *draw.integers(FIRST_TEXT, VOCABULARY, length).tolist(), EOS])
    starts = np.cumsum([0, *map(len, parts[:-1])])
    return PackedDocuments(np.concatenate(parts).astype(np.int32), starts.astype(np.int64), None, block_size, PAD)


def ragged_rows(denoising: Denoising) -> DocumentRows:
    """Eight rows of 2 to 14 text tokens; the first document makes three of them."""
    return DocumentRows.of(packed([30, 3, 14, 2, 9, 5]), denoising)


def one_step(family: str, rows: int, accumulation: int, folder: Path) -> tuple[float, dict[str, torch.Tensor]]:
    """(logged loss, weights afterwards) of one SGD step with learning rate 1 over all eight rows."""
    model, damage = build(family), denoising(family)
    documents = ragged_rows(damage)
    blocks = TrainingBlocks(documents, documents.order(0, 8), 8, 8, damage)
    assert blocks.targets() == documents.targets
    return sgd_step(model, blocks, collator(model), SequenceToSequence(bf16=False), rows, accumulation, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:], one_step)
