"""Plain references: the same formulas and steps in the most direct code, not optimised."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from crossrec.types import TrainingSet


def codes(score_BP: Tensor, rounds: int = 3, epsilon: float = 0.05) -> Tensor:
    """Equation 10: Sinkhorn-Knopp, every round on the whole matrix."""
    with torch.no_grad():
        code = torch.exp(score_BP / epsilon)
        code /= code.sum()
        for _ in range(rounds):
            code /= code.sum(0, keepdim=True) * code.shape[1]
            code /= code.sum(1, keepdim=True) * code.shape[0]
        return code / code.sum(1, keepdim=True)


def item_clusters(item: Sequence[Tensor], codebook_PL: Tensor, temperature: Tensor) -> Tensor:
    """Equation 11 over the batch's pairs, repeats included."""
    prototype = F.normalize(codebook_PL)
    scores = [F.normalize(vector) @ prototype.T for vector in item]
    code = [codes(score) for score in scores]
    log_share = [F.log_softmax(score / temperature, dim=1) for score in scores]
    pairs = [(m, n) for m in range(len(item)) for n in range(len(item)) if m != n]
    return torch.stack([-(code[n] * log_share[m]).sum(1).mean() for m, n in pairs]).mean()


def user_clusters(user_BL: Tensor, item_BL: Tensor, codebook_PL: Tensor, temperature: Tensor) -> Tensor:
    """Equation 12."""
    return item_clusters([user_BL, item_BL], codebook_PL, temperature)


def contrast(anchor_DL: Tensor, candidate_NL: Tensor, positive_D: Tensor, temperature: Tensor) -> Tensor:
    """One direction of Equation 4."""
    return F.cross_entropy(anchor_DL @ candidate_NL.T / temperature, positive_D, reduction="sum")


class LightGCN(torch.nn.Module):
    """LightGCN with a COO matrix, stacked layers and sums of gathered rows; the loss of crossrec's own."""

    def __init__(self, data: TrainingSet, user: Tensor, item: Tensor, layers: int = 3, reg: float = 1e-4) -> None:
        super().__init__()
        self.user, self.item = torch.nn.Parameter(user.clone()), torch.nn.Parameter(item.clone())
        self.layers, self.reg = layers, reg
        count = data.num_users + data.num_items
        row = torch.cat([data.user_T, data.item_T + data.num_users])
        column = torch.cat([data.item_T + data.num_users, data.user_T])
        degree = torch.bincount(row, minlength=count).double().clamp_min(1)
        value = ((degree[row] * degree[column]) ** -0.5).float()
        self.adjacency = torch.sparse_coo_tensor(torch.stack([row, column]), value, (count, count)).coalesce()

    def forward(self) -> tuple[Tensor, Tensor]:
        layer = torch.cat([self.user, self.item])
        layers = [layer]
        for _ in range(self.layers):
            layer = torch.sparse.mm(self.adjacency, layer)
            layers.append(layer)
        mean = torch.stack(layers, dim=1).mean(1)
        return mean[: len(self.user)], mean[len(self.user) :]

    def loss(self, user_B: Tensor, item_B: Tensor, negative_B: Tensor) -> Tensor:
        users, items = self()
        user, positive, negative = users[user_B], items[item_B], items[negative_B]
        ego = self.user[user_B], self.item[item_B], self.item[negative_B]
        norms = sum(torch.norm(vector) for vector in ego) / len(user_B)
        return F.softplus((user * negative).sum(1) - (user * positive).sum(1)).mean() + self.reg * norms


def negatives(data: TrainingSet, seed: int) -> list[int]:
    """One item per training pair, drawn one by one until it is not among the user's."""
    random = np.random.default_rng(seed)
    items_of: dict[int, set[int]] = {}
    for user, item in zip(data.user_T.tolist(), data.item_T.tolist(), strict=True):
        items_of.setdefault(user, set()).add(item)
    drawn = []
    for user in data.user_T.tolist():
        item = int(random.integers(data.num_items))
        while item in items_of[user]:
            item = int(random.integers(data.num_items))
        drawn.append(item)
    return drawn


def ranking(
    user_UL: Tensor, item_IL: Tensor, items_of: Mapping[int, set[int]], held: Mapping[int, set[int]], batch: int = 4096
) -> dict[str, float]:
    """Recall, NDCG, precision and MAP at 10 and 20: topk of masked scores, then a loop over users."""
    users = [user for user in held if user in items_of]
    per_user: dict[str, list[float]] = {}
    for start in range(0, len(users), batch):
        part = users[start : start + batch]
        score = user_UL[part] @ item_IL.T
        for row, user in enumerate(part):
            score[row, list(items_of[user])] = -torch.inf
        top = score.topk(20, dim=1).indices.tolist()
        for user, items in zip(part, top, strict=True):
            hit = [item in held[user] for item in items]
            for k in (10, 20):
                hits, gains, precisions = 0, 0.0, 0.0
                for rank in range(k):
                    if hit[rank]:
                        hits += 1
                        gains += 1 / math.log2(rank + 2)
                        precisions += hits / (rank + 1)
                ideal = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(held[user]))))
                per_user.setdefault(f"recall@{k}", []).append(hits / len(held[user]))
                per_user.setdefault(f"ndcg@{k}", []).append(gains / ideal)
                per_user.setdefault(f"precision@{k}", []).append(hits / k)
                per_user.setdefault(f"map@{k}", []).append(precisions / len(held[user]))
    return {name: float(np.mean(values)) for name, values in per_user.items()}


def neighbors(data: TrainingSet, k: int) -> list[list[int]]:
    """Equation 7 with a sparse product of all pairs of items and a sort of every row."""
    ones = np.ones(len(data.user_T))
    shape = (data.num_users, data.num_items)
    matrix = sp.csr_matrix((ones, (data.user_T.numpy(), data.item_T.numpy())), shape=shape)
    matrix.data[:] = 1
    norm = np.sqrt(np.asarray(matrix.sum(0)).ravel())
    common = (matrix.T @ matrix).tocsr()
    out = []
    for item in range(data.num_items):
        row = slice(common.indptr[item], common.indptr[item + 1])
        pairs = [
            (-value / (norm[item] * norm[other]), other)
            for other, value in zip(common.indices[row], common.data[row], strict=True)
            if other != item
        ]
        out.append([int(other) for _, other in sorted(pairs)[:k]])
    return out
