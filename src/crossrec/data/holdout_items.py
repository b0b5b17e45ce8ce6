"""Hold out items completely, to measure recommendations made from their content alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from crossrec.data.dataset import ColdItems, Interactions
from crossrec.data.io.parse_log import TRAIN
from crossrec.errors import DataError
from crossrec.lazy import polars as pl
from crossrec.randomness import numpy_generator


def hold_out_items(
    item_ids: pl.Series,
    splits: Mapping[int, Interactions],
    features: Mapping[str, np.ndarray],
    share: float,
    seed: int,
) -> tuple[pl.Series, dict[int, Interactions], dict[str, np.ndarray], ColdItems]:
    """Return ids, splits and raw features of the remaining items, renumbered, and the items held out.

    Draws ``round(share · n)`` of the n items with interactions in training; the items of a smaller share are
    among those of a larger one. Their interactions, features and rows are removed.

    Raises DataError if no item would be held out, none would remain to learn from, or there are no features.
    """
    trained = np.unique(splits[TRAIN].item_N)
    count = round(share * len(trained))
    if not 0 < count < len(trained):
        problem = "no item would be cold" if not count else "no item would be left to learn from"
        raise DataError(f"cold items: of {len(trained)} items with training rows a share of {share:g}: {problem}")
    if not features:
        raise DataError("cold items: the data set has no features, and nothing else is known of items nobody touched")
    cold_C = np.sort(numpy_generator(seed, "cold items").permutation(trained)[:count])
    warm_W = np.delete(np.arange(len(item_ids)), cold_C)

    def select(items: np.ndarray) -> tuple[pl.Series, dict[int, Interactions], dict[str, np.ndarray]]:
        """Ids, splits and features of ``items`` (ascending rows), renumbered."""
        renumbered = {}
        for split, part in splits.items():
            selected_N = np.isin(part.item_N, items)
            chosen = part.select(selected_N)
            renumbered[split] = replace(chosen, item_N=np.searchsorted(items, chosen.item_N))
        return item_ids.gather(items), renumbered, {name: matrix[items] for name, matrix in features.items()}

    ids, cold_splits, cold_features = select(cold_C)
    return *select(warm_W), ColdItems(ids, cold_features, Interactions.join([*cold_splits.values()]))
