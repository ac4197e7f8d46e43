"""Tokenizers: trained on the training split or loaded, and the token streams they make, cached by content."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.checking import checking
from pipelines.data.array_files import ArrayWriter
from pipelines.data.builders import cache_root
from pipelines.data.framing import document_frame
from pipelines.data.loading import load_corpus, text_batches
from pipelines.data.new_tokens import add_new_tokens
from pipelines.data.packing import PackedDocuments
from pipelines.data.preflight import token_findings
from pipelines.data.receipt import split_receipt
from pipelines.data.tokenizer_training import train_tokenizer
from pipelines.errors import ConfigError, DataError
from pipelines.pretrained import checkpoint_of
from pipelines.sections import DataConfig, DataFiles

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from pipelines.data.loading import Corpus
    from pipelines.sections import ModelConfig, OldDomainConfig, TokenizerConfig

CACHE_VERSION = 3  # raise when the cached arrays or the trained tokenizers would come out differently


def get_tokenizer(
    config: "TokenizerConfig",
    model: "ModelConfig",
    texts: Callable[[], Iterable[list[str]]],
    fingerprint: str,
    special_tokens: Sequence[str] = (),
) -> "PreTrainedTokenizerBase":
    """The tokenizer a config asks for: loaded by name, the checkpoint's own, or trained on the training split.

    Args:
        config: the tokenizer section.
        model: the model section, whose checkpoint's tokenizer is used if the tokenizer section names none.
        texts: gives the texts of the training split in batches.
        fingerprint: content hash of them, part of the cache key.
        special_tokens: those that a trained tokenizer has besides BOS, EOS, PAD and UNK, such as MASK.

    Raises:
        ConfigError: no such tokenizer, or it has no EOS token, or vocab_size is too small.
    """
    if config.name is not None:
        return _load_tokenizer("tokenizer.name", config.name, config.revision)
    if model.name is not None:
        return _load_tokenizer("model.name", model.name, model.revision)
    vocab_size = config.vocab_size
    if config.new_tokens is not None:
        raise ConfigError(
            "tokenizer.new_tokens adds to an existing tokenizer, but this one is trained on the very texts: its words "
            "are in it. Name a checkpoint with --model.name, or leave tokenizer.new_tokens out."
        )
    if vocab_size is None:
        raise ConfigError("No tokenizer: set tokenizer.vocab_size to train one, or tokenizer.name to load one.")
    from transformers import PreTrainedTokenizerFast

    key = _digest("tokenizer", CACHE_VERSION, config.type, vocab_size, fingerprint, *special_tokens)
    folder = cache_root() / f"tokenizer-{key}"
    if not folder.is_dir():
        tokenizer = train_tokenizer(texts(), config.type, vocab_size, special_tokens)
        publish_folder(folder, lambda aside: tokenizer.save_pretrained(aside))
    return PreTrainedTokenizerFast.from_pretrained(str(folder))


def _load_tokenizer(key: str, name: str, revision: str | None) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    tokenizer = checkpoint_of(key, name, revision).load("tokenizer", AutoTokenizer.from_pretrained)
    if tokenizer.eos_token_id is None and tokenizer.sep_token_id is None:
        raise ConfigError(
            f"The tokenizer {name} has no EOS (or SEP) token, which ends a document when documents are packed. "
            "Train one with --tokenizer.vocab_size, or name another with --tokenizer.name."
        )
    if not tokenizer.is_fast:
        raise ConfigError(
            f"The tokenizer {name} is written in Python and cannot say which bytes a token stands for. "
            "Name one with a tokenizer.json, or train one with --tokenizer.vocab_size."
        )
    # What it was saved with would be part of its hash until it is first used.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def tokenize(
    documents: "Dataset",
    tokenizer: "PreTrainedTokenizerBase",
    block_size: int,
    fingerprint: str,
    split: str,
    with_words: bool = False,
) -> tuple[PackedDocuments, dict[str, int]]:
    """Documents as a packed token stream, memory-mapped from the cache, with its counts.

    Args:
        documents: rows with a column `text`.
        tokenizer: has an EOS token. Each document begins with BOS, or with EOS where there is no BOS, so that its first
            token is predicted too and bits per byte compare between tokenizers.
        block_size: positions in a block.
        fingerprint: content hash of the corpus.
        split: name of the split; part of the cache key. Bytes per token are kept for all splits but train.
        with_words: also find where words begin.

    Returns:
        (packed documents, counts): documents, bytes, text_tokens, bos_tokens, eos_tokens, unknown_tokens, tokens.

    Raises:
        ConfigError: with_words, and the tokenizer cannot say words.
        DataError: the counts do not close.
    """
    with_bytes = split != "train"
    key = _digest("tokens", CACHE_VERSION, split, fingerprint, tokenizer_hash(tokenizer))
    folder = cache_root() / f"tokens-{key}"
    if not folder.is_dir():
        publish_folder(folder, lambda aside: _write_stream(aside, documents, tokenizer, with_bytes))
    tokens_N = np.load(folder / "tokens.npy", mmap_mode="r")
    starts_D = np.load(folder / "document_starts.npy")
    bytes_N = np.load(folder / "bytes.npy", mmap_mode="r") if with_bytes else None
    counts = json.loads((folder / "counts.json").read_text())
    if counts["tokens"] != len(tokens_N) or counts["documents"] != len(starts_D):
        raise DataError(f"The cached tokens in {folder} do not match their counts. Delete that folder and run again.")
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else document_frame(tokenizer)[1]
    word_starts_N = _word_starts(folder, documents, tokenizer) if with_words else None
    return PackedDocuments(tokens_N, starts_D, bytes_N, block_size, pad, word_starts_N), counts


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
    new_tokens: dict[int, list[int]]
    """Tokens that were added to the tokenizer -> the tokens that each was cut into before."""


def tokenize_corpus(
    corpus: "Corpus",
    config: "TokenizerConfig",
    model: "ModelConfig",
    block_size: int,
    special_tokens: Sequence[str] = (),
    with_words: bool = False,
) -> TokenizedCorpus:
    """Gets the tokenizer that a config asks for, and cuts the training and validation split into blocks.

    Args:
        corpus: has the splits train and validation.
        config: the tokenizer section.
        model: the model section.
        block_size: tokens in a block.
        special_tokens: see `get_tokenizer`.
        with_words: see `tokenize`.

    Raises:
        ConfigError, HubError: see `get_tokenizer` and `tokenize`.
        DataError: the training split is smaller than one block, or a total does not close.
    """
    tokenizer = get_tokenizer(
        config, model, lambda: text_batches(corpus.splits["train"]), corpus.fingerprint, special_tokens
    )
    new_tokens: dict[int, list[int]] = {}
    if config.new_tokens is not None:
        new_tokens = add_new_tokens(tokenizer, config.new_tokens, text_batches(corpus.splits["train"]))
    packed: dict[str, PackedDocuments] = {}
    receipt = {name: value for name, value in corpus.receipt.items() if name not in corpus.splits}
    for split in ("train", "validation"):
        packed[split], counts = tokenize(
            corpus.splits[split], tokenizer, block_size, corpus.fingerprint, split, with_words
        )
        if split == "train" and len(packed[split].tokens_N) < block_size:
            raise DataError(
                f"The training split of {corpus.name} has {len(packed[split].tokens_N):,} tokens, "
                f"less than one block of {block_size:,}. Set a smaller --data.block_size, or give more text."
            )
        receipt[split] = split_receipt(corpus.receipt[split], counts, packed[split])
        if (check := checking()) is not None:
            lengths_D = np.diff(packed[split].document_starts_D, append=len(packed[split].tokens_N))
            token_findings(check, split, receipt[split], lengths_D)
    hashes = {"corpus": corpus.fingerprint, "tokenizer": tokenizer_hash(tokenizer)}
    return TokenizedCorpus(tokenizer, packed["train"], packed["validation"], receipt, hashes, new_tokens)


def tokenize_old_domain(
    config: "OldDomainConfig", tokenizer: "PreTrainedTokenizerBase", block_size: int
) -> PackedDocuments | None:
    """The text of the domain that a checkpoint comes from, as blocks to score; None if the config names none.

    Raises:
        ConfigError, CardError, DataError, HubError: as `load_corpus`.
    """
    files = None if config.files is None else DataFiles(train=config.files, validation=config.files)
    if config.card is None and config.name is None and files is None:
        return None
    data = DataConfig(
        card=config.card,
        name=config.name,
        config_name=config.config_name,
        revision=config.revision,
        files=files or DataFiles(),
        columns=config.columns,
        sample_by=config.sample_by,
    )
    corpus = load_corpus(data, is_trained_on=False)
    packed, _ = tokenize(corpus.splits["validation"], tokenizer, block_size, corpus.fingerprint, "validation")
    return packed


def _write_stream(aside: Path, documents: "Dataset", tokenizer: "PreTrainedTokenizerBase", with_bytes: bool) -> None:
    unk = tokenizer.unk_token_id
    bos, eos = document_frame(tokenizer)
    parts_D: list[np.ndarray] = []
    text_bytes = token_bytes_sum = unknown = bos_tokens = eos_tokens = 0
    with ExitStack() as files:
        tokens = files.enter_context(ArrayWriter(aside / "tokens.npy", np.int32))
        bytes_of_tokens = files.enter_context(ArrayWriter(aside / "bytes.npy", np.int32)) if with_bytes else None
        for texts in text_batches(documents):
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
            starts: list[int] = []
            for text, ids in zip(texts, encoded["input_ids"], strict=True):
                starts.append(len(stream))
                stream += [bos, *ids, eos]
                text_bytes += len(text) if text.isascii() else len(text.encode())
            batch_N, batch_starts = np.asarray(stream, dtype=np.int32), np.asarray(starts, dtype=np.int64)
            parts_D.append(batch_starts + tokens.length)
            tokens.append(batch_N)
            bos_tokens += int((batch_N[batch_starts] == bos).sum())
            eos_tokens += int((batch_N == eos).sum())
            if unk is not None and unk not in (bos, eos):
                unknown += int((batch_N == unk).sum())
            if bytes_of_tokens is not None:
                for text, offsets in zip(texts, encoded["offset_mapping"], strict=True):
                    bytes_N = token_bytes(text, offsets)
                    token_bytes_sum += int(bytes_N.sum())
                    bytes_of_tokens.append(bytes_N)
    starts_D = np.concatenate(parts_D)
    if bytes_of_tokens is not None and (bytes_of_tokens.length, token_bytes_sum) != (tokens.length, text_bytes):
        raise DataError(f"The token bytes ({token_bytes_sum}) do not add up to the text's ({text_bytes}).")
    np.save(aside / "document_starts.npy", starts_D)
    counts = {
        "documents": len(starts_D),
        "bytes": text_bytes,
        "bos_tokens": bos_tokens,
        "eos_tokens": eos_tokens - (len(starts_D) if bos == eos else 0),
        "text_tokens": tokens.length - 2 * len(starts_D),
        "unknown_tokens": unknown,
        "tokens": tokens.length,
    }
    (aside / "counts.json").write_text(json.dumps(counts))


def _word_starts(folder: Path, documents: "Dataset", tokenizer: "PreTrainedTokenizerBase") -> np.ndarray:
    """Whether each token of the stream begins a word, by the tokenizer's own cutting; cached beside the tokens."""
    path = folder / "word_starts.npy"
    if not path.is_file():
        parts: list[np.ndarray] = []
        joined = 0
        for texts in text_batches(documents):
            encoded = tokenizer(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)
            for row, ids in enumerate(encoded["input_ids"]):
                words = np.array([-1 if word is None else word for word in encoded.word_ids(row)], dtype=np.int64)
                starts = np.ones(len(ids) + 2, dtype=bool)  # BOS and EOS are words of their own
                starts[1:-1] = np.diff(words, prepend=-2) != 0
                joined += int((~starts).sum()) if len(words) and words[0] != words[-1] else 0
                parts.append(starts)
        if not joined:
            raise ConfigError(
                "masking.whole_word_mask is true, but this tokenizer cannot say words: it never joins several tokens "
                "to one word of a longer text. Set --masking.whole_word_mask false, or train a bpe or wordpiece "
                "tokenizer (--tokenizer.type)."
            )
        aside = path.with_name(f".word_starts-{os.getpid()}.npy")
        np.save(aside, np.concatenate(parts))
        os.replace(aside, path)
    return np.load(path, mmap_mode="r")


def token_bytes(text: str, offsets: list[tuple[int, int]]) -> np.ndarray:
    """UTF-8 bytes of text up to the end of each token, minus those up to the end of the one before.

    Blanks that a tokenizer leaves between its tokens count for the next token, those at the end for the last one, so
    that the sum is the length of the document. BOS and EOS stand for no bytes.
    """
    if not offsets:  # a normaliser left nothing of the text: its bytes stand with the end of the document
        return np.array([0, len(text.encode())], dtype=np.int32)
    ends = np.maximum.accumulate(np.array([end for _, end in offsets], dtype=np.int64))
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
    return _digest(type(tokenizer).__name__, content, *document_frame(tokenizer))


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
