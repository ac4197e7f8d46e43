"""The architectures that tests prove, in a size of some thousand parameters; as a script, the tables of docs/models.md.

python tests/architectures.py    # writes the tables anew
"""

import sys
from pathlib import Path

import torch
import transformers
from transformers import CONFIG_MAPPING

sys.path.insert(0, str(Path(__file__).parents[1]))

import pipelines.models.recurrent  # noqa: F401  registers its model type
from pipelines.models.build import HEADS, build_model
from pipelines.models.cost import count_parameters
from pipelines.models.presets import PRESETS
from pipelines.sections import ModelConfig

DOCS = Path(__file__).parents[1] / "docs" / "models.md"
BOTH, EAGER = ("sdpa", "eager"), ("eager",)

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
GROUPED = SIZES | {"num_key_value_heads": 1, "head_dim": 16}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
# Sliding windows are shorter than the longest document that tests pack.
DECODERS = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "llama": GROUPED,
    "qwen2": SIZES | {"num_key_value_heads": 1},
    "qwen3": GROUPED,
    "gpt_neox": SIZES,
    "mistral": GROUPED | {"sliding_window": 8},
    "smollm3": SIZES | {"num_key_value_heads": 1},
    "olmo2": SIZES | {"num_key_value_heads": 2},
    "phi3": SIZES | {"num_key_value_heads": 2},
    "granite": SIZES | {"num_key_value_heads": 1},
    "gemma3_text": GROUPED | {"sliding_window": 8},
    "modernbert-decoder": SIZES | {"local_attention": 8},
}
ENCODERS = {
    "bert": SIZES | NO_DROPOUT,
    "roberta": SIZES | NO_DROPOUT,
    "distilbert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2, "dropout": 0.0, "attention_dropout": 0.0},
    "electra": SIZES | NO_DROPOUT | {"embedding_size": 16},
    "deberta-v2": SIZES
    | NO_DROPOUT
    | {
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
        "legacy": False,
    },
    "modernbert": SIZES | {"num_hidden_layers": 3, "local_attention": 8},  # the first layer global, the others local
    "albert": SIZES | NO_DROPOUT | {"embedding_size": 16},
    "xlm-roberta": SIZES | NO_DROPOUT,
    "camembert": SIZES | NO_DROPOUT,
    "mpnet": SIZES | NO_DROPOUT,
    "deberta": SIZES | NO_DROPOUT | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "roformer": SIZES | NO_DROPOUT,
    "eurobert": SIZES | {"num_key_value_heads": 1, "mask_token_id": 3},
}
EAGER_ONLY = {"deberta-v2", "deberta", "mpnet", "roformer"}  # transformers has no sdpa for them
# Packed documents see each other in these, so they are refused.
LEAKING_DECODERS = {
    "opt": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "ffn_dim": 64,
        "word_embed_proj_dim": 32,
    }
}
LEAKING_ENCODERS = {"convbert": SIZES | NO_DROPOUT | {"embedding_size": 32}}  # convolutions cross documents
ENCODER_DECODERS = ("t5", "bart", "marian")  # rows of one document each; tests/test_denoising.py
VOCABULARY = 64


class FewTokens:
    """As much of a tokenizer as building a model asks for."""

    bos_token_id, eos_token_id, pad_token_id, cls_token_id, sep_token_id, mask_token_id = 0, 1, 2, 0, 1, 3
    all_special_ids, unk_token_id = (0, 1, 2, 3), None

    def get_vocab(self) -> dict[str, int]:
        return {str(index): index for index in range(VOCABULARY)}


class ManyTokens(FewTokens):
    """The same with 8,192 entries."""

    def get_vocab(self) -> dict[str, int]:
        return {str(index): index for index in range(8192)}


def objective_of(model_type: str) -> str:
    """causal or masked."""
    return "masked" if model_type in ENCODERS | LEAKING_ENCODERS else "causal"


def attentions_of(model_type: str) -> tuple[str, ...]:
    """Attention implementations that transformers has for an architecture, of those that run on a CPU."""
    return EAGER if model_type in EAGER_ONLY | LEAKING_ENCODERS.keys() else BOTH


def build(model_type: str, attention: str | None = None, block_size: int = 64) -> torch.nn.Module:
    """The same small model every time, in fp32, without dropout."""
    torch.manual_seed(0)
    sizes = (DECODERS | ENCODERS | LEAKING_DECODERS | LEAKING_ENCODERS)[model_type]
    attention = attentions_of(model_type)[0] if attention is None else attention
    config = ModelConfig(config={"model_type": model_type, **sizes}, attn_implementation=attention)
    return build_model(objective_of(model_type), config, FewTokens(), block_size)


CASES = [(name, attention) for name in [*DECODERS, *ENCODERS] for attention in attentions_of(name)]
LEAKING_CASES = [
    (name, attention) for name in [*LEAKING_DECODERS, *LEAKING_ENCODERS] for attention in attentions_of(name)
]


def support_table() -> str:
    """Architecture by objective and attention: a cell says `isolated` for every case that test_isolation.py proves."""
    lines = ["| model_type | objective | sdpa | eager | exact loss |", "|---|---|---|---|---|"]
    leaking = LEAKING_DECODERS | LEAKING_ENCODERS
    for name in [*DECODERS, *LEAKING_DECODERS, *ENCODERS, *LEAKING_ENCODERS]:
        word = "**leaks**, refused" if name in leaking else "isolated"
        cells = [word if attention in attentions_of(name) else "not in transformers" for attention in BOTH]
        lines.append(f"| {name} | {objective_of(name)} | {' | '.join(cells)} | {'' if name in leaking else 'yes'} |")
    for name in ENCODER_DECODERS:
        lines.append(f"| {name} | denoising | not packed | not packed | yes |")
    lines.append("| recurrent (lstm, gru) | causal | no attention: state reset | no attention: state reset | yes |")
    return "\n".join(lines)


def size_table() -> str:
    """Parameters of every preset with a vocabulary of 8,192 and blocks of 512, tied tables counted once; no storage."""
    lines = ["| preset | layers | width | parameters |", "|---|---|---|---|"]
    for name, values in PRESETS.items():
        config_class = CONFIG_MAPPING[values["model_type"]]
        mappings = {one: getattr(transformers, HEADS[one].mapping) for one in ("seq2seq", "masked", "causal")}
        objective = next(one for one, mapping in mappings.items() if config_class in mapping)
        with torch.device("meta"):
            model = build_model(objective, ModelConfig(preset=name, attn_implementation="eager"), ManyTokens(), 512)
        config, millions = model.config, count_parameters(model)["total"] / 1e6
        sides = "2 x " if config.is_encoder_decoder else ""
        lines.append(f"| `{name}` | {sides}{config.num_hidden_layers} | {config.hidden_size} | {millions:.1f} M |")
    return "\n".join(lines)


TABLES = {"support": support_table, "sizes": size_table}


def written(name: str) -> str:
    """A table as it stands in docs/models.md."""
    begin, end = _marks(name)
    return DOCS.read_text(encoding="utf-8").split(begin)[1].split(end)[0].strip()


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}: made by tests/architectures.py -->\n", f"\n<!-- end of {name} -->"


if __name__ == "__main__":
    for name, make in TABLES.items():
        page = DOCS.read_text(encoding="utf-8")
        begin, end = _marks(name)
        before, rest = page.split(begin)
        DOCS.write_text(before + begin + make() + end + rest.split(end)[1], encoding="utf-8")
