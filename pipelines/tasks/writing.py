"""How a model writes: decoding of encoder-decoders, and of decoders from prompts padded on the left.

Shape legend: B rows, T positions.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def write(
    model: Any,
    inputs: dict[str, "torch.Tensor"],
    bf16: bool,
    eos_token_ids: Sequence[int],
    pad_token_id: int,
    streamer: Any = None,
    **settings: Any,
) -> list[list[int]]:
    """What a model writes for each row, without padding and stop token.

    Args:
        model: a decoder or an encoder-decoder.
        inputs: input_ids and attention_mask (B, T).
        bf16: compute under bfloat16 autocast.
        eos_token_ids: end a text.
        pad_token_id: fills up rows that have ended.
        streamer: is given the tokens as they are written, by transformers.
        settings: of transformers.GenerationConfig, such as max_new_tokens and num_beams; greedy unless do_sample.
    """
    import torch
    from transformers import GenerationConfig

    own: Any = model.config
    known = ("decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id", "bos_token_id")
    start = {name: getattr(own, name) for name in known if getattr(own, name, None) is not None}
    generation = GenerationConfig(
        eos_token_id=list(eos_token_ids),
        pad_token_id=pad_token_id,
        use_cache=True,
        **{"do_sample": False, **settings},
        **start,
    )
    saved, model.generation_config = model.generation_config, generation
    try:
        with torch.no_grad(), torch.autocast(inputs["input_ids"].device.type, torch.bfloat16, enabled=bf16):
            written_BT = model.generate(**inputs, generation_config=generation, streamer=streamer)
    finally:
        model.generation_config = saved
    skip = 1 if own.is_encoder_decoder else inputs["input_ids"].shape[1]
    ends = {*eos_token_ids, pad_token_id}
    rows = []
    for row in written_BT[:, skip:].tolist():
        end = next((place for place, token in enumerate(row) if token in ends), len(row))
        rows.append(row[:end])
    return rows


def pad_left(rows: Sequence[Sequence[int]], pad_token_id: int) -> dict[str, "torch.Tensor"]:
    """Prompts as input_ids and attention_mask, int64 (B, T), ending at the same position."""
    import torch

    longest = max(map(len, rows))
    ids_BT = torch.full((len(rows), longest), pad_token_id)
    mask_BT = torch.zeros_like(ids_BT)
    for place, row in enumerate(rows):
        ids_BT[place, longest - len(row) :] = torch.tensor(row)
        mask_BT[place, longest - len(row) :] = 1
    return {"input_ids": ids_BT, "attention_mask": mask_BT}
