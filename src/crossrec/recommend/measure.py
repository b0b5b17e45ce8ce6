"""How good the vectors of newcomers are: of users by their history, of items by their content."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from crossrec.data import Cold, Dataset
from crossrec.errors import DataError
from crossrec.evaluation import HeldOut, evaluate, evaluate_splits
from crossrec.recommend.cold_start import FoldIn, trained_matrix
from crossrec.recommend.recommender import Recommender


def cold_of(dataset: Dataset) -> Cold:
    """What was taken out of a data set. Raises DataError where nothing was."""
    if dataset.cold is None:
        raise DataError(f"{dataset.name}: no items were taken out; load it with cold_items, a share of them")
    return dataset.cold


def cold_metrics(user_US: Tensor, item_CS: Tensor, dataset: Dataset) -> dict[str, float]:
    """Recall, NDCG, precision and MAP at 10 and 20 of the items taken out of a data set, ranked among themselves.

    Over users with an interaction with one of them and one in training; everything that they did with these items
    counts. Raises DataError where there is no such user.
    """
    cold, count = cold_of(dataset), len(item_CS)
    # nothing is masked among these items; a column of zeros stands for all that users trained on
    user_E = np.unique(dataset.train.user_N)
    trained = user_E, np.full(len(user_E), count)
    held = HeldOut.build(*trained, cold.taken.user_N, cold.taken.item_N, len(user_US), count + 1)
    return evaluate(user_US, torch.cat([item_CS, torch.zeros_like(item_CS[:1])]), held)


def metrics_among_all(
    user_US: Tensor, item_IS: Tensor, item_CS: Tensor, dataset: Dataset
) -> dict[str, dict[str, float]]:
    """Metrics where the items taken out, ``item_CS``, stand among all that a user has not in training.

    ``new``: of these items, by everything that was done with them; ``others``: of the items of the run, by the test
    split, where there is one. Raises DataError as ``cold_metrics`` does.
    """
    cold, train, count = cold_of(dataset), dataset.train, len(item_IS)
    parts = {"new": (cold.taken.user_N, cold.taken.item_N + count)}
    if len(dataset.test):
        parts["others"] = dataset.test.user_N, dataset.test.item_N
    sizes = len(user_US), count + len(item_CS)
    held = {name: HeldOut.build(train.user_N, train.item_N, *pairs, *sizes) for name, pairs in parts.items()}
    return evaluate_splits(user_US, torch.cat([item_IS, item_CS]), held)


def fold_in_metrics(recommender: Recommender, held: HeldOut, how: FoldIn | None) -> dict[str, float]:
    """Metrics on a held-out split, with every user's vector made from their training items; the trained ones for None.

    Users are those of the run, so the item vectors know them: this is what folding in loses, not what it would do for
    strangers.
    """
    vectors = recommender.vectors
    users = vectors.user_US if how is None else recommender.history.users(trained_matrix(vectors), how)
    return evaluate(users, vectors.item_IS, held)
