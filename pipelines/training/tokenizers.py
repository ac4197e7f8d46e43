"""The steps of training a tokenizer: train on a corpus and account for it, save and read back."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipelines.data.loading import text_batches
from pipelines.data.tokenization import tokenizer_hash
from pipelines.data.tokenizer_training import MASK, sentinels, train_tokenizer
from pipelines.environment import environment
from pipelines.errors import CheckpointError, DataError
from pipelines.run import say
from pipelines.run_folder import RunFolder, claim_run_folder, write_run_files

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from pipelines.data.loading import Corpus
    from pipelines.sections import TokenizerTrainingConfig


def train_on_corpus(
    corpus: "Corpus", config: "TokenizerTrainingConfig", kind: str
) -> tuple["PreTrainedTokenizerFast", dict[str, Any]]:
    """Trains a tokenizer of type `kind`, which may be another than the config's, on the training split alone.

    Returns:
        The tokenizer, and its receipt: the documents and bytes that it was trained on.

    Raises:
        ConfigError: vocab_size is too small.
        DataError: not all of the training split was read, or more.
    """
    documents = text_bytes = 0

    def counted() -> Iterator[list[str]]:
        nonlocal documents, text_bytes
        for texts in text_batches(corpus.splits["train"]):
            documents += len(texts)
            text_bytes += sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
            yield texts

    special = [*([MASK] if config.mask_token else []), *sentinels(config.sentinels)]
    tokenizer = train_tokenizer(counted(), kind, config.vocab_size, special)
    rows = corpus.receipt["train"]
    if (documents, text_bytes) != (rows["rows_kept"], rows["bytes"]):
        raise DataError(
            f"The receipt does not close: the {kind} tokenizer was trained on {documents:,} documents and "
            f"{text_bytes:,} bytes, the training split has {rows['rows_kept']:,} and {rows['bytes']:,}. This is a "
            "defect of Plumbline."
        )
    return tokenizer, {"documents": documents, "bytes": text_bytes, "entries": len(tokenizer)}


def make_plan(
    config: "TokenizerTrainingConfig", corpus: "Corpus", tokenizer: "PreTrainedTokenizerFast"
) -> dict[str, Any]:
    """Content of plan.json."""
    return {
        "type": config.type,
        "vocab_size": config.vocab_size,
        "entries": len(tokenizer),
        "special_tokens": tokenizer.convert_ids_to_tokens(sorted(tokenizer.all_special_ids)),
        "train_documents": corpus.receipt["train"]["rows_kept"],
        "train_bytes": corpus.receipt["train"]["bytes"],
        "validation_documents": corpus.receipt["validation"]["rows_kept"],
    }


def start_run(
    folder: RunFolder, config: Any, plan: dict[str, Any], fingerprint: str, tokenizer: "PreTrainedTokenizerFast"
) -> None:
    """Makes the run folder, or clears what an interrupted run left in it, and writes what is known.

    Raises:
        ConfigError: the folder cannot be used.
    """
    claim_run_folder(folder, clear=True)
    hashes = {"corpus": fingerprint, "tokenizer": tokenizer_hash(tokenizer)}
    write_run_files(folder, config, plan=plan, environment=environment(hashes))
    say(
        f"{plan['type']} tokenizer of {plan['entries']:,} entries, trained on {plan['train_documents']:,} documents "
        f"({plan['train_bytes']:,} bytes); run folder {folder.path}"
    )


def save_tokenizer(tokenizer: "PreTrainedTokenizerFast", folder: RunFolder) -> None:
    """Writes model/ aside, reads it back, compares, and only then puts it in its place.

    Raises:
        CheckpointError: what was read back is not the tokenizer.
    """
    from transformers import AutoTokenizer

    with folder.new_model() as aside:
        tokenizer.save_pretrained(aside)
        again = AutoTokenizer.from_pretrained(aside)
        same = again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
        for name in ("special_tokens_map", "extra_special_tokens", "clean_up_tokenization_spaces"):
            same = same and getattr(again, name) == getattr(tokenizer, name)
        if not same:
            raise CheckpointError(f"The tokenizer saved in {aside} is not the one that was trained.")
