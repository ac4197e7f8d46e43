"""Documents as rows for an encoder-decoder: each a document or a part of one, in batches of similar length.

Shape legend: N tokens of the stream, D documents, R rows, B rows of a batch, T positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.collation import pad
from pipelines.data.denoising import SHORTEST_TEXT, Denoising
from pipelines.data.order import BucketedOrder, RowShape, TrainingOrder, padded_shape
from pipelines.data.packing import IGNORE_INDEX, PackedDocuments
from pipelines.data.receipt import rows_receipt
from pipelines.data.streaming.documents import StreamedDocuments
from pipelines.errors import DataError

if TYPE_CHECKING:
    import torch

    from pipelines.data.tokenization import TokenizedCorpus


@dataclass(frozen=True, kw_only=True)
class DocumentRows(PackedDocuments):
    """Packed documents whose blocks are rows: the text of one document, or of a part of one, without BOS and EOS.

    A longer document is cut into as few parts as have room in a row, of equal length but for one token. So each text
    token is in exactly one row, or in a part too short to be one.

    Attributes:
        starts_R, lengths_R: int64, where the text of each row begins in tokens_N, and its tokens.
        input_lengths_R, target_lengths_R: int64, positions of the encoder's and the decoder's inputs.
        eos_token_id: what the encoder reads of a row that fills up a step.
        too_short: parts of fewer than SHORTEST_TEXT tokens, and the tokens in them.
        documents_cut: documents of more than one part.
    """

    starts_R: np.ndarray
    lengths_R: np.ndarray
    input_lengths_R: np.ndarray
    target_lengths_R: np.ndarray
    eos_token_id: int
    too_short: tuple[int, int]
    documents_cut: int

    @classmethod
    def of(cls, documents: PackedDocuments, denoising: Denoising) -> "DocumentRows":
        """Cuts documents into rows that a denoising turns into at most block_size positions on either side.

        Raises:
            ConfigError: see `Denoising.longest_text`.
        """
        room = denoising.longest_text(documents.block_size)
        begins_D = documents.document_starts_D + 1
        lengths_D = np.diff(documents.document_starts_D, append=len(documents.tokens_N)) - 2
        parts_D = np.maximum(-(-lengths_D // room), 1)  # a document without tokens is a part that is too short
        document_R = np.repeat(np.arange(len(parts_D)), parts_D)
        part_R = np.arange(len(document_R)) - np.repeat(np.cumsum(parts_D) - parts_D, parts_D)
        starts_R, ends_R = (
            begins_D[document_R] + lengths_D[document_R] * part // parts_D[document_R] for part in (part_R, part_R + 1)
        )
        lengths_R = ends_R - starts_R
        kept_R = lengths_R >= SHORTEST_TEXT
        return cls(
            **{field.name: getattr(documents, field.name) for field in fields(PackedDocuments)},
            starts_R=starts_R[kept_R],
            lengths_R=lengths_R[kept_R],
            input_lengths_R=denoising.input_lengths(lengths_R[kept_R]),
            target_lengths_R=denoising.target_lengths(lengths_R[kept_R]),
            eos_token_id=denoising.suffix[-1],
            too_short=(int((~kept_R).sum()), int(lengths_R[~kept_R].sum())),
            documents_cut=int((parts_D > 1).sum()),
        )

    def __len__(self) -> int:
        return len(self.starts_R)

    @property
    def targets(self) -> int:
        """Labels of all rows."""
        return int(self.target_lengths_R.sum())

    def targets_per_block(self) -> np.ndarray:
        """Labels of each row, int64."""
        return self.target_lengths_R

    def block(self, index: int) -> dict[str, np.ndarray]:
        """The text of row `index`: input_ids, int64."""
        start = self.starts_R[index]
        return {"input_ids": self.tokens_N[start : start + self.lengths_R[index]].astype(np.int64)}

    def filler(self) -> dict[str, np.ndarray]:
        """A row without labels."""
        return {"input_ids": np.array([self.eos_token_id]), "labels": np.empty(0, dtype=np.int64)}

    def order(self, seed: int, rows_per_step: int) -> TrainingOrder:
        """Rows of similar length in one step."""
        return BucketedOrder(len(self), seed, self.input_lengths_R, rows_per_step)

    def row_shape(self, order: TrainingOrder, rows: int, batch_size: int) -> RowShape:
        """Exact for the first epoch of a run, or for the whole run if it is shorter."""
        return padded_shape(order, rows, batch_size, self.input_lengths_R, self.target_lengths_R)


@dataclass(frozen=True)
class Seq2SeqCollator:
    """Pads rows to the longest of the batch, on the right, to a multiple of LENGTH_MULTIPLE on each side.

    Attributes:
        pad_token_id: fills up input_ids, where attention_mask is 0, and decoder_input_ids.
        decoder_start_token_id: first token that the decoder is given.
        positions: that the model has on both sides; None: no limit.
    """

    pad_token_id: int
    decoder_start_token_id: int
    positions: int | None = None

    def __call__(self, rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, "torch.Tensor"]:
        """Batch of rows with input_ids and labels of any length.

        Returns:
            input_ids and attention_mask, int64 (B, T of the encoder). decoder_input_ids, the labels shifted right by
            one, and labels, IGNORE_INDEX where a row has none, int64 (B, T of the decoder). No decoder_attention_mask:
            padding comes after all labels, where a causal decoder does not look.
        """
        import torch

        shifted = [
            np.concatenate(([self.decoder_start_token_id], row["labels"]))[: max(len(row["labels"]), 1)] for row in rows
        ]
        decoder_input_ids_BT = pad(shifted, self.pad_token_id, self.positions)["input_ids"]
        labels_BT = torch.full_like(decoder_input_ids_BT, IGNORE_INDEX)
        for place, row in enumerate(rows):
            labels_BT[place, : len(row["labels"])] = torch.from_numpy(row["labels"])
        return {
            **pad([row["input_ids"] for row in rows], self.pad_token_id, self.positions),
            "decoder_input_ids": decoder_input_ids_BT,
            "labels": labels_BT,
        }


def cut_rows(text: "TokenizedCorpus", denoising: Denoising) -> "TokenizedCorpus":
    """A corpus whose blocks are rows, with the receipt of its cutting.

    Raises:
        ConfigError: see `Denoising.longest_text`.
        DataError: a split has no row, or a total does not close.
    """
    receipt = dict(text.receipt)
    stream: Any = text.train if isinstance(text.train, StreamedDocuments) else None
    packed = text.train if stream is None else stream.sample
    train, validation = (DocumentRows.of(split, denoising) for split in (packed, text.validation))
    for name, rows in (("train", train), ("validation", validation)):
        if not len(rows):
            raise DataError(
                f"No document of the {name} split has {SHORTEST_TEXT} tokens, which denoising needs to hide one and "
                "show one. Give longer documents, or a tokenizer with shorter tokens (--tokenizer.vocab_size)."
            )
        receipt[name] = receipt[name] | {"blocks": rows_receipt(receipt[name]["tokens"]["text_tokens"], rows)}
    if stream is not None:
        train = stream.with_rows(train, partial(DocumentRows.of, denoising=denoising), repr(denoising))
    return replace(text, train=train, validation=validation, receipt=receipt)
