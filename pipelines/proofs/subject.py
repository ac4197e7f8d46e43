"""What the proofs of a run are made on: a small copy of its model, with its own objective, collator and rows."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.packing import PackedDocuments, Rows, TrainingBlocks
from pipelines.data.streaming.documents import StreamedDocuments
from pipelines.training.trainer import Objective, parts_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LAYERS = 2  # of the copy
LARGEST = 10_000_000  # parameters above which the copy is narrower, too
WIDTHS = {  # names of config fields of transformers -> what they are measured in
    "heads": ("num_attention_heads", "encoder_attention_heads", "decoder_attention_heads", "num_heads"),
    "groups": ("num_key_value_heads",),
    "hidden": ("hidden_size", "d_model", "embedding_size", "pooler_hidden_size"),
    "inner": ("intermediate_size", "encoder_ffn_dim", "decoder_ffn_dim", "d_ff", "n_inner", "hidden_dim"),
}
DEPTHS = ("num_hidden_layers", "num_layers", "num_decoder_layers", "encoder_layers", "decoder_layers")


@dataclass(frozen=True)
class Subject:
    """A run before its first step.

    Attributes:
        model: that will be trained; with LoRA, a model of peft.
        make_objective: model -> its objective in fp32.
        blocks: the rows of the run, in their order.
        collator: rows -> a batch, or its parts.
        tokenizer: made the rows.
        evaluate: (model, objective, batch_size) -> metrics of a few held-out rows; None: that is not proved.
        misjudged: (model, objective) -> share of a few held-out rows that are scored as wrong though the model is
            certain of their labels, None if no such row can be right; None: that is not proved.
        isolates: documents of a row are not to see each other.
    """

    model: "PreTrainedModel"
    make_objective: Callable[[Any], Objective]
    blocks: TrainingBlocks
    collator: Callable[..., Any]
    tokenizer: "PreTrainedTokenizerBase"
    evaluate: Callable[..., dict[str, float]] | None = None
    misjudged: Callable[..., float | None] | None = None
    isolates: bool = False

    @property
    def couples_rows(self) -> bool:
        """Whether the loss of a row depends on the others of its batch, as with negatives of the batch."""
        return bool(getattr(self.make_objective(self.model), "couples_rows", False))

    @cached_property
    def small(self) -> "PreTrainedModel":
        """The copy: at most two layers, random weights, fp32, on the CPU. Its dropout is that of the model."""
        return shrunk(self.model)

    def copy(self, dropout: bool = False) -> "PreTrainedModel":
        """Another one with the same weights."""
        model = copy.deepcopy(self.small)
        return model if dropout else without_dropout(model)

    def rows(self, count: int) -> list[Mapping[str, np.ndarray]]:
        """The first rows of the run."""
        return [self.blocks[place] for place in range(min(count, self.blocks.last_place))]

    def batch(self, rows: Sequence[Mapping[str, np.ndarray]]) -> list[Any]:
        """The parts of a batch of rows."""
        return parts_of(self.collator(rows))


def first_rows(documents: Any, seed: int, rows: Rows | None = None) -> TrainingBlocks:
    """The rows that proofs are made of: the first of the run, packed ones shortened.

    Args:
        documents: the training split.
        seed: of the order.
        rows: says what a block is to the objective.
    """
    if isinstance(documents, StreamedDocuments):
        documents = documents.sample
    if isinstance(documents, PackedDocuments):
        documents = documents.shortened()
    count = min(len(documents), 64)
    return TrainingBlocks(documents, documents.order(seed, 1), count, count, rows)


def shrunk(model: Any) -> Any:
    """A model of the same class and config, with at most two layers and, if it would be large, narrower.

    Args:
        model: of transformers, or of peft on one.
    """
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for narrow in (True, False) if sum(one.numel() for one in base.parameters()) > LARGEST else (False,):
            config = copy.deepcopy(base.config)
            for part in (config, *(getattr(config, name, None) for name in ("encoder", "decoder", "text_config"))):
                if part is not None and not isinstance(part, dict | str):
                    _shrink(part, narrow)
            try:
                small = type(base)._from_config(config, dtype=torch.float32)
                break
            except (ValueError, RuntimeError, TypeError, AssertionError):
                if not narrow:
                    raise
        small.set_attn_implementation(base.config._attn_implementation)
    small.config.use_cache = False
    return small.train()


def _shrink(config: Any, narrow: bool) -> None:
    """Takes layers away, and width if that is wanted, from a config of transformers in place."""
    _keep_two_layers(config)
    if not narrow:
        return
    heads: Any = getattr(config, "num_attention_heads", None)
    groups: Any = getattr(config, "num_key_value_heads", None) or heads
    if not isinstance(heads, int) or heads < 4:
        return
    kept = max(2, heads // groups) if groups else 2
    factor = heads / kept
    for name in WIDTHS["heads"]:
        if isinstance(getattr(config, name, None), int):
            setattr(config, name, kept)
    for name in WIDTHS["groups"]:
        if isinstance(getattr(config, name, None), int):
            setattr(config, name, max(1, round(groups / factor)))
    for kind in ("hidden", "inner"):
        for name in WIDTHS[kind]:
            width = getattr(config, name, None)
            if isinstance(width, int):
                setattr(config, name, max(8, round(width / factor)))


def _keep_two_layers(config: Any) -> None:
    """The first layer, and the next that is of another kind by what a config lists for each; else the second."""
    depth: Any = getattr(config, "num_hidden_layers", None)
    listed = {name: kinds for name, kinds in vars(config).items() if isinstance(kinds, list) and len(kinds) == depth}
    for name in DEPTHS:
        layers = getattr(config, name, None)
        if isinstance(layers, int) and layers > LAYERS:
            setattr(config, name, LAYERS)
    if isinstance(depth, int) and depth > LAYERS:
        kinds = list(zip(*listed.values(), strict=True)) or [()]
        other = next((place for place, kind in enumerate(kinds) if kind != kinds[0]), 1)
        for name, kind in listed.items():
            setattr(config, name, [kind[0], kind[other]])


def without_dropout(model: Any) -> Any:
    """The model with all dropout off, in train mode: by its modules, and where it reads rates of its own."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if isinstance(value, float) and ("dropout" in name or name.endswith("_drop")):
                setattr(module, name, 0.0)
    return model
