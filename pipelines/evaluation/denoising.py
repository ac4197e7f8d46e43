"""Evaluation of denoising on fixed damage, the baselines on the same targets, samples to look at."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.denoising import SENTINEL, Damaged, Denoising, SpanCorruption
from pipelines.data.document_rows import DocumentRows, Seq2SeqCollator
from pipelines.data.packing import IGNORE_INDEX
from pipelines.evaluation.token_scores import likeliest, sum_over_processes, token_metrics
from pipelines.models.ngram import KneserNeyModel
from pipelines.models.sharded import share_of_process
from pipelines.training.objectives import SequenceToSequence, cross_entropy

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipelines.data.packing import TrainingBlocks
    from pipelines.sections import DenoisingEvaluationConfig

DAMAGE_SEED = 0  # the damage of evaluation: the same for every run, so that figures compare
PASSAGE_TOKENS = 48  # of a sample


@dataclass(frozen=True)
class FixedDamage:
    """Scores models on the rows of a split, damaged in a way that depends on the rows alone.

    Figures compare between models with the same tokenizer, block size and denoising.

    Attributes:
        documents: the split.
        denoising: of the run.
        objective: computes the logits.
        collator: makes batches.
        batch_size: rows computed at once; changes no figure.
        config: the evaluation section.
    """

    documents: DocumentRows
    denoising: Denoising
    objective: SequenceToSequence
    collator: Seq2SeqCollator
    batch_size: int
    config: "DenoisingEvaluationConfig"

    @property
    def blocks(self) -> int:
        """Rows that are scored."""
        return min(self.config.max_blocks or len(self.documents), len(self.documents))

    def row(self, index: int) -> Damaged:
        """Row `index`, damaged."""
        text_N = self.documents.block(index)["input_ids"]
        return self.denoising.damage(text_N, np.random.default_rng([DAMAGE_SEED, index]))

    def evaluate(self, model: "PreTrainedModel") -> dict[str, float]:
        """Scores of a model, each target given the true ones before it; sums are in fp64 and divided once.

        Each process takes every n-th row in the order of their lengths.

        Returns:
            eval_loss: nats per target token. eval_bits_per_token, eval_perplexity: the same in bits, and its
            exponential. eval_accuracy: share of the targets that are the likeliest of their position.
            eval_hidden_loss, eval_hidden_accuracy: the same of those targets that are text which the encoder does not
            see; the others are sentinels, EOS, or text that is there to be copied. eval_tokens: targets. eval_seconds.
        """
        import torch

        started = time.perf_counter()
        by_length = np.argsort(self.documents.input_lengths_R[: self.blocks], kind="stable").tolist()
        shared = share_of_process(by_length, model)
        mine = (self.row(index) if counts else _without_targets(self.row(index)) for index, counts in shared)
        totals = torch.zeros(2, 3, dtype=torch.float64)
        for rows, logits_MV, labels_M in self._logits(model, mine):
            nats_M = cross_entropy(logits_MV, labels_M).cpu().double()
            hits_M = (logits_MV.argmax(-1) == labels_M).cpu().double()
            sums_M3 = torch.stack((nats_M, hits_M, torch.ones_like(nats_M)), dim=1)
            totals[0] += sums_M3.sum(dim=0)
            totals[1] += sums_M3[torch.from_numpy(np.concatenate([row.hidden for row in rows]))].sum(dim=0)
        metrics = target_metrics(*sum_over_processes(totals).tolist()) | {"seconds": time.perf_counter() - started}
        return {f"eval_{name}": value for name, value in metrics.items()}

    def evaluate_few(
        self, model: "PreTrainedModel", objective: SequenceToSequence, batch_size: int
    ) -> dict[str, float]:
        """The same of four rows, with another objective: for the proof `evaluation`."""
        few = replace(self, config=replace(self.config, max_blocks=4))
        return replace(few, objective=objective, batch_size=batch_size).evaluate(model)

    def baselines(self, run: "TrainingBlocks", vocab_size: int) -> tuple[dict[str, float], KneserNeyModel | None]:
        """The commonest token, and a Kneser-Ney n-gram model, on the very targets that models are scored on.

        Both are fitted to the targets of the rows that a run consumed, as they were damaged then; equal ones count
        once. They do not see the encoder's input.

        Returns:
            (metrics, model): metrics named baseline_unigram_<metric> and baseline_kneser_ney_<order>gram_<metric>, and
            the fitted model; nothing if the config wants none.
        """
        order = self.config.ngram_order
        if order is None:
            return {}, None
        started = time.perf_counter()
        seen = {run[place]["labels"].tobytes() for place in range(run.baseline_places)}
        targets_N, starts_S = self._segments(np.frombuffer(row, dtype=np.int64) for row in sorted(seen))
        model = KneserNeyModel.fit(targets_N, starts_S, vocab_size, order)
        frequency_V = np.bincount(np.delete(targets_N, starts_S), minlength=vocab_size) + 1.0
        log_unigram_V = np.log(frequency_V / frequency_V.sum())

        rows = list(map(self.row, range(self.blocks)))
        tokens_N, starts_S = self._segments(row.labels for row in rows)
        scored_N = np.ones(len(tokens_N), dtype=bool)
        scored_N[starts_S] = False
        labels_M, hidden_M = tokens_N[scored_N], np.concatenate([row.hidden for row in rows])
        nats = {
            "unigram": -log_unigram_V[labels_M],
            f"kneser_ney_{order}gram": -model.log_probabilities(tokens_N, starts_S)[scored_N],
        }
        guesses = {
            "unigram": np.full(len(labels_M), log_unigram_V.argmax()),
            f"kneser_ney_{order}gram": likeliest_tokens(model, tokens_N, starts_S)[scored_N],
        }
        metrics: dict[str, float] = {}
        for name, nats_M in nats.items():
            sums_M3 = np.stack((nats_M, guesses[name] == labels_M, np.ones(len(labels_M))), axis=1)
            scores = target_metrics(sums_M3.sum(axis=0).tolist(), sums_M3[hidden_M].sum(axis=0).tolist())
            metrics |= {f"baseline_{name}_{metric}": value for metric, value in scores.items()}
        metrics[f"baseline_kneser_ney_{order}gram_seconds"] = time.perf_counter() - started
        return metrics, model

    def samples(
        self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", baseline: KneserNeyModel | None
    ) -> dict[str, Any]:
        """Held-out passages with hidden spans, the true targets, and what the model writes, for a reader to judge.

        The model writes greedily, without seeing the target, until EOS or eight tokens more than the target has.

        Returns:
            Content of samples.json: note, titles, and for each passage prompt, reference, output and, for the first
            hidden token after the true ones before it, the five likeliest with the probability that model and n-gram
            baseline give them.
        """
        import torch

        generate: Any = model.generate
        samples = []
        for index in self._beginnings():
            text_N = self.documents.block(index)["input_ids"][:PASSAGE_TOKENS]
            row = self.denoising.damage(text_N, np.random.default_rng([DAMAGE_SEED, index, 1]))
            first = int(row.hidden.argmax())
            (_, logits_MV, _), *_ = self._logits(model, [row])
            before = [self.collator.decoder_start_token_id, *row.labels[:first].tolist()]
            expected = None if baseline is None else baseline.distribution(before)
            was_training = model.training
            model.eval()
            with torch.no_grad():
                output = generate(
                    torch.from_numpy(row.input_ids)[None].to(model.device),
                    attention_mask=torch.ones((1, len(row.input_ids)), dtype=torch.long, device=model.device),
                    max_new_tokens=min(len(row.labels) + 8, self.documents.block_size - 1),
                    do_sample=False,
                    num_beams=1,
                    pad_token_id=self.collator.pad_token_id,
                    use_cache=True,
                )
            model.train(was_training)
            samples.append(
                {
                    "prompt": shown(tokenizer, row.input_ids.tolist()),
                    "reference": shown(tokenizer, row.labels.tolist()),
                    "output": shown(tokenizer, output[0, 1:].tolist()),
                    "tokens": likeliest(
                        logits_MV[first], expected, lambda token: _with_marks(str(tokenizer.decode([token])))
                    ),
                }
            )
        spans = "numbered marks" if isinstance(self.denoising, SpanCorruption) else "marks (▁▁▁)"
        return {
            "note": f"Held-out passages with hidden spans ({spans}), what is to be written, and what the model writes.",
            "titles": ["Passage", "The target", "The model, greedy", "First hidden token, likeliest first"],
            "samples": samples,
        }

    def _beginnings(self) -> list[int]:
        """Rows that begin a document and have some length, spread over the split, as many as the config wants."""
        begins_R = np.isin(self.documents.starts_R - 1, self.documents.document_starts_D)
        candidates = np.flatnonzero(begins_R & (self.documents.lengths_R >= PASSAGE_TOKENS // 2))
        candidates = candidates if len(candidates) else np.flatnonzero(begins_R)
        count = min(self.config.samples, len(candidates))
        return candidates[np.linspace(0, len(candidates) - 1, count, dtype=int)].tolist()

    def _segments(self, rows: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Targets end to end, each after the token that the decoder starts with, and where each begins."""
        parts = [np.concatenate(([self.collator.decoder_start_token_id], row)) for row in rows]
        lengths = np.array([len(part) for part in parts])
        return np.concatenate(parts), np.cumsum(lengths) - lengths

    def _logits(
        self, model: "PreTrainedModel", rows: Iterable[Damaged]
    ) -> Iterator[tuple[list[Damaged], "torch.Tensor", "torch.Tensor"]]:
        """(rows, logits (M, V), labels (M,)) of the M targets of each batch, row by row, without gradient."""
        import torch

        was_training = model.training
        model.eval()
        waiting = iter(rows)
        while batch := list(islice(waiting, self.batch_size)):
            collated = self.collator([row._asdict() for row in batch])
            tensors = {name: tensor.to(model.device) for name, tensor in collated.items()}
            with torch.no_grad():
                logits_BTV = self.objective.logits(model, tensors)
            supervised_BT = tensors["labels"] != IGNORE_INDEX
            yield batch, logits_BTV[supervised_BT], tensors["labels"][supervised_BT]
        model.train(was_training)


def _without_targets(row: Damaged) -> Damaged:
    return row._replace(labels=np.full_like(row.labels, IGNORE_INDEX), hidden=row.hidden[:0])


def target_metrics(every: Sequence[float], hidden: Sequence[float]) -> dict[str, float]:
    """loss (nats per target token), bits_per_token, perplexity, accuracy, hidden_loss, hidden_accuracy and tokens.

    Args:
        every: nats, hits and number of all targets.
        hidden: the same of the targets that are hidden text.
    """
    of_hidden = token_metrics(*hidden)
    return token_metrics(*every) | {f"hidden_{name}": of_hidden[name] for name in ("loss", "accuracy")}


def likeliest_tokens(model: KneserNeyModel, tokens_N: np.ndarray, starts_S: np.ndarray) -> np.ndarray:
    """The likeliest token of every position given those before it in its segment, int64 (N,); -1 at segment starts."""
    known: dict[bytes, int] = {}
    guesses_N = np.full(len(tokens_N), -1)
    for start, end in zip(starts_S, np.append(starts_S[1:], len(tokens_N)), strict=True):
        for place in range(start + 1, end):
            context = tokens_N[max(start, place - model.order + 1) : place]
            key = context.tobytes()
            if key not in known:
                known[key] = int(model.distribution(context.tolist()).argmax())
            guesses_N[place] = known[key]
    return guesses_N


def shown(tokenizer: "PreTrainedTokenizerBase", ids: list[int]) -> str:
    """Text of tokens without those that frame it; sentinels and mask tokens as marks."""
    frame = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id}
    frame.add(tokenizer.pad_token_id)
    text = _with_marks(str(tokenizer.decode([token for token in ids if token not in frame])))
    return (text if tokenizer.mask_token is None else text.replace(tokenizer.mask_token, " ▁▁▁")).strip()


def _with_marks(text: str) -> str:
    """T5's sentinels as numbered marks."""
    return SENTINEL.sub(lambda found: f" ▁{int(found[1]) + 1}▁", text)
