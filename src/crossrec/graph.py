"""Graphs: the normalised user-item adjacency, products with it, edge dropout, and item neighbours.

One of each in the whole package. Nothing here is dense in the number of users or items squared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


class SparseMatrix:
    """A constant CSR matrix whose product with a dense matrix is differentiable in the dense one.

    ``indptr`` (rows + 1,), ``indices`` (nnz,) of one integer type; ``values`` (nnz,) floating point.
    ``transposed`` is what the backward pass multiplies with: the matrix itself where it is symmetric, so that no second
    copy is kept.
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

    @classmethod
    def from_scipy(cls, matrix: sp.spmatrix, *, symmetric: bool, device: torch.device | str = "cpu") -> SparseMatrix:
        """From any scipy sparse matrix; ``symmetric`` promises that it equals its transpose."""
        csr = sp.csr_matrix(matrix)
        csr.sort_indices()
        index = np.int32 if max(csr.nnz, *csr.shape) < 2**31 else np.int64
        made = cls(
            torch.from_numpy(csr.indptr.astype(index)).to(device),
            torch.from_numpy(csr.indices.astype(index)).to(device),
            torch.from_numpy(np.asarray(csr.data, dtype=np.float32)).to(device),
            csr.shape[1],
        )
        if not symmetric:
            made.transposed = cls.from_scipy(csr.T, symmetric=True, device=device)
        return made

    @property
    def shape(self) -> tuple[int, int]:
        return self.indptr.shape[0] - 1, self.num_columns

    def __matmul__(self, dense: Tensor) -> Tensor:
        """The product with a dense (columns, L) matrix, (rows, L); gradient for the dense matrix only."""
        product: Tensor = _SparseProduct.apply(dense, self)  # type: ignore[no-untyped-call]
        return product

    def product(self, dense: Tensor) -> Tensor:
        """The product without a gradient."""
        return F.embedding_bag(
            self.indices,
            dense,
            self.indptr,
            mode="sum",
            per_sample_weights=self.values.to(dense.dtype),
            include_last_offset=True,
        )


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: SparseMatrix) -> Tensor:
        ctx.transposed = matrix.transposed
        return matrix.product(dense)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.transposed @ grad.contiguous(), None


def bipartite_adjacency(user_T: Tensor, item_T: Tensor, num_users: int, num_items: int) -> SparseMatrix:
    """D^-1/2 A D^-1/2 of the user-item graph ("sym"), users first: (U + I, U + I), symmetric.

    ``user_T``, ``item_T``: int64 edges; repeated edges count once. Nodes without an edge have empty rows.
    Source: LightGCN (He et al. 2020), Eq. 3.
    """
    user, item = user_T.cpu().numpy(), item_T.cpu().numpy()
    edges = sp.csr_matrix((np.ones(len(user)), (user, item)), shape=(num_users, num_items))
    edges.data[:] = 1.0
    scaled = sp.diags(_inverse_root(edges.sum(1))) @ edges @ sp.diags(_inverse_root(edges.sum(0)))
    matrix = sp.bmat([[None, scaled], [scaled.T, None]], format="csr")
    return SparseMatrix.from_scipy(matrix, symmetric=True, device=user_T.device)


def _inverse_root(degree: Any) -> NDArray[np.float64]:
    flat = np.asarray(degree, dtype=np.float64).ravel()
    return np.divide(1.0, np.sqrt(flat), out=np.zeros_like(flat), where=flat > 0)


def propagate_mean(adjacency: SparseMatrix, ego: Tensor, layers: int) -> Tensor:
    """Mean of layers 0 … ``layers`` of linear propagation, same shape as ``ego`` (LightGCN, Eq. 8, equal weights)."""
    mean: Tensor = _MeanPropagation.apply(ego, adjacency, layers)  # type: ignore[no-untyped-call]
    return mean


class _MeanPropagation(torch.autograd.Function):
    """(1 + A + … + Aᵏ) / (k + 1) is linear, and its transpose is the same thing of Aᵀ: nothing is saved."""

    @staticmethod
    def forward(ctx: Any, ego: Tensor, adjacency: SparseMatrix, layers: int) -> Tensor:
        ctx.transposed, ctx.layers = adjacency.transposed, layers
        total, layer = ego.clone(), ego
        for _ in range(layers):
            layer = adjacency.product(layer)
            total += layer
        return total.div_(layers + 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return propagate_mean(ctx.transposed, grad.contiguous(), ctx.layers), None, None


def degree_sensitive_sample(user_T: Tensor, item_T: Tensor, keep: float, generator: torch.Generator) -> Tensor:
    """Indices of a ``keep`` share of the edges, drawn without replacement with probability ∝ 1 / √(d_u d_i).

    Source: FREEDOM (Zhou and Shen 2023), degree-sensitive edge pruning. Drawn by the Gumbel top-k trick, which equals
    drawing one after the other without replacement.
    """
    degree_user = torch.bincount(user_T).double()
    degree_item = torch.bincount(item_T).double()
    log_weight = -0.5 * (degree_user[user_T].log() + degree_item[item_T].log())
    uniform = torch.rand(log_weight.shape, generator=generator, dtype=torch.float64, device=generator.device)
    gumbel = -(-uniform.clamp_min(1e-300).log()).log()
    kept = max(1, round(keep * len(user_T)))
    return (log_weight + gumbel.to(log_weight.device)).topk(kept).indices.sort().values


def knn(feature_ID: Tensor, k: int, *, block: int = 1024) -> tuple[Tensor, Tensor]:
    """The ``k`` items of highest cosine per item, the item itself included, and their cosines: (I, k) each.

    An item without the feature (a row of zeros) has itself alone: index = itself, cosine 0 in every further place.
    Computed in blocks of rows; memory is ``block`` × I.
    """
    norm = torch.linalg.vector_norm(feature_ID, dim=1, keepdim=True)
    missing = norm.squeeze(1) == 0
    unit = feature_ID / norm.masked_fill(norm == 0, 1.0)
    k = min(k, len(unit))
    indices, cosines = [], []
    for start in range(0, len(unit), block):
        cosine = unit[start : start + block] @ unit.T
        cosine[:, missing] = -torch.inf
        top = cosine.topk(k, dim=1)
        indices.append(top.indices)
        cosines.append(top.values)
    index, value = torch.cat(indices), torch.cat(cosines)
    own = torch.arange(len(unit), device=unit.device).unsqueeze(1)
    lacking = ~torch.isfinite(value) | missing.unsqueeze(1)
    return torch.where(lacking, own, index), value.masked_fill(lacking, 0.0)


def co_occurrence_neighbors(user_T: Tensor, item_T: Tensor, num_items: int, k: int) -> Tensor:
    """The ``k`` other items whose training users are most similar, by cosine > 0: (I, k) int64, padded with -1.

    C_ij = cos(Y_:,i, Y_:,j) over the training interactions (Eq. 7). Neighbours stand in order of falling similarity,
    equal ones in order of their index as far as the search returned them; an item with fewer than ``k`` has -1 in
    the places left.
    """
    from sparse_dot_topn import sp_matmul_topn

    user, item = user_T.cpu().numpy(), item_T.cpu().numpy()
    num_users = int(user.max()) + 1 if len(user) else 0
    if not num_users or k <= 0:
        return torch.full((num_items, max(k, 0)), -1, dtype=torch.int64)
    columns = sp.csr_matrix((np.ones(len(user)), (item, user)), shape=(num_items, num_users))
    columns.data[:] = 1.0
    columns = (sp.diags(_inverse_root(columns.sum(1))) @ columns).tocsr()
    # One more than asked for: the item itself is among its most similar ones.
    top = sp_matmul_topn(columns, columns.T.tocsr(), top_n=k + 1, threshold=0.0, sort=True).tocsr()
    row = np.repeat(np.arange(num_items), np.diff(top.indptr))
    other = (top.indices != row) & (top.data > 0)
    row, column, value = row[other], top.indices[other], top.data[other]
    order = np.lexsort((column, -value, row))
    row, column = row[order], column[order]
    place = np.arange(len(row)) - np.searchsorted(row, row)
    neighbors = np.full((num_items, k), -1, dtype=np.int64)
    within = place < k
    neighbors[row[within], place[within]] = column[within]
    return torch.from_numpy(neighbors).to(user_T.device)
