"""A causal language model from a preset, from any transformers config, or from a checkpoint; and what it costs."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import ConfigError, did_you_mean
from pipelines.hub import load_pretrained
from pipelines.models.presets import PRESETS

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from pipelines.sections import ModelConfig

PROBE_TOLERANCE = 1e-4  # freshly drawn models: a leak moves logits by 5e-3 to 0.8, rounding by up to 8e-7 (measured)


def build_causal_lm(config: "ModelConfig", tokenizer: "PreTrainedTokenizerBase", block_size: int) -> "PreTrainedModel":
    """A causal language model with fp32 weights, fitting the tokenizer and the block size.

    From scratch, vocabulary, special tokens and (where the config does not say) positions follow the tokenizer and
    block size; weights are drawn from torch's global generator. A checkpoint's embeddings are enlarged when the
    tokenizer has more entries; new rows are drawn around the mean of the old ones, as transformers does.

    Raises:
        ConfigError: no or unknown source, fewer positions than block_size, a stated vocabulary smaller than the
            tokenizer, a model that is no causal decoder, or an attention implementation it does not have.
        HubError: the checkpoint cannot be had from the Hub.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    if config.name is not None:
        name = config.name
        options = {"revision": config.revision}
        model_config = load_pretrained(
            "config",
            "model.name",
            name,
            lambda offline: AutoConfig.from_pretrained(name, local_files_only=offline, **options),
        )
        _check(model_config, block_size, config.attn_implementation)
        model, loading = load_pretrained(
            "model",
            "model.name",
            name,
            lambda offline: _with_attention(
                config.attn_implementation,
                lambda attention: AutoModelForCausalLM.from_pretrained(
                    name,
                    dtype="float32",
                    use_safetensors=True,
                    local_files_only=offline,
                    output_loading_info=True,
                    **attention,
                    **options,
                ),
            ),
        )
        if loading["missing_keys"]:
            raise ConfigError(
                f"The checkpoint {name} lacks weights of a causal language model, such as "
                f"{sorted(loading['missing_keys'])[0]!r}; they would be drawn at random. Has it another head?"
            )
        if vocabulary_size(tokenizer) > model.config.vocab_size:
            model.resize_token_embeddings(vocabulary_size(tokenizer))
    else:
        model_config = _config_from_scratch(config, tokenizer, block_size)
        _check(model_config, block_size, config.attn_implementation)
        model = _with_attention(
            config.attn_implementation, lambda attention: AutoModelForCausalLM.from_config(model_config, **attention)
        )
        model.float()
    model.config.use_cache = False  # with a cache, transformers does not isolate packed documents
    return model


def vocabulary_size(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Rows an embedding table needs for a tokenizer: its highest id plus one, which may be more than its entries."""
    return max(tokenizer.get_vocab().values()) + 1


def _with_attention(attn_implementation: str, build: Any) -> Any:
    import torch

    if attn_implementation == "flex_attention" and not torch.cuda.is_available():
        raise ConfigError("model.attn_implementation flex_attention has no backward pass on a CPU. Use sdpa or eager.")
    try:
        return build({"attn_implementation": attn_implementation})
    except (ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        if "attention" not in reason.lower() and attn_implementation not in reason:
            raise ConfigError(f"transformers cannot build this model: {reason}") from None
        raise ConfigError(
            f"model.attn_implementation is {attn_implementation!r}, which this model or machine does not have: "
            f"{reason} Try --model.attn_implementation sdpa or eager."
        ) from None


def _config_from_scratch(
    config: "ModelConfig", tokenizer: "PreTrainedTokenizerBase", block_size: int
) -> "PreTrainedConfig":
    from transformers import CONFIG_MAPPING, AutoConfig

    if config.preset is not None:
        if config.preset not in PRESETS:
            raise ConfigError(
                f"model.preset is {config.preset!r}; the presets are {', '.join(PRESETS)}."
                f"{did_you_mean(config.preset, PRESETS)}"
            )
        values: dict[str, Any] = dict(PRESETS[config.preset])
    elif isinstance(config.config, Mapping):
        values = dict(config.config)
    elif config.config is not None:
        values = _read_config_file(Path(config.config))
    else:
        raise ConfigError("No model: set model.preset, model.config or model.name.")
    model_type = values.pop("model_type", None)
    if model_type not in CONFIG_MAPPING:
        hint = did_you_mean(str(model_type), CONFIG_MAPPING.keys()) if model_type else ""
        raise ConfigError(f"model.config.model_type is {model_type!r}, which transformers does not know.{hint}")
    stated_vocab_size = values.get("vocab_size")
    needed = vocabulary_size(tokenizer)
    if isinstance(stated_vocab_size, int) and stated_vocab_size < needed:
        raise ConfigError(
            f"model.config.vocab_size is {stated_vocab_size}, but the tokenizer has {needed} entries: "
            f"its ids would not fit. Leave vocab_size out, or set at least {needed}."
        )
    defaults = CONFIG_MAPPING[model_type]()
    filled = {
        "vocab_size": needed,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    positions = next((name for name in _POSITION_NAMES if hasattr(defaults, name)), None)
    if positions is not None and not any(name in values for name in _POSITION_NAMES):
        filled[positions] = block_size
    for name in ("cls_token_id", "sep_token_id"):  # ModernBERT checks these against its vocabulary
        if isinstance(getattr(defaults, name, None), int):
            filled[name] = tokenizer.eos_token_id
    unknown = [name for name in values if not hasattr(defaults, name) and name not in _NOT_ATTRIBUTES]
    if unknown and isinstance(config.config, Mapping):  # published config.json files carry keys that are no settings
        hint = did_you_mean(unknown[0], set(vars(defaults)) | set(defaults.attribute_map))
        raise ConfigError(f"model.config.{unknown[0]} is no setting of a {model_type} config.{hint}")
    try:
        return AutoConfig.for_model(model_type, **{**filled, **values})
    except Exception as error:  # huggingface_hub's strict dataclasses raise their own kinds
        raise ConfigError(f"model.config does not make a {model_type} config: {' '.join(str(error).split())}") from None


_POSITION_NAMES = ("max_position_embeddings", "n_positions")
_NOT_ATTRIBUTES = {"rope_theta"}  # accepted by configs that keep it in rope_parameters


def _read_config_file(path: Path) -> dict[str, Any]:
    import json

    path = path / "config.json" if path.is_dir() else path
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"it holds a {type(values).__name__}")
    except (OSError, ValueError) as error:
        raise ConfigError(f"model.config is {str(path)!r}, which cannot be read as a config.json: {error}") from None
    for name in ("architectures", "transformers_version", "dtype", "torch_dtype", "vocab_size"):
        values.pop(name, None)
    return {key: value for key, value in values.items() if not key.endswith("_token_id")}


def _check(model_config: "PreTrainedConfig", block_size: int, attn_implementation: str) -> None:
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    if type(model_config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ConfigError(
            f"A {model_config.model_type} model is no causal language model. Use a decoder such as llama or qwen3."
        )
    positions = getattr(model_config, "max_position_embeddings", None)
    if positions is not None and positions < block_size:
        raise ConfigError(
            f"data.block_size is {block_size}, but the model has {positions} positions. "
            f"Set --data.block_size {positions} or less, or a model with more positions."
        )


def check_attention(model: "PreTrainedModel", isolate_documents: bool) -> dict[str, float]:
    """Measures in this very model that no position sees a later one, and that packed documents do not see each other.

    Without gradients, in eval mode, on the CPU: two short documents are computed packed, separately, and with the last
    token changed.

    Returns:
        The largest difference of a logit: `future`, and `isolation` if isolate_documents.

    Raises:
        ConfigError: the model sees what it must not, or cannot compute.
    """
    import torch

    was_training, generator = model.training, torch.Generator().manual_seed(0)
    model.eval()
    half = min(5, (getattr(model.config, "max_position_embeddings", None) or 10) // 2)
    ids_T = torch.randint(0, model.config.vocab_size, (1, 2 * half), generator=generator)
    changed_T = ids_T.clone()
    changed_T[0, -1] = (ids_T[0, -1] + 1) % model.config.vocab_size
    positions_T = torch.arange(half).repeat(2)[None]
    try:
        with torch.no_grad():
            plain, changed = (
                model(input_ids=ids, use_cache=False).logits[:, :-1].float() for ids in (ids_T, changed_T)
            )
            packed = model(input_ids=ids_T, position_ids=positions_T, use_cache=False).logits.float()
            alone = [model(input_ids=part, use_cache=False).logits.float() for part in ids_T.split(half, dim=1)]
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        raise ConfigError(f"The {model.config.model_type} model cannot compute a forward pass: {error}") from None
    model.train(was_training)
    name = f"a {model.config.model_type} model with {model.config._attn_implementation} attention"
    differences = {"future": float((plain - changed).abs().max())}
    if not differences["future"] <= PROBE_TOLERANCE:
        raise ConfigError(
            f"In {name}, positions see later ones: a logit changes by {differences['future']:.3g} with the last token, "
            "so what is to be predicted would be in the input. Take a decoder, or set is_decoder if its config has it."
        )
    if isolate_documents:
        differences["isolation"] = float((packed - torch.cat(alone, dim=1)).abs().max())
        if not differences["isolation"] <= PROBE_TOLERANCE:
            raise ConfigError(
                f"In {name}, packed documents see each other: a logit differs by {differences['isolation']:.3g} "
                "between packed and separate documents. Take a model from docs/models.md, or accept the leak with "
                "--data.isolate_documents false."
            )
    return differences


def count_parameters(model: "PreTrainedModel") -> dict[str, int]:
    """Parameters, each tied one once: total, trainable, embedding (input table)."""
    parameters = list(model.parameters())
    return {
        "total": sum(parameter.numel() for parameter in parameters),
        "trainable": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        "embedding": sum(parameter.numel() for parameter in model.get_input_embeddings().parameters()),
    }


def counted_flops_per_token(model: "PreTrainedModel", block_size: int) -> float:
    """Floating-point operations of forward and backward pass per token of a block of block_size tokens.

    Counted by torch.utils.flop_counter on a copy without storage (meta device) with eager attention: every matrix
    product, attention at its full T x T, a multiply-add as two operations. The backward pass is twice the forward
    (Kaplan et al. 2020, section 2.1). For a decoder this is 6N + 12 L H Q T of PaLM (Chowdhery et al. 2022,
    appendix B), with N without the embedding table. Recomputed activations are not counted.
    """
    import copy

    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForCausalLM

    model_config = copy.deepcopy(model.config)
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(model_config, attn_implementation="eager").eval()
        ids_T = torch.zeros((1, block_size), dtype=torch.long)
        mask_TT = torch.zeros((1, 1, block_size, block_size))  # ready-made: making one reads values, which meta has not
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        skeleton(input_ids=ids_T, attention_mask=mask_TT, use_cache=False)
    return 3.0 * counter.get_total_flops() / block_size


def training_flops_per_token(model: "PreTrainedModel", block_size: int) -> float:
    """Floating-point operations of forward and backward pass per token, counted, or by formula where counting fails.

    The formula is 6N + 12 L H Q T (Chowdhery et al. 2022, appendix B): N parameters without the input table.
    """
    try:
        return counted_flops_per_token(model, block_size)
    except Exception:  # a model that reads values of its inputs, or has no eager attention, cannot run without storage
        counts, config = count_parameters(model), model.config
        width = getattr(config, "num_hidden_layers", 0) * getattr(config, "hidden_size", 0)
        return 6.0 * (counts["total"] - counts["embedding"]) + 12.0 * width * block_size
