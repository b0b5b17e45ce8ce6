"""Neighbour-level alignment (Section 6.1): Equations 8, 9. Equation 7 is ``crossrec.graph.co_occurrence_neighbors``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from crossrec.graph import knn, modality_shares
from crossrec.losses import info_nce, logsumexp_dot
from crossrec.ops.blockwise import Precision
from crossrec.ops.vectors import l2_normalize, unit_rows, zero_like

Negatives = Literal["neighborhoods", "items"]


def fill_with_content(
    neighbor_IK: Tensor, features: Mapping[str, Tensor], shares: Mapping[str, float] | None = None
) -> Tensor:
    """The neighbours, those that items lack filled with the nearest other items by content, (I, K) int64.

    ``neighbor_IK``: of each item, -1 for none. ``features``: raw content features by modality, (I, D_m). Nearest is by
    the cosine of the modalities side by side: Σ_m share_m cos_m / √(a b), where a and b are the sums of the shares of
    those that either item has. Only items with a cosine > 0 fill. ``shares`` of the modalities: equal unless given.
    What an item has stays and comes first. Raises ConfigError if ``shares`` does not name exactly the modalities.
    """
    share, k = modality_shares(shares, tuple(features), "--content-shares"), neighbor_IK.shape[1]
    row_R = (neighbor_IK < 0).any(1).nonzero().squeeze(1)
    content = torch.cat([l2_normalize(feature) * share[m] ** 0.5 for m, feature in features.items()], dim=1)
    near_RC, cosine_RC = knn(content, k + 1, rows=row_R)  # the item itself is among them
    present_RK = neighbor_IK[row_R]
    is_new_RC = (near_RC.unsqueeze(2) != present_RK.unsqueeze(1)).all(2) & (near_RC != row_R.unsqueeze(1))
    choice = torch.cat([present_RK, near_RC.masked_fill(~is_new_RC | (cosine_RC <= 0), -1)], dim=1)
    order = (choice < 0).byte().argsort(dim=1, stable=True)
    filled_IK = neighbor_IK.clone()
    filled_IK[row_R] = choice.gather(1, order)[:, :k]
    return filled_IK


def neighborhood(table_RL: Tensor, neighbor_NK: Tensor, *, normalized: bool = False) -> Tensor:
    """ĩ^m = mean over the neighbours k of k^m / ‖k^m‖, (N, L) (Equation 8; its squared norm is a misprint).

    ``table_RL``: vectors of one modality; ``neighbor_NK``: int64 rows of it, -1 where there is no neighbour;
    ``normalized``: the table's rows have length 1 or 0 already. The mean is over the neighbours an item has; an item
    without any gets the zero vector.
    """
    unit_RL = unit_rows(table_RL, normalized=normalized)
    mean_NL: Tensor = _NeighborMean.apply(unit_RL, neighbor_NK)  # type: ignore[no-untyped-call]
    return mean_NL


class _NeighborMean(torch.autograd.Function):
    """Mean of the named rows: an embedding bag whose backward pass is one ``index_add_``.

    A missing neighbour is row 0 with weight 0.
    """

    @staticmethod
    def forward(ctx: Any, unit_RL: Tensor, neighbor_NK: Tensor) -> Tensor:
        present_NK = (neighbor_NK >= 0).to(unit_RL.dtype)
        share_NK = present_NK / present_NK.sum(1, keepdim=True).clamp_min(1)
        row_NK = neighbor_NK.clamp_min(0)
        ctx.save_for_backward(row_NK, share_NK)
        ctx.shape = unit_RL.shape
        return F.embedding_bag(row_NK, unit_RL, mode="sum", per_sample_weights=share_NK)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        row_NK, share_NK = ctx.saved_tensors
        shared_NKL = grad.unsqueeze(1) * share_NK.unsqueeze(2)
        return grad.new_zeros(ctx.shape).index_add_(0, row_NK.flatten(), shared_NKL.flatten(0, 1)), None


def neighbor_loss(
    item_NL: Tensor,
    neighborhood_NL: Tensor,
    *,
    temperature: Tensor | float,
    negatives: Negatives = "neighborhoods",
    normalized: bool = False,
    precision: Precision | None = None,
) -> Tensor:
    """mean_i -log exp(cos(i, ĩ)/λ_n) / Σ_j exp(cos(i, x_j)/λ_n), a scalar, for one modality (Equation 9).

    ``item_NL``: i^m of the distinct items that have neighbours; ``neighborhood_NL``: their ĩ^m. x_j is j̃^m with
    ``negatives="neighborhoods"`` (official), j^m with ``"items"`` (as Equation 9 is printed). ``normalized``: the items
    have length 1 or 0 already; neighbourhoods are normalised in any case. Gradients flow into both. The printed formula
    lacks the minus sign. No items: a differentiable zero.

    Raises ValueError for another kind of negatives.
    """
    if not len(item_NL):
        return zero_like(item_NL)
    item_NL, neighborhood_NL = unit_rows(item_NL, normalized=normalized), l2_normalize(neighborhood_NL)
    if negatives == "neighborhoods":
        row_N = torch.arange(len(item_NL), device=item_NL.device)
        total = info_nce(item_NL, neighborhood_NL, row_N, temperature=temperature, normalized=True, precision=precision)
        return total / len(item_NL)
    if negatives == "items":
        scaled_NL = item_NL / temperature
        partition = logsumexp_dot(scaled_NL, item_NL, precision=precision)
        return (partition - (scaled_NL * neighborhood_NL).sum()) / len(item_NL)
    raise ValueError(f"unknown negatives {negatives!r}: use neighborhoods or items")
