"""Top-K whose order is fixed: best first, and the lower index first among equal scores; an index by cosine."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from crossrec.ops.csr import Ints
from crossrec.ops.vectors import l2_normalize

MARGIN = 16
"""Candidates beyond k that the float32 scores put forward."""
MAX_SCORES = 1 << 24
"""Scores held in memory at a time by default: 64 MB."""
MAX_ENTRIES = 1 << 20
"""Entries of all lists made at a time."""
MAX_NUMBERS = 1 << 22
"""Numbers of the candidates' vectors in float64 at a time: 32 MB."""


def users_per_chunk(num_items: int, k: int = 1) -> int:
    """Number of users to score at a time for lists of ``k``."""
    return max(1, min(1024, MAX_SCORES // max(num_items, 1), MAX_ENTRIES // max(k, 1)))


def max_norm(vector_NS: Tensor) -> float:
    """Length of the longest vector; 0 of none."""
    return float(vector_NS.norm(dim=1).max()) if len(vector_NS) else 0.0


def stable_topk(score_CA: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Indices and scores of the min(k, A) best of each row, (C, k) each.

    ``torch.topk`` leaves the order and the choice among equal scores open. Here the lower index comes first.
    """
    score, index = score_CA.topk(min(k + 1, score_CA.shape[1]), dim=1)
    index, score = _sorted(index, score)
    if score.shape[1] > k:  # if the last two are equal, topk's choice between them was arbitrary
        tied = torch.nonzero(score[:, k - 1] == score[:, k])[:, 0]
        if len(tied):
            index[tied] = score_CA[tied].sort(dim=1, descending=True, stable=True).indices[:, : k + 1]
            score[tied] = score_CA[tied].gather(1, index[tied])
    return index[:, :k], score[:, :k]


def exact_topk(
    user_CS: Tensor,
    item_AS: Tensor,
    k: int,
    masked: tuple[Ints, Ints] | None = None,
    *,
    max_item_norm: float | None = None,
    item_SA: Tensor | None = None,
    excluded: Ints | None = None,
) -> tuple[Tensor, Tensor]:
    """Indices, int64, and scores, float32, of the min(k, A) best of ``item_AS`` for each user, (C, k) each.

    A score is the dot product in float64, rounded to float32: no list depends on which users are scored together.
    ``masked`` (row, index) pairs and the ``excluded`` indices score -inf and come last. Two arguments only save time:
    ``max_item_norm``, an upper bound of the items' lengths, and ``item_SA``, the items transposed and contiguous.

    Float32 scores choose k + MARGIN candidates. If their rounding error leaves the choice uncertain, the row is scored
    in float64 in full.
    """
    count = len(item_AS)
    k = min(k, count)
    rough_CA = user_CS @ (item_AS.T if item_SA is None else item_SA)
    if masked is not None:
        rough_CA[torch.from_numpy(masked[0]), torch.from_numpy(masked[1])] = -torch.inf
    if excluded is not None:
        rough_CA[:, torch.from_numpy(excluded)] = -torch.inf
    rough, index = rough_CA.topk(min(k + MARGIN, count), dim=1)
    exact = _exact_scores(user_CS, item_AS, index)
    exact[rough == -torch.inf] = -torch.inf
    index, score = (part[:, :k] for part in _sorted(index, exact))
    if k + MARGIN < count and k:
        error = torch.finfo(torch.float32).eps * (item_AS.shape[1] + 2)
        slack_C = error * user_CS.norm(dim=1) * (max_norm(item_AS) if max_item_norm is None else max_item_norm)
        unsure = (rough[:, -1] > -torch.inf) & (score[:, -1] <= rough[:, -1] + slack_C)
        for row in unsure.nonzero()[:, 0].tolist():
            exact_A = (item_AS.double() @ user_CS[row].double()).float()
            exact_A[rough_CA[row] == -torch.inf] = -torch.inf
            best_index, best_score = stable_topk(exact_A[None], k)
            index[row], score[row] = best_index[0], best_score[0]
    return index, score


def _exact_scores(user_CS: Tensor, item_AS: Tensor, index_CK: Tensor) -> Tensor:
    """Dot products of each user with its candidates, (C, K), in float64 and rounded to float32. Block by block."""
    width, size = max(1, item_AS.shape[1]), max(1, index_CK.shape[1])
    rows = max(1, MAX_NUMBERS // (width * size))
    score_CK = torch.empty_like(index_CK, dtype=torch.float32)
    for user, index, score in zip(*(torch.split(part, rows) for part in (user_CS, index_CK, score_CK)), strict=True):
        columns = max(1, MAX_NUMBERS // (width * max(1, len(user))))
        for candidate, target in zip(torch.split(index, columns, 1), torch.split(score, columns, 1), strict=True):
            target.copy_((user.double().unsqueeze(1) * item_AS[candidate].double()).sum(-1))
    return score_CK


class CosineIndex:
    """Unit vectors of the items that have a vector, (A, S), searched exactly by cosine.

    ``table_IS``: vectors of all items; ``has_vector_I``: which items are in the index. Rows are item rows.
    """

    def __init__(self, table_IS: Tensor, has_vector_I: Tensor) -> None:
        self.unit_IS, row_A = l2_normalize(table_IS), has_vector_I.nonzero()[:, 0]
        self.row_A: Ints = row_A.numpy()
        self.candidate_AS = self.unit_IS if len(row_A) == len(self.unit_IS) else self.unit_IS[row_A]
        self.candidate_SA = self.candidate_AS.T.contiguous()

    def __len__(self) -> int:
        return len(self.row_A)

    def neighbors(self, row_C: Ints, k: int) -> tuple[Ints, Tensor, Tensor]:
        """Those of ``row_C`` that are in the index, and rows and cosines of their nearest other items, (C, ≤ k).

        A score of -inf marks the end of a shorter list.
        """
        row_C = row_C[np.isin(row_C, self.row_A)]
        itself = np.arange(len(row_C)), np.searchsorted(self.row_A, row_C)
        row_CK, score_CK = self.search(self.unit_IS[torch.from_numpy(row_C)], k, itself)
        return row_C, row_CK, score_CK

    def search(self, unit_CS: Tensor, k: int, masked: tuple[Ints, Ints] | None = None) -> tuple[Tensor, Tensor]:
        """Rows and cosines of the items nearest to unit vectors, (C, ≤ k).

        ``masked``: (row of ``unit_CS``, position among the candidates) pairs to leave out.
        """
        vectors, bound = self.candidate_AS, 1.001  # of the length of a unit vector in float32
        position_CK, score_CK = exact_topk(unit_CS, vectors, k, masked, max_item_norm=bound, item_SA=self.candidate_SA)
        return torch.from_numpy(self.row_A)[position_CK], score_CK


def _sorted(index: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    """Sort each row best first, and by index among equal scores."""
    index, order = index.sort(dim=1)
    score, order = score.gather(1, order).sort(dim=1, descending=True, stable=True)
    return index.gather(1, order), score
