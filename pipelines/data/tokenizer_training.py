"""Tokenizers trained on a corpus. The same texts give the same tokenizer, whatever the run, process or thread count.

| type | splits a text into | unknown | text comes back |
|---|---|---|---|
| bpe | bytes, merged by frequency | nothing | always |
| unigram | bytes, grouped by likelihood | nothing | always |
| wordpiece | words and marks, then their pieces | words with a character it has not, or over 100 | blanks change |
| char | characters | characters it has not | if nothing is unknown |
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BOS, EOS, PAD, UNK, MASK = "<|bos|>", "<|eos|>", "<|pad|>", "<|unk|>", "<|mask|>"
TYPES_WITH_UNK = ("wordpiece", "char")
COVERAGE, LEAST_COVERAGE = 0.9999, 0.99  # share of a corpus in characters that WordPiece has: aimed at, and insisted on
NEVER = -1000.0  # log-probability of a special token in a unigram model: no text is cheapest with it


def train_tokenizer(
    documents: Iterable[list[str]], kind: str, vocab_size: int, extra_special_tokens: Sequence[str] = ()
) -> "PreTrainedTokenizerFast":
    """Trains a tokenizer whose first ids are its special tokens: BOS, EOS, PAD, UNK where the type has it, extra ones.

    Args:
        documents: batches of texts, read once.
        kind: bpe, unigram, wordpiece or char.
        vocab_size: entries, special tokens among them; fewer if the texts have no more to offer.
        extra_special_tokens: MASK, which becomes the mask token, and any others, such as `sentinels` gives.

    Raises:
        ConfigError: vocab_size is too small.
    """
    from transformers import PreTrainedTokenizerFast

    special = [BOS, EOS, PAD, *([UNK] if kind in TYPES_WITH_UNK else []), *extra_special_tokens]
    alphabet = 256 if kind in ("bpe", "unigram") else 1
    if vocab_size < len(special) + alphabet:
        raise ConfigError(
            f"tokenizer.vocab_size is {vocab_size}; a {kind} tokenizer needs at least {len(special) + alphabet} "
            "(its alphabet and the special tokens)."
        )
    tokenizer = _TRAINERS[kind](documents, vocab_size, special)
    tokenizer.add_special_tokens(special)
    named = {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD}
    named |= {"unk_token": UNK} if UNK in special else {}
    named |= {"mask_token": MASK} if MASK in special else {}
    others = [token for token in extra_special_tokens if token != MASK]
    options: dict[str, Any] = {"extra_special_tokens": others} if others else {}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **named, **options)


def sentinels(count: int) -> list[str]:
    """The tokens that stand for masked spans, named as T5 names them (Raffel et al. 2020, section 3.1.4)."""
    return [f"<extra_id_{number}>" for number in range(count)]


def _train_bpe(documents: Iterable[list[str]], vocab_size: int, special: list[str]) -> Any:
    """Byte-level BPE (Radford et al. 2019, section 2.2; Sennrich et al. 2016): no text is unknown to it."""
    from tokenizers import models, pre_tokenizers, trainers

    tokenizer = _byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text for batch in documents for text in batch), trainer)
    return tokenizer


def _train_unigram(documents: Iterable[list[str]], vocab_size: int, special: list[str]) -> Any:
    """Unigram language model (Kudo 2018) over bytes, with the words and blanks of byte-level BPE.

    Over bytes, since over characters the rare ones would be unknown, and the usual mark for a blank would make blanks
    of the characters that are that mark.
    """
    from tokenizers import models, pre_tokenizers

    from pipelines.data.unigram import train_unigram

    words = count_words(documents, pre_tokenizers.ByteLevel(add_prefix_space=False))
    pieces = train_unigram(words, vocab_size - len(special), sorted(pre_tokenizers.ByteLevel.alphabet()))
    return _byte_level(models.Unigram([*((token, NEVER) for token in special), *pieces], None, False))


def _byte_level(model: Any) -> Any:
    from tokenizers import Tokenizer, decoders, pre_tokenizers, processors

    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), _starts_with_bos()])
    return tokenizer


def _starts_with_bos() -> Any:
    """A prompt then begins as the documents of the training did."""
    from tokenizers import processors

    return processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, 0)])


def _train_wordpiece(documents: Iterable[list[str]], vocab_size: int, special: list[str]) -> Any:
    """WordPiece as in BERT (Schuster and Nakajima 2012; Devlin et al. 2019): words, punctuation marks and Chinese
    characters each by itself; a piece that goes on with a word begins with ##; the longest piece that fits is taken.

    Nothing is lowercased or stripped of accents. What stood between two words is not kept: decoding puts one blank
    there, or none before a mark, as BERT does. The pieces are merged by frequency, as in the tokenizers library.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    splitter = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated"), pre_tokenizers.BertPreTokenizer()]
    )
    words = count_words(documents, splitter)
    alphabet = _wordpiece_alphabet(words, vocab_size, len(special))
    known = {entry for entry in alphabet if len(entry) == 1}
    learner = Tokenizer(models.WordPiece(unk_token=UNK))
    learner.pre_tokenizer = splitter
    # The trainer numbers continuations as it meets them, in an order that differs by run. Stated as special tokens,
    # they and all that is built on them have fixed ids.
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=[*special, *alphabet], show_progress=False
    )
    spellable = {word: count for word, count in words.items() if known.issuperset(word)}
    learner.train_from_iterator(_spread(spellable), trainer)
    tokenizer = Tokenizer(models.WordPiece(learner.get_vocab(), unk_token=UNK))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.post_processor = _starts_with_bos()
    return tokenizer


def _wordpiece_alphabet(words: Mapping[str, int], vocab_size: int, special: int) -> list[str]:
    """Entries for the most frequent characters, at the start of words and going on: COVERAGE of them, or what fits.

    Raises:
        ConfigError: not even LEAST_COVERAGE fits.
    """
    counts = Counter[str]()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    continuing = {character for word in words for character in word[1:]}
    entries: list[str] = []
    covered = kept = 0
    for character in sorted(counts, key=lambda character: (-counts[character], character)):
        new = [character, f"##{character}"] if character in continuing else [character]
        fits = special + len(entries) + len(new) <= vocab_size
        if covered >= (COVERAGE if fits else LEAST_COVERAGE) * counts.total():
            break
        entries += new
        covered += counts[character]
        kept += 1
    if special + len(entries) > vocab_size:
        raise ConfigError(
            f"tokenizer.vocab_size is {vocab_size}; a wordpiece tokenizer of this corpus needs at least "
            f"{special + len(entries):,}: {special} special tokens, and {len(entries):,} entries for the {kept:,} "
            f"characters that make up {LEAST_COVERAGE:.0%} of it (it has {len(counts):,} different ones)."
        )
    return entries


def _spread(words: Mapping[str, int], together: int = 1000) -> Iterator[str]:
    """Texts in which every word stands as often as it was counted."""
    for word, count in sorted(words.items()):
        for start in range(0, count, together):
            yield " ".join([word] * min(together, count - start))


def _train_char(documents: Iterable[list[str]], vocab_size: int, special: list[str]) -> Any:
    """One entry per character, the most frequent first; characters not among them become UNK, and are counted."""
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
    return tokenizer


def count_words(documents: Iterable[list[str]], splitter: Any) -> dict[str, int]:
    """How often each word occurs that a pre-tokenizer makes of the texts, counted by the tokenizers library.

    A trainer keeps the counts in its state, which is what pickling it would write.
    """
    from tokenizers import Tokenizer, models, trainers

    counter = Tokenizer(models.WordLevel(unk_token=UNK))
    counter.pre_tokenizer = splitter
    trainer = trainers.WordLevelTrainer(vocab_size=1, show_progress=False)
    counter.train_from_iterator((text for batch in documents for text in batch), trainer)
    state = json.loads(trainer.__getstate__())
    return dict(state["WordLevelTrainer"]["words"])


_TRAINERS = {"bpe": _train_bpe, "unigram": _train_unigram, "wordpiece": _train_wordpiece, "char": _train_char}
