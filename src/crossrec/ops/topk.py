"""Top-K whose order is fixed: best first, and the lower index first among equal scores."""

from __future__ import annotations

import torch
from torch import Tensor

MARGIN = 16
"""Candidates beyond k that the float32 scores put forward."""
MAX_SCORES = 1 << 24
"""Scores held in memory at a time by default: 64 MB."""


def users_per_chunk(num_items: int) -> int:
    """Number of users to score at a time."""
    return max(1, min(1024, MAX_SCORES // max(num_items, 1)))


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
    masked: tuple[Tensor, Tensor] | None = None,
    *,
    max_item_norm: float | None = None,
    item_SA: Tensor | None = None,
    excluded: Tensor | None = None,
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
        rough_CA[masked] = -torch.inf
    if excluded is not None:
        rough_CA[:, excluded] = -torch.inf
    rough, index = rough_CA.topk(min(k + MARGIN, count), dim=1)
    exact = (user_CS.double().unsqueeze(1) * item_AS[index].double()).sum(-1).float()
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


def _sorted(index: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    """Sort each row best first, and by index among equal scores."""
    index, order = index.sort(dim=1)
    score, order = score.gather(1, order).sort(dim=1, descending=True, stable=True)
    return index.gather(1, order), score
