"""Items taken out of a data set on purpose, so that what is made of their content alone can be measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from crossrec.data.dataset import Cold, Interactions
from crossrec.errors import DataError
from crossrec.randomness import numpy_generator

if TYPE_CHECKING:
    import polars as pl


def take_out(
    item_ids: pl.Series,
    parts: Mapping[int, Interactions],
    features: Mapping[str, np.ndarray],
    train: int,
    share: float,
    seed: int,
) -> tuple[pl.Series, dict[int, Interactions], dict[str, np.ndarray], Cold]:
    """Ids, splits and raw features of the items that are left, numbered anew, and what was taken out.

    Drawn are ``round(share · n)`` of the n items with interactions in the split ``train``; those of a smaller share are
    among those of a larger one. Nothing of them is left: neither an interaction nor a feature nor a row.

    Raises DataError where no item would be taken out, or none left to learn from, and where there is no content.
    """
    known = np.unique(parts[train].item_N)
    count = round(share * len(known))
    if not 0 < count < len(known):
        left = "no item would be cold" if not count else "no item would be left to learn from"
        raise DataError(f"cold items: of {len(known)} items with training rows a share of {share:g}: {left}")
    if not features:
        raise DataError("cold items: the data set has no features, and nothing else is known of items nobody touched")
    cold_C = np.sort(numpy_generator(seed, "cold items").permutation(known)[:count])
    warm_I = np.delete(np.arange(len(item_ids)), cold_C)

    def of(items: np.ndarray) -> tuple[pl.Series, dict[int, Interactions], dict[str, np.ndarray]]:
        """The part of everything that is about ``items``, ascending rows."""
        kept = {label: part.where(np.isin(part.item_N, items)) for label, part in parts.items()}
        renamed = {label: Interactions(p.user_N, np.searchsorted(items, p.item_N)) for label, p in kept.items()}
        return item_ids.gather(items), renamed, {m: matrix[items] for m, matrix in features.items()}

    ids, taken, content = of(cold_C)
    joined = [np.concatenate([getattr(part, name) for part in taken.values()]) for name in ("user_N", "item_N")]
    return *of(warm_I), Cold(ids, content, Interactions(*joined))
