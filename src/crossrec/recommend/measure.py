"""How good the vectors of newcomers are: of users by their history, of items by their content."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from crossrec.data import Dataset, Interactions
from crossrec.evaluation import HeldOut, evaluate
from crossrec.recommend.newcomers import FoldIn, trained_matrix
from crossrec.recommend.recommender import Recommender


def hold_out_items(dataset: Dataset, share: float, generator: np.random.Generator) -> tuple[Dataset, Interactions]:
    """Take every interaction of a ``share`` of the items out of a data set: the rest, and what was taken out.

    The items keep their rows and their features. Only items with a training interaction are drawn.
    """
    known = np.unique(dataset.train.item_N)
    cold = generator.permutation(known)[: round(share * len(known))]
    parts = (dataset.train, dataset.valid, dataset.test)
    gone = [np.isin(part.item_N, cold) for part in parts]
    kept = [Interactions(p.user_N[~g], p.item_N[~g]) for p, g in zip(parts, gone, strict=True)]
    user_N = np.concatenate([p.user_N[g] for p, g in zip(parts, gone, strict=True)])
    item_N = np.concatenate([p.item_N[g] for p, g in zip(parts, gone, strict=True)])
    train, valid, test = kept
    return replace(dataset, train=train, valid=valid, test=test), Interactions(user_N, item_N)


def cold_metrics(recommender: Recommender, rest: Dataset, cold: Interactions) -> dict[str, float]:
    """Recall and NDCG at 10 and 20 of held-out items ranked among themselves, over users with training interactions.

    ``rest``, ``cold``: from ``hold_out_items``. The recommender's vectors of these items are what is measured.
    """
    item_C = np.unique(cold.item_N)
    # nothing is masked among held-out items; a column of zeros stands for all that users trained on
    item_CS = recommender.vectors.item_IS[torch.from_numpy(item_C)]
    pad = torch.full((1, item_CS.shape[1]), 0.0)
    train_user = np.unique(rest.train.user_N)
    held = HeldOut.build(
        train_user,
        np.full(len(train_user), len(item_C)),
        cold.user_N,
        np.searchsorted(item_C, cold.item_N),
        rest.num_users,
        len(item_C) + 1,
    )
    return evaluate(recommender.vectors.user_US, torch.cat([item_CS, pad]), held)


def fold_in_metrics(recommender: Recommender, held: HeldOut, how: FoldIn | None) -> dict[str, float]:
    """Metrics on a held-out split, with every user's vector made from their training items; the trained ones for None.

    Users are those of the run, so the item vectors know them: this is what folding in loses, not what it would do for
    strangers.
    """
    vectors = recommender.vectors
    users = vectors.user_US if how is None else recommender.history.users(trained_matrix(vectors), how)
    return evaluate(users, vectors.item_IS, held)
