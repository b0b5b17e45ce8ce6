"""Held-out pairs of a split, grouped by user for ranking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossrec.errors import DataError
from crossrec.ops.csr import Ints, csr_rows

COMPARED = 1 << 20
"""Pairs that are looked up at a time."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The held-out items of a split by user. Build it once and use it after every epoch.

    - ``user_E``: evaluated users, those with the most held-out items first, then by index.
    - ``count_E``: number of distinct held-out items of each.
    - ``row_P``, ``item_P``: every distinct held-out pair as position in ``user_E`` and item, sorted by both.
    - ``trained_P``: whether the pair is a training pair too, bool.
    - ``mask``: training pairs of the evaluated users, (position in ``user_E``, item), sorted by position.
    """

    user_E: Ints
    count_E: Ints
    row_P: Ints
    item_P: Ints
    trained_P: npt.NDArray[np.bool_]
    mask: tuple[Ints, Ints]
    num_users: int
    num_items: int

    @classmethod
    def build(
        cls,
        train_user_N: npt.ArrayLike,
        train_item_N: npt.ArrayLike,
        held_user_N: npt.ArrayLike,
        held_item_N: npt.ArrayLike,
        num_users: int,
        num_items: int,
    ) -> HeldOut:
        """Group held-out pairs by user. Users with a held-out item and a training interaction are evaluated.

        Takes two pairs of equally long index arrays; repeated pairs count once. The result may have no user. Raises
        DataError if an index is outside the users or items, or if two arrays differ in length.
        """
        train_user, train_item = check_pairs("training", train_user_N, train_item_N, num_users, num_items)
        held_user, held_item = check_pairs("held-out", held_user_N, held_item_N, num_users, num_items)
        key_P = np.unique(held_user * num_items + held_item)
        has_trained_U = np.zeros(num_users, dtype=bool)
        has_trained_U[train_user] = True
        key_P = key_P[has_trained_U[key_P // num_items]]
        count_U = np.bincount(key_P // num_items, minlength=num_users)
        key_P = key_P[np.argsort(-count_U[key_P // num_items], kind="stable")]
        user_P, item_P = np.divmod(key_P, num_items)
        user_E = user_P[np.diff(user_P, prepend=-1) != 0]
        row_P = np.repeat(np.arange(len(user_E)), count_U[user_E])
        mask = items_of_users(user_E, train_user, train_item, num_users)
        return cls(
            user_E=user_E,
            count_E=count_U[user_E],
            row_P=row_P,
            item_P=item_P,
            trained_P=_which_are_among(row_P * num_items + item_P, mask[0] * num_items + mask[1]),
            mask=mask,
            num_users=num_users,
            num_items=num_items,
        )


def _which_are_among(key_P: Ints, other_M: Ints) -> npt.NDArray[np.bool_]:
    """Which of these keys, sorted, each once, are among the others. As ``np.isin`` without sorting the others."""
    is_among_P = np.zeros(len(key_P), dtype=bool)
    for start in range(0, len(other_M) if len(key_P) else 0, COMPARED):
        other_m = other_M[start : start + COMPARED]
        position_m = np.searchsorted(key_P, other_m).clip(max=len(key_P) - 1)
        is_among_P[position_m[key_P[position_m] == other_m]] = True
    return is_among_P


def items_of_users(user_E: Ints, user_N: Ints, item_N: Ints, num_users: int) -> tuple[Ints, Ints]:
    """The pairs of the users ``user_E`` as (position in ``user_E``, item), sorted by position."""
    is_one_U = np.zeros(num_users, dtype=bool)
    is_one_U[user_E] = True
    own_N = is_one_U[user_N]
    user_N, item_N = user_N[own_N], item_N[own_N]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(user_N, minlength=num_users))])
    return csr_rows(indptr, item_N[np.argsort(user_N, kind="stable")], user_E)


def check_pairs(name: str, user_N: npt.ArrayLike, item_N: npt.ArrayLike, users: int, items: int) -> tuple[Ints, Ints]:
    """Return pairs as two int64 arrays. Raises DataError for an unknown index or arrays of different lengths."""
    user, item = check_indices(f"{name} user", user_N, users), check_indices(f"{name} item", item_N, items)
    if user.ndim != 1 or user.shape != item.shape:
        raise DataError(f"{name} pairs: {user.shape} users and {item.shape} items; need two arrays of one length")
    return user, item


def check_indices(name: str, values: npt.ArrayLike, limit: int) -> Ints:
    """Return indices as an int64 array. Raises DataError for one outside 0 … limit - 1."""
    array = np.asarray(values, dtype=np.int64)
    if array.size and (array.min() < 0 or array.max() >= limit):
        wrong = array[(array < 0) | (array >= limit)][0]
        raise DataError(f"{name} {wrong} is not among the {limit} known (0 … {limit - 1})")
    return array
