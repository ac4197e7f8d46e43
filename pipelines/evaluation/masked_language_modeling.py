"""Evaluation of masked language models on a fixed mask, the baselines on the same mask, pseudo-perplexity, samples."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.collation import BlockCollator
from pipelines.data.masking import Masking
from pipelines.data.packing import IGNORE_INDEX, PackedDocuments
from pipelines.evaluation.token_scores import likeliest, sum_over_processes, token_metrics
from pipelines.models.neighbours import HIDDEN, NeighbourModel
from pipelines.models.sharded import share_of_process
from pipelines.training.objectives import MaskedLanguageModeling, cross_entropy

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipelines.data.packing import TrainingBlocks
    from pipelines.sections import MaskedLanguageModelEvaluationConfig

MASK_SEED = 0  # the mask of evaluation: the same for every run, so that figures compare


@dataclass(frozen=True)
class FixedMask:
    """Scores models on one mask of a split, which depends on its tokens alone.

    Figures compare between models with the same tokenizer, block size and share of masked tokens.

    Attributes:
        documents: the split.
        masking: every chosen token is masked.
        objective: computes the logits of masked positions.
        batch_size: rows computed at once; changes no figure.
        config: the evaluation section.
    """

    documents: PackedDocuments
    masking: Masking
    objective: MaskedLanguageModeling
    batch_size: int
    config: "MaskedLanguageModelEvaluationConfig"

    @property
    def blocks(self) -> int:
        """Blocks that are scored."""
        return min(self.config.max_blocks or len(self.documents), len(self.documents))

    def row(self, index: int) -> dict[str, np.ndarray]:
        """Block `index` with its mask."""
        return self.masking.row(self.documents, index, np.random.default_rng([MASK_SEED, index]))

    def evaluate(self, model: "PreTrainedModel") -> dict[str, float]:
        """Scores of a model; each process takes every n-th block, sums are in fp64 and divided once.

        Returns:
            eval_loss: nats per masked token. eval_bits_per_token, eval_perplexity: the same in bits, and its
            exponential. eval_accuracy: share of the masked tokens that are the likeliest of their position.
            eval_tokens: masked tokens. eval_seconds.
        """
        import torch

        started = time.perf_counter()
        totals = torch.zeros(3, dtype=torch.float64)
        mine = share_of_process(range(self.blocks), model)
        rows = (self.row(index) if counts else self.masking.filler(self.documents) for index, counts in mine)
        for logits_MV, labels_M in self._logits(model, rows):
            nats = cross_entropy(logits_MV, labels_M).cpu().double().sum()
            hits = (logits_MV.argmax(-1) == labels_M).sum()
            totals += torch.tensor([float(nats), int(hits), len(labels_M)], dtype=torch.float64)
        metrics = token_metrics(*sum_over_processes(totals).tolist()) | {"seconds": time.perf_counter() - started}
        return {f"eval_{name}": value for name, value in metrics.items()}

    def evaluate_few(
        self, model: "PreTrainedModel", objective: MaskedLanguageModeling, batch_size: int
    ) -> dict[str, float]:
        """The same of four short blocks, with another objective: for the proof `evaluation`."""
        config = replace(self.config, max_blocks=4)
        few = replace(self, documents=self.documents.shortened(), config=config)
        return replace(few, objective=objective, batch_size=batch_size).evaluate(model)

    def pseudo_perplexity(self, model: "PreTrainedModel") -> dict[str, float]:
        """exp of the mean -ln p of tokens that are masked one at a time (Salazar et al. 2020, section 2.3).

        The tokens are text positions spread evenly over the scored blocks, each in its whole block.

        Returns:
            eval_pseudo_perplexity and eval_pseudo_perplexity_tokens; nothing if the config wants none.
        """
        if self.config.pseudo_perplexity_tokens is None:
            return {}
        counts = [int(self.masking.maskable(self.documents, block).sum()) for block in range(self.blocks)]
        ends = np.cumsum(counts)
        picks = np.unique(np.linspace(0, ends[-1] - 1, self.config.pseudo_perplexity_tokens).round().astype(int))
        blocks = np.searchsorted(ends, picks, side="right")
        within = picks - (ends - counts)[blocks]
        rows = (self._one_masked(block, place) for block, place in zip(blocks.tolist(), within.tolist(), strict=True))
        nats = sum(
            float(cross_entropy(logits_MV, labels_M).cpu().double().sum())
            for logits_MV, labels_M in self._logits(model, rows)
        )
        value = math.exp(min(nats / len(picks), 700.0))
        return {"eval_pseudo_perplexity": value, "eval_pseudo_perplexity_tokens": len(picks)}

    def baselines(self, run: "TrainingBlocks", vocab_size: int) -> tuple[dict[str, float], NeighbourModel | None]:
        """The commonest token, and a bigram model of both neighbours, on the very masks that models are scored on.

        Both are counted on the blocks that a run consumed, each once. A neighbour that is masked too is hidden from the
        bigram model as it is from the transformer.

        Returns:
            (metrics, model): metrics named baseline_unigram_<metric> and baseline_neighbours_<metric>, and the fitted
            model; nothing if the config wants none.
        """
        if not self.config.baselines:
            return {}, None
        model = NeighbourModel.fit(*run.consumed_segments(), vocab_size, self.masking.random_token_ids)
        parts = [visible_neighbours(self.row(index)) for index in range(self.blocks)]
        left_N, right_N, tokens_N = (np.concatenate(column) for column in zip(*parts, strict=True))
        scores = {"unigram": model.score_unigram(tokens_N), "neighbours": model.score(left_N, right_N, tokens_N)}
        metrics = {
            f"baseline_{name}_{metric}": value
            for name, (nats, hits) in scores.items()
            for metric, value in token_metrics(nats, hits, len(tokens_N)).items()
        }
        return metrics, model

    def samples(
        self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", baseline: NeighbourModel | None
    ) -> dict[str, Any]:
        """Held-out passages with masks, what stood there, and what the model puts there, for a reader to judge.

        Returns:
            Content of samples.json: note, titles, and for each passage prompt, reference, output and, for the first
            mask, the five likeliest tokens with the probability that model and neighbour baseline give them.
        """

        names = ("bos_token", "eos_token", "cls_token", "sep_token")
        hidden = {getattr(tokenizer, name) for name in names} - {None}
        samples = []
        for start, end in _passages(self.documents, self.config.samples):
            tokens_T = self.documents.tokens_N[start:end].astype(np.int64)
            passage = replace(
                self.documents,
                tokens_N=tokens_T,
                document_starts_D=np.zeros(1, dtype=np.int64),
                block_size=len(tokens_T),
            )
            row = replace(self, documents=passage).row(0)
            if not (row["labels"] != IGNORE_INDEX).any():
                continue
            logits_MV, labels_M = next(iter(self._logits(model, [row])))
            filled_T = row["input_ids"].copy()
            filled_T[row["labels"] != IGNORE_INDEX] = logits_MV.argmax(-1).cpu().numpy()
            left, right, _ = visible_neighbours(row)
            expected = None if baseline is None else baseline.distributions(left[:1], right[:1])[0]
            samples.append(
                {
                    "prompt": _text(tokenizer, row["input_ids"], hidden).replace(str(tokenizer.mask_token), " ▁▁▁"),
                    "reference": _text(tokenizer, tokens_T, hidden),
                    "output": _text(tokenizer, filled_T, hidden),
                    "tokens": likeliest(logits_MV[0], expected, lambda token: str(tokenizer.decode([token]))),
                }
            )
        return {
            "note": "Held-out passages with masks (▁▁▁), what stood there, and what the model puts there.",
            "titles": ["Passage", "The document", "The model, likeliest fillings", "First mask, likeliest first"],
            "samples": samples,
        }

    def _one_masked(self, block: int, which: int) -> dict[str, np.ndarray]:
        """Block `block` with its `which`-th text token masked."""
        row = self.documents.block(block)
        place = np.flatnonzero(self.masking.maskable(self.documents, block))[which]
        labels_T = np.full_like(row["input_ids"], IGNORE_INDEX)
        labels_T[place] = row["input_ids"][place]
        row["input_ids"][place] = self.masking.mask_token_id
        return {"input_ids": row["input_ids"], "position_ids": row["position_ids"], "labels": labels_T}

    def _logits(
        self, model: "PreTrainedModel", rows: Iterable[dict[str, np.ndarray]]
    ) -> Iterator[tuple["torch.Tensor", "torch.Tensor"]]:
        """(logits (M, V), labels (M,)) of the masked positions of each batch of rows, without gradient."""
        import torch

        was_training, waiting = model.training, iter(rows)
        while batch := list(islice(waiting, self.batch_size)):
            tensors = {name: tensor.to(model.device) for name, tensor in BlockCollator()(batch).items()}
            model.eval()
            with torch.no_grad():
                computed = self.objective.logits(model, tensors)
            model.train(was_training)
            yield computed


def visible_neighbours(row: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(left, right, token) of each masked position of a row, int64; HIDDEN where a neighbour is masked or not there."""
    ids_T, positions_T, labels_T = row["input_ids"], row["position_ids"], row["labels"]
    visible_T = np.where(labels_T == IGNORE_INDEX, ids_T, HIDDEN)
    starts_T = positions_T == 0
    left_T = np.concatenate(([HIDDEN], visible_T[:-1]))
    left_T[starts_T] = HIDDEN  # the block ends or another document stands there
    right_T = np.concatenate((visible_T[1:], [HIDDEN]))
    right_T[:-1][starts_T[1:]] = HIDDEN
    masked = np.flatnonzero(labels_T != IGNORE_INDEX)
    return left_T[masked], right_T[masked], labels_T[masked]


def _passages(documents: PackedDocuments, count: int) -> Iterator[tuple[int, int]]:
    """Beginnings of documents spread over the split, at most 48 tokens each."""
    starts = documents.document_starts_D
    ends = np.append(starts[1:], len(documents.tokens_N))
    candidates = np.flatnonzero(ends - starts >= 32)
    candidates = candidates if len(candidates) else np.flatnonzero(ends - starts >= 3)
    for pick in candidates[np.linspace(0, len(candidates) - 1, min(count, len(candidates)), dtype=int)]:
        yield int(starts[pick]), int(min(ends[pick], starts[pick] + min(48, documents.block_size)))


def _text(tokenizer: "PreTrainedTokenizerBase", ids: np.ndarray, hidden: set[str]) -> str:
    text = str(tokenizer.decode(ids.tolist()))
    for token in hidden:
        text = text.replace(token, "")
    return text.strip()
