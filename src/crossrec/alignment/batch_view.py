"""View of a batch with its repeats merged: every distinct vector is gathered and normalised once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from crossrec.ops.vectors import gather_rows, true_indices


@dataclass(frozen=True)
class BatchView:
    """The N distinct items and the distinct users of a batch. All vectors have length 1 or 0.

    ``item_N``: the items, int64; ``count_N``: how many pairs each is in, or the sum of their weights, ``weight_B``.
    ``index_B``, ``user_index_B``: which of the distinct items and users each pair is of. ``distinct_user_L``: vectors
    of the users. ``item[m]``: i^m of the items, (N, L). ``table[m]``: the same rows and, after them, those of the
    neighbours outside the batch, (R, L); ``neighbor_NK``: rows of the table that are an item's neighbours, -1 for none.
    ``neighbored_D``: the rows of the items that have a neighbour. Without neighbours ``table`` is ``item`` and the last
    two are None.
    """

    item_N: Tensor
    index_B: Tensor
    count_N: Tensor
    distinct_user_L: Tensor
    user_index_B: Tensor
    item: dict[str, Tensor]
    table: dict[str, Tensor]
    neighbor_NK: Tensor | None
    weight_B: Tensor | None = None
    neighbored_D: Tensor | None = None

    def item_DL(self, modality: str, row_D: Tensor) -> Tensor:
        """Vectors of some of the distinct items, given by ascending rows."""
        item_NL = self.item[modality]
        return item_NL if len(row_D) == len(item_NL) else gather_rows(item_NL, row_D)


def append_neighbors(item_N: Tensor, neighbor_IK: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The items followed by their neighbours that are not among them, (R,), and each item's neighbours as rows of it.

    ``neighbor_IK``: neighbours of all items, -1 for none. -1 stays -1. Third, which of the items have a neighbour.
    """
    neighbor_NK = neighbor_IK[item_N]
    row_I = item_N.new_full((len(neighbor_IK) + 1,), -1)  # the last entry is the row of -1
    is_outside_I = torch.zeros_like(row_I, dtype=torch.bool).index_fill_(0, neighbor_NK.flatten(), True)[:-1]
    is_outside_I.index_fill_(0, item_N, False)
    outside_N, neighbored_D = true_indices(is_outside_I, (neighbor_NK >= 0).any(1))
    item_R = torch.cat([item_N, outside_N])
    row_I[item_R] = torch.arange(len(item_R), device=item_N.device)
    return item_R, row_I[neighbor_NK], neighbored_D
