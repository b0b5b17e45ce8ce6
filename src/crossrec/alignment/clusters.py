"""Cluster-level alignment (Sections 6.2, 6.3): codes by optimal transport, losses for items and for users.

Repeats in a batch may be merged: every function takes how often a row stands for (``weight_N``) and gives what the
rows written out would give.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from crossrec.losses import bounded, scaled_gradients
from crossrec.ops.blockwise import (
    LOG2E,
    Precision,
    Workspace,
    add_product_,
    block_workspace,
    exp2_rows_,
    filled_up,
    product_into,
    row_blocks,
    wide,
)
from crossrec.ops.vectors import counts, gather_rows, l2_normalize, zero_like

Clusterer = Literal["sinkhorn", "kmeans"]
SINKHORN_EPSILON = 0.05
_SAFE_RANGE = 80.0  # exp(-80) is still a normal float32 (and bfloat16) number


def sinkhorn(
    score_NP: Tensor,
    *,
    rounds: int = 3,
    epsilon: float = SINKHORN_EPSILON,
    weight_N: Tensor | None = None,
) -> Tensor:
    """Codes q of N samples over P prototypes, (N, P), each row summing to 1; no gradient (Equation 10).

    Sinkhorn-Knopp on exp(score / ε): each of the ``rounds`` scales the prototypes to a total of 1/P each, then the
    samples to 1/B each; at last the rows sum to 1. ``weight_N``: how many equal samples a row stands for.

    Never overflows: scores are shifted by their maximum, and where their range does not fit in a float32 exponent the
    same rounds run on logarithms. Half precision is computed in float32. Source: Cuturi 2013; SwAV (Caron et al. 2020).
    """
    score_NP, dtype = score_NP.detach(), score_NP.dtype
    if dtype in (torch.bfloat16, torch.float16):
        score_NP = score_NP.float()
    if not score_NP.numel():
        return score_NP.to(dtype)
    weight_N = _ones(score_NP) if weight_N is None else weight_N.to(score_NP.dtype)
    top, bottom = float(score_NP.max()), float(score_NP.min())
    if (top - bottom) / epsilon > _SAFE_RANGE:
        return _sinkhorn_log(score_NP / epsilon, rounds, weight_N.log()).to(dtype)
    kernel_NP = torch.exp((score_NP - top) / epsilon)
    prototype_P, sample_N = _scalings(kernel_NP, rounds, weight_N)
    return (kernel_NP * prototype_P * sample_N.unsqueeze(1)).to(dtype)


def _scalings(kernel_NP: Tensor, rounds: int, weight_N: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors a (P,) and c (N,) such that the codes are c_n K_np a_p: a round is two matrix-vector products.

    Any factor common to all prototypes or all samples cancels, so each vector is kept at a maximum of 1.
    """
    prototype_P = torch.ones_like(kernel_NP[0])
    weight_N = weight_N / weight_N.max()
    sample_N = weight_N
    for _ in range(rounds):
        prototype_P = 1.0 / (sample_N @ kernel_NP)
        prototype_P = prototype_P / prototype_P.max()
        sample_N = 1.0 / (kernel_NP @ prototype_P)
        sample_N = sample_N / sample_N.max() * weight_N
    return prototype_P, 1.0 / (kernel_NP @ prototype_P)


def _sinkhorn_log(logit_NP: Tensor, rounds: int, log_weight_N: Tensor) -> Tensor:
    sample_N, prototype_P = log_weight_N, torch.zeros_like(logit_NP[0])
    for _ in range(rounds):
        prototype_P = -torch.logsumexp(logit_NP + sample_N.unsqueeze(1), dim=0)
        sample_N = log_weight_N - torch.logsumexp(logit_NP + prototype_P, dim=1)
    return torch.softmax(logit_NP + prototype_P, dim=1)


def nearest_prototype(score_NP: Tensor) -> Tensor:
    """One-hot codes of the highest-scoring prototype, (N, P): the k-means assignment the paper argues against."""
    return torch.zeros_like(score_NP).scatter_(1, score_NP.argmax(1, keepdim=True), 1.0)


def _cross_entropy(
    towards_NL: Tensor,
    vector_NL: Tensor,
    prototype_PL: Tensor,
    temperature: Tensor | float,
    clusterer: Clusterer,
    rounds: int,
    weight_N: Tensor,
    partitions: int,
    room: Workspace | None,
    precision: Precision | None,
) -> Tensor:
    """Σ_n [ partitions · w_n log Σ_p exp(x_n c_p / λ_c) - t_n · C q_n / λ_c ], q the codes of x, t = ``towards_NL``.

    Equations 11 and 12 are sums of this: a code is paid for where it is met by another vector, and every softmax has
    one logsumexp.
    """
    if clusterer not in ("sinkhorn", "kmeans"):
        raise ValueError(f"unknown clusterer {clusterer!r}: use sinkhorn or kmeans")
    value: Tensor = _ClusterCrossEntropy.apply(  # type: ignore[no-untyped-call]
        towards_NL,
        vector_NL,
        prototype_PL,
        temperature,
        rounds if clusterer == "sinkhorn" else None,
        weight_N,
        partitions,
        Workspace() if room is None else room,
        precision,
    )
    return value


KEPT_NUMBERS = 1 << 27
"""Entries of a Sinkhorn kernel that is kept between its rounds (512 MB of float32); a larger one is made anew in every
round, block by block, so that memory does not grow with the number of prototypes."""


class _ClusterCrossEntropy(torch.autograd.Function):
    """``_cross_entropy``, value and gradients in one go.

    Logits are formed once, block by block, for the softmax and for the Sinkhorn kernel K = exp(x · c / ε). A round of
    Sinkhorn is one pass over the blocks of K, which are the only matrix of N × P and gone when the forward pass ends:
    codes enter as c_n K_np a_p, never written out. x / λ_c is all that the value depends on but for the codes, so its
    derivative by λ_c is -(x · ∂/∂x + t · ∂/∂t) / λ_c.
    """

    @staticmethod
    def forward(
        ctx: Any,
        towards_NL: Tensor,
        vector_NL: Tensor,
        prototype_PL: Tensor,
        temperature: Tensor | float,
        rounds: int | None,
        weight_N: Tensor,
        partitions: int,
        room: Workspace,
        precision: Precision | None,
    ) -> Tensor:
        towards, vector, prototype = wide(towards_NL), wide(vector_NL), wide(prototype_PL)
        num_rows, weight = len(vector), weight_N.to(vector.dtype)
        towards, vector, weight = (filled_up(part, precision) for part in (towards, vector, weight))
        inverse = 1.0 / (wide(temperature).to(vector.dtype) if isinstance(temperature, Tensor) else temperature)
        scaled = vector * (inverse * LOG2E)
        sharper = 1.0 / (inverse * SINKHORN_EPSILON)
        keep = rounds is None or len(vector) * len(prototype) <= KEPT_NUMBERS
        kept = room.matrix(len(vector) if keep else 0, len(prototype), vector)
        mass_N, top_N, mass_P = torch.empty_like(weight), torch.zeros_like(weight), torch.zeros_like(prototype[:, 0])
        grad_vector, grad_prototype = torch.empty_like(vector), torch.zeros_like(prototype)
        small = bounded(vector_NL, prototype_PL, inverse)
        size = row_blocks(vector, len(prototype))
        logits = block_workspace(size, len(prototype), vector)
        kernel_block = None if keep else torch.empty_like(logits)
        kind = vector.dtype if precision is None else torch.bfloat16
        read = None if precision is None else block_workspace(size, len(prototype), prototype.to(kind))
        prototype_k = prototype.to(kind)
        parts = [slice(start, start + size) for start in range(0, len(vector), size)]
        for part in parts:
            block = scaled[part]
            logit = torch.mm(block, prototype.T, out=logits[: len(block)])
            if rounds is None:
                kept[part] = nearest_prototype(logit)
            else:
                target = kept[part] if kernel_block is None else kernel_block[: len(block)]
                kernel = torch.mul(logit, sharper, out=target).exp2_()
                mass_P.addmv_(kernel.T, weight[part])
            top = exp2_rows_(logit, small)
            if top is not None:
                top_N[part] = top
            mass = torch.sum(logit, 1, out=mass_N[part])
            share = logit if read is None else read[: len(block)].copy_(logit)
            product_into(grad_vector[part], share, prototype_k)
            add_product_(grad_prototype, share.T, block * (weight[part] / mass).unsqueeze(1), partitions / LOG2E)
        grad_vector *= (weight / mass_N).mul_(partitions).unsqueeze(1)
        partition_N = mass_N.log2().add_(top_N).mul_(1 / LOG2E)

        def kernels() -> Iterator[tuple[slice, Tensor]]:
            for part in parts:
                if keep:
                    yield part, kept[part]
                else:
                    block = vector[part] * (LOG2E / SINKHORN_EPSILON)
                    yield part, torch.mm(block, prototype.T, out=logits[: len(block)]).exp2_()

        scaling_P = torch.ones_like(mass_P)
        for done in range(rounds or 0):
            scaling_P = mass_P.reciprocal()
            scaling_P /= scaling_P.max()  # a factor common to all prototypes cancels
            if done + 1 < (rounds or 0):
                mass_P.zero_()
                for part, kernel in kernels():
                    mass_P.addmv_(kernel.T, weight[part] / (kernel @ scaling_P))
        scaled_PL = (prototype * scaling_P.unsqueeze(1)).to(kind)
        centre, pull = torch.empty_like(vector), torch.zeros_like(prototype)
        for part, kernel in kernels():
            inverse_total = (kernel @ scaling_P).reciprocal_().unsqueeze(1)
            code = kernel if read is None else read[: len(kernel)].copy_(kernel)
            product_into(centre[part], code, scaled_PL)
            centre[part] *= inverse_total
            add_product_(pull, code.T, towards[part] * inverse_total)
        met = torch.dot(towards.flatten(), centre.flatten())
        grad_prototype.addcmul_(pull, scaling_P.unsqueeze(1) * inverse, value=-1)
        grad_vector *= inverse
        grad_temperature = None
        if ctx.needs_input_grad[3]:
            grad_temperature = inverse * (met * inverse - torch.dot(vector.flatten(), grad_vector.flatten()))
        ctx.save_for_backward(centre[:num_rows] * -inverse, grad_vector[:num_rows], grad_prototype, grad_temperature)
        temperature_type = temperature.dtype if isinstance(temperature, Tensor) else None
        ctx.dtypes = towards_NL.dtype, vector_NL.dtype, prototype_PL.dtype, temperature_type
        return (partitions * (partition_N @ weight) - inverse * met).to(vector_NL.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *scaled_gradients(ctx, grad), None, None, None, None, None


def _ones(matrix_NP: Tensor) -> Tensor:
    return torch.ones_like(matrix_NP[:, 0])


def item_cluster_loss(
    item: Sequence[Tensor],
    codebook_PL: Tensor,
    *,
    temperature: Tensor | float,
    weight_N: Tensor | None = None,
    clusterer: Clusterer = "sinkhorn",
    rounds: int = 3,
    room: Workspace | None = None,
    precision: Precision | None = None,
) -> Tensor:
    """1/(|M|(|M|-1)) Σ_{m≠n} mean_b -Σ_p q_p^n log softmax(i^m C / λ_c)_p, a scalar (Equation 11).

    ``item``: i^m of each modality, (N, L) each, the batch's pairs written out, or its distinct items with ``weight_N``
    pairs each. ``codebook_PL``: C^ITV, normalised here. Computed as the second line of Equation 11, logit · code minus
    logsumexp, so no log-softmax is formed. Codes pass no gradient. Fewer than two modalities: a differentiable zero.
    ``room``: memory to work in, where the caller keeps some.
    """
    if len(item) < 2 or not len(item[0]):
        return zero_like(codebook_PL)
    prototype_PL = l2_normalize(codebook_PL)
    units = [l2_normalize(vector) for vector in item]
    weight_N = _ones(units[0]) if weight_N is None else weight_N.to(units[0].dtype)
    everyone_NL, total, room = torch.stack(units).sum(0), zero_like(prototype_PL), room or Workspace()
    for vector_NL in units:
        others_NL = (everyone_NL - vector_NL) * weight_N.unsqueeze(1)
        total = total + _cross_entropy(
            others_NL,
            vector_NL,
            prototype_PL,
            temperature,
            clusterer,
            rounds,
            weight_N,
            len(units) - 1,
            room,
            precision,
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
    room: Workspace | None = None,
    precision: Precision | None = None,
) -> Tensor:
    """½ mean_b [ -Σ_p q_p^i log softmax(u C / λ_c)_p - Σ_p q_p^u log softmax(i^ID C / λ_c)_p ], a scalar (Equation 12).

    ``user_NL``, ``item_NL``: u and i^ID of the batch's B pairs; or of its distinct users and distinct items, with
    ``pairs`` = (rows of users, rows of items), int64 (B,) each. ``codebook_PL``: C^UI, normalised here. Codes pass no
    gradient. ``room``: memory to work in, where the caller keeps some.
    """
    if not len(user_NL):
        return zero_like(codebook_PL)
    prototype_PL, user_NL, item_NL = l2_normalize(codebook_PL), l2_normalize(user_NL), l2_normalize(item_NL)
    if pairs is None:
        own_B = torch.arange(len(user_NL), device=user_NL.device)
        pairs = (own_B, own_B)
    # Every user meets the codes of the items it is paired with, and the other way round: sums over its pairs.
    meets_user_NL = torch.zeros_like(user_NL).index_add(0, pairs[0], gather_rows(item_NL, pairs[1]))
    meets_item_NL = torch.zeros_like(item_NL).index_add(0, pairs[1], gather_rows(user_NL, pairs[0]))
    total, room = zero_like(prototype_PL), room or Workspace()
    for towards_NL, vector_NL, index_B in ((meets_user_NL, user_NL, pairs[0]), (meets_item_NL, item_NL, pairs[1])):
        weight_N = counts(index_B, len(vector_NL), vector_NL.dtype)
        total = total + _cross_entropy(
            towards_NL, vector_NL, prototype_PL, temperature, clusterer, rounds, weight_N, 1, room, precision
        )
    return total / (2 * len(pairs[0]))
