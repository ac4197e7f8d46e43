"""Denoising: what an encoder-decoder reads of a damaged text, and what it is to write.

Shape legend: N text tokens of a row, M of them hidden, S spans, R rows.
"""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipelines.data.framing import document_frame, frame_of, frame_texts
from pipelines.data.packing import PackedDocuments, TrainingBlocks
from pipelines.data.tokenizer_training import MASK, sentinels
from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipelines.sections import DenoisingConfig

SPAN_CORRUPTION, TEXT_INFILLING = "span_corruption", "text_infilling"
NOISE_DENSITY = {
    SPAN_CORRUPTION: 0.15,
    TEXT_INFILLING: 0.3,
}  # Raffel et al. 2020, section 3.1.4; Lewis et al. 2020, 5.1
SENTINELS = 100  # of a trained tokenizer, as T5's has
SENTINEL = re.compile(r"<extra_id_(\d+)>")
SHORTEST_TEXT = 2  # tokens that a text needs so that something is hidden and something is left


class Damaged(NamedTuple):
    """One damaged text.

    Attributes:
        input_ids: int64, what the encoder reads.
        labels: int64, what the decoder is to write; ends with EOS.
        hidden: bool, which labels are text tokens that the encoder does not see.
    """

    input_ids: np.ndarray
    labels: np.ndarray
    hidden: np.ndarray


@dataclass(frozen=True)
class Denoising(ABC):
    """Rows of denoising: spans of a text are hidden behind one marker each, the tokens between stay as they are.

    Of N text tokens, N x noise_density are hidden, rounded, at least one and not all, in one span for every
    mean_noise_span_length of them, rounded, at least one. So lengths depend on N alone, and chance on the generator.

    Attributes:
        noise_density: share of the text tokens that are hidden.
        mean_noise_span_length: tokens of a span, on average.
        prefix, suffix: what the tokenizer puts before and after a text; the suffix ends with EOS. The encoder's input
            has them, so that texts are framed alike in pretraining and fine-tuning.
    """

    noise_density: float
    mean_noise_span_length: float
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]

    @abstractmethod
    def spans(self, length: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Where the hidden spans of a text of `length` tokens begin, rising, and their lengths, int64 (S,) each."""

    @abstractmethod
    def apply(self, text_N: np.ndarray, starts_S: np.ndarray, lengths_S: np.ndarray) -> Damaged:
        """A text with the given spans hidden."""

    @abstractmethod
    def target_lengths(self, lengths_R: np.ndarray) -> np.ndarray:
        """Labels of texts of the given lengths (at least SHORTEST_TEXT), int64 (R,)."""

    def counts(self, lengths_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Hidden tokens and spans of texts of the given lengths (at least SHORTEST_TEXT), int64 (R,) each."""
        hidden_R = np.clip(np.rint(lengths_R * self.noise_density).astype(np.int64), 1, lengths_R - 1)
        spans_R = np.maximum(np.rint(hidden_R / self.mean_noise_span_length).astype(np.int64), 1)
        return hidden_R, spans_R

    def input_lengths(self, lengths_R: np.ndarray) -> np.ndarray:
        """Encoder inputs of texts of the given lengths (at least SHORTEST_TEXT), int64 (R,)."""
        hidden_R, spans_R = self.counts(lengths_R)
        return len(self.prefix) + lengths_R - hidden_R + spans_R + len(self.suffix)

    def longest_text(self, block_size: int) -> int:
        """Text tokens that a row of block_size positions has room for: whole in the encoder, and as labels.

        Raises:
            ConfigError: less than SHORTEST_TEXT.
        """
        frame = len(self.prefix) + len(self.suffix)
        lengths = np.arange(SHORTEST_TEXT, block_size - frame + 1)
        too_long = np.flatnonzero(self.target_lengths(lengths) > block_size) if len(lengths) else lengths
        room = int(lengths[too_long[0]]) - 1 if len(too_long) else block_size - frame
        if room < SHORTEST_TEXT:
            raise ConfigError(
                f"data.block_size is {block_size}, which has no room for a text of {SHORTEST_TEXT} tokens and the "
                f"special tokens around it. Set a larger --data.block_size, such as 256."
            )
        return room

    def damage(self, text_N: np.ndarray, generator: np.random.Generator) -> Damaged:
        """A text with spans hidden at random."""
        return self.apply(text_N, *self.spans(len(text_N), generator))

    def row(self, documents: PackedDocuments, index: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """Row `index` of DocumentRows with spans hidden at random: input_ids and labels, int64, each of its length."""
        damaged = self.damage(documents.block(index)["input_ids"], generator)
        return {"input_ids": damaged.input_ids, "labels": damaged.labels}

    def filler(self, documents: PackedDocuments) -> dict[str, np.ndarray]:
        """A row without targets."""
        return documents.filler()

    def row_targets(self, documents: PackedDocuments, blocks: np.ndarray) -> np.ndarray:
        """Labels of the given rows, int64."""
        return documents.targets_per_block()[blocks]

    def targets(self, run: TrainingBlocks) -> int:
        """Labels of all rows of a run."""
        return run.targets_of_blocks()

    def _inputs(
        self, text_N: np.ndarray, starts_S: np.ndarray, lengths_S: np.ndarray, markers_S: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(encoder input, which text tokens are hidden (N,), hidden tokens before each span (S,))."""
        before_S = np.cumsum(lengths_S) - lengths_S
        hidden_N = np.zeros(len(text_N), dtype=bool)
        hidden_N[np.repeat(starts_S - before_S, lengths_S) + np.arange(lengths_S.sum())] = True
        damaged = np.insert(text_N[~hidden_N], starts_S - before_S, markers_S)
        return np.concatenate((self.prefix, damaged, self.suffix)).astype(np.int64), hidden_N, before_S


@dataclass(frozen=True)
class SpanCorruption(Denoising):
    """T5's denoising (Raffel et al. 2020, section 3.1.4): each span has a sentinel of its own, and the labels are the
    sentinels, each followed by what it stands for, and EOS.

    Spans do not touch, and every such choice of spans is equally likely. (T5's own code always hides the last token and
    never the first.)

    Attributes:
        sentinel_ids: <extra_id_0>, <extra_id_1>, ..., as many as the longest row needs.
    """

    sentinel_ids: tuple[int, ...]

    def counts(self, lengths_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hidden_R, spans_R = super().counts(lengths_R)
        return hidden_R, np.minimum(spans_R, lengths_R - hidden_R + 1)  # between two spans stands a token

    def spans(self, length: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        hidden, spans = map(int, self.counts(np.array(length)))
        lengths_S = _composition(hidden, spans, generator)
        gaps = _composition(length - hidden + 2, spans + 1, generator)  # the two at the ends may be empty
        starts_S = np.cumsum(gaps[:-1]) - 1 + np.cumsum(lengths_S) - lengths_S
        return starts_S, lengths_S

    def apply(self, text_N: np.ndarray, starts_S: np.ndarray, lengths_S: np.ndarray) -> Damaged:
        sentinels_S = np.array(self.sentinel_ids[: len(starts_S)])
        input_ids, hidden_N, before_S = self._inputs(text_N, starts_S, lengths_S, sentinels_S)
        labels = np.append(np.insert(text_N[hidden_N], before_S, sentinels_S), self.suffix[-1]).astype(np.int64)
        hidden = np.append(np.insert(np.ones(int(hidden_N.sum()), dtype=bool), before_S, False), False)
        return Damaged(input_ids, labels, hidden)

    def target_lengths(self, lengths_R: np.ndarray) -> np.ndarray:
        hidden_R, spans_R = self.counts(lengths_R)
        return hidden_R + spans_R + 1


@dataclass(frozen=True)
class TextInfilling(Denoising):
    """BART's denoising (Lewis et al. 2020, section 2.2): each span is replaced by one mask token, a span of no token
    inserts one, and the labels are the whole text as the tokenizer frames it.

    The lengths of the spans are independent Poisson numbers, given that they add up to the tokens to be hidden:
    a multinomial draw. Spans may lie side by side.

    Attributes:
        mask_token_id: the mask token.
    """

    mask_token_id: int

    def spans(self, length: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        hidden, spans = map(int, self.counts(np.array(length)))
        lengths_S = generator.multinomial(hidden, np.full(spans, 1 / spans))
        places_S = np.sort(generator.choice(length - hidden + spans, spans, replace=False))  # in the damaged text
        starts_S = places_S - np.arange(spans) + np.cumsum(lengths_S) - lengths_S
        return starts_S, lengths_S

    def apply(self, text_N: np.ndarray, starts_S: np.ndarray, lengths_S: np.ndarray) -> Damaged:
        input_ids, hidden_N, _ = self._inputs(text_N, starts_S, lengths_S, np.full(len(starts_S), self.mask_token_id))
        labels = np.concatenate((self.prefix, text_N, self.suffix)).astype(np.int64)
        hidden = np.zeros(len(labels), dtype=bool)
        hidden[len(self.prefix) : len(self.prefix) + len(text_N)] = hidden_N
        return Damaged(input_ids, labels, hidden)

    def target_lengths(self, lengths_R: np.ndarray) -> np.ndarray:
        return len(self.prefix) + lengths_R + len(self.suffix)


def special_tokens(config: "DenoisingConfig", block_size: int) -> list[str]:
    """The special tokens that a tokenizer trained for this denoising needs."""
    if config.method == TEXT_INFILLING:
        return [MASK]
    return sentinels(max(SENTINELS, _spans_of(config, block_size)))


def make_denoising(config: "DenoisingConfig", tokenizer: "PreTrainedTokenizerBase", block_size: int) -> Denoising:
    """The denoising that a config section asks for.

    Args:
        config: the denoising section.
        tokenizer: has a mask token or sentinels. If it does not end texts with EOS, from here on it frames each like a
            document.
        block_size: positions of the longest row.

    Raises:
        ConfigError: the tokenizer lacks the mask token or some sentinels.
    """
    if frame_of(tokenizer)[1][-1:] != (document_frame(tokenizer)[1],):
        frame_texts(tokenizer)
        tokenizer.model_max_length = block_size
    shared = (_density(config), config.mean_noise_span_length, *frame_of(tokenizer))
    if config.method == TEXT_INFILLING:
        if tokenizer.mask_token_id is None:
            raise ConfigError(
                "denoising.method is text_infilling, but this tokenizer has no mask token. Train one with "
                "--tokenizer.vocab_size, name one such as BART's with --tokenizer.name, or set --denoising.method "
                "span_corruption for a tokenizer with T5's sentinels (<extra_id_0>)."
            )
        return TextInfilling(*shared, mask_token_id=tokenizer.mask_token_id)
    vocabulary, needed = tokenizer.get_vocab(), _spans_of(config, block_size)
    names = sentinels(needed)
    missing = next((name for name in names if name not in vocabulary), None)
    if missing == names[0]:
        raise ConfigError(
            "denoising.method is span_corruption, but this tokenizer has no sentinels (<extra_id_0>, <extra_id_1>, "
            "...). Train one with --tokenizer.vocab_size, name one such as T5's with --tokenizer.name, or set "
            "--denoising.method text_infilling for a tokenizer with a mask token."
        )
    if missing is not None:
        raise ConfigError(
            f"A row of {block_size} tokens may have {needed} hidden spans, each of which needs a sentinel of its own, "
            f"but this tokenizer has no {missing}. Set a smaller --data.block_size, a lower "
            "--denoising.noise_density or a longer --denoising.mean_noise_span_length."
        )
    return SpanCorruption(*shared, sentinel_ids=tuple(vocabulary[name] for name in names))


def _density(config: "DenoisingConfig") -> float:
    return NOISE_DENSITY[config.method] if config.noise_density is None else config.noise_density


def _spans_of(config: "DenoisingConfig", block_size: int) -> int:
    """The most spans that a row of block_size tokens or less can have."""
    denoising = SpanCorruption(_density(config), config.mean_noise_span_length, (), (), sentinel_ids=())
    return int(denoising.counts(np.arange(SHORTEST_TEXT, max(block_size, SHORTEST_TEXT) + 1))[1].max())


def _composition(total: int, parts: int, generator: np.random.Generator) -> np.ndarray:
    """`total` as a sum of `parts` positive numbers, int64 (parts,), every such sum equally likely."""
    cuts = np.sort(generator.choice(total - 1, parts - 1, replace=False)) + 1
    return np.diff(np.concatenate(([0], cuts, [total]))).astype(np.int64)
