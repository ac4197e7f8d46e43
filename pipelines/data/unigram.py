"""Training of unigram language model tokenizers (Kudo 2018, section 3.2) from counted words, the same on every run.

The trainer of the tokenizers library is not used: it goes through the words in the order of a randomly seeded hash
table, so that ids and scores differ from run to run, and it ranks the first pieces by distinct words instead of by
occurrences, which costs some 15 % more tokens.

Shape suffixes: W words, N characters of all words, K nodes (places between characters), E edges, P pieces.
"""

from collections.abc import Mapping, Sequence
from zlib import crc32

import numpy as np

LONGEST_PIECE = 16  # characters, as in SentencePiece
SEEDS_PER_PIECE, MAX_SEEDS = 20, 250_000  # pieces to start from: more take longer and change little
SHRINK = 0.75  # share of the pieces that a round of pruning keeps, as in SentencePiece
EM_STEPS = 2  # in a round, as in SentencePiece
LONGEST_WORD = 256  # characters; a longer word is trained on in parts
MAX_CHARACTERS = 2_000_000  # of distinct words, the frequent ones first; what is beyond is not trained on
LEAST_COUNT = 0.01  # expected count of a piece that does not occur


def train_unigram(words: Mapping[str, int], size: int, alphabet: Sequence[str]) -> list[tuple[str, float]]:
    """Pieces and their log-probabilities, the likeliest first.

    All substrings that occur twice compete; expectation maximisation estimates their probabilities, and those whose
    removal would cost the least likelihood are dropped, until `size` are left.

    Args:
        words: word -> how often it occurs. Pieces do not reach across words.
        size: pieces to keep, at least the alphabet; fewer come back if the words have no more substrings.
        alphabet: the characters that words are made of. All of them are pieces, seen or not.
    """
    parts = _parts(words)
    counts_W = np.array([count for _, count in parts], dtype=np.float64)
    lengths_W = np.array([len(part) for part, _ in parts])
    codes = {character: code for code, character in enumerate(alphabet)}
    codes_N = np.array([codes[character] for part, _ in parts for character in part])
    starts_P, lengths_P, expected_P, piece_at = _seed_pieces(
        codes_N, lengths_W, counts_W, len(alphabet), min(SEEDS_PER_PIECE * size, MAX_SEEDS)
    )
    corpus = Lattice(np.cumsum(lengths_W) - lengths_W, lengths_W, piece_at)
    # How each piece of several characters would be written without itself.
    spelt = Lattice(starts_P[len(alphabet) :], lengths_P[len(alphabet) :], piece_at, proper=True)
    while True:
        for _ in range(EM_STEPS):
            expected_P = corpus.expected_counts(_log_probabilities(expected_P), counts_W)
        if len(expected_P) <= size:
            break
        loss_P = _losses(corpus, spelt, _log_probabilities(expected_P), counts_W, len(alphabet))
        # Rounded, so that losses that differ by rounding errors alone leave the choice to the order of the pieces.
        kept = np.argsort(-np.round(loss_P, 6), kind="stable")[: max(size, int(SHRINK * len(loss_P)))]
        kept.sort()
        corpus.keep(kept)
        spelt.keep(kept, words=kept[len(alphabet) :] - len(alphabet))
        starts_P, lengths_P, expected_P = starts_P[kept], lengths_P[kept], expected_P[kept]
    spans = zip(starts_P[len(alphabet) :].tolist(), lengths_P[len(alphabet) :].tolist(), strict=True)
    longer = ["".join(alphabet[code] for code in codes_N[start : start + length]) for start, length in spans]
    scores = np.round(_log_probabilities(expected_P), 6).tolist()
    return sorted(zip([*alphabet, *longer], scores, strict=True), key=lambda piece: (-piece[1], piece[0]))


def _parts(words: Mapping[str, int]) -> list[tuple[str, int]]:
    """Words and counts in a fixed order, long words cut, the rarest left out where there are too many.

    Among the equally rare, a checksum chooses and not the alphabet, which would leave out whole scripts.
    """
    parts: list[tuple[str, int]] = []
    characters = 0
    for word, count in sorted(words.items(), key=lambda item: (-item[1], crc32(item[0].encode()), item[0])):
        characters += len(word)
        if parts and characters > MAX_CHARACTERS:
            break
        parts += [(word[start : start + LONGEST_WORD], count) for start in range(0, len(word), LONGEST_WORD)]
    return parts


def _log_probabilities(expected_P: np.ndarray) -> np.ndarray:
    counts_P = np.maximum(expected_P, LEAST_COUNT)
    return np.log(counts_P / counts_P.sum())


def _seed_pieces(
    codes_N: np.ndarray, lengths_W: np.ndarray, counts_W: np.ndarray, alphabet: int, seeds: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[int, np.ndarray]]:
    """The alphabet, and the repeated substrings that cover the most characters of the corpus.

    Returns:
        Per piece: a place where it stands, its length, and how many characters it covers. Per length: the piece of
        that length which stands at each place, or -1.
    """
    left_N = np.repeat(np.cumsum(lengths_W), lengths_W) - np.arange(len(codes_N))  # characters to the word's end
    times_N = np.repeat(counts_W, lengths_W)
    names_N = codes_N.copy()  # where equal substrings of one length stand, equal names stand
    places = np.arange(len(codes_N))
    standing: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # length -> places, and the names of what stands there
    firsts, lengths, covered = [np.zeros(alphabet, int)], [np.ones(alphabet, int)], []
    covered.append(np.bincount(codes_N, weights=times_N, minlength=alphabet))
    for length in range(2, LONGEST_PIECE + 1):
        places = places[left_N[places] >= length]
        grown = names_N[places] * alphabet + codes_N[places + length - 1]
        _, first, name = np.unique(grown, return_index=True, return_inverse=True)
        times = np.bincount(name, weights=times_N[places], minlength=len(first))
        repeated = times >= 2  # what is not repeated, nothing longer repeats
        firsts.append(places[first[repeated]])
        lengths.append(np.full(len(firsts[-1]), length))
        covered.append(times[repeated] * length)
        name = np.where(repeated, np.cumsum(repeated) - 1, -1)[name]
        places, name = places[name >= 0], name[name >= 0]
        names_N[places] = name
        standing[length] = places, name

    covered_P = np.concatenate(covered)
    rank = np.argsort(-covered_P[alphabet:], kind="stable")[: max(seeds - alphabet, 0)]
    chosen = np.concatenate((np.arange(alphabet), alphabet + np.sort(rank)))
    pieces = np.full(len(covered_P), -1)
    pieces[chosen] = np.arange(len(chosen))
    piece_at = {1: codes_N.astype(np.int32)}
    offset = alphabet
    for length, (places, name) in standing.items():
        piece_at[length] = np.full(len(codes_N), -1, dtype=np.int32)
        piece_at[length][places] = pieces[offset + name]
        offset += len(lengths[length - 1])
    return np.concatenate(firsts)[chosen], np.concatenate(lengths)[chosen], covered_P[chosen], piece_at


def _losses(
    corpus: "Lattice", spelt: "Lattice", log_p_P: np.ndarray, counts_W: np.ndarray, alphabet: int
) -> np.ndarray:
    """Log-likelihood lost without each piece, if its occurrences were written in the best other way (section 3.2).

    Counted on the best segmentation of each word, as SentencePiece does. Infinite for the alphabet.
    """
    words, used = corpus.best_pieces(log_p_P)
    count_P = np.bincount(used, weights=counts_W[words], minlength=len(log_p_P))
    owners, others = spelt.best_pieces(log_p_P)
    owners = owners + alphabet
    more_P = np.bincount(owners, minlength=len(log_p_P)) - 1
    with np.errstate(divide="ignore", invalid="ignore"):  # a piece that is not used is worth nothing: 0 * log 0
        written = np.log(count_P[others] + count_P[owners])
        written_P = np.bincount(owners, weights=written, minlength=len(log_p_P))
        written_P -= (more_P + 1) * np.log(count_P.sum() + count_P * more_P)
        loss_P = count_P * (np.log(count_P / count_P.sum()) - written_P)
    loss_P[count_P == 0] = -np.inf
    loss_P[:alphabet] = np.inf
    return loss_P


class Lattice:
    """All segmentations of strings into pieces. A node is a place between characters, an edge a piece from one to
    another; edges are sorted by how deep in its string their end lies, so that a string is gone through level by level.
    """

    def __init__(
        self, starts_W: np.ndarray, lengths_W: np.ndarray, piece_at: dict[int, np.ndarray], *, proper: bool = False
    ) -> None:
        """
        Args:
            starts_W: where each string stands in the text.
            lengths_W: characters of each, at least one.
            piece_at: per length, the piece that stands at each place of the text, or -1.
            proper: leave out the piece that is the whole string.
        """
        self.ends_W = np.cumsum(lengths_W + 1) - 1
        self.starts_W = self.ends_W - lengths_W
        words = np.repeat(np.arange(len(lengths_W)), lengths_W)
        inside = np.arange(len(words)) - np.repeat(np.cumsum(lengths_W) - lengths_W, lengths_W)
        found = []
        for length, pieces in piece_at.items():
            edges = pieces[starts_W[words] + inside]
            fits = (edges >= 0) & (inside + length <= lengths_W[words])
            if proper:
                fits &= lengths_W[words] != length
            word = words[fits]
            begin = self.starts_W[word] + inside[fits]
            found.append((inside[fits] + length, begin + length, begin, edges[fits], word))
        depth, end, begin, piece, word = (np.concatenate(part).astype(np.int32) for part in zip(*found, strict=True))
        self.pieces = max(int(pieces.max(initial=0)) for pieces in piece_at.values()) + 1
        self._set_edges(np.stack([depth, end, begin, piece, word])[:, np.lexsort((begin, end, depth))])

    def keep(self, pieces: np.ndarray, words: np.ndarray | None = None) -> None:
        """Drops all other pieces, and all other strings if some are named; those kept are renumbered in order."""
        new_piece = np.full(self.pieces, -1, dtype=np.int32)
        new_piece[pieces] = np.arange(len(pieces))
        new_word = np.arange(len(self.ends_W), dtype=np.int32)
        if words is not None:
            new_word[:] = -1
            new_word[words] = np.arange(len(words))
            self.starts_W, self.ends_W = self.starts_W[words], self.ends_W[words]
        self.pieces = len(pieces)
        piece_E, word_E = new_piece[self.piece_E], new_word[self.word_E]
        edges = np.stack([*self.edges[:3], piece_E, word_E])
        self._set_edges(edges[:, (piece_E >= 0) & (word_E >= 0)])

    def _set_edges(self, edges: np.ndarray) -> None:
        self.edges = edges
        self.depth_E, self.end_E, self.begin_E, self.piece_E, self.word_E = edges
        # Per depth: its edges, which of them are the first at their node, and which of the depth's nodes they end in.
        self._levels = []
        cuts = [0, *(np.flatnonzero(np.diff(self.depth_E)) + 1).tolist(), edges.shape[1]]
        for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
            new_node = np.diff(self.end_E[start:stop], prepend=-1) != 0
            self._levels.append((slice(start, stop), np.flatnonzero(new_node), np.cumsum(new_node) - 1))

    def expected_counts(self, log_p_P: np.ndarray, counts_W: np.ndarray) -> np.ndarray:
        """How often each piece occurs, expected over all segmentations of all strings (forward-backward)."""
        forward_K = np.zeros(self._nodes())
        log_p_E = log_p_P[self.piece_E]
        share_E = np.empty(len(log_p_E))  # of the probability at an edge's end, what comes through the edge
        for edges, first, node in self._levels:
            through = forward_K[self.begin_E[edges]] + log_p_E[edges]
            top = np.maximum.reduceat(through, first)
            through = np.exp(through - top[node])
            total = np.add.reduceat(through, first)
            forward_K[self.end_E[edges][first]] = top + np.log(total)
            share_E[edges] = through / total[node]
        expected_K = np.zeros(self._nodes())
        expected_K[self.ends_W] = counts_W
        for edges, _, _ in reversed(self._levels):
            share_E[edges] *= expected_K[self.end_E[edges]]
            np.add.at(expected_K, self.begin_E[edges], share_E[edges])
        return np.bincount(self.piece_E, weights=share_E, minlength=len(log_p_P))

    def best_pieces(self, log_p_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest segmentation of each string (Viterbi); of equal ones, that with the longer last piece.

        Returns:
            Per piece used: the number of its string, and the piece.
        """
        best_K = np.zeros(self._nodes())
        edge_K = np.zeros(self._nodes(), dtype=np.int64)
        for edges, first, node in self._levels:
            score = best_K[self.begin_E[edges]] + log_p_P[self.piece_E[edges]]
            top = np.maximum.reduceat(score, first)
            winners = np.flatnonzero(score == top[node])[::-1]  # of several, the first is written last
            best_K[self.end_E[edges][first]] = top
            edge_K[self.end_E[edges][winners]] = edges.start + winners
        used = []
        nodes = self.ends_W
        while len(nodes):
            edges = edge_K[nodes]
            used.append(edges)
            nodes = self.begin_E[edges]
            nodes = nodes[nodes != self.starts_W[self.word_E[edges]]]
        chosen = np.concatenate(used)
        return self.word_E[chosen], self.piece_E[chosen]

    def _nodes(self) -> int:
        return int(self.ends_W[-1]) + 1
