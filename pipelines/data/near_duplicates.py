"""Near-duplicate texts by shared word 13-grams: clusters of them, and splits that no cluster straddles.

A word is a run of characters without blanks, lowercased. Two texts belong together when they share at least half of
the distinct 13-grams of the one that has fewer. The window of 13 words is that of the overlap analysis of GPT-3
(Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C).
"""

import hashlib
from collections.abc import Sequence
from typing import Any

GRAM_WORDS = 13
SHARED_FRACTION = 0.5

SEED = 20240229
# Larger clusters (one docstring repeated over many classes) always train: one of them would fill a held-out split.
MAX_HELD_OUT_CLUSTER = 16

# Rows multiplied at a time when texts are paired: bounds the memory of one block of the product, not its result.
_BLOCK_ROWS = 2048


def gram_matrix(texts: Sequence[str]) -> Any:
    """Which text holds which 13-gram: a scipy CSR matrix of ones, int32, of shape (texts, distinct grams).

    A gram is a 64-bit sum of its words' XXH3 hashes, each times an odd constant of its place. Two of N distinct grams
    collide with a chance of about N**2 / 2**65: below one in a million for the five million grams of `installed_docs`.
    A text of fewer than 13 words has an empty row.
    """
    import numpy as np
    import xxhash
    from scipy import sparse

    hashes: dict[str, int] = {}
    flat: list[int] = []
    lengths = np.zeros(len(texts), dtype=np.int64)
    for row, text in enumerate(texts):
        words = text.lower().split()
        lengths[row] = len(words)
        for word in words:
            value = hashes.get(word)
            if value is None:
                value = hashes[word] = xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass"))
            flat.append(value)
    values = np.array(flat, dtype=np.uint64)
    starts = max(len(values) - GRAM_WORDS + 1, 0)
    grams = np.zeros(starts, dtype=np.uint64)
    for place in range(GRAM_WORDS):
        odd = np.uint64(xxhash.xxh3_64_intdigest(f"place {place}".encode()) | 1)
        grams += values[place : place + starts] * odd

    owner = np.repeat(np.arange(len(texts)), lengths)
    inside = owner[:starts] == owner[len(owner) - starts :]  # first and last word of the gram in the same text
    _, columns = np.unique(grams[inside], return_inverse=True)
    ones = np.ones(len(columns), dtype=np.int32)
    width = int(columns.max()) + 1 if len(columns) else 0
    matrix = sparse.csr_matrix((ones, (owner[:starts][inside], columns)), shape=(len(texts), width))
    matrix.sum_duplicates()
    matrix.data[:] = 1  # a set of grams, not a count
    return matrix


def clusters(texts: Sequence[str], matrix: Any) -> Any:
    """Cluster number of each text, int64 of shape (texts,), numbered from 0 in order of first appearance.

    `matrix` is `gram_matrix(texts)`. Clusters are the connected components of "share at least half of the smaller
    one's 13-grams"; texts of fewer than 13 words are joined when equal up to case and blanks.

    The pairing is exact, with no cap on common grams. Measured on the 32,671 texts of `installed_docs`: the commonest
    gram is in 184 of them, pairing takes under 2 s, and the components do not collapse into one: the largest holds
    373 texts (1.1 %), the `forward` docstrings of transformers' models.
    """
    import numpy as np
    from scipy import sparse
    from scipy.sparse import csgraph

    left, right = _near_pairs(matrix)
    short_left, short_right = _equal_short_texts(texts, matrix)
    left, right = np.concatenate([left, short_left]), np.concatenate([right, short_right])
    graph = sparse.coo_matrix((np.ones(len(left), dtype=np.int8), (left, right)), shape=(len(texts), len(texts)))
    _, labels = csgraph.connected_components(graph, directed=False)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def shared_with(matrix: Any, train: Any) -> Any:
    """Fraction of each text's distinct 13-grams that occur in any training text: float64 of shape (texts,).

    `train` is a boolean mask of shape (texts,). A text without grams has fraction 0.
    """
    import numpy as np

    seen = np.zeros(matrix.shape[1], dtype=np.int32)
    seen[matrix[np.flatnonzero(train)].indices] = 1
    return (matrix @ seen) / np.maximum(np.diff(matrix.indptr), 1)


def leaks(texts: Sequence[str], splits: Sequence[int]) -> list[bool]:
    """Which texts are known from another split: 0 is train, 1 validation, 2 test.

    A held-out text is when half or more of its distinct 13-grams occur in training texts; any text is when it equals
    one of a split with a lower number.
    """
    import numpy as np

    numbers = np.array(splits, dtype=np.int64)
    first: dict[str, int] = {}
    for text, split in zip(texts, splits, strict=True):
        first[text] = min(split, first.get(text, split))
    covered = (numbers != 0) & (shared_with(gram_matrix(texts), numbers == 0) >= SHARED_FRACTION)
    return [known or first[text] < split for text, split, known in zip(texts, splits, covered.tolist(), strict=True)]


def assign_splits(texts: Sequence[str], held_out_share: float) -> tuple[Any, Any, dict[str, Any]]:
    """Split and cluster of each text, int64 of shape (texts,), and figures; 0 is train, 1 validation, 2 test.

    A cluster lies in one split, drawn by a hash of its content; `held_out_share` of the clusters is aimed at for each
    of validation and test. Held-out texts with half or more of their distinct 13-grams in the union of the training
    texts are then moved to train, with their whole cluster, until none is left. `figures["moved"]` marks every text
    so moved (a list of bool of length texts).
    """
    import numpy as np

    matrix = gram_matrix(texts)
    cluster = clusters(texts, matrix)
    sizes = np.bincount(cluster, minlength=1)
    by_cluster = np.array(_draw(texts, cluster.tolist(), sizes.tolist(), held_out_share), dtype=np.int64)
    drawn = splits = by_cluster[cluster]
    rounds: list[int] = []
    while not rounds or rounds[-1]:
        covered = (splits != 0) & (shared_with(matrix, splits == 0) >= SHARED_FRACTION)
        rounds.append(int(covered.sum()))
        by_cluster[cluster[covered]] = 0
        splits = by_cluster[cluster]
    figures = {
        "clusters": int(cluster.max(initial=-1)) + 1,
        "clusters_of_two_or_more": int((sizes > 1).sum()),
        "largest_cluster": int(sizes.max(initial=0)),
        "texts_in_clusters_too_large_to_hold_out": int(sizes[sizes > MAX_HELD_OUT_CLUSTER].sum()),
        "held_out_texts_half_in_train_by_round": rounds,
        "moved": (drawn != splits).tolist(),
    }
    return splits, cluster, figures


def _draw(texts: Sequence[str], cluster: list[int], sizes: list[int], held_out_share: float) -> list[int]:
    """Split of each cluster, from a hash of `SEED` and the smallest text hash in the cluster."""
    smallest: dict[int, bytes] = {}
    for text, number in zip(texts, cluster, strict=True):
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        smallest[number] = min(digest, smallest.get(number, digest))
    drawn = []
    for number in range(len(smallest)):
        # Hashed again, for the smallest of many hashes is not uniform.
        point = int.from_bytes(hashlib.sha256(b"%d" % SEED + smallest[number]).digest()[:8], "big") / 2**64
        held_out = sizes[number] <= MAX_HELD_OUT_CLUSTER and point < 2 * held_out_share
        drawn.append(0 if not held_out else 1 if point < held_out_share else 2)
    return drawn


def _near_pairs(matrix: Any) -> tuple[Any, Any]:
    """Row numbers (left < right) of the texts that share at least half of the smaller one's grams."""
    import numpy as np

    sizes = np.diff(matrix.indptr)
    shared = matrix[:, np.bincount(matrix.indices, minlength=matrix.shape[1]) > 1]
    others = shared.T.tocsr()
    left, right = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for start in range(0, matrix.shape[0], _BLOCK_ROWS):
        common = (shared[start : start + _BLOCK_ROWS] @ others).tocoo()
        rows, columns = common.row.astype(np.int64) + start, common.col.astype(np.int64)
        near = (rows < columns) & (common.data >= SHARED_FRACTION * np.minimum(sizes[rows], sizes[columns]))
        left.append(rows[near])
        right.append(columns[near])
    return np.concatenate(left), np.concatenate(right)


def _equal_short_texts(texts: Sequence[str], matrix: Any) -> tuple[list[int], list[int]]:
    """Pairs of rows without grams whose texts are equal up to case and blanks."""
    import numpy as np

    first: dict[str, int] = {}
    left, right = [], []
    for row in np.flatnonzero(np.diff(matrix.indptr) == 0).tolist():
        earlier = first.setdefault(" ".join(texts[row].lower().split()), row)
        if earlier != row:
            left.append(earlier)
            right.append(row)
    return left, right
