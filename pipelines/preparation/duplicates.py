"""Which documents stand before in the corpus: letter for letter but for case and blanks, or nearly.

Shape suffixes: D documents in the order of the source, K minima of a signature.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.preparation.minhash import near_pairs
from pipelines.preparation_sections import NearDuplicatesConfig

KEPT, EXACT, NEAR = 0, 1, 2
REASONS = {EXACT: "exact_duplicate", NEAR: "near_duplicate"}


@dataclass(frozen=True)
class Duplicates:
    """What becomes of each document."""

    kind_D: NDArray[np.int8]
    """KEPT, EXACT or NEAR."""
    first_D: NDArray[np.int64]
    """The document that is kept in its place; of a kept one itself."""


def text_hash(text: str) -> bytes:
    """128-bit XXH3 of a text in lower case, its blanks and line ends made one blank each."""
    import xxhash

    return xxhash.xxh3_128_digest(" ".join(text.lower().split()).encode("utf-8", "surrogatepass"))


def find_duplicates(
    hash_D: NDArray[np.uint64] | None,
    signature_DK: NDArray[np.uint32] | None,
    config: NearDuplicatesConfig,
    documents: int,
) -> Duplicates:
    """Exact duplicates first, then near duplicates among what is left; of each cluster the first document is kept.

    A cluster is a connected component of the near pairs: its documents need not all be alike.

    Args:
        hash_D: `text_hash` of each document as two words, shape (D, 2); None: exact duplicates stay.
        signature_DK: MinHash signatures; None: near duplicates stay.
        config: of near duplicates.
        documents: D.
    """
    kind_D, first_D = np.zeros(documents, np.int8), np.arange(documents)
    if hash_D is not None and documents:
        order_D = np.lexsort((hash_D[:, 1], hash_D[:, 0]))  # stable, so that equal ones stay in order
        ordered = hash_D[order_D]
        begins_D = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])
        first_D[order_D] = order_D[np.flatnonzero(begins_D)[np.cumsum(begins_D) - 1]]
        kind_D[first_D != np.arange(documents)] = EXACT
    if signature_DK is not None and documents:
        left = np.flatnonzero(kind_D == KEPT)
        first = _cluster(*near_pairs(signature_DK, config, left), documents)[left]
        kind_D[left[first != left]] = NEAR
        first_D[left] = first
        first_D = first_D[first_D]  # of an exact duplicate the one that stands for its near duplicates
    return Duplicates(kind_D, first_D)


def _cluster(left: NDArray[np.int64], right: NDArray[np.int64], documents: int) -> NDArray[np.int64]:
    """The first document of each one's connected component."""
    from scipy import sparse
    from scipy.sparse import csgraph

    graph = sparse.coo_matrix((np.ones(len(left), np.int8), (left, right)), shape=(documents, documents))
    _, label_D = csgraph.connected_components(graph, directed=False)
    _, first, inverse = np.unique(label_D, return_index=True, return_inverse=True)
    return first[inverse]
