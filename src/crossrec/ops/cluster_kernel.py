"""Cross-entropy between cluster codes and soft assignments to prototypes: value and gradients in one go.

Codes are those of Sinkhorn-Knopp (Cuturi 2013; SwAV, Caron et al. 2020) or one-hot. ``crossrec.alignment.clusters`` has
the same as plain formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from crossrec.ops.blockwise import (
    LOG2E,
    FusedFunction,
    Precision,
    Workspace,
    add_matmul_,
    block_buffer,
    detached_float,
    exp2_rows_,
    exponents_fit,
    inverse_scale,
    matmul_into,
    pad_rows,
    rows_per_block,
)
from crossrec.ops.row_blocks import over_blocks, row_blocks

KEPT_NUMBERS = 1 << 27
"""Entries of a Sinkhorn kernel that is kept between its rounds (512 MB of float32). A larger one is computed again in
every round, block by block, so that memory does not grow with the number of prototypes."""


def cluster_cross_entropy(
    target_NL: Tensor,
    vector_NL: Tensor,
    prototype_PL: Tensor,
    *,
    temperature: Tensor | float,
    weight_N: Tensor,
    rounds: int | None,
    epsilon: float,
    partitions: int = 1,
    workspace: Workspace | None = None,
    precision: Precision | None = None,
) -> Tensor:
    """Σ_n [ partitions · w_n log Σ_p exp(x_n · c_p / λ) - t_n · C q_n / λ ], a scalar; q_n, (P,), the code of x_n.

    ``vector_NL``: x, of length 1 or 0; ``prototype_PL``: C, of length 1; ``target_NL``: t, the sum of the vectors that
    are scored against x_n's code; ``weight_N``: w, how many equal samples a row stands for; ``temperature``: λ.
    ``rounds``: rounds of Sinkhorn-Knopp on exp(x · c / ``epsilon``); None for one-hot codes of the nearest prototype.
    Codes pass no gradient. Has no second derivative.

    Logits are formed once, block by block, for the softmax and for the Sinkhorn kernel. A round of Sinkhorn is one pass
    over the kernel, the only N × P matrix, which is gone when the forward pass ends. Codes enter as c_n K_np a_p and
    are never written out.
    """
    kernel = _Kernel(
        target_NL, vector_NL, prototype_PL, temperature, weight_N, rounds, epsilon, workspace or Workspace(), precision
    )
    value: Tensor = _ClusterCrossEntropy.apply(  # type: ignore[no-untyped-call]
        target_NL, vector_NL, prototype_PL, temperature, kernel, partitions
    )
    return value


class _ClusterCrossEntropy(FusedFunction):
    """The value depends on λ through x / λ alone, so its derivative by λ is -(x · ∂/∂x + t · ∂/∂t) / λ."""

    @staticmethod
    def forward(
        ctx: Any,
        target_NL: Tensor,
        vector_NL: Tensor,
        prototype_PL: Tensor,
        temperature: Tensor | float,
        kernel: _Kernel,
        partitions: int,
    ) -> Tensor:
        inverse, num_rows = kernel.inverse, len(vector_NL)
        unshifted = exponents_fit(vector_NL, prototype_PL, inverse, normalized=True)
        partition_N, grad_vector, grad_prototype = kernel.soft_assignments(partitions, unshifted)
        scaling_P = kernel.prototype_scaling()
        code_vector, code_target = kernel.code_products(scaling_P)
        agreement = torch.dot(kernel.target.flatten(), code_vector.flatten())
        grad_prototype.addcmul_(code_target, scaling_P.unsqueeze(1) * inverse, value=-1)
        grad_vector *= inverse
        grad_temperature = None
        if ctx.needs_input_grad[3]:
            grad_temperature = inverse * (
                agreement * inverse - torch.dot(kernel.vector.flatten(), grad_vector.flatten())
            )
        grad_target = code_vector[:num_rows] * -inverse
        gradients = (grad_target, grad_vector[:num_rows], grad_prototype, grad_temperature)
        FusedFunction.save(ctx, *zip((target_NL, vector_NL, prototype_PL, temperature), gradients, strict=True))
        value = partitions * (partition_N @ kernel.weight) - inverse * agreement
        return value.to(vector_NL.dtype)


class _Kernel:
    """K = exp(X Cᵀ / ε), (N, P), or one-hot assignments: kept in the workspace, or computed again in every pass.

    Inputs are in the type that sums are accumulated in, padded for bfloat16 products.
    """

    def __init__(
        self,
        target_NL: Tensor,
        vector_NL: Tensor,
        prototype_PL: Tensor,
        temperature: Tensor | float,
        weight_N: Tensor,
        rounds: int | None,
        epsilon: float,
        workspace: Workspace,
        precision: Precision | None,
    ) -> None:
        vector, self.prototype = detached_float(vector_NL), detached_float(prototype_PL)
        self.vector, self.target = pad_rows(vector, precision), pad_rows(detached_float(target_NL), precision)
        self.weight = pad_rows(weight_N.to(vector.dtype), precision)
        self.inverse = inverse_scale(temperature, vector.dtype)
        rows, columns = len(self.vector), len(self.prototype)
        size = rows_per_block(self.vector, columns)
        self._row_blocks = row_blocks(rows, size)
        self._prototype_cast = self.prototype.to(vector.dtype if precision is None else torch.bfloat16)
        self._logit_buffer = block_buffer(size, columns, vector)
        self._cast_buffer = None if precision is None else block_buffer(size, columns, self._prototype_cast)
        self._rounds, self._epsilon, self._from_logits = rounds, epsilon, 1.0 / (self.inverse * epsilon)
        keep = rounds is None or rows * columns <= KEPT_NUMBERS
        self._matrix = workspace.matrix(rows, columns, self.vector) if keep else None
        self._buffer = None if keep else torch.empty_like(self._logit_buffer)
        self._column_sum_P = torch.zeros_like(self.prototype[:, 0])
        """Σ_n w_n K_np."""

    def soft_assignments(self, partitions: int, unshifted: bool) -> tuple[Tensor, Tensor, Tensor]:
        """log Σ_p exp(x_n · c_p / λ), (N,), and the gradients of its weighted sum by x / λ and by C. Fills K."""
        total_N, maximum_N = torch.empty_like(self.weight), torch.zeros_like(self.weight)
        grad_vector, grad_prototype = torch.empty_like(self.vector), torch.zeros_like(self.prototype)
        scaled = self.vector * (self.inverse * LOG2E)

        def visit(block: slice, sums: Sequence[Tensor]) -> None:
            grad_prototype, column_sum_P = sums
            logit = self._logits(scaled[block])
            self._fill(block, logit, column_sum_P)
            maximum = exp2_rows_(logit, unshifted=unshifted)
            if maximum is not None:
                maximum_N[block] = maximum
            total = torch.sum(logit, 1, out=total_N[block])
            exponential = self._cast(logit)
            matmul_into(grad_vector[block], exponential, self._prototype_cast)
            shared = scaled[block] * (self.weight[block] / total).unsqueeze(1)
            add_matmul_(grad_prototype, exponential.T, shared, partitions / LOG2E)

        rows, sums = (total_N, maximum_N, grad_vector), (grad_prototype, self._column_sum_P)
        over_blocks(self._row_blocks, visit, rows=rows, sums=sums)
        grad_vector *= (self.weight / total_N).mul_(partitions).unsqueeze(1)
        return total_N.log2().add_(maximum_N).mul_(1 / LOG2E), grad_vector, grad_prototype

    def prototype_scaling(self) -> Tensor:
        """a, (P,), such that the codes are c_n K_np a_p after the rounds; c makes the rows sum to 1."""
        column_sum_P, rounds = self._column_sum_P, self._rounds or 0
        scaling_P = torch.ones_like(column_sum_P)
        for number in range(rounds):
            scaling_P = column_sum_P.reciprocal()
            scaling_P /= scaling_P.max()  # a factor common to all prototypes cancels
            if number + 1 < rounds:
                column_sum_P.zero_()
                over_blocks(self._row_blocks, partial(self._add_column_sums, scaling_P), sums=[column_sum_P])
        return scaling_P

    def _add_column_sums(self, scaling_P: Tensor, block: slice, sums: Sequence[Tensor]) -> None:
        kernel_NP = self._kernel(block)
        sums[0].addmv_(kernel_NP.T, self.weight[block] / (kernel_NP @ scaling_P))

    def code_products(self, scaling_P: Tensor) -> tuple[Tensor, Tensor]:
        """C q_n, (N, L), and Σ_n t_n c_n K_np, (P, L), which is Σ_n t_n q_np without the factor a_p."""
        scaled_PL = (self.prototype * scaling_P.unsqueeze(1)).to(self._prototype_cast.dtype)
        code_vector, code_target = torch.empty_like(self.vector), torch.zeros_like(self.prototype)

        def visit(block: slice, sums: Sequence[Tensor]) -> None:
            kernel_NP = self._kernel(block)
            inverse_total = (kernel_NP @ scaling_P).reciprocal_().unsqueeze(1)
            code = self._cast(kernel_NP)
            matmul_into(code_vector[block], code, scaled_PL)
            code_vector[block] *= inverse_total
            add_matmul_(sums[0], code.T, self.target[block] * inverse_total)

        over_blocks(self._row_blocks, visit, rows=[code_vector], sums=[code_target])
        return code_vector, code_target

    def _fill(self, block: slice, logit: Tensor, column_sum_P: Tensor) -> None:
        """Set a block of rows from its logits, x · c / λ · log2 e, and add it to the sums of the columns."""
        target = self._buffer[: len(logit)] if self._matrix is None else self._matrix[block]  # type: ignore[index]
        if self._rounds is None:
            target.zero_().scatter_(1, logit.argmax(1, keepdim=True), 1.0)
        else:
            torch.mul(logit, self._from_logits, out=target).exp2_()
            column_sum_P.addmv_(target.T, self.weight[block])

    def _kernel(self, block: slice) -> Tensor:
        """K of a block of rows."""
        if self._matrix is not None:
            return self._matrix[block]
        return self._logits(self.vector[block] * (LOG2E / self._epsilon)).exp2_()

    def _logits(self, scaled: Tensor) -> Tensor:
        """Products of a block of scaled vectors with all prototypes, in the buffer of logits."""
        return torch.mm(scaled, self.prototype.T, out=self._logit_buffer[: len(scaled)])

    def _cast(self, block_NP: Tensor) -> Tensor:
        """A block in the type of the large products, that of the prototypes' cast."""
        return block_NP if self._cast_buffer is None else self._cast_buffer[: len(block_NP)].copy_(block_NP)
