"""Rows -> batches of tensors."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


class BlockCollator:
    """Stacks blocks of equal length into a batch of shape (B, T).

    No attention_mask is made: with one present, transformers turns packing isolation off without a word.

    Args:
        isolate_documents: False drops position_ids, so that documents of a block see each other.
    """

    def __init__(self, isolate_documents: bool = True) -> None:
        self.isolate_documents = isolate_documents

    def __call__(self, rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, "torch.Tensor"]:
        import torch

        keys = [key for key in rows[0] if self.isolate_documents or key != "position_ids"]
        return {key: torch.from_numpy(np.stack([row[key] for row in rows])) for key in keys}
