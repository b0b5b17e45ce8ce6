"""Gradients as values: take them apart, compare them row by row, and hand them on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from crossrec.ops.blockwise import FusedFunction
from crossrec.ops.vectors import l2_normalize


def without_conflict(gradient_NL: Tensor, other_NL: Tensor) -> Tensor:
    """g - min(0, g · h) h / ‖h‖² in every row: the part of g that points against h is left out, (N, L).

    Where h is zero or g · h ≥ 0 the row stays as it is. Source: PCGrad (Yu et al. 2020), row by row.
    """
    unit_NL = l2_normalize(other_NL)
    against_N = (gradient_NL * unit_NL).sum(-1, keepdim=True).clamp_max(0)
    return gradient_NL - against_N * unit_NL


def total_norm(gradients: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all numbers of the tensors together, a scalar."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    return norm


def with_gradients(value: Tensor, gradients: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """A scalar equal to ``value`` whose gradient by each tensor of ``gradients``, (tensor, gradient), is the given one.

    Has no second derivative.
    """
    tensors = [tensor for tensor, _ in gradients]
    result: Tensor = _WithGradients.apply(*tensors, value.detach(), [g for _, g in gradients])  # type: ignore[no-untyped-call]
    return result


class _WithGradients(FusedFunction):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        *tensors, value, gradients = inputs
        FusedFunction.save(ctx, *zip(tensors, gradients, strict=True))
        result: Tensor = value.clone()
        return result
