"""LoRA: low-rank updates beside frozen weights, by peft (Hu et al. 2022)."""

import warnings
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.errors import ConfigError, did_you_mean
from pipelines.run import say

if TYPE_CHECKING:
    from pipelines.sections import ModelConfig
    from pipelines.task_sections import LoraConfig


def add_lora(model: Any, config: "LoraConfig", source: "ModelConfig", new_tokens: Sequence[int]) -> Any:
    """The model with LoRA as the config asks, or the model itself if it asks for none.

    A new head is trained whole, and so are the rows of tokens that were added to the vocabulary: both are random, and
    an update of low rank could not make up for it.

    Args:
        model: as built.
        config: the lora section.
        source: the model section.
        new_tokens: ids added to the vocabulary.

    Raises:
        ConfigError: no checkpoint, or peft refuses the section, such as for names of layers that the model has not.
    """
    if config.r is None:
        return model
    if source.name is None:
        raise ConfigError(
            "lora.r is set, but the model is drawn at random: its frozen weights would stay so. Set model.name."
        )
    if getattr(source, "decoder_name", None) is not None:
        raise ConfigError(
            "lora.r is set, but of a joined encoder and decoder the attention between them is drawn at random, and its "
            "frozen weights would stay so. Leave lora or model.decoder_name out."
        )
    import peft

    _check_names("lora.target_modules", config.target_modules, model)
    _check_names("lora.modules_to_save", config.modules_to_save or [], model)
    heads = [  # of T5 and other encoder-decoders the base is the model itself
        name
        for name, child in model.named_children()
        if model.base_model is not model and child is not model.base_model and any(True for _ in child.parameters())
    ]
    saved = [name for name in heads if getattr(model, name) is not model.get_output_embeddings()]
    saved += [name for name in config.modules_to_save or [] if name not in saved]
    tables = {}
    if new_tokens:
        table = model.get_input_embeddings()
        name = next(name for name, module in model.named_modules() if module is table)
        tables = {name.split(".")[-1]: list(new_tokens)}
    try:
        lora = peft.LoraConfig(
            r=config.r,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules=config.target_modules,
            use_dora=config.use_dora,
            use_rslora=config.use_rslora,
            modules_to_save=saved or None,
            trainable_token_indices=tables or None,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 asks transformers 5.23 by a deprecated name
            adapted: Any = peft.get_peft_model(model, lora)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"peft refuses the lora section: {reason} {_linear_layers(model)}") from None
    adapted.active_peft_config.base_model_name_or_path = source.name  # for adapter_config.json: no path of this machine
    # peft would ask the Hub at every checkpoint whether the vocabulary has grown.
    adapted.save_pretrained = partial(adapted.save_pretrained, save_embedding_layers=bool(new_tokens))
    trainable, total = adapted.get_nb_trainable_parameters()
    say(f"LoRA of rank {config.r}: {trainable:,} of {total:,} parameters are trained ({trainable / total:.2%})")
    return adapted


def _check_names(key: str, names: str | Sequence[str], model: Any) -> None:
    """Raises ConfigError for a name that fits no layer, which peft passes over if another fits. A text is a pattern."""
    import re

    paths = [path for path, _ in model.named_modules()]
    known = {path.split(".")[-1] for path in paths}
    if names == "all-linear":
        return
    if isinstance(names, str):
        try:
            pattern = re.compile(names)
        except re.error as error:
            raise ConfigError(
                f"{key} {names!r} is no regular expression: {error}. To name layers write a list, such as "
                f"[query, value]. {_linear_layers(model)}"
            ) from None
        if not any(pattern.fullmatch(path) for path in paths):
            raise ConfigError(
                f"{key} {names!r} is a pattern that fits no layer of this model. To name layers write a list, such as "
                f"[query, value]. {_linear_layers(model)}"
            )
        return
    for name in names:
        if not any(path == name or path.endswith(f".{name}") for path in paths):
            raise ConfigError(
                f"{key} names {name!r}, which is no layer.{did_you_mean(name, known)} {_linear_layers(model)}"
            )


def _linear_layers(model: Any) -> str:
    names = {path.split(".")[-1] for path, one in model.named_modules() if type(one).__name__ in ("Linear", "Conv1D")}
    return f"Linear layers: {', '.join(sorted(names))}."
