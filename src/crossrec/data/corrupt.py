"""Noise on purpose (Section 7.5): features that say nothing, and clicks that never happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from crossrec.data.dataset import Interactions
from crossrec.data.io.features import Scaler, missing_rows
from crossrec.errors import DataError
from crossrec.randomness import numpy_generator


def replace_features(features: Mapping[str, np.ndarray], share: float, seed: int) -> dict[str, np.ndarray]:
    """Raw features, (I, D_m) by modality, with noise in place of those of some items.

    In each modality ``round(share · n)`` of its n items that have the feature are drawn without regard to the other
    modalities, so an item may lose all, some or none. Their rows become Gaussian noise with the mean and deviation of
    each column over the n items: noise that looks like a feature, before any scaling. Items without the feature stay
    without. The items of a smaller share are among those of a larger one, with the same noise.

    Raises DataError where there is no modality.
    """
    if not features:
        raise DataError(f"missing_content {share:g}: the data set has no features to replace; leave it out")
    noisy = {}
    for modality, matrix in features.items():
        generator = numpy_generator(seed, f"missing {modality}")
        present = np.flatnonzero(~missing_rows(matrix))
        chosen = generator.permutation(present)[: round(share * len(present))]
        columns = Scaler.fit(matrix, "standardize")
        deviation_D = np.divide(1.0, columns.factor_D, out=np.zeros_like(columns.factor_D), where=columns.factor_D > 0)
        copy = np.array(matrix, dtype=np.result_type(matrix.dtype, np.float32))
        for row in chosen:  # one at a time: a wide matrix of noise would be larger than the features
            copy[row] = columns.centre_D + deviation_D * generator.standard_normal(copy.shape[1])
        noisy[modality] = copy
    return noisy


def add_false_clicks(
    train: Interactions, held: Sequence[Interactions], num_items: int, share: float, seed: int
) -> Interactions:
    """The training interactions and, behind them, ``round(share · T)`` that never happened, T = ``len(train)``.

    Each is the user of a training interaction drawn at random, so that active users misclick more, and an item drawn
    uniformly from those that the user has neither in training, nor held out, nor clicked falsely before. The false
    clicks of a smaller share are the first of those of a larger one. Raises DataError where users run out of items.
    """
    wanted = round(share * len(train))
    generator = numpy_generator(seed, "false clicks")
    known_K = np.unique(np.concatenate([part.user_N * num_items + part.item_N for part in (train, *held)]))
    user_T = train.user_N[generator.integers(len(train), size=len(train))]
    item_T = np.full(len(train), -1)
    waiting = np.arange(len(train))
    while len(
        waiting
    ):  # of equal draws the first counts, the others draw again; a user without a free item is left out
        free_U = num_items - np.bincount(known_K // num_items, minlength=int(user_T.max()) + 1)
        waiting = waiting[free_U[user_T[waiting]] > 0]
        user_N = user_T[waiting]
        item_N = _free_items(known_K, num_items, user_N, generator.integers(free_U[user_N]))
        new, first = np.unique(user_N * num_items + item_N, return_index=True)
        item_T[waiting[first]] = item_N[first]
        known_K = np.sort(np.concatenate([known_K, new]))
        waiting = np.delete(waiting, first)
    drawn = np.flatnonzero(item_T >= 0)[:wanted]
    if len(drawn) < wanted:
        raise DataError(f"false_clicks {share:g}: users run out of items they have not taken; give a smaller share")
    return Interactions(np.concatenate([train.user_N, user_T[drawn]]), np.concatenate([train.item_N, item_T[drawn]]))


def _free_items(known_K: np.ndarray, num_items: int, user_N: np.ndarray, rank_N: np.ndarray) -> np.ndarray:
    """The item at ``rank_N``, from 0, among those that the user does not know, (N,).

    ``known_K``: what users know, sorted, as user · num_items + item. Before the j-th known item of a user, from 0,
    there are item - j unknown ones. So it is the rank plus the number of known items with at most so many before them.
    """
    user_K, item_K = np.divmod(known_K, num_items)
    start_N = np.searchsorted(user_K, user_N)
    unknown_before_K = item_K - (np.arange(len(known_K)) - np.searchsorted(user_K, user_K))
    width = num_items + 1
    passed = np.searchsorted(user_K * width + unknown_before_K, user_N * width + rank_N, side="right")
    item_N: np.ndarray = rank_N + passed - start_N
    return item_N
