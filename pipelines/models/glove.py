"""GloVe: word vectors whose products give the logarithms of co-occurrence counts.

Pennington, Socher and Manning (2014), "GloVe: Global Vectors for Word Representation". Section 3, equation 8:

    J = sum over all i, j with X_ij > 0 of  f(X_ij) (w_i . v_j + b_i + c_j - log X_ij) ** 2
    f(x) = min(1, (x / x_max) ** alpha)

with w and b the vectors and biases of words, v and c those of contexts. Section 4.2: AdaGrad (Duchi et al. 2011) over
the non-zero X_ij in random order, learning rate 0.05, x_max 100, alpha 0.75, and w + v as the result.

Where the authors' program takes one pair at a time, this takes `batch_size` pairs a step, with their summed gradient,
and therefore wants a larger learning rate. Sums are made in a fixed order, so that equal input gives equal bits.

Shape suffixes: B pairs of one step, U distinct words among them, V vocabulary, D numbers of a vector, E = D + 2.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import embedding_bag

from pipelines.errors import DataError, TrainingError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

FIRST_SQUARES = 1.0  # AdaGrad's sums of squares begin here


class GloVe(torch.nn.Module):
    """The two tables. A row of word_VE is (w, b, 1) and one of context_VE (v, 1, c): their product has it all."""

    squares_2VE: torch.Tensor
    """AdaGrad's sums of squared gradients, of words and contexts."""

    def __init__(self, vocab_size: int, vector_size: int, x_max: float, alpha: float, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        tables = (torch.rand(2, vocab_size, vector_size + 2, generator=generator) - 0.5) / vector_size
        tables[0, :, -1] = tables[1, :, -2] = 1
        self.word_VE, self.context_VE = map(torch.nn.Parameter, tables.unbind())
        self.register_buffer("squares_2VE", torch.full_like(tables, FIRST_SQUARES))
        self.x_max, self.alpha = x_max, alpha

    def weights(self, counts_B: torch.Tensor) -> torch.Tensor:
        """f(X_ij), (B,)."""
        return (counts_B / self.x_max).pow(self.alpha).clamp(max=1)

    def residuals(self, words_B: torch.Tensor, contexts_B: torch.Tensor, counts_B: torch.Tensor) -> torch.Tensor:
        """w_i . v_j + b_i + c_j - log X_ij, (B,)."""
        products_BE = self.word_VE.index_select(0, words_B) * self.context_VE.index_select(0, contexts_B)
        return products_BE.sum(1) - counts_B.log()

    def forward(self, words_B: torch.Tensor, contexts_B: torch.Tensor, counts_B: torch.Tensor) -> torch.Tensor:
        """The part of J that these pairs make up, summed."""
        return (self.weights(counts_B) * self.residuals(words_B, contexts_B, counts_B).square()).sum()

    @torch.no_grad()
    def step(
        self, words_B: torch.Tensor, contexts_B: torch.Tensor, counts_B: torch.Tensor, learning_rate: float
    ) -> torch.Tensor:
        """One step of AdaGrad on the summed gradient of some pairs; returns their part of J before it.

        The gradient is written out: dJ/dw_i = sum over j of 2 f(X_ij) r_ij v_j with r the residual, and so on. That is
        five times faster here than autograd, which would sort the pairs again for each table.
        """
        residuals_B, weights_B = self.residuals(words_B, contexts_B, counts_B), self.weights(counts_B)
        pulls_B = 2 * weights_B * residuals_B
        of_words = _row_sums(words_B, contexts_B, pulls_B, self.context_VE)
        of_contexts = _row_sums(contexts_B, words_B, pulls_B, self.word_VE)
        of_words[1][:, -1] = of_contexts[1][:, -2] = 0  # the ones stay
        tables = zip((self.word_VE, self.context_VE), (of_words, of_contexts), self.squares_2VE, strict=True)
        for table_VE, (rows_U, gradient_UE), squares_VE in tables:
            squares_VE.index_add_(0, rows_U, gradient_UE.square())
            change_UE = gradient_UE.div_(squares_VE.index_select(0, rows_U).sqrt_())
            table_VE.index_add_(0, rows_U, change_UE, alpha=-learning_rate)
        return (weights_B * residuals_B.square()).sum()

    def vectors(self) -> "NDArray[np.float32]":
        """w + v, (V, D)."""
        return (self.word_VE + self.context_VE).detach()[:, :-2].numpy()


def _row_sums(
    rows_B: torch.Tensor, others_B: torch.Tensor, pulls_B: torch.Tensor, table_VE: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The distinct rows, rising, and for each the sum of pull times the other word's row of the table: (U,), (U, E)."""
    order_B = torch.argsort(rows_B, stable=True)
    rows_U, sizes_U = torch.unique_consecutive(rows_B[order_B], return_counts=True)
    starts_U = sizes_U.cumsum(0) - sizes_U
    sums_UE = embedding_bag(others_B[order_B], table_VE, starts_U, mode="sum", per_sample_weights=pulls_B[order_B])
    return rows_U, sums_UE


def train_glove(
    model: GloVe,
    matrix_VV: "csr_matrix",
    epochs: int,
    learning_rate: float,
    batch_size: int,
    seed: int,
    log: Callable[[int, int, float], None],
) -> None:
    """Trains a model on co-occurrence counts.

    Args:
        model: changed in place.
        matrix_VV: counts; every stored one is a pair (i, j) to learn, so that a symmetric matrix gives both ways.
        epochs: passes over all pairs, each in another random order.
        learning_rate: of AdaGrad.
        batch_size: pairs in a step.
        seed: of the order.
        log: called after each epoch with its number (from 1), the steps so far, and the mean over the epoch's pairs of
            f(X) r ** 2, each as it was just before the step that it was part of.

    Raises:
        DataError: there are no pairs.
        TrainingError: the loss is not finite.
    """
    if not matrix_VV.nnz:
        raise DataError("GloVe learns from pairs of words, and no document of the training split has two kept words.")
    cells = matrix_VV.tocoo()
    words_P = torch.from_numpy(cells.row).long()
    contexts_P = torch.from_numpy(cells.col).long()
    counts_P = torch.from_numpy(cells.data).float()
    generator, steps = torch.Generator().manual_seed(seed), 0
    for epoch in range(1, epochs + 1):
        total = torch.zeros((), dtype=torch.float64)
        for pairs_B in torch.randperm(len(counts_P), generator=generator).split(batch_size):
            total += model.step(words_P[pairs_B], contexts_P[pairs_B], counts_P[pairs_B], learning_rate)
            steps += 1
        loss = float(total) / len(counts_P)
        if loss != loss or loss == float("inf"):
            raise TrainingError(
                f"The loss of epoch {epoch} is {loss}. Lower embeddings.learning_rate from {learning_rate:g}."
            )
        log(epoch, steps, loss)
