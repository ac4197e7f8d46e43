"""LSTM and GRU language models as transformers models, with the state reset at each document of a packed batch.

Importing this module registers the model type `recurrent` with AutoConfig, AutoModel and AutoModelForCausalLM.

Shape legend: B rows, T positions, N rows x positions, E features in, H hidden size, V vocabulary, S sequences; of one
chunk: n sequences, K steps.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from pipelines.models.sequences import Sequences, find_sequences

CELLS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}
STEPS_AT_ONCE = 32  # of 16, 32, 64 and 256 the fastest for 16 x 256 tokens at hidden size 256 to 1024 (CPU, measured)

State = tuple[torch.Tensor, ...]  # hidden state, and the LSTM's cell state: each (rows, H)


@strict
class RecurrentConfig(PreTrainedConfig):
    """Sizes of an LSTM or GRU language model.

    Attributes:
        cell_type: lstm (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000) or gru (Cho et al.
            2014), in the variants of torch.nn.LSTM and torch.nn.GRU.
        embedding_size: width of the embeddings. Default: hidden_size. If it differs, a linear map takes the last
            layer's hidden state to it before the output head.
        initializer_range: standard deviation of the embeddings and linear maps. Default: embedding_size ** -0.5.
        dropout: share of features dropped after the embeddings and after each layer, never between time steps
            (Zaremba et al. 2014, section 3.2).
    """

    model_type = "recurrent"
    keys_to_ignore_at_inference = ["past_key_values"]

    cell_type: Literal["lstm", "gru"] = "lstm"
    vocab_size: int = 8192
    hidden_size: int = 512
    embedding_size: int | None = None
    num_hidden_layers: int = 2
    initializer_range: float | None = None
    dropout: float = 0.0
    tie_word_embeddings: bool = True
    use_cache: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        if self.embedding_size is None:
            self.embedding_size = self.hidden_size
        if self.initializer_range is None:
            self.initializer_range = max(self.embedding_size, 1) ** -0.5
        super().__post_init__(**kwargs)

    def validate_sizes(self) -> None:
        """Called by `strict`.

        Raises:
            ValueError: a size below 1, or a dropout that is no share.
        """
        for name in ("vocab_size", "hidden_size", "embedding_size", "num_hidden_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, found {self.dropout}")


class RecurrentCache:
    """The state of every layer after the tokens seen so far: what generation keeps instead of keys and values."""

    def __init__(self) -> None:
        self.states: list[State] = []
        self.positions_seen = 0

    def get_seq_length(self) -> int:
        """Positions seen, padding included."""
        return self.positions_seen

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Takes the rows `beam_idx`, for beam search."""
        self.states = [tuple(part_BH[beam_idx] for part_BH in state) for state in self.states]


class RecurrentLayer(GradientCheckpointingLayer):
    """One LSTM or GRU layer over the sequences of a batch."""

    def __init__(self, config: RecurrentConfig, layer_index: int) -> None:
        super().__init__()
        width: Any = config.hidden_size if layer_index else config.embedding_size
        self.cell = CELLS[config.cell_type](width, config.hidden_size, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)

    @torch.compiler.disable  # chunks have other shapes in every batch
    def forward(
        self, hidden_BTE: torch.Tensor, sequences: Sequences, past: State | None = None
    ) -> tuple[torch.Tensor, State]:
        """The hidden states (B, T, H), and the states after each sequence (S, H), exact if steps_at_once was 1."""
        device, flat_NE = hidden_BTE.device.type, hidden_BTE.flatten(0, 1)
        autocast = torch.is_autocast_enabled(device)
        if autocast and device == "cpu" and isinstance(self.cell, nn.LSTM):
            # bf16 gains nothing here, forward and backward together: 0.46 to 0.65 s instead of 0.46 s in fp32 for
            # 16 x 256 tokens at hidden size 512, one thread; and it rounds the cell state at every step. The GRU takes
            # 0.43 s instead of 0.73 s, and its state stays fp32.
            autocast, flat_NE = False, flat_NE.to(next(self.cell.parameters()).dtype)
        with torch.autocast(device, enabled=autocast):
            state = past
            outputs, finished = [], []
            for index_nK in sequences.chunks:
                n = len(index_nK)
                if state is not None:
                    finished.append(tuple(part_SH[n:] for part_SH in state))
                    state = tuple(part_SH[:n] for part_SH in state)
                output_nKH, state = self._run(
                    flat_NE.index_select(0, index_nK.flatten()).view(*index_nK.shape, -1), state
                )
                outputs.append(output_nKH.flatten(0, 1))
        assert state is not None  # there is a chunk
        finished.append(state)
        place_BT = sequences.place_BT
        hidden_BTH = torch.cat(outputs).index_select(0, place_BT.flatten()).view(*place_BT.shape, -1)
        longest_first = zip(*reversed(finished), strict=True)
        return self.dropout(hidden_BTH), tuple(torch.cat(parts) for parts in longest_first)

    def _run(self, input_nKE: torch.Tensor, state: State | None) -> tuple[torch.Tensor, State]:
        """The kernel of torch, whose states have a leading dimension of layers, and are a tuple for the LSTM alone."""
        given = None if state is None else tuple(part_nH[None].contiguous() for part_nH in state)
        if isinstance(self.cell, nn.LSTM):
            output_nKH, parts = self.cell(input_nKE, given)
        else:
            output_nKH, hidden_1nH = self.cell(input_nKE, None if given is None else given[0])
            parts = (hidden_1nH,)
        return output_nKH, tuple(part_1nH[0] for part_1nH in parts)


class RecurrentPreTrainedModel(PreTrainedModel):
    """Initialisation, and what transformers may do with these models."""

    config: RecurrentConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["RecurrentLayer"]
    _supports_sdpa = True  # there is no attention: whatever is asked for will do
    _is_stateful = True
    _can_record_outputs = {"hidden_states": RecurrentLayer}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Input matrices of each gate Glorot-uniform, recurrent ones orthogonal, biases 0, the forget gate's 1.

        Glorot and Bengio 2010, equation 16; Saxe et al. 2014; Jozefowicz et al. 2015 on the forget gate's bias.
        """
        if not isinstance(module, nn.LSTM | nn.GRU):
            super()._init_weights(module)
            return
        for name, parameter in module.named_parameters():
            if getattr(parameter, "_is_hf_initialized", False):  # loaded; slices of it do not show that
                continue
            gates = parameter.split(module.hidden_size)
            for gate in gates:
                if name.startswith("weight_ih"):
                    nn.init.xavier_uniform_(gate)
                elif name.startswith("weight_hh"):
                    nn.init.orthogonal_(gate)
                else:
                    nn.init.zeros_(gate)
            if isinstance(module, nn.LSTM) and name.startswith("bias_ih"):  # gates: input, forget, cell, output
                nn.init.ones_(gates[1])


class RecurrentModel(RecurrentPreTrainedModel):
    """Embeddings and layers.

    Embeddings are multiplied by the root of their width (Vaswani et al. 2017, section 3.4), so that the table that is
    small enough for the head it is tied to gives inputs of variance 1. Held-out loss after 60 steps of 4,096 tokens
    (4.2 M parameters, Muon): LSTM 5.18 with it and 6.28 without, GRU 4.76 and 5.03.
    """

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config)
        width: Any = config.embedding_size
        self.embed_tokens = nn.Embedding(config.vocab_size, width)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList([RecurrentLayer(config, index) for index in range(config.num_hidden_layers)])
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: RecurrentCache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """The last layer's hidden states (B, T, H).

        Args:
            input_ids: (B, T).
            attention_mask: (B, T) or, behind a cache, (B, all positions); 0 takes a position out of its sequence,
                wherever it stands.
            position_ids: (B, T) or (1, T); the state is reset where they are 0. Default: at the start of each row.
            past_key_values: the cache that a call before this one returned.
            inputs_embeds: (B, T, embedding_size), not yet multiplied, instead of input_ids.
            use_cache: return the states.

        Raises:
            ValueError: both or neither of input_ids and inputs_embeds, or a mask that is not 2-D or leaves no token.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("exactly one of input_ids and inputs_embeds must be given")
        hidden = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        rows, columns = hidden.shape[:2]
        if attention_mask is None:
            real_BT = torch.ones((rows, columns), dtype=torch.bool, device=hidden.device)
        elif attention_mask.ndim == 2:
            real_BT = attention_mask[:, -columns:].bool()
        else:
            raise ValueError(f"attention_mask must be 2-D, found shape {tuple(attention_mask.shape)}")
        past: Sequence[State | None] = past_key_values.states if past_key_values else [None] * len(self.layers)
        steps_at_once = 1 if use_cache else STEPS_AT_ONCE
        sequences = find_sequences(real_BT, position_ids, steps_at_once, has_past=past_key_values is not None)

        cache = RecurrentCache()
        cache.positions_seen = columns + (past_key_values.positions_seen if past_key_values else 0)
        hidden = self.dropout(hidden * hidden.shape[-1] ** 0.5)
        for layer, state in zip(self.layers, past, strict=True):
            hidden, final = layer(hidden, sequences, _initial(state, sequences))
            if use_cache:
                cache.states.append(_after(state, final, sequences, rows))
        kept: Any = cache if use_cache else None
        return BaseModelOutputWithPast(last_hidden_state=hidden, past_key_values=kept)


def _initial(state: State | None, sequences: Sequences) -> State | None:
    """Each sequence's state before it, (S, H): its row's where it goes on from there, else zeros."""
    if state is None:
        return None
    return tuple(part_BH[sequences.row_S] * sequences.continues_S[:, None] for part_BH in state)


def _after(state: State | None, final: State, sequences: Sequences, rows: int) -> State:
    """Each row's state after its last sequence, (B, H); that before, if it has none."""
    last = sequences.is_last_S
    befores = [part_SH.new_zeros(rows, part_SH.shape[1]) for part_SH in final] if state is None else state
    return tuple(
        before_BH.index_copy(0, sequences.row_S[last], part_SH[last].to(before_BH.dtype))
        for before_BH, part_SH in zip(befores, final, strict=True)
    )


class RecurrentForCausalLM(RecurrentPreTrainedModel, GenerationMixin):
    """A recurrent model with a next-token head."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config)
        width: Any = config.embedding_size
        self.model = RecurrentModel(config)
        self.projection = (
            nn.Identity() if width == config.hidden_size else nn.Linear(config.hidden_size, width, bias=False)
        )
        self.lm_head = nn.Linear(width, config.vocab_size, bias=False)
        self.post_init()

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        """False: `generate` would else make a cache of keys and values."""
        return False

    def forward_flops_per_token(self) -> float:
        """Floating-point operations of a forward pass per token, a multiply-add as two; the same at every length.

        Each gate multiplies an input by (H, E) and a hidden state by (H, H): 2 G H (E + H) a layer with G gates, 4 in
        an LSTM and 3 in a GRU; the projection takes 2 H E, the head 2 E V. That is twice the entries of all matrices
        but the input table. Elementwise operations and the filling of chunks are not counted.
        """
        matrices = [*self.model.layers.parameters(), *self.projection.parameters(), self.lm_head.weight]
        return 2.0 * sum(matrix.numel() for matrix in matrices if matrix.ndim == 2)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: RecurrentCache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits (B, T, V) of the next tokens; arguments as RecurrentModel's.

        Args:
            labels: (B, T), shifted inside as everywhere in transformers; -100 is left out of the loss.
            logits_to_keep: only for the last so many positions; 0: for all.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        logits_BTV = self.lm_head(self.projection(outputs.last_hidden_state[:, -logits_to_keep:]))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits_BTV, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits_BTV,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
        )


AutoConfig.register(RecurrentConfig.model_type, RecurrentConfig)
AutoModel.register(RecurrentConfig, RecurrentModel)
AutoModelForCausalLM.register(RecurrentConfig, RecurrentForCausalLM)
