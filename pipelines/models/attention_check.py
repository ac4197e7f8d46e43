"""Measures, in the very model of a run, what its attention lets a position see."""

from typing import TYPE_CHECKING

from pipelines.errors import ConfigError
from pipelines.models.encoder_inputs import EncoderInputs
from pipelines.models.skeleton import is_skeleton
from pipelines.models.sparse_head import SparseHead

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# Measured: a leak moves logits by 5e-3 to 0.8, in encoders of width 16 by as little as 7e-5; rounding by up to 8e-7 in
# freshly drawn models, and by 1e-6 of the largest logit in a trained one of 30 layers.
PROBE_TOLERANCE = 3e-5


def check_attention(model: "PreTrainedModel", isolate_documents: bool) -> dict[str, float]:
    """Measures in this very model that no position sees a later one, and that packed documents do not see each other.

    Without gradients, in eval mode, on the CPU: two short documents are computed packed, separately, and with the last
    token changed.

    Returns:
        The largest difference of a logit, as a share of the largest logit where that is above 1: `future`, and
        `isolation` if isolate_documents; nothing for a model without weights.

    Raises:
        ConfigError: the model sees what it must not, or cannot compute.
    """
    import torch

    if is_skeleton(model, "attention", "What the model's attention lets a position see was not measured"):
        return {}
    was_training = model.training
    model.eval()
    half = min(5, (getattr(model.config, "max_position_embeddings", None) or 10) // 2)
    ids_T, changed_T = _probe(model, 2 * half)
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
    differences = {"future": _relative(plain - changed, plain)}
    if not differences["future"] <= PROBE_TOLERANCE:
        raise ConfigError(
            f"In {name}, positions see later ones: a logit changes by {differences['future']:.3g} with the last token, "
            "so what is to be predicted would be in the input. Take a decoder, or set is_decoder if its config has it; "
            "an encoder is pretrained with recipes/pretrain_mlm.py."
        )
    if isolate_documents:
        separate = torch.cat(alone, dim=1)
        differences["isolation"] = _relative(packed - separate, separate)
        _refuse_leak(name, differences["isolation"])
    return differences


def check_encoder(
    model: "PreTrainedModel", isolate_documents: bool, compiled: bool = False
) -> tuple[EncoderInputs, SparseHead | None]:
    """Measures in this very encoder that positions see both sides, and that packed documents do not see each other.

    Without gradients, in eval mode, on the CPU. The two documents are longer than a sliding window, if the model has
    one and positions for it.

    Args:
        model: an encoder with a head over the vocabulary.
        isolate_documents: as in the data section.
        compiled: it will be compiled, which leaves no room for a sparse head.

    Returns:
        (inputs, head): what makes a packed batch the encoder's inputs, as measured; and what computes its head at
        chosen positions alone, or None if the head does not treat each position by itself. Of a model without weights
        that is taken for granted.

    Raises:
        ConfigError: the model sees what it must not, does not see what it must, or cannot compute.
    """
    import torch

    inputs = EncoderInputs(model, isolate_documents)
    if is_skeleton(model, "attention", "What the model's attention lets a position see was not measured"):
        return inputs, None if compiled else SparseHead(model)
    was_training = model.training
    model.eval()
    room = (getattr(model.config, "max_position_embeddings", None) or 10_000) - inputs.offset
    half = max(2, min((inputs.window or 2) + 3, room // 2))
    ids_T, changed_T = _probe(model, 2 * half)
    positions_T = torch.arange(half).repeat(2)[None]
    packed_inputs = inputs({"input_ids": ids_T, "position_ids": positions_T})
    head = None if compiled else SparseHead(model)
    try:
        with torch.no_grad():
            packed = model(**packed_inputs).logits.float()
            changed = model(**packed_inputs | {"input_ids": changed_T}).logits.float()
            alone = torch.cat([model(input_ids=part).logits.float() for part in ids_T.split(half, dim=1)], dim=1)
            if head is not None and not head.agrees_with(model, packed_inputs):
                head = None
    except (RuntimeError, IndexError, TypeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"The {model.config.model_type} model cannot compute a forward pass over packed documents: {error}. Take "
            "an encoder from docs/models.md, or try --data.isolate_documents false."
        ) from None
    model.train(was_training)
    name = f"a {model.config.model_type} model with {model.config._attn_implementation} attention"
    if float((packed - changed)[0, half:-1].abs().max()) == 0:
        raise ConfigError(
            f"In {name}, positions do not see later ones: it is a decoder. Pretrain it with recipes/pretrain_clm.py, "
            "or take an encoder such as modernbert or bert (and leave is_decoder out)."
        )
    if isolate_documents:
        _refuse_leak(name, _relative(packed - alone, alone))
    return inputs, head


def _probe(model: "PreTrainedModel", length: int) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Random tokens (1, length) without padding, from which some models count positions; and with another last one."""
    import torch

    size, pad = model.config.vocab_size, model.config.pad_token_id
    ids_T = torch.randint(0, size, (1, length), generator=torch.Generator().manual_seed(0))
    if pad is not None:
        ids_T[ids_T == pad] = (pad + 1) % size
    changed_T = ids_T.clone()
    changed_T[0, -1] = next(token for token in range(size) if token not in (pad, int(ids_T[0, -1])))
    return ids_T, changed_T


def _relative(difference: "torch.Tensor", logits: "torch.Tensor") -> float:
    return float(difference.abs().max() / logits.abs().max().clamp(min=1.0))


def _refuse_leak(name: str, difference: float) -> None:
    if not difference <= PROBE_TOLERANCE:
        raise ConfigError(
            f"In {name}, packed documents see each other: a logit differs by {difference:.3g} between packed and "
            "separate documents. Take a model from docs/models.md, or accept the leak with "
            "--data.isolate_documents false."
        )
