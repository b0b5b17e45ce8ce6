"""Corrupt a data set: noise for features and false clicks (Section 7.5), and features that say nothing (knock-outs)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from crossrec.data.config import Replacement
from crossrec.data.dataset import Interactions
from crossrec.data.io.features import Scaler, missing_rows
from crossrec.errors import DataError, setting
from crossrec.ops.csr import absent_columns
from crossrec.randomness import numpy_generator


def replace_features(features: Mapping[str, np.ndarray], share: float, seed: int) -> dict[str, np.ndarray]:
    """Replace the raw features, (I, D_m) for each modality, of some items by noise.

    Each modality draws ``round(share · n)`` of its n items with the feature independently of the others, so an item may
    lose all, some or none of its features. Their rows become Gaussian noise with the mean and deviation of each column
    over the n items, before scaling. Items without the feature stay without. The items of a smaller share are among
    those of a larger one, with the same noise.

    Raises DataError if there is no modality.
    """
    if not features:
        raise DataError(
            f"{setting('missing_content', f'{share:g}')}: the data set has no features to replace; leave it out"
        )
    noisy = {}
    for modality, matrix in features.items():
        generator = numpy_generator(seed, f"missing {modality}")
        present = np.flatnonzero(~missing_rows(matrix))
        chosen = generator.permutation(present)[: round(share * len(present))]
        columns = Scaler.fit(matrix, "standardize")
        deviation_D = np.divide(1.0, columns.factor_D, out=np.zeros_like(columns.factor_D), where=columns.factor_D > 0)
        copy = np.array(matrix, dtype=np.result_type(matrix.dtype, np.float32))
        for row in chosen:  # one row at a time: a matrix of float64 noise would be larger than the features
            copy[row] = columns.centre_D + deviation_D * generator.standard_normal(copy.shape[1])
        noisy[modality] = copy
    return noisy


def replace_content(features: Mapping[str, np.ndarray], how: Replacement, seed: int) -> dict[str, np.ndarray]:
    """Replace the raw features, (I, D_m) for each modality, of all items by others that say nothing about them.

    - ``shuffled``: every item with content gets all the features of another one, at random: what goes together in
      different modalities still does. What the other one lacks is lacking.
    - ``constant``: all items get the features of one item, drawn for each modality.
    - ``noise``: ``replace_features`` with a share of 1.

    An item without any feature stays without; with ``constant`` and ``noise`` so does one that lacks a modality.
    Raises DataError if there is no modality.
    """
    if not features:
        raise DataError(
            f"{setting('content')} or {setting('alignment_content')} '{how}': "
            "there are no features to replace; leave it out"
        )
    if how == "noise":
        return replace_features(features, 1.0, seed)
    present = {modality: ~missing_rows(matrix) for modality, matrix in features.items()}
    replaced = {modality: np.array(matrix) for modality, matrix in features.items()}
    if how == "shuffled":  # along a random circle, so that nobody keeps its own
        order = numpy_generator(seed, "shuffled").permutation(np.flatnonzero(np.logical_or.reduce([*present.values()])))
        for modality, matrix in features.items():
            replaced[modality][order] = matrix[np.roll(order, 1)]
    else:
        for modality, matrix in features.items():
            rows = np.flatnonzero(present[modality])
            if len(rows):
                replaced[modality][rows] = matrix[numpy_generator(seed, f"constant {modality}").choice(rows)]
    return replaced


def add_false_clicks(
    train: Interactions, held: Sequence[Interactions], num_items: int, share: float, seed: int
) -> Interactions:
    """Append ``round(share · T)`` false interactions to the T training interactions.

    The user of each is that of a random training interaction, so that active users get more. The item is drawn
    uniformly from those that the user has neither in training nor held out nor among the false clicks. The false clicks
    of a smaller share are the first of those of a larger one. Where training has weights, theirs is the mean. Raises
    DataError if users run out of items.
    """
    count = round(share * len(train))
    generator = numpy_generator(seed, "false clicks")
    pair_K = np.unique(np.concatenate([part.user_N * num_items + part.item_N for part in (train, *held)]))
    user_T = train.user_N[generator.integers(len(train), size=len(train))]
    item_T = np.full(len(train), -1)
    pending = np.arange(len(train))
    while len(pending):  # equal draws: the first counts, the others draw again; a user without a free item is dropped
        free_U = num_items - np.bincount(pair_K // num_items, minlength=int(user_T.max()) + 1)
        pending = pending[free_U[user_T[pending]] > 0]
        user_N = user_T[pending]
        item_N = absent_columns(pair_K, num_items, user_N, generator.integers(free_U[user_N]))
        new_K, first = np.unique(user_N * num_items + item_N, return_index=True)
        item_T[pending[first]] = item_N[first]
        pair_K = np.sort(np.concatenate([pair_K, new_K]))
        pending = np.delete(pending, first)
    drawn = np.flatnonzero(item_T >= 0)[:count]
    if len(drawn) < count:
        raise DataError(
            f"{setting('false_clicks', f'{share:g}')}: users run out of items they have not taken; give a smaller share"
        )
    weight_N = None if train.weight_N is None else np.full(count, train.weight_N.mean())
    return Interactions.join([train, Interactions(user_T[drawn], item_T[drawn], weight_N)])
