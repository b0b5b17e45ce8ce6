"""Losses shared by backbones and alignment, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from crossrec.ops.blockwise import (
    LOG2E,
    FusedFunction,
    Precision,
    detached_float,
    exp_kernel_sums,
    exponents_fit,
    inverse_scale,
    rows_per_block,
    softmax_products,
)
from crossrec.ops.vectors import gather_rows, zero_like


def weighted_mean(value_B: Tensor, weight_B: Tensor | None) -> Tensor:
    """Σ w_b x_b / Σ w_b, a scalar; the mean without weights."""
    if weight_B is None:
        return value_B.mean()
    weight_B = weight_B.to(value_B.dtype)
    return (weight_B * value_B).sum() / weight_B.sum()


def bpr(positive_B: Tensor, negative_B: Tensor, weight_B: Tensor | None = None) -> Tensor:
    """mean softplus(negative - positive), a scalar: Bayesian personalised ranking (Rendle et al. 2009).

    ``weight_B``: the mean is that of ``weighted_mean``.
    """
    return weighted_mean(F.softplus(negative_B - positive_B), weight_B)


def embedding_norm(*vector_BL: Tensor) -> Tensor:
    """Σ ‖V‖_F / B over the given (B, L) matrices, a scalar: norms, not squared norms ("EmbLoss" of RecBole)."""
    total = torch.stack([torch.linalg.vector_norm(vector) for vector in vector_BL]).sum()
    return total / vector_BL[0].shape[0]


def info_nce(
    anchor_DL: Tensor,
    candidate_NL: Tensor,
    positive_D: Tensor,
    *,
    temperature: Tensor | float,
    normalized: bool = False,
    precision: Precision | None = None,
) -> Tensor:
    """Σ_d -log softmax_j( a_d · c_j / λ )_{positive of d}, a scalar sum over anchors.

    ``positive_D``: int64, the candidate that anchor d belongs to; ``temperature``: λ; ``normalized``: anchors and
    candidates have length 1 or 0, which spares measuring them. Differentiable in anchors, candidates and λ. The
    gradient is computed in the forward pass, as in ``logsumexp_dot``: no D × N matrix is kept. Has no second
    derivative.
    """
    value: Tensor = _InfoNCE.apply(  # type: ignore[no-untyped-call]
        anchor_DL, candidate_NL, positive_D, temperature, normalized, precision
    )
    return value


def logsumexp_dot(
    left_NL: Tensor, right_PL: Tensor, weight_N: Tensor | None = None, *, precision: Precision | None = None
) -> Tensor:
    """Σ_n w_n log Σ_p exp(x_n · y_p), a scalar: the denominators of a contrastive loss.

    The gradient, w softmax(X Yᵀ) Y for X and its transposed counterpart for Y, is computed in the forward pass, block
    of rows by block of rows, so that no N × P matrix is kept. Weights (1 unless given) are constants. Half precision is
    accumulated in float32. Has no second derivative.
    """
    value: Tensor = _LogSumExpDot.apply(left_NL, right_PL, weight_N, precision)  # type: ignore[no-untyped-call]
    return value


class _LogSumExpDot(FusedFunction):
    @staticmethod
    def forward(
        ctx: Any, left_NL: Tensor, right_PL: Tensor, weight_N: Tensor | None, precision: Precision | None
    ) -> Tensor:
        left, right = detached_float(left_NL), detached_float(right_PL)
        weight = None if weight_N is None else weight_N.to(left.dtype)
        value_N, grad_left, grad_right = softmax_products(
            left * LOG2E,
            right,
            weight,
            ctx.needs_input_grad[:2],
            unshifted=exponents_fit(left_NL, right_PL),
            precision=precision,
        )
        FusedFunction.save(ctx, (left_NL, grad_left), (right_PL, grad_right))
        return (value_N.sum() if weight is None else value_N @ weight).to(left_NL.dtype)


class _InfoNCE(FusedFunction):
    """x = a / λ: the value is a function of x and c alone, so its derivative by λ is -(a · ∂/∂a) / λ."""

    @staticmethod
    def forward(
        ctx: Any,
        anchor_DL: Tensor,
        candidate_NL: Tensor,
        positive_D: Tensor,
        temperature: Tensor | float,
        normalized: bool,
        precision: Precision | None,
    ) -> Tensor:
        anchor, candidate = detached_float(anchor_DL), detached_float(candidate_NL)
        inverse = inverse_scale(temperature, anchor.dtype)
        needs_anchor, needs_candidate, _, needs_temperature, *_ = ctx.needs_input_grad
        value_D, grad_anchor, grad_candidate = softmax_products(
            anchor * (inverse * LOG2E),
            candidate,
            None,
            (needs_anchor or needs_temperature, needs_candidate),
            unshifted=exponents_fit(anchor_DL, candidate_NL, inverse, normalized=normalized),
            precision=precision,
        )
        positive = gather_rows(candidate, positive_D)
        value = value_D.sum() - inverse * torch.dot(anchor.flatten(), positive.flatten())
        grad_temperature = None
        if grad_anchor is not None:
            grad_anchor.sub_(positive).mul_(inverse)
            if needs_temperature:
                grad_temperature = -inverse * torch.dot(grad_anchor.flatten(), anchor.flatten())
        if grad_candidate is not None:
            grad_candidate.index_add_(0, positive_D, anchor * -inverse)
        grad_anchor = grad_anchor if needs_anchor else None
        gradients = (grad_anchor, grad_candidate, None, grad_temperature)
        FusedFunction.save(ctx, *zip((anchor_DL, candidate_NL, positive_D, temperature), gradients, strict=True))
        return value.to(anchor_DL.dtype)


def graded_neighbor_loss(units: Sequence[Tensor], item_N: Tensor, count: int, temperature: float) -> Tensor:
    """Σ_g mean_i [ -log(Σ_P e / Σ e) - log(Σ_Q e / (Σ e - Σ_P e)) ], e_j = exp(cos(h_i, h_j) / τ) over all items j ≠ i.

    ``units``: each graph's items, of length 1, (I, L); ``item_N``: the items i. P of graph g: the ``count`` items of
    highest summed softmax of all graphs, g counted twice; Q: the ``count`` next of g itself. Block of rows by block of
    rows; a block is computed again for its gradient. Source: DA-MRS (Xv et al. 2024).
    """
    count = min(count, (len(units[0]) - 1) // 2)
    if not len(item_N) or count < 1:
        return units[0][:0].sum()
    size = rows_per_block(item_N.unsqueeze(1), len(units[0]))
    blocks = [
        checkpoint(_neighbor_block, part, count, temperature, *units, use_reentrant=False, preserve_rng_state=False)
        for part in torch.split(item_N, size)
    ]
    return torch.stack(blocks).sum() / len(item_N)


def _neighbor_block(item_R: Tensor, count: int, temperature: float, *units: Tensor) -> Tensor:
    own = item_R.unsqueeze(1)
    logits = [(gather_rows(unit, item_R) @ unit.T / temperature).scatter(1, own, -torch.inf) for unit in units]
    shares = [logit.detach().softmax(1) for logit in logits]
    everyone = torch.stack(shares).sum(0)
    losses = []
    for logit, share in zip(logits, shares, strict=True):
        positive = (everyone + share).topk(count, dim=1).indices
        following = logit.detach().scatter(1, positive, -torch.inf).topk(count, dim=1).indices
        others = logit.scatter(1, positive, -torch.inf).logsumexp(1)
        near = logit.gather(1, positive).logsumexp(1)
        losses.append(torch.logaddexp(near, others) - near + others - logit.gather(1, following).logsumexp(1))
    return torch.stack(losses).sum()


def symmetric_kl(left: Tensor, right: Tensor) -> Tensor:
    """mean of KL(p‖q) + KL(q‖p) of Bernoulli variables p = σ(left), q = σ(right), a scalar: (p - q)(left - right)."""
    return ((torch.sigmoid(left) - torch.sigmoid(right)) * (left - right)).mean()


def mean_square_distance(left_BL: Tensor, right_BL: Tensor, weight_B: Tensor | None = None) -> Tensor:
    """mean_b ‖x_b - y_b‖², a scalar: "alignment" of pairs of unit length (Wang and Isola 2020).

    ``weight_B``: the mean is that of ``weighted_mean``.
    """
    return weighted_mean((left_BL - right_BL).square().sum(-1), weight_B)


def uniformity(
    vector_NL: Tensor, count_N: Tensor | None = None, *, sharpness: float = 2.0, normalized: bool = False
) -> Tensor:
    """log mean_{n≠m} exp(-t ‖x_n - x_m‖²), a scalar (Wang and Isola 2020); t = ``sharpness``.

    ``count_N``: how often each vector occurs (once unless given); its pairs with itself have distance 0.
    ``normalized``: the vectors have length 1 or 0, which spares measuring them. 0 for a single vector. Where the
    vectors are of moderate length, no N × N matrix is kept and there is no second derivative.
    """
    if len(vector_NL) < 2:
        return zero_like(vector_NL)
    count_N = torch.ones_like(vector_NL[:, 0]) if count_N is None else count_N.to(vector_NL.dtype)
    if exponents_fit(vector_NL, vector_NL, 2 * sharpness, normalized=normalized):
        value: Tensor = _Uniformity.apply(vector_NL, count_N, sharpness)  # type: ignore[no-untyped-call]
        return value
    log_weight_N = count_N.log() - sharpness * vector_NL.square().sum(-1)
    exponent_NN = torch.addmm(log_weight_N, vector_NL, vector_NL.T, alpha=2 * sharpness) + log_weight_N.unsqueeze(1)
    different = exponent_NN.fill_diagonal_(-torch.inf).flatten().logsumexp(0)
    total = count_N.sum()
    return torch.logaddexp(different, (count_N * (count_N - 1)).sum().log()) - (total * (total - 1)).log()


class _Uniformity(FusedFunction):
    """From Σ_{n≠m} w_n w_m exp(2t x_n · x_m), w = count · exp(-t ‖x‖²): symmetric, so both of a pair move alike."""

    @staticmethod
    def forward(ctx: Any, vector_NL: Tensor, count_N: Tensor, sharpness: float) -> Tensor:
        vector, count = detached_float(vector_NL), detached_float(count_N)
        weight = count * torch.exp(-sharpness * vector.square().sum(-1))
        total_N, pull_NL = exp_kernel_sums(vector, weight, 2 * sharpness)
        near, pairs = total_N.sum() + (count * (count - 1)).sum(), count.sum() * (count.sum() - 1)
        grad = pull_NL.addcmul_(vector, total_N.unsqueeze(1), value=-1).mul_(4 * sharpness / near)
        FusedFunction.save(ctx, (vector_NL, grad))
        return (near / pairs).log().to(vector_NL.dtype)
