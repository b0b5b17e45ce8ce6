"""How well each modality of an item predicts the users' feedback (Equations 1 and 2). Nothing passes a gradient."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from crossrec.ops.vectors import counts, unit_rows

StrengthScale = Literal["cosine", "rank", "zscore"]

PAIRS = 1 << 18
"""Pairs whose users' vectors are gathered at a time: 64 MB at L = 64."""


def mean_preference(
    user_NL: Tensor,
    index_B: Tensor,
    num_items: int,
    *,
    user_index_B: Tensor | None = None,
    weight_B: Tensor | None = None,
    normalized: bool = False,
) -> Tensor:
    """Mean of the L2-normalised vectors of the users a batch pairs with each distinct item, (N, L); no gradient.

    ``user_NL``: u of each pair, (B, L), or distinct users with ``user_index_B``, int64, the row of each pair's user.
    ``index_B``: int64, which of the N distinct items the pair is of. The mean over pairs of cos(u, x) is the dot
    product of this mean with x / ‖x‖, which is how Equations 1 and 6 use it. ``weight_B``: of the pairs, for a weighted
    mean. ``normalized``: the users have length 1 or 0 already.
    """
    user_NL = unit_rows(user_NL, normalized=normalized).detach()
    total = user_NL.new_zeros(num_items, user_NL.shape[1])
    if weight_B is not None:
        rows_B = torch.arange(len(index_B), device=index_B.device) if user_index_B is None else user_index_B
        parts = (torch.split(part, PAIRS) for part in (rows_B, index_B, weight_B.to(total.dtype)))
        for row, index, weight in zip(*parts, strict=True):
            total.index_add_(0, index, user_NL.index_select(0, row) * weight.unsqueeze(1))
        return total / counts(index_B, num_items, total.dtype, weight_B).unsqueeze(1)
    if user_index_B is None:
        total.index_add_(0, index_B, user_NL)
    else:
        for user_index, index in zip(torch.split(user_index_B, PAIRS), torch.split(index_B, PAIRS), strict=True):
            total.index_add_(0, index, user_NL.index_select(0, user_index))
    return total / counts(index_B, num_items, torch.int64).clamp_min(1).unsqueeze(1)


def strength(preference_NL: Tensor, item_NL: Tensor, *, normalized: bool = False) -> Tensor:
    """s_i^m = avg over the pairs (u, i) of the batch of cos(u, i^m), (N,), in [-1, 1]; no gradient (Equation 1).

    ``preference_NL``: from ``mean_preference``; ``item_NL``: i^m; ``normalized``: the items have length 1 or 0 already.
    The paper writes a raw dot product; Equation 2 needs the cosine (docs/deviations.md).
    """
    return (preference_NL.detach() * unit_rows(item_NL, normalized=normalized).detach()).sum(-1)


RANKED_USERS = 4096
"""Most users that ``strength_by_rank`` compares a pair's user with."""
_RANK_NUMBERS = 1 << 22
"""Most cosines that ``strength_by_rank`` has in memory at a time."""


def strength_by_rank(
    user_DL: Tensor, item_NL: Tensor, index_B: Tensor, user_index_B: Tensor, weight_B: Tensor | None = None
) -> Tensor:
    """Mean over the pairs (u, i) of the share of the batch's users v with cos(v, i^m) < cos(u, i^m), (N,), in [0, 1).

    The rank of an item's own users among all, so modalities are on one scale; 0 for an item without content.
    ``user_DL``: the D distinct users of the batch; ``item_NL``: i^m of its N distinct items, both of length 1 or 0;
    ``index_B``, ``user_index_B``: int64, which of the items and users each pair is of; ``weight_B``: of the pairs, for
    a weighted mean. With more than ``RANKED_USERS`` users, evenly spaced ones stand for all. Works in blocks of pairs.
    No gradient.
    """
    user_DL, item_NL = user_DL.detach(), item_NL.detach()
    row_R = torch.arange(0, len(user_DL), max(1, -(-len(user_DL) // RANKED_USERS)), device=user_DL.device)
    other_RL, total_N = user_DL[row_R], item_NL.new_zeros(len(item_NL))
    block = max(1, _RANK_NUMBERS // max(1, len(row_R)))
    one_B = torch.ones_like(index_B) if weight_B is None else weight_B.to(total_N.dtype)
    parts = (torch.split(part, block) for part in (index_B, user_index_B, one_B))
    for index, user_index, weight in zip(*parts, strict=True):
        own_BL = item_NL[index]
        cosine_B = (own_BL * user_DL[user_index]).sum(-1)
        below_BR = (own_BL @ other_RL.T < cosine_B.unsqueeze(1)) & (row_R != user_index.unsqueeze(1))
        total_N.index_add_(0, index, weight * (below_BR.sum(1).to(total_N.dtype) / len(row_R)))
    if weight_B is not None:
        return total_N / counts(index_B, len(item_NL), total_N.dtype, weight_B)
    return total_N / counts(index_B, len(item_NL), torch.int64).clamp_min(1)


def strength_by_zscore(user_DL: Tensor, item_NL: Tensor, strength_N: Tensor) -> Tensor:
    """(s_i^m - mean_v cos(v, i^m)) / std_v cos(v, i^m) over the batch's users v, (N,); no gradient.

    ``user_DL``, ``item_NL``: as in ``strength_by_rank``; ``strength_N``: s^m of Equation 1. The standard deviation is
    the unbiased one, from the users' L × L covariance. 0 where it is 0, as for one user or an item without content.
    """
    user_DL, item_NL = user_DL.detach(), item_NL.detach()
    mean_L = user_DL.mean(0)
    centered_DL = user_DL - mean_L
    covariance_LL = centered_DL.T @ centered_DL / max(1, len(user_DL) - 1)
    deviation_N = ((item_NL @ covariance_LL) * item_NL).sum(-1).clamp_min(0).sqrt()
    return torch.where(deviation_N > 0, (strength_N.detach() - item_NL @ mean_L) / deviation_N, 0.0)


def compensation(strength_N: Tensor) -> Tensor:
    """g_i^m = Var_i(s^m) (exp(1 - s_i^m) - 1), (N,), ≥ 0; no gradient (Equation 2).

    The variance is the unbiased one over the N distinct items, 0 where there is one item only.
    """
    s = strength_N.detach()
    variance = s.var() if len(s) > 1 else s.new_zeros(())
    return variance * torch.expm1((1.0 - s).clamp_min(0.0))
