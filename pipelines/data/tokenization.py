"""Tokenizers: trained on the training split or loaded, and the token streams they make, cached by content."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.builders import cache_root
from pipelines.data.packing import PackedDocuments
from pipelines.data.receipt import split_receipt
from pipelines.errors import ConfigError, DataError
from pipelines.hub import load_pretrained

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from pipelines.data.loading import Corpus
    from pipelines.sections import ModelConfig, TokenizerConfig

BOS, EOS, PAD, UNK = "<|bos|>", "<|eos|>", "<|pad|>", "<|unk|>"
BATCH_DOCUMENTS = 1_000
CACHE_VERSION = 3  # raise when the cached arrays or the trained tokenizers would come out differently


def get_tokenizer(
    config: "TokenizerConfig", model: "ModelConfig", train: "Dataset", fingerprint: str
) -> "PreTrainedTokenizerBase":
    """The tokenizer a config asks for: loaded by name, the checkpoint's own, or trained on the training split.

    Args:
        config: the tokenizer section.
        model: the model section, whose checkpoint's tokenizer is used if the tokenizer section names none.
        train: documents with a column `text`.
        fingerprint: content hash of the corpus, part of the cache key.

    Raises:
        ConfigError: no such tokenizer, or it has no EOS token, or vocab_size is too small.
    """
    if config.name is not None:
        return _load_tokenizer("tokenizer.name", config.name, config.revision)
    if model.name is not None:
        return _load_tokenizer("model.name", model.name, model.revision)
    vocab_size = config.vocab_size
    if vocab_size is None:
        raise ConfigError("No tokenizer: set tokenizer.vocab_size to train one, or tokenizer.name to load one.")
    smallest = 256 + 3 if config.type == "bpe" else 5
    if vocab_size < smallest:
        raise ConfigError(
            f"tokenizer.vocab_size is {vocab_size}; a {config.type} tokenizer needs at least {smallest} "
            "(its alphabet and the special tokens)."
        )
    from transformers import PreTrainedTokenizerFast

    key = _digest("tokenizer", CACHE_VERSION, config.type, vocab_size, fingerprint)
    folder = cache_root() / f"tokenizer-{key}"
    if not folder.is_dir():
        trained = _train_bpe(train, vocab_size) if config.type == "bpe" else _train_char(train, vocab_size)
        special = {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD}
        if config.type == "char":
            special["unk_token"] = UNK
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained, clean_up_tokenization_spaces=False, **special)
        publish_folder(folder, lambda aside: tokenizer.save_pretrained(aside))
    return PreTrainedTokenizerFast.from_pretrained(str(folder))


def _load_tokenizer(key: str, name: str, revision: str | None) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    tokenizer = load_pretrained(
        "tokenizer",
        key,
        name,
        lambda offline: AutoTokenizer.from_pretrained(name, revision=revision, local_files_only=offline),
    )
    if tokenizer.eos_token_id is None:
        raise ConfigError(
            f"The tokenizer {name} has no EOS token, which ends a document when causal models are packed. "
            "Train one with --tokenizer.vocab_size, or name another with --tokenizer.name."
        )
    if not tokenizer.is_fast:
        raise ConfigError(
            f"The tokenizer {name} is written in Python and cannot say which bytes a token stands for. "
            "Name one with a tokenizer.json, or train one with --tokenizer.vocab_size."
        )
    return tokenizer


def _texts(documents: "Dataset") -> Iterator[list[str]]:
    for batch in documents.with_format("arrow").iter(batch_size=BATCH_DOCUMENTS):
        yield batch.column("text").to_pylist()


def _train_bpe(train: "Dataset", vocab_size: int) -> Any:
    """Byte-level BPE (Radford et al. 2019, section 2.2; Sennrich et al. 2016): no text is unknown to it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text for batch in _texts(train) for text in batch), trainer)
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), _starts_with_bos()])
    return tokenizer


def _starts_with_bos() -> Any:
    """A prompt then begins as the documents of the training did."""
    from tokenizers import processors

    return processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, 0)])


def _train_char(train: "Dataset", vocab_size: int) -> Any:
    """One entry per character, the most frequent first; characters not among them become UNK, and are counted."""
    from collections import Counter

    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    counts = Counter[str]()
    for batch in _texts(train):
        for text in batch:
            counts.update(text)
    kept = sorted(counts, key=lambda character: (-counts[character], character))[: vocab_size - 4]
    vocabulary = {token: index for index, token in enumerate([BOS, EOS, PAD, UNK, *sorted(kept)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = _starts_with_bos()
    tokenizer.add_special_tokens([BOS, EOS, PAD, UNK])
    return tokenizer


def tokenize(
    documents: "Dataset",
    tokenizer: "PreTrainedTokenizerBase",
    block_size: int,
    fingerprint: str,
    split: str,
) -> tuple[PackedDocuments, dict[str, int]]:
    """Documents as a packed token stream, memory-mapped from the cache, with its counts.

    Args:
        documents: rows with a column `text`.
        tokenizer: has an EOS token. Each document begins with BOS, or with EOS where there is no BOS, so that its first
            token is predicted too and bits per byte compare between tokenizers.
        block_size: positions in a block.
        fingerprint: content hash of the corpus.
        split: name of the split; part of the cache key. Bytes per token are kept for all splits but train.

    Returns:
        (packed documents, counts): documents, bytes, text_tokens, bos_tokens, eos_tokens, unknown_tokens, tokens.

    Raises:
        DataError: the counts do not close.
    """
    with_bytes = split != "train"
    key = _digest("tokens", CACHE_VERSION, split, fingerprint, tokenizer_hash(tokenizer))
    folder = cache_root() / f"tokens-{key}"
    if not folder.is_dir():
        publish_folder(folder, lambda aside: _write_stream(aside, documents, tokenizer, with_bytes))
    tokens_N = np.load(folder / "tokens.npy", mmap_mode="r")
    starts_D = np.load(folder / "document_starts.npy")
    bytes_N = np.load(folder / "bytes.npy") if with_bytes else None
    counts = json.loads((folder / "counts.json").read_text())
    if counts["tokens"] != len(tokens_N) or counts["documents"] != len(starts_D):
        raise DataError(f"The cached tokens in {folder} do not match their counts. Delete that folder and run again.")
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return PackedDocuments(tokens_N, starts_D, bytes_N, block_size, pad), counts


@dataclass(frozen=True)
class TokenizedCorpus:
    """A corpus as blocks of tokens."""

    tokenizer: "PreTrainedTokenizerBase"
    train: PackedDocuments
    validation: PackedDocuments
    receipt: dict[str, Any]
    """Receipts of both splits, and what loading recorded besides."""
    hashes: dict[str, str]
    """Content hashes of texts and tokenizer, which must be the same when a run goes on."""


def tokenize_corpus(
    corpus: "Corpus", config: "TokenizerConfig", model: "ModelConfig", block_size: int
) -> TokenizedCorpus:
    """Gets the tokenizer that a config asks for, and cuts the training and validation split into blocks.

    Raises:
        ConfigError, HubError: see `get_tokenizer`.
        DataError: the training split is smaller than one block, or a total does not close.
    """
    tokenizer = get_tokenizer(config, model, corpus.splits["train"], corpus.fingerprint)
    packed: dict[str, PackedDocuments] = {}
    receipt = {name: value for name, value in corpus.receipt.items() if name not in corpus.splits}
    for split in ("train", "validation"):
        packed[split], counts = tokenize(corpus.splits[split], tokenizer, block_size, corpus.fingerprint, split)
        if split == "train" and len(packed[split].tokens_N) < block_size:
            raise DataError(
                f"The training split of {corpus.name} has {len(packed[split].tokens_N):,} tokens, "
                f"less than one block of {block_size:,}. Set a smaller --data.block_size, or give more text."
            )
        receipt[split] = split_receipt(corpus.receipt[split], counts, packed[split])
    hashes = {"corpus": corpus.fingerprint, "tokenizer": tokenizer_hash(tokenizer)}
    return TokenizedCorpus(tokenizer, packed["train"], packed["validation"], receipt, hashes)


def _write_stream(aside: Path, documents: "Dataset", tokenizer: "PreTrainedTokenizerBase", with_bytes: bool) -> None:
    eos, unk = tokenizer.eos_token_id, tokenizer.unk_token_id
    bos = eos if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    streams: list[np.ndarray] = []
    byte_streams: list[np.ndarray] = []
    lengths: list[int] = []
    text_bytes = unknown = 0
    for texts in _texts(documents):
        encoded = tokenizer(
            texts,
            add_special_tokens=False,
            split_special_tokens=True,  # a document may spell <|eos|> without ending
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=with_bytes,
            verbose=False,
        )
        stream: list[int] = []
        for text, ids in zip(texts, encoded["input_ids"], strict=True):
            stream += [bos, *ids, eos]
            lengths.append(len(ids) + 2)
            text_bytes += len(text) if text.isascii() else len(text.encode())
        streams.append(np.asarray(stream, dtype=np.int32))
        if unk is not None and unk not in (bos, eos):
            unknown += int((streams[-1] == unk).sum())
        if with_bytes:
            for text, offsets in zip(texts, encoded["offset_mapping"], strict=True):
                byte_streams.append(_token_bytes(text, offsets))
    tokens_N = np.concatenate(streams)
    starts_D = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64)
    counts = {
        "documents": len(lengths),
        "bytes": text_bytes,
        "bos_tokens": int((tokens_N[starts_D] == bos).sum()),
        "eos_tokens": int((tokens_N == eos).sum()) - (len(lengths) if bos == eos else 0),
        "text_tokens": sum(lengths) - 2 * len(lengths),
        "unknown_tokens": unknown,
        "tokens": len(tokens_N),
    }
    np.save(aside / "tokens.npy", tokens_N)
    np.save(aside / "document_starts.npy", starts_D)
    if with_bytes:
        bytes_N = np.concatenate(byte_streams)
        if len(bytes_N) != len(tokens_N) or int(bytes_N.sum()) != text_bytes:
            raise DataError(f"The token bytes ({bytes_N.sum()}) do not add up to the text's ({text_bytes}).")
        np.save(aside / "bytes.npy", bytes_N)
    (aside / "counts.json").write_text(json.dumps(counts))


def _token_bytes(text: str, offsets: list[tuple[int, int]]) -> np.ndarray:
    """UTF-8 bytes of text up to the end of each token, minus those up to the end of the one before.

    Blanks that a tokenizer leaves between its tokens count for the next token, those at the end for the last one, so
    that the sum is the length of the document. BOS and EOS stand for no bytes.
    """
    ends = np.maximum.accumulate(np.array([end for _, end in offsets], dtype=np.int64)) if offsets else np.zeros(0, int)
    if len(ends):
        ends[-1] = len(text)
    if not text.isascii():
        points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        widths = 1 + (points > 0x7F).astype(np.int64) + (points > 0x7FF) + (points > 0xFFFF)
        ends = np.concatenate(([0], np.cumsum(widths)))[ends]
    counts = np.diff(ends, prepend=0)
    return np.concatenate(([0], counts, [0])).astype(np.int32)


def tokenizer_hash(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Hash of everything that decides which ids a text gets."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    return _digest(type(tokenizer).__name__, content, tokenizer.bos_token_id, tokenizer.eos_token_id)


def _digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def publish_folder(folder: Path, write: Any) -> None:
    """Fills a folder beside its place and renames it there; if another process was first, its folder stays."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write(aside)
        os.replace(aside, folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
