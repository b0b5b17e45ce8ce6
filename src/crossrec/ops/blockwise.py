"""Matrix products with many rows and columns, computed block by block in reused memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from crossrec import parallel
from crossrec.ops.row_blocks import over_blocks, row_blocks

Precision = Literal["bfloat16"]
"""Type of the large products of contrastive terms. None: the type of the vectors."""

_BLOCK_NUMBERS, _BLOCK_ROWS, _BLOCK_LIMIT = 1 << 18, 192, 1 << 23
"""Entries of a block of logits for each thread: about 1 MB of float32, which stays in a core's cache between passes.
At least ``_BLOCK_ROWS`` rows, so that a matrix product runs at its full rate, and at most 32 MB in all."""
_GPU_LIMIT = 1 << 28
"""Most entries of a block on a GPU: 1 GB of float32, more than the products of usual batches take."""
_TILE = 2048
"""Columns of a block at a time: a block of 20,000 columns takes 15 MB, which no core's cache holds."""
ROW_PADDING = 16
"""Numbers between the rows of a block: rows a power of two apart share lines of a cache, which costs a product with
the transposed block a quarter of its rate."""
LOG2E = math.log2(math.e)
"""Factor of logits before exp2 and log2: on a CPU exp takes three times as long as exp2."""
SAFE_LOGIT = 40.0
"""exp(±40), and sums of millions of them, are normal float32 numbers."""


def rows_per_block(left_NL: Tensor, columns: int) -> int:
    """How many rows to multiply with so many columns at a time: equal blocks for a CPU's cache or a GPU's memory.

    Of GPUs each gets a block at least; blocks of a CPU do not depend on the number of processes.
    """
    rows, columns = max(1, len(left_NL)), max(1, columns)
    if left_NL.device.type == "cpu":
        size = torch.get_num_threads() * max(_BLOCK_ROWS, _BLOCK_NUMBERS // columns)
        size = min(size, max(16, _BLOCK_LIMIT // columns))
    else:
        size = min(-(-rows // parallel.size()), max(16, _GPU_LIMIT // columns))
    return -(-rows // max(1, round(rows / size)))


def block_buffer(rows: int, columns: int, like: Tensor, *, by_columns: bool = False) -> Tensor:
    """Uninitialised (rows, columns) of the type of ``like`` that every block of logits is written to in turn.

    Writing to reused memory is cheaper than mapping new pages. ``by_columns`` stores the matrix column by column:
    threads then share a product by its columns, otherwise by its rows, and that pays along the longer side only. Half
    precision starts as zeros: processors with tiles of bfloat16 (AMX) read the padding between the rows too, times 0,
    and a NaN in it would survive.
    """
    allocate = like.new_empty if like.dtype.itemsize > 2 else like.new_zeros
    if by_columns:
        return allocate((columns, rows + ROW_PADDING))[:, :rows].T
    return allocate((rows, columns + ROW_PADDING))[:, :columns]


class Workspace:
    """Memory for one N × P matrix, reused by every loss and every step that is given the same workspace.

    On a CPU mapping new pages costs more than writing to them, and matrices of changing size fragment the heap. On
    other devices torch's own allocator reuses memory.
    """

    def __init__(self) -> None:
        self._memory: Tensor | None = None

    def matrix(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """An uninitialised (rows, columns) of the type of ``like``, valid until the next call."""
        if like.device.type != "cpu":
            return like.new_empty(rows, columns)
        stride = columns + ROW_PADDING
        size = rows * stride
        if self._memory is None or self._memory.dtype != like.dtype or self._memory.numel() < size:
            self._memory = None  # free the old memory first; the new one has a little to spare for a larger batch
            with torch.inference_mode(False):  # memory of a validation step serves training steps as well
                self._memory = like.new_empty(size + size // 16)
        return self._memory[:size].view(rows, stride)[:, :columns]


def exponents_fit(left_NL: Tensor, right_PL: Tensor, scale: Tensor | float = 1.0, *, normalized: bool = False) -> bool:
    """Whether exp needs no shift for any dot product of two rows, times ``scale``.

    By Cauchy-Schwarz from the longest rows, so no product is formed. ``normalized``: all rows have length 1 or 0. On a
    GPU the answer is False where finding out would wait for the GPU.
    """
    if not left_NL.numel() or not right_PL.numel():
        return False
    if left_NL.device.type != "cpu" and not (normalized and isinstance(scale, float)):
        return False
    longest = 1.0 if normalized else _longest_row(left_NL) * _longest_row(right_PL)
    return longest * float(scale) <= SAFE_LOGIT


def _longest_row(vector_NL: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector_NL.detach(), dim=1).max())


def exp2_rows_(logit_NP: Tensor, *, unshifted: bool) -> Tensor | None:
    """2 to the power of every entry, in place; of the entry minus its row's maximum, (N,), unless ``unshifted``.

    Returns the maxima. Shifted results below the root of the type's least normal number become 0: they vanish in a sum
    that contains a 1, and a processor multiplies subnormal numbers ten times as slowly.
    """
    if unshifted:
        logit_NP.exp2_()
        return None
    maximum = logit_NP.amax(1, keepdim=True)
    least = math.log2(torch.finfo(logit_NP.dtype).tiny) / 2
    torch.threshold_(logit_NP.sub_(maximum), least, -math.inf).exp2_()
    return maximum.squeeze(1)


def detached_float(tensor: Tensor) -> Tensor:
    """The detached tensor, half precision as float32: the type in which values and gradients are accumulated."""
    tensor = tensor.detach()
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


class FusedFunction(torch.autograd.Function):
    """A function whose forward pass computes the gradients too and saves them. Has no second derivative."""

    @staticmethod
    def save(ctx: Any, *gradients: tuple[Tensor | float | None, Tensor | None]) -> None:
        """Keep (input, gradient) of the leading inputs, None where there is none; the type becomes the input's."""
        ctx.dtypes = [getattr(value, "dtype", None) for value, _ in gradients]
        ctx.save_for_backward(*(gradient for _, gradient in gradients))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved = zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        scaled = [None if gradient is None else (gradient * grad).to(dtype) for gradient, dtype in saved]
        return (*scaled, *[None] * (len(ctx.needs_input_grad) - len(scaled)))


def inverse_scale(temperature: Tensor | float, dtype: torch.dtype) -> Tensor | float:
    """1 / λ without gradient, in the type of the accumulated values."""
    return 1.0 / (detached_float(temperature).to(dtype) if isinstance(temperature, Tensor) else temperature)


_SHAPES = 64
"""A CPU compiles a bfloat16 product for every new shape, so rows are padded to a multiple of this."""


def pad_rows(tensor: Tensor, precision: Precision | None) -> Tensor:
    """The tensor with rows of zeros added up to a multiple of ``_SHAPES`` where products are bfloat16."""
    missing = 0 if precision is None else -len(tensor) % _SHAPES
    return tensor if not missing else torch.cat([tensor, tensor.new_zeros(missing, *tensor.shape[1:])])


def matmul_into(out: Tensor, left: Tensor, right: Tensor) -> None:
    """out = left right, whatever the type of ``out``."""
    if out.dtype == left.dtype:
        torch.mm(left, right, out=out)
    else:
        out.copy_(torch.mm(left, right))


def add_matmul_(total: Tensor, left: Tensor, right: Tensor, scale: float = 1.0) -> None:
    """total += scale · left right, multiplied in the type of ``left`` and added in that of ``total``."""
    if total.dtype == left.dtype:
        total.addmm_(left, right, alpha=scale)
    else:
        total.add_(torch.mm(left, right.to(left.dtype)), alpha=scale)


def _column_tiles(rows: int, columns: int, right_PL: Tensor, *, unshifted: bool) -> list[tuple[slice, Tensor]]:
    """Column ranges of a block, with a buffer each: a tile stays in the cache from one product to the next.

    One tile where a row's maximum has to be taken first, and on a GPU.
    """
    length, by_columns = len(right_PL), torch.get_num_threads() > 1 and columns > rows
    width = _TILE if unshifted and right_PL.device.type == "cpu" else max(1, length)
    tiles = [slice(start, min(start + width, length)) for start in range(0, length, width)]
    return [(tile, block_buffer(rows, tile.stop - tile.start, right_PL, by_columns=by_columns)) for tile in tiles]


def softmax_products(
    left: Tensor,
    right: Tensor,
    weight: Tensor | None,
    needs: tuple[bool, bool],
    *,
    unshifted: bool,
    precision: Precision | None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """log Σ_p exp(x_n · y_p) of every row, (N,); w softmax(X Yᵀ) Y, (N, L); (w softmax(X Yᵀ))ᵀ X, (P, L).

    ``left``: X · log2 e; ``needs``: which of the two products to compute; ``unshifted``: no logit needs a shift.
    """
    rows, columns = len(left), len(right)
    left, right = pad_rows(left, precision), pad_rows(right, precision)
    weight = left.new_ones(len(left)) if weight is None else pad_rows(weight, precision)
    dtype = left.dtype if precision is None else torch.bfloat16
    left_cast, right_cast = left.to(dtype), right.to(dtype)
    grad_left = torch.zeros_like(left) if needs[0] else None
    grad_right = torch.zeros_like(right) if needs[1] else None
    total_N, maximum_N = torch.zeros_like(weight), torch.zeros_like(weight)
    size = rows_per_block(left, columns)
    tiles = _column_tiles(size, columns, right_cast, unshifted=unshifted)

    def visit(block: slice, sums: Sequence[Tensor]) -> None:
        for tile, buffer in tiles:
            padded = torch.mm(left_cast[block], right_cast[tile].T, out=buffer[: len(weight[block])])
            logit = padded[:, : columns - tile.start]
            maximum = exp2_rows_(logit, unshifted=unshifted)
            if maximum is not None:
                maximum_N[block] = maximum
            total_N[block] += torch.sum(logit, 1, dtype=left.dtype)
            if grad_left is not None:
                add_matmul_(grad_left[block], padded, right_cast[tile])
        for total in sums:
            scaled = left[block] * (weight[block] / total_N[block]).unsqueeze(1)
            for tile, buffer in tiles:
                add_matmul_(total[tile], buffer[: len(scaled)].T, scaled, 1 / LOG2E)

    over_blocks(
        row_blocks(len(left), size),
        visit,
        rows=[m for m in (total_N, maximum_N, grad_left) if m is not None],
        sums=[] if grad_right is None else [grad_right],
    )
    value_N = total_N.log2().add_(maximum_N).mul_(1 / LOG2E)[:rows]
    if grad_left is not None:
        grad_left = grad_left[:rows].mul_((weight / total_N)[:rows].unsqueeze(1))
    return value_N, grad_left, None if grad_right is None else grad_right[:columns]


def exp_kernel_sums(vector: Tensor, weight: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Σ_m E_nm, (N,), and Σ_m E_nm x_m, (N, L), of E_nm = w_n w_m exp(scale · x_n · x_m), 0 on the diagonal.

    No product may need a shift. Works block of rows by block of rows: no N × N matrix is kept.
    """
    left, weighted = vector * (scale * LOG2E), vector * weight.unsqueeze(1)
    total_N, sum_NL = torch.zeros_like(weight), torch.zeros_like(vector)
    size = rows_per_block(vector, len(vector))
    buffer = block_buffer(min(size, len(vector)), len(vector), vector)

    def visit(block: slice, _: Sequence[Tensor]) -> None:
        kernel = torch.mm(left[block], vector.T, out=buffer[: block.stop - block.start]).exp2_()
        kernel[:, block].fill_diagonal_(0)
        total_N[block].addmv_(kernel, weight)
        sum_NL[block].addmm_(kernel, weighted)

    over_blocks(row_blocks(len(vector), size), visit, rows=(total_N, sum_NL))
    return total_N.mul_(weight), sum_NL.mul_(weight.unsqueeze(1))
