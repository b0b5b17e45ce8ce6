"""Full ranking: where every held-out item stands among all items its user has not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from crossrec.errors import ConfigError, DataError, TrainingError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

NEVER = int(np.iinfo(np.int64).max)
"""Rank of a held-out item that is also a training item of its user: masked, hence in no list of any length."""

BLOCK = 128
"""Users in one matrix product. It is fixed because the last bit of a float32 score depends on the number of rows that
are multiplied together; that way ranks depend on no chunk size."""

CHUNK = 128
"""Users whose scores are held at once; memory is one float32 array of CHUNK × items."""

SECTIONS, GROUPS = 4, 32
"""Sections of the items, and groups of items in each at least, whose best scores tell the many held-out items that are
far down from the few that are not. Items of a group are apart, for those that are next to each other may be alike; and
threads, which share sections as they share the rows of a product, find the scores that they made in their cache."""

_NUMBERS = 1 << 20
"""Scores that are gathered at a time to count ranks in: 4 MB."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The held-out items of a split, grouped by user and ready for ranking. Build once, use after every epoch.

    ``user_E``: the evaluated users, those with the most held-out items first, then by index.
    ``count_E``: how many different items are held out of each.
    ``row_P``, ``item_P``: every held-out pair once, as position in ``user_E`` and item, sorted by both.
    ``trained_P``: whether the pair is a training pair too.
    ``mask``: the training pairs of the evaluated users, (position in ``user_E``, item), sorted by position.
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
        """Group held-out pairs by user; evaluated are users with ≥ 1 held-out item and ≥ 1 training interaction.

        Two pairs of equally long index arrays; repeated pairs count once. No user may remain: that is no error here.
        Raises DataError where an index lies outside the users or items, or a pair of arrays differs in length.
        """
        train_user, train_item = _pairs("training", train_user_N, train_item_N, num_users, num_items)
        held_user, held_item = _pairs("held-out", held_user_N, held_item_N, num_users, num_items)
        key_P = np.unique(held_user * num_items + held_item)
        key_P = key_P[np.isin(key_P // num_items, train_user)]
        count_U = np.bincount(key_P // num_items, minlength=num_users)
        key_P = key_P[np.argsort(-count_U[key_P // num_items], kind="stable")]
        user_P, item_P = np.divmod(key_P, num_items)
        user_E = user_P[np.diff(user_P, prepend=-1) != 0]
        return cls(
            user_E=user_E,
            count_E=count_U[user_E],
            row_P=np.repeat(np.arange(len(user_E)), count_U[user_E]),
            item_P=item_P,
            trained_P=np.isin(key_P, train_user * num_items + train_item),
            mask=_items_of(user_E, train_user, train_item, num_users),
            num_users=num_users,
            num_items=num_items,
        )


@dataclass(frozen=True, eq=False)
class Ranks:
    """The 0-based rank of every held-out pair: ``item_P`` of ``user_E[row_P]`` has ``rank_P`` items before it."""

    user_E: Ints
    row_P: Ints
    item_P: Ints
    rank_P: Ints


def rank_held_out(
    user_US: Tensor, item_IS: Tensor, held: HeldOut, chunk: int = CHUNK, depth: int | None = None
) -> Ranks:
    """Rank every held-out item among the items its user has not trained on, by float32 dot product.

    rank = #{j : s_j > s_i} + #{j < i : s_j = s_i} over unmasked j: among equal scores the lower index comes first.
    A held-out item that is masked itself has rank NEVER. ``chunk`` (rounded up to a multiple of BLOCK) bounds the
    memory and changes no rank. With ``depth`` a rank ≥ depth may come out as any other number ≥ depth: metrics at
    K ≤ depth are the same, and sooner.

    Raises TrainingError where vectors are not finite or so long that scores may not be.
    """
    return rank_together(user_US, item_IS, [held], chunk, depth)[0]


def rank_together(
    user_US: Tensor, item_IS: Tensor, parts: Sequence[HeldOut], chunk: int = CHUNK, depth: int | None = None
) -> list[Ranks]:
    """``rank_held_out`` for several splits of one data set; a user that several of them hold is scored once.

    Raises DataError where the splits are of different numbers of users or items.
    """
    num_users, num_items = parts[0].num_users, parts[0].num_items
    if any((part.num_users, part.num_items) != (num_users, num_items) for part in parts):
        raise DataError("splits of different data sets cannot be ranked together")
    _check_shapes(user_US, item_IS, num_users, num_items)
    user_E, mask = _everyone(parts)
    place_U = np.empty(num_users, dtype=np.int64)
    place_U[user_E] = np.arange(len(user_E))
    row_P = np.concatenate([place_U[part.user_E][part.row_P] for part in parts])
    order = np.argsort(row_P, kind="stable")
    row_P, item_P = row_P[order], np.concatenate([part.item_P for part in parts])[order]
    rank_P = np.empty(len(row_P), dtype=np.int64)
    for first, score_IC in _masked_scores(user_US, item_IS, user_E, mask, chunk):
        low, high = np.searchsorted(row_P, [first, first + score_IC.shape[1]])
        row_p = torch.from_numpy(row_P[low:high] - first).to(score_IC.device)
        item_p = torch.from_numpy(item_P[low:high]).to(score_IC.device)
        rank_P[order[low:high]] = _ranks_among(score_IC, row_p, item_p, depth).cpu().numpy()
    ranks = []
    ends = np.cumsum([len(part.row_P) for part in parts])
    for part, rank_p in zip(parts, np.split(rank_P, ends[:-1]), strict=True):
        rank_p[part.trained_P] = NEVER
        ranks.append(Ranks(part.user_E, part.row_P, part.item_P, rank_p))
    return ranks


def _everyone(parts: Sequence[HeldOut]) -> tuple[Ints, tuple[Ints, Ints]]:
    """The users that any split evaluates, and their training pairs as (position among them, item), by position."""
    if len(parts) == 1:
        return parts[0].user_E, parts[0].mask
    seen_U = np.zeros(parts[0].num_users, dtype=bool)
    users, items = [], []
    for part in parts:
        fresh_T = ~seen_U[part.user_E][part.mask[0]]
        users.append(part.user_E[part.mask[0][fresh_T]])
        items.append(part.mask[1][fresh_T])
        seen_U[part.user_E] = True
    user_E = np.flatnonzero(seen_U)
    return user_E, _items_of(user_E, np.concatenate(users), np.concatenate(items), len(seen_U))


def _ranks_among(score_IC: Tensor, row_P: Tensor, item_P: Tensor, depth: int | None) -> Tensor:
    """The rank of item_p among the scores of user row_p, (P,) int64; where it is ≥ depth, any number ≥ depth.

    With ``depth``, an item below the best ones of so many groups of items is that far down: it is looked at no further.
    """
    num_items, own_P = len(score_IC), score_IC[item_P, row_P]
    if depth is None:
        rank_P, near_P = torch.empty_like(row_P), torch.arange(len(row_P), device=row_P.device)
    else:
        best_GP = _best_of_groups(score_IC, max(GROUPS, 2 * depth)).index_select(1, row_P)
        rank_P = torch.gt(best_GP, own_P, out=best_GP).sum(dim=0).long()
        near_P = torch.nonzero(rank_P < depth)[:, 0]
    for near in torch.split(near_P, max(1, _NUMBERS // num_items)):
        scores, own = score_IC.index_select(1, row_P[near]), own_P[near]
        # Comparing into floats and adding these up is exact up to 2^24 items and several times as fast as counting.
        flags = torch.empty_like(scores)
        rank = torch.gt(scores, own, out=flags).sum(dim=0).long()
        tied = torch.eq(scores, own, out=flags).sum(dim=0) > 1
        if bool(tied.any()):
            lower = torch.arange(num_items, device=scores.device)[:, None] < item_P[near[tied]]
            rank[tied] += (lower & (scores[:, tied] == own[tied])).sum(dim=0)
        rank_P[near] = rank
    return rank_P


def _best_of_groups(score_IC: Tensor, groups: int) -> Tensor:
    """The best score in each group of items, (G, C): so many groups in every section, or each item by itself."""
    num_items, users = score_IC.shape
    if num_items <= SECTIONS * groups:
        return score_IC
    whole = num_items // (SECTIONS * groups) * (SECTIONS * groups)
    best_GC: Tensor = score_IC[:whole].view(SECTIONS, -1, groups, users).amax(dim=1).flatten(0, 1)
    left_over = score_IC[whole:]
    best_GC[: len(left_over)].clamp_(min=left_over)
    return best_GC


def top_k(
    user_US: Tensor,
    item_IS: Tensor,
    user_E: npt.ArrayLike,
    train_user_N: npt.ArrayLike,
    train_item_N: npt.ArrayLike,
    k: int,
    chunk: int = CHUNK,
) -> tuple[Ints, Floats]:
    """The k best items for each of ``user_E``, without the user's training items: (item_EK int64, score_EK float32).

    Best first; among equal scores the lower index first, at the end of the list too. Where fewer than k items are
    left, the remaining places hold item -1 with score -inf. Memory is bounded by ``chunk`` × items.

    Raises TrainingError as ``rank_held_out`` does, DataError for an unknown user or item, ConfigError for k < 1.
    """
    if k < 1:
        raise ConfigError(f"k = {k}: a list needs at least one place, give k >= 1")
    num_users, num_items = len(user_US), len(item_IS)
    _check_shapes(user_US, item_IS, num_users, num_items)
    train_user, train_item = _pairs("training", train_user_N, train_item_N, num_users, num_items)
    users = _indices("asked-for user", user_E, num_users)
    item_EK = np.full((len(users), k), -1, dtype=np.int64)
    score_EK = np.full((len(users), k), -np.inf, dtype=np.float32)
    mask = _items_of(users, train_user, train_item, num_users)
    for first, score_IC in _masked_scores(user_US, item_IS, users, mask, chunk):
        score, item = _best(score_IC.T.contiguous(), k)
        at = slice(first, first + len(score)), slice(0, score.shape[1])
        score_EK[at], item_EK[at] = score.cpu().numpy(), item.cpu().numpy()
    item_EK[score_EK == -np.inf] = -1
    return item_EK, score_EK


def _best(score_CI: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Scores and items of the min(k, I) best of each row; equal scores by index, which ``topk`` alone leaves open."""
    score, item = score_CI.topk(min(k + 1, score_CI.shape[1]), dim=1)
    item, by_item = item.sort(dim=1)
    score, by_score = score.gather(1, by_item).sort(dim=1, descending=True, stable=True)
    item = item.gather(1, by_score)
    if score.shape[1] > k:  # one more than asked for: an equal last pair means that the choice was arbitrary
        tied = torch.nonzero(score[:, k - 1] == score[:, k])[:, 0]
        if len(tied):
            item[tied] = score_CI[tied].sort(dim=1, descending=True, stable=True).indices[:, : k + 1]
            score[tied] = score_CI[tied].gather(1, item[tied])
    return score[:, :k], item[:, :k]


def _masked_scores(
    user_US: Tensor, item_IS: Tensor, user_E: Ints, mask: tuple[Ints, Ints], chunk: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield (first position, score_IC) for consecutive chunks of ``user_E``, -inf at the masked pairs.

    The same memory is filled anew for every chunk. Items come first, for threads share a product by its rows.
    """
    if chunk < 1:
        raise ConfigError(f"chunk = {chunk}: give a number of users >= 1")
    users = torch.from_numpy(user_E).to(user_US.device)
    user_ES, items = user_US.detach()[users].float(), item_IS.detach().float()
    _check_finite(user_ES, items)
    total = len(user_ES)
    padded = -(-total // BLOCK) * BLOCK
    user_ES = torch.cat([user_ES, user_ES.new_zeros(padded - total, user_ES.shape[1])])
    chunk = min(-(-chunk // BLOCK) * BLOCK, padded)
    buffer = items.new_empty(len(items), chunk)
    for first in range(0, total, max(chunk, 1)):
        for at in range(0, min(chunk, padded - first), BLOCK):
            block = user_ES[first + at : first + at + BLOCK].T
            torch.mm(items, block, out=buffer[:, at : at + BLOCK])
        low, high = np.searchsorted(mask[0], [first, first + chunk])
        row, item = (torch.from_numpy(part[low:high]).to(buffer.device) for part in mask)
        buffer[item, row - first] = -torch.inf
        yield first, buffer[:, : min(chunk, total - first)]


def _check_finite(user_ES: Tensor, item_IS: Tensor) -> None:
    """Raise TrainingError unless every score is finite: |u·i| ≤ ‖u‖‖i‖, so two short reductions settle all of them."""
    longest = [float(part.double().norm(dim=1).max()) if len(part) else 0.0 for part in (user_ES, item_IS)]
    for name, length in zip(("user", "item"), longest, strict=True):
        if not np.isfinite(length):
            raise TrainingError(f"{name} vectors to rank with hold NaN or inf: training diverged, lower learning_rate")
    if longest[0] * longest[1] > torch.finfo(torch.float32).max:
        raise TrainingError(
            f"scores may overflow float32 (longest user vector {longest[0]:.3g}, item vector {longest[1]:.3g}): "
            "training diverged, lower learning_rate"
        )


def _check_shapes(user_US: Tensor, item_IS: Tensor, num_users: int, num_items: int) -> None:
    shapes = tuple(user_US.shape), tuple(item_IS.shape)
    if user_US.ndim != 2 or item_IS.ndim != 2 or shapes != ((num_users, shapes[1][1]), (num_items, shapes[0][1])):
        raise DataError(
            f"vectors of shapes {shapes[0]} and {shapes[1]} cannot rank {num_items} items for {num_users} users: "
            "need (users, S) and (items, S)"
        )


def _indices(name: str, values: npt.ArrayLike, limit: int) -> Ints:
    array = np.asarray(values, dtype=np.int64)
    if array.size and (array.min() < 0 or array.max() >= limit):
        wrong = array[(array < 0) | (array >= limit)][0]
        raise DataError(f"{name} {wrong} is not among the {limit} known (0 … {limit - 1})")
    return array


def _pairs(name: str, user_N: npt.ArrayLike, item_N: npt.ArrayLike, users: int, items: int) -> tuple[Ints, Ints]:
    user, item = _indices(f"{name} user", user_N, users), _indices(f"{name} item", item_N, items)
    if user.ndim != 1 or user.shape != item.shape:
        raise DataError(f"{name} pairs: {user.shape} users and {item.shape} items; need two arrays of one length")
    return user, item


def _starts(count: Ints) -> Ints:
    return np.cumsum(count) - count


def _items_of(user_E: Ints, user_N: Ints, item_N: Ints, num_users: int) -> tuple[Ints, Ints]:
    """The pairs of the given users as (position in ``user_E``, item), sorted by position."""
    count_U = np.bincount(user_N, minlength=num_users)
    count_E = count_U[user_E]
    row_T = np.repeat(np.arange(len(user_E)), count_E)
    at_T = np.repeat(_starts(count_U)[user_E] - _starts(count_E), count_E) + np.arange(len(row_T))
    return row_T, item_N[np.argsort(user_N, kind="stable")][at_T]
