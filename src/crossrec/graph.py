"""Graphs: normalised user-item adjacencies, propagation, edge dropout, and neighbours of items and users.

Nothing here takes memory of users² or items².
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossrec.errors import ConfigError
from crossrec.ops.row_blocks import row_blocks
from crossrec.ops.sparse import SparseMatrix
from crossrec.ops.topk import stable_topk
from crossrec.ops.vectors import l2_normalize


def bipartite_adjacency(
    user_T: Tensor,
    item_T: Tensor,
    num_users: int,
    num_items: int,
    *,
    item_edges: tuple[Tensor, Tensor] | None = None,
) -> SparseMatrix:
    """D^-1/2 A D^-1/2 of the user-item graph ("sym"), users first: (U + I, U + I), symmetric.

    ``user_T``, ``item_T``: int64 edges; repeated edges count once. Nodes without an edge have empty rows.
    ``item_edges``: further edges between items, in both directions (GUME, Lin et al. 2024).
    Source: LightGCN (He et al. 2020), Eq. 3.
    """
    if item_edges is None:
        matrix = _both_ways(user_T, item_T, num_users, num_items)
    else:
        edges = interaction_matrix(user_T, item_T, num_users, num_items)
        between = interaction_matrix(*item_edges, num_items, num_items)
        between = between.maximum(between.T)
        matrix = sp.bmat([[None, edges], [edges.T, between]], format="csr")
    return SparseMatrix.from_scipy(_normalized(matrix), symmetric=True, device=user_T.device)


def _both_ways(user_T: Tensor, item_T: Tensor, num_users: int, num_items: int) -> Any:
    """The interactions in both directions, users first, as entries of 1 in 8 bits: (U + I, U + I).

    The graph takes most memory while it is built, so no wide numbers and no second copy are held here.
    """
    of_users = interaction_matrix(user_T, item_T, num_users, num_items, np.int8)
    of_items = of_users.T.tocsr()
    count, size = of_users.nnz, num_users + num_items
    index = np.int32 if max(2 * count, size) < 2**31 else np.int64
    indptr, indices = np.empty(size + 1, dtype=index), np.empty(2 * count, dtype=index)
    indptr[: num_users + 1] = of_users.indptr
    np.add(of_items.indptr[1:], count, out=indptr[num_users + 1 :], dtype=index)
    np.add(of_users.indices, num_users, out=indices[:count], dtype=index)
    indices[count:] = of_items.indices
    return sp.csr_matrix((np.ones(2 * count, dtype=np.int8), indices, indptr), shape=(size, size))


_BLOCK_ROWS = 1 << 16
"""Rows of a sparse matrix that are worked on at a time where their numbers are wide."""


def _normalized(matrix: Any) -> Any:
    """D^-1/2 M D^-1/2 of a symmetric CSR matrix, D its row sums: computed in float64, float32 in the end."""
    root_N = _inverse_root(matrix.sum(1))
    value_E = np.empty(matrix.nnz, dtype=np.float32)
    for block in row_blocks(matrix.shape[0], _BLOCK_ROWS):
        part = slice(matrix.indptr[block.start], matrix.indptr[block.stop])
        row_root_E = np.repeat(root_N[block], np.diff(matrix.indptr[block.start : block.stop + 1]))
        value_E[part] = row_root_E * matrix.data[part] * root_N[matrix.indices[part]]
    return sp.csr_matrix((value_E, matrix.indices, matrix.indptr), shape=matrix.shape)


def sum_adjacency(user_T: Tensor, item_T: Tensor, num_users: int, num_items: int) -> SparseMatrix:
    """A of the user-item graph with entries of 1, not normalised; otherwise as ``bipartite_adjacency``."""
    edges = interaction_matrix(user_T, item_T, num_users, num_items)
    return SparseMatrix.from_scipy(sp.bmat([[None, edges], [edges.T, None]]), symmetric=True, device=user_T.device)


def mean_adjacency(user_T: Tensor, item_T: Tensor, num_users: int, num_items: int) -> SparseMatrix:
    """D^-1 (A + 1) of the user-item graph, the mean over a node and its neighbours; else as ``bipartite_adjacency``."""
    edges = interaction_matrix(user_T, item_T, num_users, num_items)
    loops = sp.bmat([[None, edges], [edges.T, None]]) + sp.identity(num_users + num_items)
    matrix = sp.diags(1.0 / np.asarray(loops.sum(1)).ravel()) @ loops
    return SparseMatrix.from_scipy(matrix, symmetric=False, device=user_T.device)


def interaction_adjacency(user_T: Tensor, item_T: Tensor, num_users: int, num_items: int) -> SparseMatrix:
    """D_u^-1/2 Y D_i^-1/2, the user-item block of ``bipartite_adjacency``: (U, I)."""
    edges = interaction_matrix(user_T, item_T, num_users, num_items)
    scaled = sp.diags(_inverse_root(edges.sum(1))) @ edges @ sp.diags(_inverse_root(edges.sum(0)))
    return SparseMatrix.from_scipy(scaled, symmetric=False, device=user_T.device)


def interaction_matrix(
    user_T: Tensor, item_T: Tensor, num_users: int, num_items: int, dtype: type[np.number[Any]] = np.float64
) -> Any:
    """The interactions as a scipy CSR matrix of ones, (U, I); repeated ones count once."""
    user, item = user_T.cpu().numpy(), item_T.cpu().numpy()
    edges = sp.csr_matrix((np.ones(len(user), dtype=np.int8), (user, item)), shape=(num_users, num_items))
    edges.data[:] = 1
    return edges.astype(dtype, copy=False)


def _inverse_root(degree: Any) -> NDArray[np.float64]:
    flat = np.asarray(degree, dtype=np.float64).ravel()
    return np.divide(1.0, np.sqrt(flat), out=np.zeros_like(flat), where=flat > 0)


def propagate_mean(adjacency: SparseMatrix, ego: Tensor, layers: int) -> Tensor:
    """Mean of layers 0 … ``layers`` of linear propagation, same shape as ``ego`` (LightGCN, Eq. 8, equal weights)."""
    mean: Tensor = _MeanPropagation.apply(ego, adjacency, layers)  # type: ignore[no-untyped-call]
    return mean


class _MeanPropagation(torch.autograd.Function):
    """(1 + A + … + Aᵏ) / (k + 1) is linear and its transpose is the same polynomial of Aᵀ, so nothing is saved."""

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
    """Layers 0 … k of linear propagation, one adjacency a layer: k + 1 tensors shaped like ``ego``."""
    layers = [ego]
    for adjacency in adjacencies:
        layers.append(adjacency @ layers[-1])
    return layers


def edge_drop(user_T: Tensor, drop: float, generator: torch.Generator) -> Tensor:
    """Indices of the edges left after dropping a ``drop`` share uniformly without replacement; ascending."""
    count = len(user_T)
    order = torch.randperm(count, generator=generator, device=generator.device)
    return order[: max(1, round((1 - drop) * count))].sort().values.to(user_T.device)


def node_drop(
    user_T: Tensor, item_T: Tensor, num_users: int, num_items: int, drop: float, generator: torch.Generator
) -> Tensor:
    """Indices of the edges left after a ``drop`` share of users and of items lost all of theirs; ascending.

    Users and items are drawn uniformly without replacement, whether they have edges or not. At least one edge is left.
    """
    remains_T = torch.ones(len(user_T), dtype=torch.bool, device=user_T.device)
    for node_T, count in ((user_T, num_users), (item_T, num_items)):
        dropped = torch.zeros(count, dtype=torch.bool, device=generator.device)
        dropped[torch.randperm(count, generator=generator, device=generator.device)[: round(drop * count)]] = True
        remains_T &= ~dropped.to(node_T.device)[node_T]
    edge_index = remains_T.nonzero().squeeze(1)
    return edge_index if len(edge_index) else edge_index.new_zeros(1)


def degree_sensitive_sample(user_T: Tensor, item_T: Tensor, keep: float, generator: torch.Generator) -> Tensor:
    """Indices of a ``keep`` share of the edges, drawn without replacement with probability ∝ 1 / √(d_u d_i).

    Source: FREEDOM (Zhou and Shen 2023), degree-sensitive edge pruning. The Gumbel top-k trick draws them, with the
    distribution of drawing one edge after the other without replacement.
    """
    degree_user = torch.bincount(user_T).double()
    degree_item = torch.bincount(item_T).double()
    log_weight = -0.5 * (degree_user[user_T].log() + degree_item[item_T].log())
    uniform = torch.rand(log_weight.shape, generator=generator, dtype=torch.float64, device=generator.device)
    gumbel = -(-uniform.clamp_min(1e-300).log()).log()
    num_edges = max(1, round(keep * len(user_T)))
    return (log_weight + gumbel.to(log_weight.device)).topk(num_edges).indices.sort().values


_KNN_NUMBERS = 1 << 26
"""Most cosines that ``knn`` has in memory at a time."""


def knn(feature_matrix: Tensor, k: int, *, rows: Tensor | None = None, block: int = 1024) -> tuple[Tensor, Tensor]:
    """The ``k`` items of highest cosine per item, the item itself included, and their cosines: (I, k) each.

    ``feature_matrix``: (I, D). ``rows``: the items to search for, int64 (R,), all unless given. An item comes first
    among its own neighbours, then the lower index of equal cosines. An item without the feature (a row of zeros) has
    only itself as neighbour, k times, with cosine 0. Works in blocks of at most ``block`` rows and 256 MB of cosines.
    """
    block = max(1, min(block, _KNN_NUMBERS // max(1, len(feature_matrix))))
    norm = torch.linalg.vector_norm(feature_matrix, dim=1, keepdim=True)
    missing = norm.squeeze(1) == 0
    unit = feature_matrix / norm.masked_fill(norm == 0, 1.0)
    k, rows = min(k, len(unit)), torch.arange(len(unit), device=unit.device) if rows is None else rows
    indices, cosines, own = [], [], []
    for row_B in torch.split(rows, block):
        cosine, itself = unit[row_B] @ unit.T, row_B.unsqueeze(1)
        own.append(cosine.gather(1, itself))
        cosine.scatter_(1, itself, torch.inf)
        cosine[:, missing] = -torch.inf
        nearest_index, nearest_cosine = stable_topk(cosine, k)
        indices.append(nearest_index)
        cosines.append(nearest_cosine)
    index, value = torch.cat(indices), torch.cat(cosines)
    value = torch.where(index == rows.unsqueeze(1), torch.cat(own), value)
    lacking = ~torch.isfinite(value) | missing[rows].unsqueeze(1)
    return torch.where(lacking, rows.unsqueeze(1), index), value.masked_fill(lacking, 0.0)


def modality_shares(weights: Mapping[str, float] | None, modalities: Sequence[str], flag: str) -> dict[str, float]:
    """Shares of the modalities that sum to 1: equal unless given.

    Raises ConfigError, which names ``flag``, if ``weights`` does not name exactly the modalities or holds zeros only.
    """
    if weights is None:
        return {m: 1 / len(modalities) for m in modalities}
    if set(weights) != set(modalities) or not sum(weights.values()):
        raise ConfigError(
            f"{flag} names {sorted(weights)}, the data set has {sorted(modalities)}: give each a weight, not all zero"
        )
    return {m: w / sum(weights.values()) for m, w in weights.items()}


def knn_graph(feature: Tensor, k: int) -> SparseMatrix:
    """D^-1/2 S D^-1/2 of the kNN graph by content, (I, I): S_ij = cosine of j among i's ``k`` nearest, D its row sums.

    An item is among its own nearest. Negative cosines count as 0; an item without the feature has no edge.
    Source: LATTICE (Zhang et al. 2021), MGCN (Yu et al. 2023).
    """
    index_IK, cosine_IK = knn(feature, k)
    count, width = index_IK.shape
    row, value = np.repeat(np.arange(count), width), cosine_IK.clamp_min(0).double().cpu().numpy().ravel()
    graph = sp.csr_matrix((value, (row, index_IK.cpu().numpy().ravel())), (count, count))
    graph.eliminate_zeros()
    scale = sp.diags(_inverse_root(graph.sum(1)))
    return SparseMatrix.from_scipy(scale @ graph @ scale, symmetric=False, device=feature.device)


def agreed_knn_graph(features: Sequence[Tensor], k: int) -> list[SparseMatrix]:
    """Per modality D^-1/2 S D^-1/2 of the binary kNN graph by content, without edges of dissimilar items.

    An edge is dropped if the cosine of its items is below the mean over all pairs in any modality; an item is
    among its own nearest, and its loop stays. (I, I) each. Source: DA-MRS (Xv et al. 2024).
    """
    units = [l2_normalize(f.double()) for f in features]
    graphs = []
    for feature in features:
        index_IK, cosine_IK = knn(feature, k)
        count = len(feature)
        row = torch.arange(count, device=feature.device).unsqueeze(1).expand_as(index_IK)
        stays = (cosine_IK > 0) | (row == index_IK)
        for unit in units:
            average = unit.mean(0).square().sum()
            cosine = torch.stack([(unit * unit[column]).sum(1) for column in index_IK.T], dim=1)
            stays &= (cosine >= average) | (row == index_IK)
        edges = interaction_matrix(row[stays], index_IK[stays], count, count)
        scale = sp.diags(_inverse_root(edges.sum(1)))
        graphs.append(SparseMatrix.from_scipy(scale @ edges @ scale, symmetric=False, device=feature.device))
    return graphs


def co_occurrence_graph(user_T: Tensor, item_T: Tensor, num_users: int, num_items: int) -> SparseMatrix:
    """D^-1/2 (C + 1) D^-1/2 with C_ij = the number of users that items i ≠ j have in common: (I, I), symmetric.

    Source: DA-MRS (Xv et al. 2024).
    """
    edges = interaction_matrix(user_T, item_T, num_users, num_items)
    common = edges.T @ edges
    common = common - sp.diags(common.diagonal()) + sp.identity(num_items)
    scale = sp.diags(_inverse_root(common.sum(1)))
    return SparseMatrix.from_scipy(scale @ common @ scale, symmetric=True, device=user_T.device)


def unit_columns(user_T: Tensor, item_T: Tensor, num_items: int) -> sp.csc_matrix:
    """The binary matrix of training interactions with columns of length 1: (U, I). Items without users are zeros."""
    num_users = int(user_T.max()) + 1 if len(user_T) else 0
    columns = interaction_matrix(item_T, num_users - 1 - user_T, num_items, num_users)
    # The last user comes first: the search of neighbours takes equal ones in this order.
    np.subtract(num_users - 1, columns.indices, out=columns.indices)
    columns.has_sorted_indices = False
    columns.data *= np.repeat(_inverse_root(np.diff(columns.indptr)), np.diff(columns.indptr))
    return columns.T


def co_occurrence_neighbors(user_T: Tensor, item_T: Tensor, num_items: int, k: int) -> Tensor:
    """The ``k`` other items whose training users are most similar, by cosine > 0: (I, k) int64, padded with -1.

    C_ij = cos(Y_:,i, Y_:,j) over the training interactions (Eq. 7). Neighbours are in order of falling similarity, and
    of their index where the similarity is equal and the search returned them. An item with fewer than ``k`` neighbours
    has -1 in the remaining columns.
    """
    if not len(user_T) or k <= 0:
        return torch.full((num_items, max(k, 0)), -1, dtype=torch.int64, device=user_T.device)
    row, column, _, rank = _most_similar_others(unit_columns(user_T, item_T, num_items).T.tocsr(), k)
    neighbors = np.full((num_items, k), -1, dtype=np.int64)
    neighbors[row, rank] = column
    return torch.from_numpy(neighbors).to(user_T.device)


def _most_similar_others(matrix: Any, k: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The ``k`` largest positive off-diagonal entries of every row of M Mᵀ: row, column, value, rank in the row.

    Sorted by row, then by falling value, then by column. At most k + 1 entries of each of ``_BLOCK_ROWS`` rows are in
    memory besides the result.
    """
    from sparse_dot_topn import sp_matmul_topn

    transposed, parts = matrix.T.tocsr(), []
    for block in row_blocks(matrix.shape[0], _BLOCK_ROWS):
        # One more than ``k``, because a row is most similar to itself.
        top = sp_matmul_topn(matrix[block], transposed, top_n=k + 1, threshold=0.0, sort=True).tocsr()
        row = np.repeat(np.arange(block.start, block.stop), np.diff(top.indptr))
        other = (top.indices != row) & (top.data > 0)
        row, column, value = row[other], top.indices[other], top.data[other]
        order = np.lexsort((column, -value, row))
        row, column, value = row[order], column[order], value[order]
        rank = np.arange(len(row)) - np.searchsorted(row, row)
        within = rank < k
        parts.append((row[within], column[within], value[within], rank[within]))
    row, column, value, rank = (np.concatenate(column) for column in zip(*parts, strict=True))
    return row, column, value, rank


def co_interaction_graph(user_T: Tensor, item_T: Tensor, num_users: int, num_items: int, k: int) -> SparseMatrix:
    """The ``k`` users with most items in common per user, weighted by the softmax of these counts: (U, U).

    Users without a common item are no neighbours. Among equal counts the search decides. A user without neighbours has
    an empty row. Source: DualGNN (Wang et al. 2021), user co-occurrence graph.
    """
    edges = interaction_matrix(user_T, item_T, num_users, num_items).astype(np.float32)
    row, column, count, _ = _most_similar_others(edges, k)
    first = np.searchsorted(row, row)  # index of each row's largest count
    weight = np.exp(count.astype(np.float64) - count[first])
    weight /= np.bincount(row, weight, num_users)[row]
    graph = sp.csr_matrix((weight, (row, column)), shape=(num_users, num_users))
    return SparseMatrix.from_scipy(graph, symmetric=False, device=user_T.device)
