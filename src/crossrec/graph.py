"""Graphs: the normalised user-item adjacency, products with it, edge dropout, and item neighbours.

One of each in the whole package. Nothing here is dense in the number of users or items squared.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable
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
    edges = _edges(user_T, item_T, num_users, num_items)
    scaled = sp.diags(_inverse_root(edges.sum(1))) @ edges @ sp.diags(_inverse_root(edges.sum(0)))
    matrix = sp.bmat([[None, scaled], [scaled.T, None]], format="csr")
    return SparseMatrix.from_scipy(matrix, symmetric=True, device=user_T.device)


def sum_adjacency(user_T: Tensor, item_T: Tensor, num_users: int, num_items: int) -> SparseMatrix:
    """A of the user-item graph, ones, not normalised; else as ``bipartite_adjacency``."""
    edges = _edges(user_T, item_T, num_users, num_items)
    return SparseMatrix.from_scipy(sp.bmat([[None, edges], [edges.T, None]]), symmetric=True, device=user_T.device)


def mean_adjacency(user_T: Tensor, item_T: Tensor, num_users: int, num_items: int) -> SparseMatrix:
    """D^-1 (A + 1) of the user-item graph: the mean over a node and its neighbours; else as ``bipartite_adjacency``."""
    edges = _edges(user_T, item_T, num_users, num_items)
    loops = sp.bmat([[None, edges], [edges.T, None]]) + sp.identity(num_users + num_items)
    matrix = sp.diags(1.0 / np.asarray(loops.sum(1)).ravel()) @ loops
    return SparseMatrix.from_scipy(matrix, symmetric=False, device=user_T.device)


def _edges(user_T: Tensor, item_T: Tensor, num_users: int, num_items: int) -> Any:
    """The interactions as a scipy CSR matrix of ones, (U, I); repeated ones count once."""
    user, item = user_T.cpu().numpy(), item_T.cpu().numpy()
    edges = sp.csr_matrix((np.ones(len(user)), (user, item)), shape=(num_users, num_items))
    edges.data[:] = 1.0
    return edges


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
        share = 1 / (layers + 1)
        total, layer = ego * share, ego
        for _ in range(layers):
            layer = adjacency.product(layer)
            total.add_(layer, alpha=share)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return propagate_mean(ctx.transposed, grad.contiguous(), ctx.layers), None, None


def propagate_layers(adjacencies: Sequence[SparseMatrix], ego: Tensor) -> list[Tensor]:
    """Layers 0 … k of linear propagation, each by an adjacency of its own: k + 1 tensors shaped like ``ego``."""
    layers = [ego]
    for adjacency in adjacencies:
        layers.append(adjacency @ layers[-1])
    return layers


def edge_drop(user_T: Tensor, drop: float, generator: torch.Generator) -> Tensor:
    """Indices of the edges that stay when a ``drop`` share of them goes, uniform without replacement; ascending."""
    count = len(user_T)
    order = torch.randperm(count, generator=generator, device=generator.device)
    return order[: max(1, round((1 - drop) * count))].sort().values.to(user_T.device)


def node_drop(
    user_T: Tensor, item_T: Tensor, num_users: int, num_items: int, drop: float, generator: torch.Generator
) -> Tensor:
    """Indices of the edges that stay when a ``drop`` share of users and of items loses all of theirs; ascending.

    Users and items are drawn uniformly without replacement, edges or none. One edge stays in any case.
    """
    stays = torch.ones(len(user_T), dtype=torch.bool, device=user_T.device)
    for node_T, count in ((user_T, num_users), (item_T, num_items)):
        gone = torch.zeros(count, dtype=torch.bool, device=generator.device)
        gone[torch.randperm(count, generator=generator, device=generator.device)[: round(drop * count)]] = True
        stays &= ~gone.to(node_T.device)[node_T]
    kept = stays.nonzero().squeeze(1)
    return kept if len(kept) else kept.new_zeros(1)


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


_KNN_NUMBERS = 1 << 26
"""Cosines that ``knn`` holds at a time."""


def knn(feature_ID: Tensor, k: int, *, block: int = 1024) -> tuple[Tensor, Tensor]:
    """The ``k`` items of highest cosine per item, the item itself included, and their cosines: (I, k) each.

    An item without the feature (a row of zeros) has itself alone: index = itself, cosine 0 in every further place.
    Computed in blocks of at most ``block`` rows, and of fewer where they would take more than 256 MB of cosines.
    """
    block = max(1, min(block, _KNN_NUMBERS // max(1, len(feature_ID))))
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
    user, item = user_T.cpu().numpy(), item_T.cpu().numpy()
    num_users = int(user.max()) + 1 if len(user) else 0
    if not num_users or k <= 0:
        return torch.full((num_items, max(k, 0)), -1, dtype=torch.int64)
    columns = sp.csr_matrix((np.ones(len(user)), (item, user)), shape=(num_items, num_users))
    columns.data[:] = 1.0
    columns = (sp.diags(_inverse_root(columns.sum(1))) @ columns).tocsr()
    row, column, _, place = _most_similar_others(columns, k)
    neighbors = np.full((num_items, k), -1, dtype=np.int64)
    neighbors[row, place] = column
    return torch.from_numpy(neighbors).to(user_T.device)


def _most_similar_others(matrix: Any, k: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The ``k`` largest positive entries of every row of M Mᵀ but the diagonal: row, column, value, rank in the row.

    In order of rows, then of falling values, then of columns. Never more than k + 1 entries a row are held.
    """
    from sparse_dot_topn import sp_matmul_topn

    # One more than asked for: a row itself is among its most similar ones.
    top = sp_matmul_topn(matrix, matrix.T.tocsr(), top_n=k + 1, threshold=0.0, sort=True).tocsr()
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(top.indptr))
    other = (top.indices != row) & (top.data > 0)
    row, column, value = row[other], top.indices[other], top.data[other]
    order = np.lexsort((column, -value, row))
    row, column, value = row[order], column[order], value[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    within = rank < k
    return row[within], column[within], value[within], rank[within]


def co_interaction_graph(user_T: Tensor, item_T: Tensor, num_users: int, num_items: int, k: int) -> SparseMatrix:
    """Every user's ``k`` users with most items in common, weighted by the softmax of these counts: (U, U).

    Users without a common item are no neighbours; of equal counts those that the search returned. A user without
    neighbours has an empty row. Source: DualGNN (Wang et al. 2021), user co-occurrence graph.
    """
    edges = _edges(user_T, item_T, num_users, num_items).astype(np.float32)
    row, column, count, _ = _most_similar_others(edges, k)
    first = np.searchsorted(row, row)  # the place of each row's largest count
    weight = np.exp(count.astype(np.float64) - count[first])
    weight /= np.bincount(row, weight, num_users)[row]
    graph = sp.csr_matrix((weight, (row, column)), shape=(num_users, num_users))
    return SparseMatrix.from_scipy(graph, symmetric=False, device=user_T.device)


class SparsePattern:
    """Where the entries of a sparse matrix stand whose values are learnt.

    ``row_E``, ``column_E``: int64, sorted by row; an entry may occur twice and then counts twice. Values are tensors
    (E,) in the order of the entries. ``order_E`` is the entry at each place of the transposed pattern.
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
        """A constant matrix of these values."""
        values_E, order_E = values_E.detach(), self.order_E
        turned = SparseMatrix(self.transposed_indptr, self.transposed_row_E, values_E[order_E], self.shape[0])
        return SparseMatrix(self.indptr, self.column_E, values_E, self.shape[1], turned)

    def zeros(self, dtype: torch.dtype) -> Tensor:
        """The pattern as torch's own sparse matrix, all its values 0."""
        with warnings.catch_warnings():  # that such tensors are in beta
            warnings.simplefilter("ignore", UserWarning)
            return torch.sparse_csr_tensor(
                self.indptr,
                self.column_E,
                self.indptr.new_zeros(len(self.row_E), dtype=dtype),
                self.shape,
                check_invariants=False,
            )

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


def _weighted_sums(indptr: Tensor, index_E: Tensor, values_E: Tensor, dense: Tensor) -> Tensor:
    return F.embedding_bag(
        index_E, dense, indptr, mode="sum", per_sample_weights=values_E.contiguous(), include_last_offset=True
    )


def _entry_dots(pattern: SparsePattern, left_RL: Tensor, right_CL: Tensor) -> Tensor:
    # torch's kernel, four times as fast on a CPU, gathers no rows; it takes no more entries than a full matrix has.
    if left_RL.device.type == "cpu" and len(pattern.row_E) <= pattern.shape[0] * pattern.shape[1]:
        dots: Tensor = torch.sparse.sampled_addmm(pattern.zeros(left_RL.dtype), left_RL, right_CL.T, beta=0)
        return dots.values()
    return (left_RL.index_select(0, pattern.row_E) * right_CL.index_select(0, pattern.column_E)).sum(-1)


class _WeightedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values_E: Tensor, dense: Tensor, pattern: SparsePattern) -> Tensor:
        ctx.save_for_backward(values_E, dense)
        ctx.pattern = pattern
        return _weighted_sums(pattern.indptr, pattern.column_E, values_E, dense)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (values_E, dense), pattern, order_E = ctx.saved_tensors, ctx.pattern, ctx.pattern.order_E
        grad, by_values, by_dense = grad.contiguous(), None, None
        if ctx.needs_input_grad[0]:
            by_values = _entry_dots(pattern, grad, dense)
        if ctx.needs_input_grad[1]:
            by_dense = _weighted_sums(pattern.transposed_indptr, pattern.transposed_row_E, values_E[order_E], grad)
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
            by_left = _weighted_sums(pattern.indptr, pattern.column_E, grad_E, right_CL)
        if ctx.needs_input_grad[1]:
            by_right = _weighted_sums(pattern.transposed_indptr, pattern.transposed_row_E, grad_E[order_E], left_RL)
        return by_left, by_right, None
