"""Find the nearest items by cosine in one view: behaviour or a modality."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from crossrec.ops.csr import Ints
from crossrec.ops.topk import exact_topk
from crossrec.ops.vectors import l2_normalize

MAX_NORM = 1.001
"""Upper bound of the length of a unit vector in float32."""


class CosineIndex:
    """Unit vectors of the items that have one in a view, (A, S), searched exactly.

    ``table_IS``: vectors of all items; ``has_vector_I``: which items are part of the view. Rows are item rows.
    """

    def __init__(self, table_IS: Tensor, has_vector_I: Tensor) -> None:
        self.unit_IS, row_A = l2_normalize(table_IS), has_vector_I.nonzero()[:, 0]
        self.row_A: Ints = row_A.numpy()
        self.candidate_AS = self.unit_IS if len(row_A) == len(self.unit_IS) else self.unit_IS[row_A]
        self.candidate_SA = self.candidate_AS.T.contiguous()

    def __len__(self) -> int:
        return len(self.row_A)

    def neighbors(self, item_C: Ints, k: int) -> tuple[Ints, Tensor, Tensor]:
        """Those of ``item_C`` that are in the view, and rows and cosines of their nearest other items, (C, ≤ k).

        A score of -inf marks the end of a shorter list.
        """
        item_C = item_C[np.isin(item_C, self.row_A)]
        itself = torch.arange(len(item_C)), torch.from_numpy(np.searchsorted(self.row_A, item_C))
        row_CK, score_CK = self.search(self.unit_IS[torch.from_numpy(item_C)], k, itself)
        return item_C, row_CK, score_CK

    def search(self, unit_CS: Tensor, k: int, masked: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Rows and cosines of the items nearest to unit vectors, (C, ≤ k).

        ``masked``: (row of ``unit_CS``, position among the candidates) pairs to leave out.
        """
        candidates = self.candidate_AS
        position_CK, score_CK = exact_topk(
            unit_CS, candidates, k, masked, max_item_norm=MAX_NORM, item_SA=self.candidate_SA
        )
        return torch.from_numpy(self.row_A)[position_CK], score_CK
