"""Evaluate fold-in (users by their history) and cold start (items by their content)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from crossrec.data import ColdItems, Dataset
from crossrec.errors import DataError
from crossrec.evaluation import HeldOut, evaluate, evaluate_splits
from crossrec.recommend.fold_in import FoldInMethod, training_interactions
from crossrec.recommend.recommender import Recommender


def cold_of(dataset: Dataset) -> ColdItems:
    """The items held out of a data set. Raises DataError where there are none."""
    if dataset.cold is None:
        raise DataError(f"{dataset.name}: no items were taken out; load it with cold_items, a share of them")
    return dataset.cold


def cold_metrics(user_US: Tensor, item_CS: Tensor, dataset: Dataset) -> dict[str, float]:
    """Recall, NDCG, precision and MAP at 10 and 20 of the held-out items, (C, S), ranked among themselves.

    Averages over the users with a training interaction and an interaction with a held-out item; all their interactions
    with held-out items are relevant. Raises DataError where there is no such user.
    """
    cold, count = cold_of(dataset), len(item_CS)
    # no held-out item is masked: one more item, with a vector of zeros, stands for all training items
    user_E = np.unique(dataset.train.user_N)
    trained = user_E, np.full(len(user_E), count)
    held = HeldOut.build(*trained, cold.interactions.user_N, cold.interactions.item_N, len(user_US), count + 1)
    return evaluate(user_US, torch.cat([item_CS, torch.zeros_like(item_CS[:1])]), held)


def metrics_among_all(
    user_US: Tensor, item_IS: Tensor, item_CS: Tensor, dataset: Dataset
) -> dict[str, dict[str, float]]:
    """Metrics of the held-out items, ``item_CS``, ranked among all items that a user does not have in training.

    ``new``: the held-out items are relevant, by all their interactions; ``others``: the items of the run are relevant,
    by the test split if there is one. Raises DataError as ``cold_metrics`` does.
    """
    cold, train, count = cold_of(dataset), dataset.train, len(item_IS)
    parts = {"new": (cold.interactions.user_N, cold.interactions.item_N + count)}
    if len(dataset.test):
        parts["others"] = dataset.test.user_N, dataset.test.item_N
    sizes = len(user_US), count + len(item_CS)
    held = {name: HeldOut.build(train.user_N, train.item_N, *pairs, *sizes) for name, pairs in parts.items()}
    return evaluate_splits(user_US, torch.cat([item_IS, item_CS]), held)


def fold_in_metrics(recommender: Recommender, held: HeldOut, how: FoldInMethod | None) -> dict[str, float]:
    """Metrics on a held-out split, with every user folded in from their training items; ``how=None``: trained vectors.

    The item vectors were trained on these users, so this measures the loss from folding in, not the quality for unseen
    users.
    """
    vectors = recommender.vectors
    users = vectors.user_US if how is None else recommender.fold_in.user_vectors(training_interactions(vectors), how)
    return evaluate(users, vectors.item_IS, held)
