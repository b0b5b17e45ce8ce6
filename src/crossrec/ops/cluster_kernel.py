"""Cross-entropy between cluster codes and soft assignments to prototypes: value and gradients in one go.

Codes are those of Sinkhorn-Knopp (Cuturi 2013; SwAV, Caron et al. 2020) or one-hot. ``crossrec.alignment.clusters`` has
the same as plain formulas.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

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
    options = _Options(rounds, epsilon, partitions, workspace or Workspace(), precision)
    value: Tensor = _ClusterCrossEntropy.apply(  # type: ignore[no-untyped-call]
        target_NL, vector_NL, prototype_PL, temperature, weight_N, options
    )
    return value


class _Options(NamedTuple):
    rounds: int | None
    epsilon: float
    partitions: int
    workspace: Workspace
    precision: Precision | None


class _ClusterCrossEntropy(FusedFunction):
    """The value depends on λ through x / λ alone, so its derivative by λ is -(x · ∂/∂x + t · ∂/∂t) / λ."""

    @staticmethod
    def forward(
        ctx: Any,
        target_NL: Tensor,
        vector_NL: Tensor,
        prototype_PL: Tensor,
        temperature: Tensor | float,
        weight_N: Tensor,
        options: _Options,
    ) -> Tensor:
        inputs = _Inputs(target_NL, vector_NL, prototype_PL, temperature, weight_N, options.precision)
        inverse, num_rows = inputs.inverse, len(vector_NL)
        kernel = _Kernel(inputs, options)
        unshifted = exponents_fit(vector_NL, prototype_PL, inverse, normalized=True)
        partition_N, grad_vector, grad_prototype = _soft_assignments(inputs, kernel, options.partitions, unshifted)
        scaling_P = _prototype_scaling(inputs, kernel, options.rounds or 0)
        code_vector, code_target = _code_products(inputs, kernel, scaling_P)
        agreement = torch.dot(inputs.target.flatten(), code_vector.flatten())
        grad_prototype.addcmul_(code_target, scaling_P.unsqueeze(1) * inverse, value=-1)
        grad_vector *= inverse
        grad_temperature = None
        if ctx.needs_input_grad[3]:
            grad_temperature = inverse * (
                agreement * inverse - torch.dot(inputs.vector.flatten(), grad_vector.flatten())
            )
        grad_target = code_vector[:num_rows] * -inverse
        gradients = (grad_target, grad_vector[:num_rows], grad_prototype, grad_temperature)
        FusedFunction.save(ctx, *zip((target_NL, vector_NL, prototype_PL, temperature), gradients, strict=True))
        value = options.partitions * (partition_N @ inputs.weight) - inverse * agreement
        return value.to(vector_NL.dtype)


class _Inputs:
    """Inputs in the type that sums are accumulated in, padded for bfloat16 products, and the buffers of a block."""

    def __init__(
        self,
        target_NL: Tensor,
        vector_NL: Tensor,
        prototype_PL: Tensor,
        temperature: Tensor | float,
        weight_N: Tensor,
        precision: Precision | None,
    ) -> None:
        vector, self.prototype = detached_float(vector_NL), detached_float(prototype_PL)
        self.vector, self.target = pad_rows(vector, precision), pad_rows(detached_float(target_NL), precision)
        self.weight = pad_rows(weight_N.to(vector.dtype), precision)
        self.inverse = inverse_scale(temperature, vector.dtype)
        size = rows_per_block(self.vector, len(self.prototype))
        self.blocks = [slice(start, start + size) for start in range(0, len(self.vector), size)]
        self.prototype_cast = self.prototype.to(vector.dtype if precision is None else torch.bfloat16)
        self.logit_buffer = block_buffer(size, len(self.prototype), vector)
        self._cast_buffer = None if precision is None else block_buffer(size, len(self.prototype), self.prototype_cast)

    def logits(self, scaled: Tensor) -> Tensor:
        """Products of a block of scaled vectors with all prototypes, in the buffer of logits."""
        return torch.mm(scaled, self.prototype.T, out=self.logit_buffer[: len(scaled)])

    def cast(self, block_NP: Tensor) -> Tensor:
        """A block in the type of the large products, that of ``prototype_cast``."""
        return block_NP if self._cast_buffer is None else self._cast_buffer[: len(block_NP)].copy_(block_NP)


class _Kernel:
    """K = exp(X Cᵀ / ε), (N, P), or one-hot assignments: kept in the workspace, or computed again in every pass."""

    def __init__(self, inputs: _Inputs, options: _Options) -> None:
        self._inputs, self._epsilon = inputs, options.epsilon
        self._one_hot = options.rounds is None
        rows, columns = len(inputs.vector), len(inputs.prototype)
        keep = self._one_hot or rows * columns <= KEPT_NUMBERS
        self._matrix = options.workspace.matrix(rows, columns, inputs.vector) if keep else None
        self._buffer = None if keep else torch.empty_like(inputs.logit_buffer)
        self._from_logits = 1.0 / (inputs.inverse * options.epsilon)
        self.column_sum_P = torch.zeros_like(inputs.prototype[:, 0])
        """Σ_n w_n K_np."""

    def add(self, block: slice, logit: Tensor) -> None:
        """Set a block of rows from its logits, x · c / λ · log2 e, and add it to the sums of the columns."""
        target = self._buffer[: len(logit)] if self._matrix is None else self._matrix[block]  # type: ignore[index]
        if self._one_hot:
            target.zero_().scatter_(1, logit.argmax(1, keepdim=True), 1.0)
        else:
            torch.mul(logit, self._from_logits, out=target).exp2_()
            self.column_sum_P.addmv_(target.T, self._inputs.weight[block])

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows and K of every block."""
        for block in self._inputs.blocks:
            if self._matrix is not None:
                yield block, self._matrix[block]
            else:
                scaled = self._inputs.vector[block] * (LOG2E / self._epsilon)
                yield block, self._inputs.logits(scaled).exp2_()


def _soft_assignments(
    inputs: _Inputs, kernel: _Kernel, partitions: int, unshifted: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """log Σ_p exp(x_n · c_p / λ), (N,), and the gradients of its weighted sum by x / λ and by C. Fills the kernel."""
    weight = inputs.weight
    total_N, maximum_N = torch.empty_like(weight), torch.zeros_like(weight)
    grad_vector, grad_prototype = torch.empty_like(inputs.vector), torch.zeros_like(inputs.prototype)
    scaled = inputs.vector * (inputs.inverse * LOG2E)
    for block in inputs.blocks:
        logit = inputs.logits(scaled[block])
        kernel.add(block, logit)
        maximum = exp2_rows_(logit, unshifted=unshifted)
        if maximum is not None:
            maximum_N[block] = maximum
        total = torch.sum(logit, 1, out=total_N[block])
        exponential = inputs.cast(logit)
        matmul_into(grad_vector[block], exponential, inputs.prototype_cast)
        shared = scaled[block] * (weight[block] / total).unsqueeze(1)
        add_matmul_(grad_prototype, exponential.T, shared, partitions / LOG2E)
    grad_vector *= (weight / total_N).mul_(partitions).unsqueeze(1)
    return total_N.log2().add_(maximum_N).mul_(1 / LOG2E), grad_vector, grad_prototype


def _prototype_scaling(inputs: _Inputs, kernel: _Kernel, rounds: int) -> Tensor:
    """a, (P,), such that the codes are c_n K_np a_p after the rounds; c makes the rows sum to 1."""
    column_sum_P = kernel.column_sum_P
    scaling_P = torch.ones_like(column_sum_P)
    for number in range(rounds):
        scaling_P = column_sum_P.reciprocal()
        scaling_P /= scaling_P.max()  # a factor common to all prototypes cancels
        if number + 1 < rounds:
            column_sum_P.zero_()
            for block, kernel_NP in kernel.blocks():
                column_sum_P.addmv_(kernel_NP.T, inputs.weight[block] / (kernel_NP @ scaling_P))
    return scaling_P


def _code_products(inputs: _Inputs, kernel: _Kernel, scaling_P: Tensor) -> tuple[Tensor, Tensor]:
    """C q_n, (N, L), and Σ_n t_n c_n K_np, (P, L), which is Σ_n t_n q_np without the factor a_p."""
    scaled_PL = (inputs.prototype * scaling_P.unsqueeze(1)).to(inputs.prototype_cast.dtype)
    code_vector, code_target = torch.empty_like(inputs.vector), torch.zeros_like(inputs.prototype)
    for block, kernel_NP in kernel.blocks():
        inverse_total = (kernel_NP @ scaling_P).reciprocal_().unsqueeze(1)
        code = inputs.cast(kernel_NP)
        matmul_into(code_vector[block], code, scaled_PL)
        code_vector[block] *= inverse_total
        add_matmul_(code_target, code.T, inputs.target[block] * inverse_total)
    return code_vector, code_target
