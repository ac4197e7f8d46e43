"""Rows -> batches of tensors."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipelines.data.order import padded_length

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


def pad(rows: Sequence[np.ndarray], pad_token_id: int, most: int | None = None) -> dict[str, "torch.Tensor"]:
    """Rows of tokens as input_ids and attention_mask, int64 (B, T), T the longest row's length, rounded up.

    `most`: a model has no more positions; no row is longer.
    """
    import torch

    longest = padded_length(max(map(len, rows)))
    longest = longest if most is None else max(min(longest, most), max(map(len, rows)))
    input_ids_BT = np.full((len(rows), longest), pad_token_id, dtype=np.int64)
    mask_BT = np.zeros_like(input_ids_BT)
    for place, row in enumerate(rows):
        input_ids_BT[place, : len(row)] = row
        mask_BT[place, : len(row)] = 1
    return {"input_ids": torch.from_numpy(input_ids_BT), "attention_mask": torch.from_numpy(mask_BT)}
