"""How the positions of a packed or padded batch form sequences, and the chunks a recurrent layer computes them in.

Shape legend: B rows, T positions, M real (not padded) positions of a batch, S sequences; of one chunk: n sequences,
K steps.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Sequences:
    """How the positions of a batch form sequences, and the order in which these are computed: longest first, in chunks.

    torch's LSTM and GRU cannot reset a row's state on the way, and on a CPU their packed form (PackedSequence) takes 2
    to 4.4 times as long as this for forward and backward together (16 x 256 tokens at hidden size 512, measured): each
    of its steps adds to the weight gradient and to a gradient of the size of the whole input.

    Attributes:
        chunks: for each chunk the flat positions (row x T + column) it computes, (n, K), n falling; the state
            goes on from one to the next. A sequence that ends inside its last chunk is filled up with any position.
        place_BT: where the output of each position stands in the concatenated outputs of the chunks. A position outside
            the attention mask has the output of the last real one before it in its row.
        row_S: row of each sequence, longest sequence first.
        continues_S: whether the sequence goes on from the cached state of its row.
        is_last_S: whether it is the last one in its row.
    """

    chunks: list[torch.Tensor]
    place_BT: torch.Tensor
    row_S: torch.Tensor
    continues_S: torch.Tensor
    is_last_S: torch.Tensor


@torch.compiler.disable  # reads values of its inputs
def find_sequences(
    real_BT: torch.Tensor, position_ids_BT: torch.Tensor | None, steps_at_once: int, has_past: bool
) -> Sequences:
    """Cuts rows into sequences where position_ids are 0, leaving out the positions that are not real.

    Args:
        real_BT: bool, False for padding, wherever it stands.
        position_ids_BT: None: each row is one sequence.
        steps_at_once: lengths are rounded up to multiples of it, so that there are few chunks; with 1 every chunk
            ends where a sequence does, and the state after it is exact.
        has_past: a row that does not begin at position 0 goes on from the cached state.

    Raises:
        ValueError: no position is real.
    """
    rows, columns = real_BT.shape
    flat_M = real_BT.flatten().nonzero()[:, 0]
    count = len(flat_M)
    if not count:
        raise ValueError("attention_mask leaves no token to compute")
    row_M = flat_M // columns
    begins_M = torch.ones_like(row_M, dtype=torch.bool)
    begins_M[1:] = row_M[1:] != row_M[:-1]
    if position_ids_BT is None:
        restarts_M = torch.zeros_like(begins_M)
    else:
        restarts_M = (position_ids_BT == 0).expand(rows, columns).flatten()[flat_M]

    start_S = (begins_M | restarts_M).nonzero()[:, 0]
    length_S, order_S = start_S.diff(append=start_S.new_tensor([count])).sort(descending=True, stable=True)
    row_of_start_S = row_M[start_S]
    is_last_S = torch.ones_like(row_of_start_S, dtype=torch.bool)
    is_last_S[:-1] = row_of_start_S[1:] != row_of_start_S[:-1]
    start_S, is_last_S = start_S[order_S], is_last_S[order_S]

    rounded_S = (-(-length_S // steps_at_once) * steps_at_once).clamp(max=length_S[0])
    chunks, place_BT, first, places = [], torch.zeros(rows * columns, dtype=torch.int64, device=flat_M.device), 0, 0
    for last in rounded_S.unique().tolist():  # ascending
        n = int((rounded_S >= last).sum())
        step_K = torch.arange(first, last, device=flat_M.device)
        index_nK = flat_M[(start_S[:n, None] + step_K).clamp(max=count - 1)]
        is_inside_nK = step_K < length_S[:n, None]
        place_nK = torch.arange(places, places + index_nK.numel(), device=flat_M.device).view_as(index_nK)
        place_BT[index_nK[is_inside_nK]] = place_nK[is_inside_nK]
        chunks.append(index_nK)
        first, places = last, places + index_nK.numel()

    column_T = torch.arange(columns, device=flat_M.device)
    latest_real_BT = torch.where(real_BT, column_T, 0).cummax(dim=1).values
    return Sequences(
        chunks=chunks,
        place_BT=place_BT.view(rows, columns).gather(1, latest_real_BT),
        row_S=row_M[start_S],
        continues_S=(begins_M & ~restarts_M)[start_S] & has_past,
        is_last_S=is_last_S,
    )
