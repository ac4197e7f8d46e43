"""`data` section of a streamed run -> units, a tokenizer, a validation split, and sizes estimated from a sample."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.checking import checking
from pipelines.data.loading import load_corpus
from pipelines.data.new_tokens import add_new_tokens
from pipelines.data.packing import PackedDocuments
from pipelines.data.preflight import token_findings
from pipelines.data.receipt import split_receipt
from pipelines.data.streaming.documents import StreamedDocuments, StreamSource
from pipelines.data.streaming.receipt import read_receipt
from pipelines.data.streaming.sources import digest, divide, joined_record, open_sources, validation_record
from pipelines.data.tokenization import TokenizedCorpus, get_tokenizer, tokenize, tokenize_corpus, tokenizer_hash
from pipelines.errors import DataError
from pipelines.run import say
from pipelines.sections import StreamableConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipelines.sections import ModelConfig, TokenizerConfig

TOKENIZER_BYTES = 64 << 20  # of text that a tokenizer is trained on
SAMPLE_UNITS = 4  # of each source, from which sizes are estimated


def open_text(
    data: StreamableConfig,
    tokenizer: "TokenizerConfig",
    model: "ModelConfig",
    block_size: int,
    special_tokens: Sequence[str] = (),
    with_words: bool = False,
) -> Any:
    """The text of a pretraining run as blocks: read and tokenized whole, or, with data.streaming, opened.

    Args:
        data: the data section.
        tokenizer, model: the sections of that name.
        block_size: tokens in a block.
        special_tokens, with_words: see `tokenization.tokenize_corpus`.

    Returns:
        A TokenizedCorpus; of a stream, its training split is StreamedDocuments.

    Raises:
        CardError, ConfigError, DataError, HubError: see `load_corpus` and `tokenize_corpus`.
    """
    if data.streaming:
        return _open_stream(data, tokenizer, model, block_size, special_tokens)
    return tokenize_corpus(load_corpus(data), tokenizer, model, block_size, special_tokens, with_words)


def _open_stream(
    data: StreamableConfig,
    tokenizer_config: "TokenizerConfig",
    model: "ModelConfig",
    block_size: int,
    special_tokens: Sequence[str],
) -> TokenizedCorpus:
    opened = open_sources(data)
    sources, held_out = divide(opened, data)
    fingerprint = digest(*((source.name, source.weight, source.fingerprint) for source in sources))
    sampled = {source.name: _spread(source, SAMPLE_UNITS) for source in sources}
    learnt = _tokenizer_units(sources) if tokenizer_config.name is None or tokenizer_config.new_tokens else sampled
    if (check := checking()) is not None:
        check.is_sample = True
        check.scratch()

    def texts() -> Iterator[list[str]]:
        for source in sources:
            for unit in learnt[source.name].tolist():
                yield from source.units.read(unit).batches()

    key = digest(fingerprint, *((name, units.tolist()) for name, units in learnt.items()))
    tokenizer = get_tokenizer(tokenizer_config, model, texts, key, special_tokens)
    new_tokens: dict[int, list[int]] = {}
    if tokenizer_config.new_tokens is not None:
        new_tokens = add_new_tokens(tokenizer, tokenizer_config.new_tokens, texts())
    validation, counts = tokenize(held_out.documents, tokenizer, block_size, held_out.fingerprint, "validation")
    train, train_receipt = _sample(sources, sampled, tokenizer, block_size)
    receipt: dict[str, Any] = {
        "train": train_receipt,
        "validation": split_receipt(held_out.receipt, counts, validation),
        "validation_split": validation_record(opened, sources, data),
        "source": joined_record([source.record for source in sources]),
        "files": {"train": [shard.file.shown for source in sources for shard in source.units.shards]},
        "streaming": {
            "sources": {
                source.name: {
                    "weight": source.weight,
                    "shards": len(source.units.shards),
                    "units": len(source.trained),
                    "units_held_out": len(source.units) - len(source.trained),
                }
                for source in sources
            },
            "sizes_estimated_from_units": sum(map(len, sampled.values())),
            "tokenizer_trained_on_bytes": _learnt_bytes(tokenizer_config, model, sources, learnt),
        },
    }
    if check is not None:
        lengths_D = np.diff(validation.document_starts_D, append=len(validation.tokens_N))
        token_findings(check, "validation", receipt["validation"], lengths_D)
        told = f"{len(sources)} streamed source(s), {sum(map(len, sampled.values())):,} units of which were read: "
        check.note("ok", "sample", f"{told}documents, tokens, blocks and epochs are estimates.")
        told = "texts of validation that stand in the training split, and duplicates, were not searched for."
        check.note("warning", "leak", f"A stream is not read beforehand: {told}")
    units, size = sum(len(source.trained) for source in sources), sum(_bytes(source) for source in sources)
    say(
        f"Streaming {units:,} units ({size / 1e9:,.2f} GB) from {len(sources)} source(s); documents, tokens, blocks "
        f"and epochs of the plan are estimates from {sum(map(len, sampled.values()))} of them"
    )
    hashes = {"corpus": fingerprint, "tokenizer": tokenizer_hash(tokenizer)}
    stream: Any = train
    return TokenizedCorpus(tokenizer, stream, validation, receipt, hashes, new_tokens)


# ---------------------------------------------------------------- samples


def _spread(source: StreamSource, count: int) -> np.ndarray:
    """Some of the units trained on, evenly spread."""
    return source.trained[np.unique(np.linspace(0, len(source.trained) - 1, count, dtype=np.int64))]


def _tokenizer_units(sources: Sequence[StreamSource]) -> dict[str, np.ndarray]:
    """Units of each source that a tokenizer learns from: TOKENIZER_BYTES in all, by weight."""
    check, total = checking(), sum(source.weight for source in sources)
    budget = TOKENIZER_BYTES if check is None else min(TOKENIZER_BYTES, int(check.settings.sample_megabytes * 1e6))
    units = {}
    for source in sources:
        room = budget * source.weight / total
        units[source.name] = _spread(source, max(1, int(room / (_bytes(source) / len(source.trained)))))
    return units


def _bytes(source: StreamSource) -> int:
    return int(source.units.bytes_U[source.trained].sum())


def _learnt_bytes(
    config: "TokenizerConfig", model: "ModelConfig", sources: Sequence[StreamSource], learnt: dict[str, np.ndarray]
) -> int | None:
    """About how many bytes the tokenizer was trained on; None: it is one that was there."""
    if config.name is not None or model.name is not None:
        return None
    return sum(int(source.units.bytes_U[learnt[source.name]].sum()) for source in sources)


def _sample(
    sources: tuple[StreamSource, ...],
    sampled: dict[str, np.ndarray],
    tokenizer: "PreTrainedTokenizerBase",
    block_size: int,
) -> tuple[StreamedDocuments, dict[str, Any]]:
    """The stream with its sizes estimated from some units of each source, and the receipt of these."""
    own = copy.deepcopy(tokenizer)
    nothing = PackedDocuments(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), None, block_size, 0)
    pad = own.pad_token_id if own.pad_token_id is not None else own.eos_token_id or own.sep_token_id
    stream = StreamedDocuments(sources, own, block_size, pad, 0, 0, 0, nothing)
    tokens: list[np.ndarray] = []
    starts: list[np.ndarray] = []
    sizes = {"documents": 0.0, "tokens": 0.0, "blocks": 0.0}
    sums: dict[str, int] = {}
    offset = 0
    for source in sources:
        of_source: dict[str, int] = {}
        for unit in sampled[source.name].tolist():
            packed, counts = stream.tokenize(source.units.read(unit))
            counts["tokens"] = len(packed.tokens_N)
            tokens.append(packed.tokens_N)
            starts.append(packed.document_starts_D + offset)
            offset += len(packed.tokens_N)
            of_source = {name: of_source.get(name, 0) + count for name, count in counts.items()}
        scale = _bytes(source) / max(int(source.units.bytes_U[sampled[source.name]].sum()), 1)
        sizes = {name: size + scale * of_source[name] for name, size in sizes.items()}
        sums = {name: sums.get(name, 0) + count for name, count in of_source.items()}
    sample = PackedDocuments(np.concatenate(tokens), np.concatenate(starts), None, block_size, pad)
    if not sums["documents"]:
        raise DataError(
            f"None of the {sum(map(len, sampled.values())):,} units that were looked at holds a document: "
            f"{sums['empty']:,} rows are empty, {sums['null']:,} null. Is another column the text? Map it with "
            "--data.columns."
        )
    estimates: dict[str, Any] = {name: round(size) for name, size in sizes.items()}
    stream = replace(stream, sample=sample, **estimates)
    return stream, read_receipt(sums | {"blocks": len(sample)}, sample)
