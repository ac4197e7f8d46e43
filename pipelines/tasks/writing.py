"""How a model writes: decoding of encoder-decoders, and of decoders from prompts padded on the left.

Shape legend: B rows, T positions.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelines.models.sharded import is_sharded

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
        model: a decoder or an encoder-decoder, maybe with LoRA.
        inputs: input_ids and attention_mask (B, T).
        bf16: compute under bfloat16 autocast.
        eos_token_ids: end a text, besides those that the model's generation_config.json names.
        pad_token_id: fills up rows that have ended.
        streamer: is given the tokens as they are written, by transformers.
        settings: of transformers.GenerationConfig, such as max_new_tokens and num_beams; greedy unless do_sample.
    """
    import torch
    from transformers import GenerationConfig

    own: Any = model.get_base_model() if hasattr(model, "get_base_model") else model
    config, saved = own.config, own.generation_config
    known = ("decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id", "bos_token_id")
    start: dict[str, Any] = {}
    for one in (config, saved):  # the latter counts where both state a token
        start |= {name: getattr(one, name) for name in known if getattr(one, name, None) is not None}
    named = getattr(saved, "eos_token_id", None)
    stops = {*eos_token_ids, *(named if isinstance(named, list) else [] if named is None else [named])}
    generation = GenerationConfig(
        eos_token_id=sorted(stops),
        pad_token_id=pad_token_id,
        use_cache=True,
        **{"do_sample": False, **settings},
        **start,
    )
    own.generation_config = generation  # transformers would fill up ours from the saved one
    try:
        with torch.no_grad(), torch.autocast(inputs["input_ids"].device.type, torch.bfloat16, enabled=bf16):
            together = is_sharded(model)  # all processes compute until the last one has written its end
            written_BT = model.generate(
                **inputs, generation_config=generation, streamer=streamer, synced_gpus=together or None
            )
    finally:
        own.generation_config = saved
    skip = 1 if config.is_encoder_decoder else inputs["input_ids"].shape[1]
    ends = {*stops, pad_token_id}
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
