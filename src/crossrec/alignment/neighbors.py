"""Neighbour-level alignment (Section 6.1): Equations 8, 9. Equation 7 is ``crossrec.graph.co_occurrence_neighbors``."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from crossrec.losses import info_nce, logsumexp_dot, unit, zero_like

Negatives = Literal["neighborhoods", "items"]


def neighborhood(table_RL: Tensor, neighbor_NK: Tensor) -> Tensor:
    """ĩ^m = mean over the neighbours k of k^m / ‖k^m‖, (N, L) (Equation 8; its squared norm is a misprint).

    ``table_RL``: vectors of one modality; ``neighbor_NK``: int64 rows of it, -1 where there is no neighbour. The mean
    is over the neighbours an item has; an item without any gets the zero vector.
    """
    present_NK = neighbor_NK >= 0
    count_N = present_NK.sum(1)
    end_N = torch.cat([count_N.new_zeros(1), count_N.cumsum(0)])
    share = (1.0 / count_N.to(table_RL.dtype)).repeat_interleave(count_N)
    return F.embedding_bag(
        neighbor_NK[present_NK], unit(table_RL), end_N, mode="sum", per_sample_weights=share, include_last_offset=True
    )


def neighbor_loss(
    item_NL: Tensor,
    neighborhood_NL: Tensor,
    *,
    temperature: Tensor | float,
    negatives: Negatives = "neighborhoods",
) -> Tensor:
    """mean_i -log exp(cos(i, ĩ)/λ_n) / Σ_j exp(cos(i, x_j)/λ_n), a scalar, for one modality (Equation 9).

    ``item_NL``: i^m of the distinct items that have neighbours; ``neighborhood_NL``: their ĩ^m. x_j is j̃^m with
    ``negatives="neighborhoods"`` (official), j^m with ``"items"`` (as Equation 9 is printed). Gradients flow into
    both. The printed formula lacks the minus sign. No items: a differentiable zero.

    Raises ValueError for another kind of negatives.
    """
    if not len(item_NL):
        return zero_like(item_NL)
    item_NL, neighborhood_NL = unit(item_NL), unit(neighborhood_NL)
    if negatives == "neighborhoods":
        own_N = torch.arange(len(item_NL), device=item_NL.device)
        return info_nce(item_NL, neighborhood_NL, own_N, temperature=temperature) / len(item_NL)
    if negatives == "items":
        scaled_NL = item_NL / temperature
        return (logsumexp_dot(scaled_NL, item_NL) - (scaled_NL * neighborhood_NL).sum()) / len(item_NL)
    raise ValueError(f"unknown negatives {negatives!r}: use neighborhoods or items")
