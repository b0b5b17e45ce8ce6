"""Content graph: add to each item the mean of the items that look and read most alike, around any recommender."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np
import scipy.sparse as sp
from torch import Tensor

from crossrec.errors import ConfigError
from crossrec.graph import knn, modality_shares, unit_columns
from crossrec.ops.sparse import SparseMatrix
from crossrec.ops.vectors import l2_normalize
from crossrec.types import Representations

Reps = TypeVar("Reps", bound=Representations)
NEIGHBORS = 10
"""K, nearest items per item and modality, unless given."""


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
    name exactly the modalities of ``features``, or if there are none.

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
        if not features:
            raise ConfigError("the content graph needs at least one content modality, and this data set has none")
        means = {modality: _neighbor_mean(feature, neighbors) for modality, feature in features.items()}
        if shares is None and interactions is not None:
            shares = feedback_shares(means, interactions)
        self.shares = modality_shares(shares, tuple(features), "--content-shares")
        count = len(next(iter(features.values())))
        total, mass_I = sp.csr_matrix((count, count)), np.zeros(count)
        for modality, mean in means.items():
            total = total + self.shares[modality] * mean
            mass_I += self.shares[modality] * (np.diff(mean.indptr) > 0)
        scale = np.divide(weight, mass_I, out=np.zeros(count), where=mass_I > 0)
        device = next(iter(features.values())).device
        self.matrix = SparseMatrix.from_scipy(sp.diags(scale) @ total, symmetric=False, device=device)

    def __call__(self, item: Tensor) -> Tensor:
        """item + w · A item, same shape as ``item``, (I, L)."""
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


def _neighbor_mean(feature: Tensor, k: int) -> sp.csr_matrix:
    """1/n in the columns of each item's n ≤ ``k`` nearest other items with the feature: (I, I)."""
    index_IK, cosine_IK = (part.cpu().numpy() for part in knn(feature, k + 1))
    count = len(index_IK)
    other_IK = (index_IK != np.arange(count)[:, None]) & (cosine_IK != 0)
    near_IK = other_IK & (other_IK.cumsum(axis=1) <= k)
    row, _ = near_IK.nonzero()
    graph = sp.csr_matrix((np.ones(len(row)), (row, index_IK[near_IK])), (count, count))
    return (sp.diags(1.0 / np.maximum(np.diff(graph.indptr), 1)) @ graph).tocsr()
