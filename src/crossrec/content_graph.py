"""Content graph: add to each item the mean of the items that look and read most alike, around any recommender."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from crossrec.arguments import as_features, as_pairs, number_of_items
from crossrec.errors import ArgumentError, ConfigError
from crossrec.graph import knn, modality_shares, unit_columns
from crossrec.ops.sparse import SparseMatrix
from crossrec.ops.topk import stable_topk
from crossrec.ops.vectors import l2_normalize
from crossrec.types import Representations

Reps = TypeVar("Reps", bound=Representations)
NEIGHBORS = 10
"""K, nearest items per item and modality, unless given."""
_NUMBERS = 1 << 26
"""Most cosines of new items in memory at a time."""


class ContentGraph:
    """item + w · A item, with A_ij > 0 where j is among the K items nearest to i by the cosine of their content.

    In an own training loop::

        graph = ContentGraph({"image": image, "text": text}, interactions=(user, item))
        item_vectors = graph(item_vectors)  # in every step, and before recommending

    ``features``: raw content features by modality, (I, D_m); a row of zeros is a missing feature. ``weight``: w.
    ``neighbors``: K. ``shares``: of each modality, such as image 0.1 and text 0.9. Unless given, they come from
    ``interactions``, the training pairs (user, item), int64 (T,), by ``feedback_shares``; they are equal without them.
    A modality's K nearest other items have equal weights that add up to the modality's share; an item that lacks a
    modality has the shares of the others; an item without content keeps its own vector. The graph is linear and
    constant: it passes gradients to the neighbours and has no parameters. Raises ConfigError if ``shares`` does not
    name exactly the modalities of ``features``, or if there are none; ArgumentError for features that are not finite
    and for other types and shapes.

    The frozen item graph of FREEDOM (Zhou and Shen 2023), made a part that any backbone can have.
    """

    def __init__(
        self,
        features: Mapping[str, Tensor],
        *,
        weight: float = 1.0,
        neighbors: int = NEIGHBORS,
        shares: Mapping[str, float] | None = None,
        interactions: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        features = as_features(features)
        if not features:
            raise ConfigError("the content graph needs at least one content modality, and this data set has none")
        interactions = None if interactions is None else as_pairs(interactions)
        number_of_items(None, features, interactions, None)
        self.features, self.weight, self.neighbors = features, weight, neighbors
        self._interactions = interactions if shares is None else None
        self._given_shares = modality_shares(shares, tuple(features), "--content-shares")

    @cached_property
    def _means(self) -> dict[str, sp.csr_matrix]:
        """The mean over an item's neighbours by modality, (I, I)."""
        return {modality: _neighbor_mean(feature, self.neighbors) for modality, feature in self.features.items()}

    @cached_property
    def shares(self) -> dict[str, float]:
        """The shares of the modalities, which add up to 1."""
        if self._interactions is None:
            return self._given_shares
        shares = feedback_shares(self._means, self._interactions)
        return modality_shares(shares, tuple(self.features), "--content-shares")

    @cached_property
    def matrix(self) -> SparseMatrix:
        """w · A, (I, I)."""
        return self._weighted(self._means)

    def of_new_items(self, features: Mapping[str, Tensor], item: Tensor) -> Tensor:
        """w · A item of N items that are not in the graph, (N, L), by the same rule and with the same shares.

        ``features``: their features by modality, (N, D_m), scaled as those of the graph; a modality may be missing.
        ``item``: vectors of the graph's items before the graph is applied, (I, L).
        """
        means = {m: _neighbor_mean(self.features[m], self.neighbors, f) for m, f in features.items()}
        return self._weighted(means) @ item

    def _weighted(self, means: Mapping[str, sp.csr_matrix]) -> SparseMatrix:
        """The modalities' means by their shares, of those that an item has, times w."""
        shape, device = next(iter(means.values())).shape, next(iter(self.features.values())).device
        total, mass_N = sp.csr_matrix(shape), np.zeros(shape[0])
        for modality, mean in means.items():
            total = total + self.shares[modality] * mean
            mass_N += self.shares[modality] * (np.diff(mean.indptr) > 0)
        scale = np.divide(self.weight, mass_N, out=np.zeros(shape[0]), where=mass_N > 0)
        return SparseMatrix.from_scipy(sp.diags(scale) @ total, symmetric=False, device=device)

    def __call__(self, item: Tensor) -> Tensor:
        """item + w · A item, same shape as ``item``, (I, L). Raises ArgumentError for another number of items."""
        rows = len(next(iter(self.features.values())))
        if len(item) != rows:
            raise ArgumentError(f"the content graph has {rows} items, but there are vectors of {len(item)}")
        return item + self.matrix @ item

    def apply(self, reps: Reps) -> Reps:
        """The same representations with the graph applied to i^ID and to the item vectors that score.

        Where i^ID has length 1, it becomes the direction of the vector that scores.
        """
        scoring = None if reps.scoring is None else (reps.scoring[0], self(reps.scoring[1]))
        if reps.normalized:  # the directions of the vectors that score
            return replace(reps, item_IL=l2_normalize(self(reps.item_IS)), scoring=scoring)
        return replace(reps, item_IL=self(reps.item_IL), scoring=scoring)


def feedback_shares(
    graphs: Mapping[str, sp.csr_matrix], interactions: tuple[Tensor, Tensor]
) -> dict[str, float] | None:
    """Shares by how much more users the neighbours by content have in common than items have on average.

    lift_m = (mean of Equation 7's cosine over the edges of modality m's graph, (I, I)) / (its mean over all pairs of
    different items). A modality's share is in proportion to lift_m - 1, and 0 where that is negative. None if no
    modality is above 1. ``interactions``: training pairs (user, item), int64 (T,).
    """
    count = next(iter(graphs.values())).shape[0]
    unit = unit_columns(*interactions, count)
    pairs = float(np.square(unit.sum(axis=1)).sum() - unit.power(2).sum()) / max(count * (count - 1), 1)
    excess = {}
    for modality, graph in graphs.items():
        row, column = graph.nonzero()
        edges = float(unit[:, row].multiply(unit[:, column]).sum()) / max(len(row), 1)
        excess[modality] = max(edges / pairs - 1, 0.0) if pairs else 0.0
    return excess if any(excess.values()) else None


def _neighbor_mean(feature: Tensor, k: int, new: Tensor | None = None) -> sp.csr_matrix:
    """1/n in the columns of each item's n ≤ ``k`` nearest other items with the feature: (I, I); of ``new``: (N, I)."""
    near = knn(feature, k + 1) if new is None else _nearest(new, feature, k)
    index_NK, cosine_NK = (part.cpu().numpy() for part in near)
    other_NK = cosine_NK != 0
    if new is None:
        other_NK &= index_NK != np.arange(len(index_NK))[:, None]
    near_NK = other_NK & (other_NK.cumsum(axis=1) <= k)
    row, _ = near_NK.nonzero()
    graph = sp.csr_matrix((np.ones(len(row)), (row, index_NK[near_NK])), (len(index_NK), len(feature)))
    return (sp.diags(1.0 / np.maximum(np.diff(graph.indptr), 1)) @ graph).tocsr()


def _nearest(new: Tensor, feature: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` items of ``feature``, (I, D), of highest cosine to each of ``new``, (N, D), and the cosines: (N, k).

    The lower index of equal cosines comes first. What has no feature has cosine 0.
    """
    unit_ID, parts = l2_normalize(feature), []
    missing_I = ~feature.any(1)
    for block in torch.split(l2_normalize(new), max(1, _NUMBERS // max(1, len(feature)))):
        index, cosine = stable_topk((block @ unit_ID.T).masked_fill(missing_I, -torch.inf), k)
        parts.append((index, cosine.masked_fill(~cosine.isfinite(), 0.0)))
    return torch.cat([index for index, _ in parts]), torch.cat([cosine for _, cosine in parts])
