"""Losses and vector helpers shared by backbones and alignment. Pure functions; L2-normalisation is zero-safe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812


def rows(table_IL: Tensor, index_N: Tensor) -> Tensor:
    """Rows of a matrix, (N, L): a gather whose backward pass is fast and deterministic on a CPU."""
    return F.embedding(index_N, table_IL)


def unit(vector_NL: Tensor) -> Tensor:
    """L2-normalised rows, same shape; an all-zero row stays zero and passes no gradient.

    Rows of any length that the type can hold come out right: unusual ones are measured in float64. Has no second
    derivative.
    """
    normalised: Tensor = _Unit.apply(vector_NL)  # type: ignore[no-untyped-call]
    return normalised


_PLAIN_LENGTHS = (1e-15, 1e15)
"""Row lengths whose squares and inverses a float32 holds with room to spare."""


class _Unit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vector_NL: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(vector_NL, dim=-1, keepdim=True)
        if vector_NL.device.type == "cpu" and vector_NL.numel() and _plain(norm):
            inverse: Tensor = torch.reciprocal(norm)
            unit_NL: Tensor = vector_NL * inverse
        else:
            norm = torch.linalg.vector_norm(vector_NL, dim=-1, keepdim=True, dtype=torch.float64)
            wide = torch.where(norm > 0, torch.reciprocal(norm), 0.0)
            unit_NL = (vector_NL * wide).to(vector_NL.dtype)
            inverse = wide.clamp_max(torch.finfo(vector_NL.dtype).max).to(vector_NL.dtype)
        ctx.save_for_backward(unit_NL, inverse)
        return unit_NL

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        unit_NL, inverse = ctx.saved_tensors
        radial = (unit_NL * grad).sum(-1, keepdim=True)
        tangent: Tensor = torch.addcmul(grad, unit_NL, radial, value=-1).mul_(inverse)
        return tangent


def _plain(norm: Tensor) -> bool:
    low, high = norm.aminmax()
    return bool((low > _PLAIN_LENGTHS[0]) & (high < _PLAIN_LENGTHS[1]))


def cosine(left_NL: Tensor, right_NL: Tensor) -> Tensor:
    """Row-wise cosine, (N,); 0 where either row is zero."""
    return (unit(left_NL) * unit(right_NL)).sum(-1)


def bpr(positive_B: Tensor, negative_B: Tensor) -> Tensor:
    """mean softplus(negative - positive), a scalar: Bayesian personalised ranking (Rendle et al. 2009)."""
    return F.softplus(negative_B - positive_B).mean()


def embedding_norm(*vector_BL: Tensor) -> Tensor:
    """Σ ‖V‖_F / B over the given (B, L) matrices, a scalar: norms, not squared norms ("EmbLoss" of RecBole)."""
    total = torch.stack([torch.linalg.vector_norm(vector) for vector in vector_BL]).sum()
    return total / vector_BL[0].shape[0]


def info_nce(anchor_DL: Tensor, candidate_NL: Tensor, positive_D: Tensor, *, temperature: Tensor | float) -> Tensor:
    """Σ_d -log softmax_j( a_d · c_j / λ )_{positive of d}, a scalar sum over anchors.

    ``anchor_DL``, ``candidate_NL``: vectors of unit length; ``positive_D``: int64, the candidate that anchor d belongs
    to; ``temperature``: λ. Differentiable in anchors, candidates and λ; no D × N matrix is kept for it.
    """
    scaled_DL = anchor_DL / temperature
    return logsumexp_dot(scaled_DL, candidate_NL) - (scaled_DL * rows(candidate_NL, positive_D)).sum()


def logsumexp_dot(left_NL: Tensor, right_PL: Tensor, weight_N: Tensor | None = None) -> Tensor:
    """Σ_n w_n log Σ_p exp(x_n · y_p), a scalar; what every contrastive term here is made of.

    The gradient, w softmax(X Yᵀ) Y for X and its transposed counterpart for Y, is taken on the way, block of rows by
    block of rows, so that nothing of size N × P outlives a block. Weights (1 unless given) are constants. Half
    precision is accumulated in float32. Has no second derivative.
    """
    value: Tensor = _LogSumExpDot.apply(left_NL, right_PL, weight_N)  # type: ignore[no-untyped-call]
    return value


_BLOCK_NUMBERS = 1 << 18
"""Entries of a block of logits: about 1 MB of float32, so that it stays in a core's cache between passes."""
_SAFE_LOGIT = 40.0
"""exp(±40), and sums of millions of them, are normal float32 numbers."""


def row_blocks(left_NL: Tensor, columns: int) -> Iterator[slice]:
    """Slices of rows such that a block of logits with so many columns stays in cache on a CPU; one slice on a GPU."""
    size = max(16, _BLOCK_NUMBERS // max(1, columns)) if left_NL.device.type == "cpu" else max(1, len(left_NL))
    for start in range(0, len(left_NL), size):
        yield slice(start, start + size)


def bounded(left_NL: Tensor, right_PL: Tensor) -> bool:
    """Whether no dot product of two rows leaves the range in which exp needs no shift; False, unlooked-at, on a GPU.

    By Cauchy-Schwarz from the longest rows, so no product is formed.
    """
    if left_NL.device.type != "cpu" or not left_NL.numel() or not right_PL.numel():
        return False
    longest = torch.linalg.vector_norm(left_NL, dim=1).max() * torch.linalg.vector_norm(right_PL, dim=1).max()
    return bool(longest <= _SAFE_LOGIT)


def exp_rows_(logit_NP: Tensor, small: bool) -> Tensor | None:
    """exp in place; unless ``small``, after taking off each row's maximum, which is returned, (N,)."""
    if small:
        logit_NP.exp_()
        return None
    top = logit_NP.amax(1, keepdim=True)
    logit_NP.sub_(top).exp_()
    return top.squeeze(1)


class _LogSumExpDot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left_NL: Tensor, right_PL: Tensor, weight_N: Tensor | None) -> Tensor:
        dtype = torch.float32 if left_NL.dtype in (torch.bfloat16, torch.float16) else left_NL.dtype
        left, right = left_NL.detach().to(dtype), right_PL.detach().to(dtype)
        grad_left = torch.empty_like(left) if ctx.needs_input_grad[0] else None
        grad_right = torch.zeros_like(right) if ctx.needs_input_grad[1] else None
        value_N = torch.empty_like(left[:, 0])
        small = bounded(left, right)
        for part in row_blocks(left, len(right)):
            logit = left[part] @ right.T
            mass = exp_rows_(logit, small)
            total = logit.sum(1)
            value_N[part] = total.log() if mass is None else total.log() + mass
            share = (1.0 / total if weight_N is None else weight_N[part].to(dtype) / total).unsqueeze(1)
            if grad_left is not None:
                torch.mm(logit, right, out=grad_left[part])
                grad_left[part] *= share
            if grad_right is not None:
                grad_right.addmm_(logit.T, left[part] * share)
        total = value_N.sum() if weight_N is None else value_N @ weight_N.to(dtype)
        ctx.save_for_backward(grad_left, grad_right)
        ctx.dtypes = left_NL.dtype, right_PL.dtype
        return total.to(left_NL.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        scaled = [None if g is None else (g * grad).to(d) for g, d in zip(ctx.saved_tensors, ctx.dtypes, strict=True)]
        return scaled[0], scaled[1], None


def zero_like(reference: Tensor) -> Tensor:
    """A differentiable zero: what a term is worth when nothing takes part in it."""
    return reference[:0].sum()
