"""Sentences for contrastive training: parts of documents, one a row, and batches that hold each of them twice.

Shape legend: S sentences, B sentences of a batch, T positions of a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.data.collation import pad
from pipelines.data.framing import document_frame, frame_texts
from pipelines.data.order import RowShape, TrainingOrder, padded_shape
from pipelines.data.packing import PackedDocuments
from pipelines.data.receipt import sentence_receipt
from pipelines.errors import ConfigError, DataError

if TYPE_CHECKING:
    import torch

    from pipelines.data.tokenization import TokenizedCorpus

FILLER = -1  # sentence_id of a row that is no sentence


@dataclass(frozen=True, kw_only=True)
class Sentences(PackedDocuments):
    """Packed documents whose blocks are sentences: block s is sentence s, with one target, itself.

    A document of n text tokens is cut into ceil(n / (block_size - 2)) parts of nearly equal length; a part that has at
    least min_tokens is a sentence, and stands between the tokens that a document begins and ends with.

    Attributes:
        frame: the tokens that a sentence begins and ends with.
        begins_S, ends_S: int64, where the text of each sentence begins and ends in tokens_N.
        left_out: parts with fewer than min_tokens, and the tokens in them.
    """

    frame: tuple[int, int]
    begins_S: np.ndarray
    ends_S: np.ndarray
    left_out: tuple[int, int]

    @classmethod
    def of(cls, documents: PackedDocuments, frame: tuple[int, int], min_tokens: int) -> "Sentences":
        """Cuts documents into sentences.

        Raises:
            ConfigError: no sentence of block_size positions can have min_tokens.
        """
        room = documents.block_size - 2
        if min_tokens > room:
            raise ConfigError(
                f"data.min_tokens is {min_tokens}, but with a data.block_size of {documents.block_size} a sentence has "
                f"at most {max(room, 0)} tokens of text, since two mark its begin and end. Lower it."
            )
        starts_D = documents.document_starts_D + 1
        lengths_D = np.diff(documents.document_starts_D, append=len(documents.tokens_N)) - 2
        parts_D = -(-lengths_D // room)
        document_S = np.repeat(np.arange(len(starts_D)), parts_D)
        part_S = np.arange(len(document_S)) - np.repeat(np.cumsum(parts_D) - parts_D, parts_D)
        begins_S, ends_S = (
            starts_D[document_S] + lengths_D[document_S] * part // parts_D[document_S] for part in (part_S, part_S + 1)
        )
        lengths_S = ends_S - begins_S
        kept_S = lengths_S >= min_tokens
        return cls(
            **{field.name: getattr(documents, field.name) for field in fields(PackedDocuments)},
            frame=frame,
            begins_S=begins_S[kept_S],
            ends_S=ends_S[kept_S],
            left_out=(int((~kept_S).sum()), int(lengths_S[~kept_S].sum())),
        )

    def __len__(self) -> int:
        return len(self.begins_S)

    @property
    def targets(self) -> int:
        """Every sentence is a target once."""
        return len(self)

    def targets_per_block(self) -> np.ndarray:
        """One for each sentence, int64."""
        return np.ones(len(self), dtype=np.int64)

    def block(self, index: int) -> dict[str, np.ndarray]:
        """Sentence `index`: input_ids, int64, and sentence_id, which only sentences of equal tokens share."""
        import xxhash

        input_ids_T = framed(self.tokens_N[self.begins_S[index] : self.ends_S[index]], self.frame)
        sentence_id = xxhash.xxh3_64_intdigest(input_ids_T.tobytes()) >> 1
        return {"input_ids": input_ids_T, "sentence_id": np.array(sentence_id, dtype=np.int64)}

    def row_shape(self, order: TrainingOrder, rows: int, batch_size: int) -> RowShape:
        """Exact for the first epoch of a run, or for the whole run if it is shorter."""
        lengths_R = self.ends_S - self.begins_S + len(self.frame)
        return padded_shape(order, rows, batch_size, lengths_R)

    def filler(self) -> dict[str, np.ndarray]:
        """A row that is no sentence: fills the last step of a run, and is nobody's negative."""
        return {"input_ids": np.array(self.frame, dtype=np.int64), "sentence_id": np.array(FILLER, dtype=np.int64)}


def framed(tokens: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """Tokens of text between the tokens that a document begins and ends with, int64."""
    return np.concatenate(([frame[0]], tokens, [frame[1]])).astype(np.int64)


def cut_sentences(text: "TokenizedCorpus", min_tokens: int) -> "TokenizedCorpus":
    """A corpus whose blocks are sentences, with the receipt of its cutting; its tokenizer now frames texts like them.

    Raises:
        ConfigError: see `Sentences.of`.
        DataError: the training split has fewer than two sentences.
    """
    frame, receipt = document_frame(text.tokenizer), dict(text.receipt)
    train, validation = (Sentences.of(split, frame, min_tokens) for split in (text.train, text.validation))
    if len(train) < 2:
        raise DataError(
            f"The training split has {len(train)} sentences of at least {min_tokens} tokens; contrastive training "
            "needs two. Set a smaller --data.min_tokens, or give more text."
        )
    for name, split in (("train", train), ("validation", validation)):
        kept, text_tokens = int((split.ends_S - split.begins_S).sum()), receipt[name]["tokens"]["text_tokens"]
        receipt[name] = receipt[name] | {"blocks": sentence_receipt(text_tokens, len(split), kept, split.left_out)}
    frame_texts(text.tokenizer)
    text.tokenizer.model_max_length = train.block_size
    return replace(text, train=train, validation=validation, receipt=receipt)


def halves(documents: PackedDocuments, frame: tuple[int, int], min_tokens: int, count: int) -> list[list[np.ndarray]]:
    """The two halves of the beginnings of documents, as framed tokens.

    Of a document, as much is taken as two sentences hold; the halves are equally long, or the second is longer by one.

    Args:
        documents: a split.
        frame: see `Sentences`.
        min_tokens: fewest tokens of text in a half.
        count: documents, evenly spread over those that are long enough.

    Returns:
        [first halves, second halves].
    """
    room = 2 * (documents.block_size - 2)
    starts_D = documents.document_starts_D + 1
    lengths_D = np.minimum(np.diff(documents.document_starts_D, append=len(documents.tokens_N)) - 2, room)
    candidates = np.flatnonzero(lengths_D >= 2 * min_tokens)
    picks = candidates[np.linspace(0, len(candidates) - 1, min(count, len(candidates)), dtype=int)]
    sides: list[list[np.ndarray]] = [[], []]
    for begin, length in zip(starts_D[picks], lengths_D[picks], strict=True):
        middle = begin + length // 2
        sides[0].append(framed(documents.tokens_N[begin:middle], frame))
        sides[1].append(framed(documents.tokens_N[middle : begin + length], frame))
    return sides


@dataclass(frozen=True)
class TwoViews:
    """Collates B sentences into 2B rows, all of them and then all of them again, which dropout will tell apart."""

    pad_token_id: int

    def __call__(self, rows: Sequence[dict[str, np.ndarray]]) -> dict[str, "torch.Tensor"]:
        """input_ids and attention_mask (2B, T), and sentence_id (B,)."""
        import torch

        ids_B = torch.from_numpy(np.stack([row["sentence_id"] for row in rows]))
        return pad([row["input_ids"] for row in rows] * 2, self.pad_token_id) | {"sentence_id": ids_B}
