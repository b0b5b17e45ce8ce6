"""How many places in the lists of all users some items get, and new items that get a given share of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from crossrec.errors import ConfigError, setting
from crossrec.ops.csr import Ints
from crossrec.ops.topk import users_per_chunk

if TYPE_CHECKING:
    from crossrec.recommend.recommender import Recommender

MAX_USERS = 20_000
"""Most users whose lists are counted; more are represented by as many, evenly spaced."""
STEPS, MOST = 40, 2.0**20
"""Steps of the bisection, and the largest factor on the length of new items."""


def exposure(recommender: Recommender, items: Ints, k: int = 10) -> float:
    """Share of the places in the users' lists of length ``k``, without seen items, that the items at these rows get."""
    return _share(*_scores(recommender, items, k), factor=1.0) if len(items) else 0.0


def with_exposure(recommender: Recommender, items: Ints, share: float, k: int = 10) -> Recommender:
    """The same recommender with the vectors of the items at these rows multiplied by one factor > 0, so that they get
    ``share`` of the places in lists of length ``k``, or as near as a factor can bring them.

    A longer vector has higher scores for the users who like the item, so a share is shared out by content; scores below
    0 stay below 0. Raises ConfigError for a share outside 0 < share < 1.
    """
    if not 0 < share < 1:
        raise ConfigError(f"{setting('share')} = {share}: give the new items' share of all places, above 0 and below 1")
    others_UK, own_UK = _scores(recommender, items, k)
    low, high = 1 / MOST, MOST
    for _ in range(STEPS):
        factor = (low * high) ** 0.5
        low, high = (factor, high) if _share(others_UK, own_UK, factor) < share else (low, factor)
    vectors = recommender.vectors
    factor_I1 = torch.ones(len(vectors.item_IS), 1)
    factor_I1[torch.from_numpy(items)] = high
    item_IS = vectors.item_IS * factor_I1
    one_space = vectors.item_IL is vectors.item_IS
    scaled = replace(vectors, item_IS=item_IS, item_IL=item_IS if one_space else vectors.item_IL)
    return recommender.with_vectors(scaled)


def _scores(recommender: Recommender, items: Ints, k: int) -> tuple[Tensor, Tensor]:
    """The users' k best scores among the other items and among these, (U, ≤ k) each; -inf where none is left."""
    present = recommender.users.present
    user_N = present[np.linspace(0, len(present) - 1, min(len(present), MAX_USERS)).astype(np.int64)]
    is_other_I = np.ones(len(recommender.items), dtype=bool)
    is_other_I[items] = False
    others, own = [], []
    chunk = users_per_chunk(len(recommender.items), k)
    for start in range(0, len(user_N), chunk):
        user_C = user_N[start : start + chunk]
        user_CS, seen = recommender.vectors.user_US[torch.from_numpy(user_C)], recommender.seen_rows(user_C)
        others.append(recommender.top(user_CS, k, seen, is_other_I)[1])
        own.append(recommender.top(user_CS, k, seen, ~is_other_I)[1])
    return torch.cat(others), torch.cat(own)


def _share(others_UK: Tensor, own_UK: Tensor, factor: float) -> float:
    scores = torch.cat([others_UK, own_UK * factor], dim=1)
    score_UK, column_UK = scores.topk(min(others_UK.shape[1], scores.shape[1]), dim=1)
    is_place = score_UK > -torch.inf
    return int((is_place & (column_UK >= others_UK.shape[1])).sum()) / max(int(is_place.sum()), 1)
