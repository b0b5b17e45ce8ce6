"""The best items of many users: fast in float32, decided in float64, so that no list depends on how it was batched."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ints = npt.NDArray[np.int64]

MARGIN = 16
"""Candidates beyond k that the float32 scores put forward."""
NUMBERS = 1 << 24
"""Scores that are held at a time, unless asked otherwise: 64 MB."""


def chunk_of(num_items: int) -> int:
    """Users to score at a time."""
    return max(1, min(1024, NUMBERS // max(num_items, 1)))


def best(
    user_CS: Tensor,
    item_AS: Tensor,
    k: int,
    masked: tuple[Tensor, Tensor] | None = None,
    *,
    longest: float | None = None,
    item_SA: Tensor | None = None,
    barred: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Positions and scores of the min(k, A) best of ``item_AS`` for each user, (C, k) int64 and float32.

    A score is the dot product in float64, rounded to float32; among equal ones the lower position comes first. Masked
    (row, position) pairs and the ``barred`` positions score -inf and come last. ``longest``, an upper bound of the
    items' lengths, and ``item_SA``, the items turned and contiguous, save time where they are at hand.

    Candidates come from float32 scores; where these cannot tell for certain, within their rounding error, a row is
    scored again in full.
    """
    count = len(item_AS)
    k = min(k, count)
    rough_CA = user_CS @ (item_AS.T if item_SA is None else item_SA)
    if masked is not None:
        rough_CA[masked] = -torch.inf
    if barred is not None:
        rough_CA[:, barred] = -torch.inf
    rough, item = rough_CA.topk(min(k + MARGIN, count), dim=1)
    exact = (user_CS.double().unsqueeze(1) * item_AS[item].double()).sum(-1).float()
    exact[rough == -torch.inf] = -torch.inf
    score, item = _sorted(exact, item, k)
    if k + MARGIN < count and k:
        error = torch.finfo(torch.float32).eps * (item_AS.shape[1] + 2)
        longest = longest_of(item_AS) if longest is None else longest
        slack_C = error * user_CS.norm(dim=1) * longest
        unsure = (rough[:, -1] > -torch.inf) & (score[:, -1] <= rough[:, -1] + slack_C)
        for row in unsure.nonzero()[:, 0].tolist():
            full_A = (item_AS.double() @ user_CS[row].double()).float()
            full_A[rough_CA[row] == -torch.inf] = -torch.inf
            score[row], item[row] = _sorted(full_A[None], torch.arange(count)[None], k)
    return item, score


def longest_of(item_AS: Tensor) -> float:
    """Length of the longest vector."""
    return float(item_AS.norm(dim=1).max()) if len(item_AS) else 0.0


def _sorted(score: Tensor, item: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best of each row, best first, of equal scores the lower item first."""
    item, order = item.sort(dim=1)
    score, order = score.gather(1, order).sort(dim=1, descending=True, stable=True)
    return score[:, :k], item.gather(1, order)[:, :k]


def rows_of(indptr: Ints, values: Ints, row_C: Ints) -> tuple[Ints, Ints]:
    """The entries of some rows of a CSR table: (place in ``row_C``, value), in order of place."""
    start_C, count_C = indptr[row_C], indptr[row_C + 1] - indptr[row_C]
    place_N = np.repeat(np.arange(len(row_C)), count_C)
    before_C = np.cumsum(count_C) - count_C
    return place_N, values[np.repeat(start_C - before_C, count_C) + np.arange(len(place_N))]
