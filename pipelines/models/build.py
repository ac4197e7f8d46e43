"""A model from a preset, from any transformers config, or from a checkpoint."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipelines.checking import refuse
from pipelines.errors import ConfigError, did_you_mean
from pipelines.models.dropout import set_dropout
from pipelines.models.presets import PRESETS
from pipelines.models.skeleton import storage_of_new_models
from pipelines.models.vocabulary import resize_embeddings, vocabulary_size
from pipelines.pretrained import checkpoint_of
from pipelines.run import say

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from pipelines.sections import ModelConfig


@dataclass(frozen=True)
class Head:
    """What a model is trained for, in transformers' terms and in words."""

    auto_class: str
    mapping: str
    name: str
    examples: str
    recipe: str
    unused: tuple[str, ...] = ()
    """Beginnings of the names of weights that a checkpoint may lack, without the prefix of its body."""
    is_drawn: bool = False
    """Whether a checkpoint that lacks the head, or has one of another size, gets a new one."""


HEADS = {
    "causal": Head(
        "AutoModelForCausalLM",
        "MODEL_FOR_CAUSAL_LM_MAPPING",
        "causal language model",
        "a decoder such as llama or qwen3",
        "recipes/pretrain_clm.py",
    ),
    "masked": Head(
        "AutoModelForMaskedLM",
        "MODEL_FOR_MASKED_LM_MAPPING",
        "masked language model",
        "an encoder such as modernbert or bert",
        "recipes/pretrain_mlm.py",
    ),
    "encoder": Head(
        "AutoModel",
        "MODEL_FOR_MASKED_LM_MAPPING",
        "sentence encoder",
        "an encoder such as modernbert or bert",
        "recipes/pretrain_contrastive.py",
        unused=("pooler.",),  # a masked language model is saved without one
    ),
    "seq2seq": Head(
        "AutoModelForSeq2SeqLM",
        "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
        "sequence-to-sequence model",
        "an encoder-decoder such as t5 or bart",
        "recipes/pretrain_seq2seq.py",
    ),
    "sequence": Head(
        "AutoModelForSequenceClassification",
        "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING",
        "sequence classifier",
        "an encoder such as modernbert or bert",
        "recipes/finetune_classification.py",
        unused=("pooler.",),
        is_drawn=True,
    ),
    "token": Head(
        "AutoModelForTokenClassification",
        "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING",
        "token classifier",
        "an encoder such as modernbert or bert",
        "recipes/finetune_ner.py",
        is_drawn=True,
    ),
    "question": Head(
        "AutoModelForQuestionAnswering",
        "MODEL_FOR_QUESTION_ANSWERING_MAPPING",
        "span model for questions",
        "an encoder such as modernbert or bert",
        "recipes/finetune_qa.py",
        is_drawn=True,
    ),
    "choice": Head(
        "AutoModelForMultipleChoice",
        "MODEL_FOR_MULTIPLE_CHOICE_MAPPING",
        "multiple-choice model",
        "an encoder such as modernbert or bert",
        "recipes/finetune_multiple_choice.py",
        unused=("pooler.",),
        is_drawn=True,
    ),
}
Objective = Literal["causal", "masked", "encoder", "seq2seq", "sequence", "token", "question", "choice"]


def build_model(
    objective: Objective,
    config: "ModelConfig",
    tokenizer: "PreTrainedTokenizerBase",
    block_size: int | None,
    new_tokens: Mapping[int, list[int]] | None = None,
    dropout: float | None = None,
    settings: Mapping[str, Any] | None = None,
    size_key: str = "data.block_size",
) -> "PreTrainedModel":
    """A model with the head of an objective and fp32 weights, fitting the tokenizer and the block size.

    From scratch, vocabulary, special tokens and (where the config does not say) positions follow the tokenizer and
    block size; weights are drawn from torch's global generator (in a forecast there are none: models/skeleton.py). A
    checkpoint's embeddings are enlarged when the
    tokenizer has more entries: see `resize_embeddings`.

    Args:
        objective: decides the head.
        config: the model section.
        tokenizer: what the model is to read.
        block_size: tokens it must have positions for; None: as many as a checkpoint has.
        new_tokens: tokens that were added to a checkpoint's tokenizer -> the tokens each was cut into before.
        dropout: rate of all layers in training; None: as the config has it.
        settings: of the config, besides its own, such as the labels of a classifier.
        size_key: the key of block_size, for messages.

    Raises:
        ConfigError: no or unknown source, fewer positions than block_size, a stated vocabulary smaller than the
            tokenizer, a model without this head, or an attention implementation it does not have.
        HubError: the checkpoint cannot be had from the Hub.
    """
    import transformers
    from transformers import AutoConfig

    import pipelines.models.recurrent  # noqa: F401  registers its model type with transformers

    head, settings = HEADS[objective], settings or {}
    auto_class = getattr(transformers, head.auto_class)
    if config.name is not None:
        checkpoint = checkpoint_of("model.name", config.name, config.revision)
        model_config = checkpoint.load("config", AutoConfig.from_pretrained, **settings)
        _check(model_config, head)
        if dropout is not None:
            set_dropout(model_config, dropout)
        if head.is_drawn:
            model_config.pad_token_id = tokenizer.pad_token_id  # decoders find the end of a padded text by it

        def load() -> tuple[Any, list[str]]:
            model, loading = checkpoint.load(
                "model",
                partial(with_attention, config.attn_implementation, auto_class.from_pretrained),
                config=model_config,
                output_loading_info=True,
                ignore_mismatched_sizes=head.is_drawn,
            )
            lacking = {*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])}
            prefix = f"{model.base_model_prefix}."
            return model, sorted(key for key in lacking if not key.removeprefix(prefix).startswith(head.unused))

        model, missing = load()
        if missing and getattr(model_config, "legacy", False):  # DeBERTa's two heads: configs of v3 do not say which
            model_config.legacy = False
            model, missing = load()
        is_body = head.auto_class == "AutoModel"  # whose weights carry no prefix
        body = [key for key in missing if is_body or key.startswith(f"{model.base_model_prefix}.")]
        if head.is_drawn and missing and not body:
            say(f"The head of {config.name} is new: {len(missing)} weight tensors are drawn at random")
        elif body or (missing and not config.new_head):
            instead = "" if body else " To draw them nevertheless: --model.new_head true."
            raise ConfigError(
                f"The checkpoint {config.name} lacks weights of a {head.name}, such as {(body or missing)[0]!r}; they "
                f"would be drawn at random. Has it another head?{instead} "
                f"To start from random weights of its shape: --model.config {config.name} --model.name null."
            )
        resize_embeddings(model, tokenizer, new_tokens or {})
        if "id2label" in settings and not missing:
            _reorder_labels(model, checkpoint.load("config", AutoConfig.from_pretrained).id2label, settings["id2label"])
    else:
        model_config = _config_from_scratch(config, tokenizer, block_size or 512, settings)
        _check(model_config, head)
        if dropout is not None:
            set_dropout(model_config, dropout)
        with storage_of_new_models():
            model = with_attention(config.attn_implementation, auto_class.from_config, model_config)
        model.float()
    if block_size is not None:
        check_positions(model, block_size, size_key)
    model.config.use_cache = False  # with a cache, transformers does not isolate packed documents
    return model


def _reorder_labels(model: Any, before: Mapping[int, str], now: Mapping[int, str]) -> None:
    """Gives a checkpoint's classifier the order of the labels at hand, where it has the same ones in another."""
    import torch

    place = {name.lower(): index for index, name in before.items()}
    order = [place.get(now[index].lower()) for index in range(len(now))]
    if None in order or len(place) != len(now) or order == list(range(len(now))):
        return
    last = [one for one in model.modules() if isinstance(one, torch.nn.Linear) and one.out_features == len(now)][-1]
    with torch.no_grad():
        for weight in (one for one in (last.weight, last.bias) if one is not None):
            weight.copy_(weight[order].clone())
    say("The checkpoint has these labels in another order; its head is put into the order of the data")


def build_causal_lm(config: "ModelConfig", tokenizer: "PreTrainedTokenizerBase", block_size: int) -> "PreTrainedModel":
    """`build_model` for causal language modeling."""
    return build_model("causal", config, tokenizer, block_size)


def label_settings(names: Sequence[str], problem_type: str | None = None) -> dict[str, Any]:
    """Settings of a classifier's config: the names of its labels, and what kind they are."""
    settings: dict[str, Any] = {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
    }
    return settings if problem_type is None else settings | {"problem_type": problem_type}


def position_offset(model: "PreTrainedModel") -> int:
    """First row of the position table that a token may take: RoBERTa-type models count from the padding id plus one."""
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return 0 if padding is None else padding + 1


def with_attention(attn_implementation: str, build: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What `build` makes of its arguments and attn_implementation; a ConfigError if it fails."""
    import torch

    if attn_implementation == "flex_attention" and not torch.cuda.is_available():
        raise ConfigError("model.attn_implementation flex_attention has no backward pass on a CPU. Use sdpa or eager.")
    try:
        return build(*args, attn_implementation=attn_implementation, **options)
    except (ValueError, ImportError, KeyError, TypeError, ZeroDivisionError) as error:
        reason = str(error).strip().splitlines()[0]
        if "attention" not in reason.lower() and attn_implementation not in reason:
            raise ConfigError(f"transformers cannot build this model: {reason}") from None
        raise ConfigError(
            f"model.attn_implementation is {attn_implementation!r}, which this model or machine does not have: "
            f"{reason} Try --model.attn_implementation sdpa or eager."
        ) from None


def scratch_values(config: "ModelConfig") -> dict[str, Any]:
    """The settings that preset or model.config state, model_type among them. May raise ConfigError."""
    if config.preset is not None:
        if config.preset not in PRESETS:
            raise ConfigError(
                f"model.preset is {config.preset!r}; the presets are {', '.join(PRESETS)}."
                f"{did_you_mean(config.preset, PRESETS)}"
            )
        return dict(PRESETS[config.preset])
    if isinstance(config.config, Mapping):
        return dict(config.config)
    if config.config is not None:
        return _read_config_file(Path(config.config))
    raise ConfigError("No model: set model.preset, model.config or model.name.")


def _config_from_scratch(
    config: "ModelConfig", tokenizer: "PreTrainedTokenizerBase", block_size: int, settings: Mapping[str, Any]
) -> "PreTrainedConfig":
    import torch
    from transformers import CONFIG_MAPPING, MODEL_MAPPING, AutoConfig, AutoModel

    values = scratch_values(config)
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
    positions = next((name for name in POSITION_NAMES if hasattr(defaults, name)), None)
    if positions is not None and not any(name in values for name in POSITION_NAMES):
        filled[positions] = block_size
    for name in ("cls_token_id", "sep_token_id"):  # ModernBERT checks these against its vocabulary
        if isinstance(getattr(defaults, name, None), int):
            filled[name] = tokenizer.eos_token_id
    if defaults.is_encoder_decoder:
        start = getattr(defaults, "decoder_start_token_id", defaults.pad_token_id)  # T5 starts with padding
        starts_with_eos = start == defaults.eos_token_id
        filled["decoder_start_token_id"] = tokenizer.eos_token_id if starts_with_eos else tokenizer.pad_token_id
        if hasattr(defaults, "forced_eos_token_id"):
            filled["forced_eos_token_id"] = tokenizer.eos_token_id
    unknown = [name for name in values if not hasattr(defaults, name) and name not in _NOT_ATTRIBUTES]
    if isinstance(config.config, Mapping):  # published config.json files carry keys that are no settings
        for name in unknown:
            hint = did_you_mean(name, set(vars(defaults)) | set(defaults.attribute_map))
            refuse(ConfigError(f"model.config.{name} is no setting of a {model_type} config.{hint}"))
    for name in (
        name for name in _SIZES if _below_one(values.get(name)) and not _below_one(getattr(defaults, name, 1))
    ):
        raise ConfigError(f"model.config.{name} must be at least 1; found {values[name]}. Leave it out, or raise it.")
    try:
        model_config = AutoConfig.for_model(model_type, **{**filled, **values, **settings})
    except Exception as error:  # huggingface_hub's strict dataclasses raise their own kinds
        raise ConfigError(f"model.config does not make a {model_type} config: {' '.join(str(error).split())}") from None
    if positions in filled and type(model_config) in MODEL_MAPPING:
        try:
            with torch.device("meta"):  # no storage: only to see where its positions begin
                offset = position_offset(AutoModel.from_config(model_config, attn_implementation="eager"))
        except Exception as error:  # sizes that do not fit each other: every architecture has errors of its own
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"model.config does not make a {model_type} model: {type(error).__name__}: {reason}. Compare it with a "
                "preset (pipelines/models/presets.py)."
            ) from None
        setattr(model_config, str(positions), block_size + offset)
    return model_config


POSITION_NAMES = ("max_position_embeddings", "n_positions")
# Settings that count layers, heads or what a layer is wide; of 0 of them, models are made that cannot compute.
_SIZES = (
    *(
        "num_hidden_layers",
        "num_layers",
        "num_decoder_layers",
        "encoder_layers",
        "decoder_layers",
        "n_layer",
        "n_layers",
    ),
    *("num_attention_heads", "encoder_attention_heads", "decoder_attention_heads", "num_heads", "n_head", "n_heads"),
    *("hidden_size", "d_model", "n_embd", "dim", "embedding_size", "head_dim", "d_kv", "num_key_value_heads"),
    *("intermediate_size", "encoder_ffn_dim", "decoder_ffn_dim", "d_ff", "hidden_dim", "n_inner"),
    *("type_vocab_size", "sliding_window", "local_attention", *POSITION_NAMES),
)
# Settings that configs take without having an attribute for them: kept in rope_parameters, or read with a default.
_NOT_ATTRIBUTES = {"rope_theta", "global_attn_every_n_layers", "position_buckets", "norm_rel_ebd", "share_att_key"}


def _below_one(size: Any) -> bool:
    return isinstance(size, int) and size < 1


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


def _check(model_config: "PreTrainedConfig", head: Head) -> None:
    import transformers

    def has(other: Head) -> bool:
        return type(model_config) in getattr(transformers, other.mapping)

    name, fits = model_config.model_type, has(head)
    if head.mapping == HEADS["masked"].mapping:
        fits = fits and not model_config.is_encoder_decoder  # BART is in the list, for its own denoising
    if not fits:
        order = ("seq2seq", "masked", "causal") if model_config.is_encoder_decoder else ("masked", "causal")
        other = next((HEADS[one] for one in order if HEADS[one] is not head and has(HEADS[one])), None)
        instead = f", or pretrain {name} with {other.recipe}" if other is not None else ""
        raise ConfigError(f"A {name} model is no {head.name}. Use {head.examples}{instead}.")


def positions_of(model: "PreTrainedModel") -> int | None:
    """Tokens that a model has positions for, both sides of an encoder-decoder; None: it counts without a table."""
    if model.config.model_type == "encoder-decoder":
        joined: Any = model
        sides = [positions_of(side) for side in (joined.encoder, joined.decoder)]
        return min((side for side in sides if side is not None), default=None)
    positions = getattr(model.config, "max_position_embeddings", None)
    return None if positions is None else positions - position_offset(model)


def check_positions(model: "PreTrainedModel", block_size: int, size_key: str = "data.block_size") -> None:
    """Raises ConfigError if a model has fewer positions than block_size."""
    room = positions_of(model)
    if room is not None and room < block_size:
        told = f"{size_key} is {block_size}, but the model has {room} positions."
        refuse(ConfigError(f"{told} Set --{size_key} {room} or less, or a model with more positions."))
