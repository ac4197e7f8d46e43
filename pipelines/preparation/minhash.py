"""MinHash signatures of documents, and the pairs that locality-sensitive hashing finds among them.

The share of places in which two signatures agree estimates the Jaccard similarity j of the documents' sets of word
n-grams (Broder 1997, "On the Resemblance and Containment of Documents"). A signature is cut into bands of rows; a pair
is compared if it agrees in a whole band, which has the probability 1 - (1 - j**rows)**bands (Leskovec, Rajaraman and
Ullman, "Mining of Massive Datasets", section 3.4). Words are those of `pipelines/data/contamination.py`: case,
punctuation and blanks do not tell documents apart.

Shape suffixes: D documents, K minima of a signature, G n-grams, P pairs.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.data.contamination import words_of
from pipelines.errors import ConfigError
from pipelines.preparation.hashing import GOLDEN, gram_keys, mixed
from pipelines.preparation_sections import NearDuplicatesConfig

SEED = 19971
BLOCK_GRAMS = 1 << 15  # n-grams that are permuted at once: they stay in the cache of a core
PAIRS_AT_ONCE = 1 << 16


def signatures(texts: Sequence[str], size: int, ngram_words: int) -> NDArray[np.uint32]:
    """MinHash signatures of texts, uint32 of shape (D, K).

    Args:
        texts: of the documents. One of fewer than `ngram_words` words has itself as its one n-gram.
        size: K.
        ngram_words: words of an n-gram.
    """
    import xxhash

    hashes: dict[str, int] = {}
    grams: list[NDArray[np.uint32]] = []
    for text in texts:
        words = words_of(text)
        numbers = []
        for word in words:
            value = hashes.get(word)
            if value is None:
                value = hashes[word] = xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass"))
            numbers.append(value)
        hash_W = np.array(numbers, np.uint64)
        if len(words) >= ngram_words:
            keys_G = gram_keys(hash_W, ngram_words)
        elif words:
            keys_G = gram_keys(hash_W, len(words))
        else:
            keys_G = np.array([xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))], np.uint64)
        grams.append((mixed(keys_G) >> np.uint64(32)).astype(np.uint32))
    signature_DK = np.empty((len(texts), size), np.uint32)
    start = 0
    while start < len(grams):
        end, count = start, 0
        while end < len(grams) and (end == start or count + len(grams[end]) <= BLOCK_GRAMS):
            count += len(grams[end])
            end += 1
        signature_DK[start:end] = _minima(grams[start:end], size)
        start = end
    return signature_DK


def _minima(grams: list[NDArray[np.uint32]], size: int) -> NDArray[np.uint32]:
    """The least value of each document's n-grams under each of the permutations h -> (h ^ mask) * odd, mod 2**32."""
    hash_G = np.concatenate(grams)
    starts_D = np.concatenate([[0], np.cumsum([len(one) for one in grams])[:-1]])
    masks_K, odds_K = _permutations(size)
    minima_KD = np.empty((size, len(grams)), np.uint32)
    permuted_G = np.empty_like(hash_G)
    for place in range(size):
        np.bitwise_xor(hash_G, masks_K[place], out=permuted_G)
        np.multiply(permuted_G, odds_K[place], out=permuted_G)
        np.minimum.reduceat(permuted_G, starts_D, out=minima_KD[place])
    return minima_KD.T


def _permutations(size: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    drawn = np.random.Generator(np.random.PCG64(SEED)).integers(0, 1 << 32, (2, size), np.uint32)
    return drawn[0], drawn[1] | np.uint32(1)


def near_pairs(
    signature_DK: NDArray[np.uint32], config: NearDuplicatesConfig, among: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (left < right) of documents whose signatures agree in a band, and in `min_jaccard` of all places.

    Of the documents that agree in a band each is compared with the first one and with the one before it.

    Args:
        signature_DK: of all documents.
        config: bands, and what is near.
        among: the documents that are looked at, ascending.
    """
    found: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    for band in range(config.bands):
        keys_D = np.zeros(len(among), np.uint64)
        for row in range(config.rows_per_band):
            keys_D = mixed(keys_D * GOLDEN + signature_DK[among, band * config.rows_per_band + row])
        order_D = np.argsort(keys_D, kind="stable")  # among equal keys by place
        ordered_D, order_D = keys_D[order_D], among[order_D]
        begins_D = np.concatenate([[True], ordered_D[1:] != ordered_D[:-1]])[: len(ordered_D)]
        first_D = order_D[np.flatnonzero(begins_D)[np.cumsum(begins_D) - 1]]
        again = np.flatnonzero(~begins_D)
        pairs = np.concatenate(
            [np.stack([order_D[again - 1], order_D[again]], 1), np.stack([first_D[again], order_D[again]], 1)]
        )
        found.append(_alike(np.unique(pairs, axis=0), signature_DK, config.min_jaccard))
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _alike(pairs: NDArray[np.int64], signature_DK: NDArray[np.uint32], least: float) -> NDArray[np.int64]:
    kept = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        part = pairs[start : start + PAIRS_AT_ONCE]
        share_P = (signature_DK[part[:, 0]] == signature_DK[part[:, 1]]).mean(axis=1)
        kept.append(part[share_P >= least])
    return np.concatenate(kept)


def check_near_duplicates(config: NearDuplicatesConfig) -> None:
    """Raises ConfigError for settings that make no signature or no band."""
    for name in ("ngram_words", "signature_size", "bands", "rows_per_band"):
        if getattr(config, name) < 1:
            raise ConfigError(f"near_duplicates.{name} is {getattr(config, name)}; expected 1 or more.")
    if not 0 < config.min_jaccard <= 1:
        raise ConfigError(
            f"near_duplicates.min_jaccard is {config.min_jaccard}; expected more than 0 and at most 1, such as 0.8."
        )
    if config.bands * config.rows_per_band > config.signature_size:
        raise ConfigError(
            f"near_duplicates: {config.bands} bands of {config.rows_per_band} rows need a signature of "
            f"{config.bands * config.rows_per_band} minima, signature_size is {config.signature_size}. Lower bands or "
            "rows_per_band, or raise signature_size."
        )
