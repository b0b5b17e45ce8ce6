"""Products with many rows and columns, block by block through memory that is used again. What losses are made of."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Precision = Literal["bfloat16"]
"""What the large products of contrastive terms are read in; None: the type of the vectors."""

_BLOCK_NUMBERS, _BLOCK_ROWS, _BLOCK_LIMIT = 1 << 18, 192, 1 << 23
"""Entries of a block of logits for each thread: about 1 MB of float32, so that it stays in a core's cache between
passes; but rows enough that a matrix product runs at its full rate; but never more than 32 MB in all."""
_TILE = 2048
"""Columns of a block at a time: a block of 20,000 columns takes 15 MB, which no core's cache holds."""
APART = 16
"""Numbers between the rows of a block: rows a power of two apart fall on the same lines of a cache, which costs a
product with its transpose a quarter of its rate."""
LOG2E = math.log2(math.e)
"""Logits are multiplied with this, for exp2 and log2: exp takes three times as long as exp2 on a CPU."""


def row_blocks(left_NL: Tensor, columns: int) -> int:
    """How many rows to multiply with so many columns at a time: equal blocks for the cache on a CPU; all on a GPU."""
    rows, columns = max(1, len(left_NL)), max(1, columns)
    if left_NL.device.type != "cpu":
        return rows
    size = torch.get_num_threads() * max(_BLOCK_ROWS, _BLOCK_NUMBERS // columns)
    size = min(size, max(16, _BLOCK_LIMIT // columns))
    return -(-rows // max(1, round(rows / size)))


def block_workspace(rows: int, columns: int, like: Tensor, *, by_columns: bool = False) -> Tensor:
    """Memory that every block of logits is written to in turn: fresh pages cost more than what is written to them.

    ``by_columns``: a column's numbers lie together. Threads then share a product by its columns, otherwise by its rows,
    and that goes well along the longer side only. Half precision begins as zeros: a processor with tiles of bfloat16
    (AMX) reads what stands between the rows too, times 0, which a NaN left in the memory would survive.
    """
    make = like.new_empty if like.dtype.itemsize > 2 else like.new_zeros
    if by_columns:
        return make((columns, rows + APART))[:, :rows].T
    return make((rows, columns + APART))[:, :columns]


class Workspace:
    """Memory for the one matrix of N × P that a cluster loss needs, kept for the next loss and the next step.

    On a CPU fresh pages cost more than what is written to them, and matrices of changing size leave holes in the heap
    that the next does not fit into. On other devices torch's own allocator sees to that.
    """

    def __init__(self) -> None:
        self._memory: Tensor | None = None

    def matrix(self, gather_rows: int, columns: int, like: Tensor) -> Tensor:
        """An uninitialised (rows, columns) of the type of ``like``, good until the next call."""
        if like.device.type != "cpu":
            return like.new_empty(gather_rows, columns)
        stride = columns + APART
        size = gather_rows * stride
        if self._memory is None or self._memory.dtype != like.dtype or self._memory.numel() < size:
            self._memory = None  # first freed, then replaced, with a little to spare for a batch of more items
            self._memory = like.new_empty(size + size // 16)
        return self._memory[:size].view(gather_rows, stride)[:, :columns]


def exp2_rows_(logit_NP: Tensor, small: bool) -> Tensor | None:
    """2 to the power of every entry, in place; unless ``small``, of what it is below its row's maximum, (N,).

    Of that, what is less than the root of the type's least normal number is 0. It is far below what a sum that has a 1
    in it can hold, and numbers that are no longer normal take a processor ten times as long to multiply.
    """
    if small:
        logit_NP.exp2_()
        return None
    top = logit_NP.amax(1, keepdim=True)
    least = math.log2(torch.finfo(logit_NP.dtype).tiny) / 2
    torch.threshold_(logit_NP.sub_(top), least, -math.inf).exp2_()
    return top.squeeze(1)


def wide(tensor: Tensor) -> Tensor:
    """Detached, and half precision as float32: what values and gradients are accumulated in."""
    tensor = tensor.detach()
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


_SHAPES = 64
"""On a CPU a bfloat16 product of a shape not seen before is compiled first, so rows are filled up to a multiple."""


def filled_up(tensor: Tensor, precision: Precision | None) -> Tensor:
    """With zeros, or rows of them, at its end where products are to be bfloat16; else as it is."""
    missing = 0 if precision is None else -len(tensor) % _SHAPES
    return tensor if not missing else torch.cat([tensor, tensor.new_zeros(missing, *tensor.shape[1:])])


def product_into(out: Tensor, left: Tensor, right: Tensor) -> None:
    """out = left right, whatever type ``out`` has."""
    if out.dtype == left.dtype:
        torch.mm(left, right, out=out)
    else:
        out.copy_(torch.mm(left, right))


def add_product_(total: Tensor, left: Tensor, right: Tensor, scale: float = 1.0) -> None:
    """total += scale · left right, read in the type of ``left``, summed up in that of ``total``."""
    if total.dtype == left.dtype:
        total.addmm_(left, right, alpha=scale)
    else:
        total.add_(torch.mm(left, right.to(left.dtype)), alpha=scale)


def _column_tiles(rows: int, columns: int, right_PL: Tensor, small: bool) -> list[tuple[slice, Tensor]]:
    """Columns of a block that are worked on together, and memory for them, tile by tile: what a product has just
    written is then still in the cache for the next. One tile where a row's maximum comes first, and on a GPU."""
    length, by_columns = len(right_PL), torch.get_num_threads() > 1 and columns > rows
    width = _TILE if small and right_PL.device.type == "cpu" else max(1, length)
    tiles = [slice(start, min(start + width, length)) for start in range(0, length, width)]
    return [(own, block_workspace(rows, own.stop - own.start, right_PL, by_columns=by_columns)) for own in tiles]


def softmax_products(
    left: Tensor,
    right: Tensor,
    weight: Tensor | None,
    needs: tuple[bool, bool],
    small: bool,
    precision: Precision | None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Σ_p exp(x_n · y_p) of every row as its logarithm, (N,); w softmax Y, (N, L); (w softmax)ᵀ X, (P, L).

    ``left``: X · log2 e; ``small``: whether no logit needs a shift.
    """
    rows, columns = len(left), len(right)
    left, right = filled_up(left, precision), filled_up(right, precision)
    weight = left.new_ones(len(left)) if weight is None else filled_up(weight, precision)
    kind = left.dtype if precision is None else torch.bfloat16
    left_k, right_k = left.to(kind), right.to(kind)
    grad_left = torch.zeros_like(left) if needs[0] else None
    grad_right = torch.zeros_like(right) if needs[1] else None
    total_N, top_N = torch.zeros_like(weight), torch.zeros_like(weight)
    size = row_blocks(left, columns)
    tiles = _column_tiles(size, columns, right_k, small)
    for start in range(0, len(left), size):
        part = slice(start, start + size)
        for own, room in tiles:
            whole = torch.mm(left_k[part], right_k[own].T, out=room[: len(weight[part])])
            logit = whole[:, : columns - own.start]
            top = exp2_rows_(logit, small)
            if top is not None:
                top_N[part] = top
            total_N[part] += torch.sum(logit, 1, dtype=left.dtype)
            if grad_left is not None:
                add_product_(grad_left[part], whole, right_k[own])
        if grad_right is not None:
            scaled = left[part] * (weight[part] / total_N[part]).unsqueeze(1)
            for own, room in tiles:
                add_product_(grad_right[own], room[: len(scaled)].T, scaled, 1 / LOG2E)
    value_N = total_N.log2().add_(top_N).mul_(1 / LOG2E)[:rows]
    if grad_left is not None:
        grad_left = grad_left[:rows].mul_((weight / total_N)[:rows].unsqueeze(1))
    return value_N, grad_left, None if grad_right is None else grad_right[:columns]


def kernel_products(vector: Tensor, weight: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Σ_m E_nm, (N,), and Σ_m E_nm x_m, (N, L), of E_nm = w_n w_m exp(scale · x_n · x_m), 0 on the diagonal.

    No product may need a shift. Block of rows by block of rows: nothing of size N × N outlives a block.
    """
    left, weighted = vector * (scale * LOG2E), vector * weight.unsqueeze(1)
    total_N, sum_NL = torch.zeros_like(weight), torch.zeros_like(vector)
    size = row_blocks(vector, len(vector))
    room = block_workspace(min(size, len(vector)), len(vector), vector)
    for start in range(0, len(vector), size):
        part = slice(start, min(start + size, len(vector)))
        kernel = torch.mm(left[part], vector.T, out=room[: part.stop - start]).exp2_()
        kernel[:, part].fill_diagonal_(0)
        total_N[part].addmv_(kernel, weight)
        sum_NL[part].addmm_(kernel, weighted)
    return total_N.mul_(weight), sum_NL.mul_(weight.unsqueeze(1))
