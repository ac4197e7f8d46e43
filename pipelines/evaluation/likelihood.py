"""Log-likelihoods of continuations under a causal language model: what verbalised labels are scored by.

Shape legend: C continuations of a request, S of all requests end to end; B rows, T positions, M chosen positions, R
tokens that are scored, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipelines.data.collation import pad
from pipelines.data.examples import Size, budget_parts
from pipelines.data.framing import document_frame, frame_of
from pipelines.errors import ConfigError, DataError
from pipelines.evaluation.token_scores import sum_over_processes
from pipelines.models.build import positions_of
from pipelines.models.sharded import share_of_process
from pipelines.models.sparse_head import SparseHead
from pipelines.training.objectives import ROWS_AT_ONCE

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Request = tuple[str, Sequence[str]]  # prompt, its candidate continuations

ROWS_WITHOUT_BUDGET = 32
PROBE_TOKENS = 16


@dataclass(frozen=True)
class Scores:
    """What a model makes of the continuations of one prompt.

    Attributes:
        log_likelihoods_C: fp64, nats: ln p(continuation | prompt), summed over its tokens.
        tokens_C: int64, tokens summed over, blanks that moved from the end of the prompt included.
        bytes_C: int64, UTF-8 bytes of the continuation as given.
        is_cut: the prompt was cut on the left.
    """

    log_likelihoods_C: np.ndarray
    tokens_C: np.ndarray
    bytes_C: np.ndarray
    is_cut: bool


class _Encoded(NamedTuple):
    """A request as token ids: what its continuations share, and each of them."""

    context: list[int]
    continuations: list[list[int]]
    is_cut: bool


class _Target(NamedTuple):
    """A token to be scored: the position that predicts it, and whose continuation's it is, counted over requests."""

    position: int
    token: int
    place: int


def continuation_scores(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    requests: Sequence[Request],
    max_tokens_per_batch: int | None,
    max_length: int,
) -> list[Scores]:
    """The log-likelihood of each continuation of each prompt, whatever the batches and on any number of processes.

    Tokens. Prompt and continuation are encoded as one text, since that is how a model met them; blanks (line ends
    included) at the end of a prompt count to the continuation, since most tokenizers make a blank part of the word
    behind it: "Answer: " and "yes" are scored as "Answer:" and " yes" (as lm-eval does). The continuation begins where
    the tokens of the text part from those of the prompt alone, for all candidates of a request at the first such place:
    a token that reaches over the boundary is scored, and all candidates are given the same context. (lm-eval counts
    tokens instead, so that a token which begins in the prompt may not be scored at all.) Before the prompt stand the
    tokens that the tokenizer begins a text with; where there are none and the prompt is empty, BOS, or else EOS.

    Length. A prompt that does not fit is cut on the left, behind those first tokens and by as much as the longest of
    its continuations needs, so that candidates stay comparable. (lm-eval cuts the first tokens, too, and each candidate
    by itself.)

    Computing. Equal rows of tokens, and those that another one begins with, are computed once: candidates of one token
    each cost one row. Rows of similar length are padded together on the right, where a causal model sees no padding.
    Logits are computed where a token is scored, if `SparseHead` can (measured on the model), else everywhere. Softmax
    is fp32, by logsumexp: with 49,152 entries it is off by 1e-6 nats a token, torch's log_softmax on a CPU by 1.5e-5
    (measured). The model's own precision is left to it: in bf16, where kernels round differently for other shapes,
    batches changed log-likelihoods of SmolLM2-135M by up to 0.5 nats, in fp32 by up to 3e-5.

    Args:
        model: with a next-token head, maybe with LoRA; computed in eval mode.
        requests: prompt and candidates, at least one each, none of them empty.
        max_tokens_per_batch: padded positions computed at once. None: ROWS_WITHOUT_BUDGET rows.
        max_length: positions of prompt and continuation at most; the model may have fewer.

    Raises:
        ConfigError: no causal language model, or an empty prompt and a tokenizer without BOS and EOS.
        DataError: a request without continuations, one without a token, or one that has more of them than fit.
    """
    check_causal(model)
    if not requests:
        return []
    positions = min(max_length, positions_of(_own(model)) or max_length)
    encoded = _encode(tokenizer, requests, positions)
    padding = tokenizer.pad_token_id or 0  # any token will do, see above
    totals = iter(_log_likelihoods(model, encoded, padding, max_tokens_per_batch, positions))
    return [
        Scores(
            log_likelihoods_C=np.array([next(totals) for _ in one.continuations]),
            tokens_C=np.array([len(tokens) for tokens in one.continuations], dtype=np.int64),
            bytes_C=np.array([len(text.encode()) for text in candidates], dtype=np.int64),
            is_cut=one.is_cut,
        )
        for one, (_, candidates) in zip(encoded, requests, strict=True)
    ]


def _own(model: Any) -> Any:
    """The model itself, of one with LoRA."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def check_causal(model: "PreTrainedModel") -> None:
    """Raises ConfigError if a model is no causal language model."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    own = _own(model)
    kind = type(own.config)
    classes: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(kind, ())
    is_causal = isinstance(own, classes)
    is_encoder = kind in MODEL_FOR_MASKED_LM_MAPPING and not getattr(own.config, "is_decoder", False)
    if own.config.is_encoder_decoder or is_encoder or not is_causal:
        raise ConfigError(
            f"Continuations are scored by causal language models only, which predict each token from those before it; "
            f"found {type(own).__name__}{' without is_decoder' if is_causal and is_encoder else ''}. Name a model that "
            "pretrain_clm made, or another ...ForCausalLM."
        )


# ------------------------------------------------------------ tokens


def _encode(tokenizer: "PreTrainedTokenizerBase", requests: Sequence[Request], positions: int) -> list[_Encoded]:
    """The requests as token ids, all texts encoded at once."""
    texts: list[str] = []
    for place, (prompt, candidates) in enumerate(requests):
        if not candidates:
            raise DataError(f"Request {place} has no continuations to score; its prompt is {prompt[-80:]!r}.")
        texts += [prompt.rstrip(), *(prompt + candidate for candidate in candidates)]
    encode: Any = tokenizer
    rows = iter(encode(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"])
    begin, start = frame_of(tokenizer)[0], document_frame(tokenizer)[0]
    encoded = []
    for place, (_, candidates) in enumerate(requests):
        prompt_ids, wholes = next(rows), [next(rows) for _ in candidates]
        shared = min(_common(prompt_ids, whole) for whole in wholes)
        continuations = [whole[shared:] for whole in wholes]
        for text, ids in zip(candidates, continuations, strict=True):
            if not text or not ids:
                raise DataError(
                    f"Request {place}: the continuation {text!r} has no token to score. Give each candidate a text."
                )
        first = list(begin)
        if not first and not shared:
            if start is None:
                raise ConfigError(
                    f"Request {place}: the prompt is empty, and this tokenizer has neither BOS nor EOS to predict a "
                    "first token from. Give it a prompt, or take a tokenizer with a bos_token."
                )
            first = [start]
        room = positions - max(map(len, continuations)) + 1 - len(first)  # the last token is predicted, never read
        if room < 0 or not (first or room):
            tokens, text = max((len(ids), text) for ids, text in zip(continuations, candidates, strict=True))
            raise DataError(
                f"Request {place}: the continuation {text[:80]!r} has {tokens} tokens, which with what it goes on "
                f"from take {tokens - 1 + max(len(first), 1)} positions; there are {positions}. Shorten it, or take a "
                "larger max_length or a model with more positions."
            )
        kept = prompt_ids[max(shared - room, 0) : shared]
        encoded.append(_Encoded([*first, *kept], continuations, is_cut=len(kept) < shared))
    return encoded


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens two sequences share."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


# ------------------------------------------------------------ computing


def _log_likelihoods(
    model: Any, encoded: Sequence[_Encoded], padding: int, max_tokens: int | None, positions: int
) -> list[float]:
    """Summed log-probabilities of all continuations in order, (S,), from this process's share of the rows."""
    import torch

    rows = _rows(encoded)
    ids, targets = list(rows), list(rows.values())
    most = ROWS_WITHOUT_BUDGET if max_tokens is None else len(ids)
    parts = budget_parts([Size(1, len(row), 0) for row in ids], most, max_tokens)
    device = next(model.parameters()).device
    totals_S = torch.zeros(sum(len(one.continuations) for one in encoded), dtype=torch.float64)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), _sparse_head(model, max(ids, key=len)[:PROBE_TOKENS]) as head:
            for part, counts in share_of_process(parts, model):
                batch = pad([np.array(ids[place]) for place in part], padding, positions)
                batch = {name: tensor.to(device) for name, tensor in batch.items()}
                scored = [(row, target) for row, place in enumerate(part) for target in targets[place]]
                found_R = _log_probabilities(model, head, batch, scored)
                places_R = torch.tensor([target.place for _, target in scored])
                if counts:
                    totals_S.index_add_(0, places_R, found_R.cpu().double())
    finally:
        model.train(was_training)
    summed: list[float] = sum_over_processes(totals_S).tolist()
    return summed


def _rows(encoded: Sequence[_Encoded]) -> dict[tuple[int, ...], list[_Target]]:
    """Rows of tokens to compute, and what each predicts; one that begins another is computed with that."""
    rows: dict[tuple[int, ...], list[_Target]] = {}
    place = 0
    for context, continuations, _ in encoded:
        for continuation in continuations:
            row = rows.setdefault((*context, *continuation[:-1]), [])
            first = len(context) - 1
            row += [_Target(position, token, place) for position, token in enumerate(continuation, start=first)]
            place += 1
    for shorter, longer in pairwise(sorted(rows)):  # whatever a row begins stands right behind it
        if longer[: len(shorter)] == shorter:
            rows[longer] += rows.pop(shorter)
    return rows


@contextmanager
def _sparse_head(model: Any, probe: Sequence[int]) -> Iterator[SparseHead | None]:
    """A head that computes chosen positions only, or None if this model's cannot."""
    import torch

    head = SparseHead(_own(model))
    try:
        ids_BT = torch.tensor([probe], device=next(model.parameters()).device)
        yield head if head.agrees_with(model, {"input_ids": ids_BT, "use_cache": False}) else None
    finally:
        head.remove()


def _log_probabilities(
    model: Any, head: SparseHead | None, batch: dict[str, "torch.Tensor"], scored: Sequence[tuple[int, _Target]]
) -> "torch.Tensor":
    """ln p of the tokens of `scored`, which names the row of each, fp32 (R,)."""
    import torch

    device = batch["input_ids"].device
    rows_R = torch.tensor([row for row, _ in scored], device=device)
    positions_R = torch.tensor([target.position for _, target in scored], device=device)
    tokens_R = torch.tensor([target.token for _, target in scored], device=device)
    chosen_BT = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    chosen_BT[rows_R, positions_R] = True
    if head is None:
        logits_MV = model(**batch, use_cache=False).logits[chosen_BT]
    else:
        with head.at(chosen_BT):
            logits_MV = model(**batch, use_cache=False).logits[0]
    normalisers_M = torch.cat([part.float().logsumexp(dim=-1) for part in logits_MV.split(ROWS_AT_ONCE)])
    chosen_R = (chosen_BT.flatten().cumsum(dim=0) - 1).view_as(chosen_BT)[rows_R, positions_R]
    return logits_MV[chosen_R, tokens_R].float() - normalisers_M[chosen_R]
