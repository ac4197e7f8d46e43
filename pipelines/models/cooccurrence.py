"""Words near each other: how often, and the word vectors that these counts alone give.

Shape suffixes: N words of the text in order, D documents, V vocabulary, K numbers of a vector.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

POSITIONS_AT_ONCE = 4_000_000  # bounds the memory beside the matrix: some 100 MB
CONTEXT_EXPONENT = 0.75
EIGENVALUE_EXPONENT = 0.5


@dataclass(frozen=True)
class Cooccurrences:
    """Which words stand near which."""

    matrix_VV: "csr_matrix"
    """fp64, symmetric: the sum of 1 / distance over all pairs of places at most a window apart in one document."""
    pairs: int
    """Such pairs of places, each counted once."""
    seconds: float
    """Time it took to count them."""


def count_cooccurrences(
    ids_N: NDArray[np.int32], document_starts_D: NDArray[np.int64], vocab_size: int, window: int
) -> Cooccurrences:
    """Counts words at most `window` words apart in the same document, on both sides, each pair by 1 / distance.

    The weight is that of Pennington et al. (2014), section 4.2.
    """
    from scipy.sparse import coo_matrix, csr_matrix

    started = time.perf_counter()
    document_N = np.repeat(np.arange(len(document_starts_D)), np.diff(document_starts_D, append=len(ids_N)))
    before_VV, pairs = csr_matrix((vocab_size, vocab_size)), 0
    for distance in range(1, min(window, len(ids_N) - 1) + 1):
        for first in range(0, len(ids_N) - distance, POSITIONS_AT_ONCE):
            left = slice(first, min(first + POSITIONS_AT_ONCE, len(ids_N) - distance))
            right = slice(left.start + distance, left.stop + distance)
            together = document_N[left] == document_N[right]
            rows, columns = ids_N[right][together], ids_N[left][together]
            weights = np.full(len(rows), 1 / distance)
            before_VV = before_VV + coo_matrix((weights, (rows, columns)), shape=before_VV.shape).tocsr()
            pairs += len(rows)
    matrix_VV = (before_VV + before_VV.T).tocsr()
    matrix_VV.sort_indices()
    return Cooccurrences(matrix_VV, pairs, time.perf_counter() - started)


def count_vectors(matrix_VV: "csr_matrix", vector_size: int) -> NDArray[np.float32]:
    """Vectors of words from counts alone: positive pointwise mutual information, then a truncated SVD.

    Levy and Goldberg (2014), "Neural Word Embedding as Implicit Matrix Factorization", sections 3.3 and 4.2, with what
    Levy et al. (2015), "Improving Distributional Similarity with Lessons Learned from Word Embeddings", recommend
    (sections 3.2 and 3.3): context counts to the power 0.75, singular values to the power 0.5, no shift.

    PPMI(w, c) = max(0, log(x_wc sum_c'(x_c' ** 0.75) / (x_w x_c ** 0.75))), with x_w the sum of row w.

    Returns:
        (V, min(vector_size, V)) float32, U_K S_K ** 0.5.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import svds

    cells = matrix_VV.tocoo()
    total_V = np.asarray(matrix_VV.sum(axis=1)).ravel()
    context_V = total_V**CONTEXT_EXPONENT
    information = np.log(cells.data * context_V.sum() / (total_V[cells.row] * context_V[cells.col]))
    kept = information > 0
    ppmi_VV = coo_matrix((information[kept], (cells.row[kept], cells.col[kept])), shape=cells.shape).tocsr()
    if not ppmi_VV.nnz:
        return np.zeros((ppmi_VV.shape[0], min(vector_size, ppmi_VV.shape[0])), np.float32)
    if vector_size >= ppmi_VV.shape[0]:  # ARPACK finds all singular values but the last
        left_VK, values_K, _ = np.linalg.svd(ppmi_VV.toarray())
    else:
        start_V = np.random.default_rng(0).uniform(-1, 1, ppmi_VV.shape[0])
        left_VK, values_K, _ = svds(ppmi_VV, vector_size, v0=start_V)
    return (left_VK * values_K**EIGENVALUE_EXPONENT).astype(np.float32)


def random_vectors(vocab_size: int, vector_size: int, seed: int) -> NDArray[np.float32]:
    """Vectors that know nothing: independent standard normal numbers, (V, K) float32."""
    return np.random.default_rng(seed).standard_normal((vocab_size, vector_size), dtype=np.float32)
