"""Baselines without training: popularity, item neighbours, EASE, content neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossrec.errors import ConfigError
from crossrec.evaluation.held_out import HeldOut
from crossrec.evaluation.metrics import mean_metrics, per_user
from crossrec.evaluation.ranking import rank_scores
from crossrec.graph import interaction_matrix
from crossrec.memory import available_memory
from crossrec.ops.csr import Ints
from crossrec.ops.vectors import l2_normalize
from crossrec.types import TrainingSet

SELECTION_K = 20
"""The settings of a baseline are chosen by validation recall@20."""
EASE_L2 = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
"""λ of EASE to choose from."""
NEIGHBORS, SHRINKAGE = (20, 50, 100, 200), (0.0, 10.0, 100.0)
"""K and shrinkage of ItemKNN to choose from."""
EASE_MEMORY = 8 << 30
"""Bytes that EASE may take for its matrices of items × items: three of float64."""


@dataclass(frozen=True, eq=False)
class Baseline:
    """A fitted baseline: scores = ``user`` (U, S) times ``item`` (S, I), dense or sparse.

    ``settings``: what was chosen on validation. A ``Scorer`` for ``evaluation.ranking.rank_scores``.
    """

    user: Any
    item: Any
    settings: Mapping[str, float] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        return self.user.shape[0], self.item.shape[1]

    def scores(self, user_E: Ints) -> Tensor:
        """Scores of all items for these users, (E, I) float32."""
        product = self.user[user_E] @ self.item
        return torch.from_numpy(np.asarray(product.todense() if sp.issparse(product) else product, dtype=np.float32))


def popularity(data: TrainingSet, valid: HeldOut) -> Baseline:
    """Score of an item = its training interactions, the same for every user."""
    degree_I = np.bincount(data.item_T.numpy(), minlength=data.num_items)
    return Baseline(np.ones((data.num_users, 1)), degree_I[None].astype(np.float64))


def content_neighbors(data: TrainingSet, valid: HeldOut) -> Baseline:
    """Score = dot product of an item's content with the mean content of the user's items.

    Features are L2-normalised per modality and set side by side; a missing feature is zero. Raises ConfigError if the
    data set has no content.
    """
    if not data.features:
        raise ConfigError("baseline 'content': the data set has no content modality; leave it out of --baselines")
    item = torch.cat([l2_normalize(feature.float()) for feature in data.features.values()], dim=1).numpy()
    history = interaction_matrix(data.user_T, data.item_T, data.num_users, data.num_items)
    degree_U = np.maximum(np.asarray(history.sum(1)), 1)
    return Baseline((history @ item) / degree_U, item.T)


def item_knn(data: TrainingSet, valid: HeldOut) -> Baseline:
    """Score = sum over the user's items of their similarity to the item, for the K items most similar to each.

    similarity = |users of both| / (√(d_i d_j) + shrinkage), 0 for an item and itself; K and the shrinkage by
    validation. Source: Deshpande and Karypis 2004; shrinkage: Bell and Koren 2007.
    """
    history = interaction_matrix(data.user_T, data.item_T, data.num_users, data.num_items)
    common = (history.T @ history).tocoo()
    other = common.row != common.col
    row, column, count = common.row[other], common.col[other], common.data[other]
    root_I = np.sqrt(np.asarray(history.sum(0)).ravel())

    def candidates() -> Iterable[Baseline]:
        for shrinkage in SHRINKAGE:
            similarity = count / (root_I[row] * root_I[column] + shrinkage)
            order = np.lexsort((column, -similarity, row))
            rank = np.arange(len(order)) - np.searchsorted(row[order], row[order])
            for neighbors in NEIGHBORS:
                near = order[rank < neighbors]
                weight = sp.csr_matrix((similarity[near], (row[near], column[near])), common.shape)
                yield Baseline(history, weight, {"neighbors": neighbors, "shrinkage": shrinkage})

    return _best(candidates(), valid)


def ease(data: TrainingSet, valid: HeldOut) -> Baseline:
    """EASE (Steck. Embarrassingly shallow autoencoders for sparse data, WWW 2019): B = -P / diag P with diag B = 0.

    P = (XᵀX + λ)⁻¹ of the histories X; λ by validation. Raises ConfigError if items × items do not fit in EASE_MEMORY
    or in the memory that is available.
    """
    largest = int((min(EASE_MEMORY, available_memory().bytes) / 24) ** 0.5)
    if data.num_items > largest:
        raise ConfigError(
            f"baseline 'ease': {data.num_items} items need {data.num_items**2 * 24 / 2**30:.0f} GiB, and there is "
            f"memory for {largest} items; leave it out of --baselines"
        )
    history = interaction_matrix(data.user_T, data.item_T, data.num_users, data.num_items)
    gram: NDArray[np.float64] = (history.T @ history).toarray()

    def candidates() -> Iterable[Baseline]:
        for l2 in EASE_L2:
            inverse = np.linalg.inv(gram + l2 * np.eye(len(gram)))
            weight = inverse / -np.diag(inverse)
            np.fill_diagonal(weight, 0.0)
            yield Baseline(history, weight, {"l2": l2})

    return _best(candidates(), valid)


def _best(candidates: Iterable[Baseline], valid: HeldOut) -> Baseline:
    """The candidate with the highest validation recall, the first of equals; the first without validation users."""
    best, best_value = None, -1.0
    for baseline in candidates:
        value = 0.0
        if len(valid.user_E):
            [ranks] = rank_scores(baseline, [valid], depth=SELECTION_K)
            value = mean_metrics(per_user(ranks, (SELECTION_K,)))[f"recall@{SELECTION_K}"]
        if value > best_value:
            best, best_value = baseline, value
    assert best is not None
    return best


BASELINES: dict[str, Callable[[TrainingSet, HeldOut], Baseline]] = {
    "popularity": popularity,
    "itemknn": item_knn,
    "ease": ease,
    "content": content_neighbors,
}
"""Every baseline by name."""
