"""New tokens for an existing tokenizer: the words of a new domain that it cuts into many pieces."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WORD = r"[^\W\d_]{3,}"  # three letters or more


def add_new_tokens(
    tokenizer: "PreTrainedTokenizerBase", new_tokens: int | list[str], texts: Iterable[list[str]]
) -> dict[int, list[int]]:
    """Adds words to a tokenizer, in place.

    A byte-level tokenizer gets each word with the blank before it, as its own tokens have it; any other gets it as a
    word that matches whole words only.

    Args:
        tokenizer: is changed.
        new_tokens: the words, or how many to choose: those that save the most tokens in `texts`, which is how often
            a word stands there times the pieces it is cut into, minus one for the new token.
        texts: batches of training texts.

    Returns:
        Id of each new token -> ids of the pieces it was cut into before.

    Raises:
        ConfigError: a word that the tokenizer has as one token already, or fewer words to choose than asked for.
    """
    from tokenizers import AddedToken

    blank = " " if _is_byte_level(tokenizer) else ""

    def pieces(word: str) -> list[int]:
        return tokenizer(blank + word, add_special_tokens=False)["input_ids"]

    words = _choose(new_tokens, texts, pieces) if isinstance(new_tokens, int) else list(dict.fromkeys(new_tokens))
    cut = {word: pieces(word) for word in words}
    known = next((word for word in words if len(cut[word]) < 2), None)
    if known is not None:
        raise ConfigError(f"tokenizer.new_tokens names {known!r}, which is one token of this tokenizer already.")
    added = [AddedToken(blank + word, single_word=not blank, normalized=not blank) for word in words]
    tokenizer.add_tokens(added)
    vocabulary = tokenizer.get_vocab()
    return {vocabulary[blank + word]: cut[word] for word in words}


def _choose(count: int, texts: Iterable[list[str]], pieces: Callable[[str], list[int]]) -> list[str]:
    import re

    words = Counter(word for batch in texts for text in batch for word in re.findall(WORD, text))
    frequent = [(word, times) for word, times in words.items() if times > 1]
    saved = {word: times * (len(pieces(word)) - 1) for word, times in sorted(frequent)}
    best = sorted((word for word in saved if saved[word] > 0), key=lambda word: (-saved[word], word))[:count]
    if len(best) < count:
        raise ConfigError(
            f"tokenizer.new_tokens is {count:,}, but only {len(best):,} words of the training split stand there twice "
            "and are cut into pieces. Set a smaller number."
        )
    return best


def _is_byte_level(tokenizer: "PreTrainedTokenizerBase") -> bool:
    decoder = json.loads(tokenizer.backend_tokenizer.to_str())["decoder"] or {}
    return "ByteLevel" in json.dumps(decoder)
