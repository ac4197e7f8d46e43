"""Masked language modeling: which tokens of a block are to be predicted, and what the model sees in their place.

Shape legend: T positions of a block.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.data.packing import IGNORE_INDEX, PackedDocuments, TrainingBlocks
from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipelines.sections import MaskingConfig


@dataclass(frozen=True)
class Masking:
    """Rows of masked language modeling (Devlin et al. 2019, section 3.1).

    Of the text positions of a block (not the first and last token of a document, not padding, not unknown text), a
    share of `mlm_probability` is chosen, rounded, at least one; so blocks of equally much text have equally many
    targets, unless whole words decide. A chosen token is replaced by the mask token, or by any token that is not
    special, or stays.

    Attributes:
        mlm_probability: share of the text positions that are predicted.
        mask_replace_prob: share of these that the mask token replaces.
        random_replace_prob: share of these that a random token replaces; the rest stays as it is.
        whole_word_mask: choose words, not tokens, as long as they fit into the share.
        mask_token_id: the mask token.
        unk_token_id: what an unknown text becomes, or None; it is not worth predicting.
        random_token_ids: int64, what a random token is drawn from.
    """

    mlm_probability: float
    mask_replace_prob: float
    random_replace_prob: float
    whole_word_mask: bool
    mask_token_id: int
    unk_token_id: int | None
    random_token_ids: np.ndarray

    @classmethod
    def of(cls, config: "MaskingConfig", tokenizer: "PreTrainedTokenizerBase") -> "Masking":
        """Masking by a config section.

        Raises:
            ConfigError: the tokenizer has no mask token, or the two shares of replacement are together above 1.
        """
        if config.mask_replace_prob + config.random_replace_prob > 1:
            raise ConfigError(
                f"masking.mask_replace_prob ({config.mask_replace_prob:g}) and masking.random_replace_prob "
                f"({config.random_replace_prob:g}) are together above 1: they are shares of the same tokens. Lower one."
            )
        if tokenizer.mask_token_id is None:
            raise ConfigError(
                "This tokenizer has no mask token, so masked language modeling cannot hide anything from the model. "
                "Train one with --tokenizer.vocab_size, name one of an encoder with --tokenizer.name, or pretrain a "
                "decoder with recipes/pretrain_clm.py."
            )
        special = set(tokenizer.all_special_ids)
        ordinary = sorted(set(tokenizer.get_vocab().values()) - special)
        return cls(
            config.mlm_probability,
            config.mask_replace_prob,
            config.random_replace_prob,
            config.whole_word_mask,
            tokenizer.mask_token_id,
            tokenizer.unk_token_id,
            np.array(ordinary, dtype=np.int64),
        )

    def for_evaluation(self, mlm_probability: float) -> "Masking":
        """The same for scoring: every chosen token is masked, token by token, whatever training does."""
        return replace(
            self, mlm_probability=mlm_probability, mask_replace_prob=1.0, random_replace_prob=0.0, whole_word_mask=False
        )

    def maskable(self, documents: PackedDocuments, index: int) -> np.ndarray:
        """Positions of block `index` that may be chosen, bool (T,): text that the tokenizer knows."""
        text_T = documents.text_positions(index)
        if self.unk_token_id is not None:
            first = index * documents.block_size
            tokens = documents.tokens_N[first : first + documents.block_size]
            text_T[: len(tokens)] &= tokens != self.unk_token_id
        return text_T

    def row(self, documents: PackedDocuments, index: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """Block `index` with its mask, as int64 arrays of shape (T,): input_ids, position_ids and labels."""
        block = documents.block(index)
        text = np.flatnonzero(self.maskable(documents, index))
        chosen = self._choose(documents, index, text, generator)
        input_ids_T = block["input_ids"]
        labels_T = np.full_like(input_ids_T, IGNORE_INDEX)
        labels_T[chosen] = input_ids_T[chosen]
        fate = generator.random(len(chosen))
        masked = chosen[fate < self.mask_replace_prob]
        swapped = chosen[(fate >= self.mask_replace_prob) & (fate < self.mask_replace_prob + self.random_replace_prob)]
        input_ids_T[masked] = self.mask_token_id
        input_ids_T[swapped] = generator.choice(self.random_token_ids, len(swapped))
        return {"input_ids": input_ids_T, "position_ids": block["position_ids"], "labels": labels_T}

    def _choose(
        self, documents: PackedDocuments, index: int, text: np.ndarray, generator: np.random.Generator
    ) -> np.ndarray:
        count = self._count(len(text))
        if not self.whole_word_mask:
            return generator.permutation(text)[:count]
        assert documents.word_starts_N is not None, "documents were tokenized without words"
        begins = documents.word_starts_N[text + index * documents.block_size].copy()
        begins[:1] = True
        begins[1:] |= np.diff(text) > 1  # a document ended in between
        words = np.split(text, np.flatnonzero(begins)[1:]) if len(text) else []
        taken: list[np.ndarray] = []
        left = count
        for word in generator.permutation(len(words)):
            if len(words[word]) <= left:
                taken.append(words[word])
                left -= len(words[word])
            if not left:
                break
        return np.concatenate(taken) if taken else text[:0]

    def _count(self, text: int) -> int:
        return max(1, round(self.mlm_probability * text)) if text else 0

    def filler(self, documents: PackedDocuments) -> dict[str, np.ndarray]:
        """A row without targets."""
        block = documents.filler()
        return {"labels" if name == "shift_labels" else name: values for name, values in block.items()}

    def targets(self, run: TrainingBlocks) -> int:
        """Masked positions of all rows of a run: by count, or by masking anew where whole words decide."""
        if self.whole_word_mask:
            rows = (run[place]["labels"] for place in range(run.last_place))
            return sum(int((labels_T != IGNORE_INDEX).sum()) for labels_T in rows)
        return run.targets_of_blocks()

    def row_targets(self, documents: PackedDocuments, blocks: np.ndarray) -> np.ndarray:
        """Masked positions of the rows made of the given blocks, int64, where whole words do not decide."""
        counts = [self._count(int(self.maskable(documents, index).sum())) for index in blocks.tolist()]
        return np.array(counts, dtype=np.int64)
