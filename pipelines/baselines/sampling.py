"""Which training rows a baseline learns from."""

from collections.abc import Sequence

import numpy as np


def evenly_spread(sizes: Sequence[int], limit: int) -> list[int]:
    """All rows, or as many, evenly spread and at least one, as together hold about `limit`.

    Args:
        sizes: of each row: characters, tokens, or ones.
        limit: of the sum of sizes.
    """
    total = sum(sizes)
    count = len(sizes) if total <= limit else max(len(sizes) * limit // total, 1)
    return np.linspace(0, len(sizes) - 1, count, dtype=int).tolist()
