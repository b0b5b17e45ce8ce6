"""Cluster-level alignment (Sections 6.2, 6.3): codes by optimal transport, losses for items and for users.

Equations 10 to 12 stand here twice: as plain formulas (``sinkhorn``, ``swapped_prediction`` and the functions that end
in ``_reference``) and as ``item_cluster_loss`` and ``user_cluster_loss``, which training uses. These give the same
values and gradients through the fused kernel of ``crossrec.ops.cluster_kernel``; the tests hold the two together.

Equal rows of a batch may be merged: ``weight_N`` says how many samples a row stands for, or the sum of their weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from crossrec.ops.blockwise import Precision, Workspace, detached_float
from crossrec.ops.cluster_kernel import cluster_cross_entropy
from crossrec.ops.vectors import counts, gather_rows, l2_normalize, unit_rows, zero_like

Clusterer = Literal["sinkhorn", "kmeans"]
SINKHORN_EPSILON = 0.05


def sinkhorn(
    score_NP: Tensor,
    *,
    rounds: int = 3,
    epsilon: float = SINKHORN_EPSILON,
    weight_N: Tensor | None = None,
) -> Tensor:
    """Codes q of N samples over P prototypes, (N, P), each row summing to 1; no gradient (Equation 10).

    Sinkhorn-Knopp on exp(score / ε): each of the ``rounds`` scales the prototypes to a total of 1/P each, then the
    samples to 1/B each; in the end the rows sum to 1. ``weight_N``: how many equal samples a row stands for.

    Never overflows: the rounds run on logarithms. Half precision is computed in float32. Source: Cuturi 2013; SwAV
    (Caron et al. 2020).
    """
    if not score_NP.numel():
        return score_NP.detach()
    logit_NP = detached_float(score_NP) / epsilon
    log_weight_N = torch.zeros_like(logit_NP[:, 0]) if weight_N is None else weight_N.to(logit_NP.dtype).log()
    sample_N, prototype_P = log_weight_N, torch.zeros_like(logit_NP[0])
    for _ in range(rounds):
        prototype_P = -torch.logsumexp(logit_NP + sample_N.unsqueeze(1), dim=0)
        sample_N = log_weight_N - torch.logsumexp(logit_NP + prototype_P, dim=1)
    return torch.softmax(logit_NP + prototype_P, dim=1).to(score_NP.dtype)


def nearest_prototype(score_NP: Tensor) -> Tensor:
    """One-hot codes of the highest-scoring prototype, (N, P): the k-means assignment the paper argues against."""
    return torch.zeros_like(score_NP).scatter_(1, score_NP.argmax(1, keepdim=True), 1.0)


def cluster_codes(
    score_NP: Tensor, *, clusterer: Clusterer = "sinkhorn", rounds: int = 3, weight_N: Tensor | None = None
) -> Tensor:
    """Codes q of N samples over P prototypes, (N, P), by either clusterer. Raises ValueError for another one."""
    if _sinkhorn_rounds(clusterer, rounds) is None:
        return nearest_prototype(score_NP.detach())
    return sinkhorn(score_NP, rounds=rounds, weight_N=weight_N)


def swapped_prediction(
    code_NP: Tensor, score_NP: Tensor, *, temperature: Tensor | float, weight_N: Tensor | None = None
) -> Tensor:
    """mean_n -Σ_p q_np log softmax(x_n C / λ_c)_p, a scalar: one view predicts the codes of another.

    ``code_NP``: q of the other view; ``score_NP``: x C. Equations 11 and 12 are means of this.
    """
    cross_entropy_N = -(code_NP * F.log_softmax(score_NP / temperature, dim=1)).sum(1)
    weight_N = torch.ones_like(cross_entropy_N) if weight_N is None else weight_N.to(cross_entropy_N.dtype)
    return (weight_N * cross_entropy_N).sum() / weight_N.sum()


def item_cluster_loss_reference(
    item: Sequence[Tensor],
    codebook_PL: Tensor,
    *,
    temperature: Tensor | float,
    weight_N: Tensor | None = None,
    clusterer: Clusterer = "sinkhorn",
    rounds: int = 3,
) -> Tensor:
    """Equation 11 as it is printed: ``item_cluster_loss``, but slow and with several N × P matrices in memory."""
    if len(item) < 2 or not len(item[0]):
        return zero_like(codebook_PL)
    prototype_PL = l2_normalize(codebook_PL)
    scores = [l2_normalize(vector_NL) @ prototype_PL.T for vector_NL in item]
    codes = [cluster_codes(score, clusterer=clusterer, rounds=rounds, weight_N=weight_N) for score in scores]
    pairs = [(m, n) for m in range(len(item)) for n in range(len(item)) if m != n]
    losses = [swapped_prediction(codes[n], scores[m], temperature=temperature, weight_N=weight_N) for m, n in pairs]
    return torch.stack(losses).mean()


def user_cluster_loss_reference(
    user_NL: Tensor,
    item_NL: Tensor,
    codebook_PL: Tensor,
    *,
    temperature: Tensor | float,
    pairs: tuple[Tensor, Tensor] | None = None,
    clusterer: Clusterer = "sinkhorn",
    rounds: int = 3,
) -> Tensor:
    """Equation 12 as it is printed, the pairs written out: ``user_cluster_loss``, but slow and with N × P matrices."""
    if pairs is not None:
        user_NL, item_NL = user_NL[pairs[0]], item_NL[pairs[1]]
    return item_cluster_loss_reference(
        [user_NL, item_NL], codebook_PL, temperature=temperature, clusterer=clusterer, rounds=rounds
    )


def item_cluster_loss(
    item: Sequence[Tensor],
    codebook_PL: Tensor,
    *,
    temperature: Tensor | float,
    weight_N: Tensor | None = None,
    clusterer: Clusterer = "sinkhorn",
    rounds: int = 3,
    normalized: bool = False,
    workspace: Workspace | None = None,
    precision: Precision | None = None,
) -> Tensor:
    """1/(|M|(|M|-1)) Σ_{m≠n} mean_b -Σ_p q_p^n log softmax(i^m C / λ_c)_p, a scalar (Equation 11).

    ``item``: i^m of each modality, (N, L) each: the batch's pairs written out, or its distinct items with ``weight_N``
    pairs each. ``codebook_PL``: C^ITV, normalised here. ``normalized``: the items have length 1 or 0 already.
    ``workspace``: memory to reuse from call to call. Codes pass no gradient. Fewer than two modalities or no items: a
    differentiable zero. Raises ValueError for an unknown clusterer.

    Computed as the second line of Equation 11, logsumexp minus logit · code, so that every modality has one softmax and
    meets the codes of all others in one product.
    """
    if len(item) < 2 or not len(item[0]):
        return zero_like(codebook_PL)
    units = [unit_rows(vector_NL, normalized=normalized) for vector_NL in item]
    weight_N = torch.ones_like(units[0][:, 0]) if weight_N is None else weight_N.to(units[0].dtype)
    sum_NL = torch.stack(units).sum(0)
    total = _total_cross_entropy(
        (((sum_NL - unit_NL) * weight_N.unsqueeze(1), unit_NL, weight_N) for unit_NL in units),
        codebook_PL,
        clusterer,
        rounds,
        workspace,
        temperature=temperature,
        partitions=len(units) - 1,
        precision=precision,
    )
    return total / (weight_N.sum() * len(units) * (len(units) - 1))


def user_cluster_loss(
    user_NL: Tensor,
    item_NL: Tensor,
    codebook_PL: Tensor,
    *,
    temperature: Tensor | float,
    pairs: tuple[Tensor, Tensor] | None = None,
    weight_B: Tensor | None = None,
    clusterer: Clusterer = "sinkhorn",
    rounds: int = 3,
    normalized: bool = False,
    workspace: Workspace | None = None,
    precision: Precision | None = None,
) -> Tensor:
    """½ mean_b [ -Σ_p q_p^i log softmax(u C / λ_c)_p - Σ_p q_p^u log softmax(i^ID C / λ_c)_p ], a scalar (Equation 12).

    ``user_NL``, ``item_NL``: u and i^ID of the batch's B pairs; or of its distinct users and distinct items, with
    ``pairs`` = (rows of users, rows of items), int64 (B,) each. ``weight_B``: of the pairs, for a weighted mean.
    ``codebook_PL``: C^UI, normalised here. ``normalized``: users and items have length 1 or 0 already. ``workspace``:
    memory to reuse from call to call. Codes pass no gradient. No users: a differentiable zero. Raises ValueError for an
    unknown clusterer.
    """
    if not len(user_NL):
        return zero_like(codebook_PL)
    user_NL, item_NL = unit_rows(user_NL, normalized=normalized), unit_rows(item_NL, normalized=normalized)
    if pairs is None:
        row_B = torch.arange(len(user_NL), device=user_NL.device)
        pairs = (row_B, row_B)
    # A user is scored against the codes of all items it is paired with, and an item against those of its users.
    weight_B = None if weight_B is None else weight_B.to(user_NL.dtype)
    items_of_user_NL = torch.zeros_like(user_NL).index_add(0, pairs[0], _weighted_rows(item_NL, pairs[1], weight_B))
    users_of_item_NL = torch.zeros_like(item_NL).index_add(0, pairs[1], _weighted_rows(user_NL, pairs[0], weight_B))
    user_count_N = counts(pairs[0], len(user_NL), user_NL.dtype, weight_B)
    item_count_N = counts(pairs[1], len(item_NL), item_NL.dtype, weight_B)
    total = _total_cross_entropy(
        ((items_of_user_NL, user_NL, user_count_N), (users_of_item_NL, item_NL, item_count_N)),
        codebook_PL,
        clusterer,
        rounds,
        workspace,
        temperature=temperature,
        precision=precision,
    )
    return total / (2 * (len(pairs[0]) if weight_B is None else weight_B.sum()))


def _weighted_rows(table_NL: Tensor, row_B: Tensor, weight_B: Tensor | None) -> Tensor:
    rows_BL = gather_rows(table_NL, row_B)
    return rows_BL if weight_B is None else rows_BL * weight_B.unsqueeze(1)


def _total_cross_entropy(
    views: Iterable[tuple[Tensor, Tensor, Tensor]],
    codebook_PL: Tensor,
    clusterer: Clusterer,
    rounds: int,
    workspace: Workspace | None,
    **options: Any,
) -> Tensor:
    """Sum of ``cluster_cross_entropy`` over views: (target_NL, vector_NL, weight_N) each; ``options`` as there."""
    kernel_rounds, prototype_PL = _sinkhorn_rounds(clusterer, rounds), l2_normalize(codebook_PL)
    total, workspace = zero_like(prototype_PL), workspace or Workspace()
    for target_NL, vector_NL, weight_N in views:
        total = total + cluster_cross_entropy(
            target_NL,
            vector_NL,
            prototype_PL,
            weight_N=weight_N,
            rounds=kernel_rounds,
            epsilon=SINKHORN_EPSILON,
            workspace=workspace,
            **options,
        )
    return total


def _sinkhorn_rounds(clusterer: Clusterer, rounds: int) -> int | None:
    """Rounds as the kernel takes them: None for one-hot codes. Raises ValueError for an unknown clusterer."""
    if clusterer not in ("sinkhorn", "kmeans"):
        raise ValueError(f"unknown clusterer {clusterer!r}: use sinkhorn or kmeans")
    return rounds if clusterer == "sinkhorn" else None
