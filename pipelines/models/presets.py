"""Named model sizes, from scratch. Vocabulary, special tokens and positions are filled in by models/build.py.

Names without a family are Llama-type decoders (RMSNorm, rotary positions, SwiGLU). Widths are multiples of 64, heads
are 64 wide, the MLP of a decoder is 8/3 wide as in Llama (Touvron et al. 2023, section 2.2), rounded up to a
multiple of 64; that of encoders and encoder-decoders 4 (gated: 3/2 as ModernBERT's, 8/3 as T5 1.1's). Dropout is off:
pretraining sees few tokens twice.

`1b` has depth, width and heads of TinyLlama 1.1B (Zhang et al. 2024: 22 layers, 2,048, 32), eight key-value heads as
all of Llama 3 (Grattafiori et al. 2024, table 3), and rotary base 10,000, for blocks of 2,048 or 4,096. Tables are tied
in all presets, here as in Llama 3.2 1B: with 49,152 entries a second one would add 101 M parameters, 9 %, to what is
kept, sent and updated in every step.
"""

from typing import Any

# name: (layers, hidden size, heads, key-value heads)
_LLAMA_SIZES = {
    "nano": (4, 128, 4, 4),
    "tiny": (4, 256, 4, 4),
    "mini": (6, 384, 6, 6),
    "small": (8, 512, 8, 8),
    "base": (12, 768, 12, 12),
    "medium": (24, 1024, 16, 16),
    "1b": (22, 2048, 32, 8),
}
# name: (cell, layers, hidden size, embedding size). Within 1 % of the parameters of the Llama-type preset of the same
# size, and with as wide embeddings, for comparison: tiny with a vocabulary of 4,096, small with 8,192.
_RECURRENT_SIZES = {
    "lstm-tiny": ("lstm", 2, 464, 256),
    "lstm-small": ("lstm", 2, 1360, 512),
    "gru-tiny": ("gru", 2, 544, 256),
    "gru-small": ("gru", 2, 1584, 512),
}
# name: (layers, hidden size, heads); an encoder-decoder has so many layers on each side
_SIZES = {"tiny": (4, 256, 4), "mini": (6, 384, 6), "small": (8, 512, 8), "base": (12, 768, 12)}


def _llama(layers: int, hidden_size: int, heads: int, key_value_heads: int) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "num_hidden_layers": layers,
        "hidden_size": hidden_size,
        "intermediate_size": _multiple_of_64(hidden_size * 8 / 3),
        "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads,
        "tie_word_embeddings": True,
        "rope_theta": 10_000.0,
    }


def _recurrent(cell_type: str, layers: int, hidden_size: int, embedding_size: int) -> dict[str, Any]:
    return {
        "model_type": "recurrent",
        "cell_type": cell_type,
        "num_hidden_layers": layers,
        "hidden_size": hidden_size,
        "embedding_size": embedding_size,
    }


def _multiple_of_64(width: float) -> int:
    return -int(-width // 64) * 64


def _encoder(model_type: str, layers: int, hidden_size: int, heads: int) -> dict[str, Any]:
    return {
        "model_type": model_type,
        "num_hidden_layers": layers,
        "hidden_size": hidden_size,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden_size,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


def _modernbert(layers: int, hidden_size: int, heads: int) -> dict[str, Any]:
    return {
        "model_type": "modernbert",
        "num_hidden_layers": layers,
        "hidden_size": hidden_size,
        "num_attention_heads": heads,
        "intermediate_size": _multiple_of_64(hidden_size * 3 / 2),
    }


def _distilbert(layers: int, hidden_size: int, heads: int) -> dict[str, Any]:
    return {
        "model_type": "distilbert",
        "n_layers": layers,
        "dim": hidden_size,
        "n_heads": heads,
        "hidden_dim": 4 * hidden_size,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }


def _deberta(layers: int, hidden_size: int, heads: int) -> dict[str, Any]:
    """As DeBERTa-v3 (He et al. 2021, section 2), with its masked-language-model head; eager attention only."""
    return _encoder("deberta-v2", layers, hidden_size, heads) | {
        "relative_attention": True,
        "position_buckets": 256,
        "pos_att_type": ["p2c", "c2p"],
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
        "legacy": False,
    }


def _t5(layers: int, hidden_size: int, heads: int) -> dict[str, Any]:
    """As T5 1.1 (gated GELU, no dropout in pretraining), with tied tables."""
    return {
        "model_type": "t5",
        "num_layers": layers,
        "num_decoder_layers": layers,
        "d_model": hidden_size,
        "d_kv": hidden_size // heads,
        "d_ff": _multiple_of_64(hidden_size * 8 / 3),
        "num_heads": heads,
        "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.0,
    }


def _bart(model_type: str, layers: int, hidden_size: int, heads: int) -> dict[str, Any]:
    return {
        "model_type": model_type,
        "encoder_layers": layers,
        "decoder_layers": layers,
        "d_model": hidden_size,
        "encoder_attention_heads": heads,
        "decoder_attention_heads": heads,
        "encoder_ffn_dim": 4 * hidden_size,
        "decoder_ffn_dim": 4 * hidden_size,
        "dropout": 0.0,
    }


PRESETS: dict[str, dict[str, Any]] = {name: _llama(*size) for name, size in _LLAMA_SIZES.items()}
PRESETS |= {name: _recurrent(*size) for name, size in _RECURRENT_SIZES.items()}
for _name, _size in _SIZES.items():
    PRESETS[f"modernbert-{_name}"] = _modernbert(*_size)
    for _family in ("bert", "roberta"):
        PRESETS[f"{_family}-{_name}"] = _encoder(_family, *_size)
    PRESETS[f"distilbert-{_name}"] = _distilbert(*_size)
    PRESETS[f"electra-{_name}"] = _encoder("electra", *_size) | {"embedding_size": _size[1]}
    PRESETS[f"deberta-v2-{_name}"] = _deberta(*_size)
    PRESETS[f"t5-{_name}"] = _t5(*_size)
    for _family in ("bart", "marian"):
        PRESETS[f"{_family}-{_name}"] = _bart(_family, *_size)
