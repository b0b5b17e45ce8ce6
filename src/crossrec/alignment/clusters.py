"""Cluster-level alignment (Sections 6.2, 6.3): codes by optimal transport, losses for items and for users.

Repeats in a batch may be merged: every function takes how often a row stands for (``weight_N``) and gives what the
rows written out would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from crossrec.losses import logsumexp_dot, rows, unit, zero_like

Clusterer = Literal["sinkhorn", "kmeans"]
SINKHORN_EPSILON = 0.05
_SAFE_RANGE = 80.0  # exp(-80) is still a normal float32 (and bfloat16) number


def sinkhorn(
    score_NP: Tensor,
    *,
    rounds: int = 3,
    epsilon: float = SINKHORN_EPSILON,
    weight_N: Tensor | None = None,
    cosines: bool = False,
) -> Tensor:
    """Codes q of N samples over P prototypes, (N, P), each row summing to 1; no gradient (Equation 10).

    Sinkhorn-Knopp on exp(score / ε): each of the ``rounds`` scales the prototypes to a total of 1/P each, then the
    samples to 1/B each; at last the rows sum to 1. ``weight_N``: how many equal samples a row stands for.
    ``cosines`` promises scores in [-1, 1], which spares a look at their range.

    Never overflows: scores are shifted by their maximum, and where their range does not fit in a float32 exponent the
    same rounds run on logarithms. Half precision is computed in float32. Source: Cuturi 2013; SwAV (Caron et al. 2020).
    """
    score_NP = score_NP.detach()
    dtype = score_NP.dtype
    if dtype in (torch.bfloat16, torch.float16):
        score_NP = score_NP.float()
    if not score_NP.numel():
        return score_NP.to(dtype)
    top = 1.0 if cosines else float(score_NP.max())
    extent = 2.0 if cosines else top - float(score_NP.min())
    weight_N = torch.ones_like(score_NP[:, 0]) if weight_N is None else weight_N.to(score_NP.dtype)
    if extent / epsilon > _SAFE_RANGE:
        return _sinkhorn_log(score_NP / epsilon, rounds, weight_N.log()).to(dtype)
    kernel_NP = torch.exp((score_NP - top) / epsilon)
    # Scaling vectors instead of scaled matrices: a round is two matrix-vector products. Totals cancel in the rows.
    sample_N = weight_N / weight_N.sum()
    for _ in range(rounds):
        prototype_P = 1.0 / (sample_N @ kernel_NP)
        prototype_P = prototype_P / prototype_P.max()
        sample_N = weight_N / (kernel_NP @ prototype_P)
        sample_N = sample_N / sample_N.max()
    if rounds:
        kernel_NP = kernel_NP.mul_(prototype_P)
    return (kernel_NP / kernel_NP.sum(1, keepdim=True)).to(dtype)


def _sinkhorn_log(logit_NP: Tensor, rounds: int, log_weight_N: Tensor) -> Tensor:
    sample_N, prototype_P = log_weight_N, torch.zeros_like(logit_NP[0])
    for _ in range(rounds):
        prototype_P = -torch.logsumexp(logit_NP + sample_N.unsqueeze(1), dim=0)
        sample_N = log_weight_N - torch.logsumexp(logit_NP + prototype_P, dim=1)
    return torch.softmax(logit_NP + prototype_P, dim=1)


def nearest_prototype(score_NP: Tensor) -> Tensor:
    """One-hot codes of the highest-scoring prototype, (N, P): the k-means assignment the paper argues against."""
    return torch.zeros_like(score_NP).scatter_(1, score_NP.argmax(1, keepdim=True), 1.0)


def _assign(score_NP: Tensor, clusterer: Clusterer, rounds: int, weight_N: Tensor | None) -> Tensor:
    if clusterer == "sinkhorn":
        return sinkhorn(score_NP, rounds=rounds, weight_N=weight_N, cosines=True)
    if clusterer == "kmeans":
        return nearest_prototype(score_NP.detach())
    raise ValueError(f"unknown clusterer {clusterer!r}: use sinkhorn or kmeans")


class _Attraction(torch.autograd.Function):
    """Σ_n x_n · (Σ_p q_np c_p), with gradients for x and c taken on the way, so that no code outlives the forward."""

    @staticmethod
    def forward(ctx: Any, towards_NL: Tensor, prototype_PL: Tensor, code_NP: Tensor) -> Tensor:
        centre_NL = code_NP @ prototype_PL
        ctx.save_for_backward(centre_NL, code_NP.T @ towards_NL)
        return (towards_NL * centre_NL).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        centre_NL, pull_PL = ctx.saved_tensors
        return grad * centre_NL, grad * pull_PL, None


def _cross_entropy(
    towards_NL: Tensor,
    vector_NL: Tensor,
    prototype_PL: Tensor,
    temperature: Tensor | float,
    clusterer: Clusterer,
    rounds: int,
    weight_N: Tensor,
    partitions: int,
) -> Tensor:
    """Σ_n [ partitions · w_n log Σ_p exp(x_n c_p / λ_c) - t_n · C q_n / λ_c ], q the codes of x, t = ``towards_NL``.

    Equations 11 and 12 are sums of this: a code is paid for where it is met by another vector, and every softmax has
    one logsumexp.
    """
    code_NP = _assign(vector_NL.detach() @ prototype_PL.detach().T, clusterer, rounds, weight_N)
    attraction: Tensor = _Attraction.apply(towards_NL / temperature, prototype_PL, code_NP)  # type: ignore[no-untyped-call]
    del code_NP
    return partitions * logsumexp_dot(vector_NL / temperature, prototype_PL, weight_N) - attraction


def item_cluster_loss(
    item: Sequence[Tensor],
    codebook_PL: Tensor,
    *,
    temperature: Tensor | float,
    weight_N: Tensor | None = None,
    clusterer: Clusterer = "sinkhorn",
    rounds: int = 3,
) -> Tensor:
    """1/(|M|(|M|-1)) Σ_{m≠n} mean_b -Σ_p q_p^n log softmax(i^m C / λ_c)_p, a scalar (Equation 11).

    ``item``: i^m of each modality, (N, L) each, the batch's pairs written out, or its distinct items with ``weight_N``
    pairs each. ``codebook_PL``: C^ITV, normalised here. Computed as the second line of Equation 11, logit · code minus
    logsumexp, so no log-softmax is formed. Codes pass no gradient. Fewer than two modalities: a differentiable zero.
    """
    if len(item) < 2 or not len(item[0]):
        return zero_like(codebook_PL)
    prototype_PL = unit(codebook_PL)
    units = [unit(vector) for vector in item]
    weight_N = _weights(units[0]) if weight_N is None else weight_N.to(units[0].dtype)
    everyone_NL, total = torch.stack(units).sum(0), zero_like(prototype_PL)
    for vector_NL in units:
        others_NL = (everyone_NL - vector_NL) * weight_N.unsqueeze(1)
        total = total + _cross_entropy(
            others_NL, vector_NL, prototype_PL, temperature, clusterer, rounds, weight_N, len(units) - 1
        )
    return total / (weight_N.sum() * len(units) * (len(units) - 1))


def user_cluster_loss(
    user_NL: Tensor,
    item_NL: Tensor,
    codebook_PL: Tensor,
    *,
    temperature: Tensor | float,
    pairs: tuple[Tensor, Tensor] | None = None,
    clusterer: Clusterer = "sinkhorn",
    rounds: int = 3,
) -> Tensor:
    """½ mean_b [ -Σ_p q_p^i log softmax(u C / λ_c)_p - Σ_p q_p^u log softmax(i^ID C / λ_c)_p ], a scalar (Equation 12).

    ``user_NL``, ``item_NL``: u and i^ID of the batch's B pairs; or of its distinct users and distinct items, with
    ``pairs`` = (rows of users, rows of items), int64 (B,) each. ``codebook_PL``: C^UI, normalised here. Codes pass no
    gradient.
    """
    if not len(user_NL):
        return zero_like(codebook_PL)
    prototype_PL, user_NL, item_NL = unit(codebook_PL), unit(user_NL), unit(item_NL)
    if pairs is None:
        own_B = torch.arange(len(user_NL), device=user_NL.device)
        pairs = (own_B, own_B)
    # Every user meets the codes of the items it is paired with, and the other way round: sums over its pairs.
    meets_user_NL = torch.zeros_like(user_NL).index_add(0, pairs[0], rows(item_NL, pairs[1]))
    meets_item_NL = torch.zeros_like(item_NL).index_add(0, pairs[1], rows(user_NL, pairs[0]))
    total = zero_like(prototype_PL)
    for towards_NL, vector_NL, index_B in ((meets_user_NL, user_NL, pairs[0]), (meets_item_NL, item_NL, pairs[1])):
        weight_N = torch.bincount(index_B, minlength=len(vector_NL)).to(vector_NL.dtype)
        total = total + _cross_entropy(towards_NL, vector_NL, prototype_PL, temperature, clusterer, rounds, weight_N, 1)
    return total / (2 * len(pairs[0]))


def _weights(vector_NL: Tensor) -> Tensor:
    return torch.ones_like(vector_NL[:, 0])
