"""How well each modality of an item predicts real feedback: Equations 1 and 2. Nothing here passes a gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from crossrec.ops.vectors import counts, l2_normalize

PAIRS = 1 << 18
"""Pairs whose users' vectors are gathered at a time, where all training pairs are looked at: 64 MB at L = 64."""


def mean_preference(user_BL: Tensor, index_B: Tensor, num_items: int) -> Tensor:
    """Mean of the L2-normalised vectors of the users a batch pairs with each distinct item, (N, L); no gradient.

    ``user_BL``: u of each pair; ``index_B``: int64, which of the N distinct items the pair is of. The mean over pairs
    of cos(u, x) is the dot product of this mean with x / ‖x‖, which is how Equations 1 and 6 use it.
    """
    user_BL = l2_normalize(user_BL).detach()
    total = user_BL.new_zeros(num_items, user_BL.shape[1]).index_add_(0, index_B, user_BL)
    return total / counts(index_B, num_items, user_BL.dtype).clamp_min(1).unsqueeze(1)


def mean_preference_of(user_NL: Tensor, user_index_B: Tensor, index_B: Tensor, num_items: int) -> Tensor:
    """``mean_preference`` of pairs (row of ``user_NL``, item), however many: their vectors are gathered in blocks.

    ``user_NL``: of unit length; ``user_index_B``: int64, whose each pair is.
    """
    total = user_NL.new_zeros(num_items, user_NL.shape[1])
    for user_index, index in zip(torch.split(user_index_B, PAIRS), torch.split(index_B, PAIRS), strict=True):
        total.index_add_(0, index, user_NL.detach()[user_index])
    count = torch.bincount(index_B, minlength=num_items).clamp_min(1).to(total.dtype)
    return total / count.unsqueeze(1)


def strength(preference_NL: Tensor, item_NL: Tensor) -> Tensor:
    """s_i^m = avg over the pairs (u, i) of the batch of cos(u, i^m), (N,), in [-1, 1]; no gradient (Equation 1).

    ``preference_NL``: from ``mean_preference``; ``item_NL``: i^m. The paper writes a raw dot product; cosine is what
    Equation 2 needs (docs/deviations.md).
    """
    return (preference_NL.detach() * l2_normalize(item_NL).detach()).sum(-1)


def compensation(strength_N: Tensor) -> Tensor:
    """g_i^m = Var_i(s^m) (exp(1 - s_i^m) - 1), (N,), ≥ 0; no gradient (Equation 2).

    The variance is the unbiased one over the N distinct items, 0 where there is one item only.
    """
    s = strength_N.detach()
    variance = s.var() if len(s) > 1 else s.new_zeros(())
    return variance * torch.expm1((1.0 - s).clamp_min(0.0))
