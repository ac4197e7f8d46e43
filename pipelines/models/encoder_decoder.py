"""Encoder-decoders: built as one model or joined from two pretrained encoders, and measured before they are trained."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.errors import ConfigError
from pipelines.models.attention_check import PROBE_TOLERANCE
from pipelines.models.build import build_model, check_positions, scratch_values, with_attention
from pipelines.models.skeleton import is_skeleton
from pipelines.models.vocabulary import resize_embeddings
from pipelines.pretrained import Checkpoint, checkpoint_of
from pipelines.run import say

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipelines.sections import Seq2SeqModelConfig

DECODERS = "bert, roberta or electra"  # encoders to which transformers can give cross-attention


def build_encoder_decoder(
    config: "Seq2SeqModelConfig",
    tokenizer: "PreTrainedTokenizerBase",
    block_size: int | None,
    new_tokens: Mapping[int, list[int]] | None = None,
    size_key: str = "data.block_size",
) -> "PreTrainedModel":
    """A sequence-to-sequence model with fp32 weights: `build_model`, or `join` if there are two checkpoints.

    Args:
        config, tokenizer, block_size, new_tokens, size_key: as for `build_model`.

    Raises:
        ConfigError, HubError: see there; or model.decoder_name without model.name, or a model that does not know the
            token its decoder starts with.
    """
    if config.decoder_name is None:
        model = build_model("seq2seq", config, tokenizer, block_size, new_tokens, size_key=size_key)
    elif config.name is None:
        raise ConfigError(
            f"model.decoder_name is {config.decoder_name!r}, but there is no encoder to join it to: set model.name to "
            "a pretrained encoder that reads the same tokens."
        )
    else:
        model = join(config, tokenizer, block_size, new_tokens or {}, size_key)
    if getattr(model.config, "decoder_start_token_id", None) is None:
        raise ConfigError(
            f"The config of this {model.config.model_type} model has no decoder_start_token_id, so its decoder does "
            "not know how to begin. Set it in the checkpoint's config.json or in --model.config."
        )
    for name, weight in model.named_parameters():
        if name.startswith("encoder.pooler."):  # no decoder reads it, so that no gradient would reach it
            weight.requires_grad_(False)
    return model


def is_encoder_decoder(config: "Seq2SeqModelConfig") -> bool:
    """Whether a model section names an encoder-decoder, rather than a decoder alone."""
    from transformers import CONFIG_MAPPING, AutoConfig

    if config.decoder_name is not None:
        return True
    if config.name is None:
        model_type = scratch_values(config)["model_type"]
        return bool(model_type in CONFIG_MAPPING and CONFIG_MAPPING[model_type]().is_encoder_decoder)
    checkpoint = checkpoint_of("model.name", config.name, config.revision)
    return bool(checkpoint.load("config", AutoConfig.from_pretrained).is_encoder_decoder)


def join(
    config: "Seq2SeqModelConfig",
    tokenizer: "PreTrainedTokenizerBase",
    block_size: int | None,
    new_tokens: Mapping[int, list[int]],
    size_key: str,
) -> "PreTrainedModel":
    """Encoder and decoder from two pretrained encoders (Rothe et al. 2020, section 2), as one EncoderDecoderModel.

    The second one becomes causal and gets cross-attention to the first, drawn from torch's global generator. The
    decoder starts with the token that the tokenizer begins texts with.

    Raises:
        ConfigError: the two do not read the same tokens, one is no encoder, the second cannot attend to another model,
            a checkpoint lacks weights, or one has fewer positions than block_size.
        HubError: a checkpoint cannot be had from the Hub.
    """
    import inspect

    from transformers import AutoModel, AutoModelForCausalLM, EncoderDecoderConfig, EncoderDecoderModel
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    first = checkpoint_of("model.name", str(config.name), config.revision)
    second = checkpoint_of("model.decoder_name", str(config.decoder_name))
    _check_same_tokens(first, second, tokenizer, new_tokens)
    encoder_config, decoder_config = _encoder_config(first), _encoder_config(second)
    encoder_config.is_decoder = encoder_config.add_cross_attention = False
    decoder_config.is_decoder = decoder_config.add_cross_attention = True
    can_attend = decoder_config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if can_attend:
        decoder_class: Any = AutoModelForCausalLM._model_mapping[type(decoder_config)]
        can_attend = "encoder_hidden_states" in inspect.signature(decoder_class.forward).parameters
    if not can_attend:
        raise ConfigError(
            f"model.decoder_name is a {decoder_config.model_type} model, which has no cross-attention, so it cannot "
            f"become a decoder. Use {DECODERS}; a {decoder_config.model_type} model may be the encoder."
        )

    def load(one: Checkpoint, auto_class: Any, model_config: Any, drawn: Callable[[str], bool]) -> tuple[Any, int]:
        from_pretrained = partial(with_attention, config.attn_implementation, auto_class.from_pretrained)
        model, loading = one.load("model", from_pretrained, config=model_config, output_loading_info=True)
        missing = sorted(weight for weight in loading["missing_keys"] if not drawn(weight))
        is_head = not any(weight.startswith(f"{model.base_model_prefix}.") for weight in missing)
        if missing and not (is_head and config.new_head and one is second):
            instead = " To draw them nevertheless: --model.new_head true." if is_head else ""
            raise ConfigError(
                f"The checkpoint {one.name} lacks weights such as {missing[0]!r}. Has it another head?{instead}"
            )
        if block_size is not None:
            check_positions(model, block_size, size_key)
        resize_embeddings(model, tokenizer, new_tokens)
        return model, len(loading["missing_keys"])

    # A masked language model is saved without the pooler, which no encoder-decoder uses.
    encoder, _ = load(first, AutoModel, encoder_config, lambda weight: weight.startswith("pooler."))
    decoder, drawn = load(second, AutoModelForCausalLM, decoder_config, lambda weight: "cross" in weight)
    say(
        f"Encoder {config.name}, decoder {config.decoder_name}: the decoder is made causal, and its cross-attention is "
        f"new{', as is its head' if config.new_head else ''}: {drawn} weight tensors are drawn at random"
    )
    begin = tokenizer("")["input_ids"][0]
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    joined = EncoderDecoderConfig.from_encoder_decoder_configs(
        encoder.config,
        decoder.config,
        vocab_size=decoder.config.vocab_size,
        decoder_start_token_id=begin,
        bos_token_id=begin,
        eos_token_id=tokenizer("")["input_ids"][-1],
        pad_token_id=pad,
    )
    model = EncoderDecoderModel(config=joined, encoder=encoder, decoder=decoder)
    model.config.use_cache = False
    return model


def check_encoder_decoder(model: "PreTrainedModel") -> dict[str, float]:
    """Measures in this very model what its decoder sees: nothing that comes later, the encoder's text, and no padding.

    Without gradients, in eval mode, on the CPU.

    Returns:
        The largest difference of a logit, as a share of the largest logit where that is above 1: with another last
        token of the decoder (`future`), with another token in the encoder (`source`), and with padding on both sides
        (`padding`); nothing for a model without weights.

    Raises:
        ConfigError: the decoder sees what it must not, or does not see what it must, or the model cannot compute.
    """
    import torch

    if is_skeleton(model, "attention", "What the decoder's attention lets a position see was not measured"):
        return {}
    config: Any = model.config
    was_training, generator = model.training, torch.Generator().manual_seed(0)
    model.eval()
    size = min(6, (getattr(config, "max_position_embeddings", None) or 6) - 2)
    ids_T, decoder_ids_T = torch.randint(0, config.vocab_size, (2, 1, size), generator=generator)
    last_T, first_T = decoder_ids_T.clone(), ids_T.clone()
    last_T[0, -1] = (last_T[0, -1] + 1) % config.vocab_size
    first_T[0, 0] = (first_T[0, 0] + 1) % config.vocab_size
    seen_T = torch.ones_like(ids_T)

    def logits(ids: torch.Tensor, mask: torch.Tensor, decoder_ids: torch.Tensor) -> torch.Tensor:
        inputs = {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": decoder_ids}
        return model(**inputs, use_cache=False).logits[:, :size].float()

    def padded(ids: torch.Tensor, value: int) -> torch.Tensor:
        return torch.nn.functional.pad(ids, (0, 2), value=value)

    pad = config.pad_token_id or 0
    try:
        with torch.no_grad():
            plain = logits(ids_T, seen_T, decoder_ids_T)
            future = logits(ids_T, seen_T, last_T)
            source = logits(first_T, seen_T, decoder_ids_T)
            padding = logits(padded(ids_T, pad), padded(seen_T, 0), padded(decoder_ids_T, pad))
    except (RuntimeError, IndexError, TypeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"The {config.model_type} model cannot compute a forward pass with encoder and decoder inputs: {error}. "
            "Take an encoder-decoder such as t5, bart or marian."
        ) from None
    model.train(was_training)
    largest = plain.abs().max().clamp(min=1.0)
    differences = {
        "future": float((plain - future)[:, :-1].abs().max() / largest),
        "source": float((plain - source).abs().max() / largest),
        "padding": float((plain - padding).abs().max() / largest),
    }
    name = f"a {config.model_type} model with {config._attn_implementation} attention"
    if not differences["future"] <= PROBE_TOLERANCE:
        raise ConfigError(
            f"In {name}, positions of the decoder see later ones: a logit changes by {differences['future']:.3g} with "
            "the last token, so what is to be written would be in the input."
        )
    if not differences["padding"] <= PROBE_TOLERANCE:
        raise ConfigError(
            f"In {name}, padding is seen: a logit changes by {differences['padding']:.3g} with it, so a row would "
            "depend on the rows beside it. Try --model.attn_implementation sdpa or eager."
        )
    if differences["source"] == 0:
        raise ConfigError(f"In {name}, the decoder does not see what the encoder reads.")
    return differences


def _encoder_config(checkpoint: Checkpoint) -> Any:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    config = checkpoint.load("config", AutoConfig.from_pretrained)
    if config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES or config.is_encoder_decoder:
        raise ConfigError(
            f"{checkpoint.key} is {checkpoint.name!r}, a {config.model_type} model, which is no encoder. An "
            "encoder-decoder is joined from two encoders, such as runs of recipes/pretrain_mlm.py: any as model.name, "
            f"{DECODERS} as model.decoder_name."
        )
    return config


def _check_same_tokens(
    first: Checkpoint, second: Checkpoint, tokenizer: "PreTrainedTokenizerBase", new_tokens: Mapping[int, list[int]]
) -> None:
    from transformers import AutoTokenizer

    other = second.load("tokenizer", AutoTokenizer.from_pretrained)
    ours = {token: index for token, index in tokenizer.get_vocab().items() if index not in new_tokens}
    theirs = other.get_vocab()
    if ours != theirs:
        found = (
            f"{len(ours):,} entries against {len(theirs):,}"
            if len(ours) != len(theirs)
            else f"such as {next(token for token, index in ours.items() if theirs.get(token) != index)!r}"
        )
        raise ConfigError(
            f"model.name {first.name!r} and model.decoder_name {second.name!r} do not read the same tokens: their "
            f"vocabularies differ ({found}). Pretrain both with one tokenizer: --tokenizer.name {first.name} for the "
            "second."
        )
