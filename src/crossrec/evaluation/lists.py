"""Metrics beyond accuracy: popularity, novelty, long tail, catalogue coverage and diversity of lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from crossrec.errors import ConfigError, DataError
from crossrec.evaluation.metrics import Floats, PerUser
from crossrec.ops.csr import Ints

CHUNK = 512
"""Lists whose item vectors ``diversity`` holds in memory at a time."""


def list_values(
    item_EK: Ints, degree_I: npt.ArrayLike, tail_I: npt.NDArray[np.bool_], ks: Sequence[int] = (10, 20)
) -> PerUser:
    """Average item properties over L, the first K places of each user's list: "popularity@10", … -> float64 (E,).

    - popularity@K = mean_{i ∈ L} d_i, training interactions of the recommended items (Yin et al. 2012).
    - novelty@K = mean_{i ∈ L} -log2 p_i, in bits, p_i = d_i / Σ_j d_j: self-information of the items (Zhou et al. 2010,
      Vargas and Castells 2011). With p_i = d_i / users it would be less by log2(Σ d / users). An item without
      training interactions counts as d_i = 1.
    - tail@K = share of L in ``tail_I``, bool (I,): all items but the head, for example.

    ``item_EK``: from ``top_k``, best first; -1 marks an empty place, which does not count. An empty list has NaN.
    ``degree_I``: training interactions. Raises ConfigError for K < 1 or lists shorter than K, DataError if ``degree_I``
    and ``tail_I`` differ in length or do not cover an item.
    """
    degree = np.asarray(degree_I, dtype=np.float64)
    if degree.shape != tail_I.shape:
        raise DataError(
            f"{degree.shape} numbers of interactions and {tail_I.shape} marks of the tail: need one an item"
        )
    _check_lists(item_EK, ks, len(degree))
    bits_I = np.log2(max(degree.sum(), 1.0)) - np.log2(np.maximum(degree, 1.0))
    values: PerUser = {}
    for k in ks:
        item_Ek, filled_Ek = item_EK[:, :k], item_EK[:, :k] >= 0
        length_E = filled_Ek.sum(axis=1)
        for name, value_I in (("popularity", degree), ("novelty", bits_I), ("tail", tail_I)):
            total_E = np.where(filled_Ek, value_I[item_Ek], 0.0).sum(axis=1)
            values[f"{name}@{k}"] = total_E / np.where(length_E, length_E, np.nan)
    return values


def exposure(item_EK: Ints, num_items: int, ks: Sequence[int] = (10, 20)) -> dict[str, float]:
    """Measure how evenly the first K places of all lists cover the catalogue: "coverage@10", "gini@10", …

    - coverage@K = |∪_u L_u| / I: share of the items in any list (aggregate diversity, Adomavicius and Kwon 2012).
    - gini@K = Σ_j (2 j - I - 1) c_(j) / (I Σ_j c_j), c_(1) ≤ … ≤ c_(I) the number of lists with each item, 0 included.
      It is 0 if all items are listed equally often, 1 - 1/I if one item has every place, NaN if no list has an item
      (Fleder and Hosanagar 2009).

    Raises ConfigError for K < 1 or lists shorter than K, DataError for an item ≥ ``num_items``.
    """
    _check_lists(item_EK, ks, num_items)
    values: dict[str, float] = {}
    for k in ks:
        item_Ek = item_EK[:, :k]
        count_I = np.sort(np.bincount(item_Ek[item_Ek >= 0], minlength=num_items))
        total = int(count_I.sum())
        weight_I = 2 * np.arange(1, num_items + 1) - num_items - 1
        values[f"coverage@{k}"] = float(np.count_nonzero(count_I) / max(num_items, 1))
        values[f"gini@{k}"] = float(weight_I @ count_I) / (num_items * total) if total else float("nan")
    return values


def diversity(item_EK: Ints, vectors: npt.ArrayLike) -> Floats:
    """Intra-list diversity of every list, (E,): the mean of 1 - cos over its pairs of different items.

    ``vectors``: features or vectors of the items, (I, D). Items with a row of zeros are left out; a list with fewer
    than two other items has NaN. Source: Smyth and McClave 2001, Ziegler et al. 2005.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    _check_lists(item_EK, (), len(vectors))
    length_I = np.linalg.norm(vectors, axis=1)
    unit_vectors = vectors / np.where(length_I, length_I, 1.0)[:, None]
    counted_EK = (item_EK >= 0) & (length_I[item_EK] > 0)
    total_E = np.empty(len(item_EK))
    for first in range(0, len(item_EK), CHUNK):
        rows = slice(first, first + CHUNK)
        sum_CD = np.einsum("ckd,ck->cd", unit_vectors[item_EK[rows]], counted_EK[rows].astype(np.float64))
        total_E[rows] = np.square(sum_CD).sum(axis=1)  # Σ_{i,j} cos(i, j), the pairs i = j with 1 each
    count_E = counted_EK.sum(axis=1)
    pairs_E = np.where(count_E > 1, count_E * (count_E - 1.0), np.nan)
    return np.asarray(1.0 - (total_E - count_E) / pairs_E)


def _check_lists(item_EK: Ints, ks: Sequence[int], num_items: int) -> None:
    if any(not 1 <= k <= item_EK.shape[1] for k in ks):
        raise ConfigError(f"lists of {item_EK.shape[1]} places at K = {', '.join(map(str, ks))}: need 1 <= K <= places")
    if item_EK.size and item_EK.max() >= num_items:
        raise DataError(f"item {item_EK.max()} of a list is not among the {num_items} items")
