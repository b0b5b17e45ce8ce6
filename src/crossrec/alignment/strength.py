"""How well each modality of an item predicts the users' feedback (Equations 1 and 2). Nothing passes a gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from crossrec.ops.vectors import counts, unit_rows

PAIRS = 1 << 18
"""Pairs whose users' vectors are gathered at a time: 64 MB at L = 64."""


def mean_preference(
    user_NL: Tensor, index_B: Tensor, num_items: int, *, user_index_B: Tensor | None = None, normalized: bool = False
) -> Tensor:
    """Mean of the L2-normalised vectors of the users a batch pairs with each distinct item, (N, L); no gradient.

    ``user_NL``: u of each pair, (B, L), or distinct users with ``user_index_B``, int64, the row of each pair's user.
    ``index_B``: int64, which of the N distinct items the pair is of. The mean over pairs of cos(u, x) is the dot
    product of this mean with x / ‖x‖, which is how Equations 1 and 6 use it. ``normalized``: the users have length 1
    or 0 already.
    """
    user_NL = unit_rows(user_NL, normalized=normalized).detach()
    total = user_NL.new_zeros(num_items, user_NL.shape[1])
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


def compensation(strength_N: Tensor) -> Tensor:
    """g_i^m = Var_i(s^m) (exp(1 - s_i^m) - 1), (N,), ≥ 0; no gradient (Equation 2).

    The variance is the unbiased one over the N distinct items, 0 where there is one item only.
    """
    s = strength_N.detach()
    variance = s.var() if len(s) > 1 else s.new_zeros(())
    return variance * torch.expm1((1.0 - s).clamp_min(0.0))
