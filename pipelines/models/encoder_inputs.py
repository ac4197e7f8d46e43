"""What an encoder must be given so that the documents packed into one block do not see each other.

transformers isolates packed documents in decoders by itself, from positions that restart. Encoders ignore these: they
need a ready-made mask of the right shape and kind, which differs by attention implementation and architecture.

Shape legend: B rows, T positions.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.errors import ConfigError
from pipelines.models.build import position_offset

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class EncoderInputs:
    """Turns the position_ids of packed blocks into the inputs that isolate their documents in one encoder.

    Args:
        model: an encoder with any head.
        isolate_documents: False gives neither mask nor positions: all documents of a block see each other.

    Raises:
        ConfigError: an attention implementation for which there is no such mask here.
    """

    def __init__(self, model: "PreTrainedModel", isolate_documents: bool = True) -> None:
        config: Any = model.config
        if isolate_documents and config._attn_implementation not in ("sdpa", "eager"):
            raise ConfigError(
                f"model.attn_implementation {config._attn_implementation} cannot isolate packed documents in an "
                "encoder. Use sdpa or eager, or accept the leak with --data.isolate_documents false."
            )
        self.isolate_documents = isolate_documents
        self.offset = position_offset(model)
        # sdpa adds or selects; eager attention adds whatever it is given, so True and False would be 1 and 0.
        self.additive = config._attn_implementation == "eager" and config.model_type not in _MASKS_BY_FILLING
        self.window = (
            config.sliding_window if "sliding_attention" in (getattr(config, "layer_types", None) or ()) else None
        )
        if config.model_type in _MASKS_BY_FILLING:  # DeBERTa multiplies its embeddings by the mask as if it were (B, T)
            embeddings: Any = model.base_model.embeddings
            embeddings.register_forward_pre_hook(
                lambda module, args, kwargs: (args, kwargs | {"mask": None}), with_kwargs=True
            )

    def __call__(self, batch: Mapping[str, "torch.Tensor"]) -> dict[str, Any]:
        """Model inputs of a batch with input_ids (B, T) and position_ids (B, T) that restart with every document."""
        import torch

        if not self.isolate_documents:
            return {"input_ids": batch["input_ids"]}
        positions_BT = batch["position_ids"]
        documents_BT = (positions_BT == 0).cumsum(dim=1)
        same_BTT = documents_BT[:, :, None] == documents_BT[:, None, :]
        mask: Any = self._mask(same_BTT)
        if self.window is not None:
            places_T = torch.arange(positions_BT.shape[1], device=positions_BT.device)
            near_TT = (places_T[:, None] - places_T[None, :]).abs() <= self.window
            mask = {"full_attention": mask, "sliding_attention": self._mask(same_BTT & near_TT)}
        return {"input_ids": batch["input_ids"], "position_ids": positions_BT + self.offset, "attention_mask": mask}

    def _mask(self, visible_BTT: "torch.Tensor") -> "torch.Tensor":
        import torch

        if not self.additive:
            return visible_BTT[:, None]
        blocked = torch.finfo(torch.float32).min
        return torch.zeros(visible_BTT.shape, device=visible_BTT.device).masked_fill(~visible_BTT, blocked)[:, None]


_MASKS_BY_FILLING = {"deberta-v2", "deberta"}
