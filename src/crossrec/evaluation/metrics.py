"""Recall, NDCG, precision and MAP at K: per user first, the mean over users last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from crossrec.errors import ConfigError, DataError
from crossrec.evaluation.ranking import CHUNK, HeldOut, Ranks, rank_together

PerUser = dict[str, npt.NDArray[np.float64]]


def per_user(ranks: Ranks, ks: Sequence[int] = (10, 20)) -> PerUser:
    """Every metric at every K for every user of ``ranks.user_E``: "recall@10", ... -> float64 of shape (E,).

    With H the held-out items of a user, r their 0-based ranks, and hits those with r < K:

    - recall@K = hits / |H|
    - ndcg@K = Σ_hits 1 / log2(r + 2)  /  Σ_{n < min(K, |H|)} 1 / log2(n + 2)   (binary gains)
    - precision@K = hits / K
    - map@K = (1 / |H|) Σ_hits (hits up to and with this one) / (r + 1). It divides by |H| and not by min(K, |H|),
      as trec_eval and ranx do, so that it reaches 1 only where K ≥ |H|.

    A user without a pair in ``ranks`` gets NaN. Raises ConfigError for K < 1.
    Source: protocol of MMRec, which the paper's published numbers follow; equal to ranx.
    """
    order = np.lexsort((ranks.rank_P, ranks.row_P))
    row_P, rank_P = ranks.row_P[order], ranks.rank_P[order]
    num = len(ranks.user_E)
    count_E = np.bincount(row_P, minlength=num)
    nth_P = np.arange(len(row_P)) - np.repeat(np.cumsum(count_E) - count_E, count_E)
    held_E = np.where(count_E > 0, count_E, np.nan)
    values: PerUser = {}
    for k in ks:
        if k < 1:
            raise ConfigError(f"metrics at K = {k}: give K >= 1")
        hit = rank_P < k
        row, rank, nth = row_P[hit], rank_P[hit], nth_P[hit]
        hits_E = np.bincount(row, minlength=num)
        ideal = np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))
        ideal_E = np.where(count_E > 0, ideal[np.clip(count_E, 1, k) - 1], np.nan)
        values[f"recall@{k}"] = hits_E / held_E
        values[f"ndcg@{k}"] = np.bincount(row, 1.0 / np.log2(rank + 2.0), minlength=num) / ideal_E
        values[f"precision@{k}"] = np.where(count_E > 0, hits_E / k, np.nan)
        values[f"map@{k}"] = np.bincount(row, (nth + 1.0) / (rank + 1.0), minlength=num) / held_E
    return values


def mean_metrics(values: Mapping[str, npt.NDArray[np.float64]]) -> dict[str, float]:
    """The mean over users of each metric, unrounded. Raises DataError where there is no user."""
    if any(len(value) == 0 for value in values.values()):
        raise DataError("nothing to evaluate: no user has both a held-out item and a training interaction")
    return {name: float(value.mean()) for name, value in values.items()}


def evaluate(
    user_US: Tensor, item_IS: Tensor, held: HeldOut, ks: Sequence[int] = (10, 20), chunk: int = CHUNK
) -> dict[str, float]:
    """All four metrics at each K, averaged over the evaluated users of ``held``.

    ``user_US`` (users, S) and ``item_IS`` (items, S) score by dot product; see ``per_user`` for the formulas.
    Raises DataError where ``held`` has no user to evaluate, TrainingError where scores are not finite.
    """
    return evaluate_splits(user_US, item_IS, {"": held}, ks, chunk)[""]


def evaluate_splits(
    user_US: Tensor, item_IS: Tensor, splits: Mapping[str, HeldOut], ks: Sequence[int] = (10, 20), chunk: int = CHUNK
) -> dict[str, dict[str, float]]:
    """``evaluate`` for several splits of one data set, scoring every user once."""
    ranks = rank_together(user_US, item_IS, list(splits.values()), chunk, depth=max(ks, default=0))
    return {name: mean_metrics(per_user(of_split, ks)) for name, of_split in zip(splits, ranks, strict=True)}
