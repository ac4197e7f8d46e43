"""New tokens for an existing tokenizer: the words of a new domain that it cuts into many pieces."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WORD = r"[^\W\d_]{3,}"  # three letters or more


def add_new_tokens(
    tokenizer: "PreTrainedTokenizerBase", new_tokens: int | list[str], texts: Iterable[list[str]]
) -> dict[int, list[int]]:
    """Adds words to a tokenizer, in place, in the form that its normaliser gives them.

    A byte-level tokenizer gets each word with the blank before it, as its own tokens have it, so it also begins longer
    words; any other gets it as a word that matches whole words only.

    Args:
        tokenizer: is changed.
        new_tokens: the words, or how many to choose: those that save the most tokens in `texts`.
        texts: batches of training texts.

    Returns:
        Id of each new token -> ids of the pieces it was cut into before.

    Raises:
        ConfigError: a word that the tokenizer has as one token already, fewer words to choose than asked for, or a
            tokenizer that would not use new tokens or would lose text with them (SentencePiece types).
    """
    from tokenizers import AddedToken

    backend: Any = tokenizer.backend_tokenizer
    blank = " " if "ByteLevel" in json.dumps(json.loads(backend.to_str())["decoder"] or {}) else ""
    normal = (lambda word: word) if backend.normalizer is None else backend.normalizer.normalize_str

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    def pieces(word: str) -> list[int]:
        return ids(blank + word)

    if isinstance(new_tokens, int):
        words = _choose(new_tokens, texts, normal, pieces, ids if blank else None)
    else:
        words = list(dict.fromkeys(map(normal, new_tokens)))
    cut = {word: pieces(word) for word in words}
    known = next((word for word in words if len(cut[word]) < 2 and cut[word] != [tokenizer.unk_token_id]), None)
    if known is not None:
        raise ConfigError(f"tokenizer.new_tokens names {known!r}, which is one token of this tokenizer already.")
    examples = {word: f"a {word}." for word in words}
    before = {word: str(tokenizer.decode(ids(text))) for word, text in examples.items()}
    tokenizer.add_tokens([AddedToken(blank + word, single_word=not blank, normalized=not blank) for word in words])
    vocabulary = tokenizer.get_vocab()
    added = {word: vocabulary[blank + word] for word in words}
    for word, text in examples.items():
        unknown = tokenizer.unk_token_id in cut[word]
        if added[word] not in ids(text) or (str(tokenizer.decode(ids(text))) != before[word] and not unknown):
            raise ConfigError(
                f"tokenizer.new_tokens: with {word!r} added, this tokenizer would not use it or would change the text "
                "around it (SentencePiece types do). New tokens work with byte-level BPE and WordPiece; leave it out."
            )
    return {added[word]: cut[word] for word in words}


def _choose(
    count: int,
    texts: Iterable[list[str]],
    normal: Callable[[str], str],
    pieces: Callable[[str], list[int]],
    rest: Callable[[str], list[int]] | None,
) -> list[str]:
    """Words that save most: their occurrences times the pieces less one.

    With `rest`, which cuts the end of a word, a new token also begins longer words: what that saves or costs is added.
    """
    import re

    counts = Counter(word for batch in texts for text in batch for word in re.findall(WORD, normal(text)))
    words = sorted(word for word, times in counts.items() if times > 1)
    lengths = {word: len(pieces(word)) for word in words}
    saved = {}
    for place, word in enumerate(words):
        saved[word] = counts[word] * (lengths[word] - 1)
        following = place + 1
        while rest is not None and following < len(words) and words[following].startswith(word):
            longer = words[following]
            saved[word] += counts[longer] * (lengths[longer] - 1 - len(rest(longer[len(word) :])))
            following += 1
    best = sorted((word for word in words if saved[word] > 0 and lengths[word] > 1), key=lambda one: (-saved[one], one))
    if len(best) < count:
        raise ConfigError(
            f"tokenizer.new_tokens is {count:,}, but only {len(best):,} words of the training split stand there twice "
            "and would shorten it. Set a smaller number."
        )
    return best[:count]
