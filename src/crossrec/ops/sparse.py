"""Products of sparse and dense matrices, differentiable in the dense one and, where they are learnt, in the values."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from crossrec import parallel

CUDA_USES_CSR = True
"""Whether a GPU multiplies by ``csr_sums``, which shares long rows among its threads, or by ``bag_sums`` as a CPU does.
``make gpu-check`` measures both."""


class SparseMatrix:
    """A constant CSR matrix whose product with a dense matrix is differentiable in the dense one.

    ``indptr`` (rows + 1,), ``indices`` (nnz,) of one integer type; ``values`` (nnz,) floating point.
    ``transposed`` is the matrix of the backward pass; a symmetric matrix is its own, so that no second copy is kept.
    """

    def __init__(
        self,
        indptr: Tensor,
        indices: Tensor,
        values: Tensor,
        num_columns: int,
        transposed: SparseMatrix | None = None,
    ) -> None:
        self.indptr, self.indices, self.values, self.num_columns = indptr, indices, values, num_columns
        self.transposed = transposed or self
        self.shared = True
        """Whether processes share out the rows of a product; not where each has columns of the dense matrix."""

    @classmethod
    def from_scipy(cls, matrix: sp.spmatrix, *, symmetric: bool, device: torch.device | str = "cpu") -> SparseMatrix:
        """From any scipy sparse matrix; ``symmetric`` promises that it equals its transpose."""
        csr = sp.csr_matrix(matrix)
        csr.sort_indices()
        index = np.int32 if max(csr.nnz, *csr.shape) < 2**31 else np.int64
        sparse = cls(
            torch.from_numpy(csr.indptr.astype(index, copy=False)).to(device),
            torch.from_numpy(csr.indices.astype(index, copy=False)).to(device),
            torch.from_numpy(np.asarray(csr.data, dtype=np.float32)).to(device),
            csr.shape[1],
        )
        if not symmetric:
            sparse.transposed = cls.from_scipy(csr.T, symmetric=True, device=device)
        return sparse

    @property
    def shape(self) -> tuple[int, int]:
        return self.indptr.shape[0] - 1, self.num_columns

    def __matmul__(self, dense: Tensor) -> Tensor:
        """The product with a dense (columns, L) matrix, (rows, L); gradient for the dense matrix only."""
        product: Tensor = _SparseProduct.apply(dense, self)  # type: ignore[no-untyped-call]
        return product

    def product(self, dense: Tensor) -> Tensor:
        """The product without a gradient."""
        sums = _shared_sums if self.shared else _weighted_sums
        return sums(self.indptr, self.indices, self.values.to(dense.dtype), dense)


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: SparseMatrix) -> Tensor:
        ctx.transposed = matrix.transposed
        return matrix.product(dense)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.transposed @ grad.contiguous(), None


class SparsePattern:
    """Positions of the entries of a sparse matrix whose values are learnt.

    ``row_E``, ``column_E``: int64, sorted by row; an entry may occur twice and then counts twice. Values are tensors
    (E,) in the order of the entries. ``order_E``: the order of the entries in the transposed pattern.
    """

    def __init__(self, row_E: Tensor, column_E: Tensor, num_rows: int, num_columns: int) -> None:
        self.row_E, self.column_E, self.shape = row_E, column_E, (num_rows, num_columns)
        self.order_E = torch.argsort(column_E, stable=True)
        self.indptr = _pointers(row_E, num_rows)
        self.transposed_row_E = row_E[self.order_E]
        self.transposed_indptr = _pointers(column_E[self.order_E], num_columns)

    def transposed(self) -> SparsePattern:
        """The pattern of the transposed matrix; its values are ``values_E[order_E]``."""
        return SparsePattern(self.column_E[self.order_E], self.transposed_row_E, *self.shape[::-1])

    def matrix(self, values_E: Tensor) -> SparseMatrix:
        """The constant matrix of these values."""
        values_E, order_E = values_E.detach(), self.order_E
        transposed = SparseMatrix(self.transposed_indptr, self.transposed_row_E, values_E[order_E], self.shape[0])
        return SparseMatrix(self.indptr, self.column_E, values_E, self.shape[1], transposed)

    def product(self, values_E: Tensor, dense: Tensor) -> Tensor:
        """The matrix of these values times a dense (columns, L) one, (rows, L); gradient for both."""
        product: Tensor = _WeightedProduct.apply(values_E, dense, self)  # type: ignore[no-untyped-call]
        return product

    def dots(self, left_RL: Tensor, right_CL: Tensor) -> Tensor:
        """left_r · right_c at every entry (r, c), (E,); gradient for both."""
        dots: Tensor = _EntryDots.apply(left_RL, right_CL, self)  # type: ignore[no-untyped-call]
        return dots

    def softmax(self, values_E: Tensor) -> Tensor:
        """Softmax over the entries of every row, (E,)."""
        top = values_E.new_full(self.shape[:1], -torch.inf)
        top = top.scatter_reduce(0, self.row_E, values_E.detach(), "amax")
        mass_E = (values_E - top.index_select(0, self.row_E)).exp()
        total = mass_E.new_zeros(self.shape[:1]).index_add(0, self.row_E, mass_E)
        return mass_E / total.index_select(0, self.row_E)


def _pointers(sorted_E: Tensor, count: int) -> Tensor:
    return torch.searchsorted(sorted_E, torch.arange(count + 1, device=sorted_E.device))


SMALL = 1 << 20
"""A product of fewer entries times columns is computed in every process: handing rows over takes as long."""


def _shared_sums(indptr: Tensor, index_E: Tensor, values_E: Tensor, dense: Tensor) -> Tensor:
    """``_weighted_sums``, of which every process computes rows with an equal share of the entries."""
    count, processes = len(index_E), parallel.size()
    if processes == 1 or count * dense.shape[1] < SMALL:
        return _weighted_sums(indptr, index_E, values_E, dense)
    bound = torch.arange(1, processes, device=indptr.device) * count // processes
    cuts = [0, *torch.searchsorted(indptr, bound.to(indptr.dtype)).tolist(), len(indptr) - 1]
    rows = [slice(start, stop) for start, stop in pairwise(cuts)]
    product, own = dense.new_empty(len(indptr) - 1, dense.shape[1]), rows[parallel.rank()]
    first, last = int(indptr[own.start]), int(indptr[own.stop])
    own_indptr = indptr[own.start : own.stop + 1] - first
    product[own] = _weighted_sums(own_indptr, index_E[first:last], values_E[first:last], dense)
    parallel.fill_rows(product, rows)
    return product


def _weighted_sums(indptr: Tensor, index_E: Tensor, values_E: Tensor, dense: Tensor) -> Tensor:
    return (csr_sums if dense.device.type == "cuda" and CUDA_USES_CSR else bag_sums)(indptr, index_E, values_E, dense)


def bag_sums(indptr: Tensor, index_E: Tensor, values_E: Tensor, dense: Tensor) -> Tensor:
    """The product with a dense matrix as sums of its rows: one thread a row and column."""
    return F.embedding_bag(
        index_E, dense, indptr, mode="sum", per_sample_weights=values_E.contiguous(), include_last_offset=True
    )


def csr_sums(indptr: Tensor, index_E: Tensor, values_E: Tensor, dense: Tensor) -> Tensor:
    """The product with a dense matrix by torch's CSR kernel: cuSPARSE on a GPU, MKL on a CPU."""
    product: Tensor = _csr(indptr, index_E, values_E, (len(indptr) - 1, len(dense))) @ dense
    return product


def _csr(indptr: Tensor, index_E: Tensor, values_E: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():  # "sparse CSR tensor support is in beta state"
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(indptr, index_E, values_E, shape, check_invariants=False)


def _entry_dots(pattern: SparsePattern, left_RL: Tensor, right_CL: Tensor) -> Tensor:
    # torch's kernel gathers no rows and is four times as fast on a CPU, but takes no more entries than a full matrix.
    if left_RL.device.type == "cpu" and len(pattern.row_E) <= pattern.shape[0] * pattern.shape[1]:
        value_E = left_RL.new_zeros(len(pattern.row_E))
        zeros = _csr(pattern.indptr, pattern.column_E, value_E, pattern.shape)
        dots: Tensor = torch.sparse.sampled_addmm(zeros, left_RL, right_CL.T, beta=0)
        return dots.values()
    return (left_RL.index_select(0, pattern.row_E) * right_CL.index_select(0, pattern.column_E)).sum(-1)


class _WeightedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values_E: Tensor, dense: Tensor, pattern: SparsePattern) -> Tensor:
        ctx.save_for_backward(values_E, dense)
        ctx.pattern = pattern
        return _shared_sums(pattern.indptr, pattern.column_E, values_E, dense)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (values_E, dense), pattern, order_E = ctx.saved_tensors, ctx.pattern, ctx.pattern.order_E
        grad, by_values, by_dense = grad.contiguous(), None, None
        if ctx.needs_input_grad[0]:
            by_values = _entry_dots(pattern, grad, dense)
        if ctx.needs_input_grad[1]:
            by_dense = _shared_sums(pattern.transposed_indptr, pattern.transposed_row_E, values_E[order_E], grad)
        return by_values, by_dense, None


class _EntryDots(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left_RL: Tensor, right_CL: Tensor, pattern: SparsePattern) -> Tensor:
        ctx.save_for_backward(left_RL, right_CL)
        ctx.pattern = pattern
        return _entry_dots(pattern, left_RL, right_CL)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_E: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (left_RL, right_CL), pattern, order_E = ctx.saved_tensors, ctx.pattern, ctx.pattern.order_E
        by_left = by_right = None
        if ctx.needs_input_grad[0]:
            by_left = _shared_sums(pattern.indptr, pattern.column_E, grad_E, right_CL)
        if ctx.needs_input_grad[1]:
            by_right = _shared_sums(pattern.transposed_indptr, pattern.transposed_row_E, grad_E[order_E], left_RL)
        return by_left, by_right, None
