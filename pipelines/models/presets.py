"""Named model sizes, from scratch. Vocabulary, special tokens and positions are filled in by models/build.py.

Llama-type decoders (RMSNorm, rotary positions, SwiGLU). Widths are multiples of 64, head size is 64 (32 below 256),
the MLP is 8/3 wide as in Llama (Touvron et al. 2023, section 2.2), rounded up to a multiple of 64.
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


def _llama(layers: int, hidden_size: int, heads: int, key_value_heads: int) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "num_hidden_layers": layers,
        "hidden_size": hidden_size,
        "intermediate_size": -(-hidden_size * 8 // 3 // 64) * 64,
        "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads,
        "tie_word_embeddings": True,
        "rope_theta": 10_000.0,
    }


PRESETS: dict[str, dict[str, Any]] = {name: _llama(*size) for name, size in _LLAMA_SIZES.items()}
