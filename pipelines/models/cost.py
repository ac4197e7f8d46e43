"""What a model costs: parameters, and floating-point operations per token."""

from typing import TYPE_CHECKING, Any

from pipelines.models.vocabulary import vocabulary_head

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def count_parameters(model: "PreTrainedModel") -> dict[str, int]:
    """Parameters, each tied one once: total, trainable, embedding (input table)."""
    parameters = list(model.parameters())
    return {
        "total": sum(parameter.numel() for parameter in parameters),
        "trainable": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        "embedding": sum(parameter.numel() for parameter in model.get_input_embeddings().parameters()),
    }


def counted_flops_per_token(
    model: "PreTrainedModel", block_size: int, head_share: float = 1.0, decoder_size: int | None = None
) -> float:
    """Floating-point operations of forward and backward pass per position of a row.

    Counted by torch.utils.flop_counter on a copy without storage (meta device) with eager attention: every matrix
    product, attention at its full T x T, a multiply-add as two operations. The backward pass is twice the forward
    (Kaplan et al. 2020, section 2.1). For a decoder this is 6N + 12 L H Q T of PaLM (Chowdhery et al. 2022,
    appendix B), with N without the embedding table. Recomputed activations are not counted.

    Args:
        model: a decoder, an encoder, or an encoder-decoder.
        block_size: positions of the row, in an encoder-decoder those of the encoder.
        head_share: share of the positions whose logits are computed.
        decoder_size: positions of an encoder-decoder's decoder, which count as positions of the row too. Default: as
            many as the encoder's.
    """
    import copy

    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model_config = copy.deepcopy(model.config)
    with torch.device("meta"):
        skeleton: Any = type(model)._from_config(model_config, attn_implementation="eager").eval()
        ids_T = torch.zeros((1, block_size), dtype=torch.long)
        mask_T = torch.zeros((1, 1, 1, block_size))  # ready-made: making one reads values, which meta has not
    inputs: dict[str, Any] = {"input_ids": ids_T, "attention_mask": mask_T, "use_cache": False}
    positions = block_size
    if model_config.is_encoder_decoder:
        decoder_size = block_size if decoder_size is None else decoder_size
        decoder_ids_T, decoder_mask_T = ids_T.new_zeros((1, decoder_size)), mask_T.new_zeros((1, 1, 1, decoder_size))
        inputs |= {"decoder_input_ids": decoder_ids_T, "decoder_attention_mask": decoder_mask_T}
        positions += decoder_size
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        skeleton(**inputs)
    return 3.0 * (counter.get_total_flops() / positions - 2.0 * _skipped_weights(model, head_share))


def _skipped_weights(model: "PreTrainedModel", head_share: float) -> float:
    """Weights of the output layer that an average position does without; tied ones stand in the input table."""
    head = vocabulary_head(model)
    table: Any = model.get_input_embeddings() if head is None else head
    return table.weight.numel() * (1 - head_share)


def training_flops_per_token(
    model: "PreTrainedModel", block_size: int, head_share: float = 1.0, decoder_size: int | None = None
) -> float:
    """Floating-point operations of forward and backward pass per position, counted, or by formula if counting fails.

    The formula is 6N + 12 L H Q T (Chowdhery et al. 2022, appendix B): N parameters without the input table. A model
    with `forward_flops_per_token` states its own: the counter does not see into the kernels of recurrent layers.
    """
    adapted: Any = model
    if hasattr(adapted, "get_base_model"):  # LoRA: the gradients of frozen weights, a third of all, are not computed
        return 2 / 3 * training_flops_per_token(adapted.get_base_model(), block_size, head_share, decoder_size)
    own: Any = getattr(model, "forward_flops_per_token", None)
    if own is not None:
        return 3.0 * own()
    try:
        return counted_flops_per_token(model, block_size, head_share, decoder_size)
    except Exception:  # a model that reads values of its inputs, or has no eager attention, cannot run without storage
        counts, config = count_parameters(model), model.config
        width = getattr(config, "num_hidden_layers", 0) * getattr(config, "hidden_size", 0)
        return (
            6.0 * (counts["total"] - counts["embedding"] - _skipped_weights(model, head_share))
            + 12.0 * width * block_size
        )
