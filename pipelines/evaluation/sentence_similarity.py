"""Sentence embeddings beside people's scores of similarity, and on finding the other half of a held-out document.

Shape legend: N texts, P pairs, R of these at once, H numbers of an embedding.
"""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.collation import pad
from pipelines.data.sentence_pairs import ScoredPairs, read_scored_pairs
from pipelines.data.sentences import Sentences, framed, halves
from pipelines.errors import DataError
from pipelines.models.pooling import Pooling
from pipelines.models.sharded import share_of_process

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipelines.sections import SentenceSimilarityEvaluationConfig
    from pipelines.training.contrastive import Contrastive

ROWS_AT_ONCE = 1_000  # rows of a matrix of cosines that exist at one time
TIE = 1e-6  # cosines as near as this are equal: batches of other sizes move one by some 1e-7 (measured)
POSITIVE_SHARE = 0.8  # of the highest score: 4 of 5, as Gao, Yao and Chen (2021, section 6) take STS-B's positives
TFIDF_DOCUMENTS = 20_000  # training documents, evenly spread, that the TF-IDF baseline is fitted on at most


@dataclass(frozen=True)
class TextPairs:
    """Pairs of texts: what models read, framed tokens, and what the TF-IDF baseline reads."""

    tokens: list[np.ndarray]
    """The first of each pair, then the second of each."""
    texts: list[str]
    """The same."""
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """Similarity as people see it, fp64 (P,), if anybody has said."""
    truncated: int = 0
    """Texts of which the end was cut off."""


@dataclass(frozen=True)
class Start:
    """Unit vectors (N, H) of all texts before training: by the model, and as the mean of its token vectors."""

    embeddings: np.ndarray
    token_vectors: np.ndarray


class SentenceSimilarity:
    """Scores sentence encoders on pairs of texts, in fp32: no figure depends on batch size or processes.

    Figures of retrieval compare between models with the same tokenizer, block size and number of documents.

    Args:
        documents: held-out documents.
        min_tokens: fewest tokens in half a document.
        tokenizer: of the model.
        pooling: makes the embeddings.
        temperature: divides the cosines in the loss.
        batch_size: texts computed at once.
        config: the evaluation section.

    Raises:
        ConfigError, DataError: see `read_scored_pairs`; fewer than two documents have two halves.
    """

    def __init__(
        self,
        documents: Sentences,
        min_tokens: int,
        tokenizer: "PreTrainedTokenizerBase",
        pooling: Pooling,
        temperature: float,
        batch_size: int,
        config: "SentenceSimilarityEvaluationConfig",
    ) -> None:
        self.pooling, self.temperature, self.batch_size, self.config = pooling, temperature, batch_size, config
        self.pad_token_id = documents.pad_token_id
        first, second = halves(documents, documents.frame, min_tokens, config.retrieval_documents)
        if len(first) < 2:
            raise DataError(
                f"{len(first)} held-out documents have two halves of at least {min_tokens} tokens; retrieval needs "
                "two. Hold out more text (--data.validation_share), or set a smaller --data.min_tokens."
            )
        self.halves = TextPairs(first + second, tokenizer.batch_decode([row[1:-1].tolist() for row in first + second]))
        self.scored = None
        if config.sts_files is not None:
            pairs = read_scored_pairs(config.sts_files, config.sts_columns)
            self.scored = tokenize_pairs(pairs, tokenizer, documents.frame, documents.block_size)
        self.embeddings = np.zeros((0, 0))
        """Unit vectors of the last evaluation."""

    @property
    def tokens(self) -> list[np.ndarray]:
        """All texts: the halves, then the scored pairs."""
        return self.halves.tokens + (self.scored.tokens if self.scored else [])

    def evaluate(self, model: "PreTrainedModel") -> dict[str, float]:
        """Scores of a model; see `scores`. Collective: every process computes its share of the embeddings.

        Returns:
            eval_<score>, and eval_seconds.
        """
        started = time.perf_counter()
        self.embeddings = self.embed(model)
        scores = self.scores(self.embeddings) | {"seconds": time.perf_counter() - started}
        return {f"eval_{name}": value for name, value in scores.items()}

    def evaluate_few(self, model: "PreTrainedModel", objective: "Contrastive", batch_size: int) -> dict[str, float]:
        """The same of four pairs of halves, with another objective: for the proof `evaluation`."""
        few, pairs = copy.copy(self), len(self.halves.tokens) // 2
        kept = [*range(min(4, pairs)), *range(pairs, pairs + min(4, pairs))]
        few.halves = TextPairs([self.halves.tokens[one] for one in kept], [self.halves.texts[one] for one in kept])
        few.pooling, few.batch_size, few.scored = objective.pooling, batch_size, None
        return few.evaluate(model)

    def embed(self, model: "PreTrainedModel") -> np.ndarray:
        """Unit vectors of all texts, fp64 (N, H), computed in fp32."""
        import torch
        from accelerate import PartialState

        state, tokens, was_training = PartialState(), self.tokens, model.training
        by_length = sorted(range(len(tokens)), key=lambda place: -len(tokens[place]))
        batches = [by_length[start : start + self.batch_size] for start in range(0, len(tokens), self.batch_size)]
        vectors_NH = torch.zeros(len(tokens), model.config.hidden_size, device=model.device)
        model.eval()
        with torch.no_grad():
            for places, counts in share_of_process(batches, model):
                batch = pad([tokens[place] for place in places], self.pad_token_id)
                batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
                pooled_BH = self.pooling(model, batch)
                if counts:
                    vectors_NH[places] = pooled_BH
        model.train(was_training)
        if state.num_processes > 1:
            vectors_NH = vectors_NH.to(state.device)  # where a small copy of the model need not be
            torch.distributed.all_reduce(vectors_NH)
        return unit(vectors_NH.cpu().numpy())

    def start(self, model: "PreTrainedModel") -> Start:
        """What the run starts from; collective."""
        table: Any = model.get_input_embeddings()
        table_VH = table.weight.detach().float().cpu().numpy()
        means = [
            table_VH[row[1:-1]].mean(axis=0) if len(row) > 2 else table_VH[row].mean(axis=0) for row in self.tokens
        ]
        return Start(self.embed(model), unit(np.stack(means)))

    def scores(self, vectors_NH: np.ndarray) -> dict[str, float]:
        """All scores of embeddings, of length 1.

        Returns:
            loss: -ln of the softmax, over all second halves, that a first half gives its own, at the temperature; mean
            in nats. retrieval_accuracy, retrieval_mrr, alignment, uniformity: of the halves. With scored pairs, see
            `similarity_scores`, also sts_alignment, over the pairs of at least POSITIVE_SHARE of the highest score,
            and sts_uniformity.
        """
        size = len(self.halves.tokens)
        first_PH, second_PH = np.split(vectors_NH[:size], 2)
        found = retrieval_scores(lambda rows: first_PH[rows] @ second_PH.T, len(first_PH), self.temperature)
        found["alignment"] = alignment(first_PH, second_PH)
        found["uniformity"] = uniformity(vectors_NH[:size][_distinct(self.halves.texts)])
        if self.scored is not None:
            scored_NH = vectors_NH[size:]
            left_PH, right_PH = np.split(scored_NH, 2)
            found |= similarity_scores((left_PH * right_PH).sum(axis=1), self.scored.scores)
            positive_P = self.scored.scores >= POSITIVE_SHARE * self.scored.scores.max()
            if positive_P.any():
                found["sts_alignment"] = alignment(left_PH[positive_P], right_PH[positive_P])
            found["sts_uniformity"] = uniformity(scored_NH[_distinct(self.scored.texts)])
        return found

    def counts(self) -> dict[str, float]:
        """eval_retrieval_documents; with scored pairs also eval_sts_pairs and eval_sts_texts_truncated."""
        counts: dict[str, float] = {"eval_retrieval_documents": len(self.halves.tokens) // 2}
        if self.scored is not None:
            counts |= {"eval_sts_pairs": len(self.scored.tokens) // 2}
            counts |= {"eval_sts_texts_truncated": self.scored.truncated}
        return counts

    def baselines(self, start: Start, train: "Dataset") -> dict[str, float]:
        """The same scores of what is no trained sentence encoder; nothing if the config wants none.

        Args:
            start: of the model before training.
            train: documents with a column `text`.

        Returns:
            baseline_start_<score>: the model before training. baseline_token_vectors_<score>: the mean of its token
            vectors. baseline_tfidf_<score>: TF-IDF of words, without those of its scores that are about embeddings.
        """
        if not self.config.baselines:
            return {}
        scores = {
            "start": self.scores(start.embeddings),
            "token_vectors": self.scores(start.token_vectors),
            "tfidf": self._tfidf(train),
        }
        return {f"baseline_{name}_{metric}": value for name, of in scores.items() for metric, value in of.items()}

    def _tfidf(self, train: "Dataset") -> dict[str, float]:
        from sklearn.feature_extraction.text import TfidfVectorizer

        picks = np.linspace(0, len(train) - 1, min(len(train), TFIDF_DOCUMENTS), dtype=int)
        vectorizer = TfidfVectorizer(token_pattern=r"\w+").fit(train.select(picks)["text"])

        def sides(texts: list[str]) -> list[Any]:
            vectors = vectorizer.transform(texts)
            return [vectors[: len(texts) // 2], vectors[len(texts) // 2 :]]

        first, second = sides(self.halves.texts)
        found = retrieval_scores(lambda rows: (first[rows] @ second.T).toarray(), first.shape[0], self.temperature)
        del found["loss"]  # the temperature was not chosen for these cosines
        if self.scored is not None:
            left, right = sides(self.scored.texts)
            found |= similarity_scores(np.asarray(left.multiply(right).sum(axis=1)).ravel(), self.scored.scores)
        return found

    def samples(self, start: Start) -> dict[str, Any]:
        """Held-out sentences with their nearest neighbours among all halves, before and after training.

        Returns:
            Content of samples.json: note, titles, and for each sentence prompt, reference and output.
        """
        texts, samples = self.halves.texts, []
        for place in np.linspace(0, len(texts) // 2 - 1, min(self.config.samples, len(texts) // 2), dtype=int):
            nearest = []
            for vectors_NH in (start.embeddings, self.embeddings):
                cosines_N = vectors_NH[: len(texts)] @ vectors_NH[place]
                cosines_N[place] = -np.inf
                best = int(cosines_N.argmax())
                nearest.append(f"{texts[best]}\n(cosine {cosines_N[best]:.3f})")
            samples.append({"prompt": texts[place], "reference": nearest[0], "output": nearest[1], "tokens": []})
        return {
            "note": f"Held-out passages, and the nearest of {len(texts) - 1:,} others before and after training.",
            "titles": ["Passage", "Nearest before training", "Nearest after training", ""],
            "samples": samples,
        }


def tokenize_pairs(
    pairs: ScoredPairs, tokenizer: "PreTrainedTokenizerBase", frame: tuple[int, int], block_size: int
) -> TextPairs:
    """Scored pairs as framed tokens, at most block_size each."""
    texts = pairs.left + pairs.right
    encoded = tokenizer(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    tokens = [framed(np.array(ids[: block_size - 2], dtype=np.int64), frame) for ids in encoded]
    truncated = sum(len(ids) > block_size - 2 for ids in encoded)
    return TextPairs(tokens, texts, np.array(pairs.scores), truncated)


# ---------------------------------------------------------------- scores


def unit(vectors_NH: np.ndarray) -> np.ndarray:
    """Vectors of length 1, fp64; one of length 0 stays."""
    lengths_N1 = np.linalg.norm(vectors_NH.astype(np.float64), axis=1, keepdims=True)
    return vectors_NH / np.where(lengths_N1 == 0, 1, lengths_N1)


def retrieval_scores(cosines: Callable[[slice], np.ndarray], pairs: int, temperature: float) -> dict[str, float]:
    """How well the first of each pair finds its second among the seconds of all pairs.

    Candidates that are as near (TIE) share their ranks: a model for which all are equal has accuracy 1 / pairs.

    Args:
        cosines: given a slice of the pairs, the cosines (R, P) of their firsts with the seconds of all.
        pairs: their number.
        temperature: divides the cosines in the loss.

    Returns:
        loss: mean -ln softmax of the own one. retrieval_accuracy: share whose nearest is their own. retrieval_mrr: mean
        of 1 / rank of the own one.
    """
    from scipy.special import logsumexp

    harmonic = np.concatenate(([0.0], np.cumsum(1 / np.arange(1, pairs + 1))))
    loss = accuracy = reciprocal_rank = 0.0
    for rows in _slices(pairs):
        cosines_RP = cosines(rows)
        places_R = np.arange(rows.start, rows.stop)
        own_R1 = cosines_RP[places_R - rows.start, places_R][:, None]
        nearer_R = (cosines_RP > own_R1 + TIE).sum(axis=1)
        equal_R = (np.abs(cosines_RP - own_R1) <= TIE).sum(axis=1)  # itself among them
        accuracy += float(((nearer_R == 0) / equal_R).sum())
        reciprocal_rank += float(((harmonic[nearer_R + equal_R] - harmonic[nearer_R]) / equal_R).sum())
        loss += float(logsumexp((cosines_RP - own_R1) / temperature, axis=1).sum())
    return {
        "loss": loss / pairs,
        "retrieval_accuracy": accuracy / pairs,
        "retrieval_mrr": reciprocal_rank / pairs,
    }


def similarity_scores(cosines_P: np.ndarray, scores_P: np.ndarray) -> dict[str, float]:
    """spearman (ties at their mean rank) and pearson of cosines and scores; nothing if all cosines are equal."""
    from scipy.stats import pearsonr, spearmanr

    if np.ptp(cosines_P) == 0:
        return {}
    return {
        "spearman": float(spearmanr(cosines_P, scores_P).statistic),
        "pearson": float(pearsonr(cosines_P, scores_P).statistic),
    }


def alignment(left_PH: np.ndarray, right_PH: np.ndarray) -> float:
    """Mean squared distance of the two of a pair, 0 at best (Wang and Isola 2020, section 4, with alpha = 2)."""
    return float(((left_PH - right_PH) ** 2).sum(axis=1).mean())


def uniformity(vectors_NH: np.ndarray) -> float:
    """Log of the mean of exp(-2 squared distance) over all pairs of vectors, the lower the better (the same, t = 2)."""
    count, total = len(vectors_NH), 0.0
    for rows in _slices(count):
        cosines_RN = vectors_NH[rows] @ vectors_NH.T
        total += float(np.triu(np.exp(-4 * (1 - cosines_RN)), k=rows.start + 1).sum())
    return float(np.log(total / (count * (count - 1) / 2))) if count > 1 else 0.0


def _slices(count: int) -> Iterator[slice]:
    for start in range(0, count, ROWS_AT_ONCE):
        yield slice(start, min(start + ROWS_AT_ONCE, count))


def _distinct(texts: Sequence[str]) -> list[int]:
    """Where each distinct text stands first."""
    return list({text: place for place, text in reversed(list(enumerate(texts)))}.values())
