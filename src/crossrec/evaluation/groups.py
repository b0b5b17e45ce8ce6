"""Metrics within groups: items by popularity, users by activity (Section 7.7, Figure 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from crossrec.errors import ConfigError, DataError
from crossrec.evaluation.metrics import DEFAULT_METRICS, Floats, PerUser, per_user
from crossrec.evaluation.ranking import Ranks
from crossrec.ops.csr import Ints

HEAD = "Head"


@dataclass(frozen=True, eq=False)
class Groups:
    """All items, or all users, in groups by their number of training interactions, rarest group first.

    ``names``: of the G groups. ``group_N``: group of every item or user. ``size_G``: members of each group.
    ``interactions_G``: training interactions of each group.
    """

    names: tuple[str, ...]
    group_N: Ints
    size_G: Ints
    interactions_G: Ints

    @property
    def share_G(self) -> Floats:
        """Share of all training interactions in each group; NaN if there are none at all."""
        total = self.interactions_G.sum()
        return self.interactions_G / (total if total else np.nan)

    def members(self, name: str) -> npt.NDArray[np.bool_]:
        """Members of the group ``name``, bool (N,). Raises ConfigError for an unknown name."""
        if name not in self.names:
            raise ConfigError(f"unknown group '{name}': there are {', '.join(self.names)}")
        member_N: npt.NDArray[np.bool_] = self.group_N == self.names.index(name)
        return member_N


@dataclass(frozen=True)
class GroupMean:
    """``means``: of each metric over the ``users`` with a value; NaN if there are none."""

    users: int
    means: dict[str, float]


def popularity_groups(degree_I: npt.ArrayLike, *, head: float = 0.2, tails: int = 4) -> Groups:
    """Group items as "Tail 1" (rarest) … "Tail n" and "Head", by training interactions ``degree_I`` (I,).

    The head has the round(head · I) items with the most interactions. The other items are sorted and cut into
    ``tails`` groups of equally many; sizes differ by one at most, and the rarer groups are the larger. Among items with
    equally many interactions the lower index counts as more popular. Items without any come first in Tail 1.

    Raises ConfigError for ``head`` outside [0, 1] or tails < 1, DataError for negative counts.
    Source: Section 7.7 of the paper, which gives the 20 % and that the tail's groups go "from low to high". That they
    have equally many items is this project's reading.
    """
    degree = _degrees(degree_I)
    if not 0 <= head <= 1 or tails < 1:
        raise ConfigError(f"head = {head}, tails = {tails}: need 0 <= head <= 1 and tails >= 1")
    rarest_first = np.lexsort((-np.arange(len(degree)), degree))
    cut = len(degree) - round(head * len(degree))
    group_I = np.full(len(degree), tails)
    for group, items in enumerate(np.array_split(rarest_first[:cut], tails)):
        group_I[items] = group
    return _groups((*(f"Tail {n}" for n in range(1, tails + 1)), HEAD), group_I, degree)


def activity_groups(degree_U: npt.ArrayLike, upper: Sequence[int] = (5, 10, 20)) -> Groups:
    """Group users by training interactions: up to the first bound, above it up to the second, …, above the last.

    Names are "≤5", "6–10", "11–20", ">20"; a group of one number is "6". Raises ConfigError unless the bounds are one
    or more rising whole numbers ≥ 0, DataError for negative counts.
    """
    degree = _degrees(degree_U)
    bounds = [int(bound) for bound in upper]
    if not bounds or bounds[0] < 0 or any(low >= high for low, high in pairwise(bounds)):
        raise ConfigError(f"bounds of groups {bounds}: need rising whole numbers >= 0")
    between = [str(high) if high == low + 1 else f"{low + 1}–{high}" for low, high in pairwise(bounds)]
    names = (f"≤{bounds[0]}", *between, f">{bounds[-1]}")
    return _groups(names, np.searchsorted(bounds, degree, side="left"), degree)


def activity_quantiles(degree_U: npt.ArrayLike, parts: int = 4) -> tuple[int, ...]:
    """Bounds for ``activity_groups`` that cut users into ``parts`` groups of about equally many.

    The n-th bound is the smallest number of interactions that n / parts of the users do not exceed: users with equally
    many stay together. Equal bounds are merged, and the highest number of all is left out, since no user is above it.
    If all users have equally many, that number is the one bound. Raises ConfigError for parts < 2, DataError for no
    users or negative counts.
    """
    degree = np.sort(_degrees(degree_U))
    if parts < 2:
        raise ConfigError(f"parts = {parts}: need at least 2 groups")
    if not len(degree):
        raise DataError("no users to cut into groups")
    last = -(-np.arange(1, parts) * len(degree) // parts) - 1  # of the first ceil(n · U / parts) users
    bounds = sorted({int(bound) for bound in degree[np.maximum(last, 0)]} - {int(degree[-1])})
    return tuple(bounds) or (int(degree[-1]),)


def by_item_group(
    ranks: Ranks, groups: Groups, ks: Sequence[int] = (10, 20), metrics: Sequence[str] = DEFAULT_METRICS
) -> dict[str, PerUser]:
    """Metrics per group of items and user, float64 (E,) in the order of ``ranks.user_E``.

    Only held-out items of the group count, as hits and as held-out items. They are still ranked among all items. A
    user without a held-out item in the group has NaN.
    """
    values = {}
    for name in groups.names:
        member_P = groups.members(name)[ranks.item_P]
        of_group = Ranks(ranks.user_E, ranks.row_P[member_P], ranks.item_P[member_P], ranks.rank_P[member_P])
        values[name] = per_user(of_group, ks, metrics)
    return values


def by_user_group(user_E: Ints, values: PerUser, groups: Groups) -> dict[str, PerUser]:
    """``values``, (E,), of the users ``user_E`` per group of users: NaN outside the group."""
    member = {name: groups.members(name)[user_E] for name in groups.names}
    return {name: {m: np.where(member_E, v, np.nan) for m, v in values.items()} for name, member_E in member.items()}


def group_means(per_group: Mapping[str, PerUser]) -> dict[str, GroupMean]:
    """Average ``by_item_group`` or ``by_user_group`` over the users with a value, per group and metric."""
    group_means = {}
    for name, values in per_group.items():
        present = [value_E[~np.isnan(value_E)] for value_E in values.values()]
        means = [float(value_E.mean()) if len(value_E) else float("nan") for value_E in present]
        group_means[name] = GroupMean(max(map(len, present), default=0), dict(zip(values, means, strict=True)))
    return group_means


def _groups(names: tuple[str, ...], group_N: Ints, degree_N: Ints) -> Groups:
    size_G = np.bincount(group_N, minlength=len(names))
    interactions_G = np.zeros(len(names), dtype=np.int64)
    np.add.at(interactions_G, group_N, degree_N)
    return Groups(names, group_N.astype(np.int64), size_G, interactions_G)


def _degrees(degree_N: npt.ArrayLike) -> Ints:
    degree = np.asarray(degree_N, dtype=np.int64)
    if degree.ndim != 1 or (degree < 0).any():
        raise DataError("numbers of interactions: need one row of whole numbers >= 0")
    return degree
