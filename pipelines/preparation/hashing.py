"""64-bit hashes of words and of n-grams of words, many at once.

Shape suffixes: W words, G places of n-grams.
"""

import numpy as np
from numpy.typing import NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying by it loses nothing


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014), which spreads close numbers over 64 bits."""
    values = values + GOLDEN
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def gram_keys(hash_W: NDArray[np.uint64], n: int) -> NDArray[np.uint64]:
    """Key of the n words from each place on, uint64 of shape (max(W - n + 1, 0),): a polynomial of their hashes."""
    count = max(len(hash_W) - n + 1, 0)
    keys_G = np.zeros(count, np.uint64)
    for place in range(n):
        keys_G = keys_G * GOLDEN + hash_W[place : place + count]
    return keys_G
