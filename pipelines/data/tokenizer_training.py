"""Tokenizers trained on a corpus, of every type that configs can name."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BOS, EOS, PAD, UNK, MASK = "<|bos|>", "<|eos|>", "<|pad|>", "<|unk|>", "<|mask|>"
NEEDS_UNK = ("char",)  # types that do not know every text


def train_tokenizer(
    documents: Iterable[list[str]], kind: str, vocab_size: int, extra_special_tokens: Sequence[str] = ()
) -> "PreTrainedTokenizerFast":
    """Trains a tokenizer whose first ids are its special tokens: BOS, EOS, PAD, UNK where the type has it, extra ones.

    Args:
        documents: batches of texts, read once.
        kind: bpe or char.
        vocab_size: entries, special tokens among them (char: at most so many).
        extra_special_tokens: MASK, which becomes the mask token, and any others, such as <extra_id_0>.

    Raises:
        ConfigError: vocab_size is too small.
    """
    from transformers import PreTrainedTokenizerFast

    special = [BOS, EOS, PAD, *([UNK] if kind in NEEDS_UNK else []), *extra_special_tokens]
    smallest = len(special) + (256 if kind == "bpe" else 1)
    if vocab_size < smallest:
        raise ConfigError(
            f"tokenizer.vocab_size is {vocab_size}; a {kind} tokenizer needs at least {smallest} "
            "(its alphabet and the special tokens)."
        )
    trained = _TRAINERS[kind](documents, vocab_size, special)
    named = {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD}
    if UNK in special:
        named["unk_token"] = UNK
    if MASK in special:
        named["mask_token"] = MASK
    others = [token for token in extra_special_tokens if token != MASK]
    options: dict[str, Any] = {"extra_special_tokens": others} if others else {}
    return PreTrainedTokenizerFast(tokenizer_object=trained, clean_up_tokenization_spaces=False, **named, **options)


def _train_bpe(documents: Iterable[list[str]], vocab_size: int, special: list[str]) -> Any:
    """Byte-level BPE (Radford et al. 2019, section 2.2; Sennrich et al. 2016): no text is unknown to it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text for batch in documents for text in batch), trainer)
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), _starts_with_bos()])
    return tokenizer


def _starts_with_bos() -> Any:
    """A prompt then begins as the documents of the training did."""
    from tokenizers import processors

    return processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, 0)])


def _train_char(documents: Iterable[list[str]], vocab_size: int, special: list[str]) -> Any:
    """One entry per character, the most frequent first; characters not among them become UNK, and are counted."""
    from collections import Counter

    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    counts = Counter[str]()
    for batch in documents:
        for text in batch:
            counts.update(text)
    kept = sorted(counts, key=lambda character: (-counts[character], character))[: vocab_size - len(special)]
    vocabulary = {token: index for index, token in enumerate([*special, *sorted(kept)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = _starts_with_bos()
    tokenizer.add_special_tokens(special)
    return tokenizer


_TRAINERS = {"bpe": _train_bpe, "char": _train_char}
