"""The tables of a model that have a row for each token, and how they grow with the tokenizer.

Shape legend: V rows of the vocabulary, H width.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def vocabulary_size(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Rows an embedding table needs for a tokenizer: its highest id plus one, which may be more than its entries."""
    return max(tokenizer.get_vocab().values()) + 1


def vocabulary_head(model: "PreTrainedModel") -> "torch.nn.Linear | None":
    """The layer that gives the logits, if it has a table (V, H) of its own, tied or not.

    transformers names another layer for DeBERTa, whose logits come from the input table and a bare bias.
    """
    head: Any = model.get_output_embeddings()
    return head if head is not None and head.weight.shape[0] == model.config.vocab_size else None


def resize_embeddings(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", new_tokens: Mapping[int, list[int]]
) -> None:
    """Enlarges the tables and biases of a checkpoint, each new token starting at the mean of its old pieces.

    A row that is in no `new_tokens` is drawn around the mean of all rows, as transformers does (Hewitt 2021,
    "Initializing New Word Embeddings for Pretrained Language Models").
    """
    import torch

    if model.config.model_type == "encoder-decoder":  # two models, each with tables of its own
        joined: Any = model
        for side in (joined.encoder, joined.decoder):
            resize_embeddings(side, tokenizer, new_tokens)
        joined.config.vocab_size = joined.decoder.config.vocab_size
        return
    before, after = model.config.vocab_size, vocabulary_size(tokenizer)
    bare = None if vocabulary_head(model) is not None else _bare_bias(model)
    if after > before:
        if bare is not None:  # or transformers would enlarge the layer that it takes for the head
            model.get_output_embeddings = lambda: None  # type: ignore[method-assign]
        model.resize_token_embeddings(after)
        if bare is not None:
            del model.get_output_embeddings
            bare.bias = torch.nn.Parameter(torch.cat([bare.bias.data, bare.bias.new_zeros(after - before)]))
    head = vocabulary_head(model)
    parameters: list[Any] = [model.get_input_embeddings().weight]
    parameters += [] if head is None else [head.weight, head.bias]
    parameters += [] if bare is None else [bare.bias]
    with torch.no_grad():
        for rows in {id(one): one for one in parameters if one is not None}.values():
            for token, pieces in new_tokens.items():
                rows[token] = rows[pieces].mean(dim=0)


def _bare_bias(model: "PreTrainedModel") -> Any:
    """The layer that adds a bias of the size of the vocabulary to what the input table gives, or None."""
    sized = (
        module
        for name, module in model.named_modules()
        if name.endswith("lm_head") and getattr(module, "bias", None) is not None
    )
    return next((module for module in sized if module.bias.shape == (model.config.vocab_size,)), None)
