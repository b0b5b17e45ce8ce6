"""L2-normalisation that is safe for zero rows, gathering of rows and counts. All differentiable."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from crossrec.ops.divided import whole_columns


def gather_rows(table_IL: Tensor, index_N: Tensor, columns: int | None = None) -> Tensor:
    """Rows of a matrix, (N, L). The backward pass is fast and deterministic on a CPU.

    ``columns``: L, where every process has its own columns of the matrix; the rows are whole in all of them.
    """
    if columns is not None:
        return whole_columns(gather_rows(table_IL, index_N), columns)
    if table_IL.device.type == "cpu":
        rows_NL: Tensor = _GatherRows.apply(table_IL, index_N)  # type: ignore[no-untyped-call]
        return rows_NL
    return F.embedding(index_N, table_IL)


class _GatherRows(torch.autograd.Function):
    """``index_add_`` takes a third of the time of the backward pass of ``embedding``."""

    @staticmethod
    def forward(ctx: Any, table_IL: Tensor, index_N: Tensor) -> Tensor:
        ctx.save_for_backward(index_N)
        ctx.shape = table_IL.shape
        return table_IL.index_select(0, index_N)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.new_zeros(ctx.shape).index_add_(0, ctx.saved_tensors[0], grad), None


def counts(index_B: Tensor, num: int, dtype: torch.dtype, weight_B: Tensor | None = None) -> Tensor:
    """How often each of 0 … num - 1 occurs, (num,), or the sums of weights. Unlike ``bincount`` it waits for no GPU."""
    one_B = torch.ones_like(index_B, dtype=dtype) if weight_B is None else weight_B.to(dtype)
    return index_B.new_zeros(num, dtype=dtype).index_add_(0, index_B, one_B)


def true_indices(*masks: Tensor) -> list[Tensor]:
    """Where each mask, boolean (N,), is true: int64, ascending. For masks on a GPU it waits once for all of them."""
    if masks[0].device.type == "cpu":
        return [mask.nonzero().squeeze(1) for mask in masks]
    counts = torch.stack([mask.sum() for mask in masks]).tolist()
    order = torch.cat(masks).byte().argsort(descending=True, stable=True)[: sum(counts)]
    starts = itertools.accumulate((len(mask) for mask in masks[:-1]), initial=0)
    return [part - start for part, start in zip(torch.split(order, counts), starts, strict=True)]


def l2_normalize(vector_NL: Tensor) -> Tensor:
    """L2-normalised rows, same shape. An all-zero row stays zero and passes no gradient.

    Rows of any length that the type can hold come out right: very long and very short ones are measured in float64.
    Has no second derivative.
    """
    unit_NL: Tensor = _L2Normalize.apply(vector_NL)  # type: ignore[no-untyped-call]
    return unit_NL


def unit_rows(vector_NL: Tensor, *, normalized: bool) -> Tensor:
    """L2-normalised rows of vectors that may have length 1 already: ``normalized`` vectors are returned as they are."""
    return vector_NL if normalized else l2_normalize(vector_NL)


_PLAIN_LENGTHS = (1e-15, 1e15)
"""Row lengths whose squares and inverses a float32 holds with room to spare."""


class _L2Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vector_NL: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(vector_NL, dim=-1, keepdim=True)
        if vector_NL.device.type == "cpu" and vector_NL.numel() and _plain(norm):
            inverse: Tensor = torch.reciprocal(norm)
            unit_NL: Tensor = vector_NL * inverse
        else:
            norm = torch.linalg.vector_norm(vector_NL, dim=-1, keepdim=True, dtype=torch.float64)
            inverse_64 = torch.where(norm > 0, torch.reciprocal(norm), 0.0)
            unit_NL = (vector_NL * inverse_64).to(vector_NL.dtype)
            inverse = inverse_64.clamp_max(torch.finfo(vector_NL.dtype).max).to(vector_NL.dtype)
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


def zero_like(reference: Tensor) -> Tensor:
    """A differentiable zero, the value of a term in which nothing takes part."""
    return reference[:0].sum()
