"""Full ranking: rank every held-out item among all items that its user has not trained on; top-K lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from crossrec import parallel
from crossrec.errors import ConfigError, DataError, TrainingError, setting
from crossrec.evaluation.held_out import HeldOut, check_indices, check_pairs, items_of_users
from crossrec.ops.csr import Ints
from crossrec.ops.divided import Divided
from crossrec.ops.topk import stable_topk

NEVER = int(np.iinfo(np.int64).max)
"""Rank of a held-out item that is also a training item of its user: masked, so in no list of any length."""

BLOCK = 128
"""Users in one matrix product. The last bit of a float32 score depends on how many rows are multiplied together; with a
fixed number, ranks do not depend on the chunk size."""

CHUNK = 128
"""Users whose scores are held in memory at a time: one float32 array of items × CHUNK."""

SECTIONS, GROUPS = 4, 32
"""Sections of the items, and the least number of groups in a section. The best score of each group shows quickly that
most held-out items are far down. The items of a group are spread over their section, because neighbours may be alike.
Threads share sections as they share the rows of a product, so each finds its scores in its cache."""

CHECKED = 1 << 16
"""Vectors whose lengths are measured at a time, in float64."""

MAX_SCORES = 1 << 20
"""Scores gathered at a time to count ranks: 4 MB."""


@dataclass(frozen=True, eq=False)
class Ranks:
    """The 0-based rank of every held-out pair: ``rank_P`` items are before ``item_P`` of user ``user_E[row_P]``."""

    user_E: Ints
    row_P: Ints
    item_P: Ints
    rank_P: Ints


class Scorer(Protocol):
    """A recommender that scores all items for some users, by whatever means."""

    @property
    def shape(self) -> tuple[int, int]:
        """(U, I)."""

    def scores(self, user_E: Ints) -> Tensor:
        """Scores of all items for these users, (E, I), finite."""


def rank_held_out(
    user_US: Tensor, item_IS: Tensor, held: HeldOut, chunk: int = CHUNK, depth: int | None = None
) -> Ranks:
    """Rank every held-out item among the items its user has not trained on, by float32 dot product.

    rank = #{j : s_j > s_i} + #{j < i : s_j = s_i} over unmasked j: among equal scores the lower index comes first.
    A held-out item that is masked itself has rank NEVER. ``chunk``, rounded up to a multiple of BLOCK, bounds the
    memory and changes no rank. With ``depth``, ranks below it are exact and any other is some number ≥ depth: metrics
    at K ≤ depth stay the same and take less time.

    Raises TrainingError if vectors are not finite or so long that scores may not be.
    """
    return rank_together(user_US, item_IS, [held], chunk, depth)[0]


def rank_together(
    user_US: Tensor,
    item_IS: Tensor,
    parts: Sequence[HeldOut],
    chunk: int = CHUNK,
    depth: int | None = None,
    columns: int | None = None,
) -> list[Ranks]:
    """``rank_held_out`` for several splits of one data set. Each user is scored once, if all leave out the same items,
    in one of the processes that train together (``crossrec.parallel``).

    ``columns``: S, where ``user_US`` has this process's columns only. Raises DataError if the splits have different
    numbers of users or items.
    """
    if columns is None:
        _check_shapes(user_US, item_IS, *_shape_of(parts))

    def masked_scores(user_E: Ints, own: slice, mask: tuple[Ints, Ints]) -> Iterator[tuple[int, Tensor]]:
        return _masked_scores(_rows(user_US, user_E, own, columns), item_IS, mask, chunk)

    return _rank(masked_scores, parts, depth)


def _rows(user_US: Tensor, user_E: Ints, own: slice, columns: int | None) -> Tensor:
    """Vectors of the users ``user_E[own]``, whole; ``own`` is this process's part of ``_parts``."""

    def rows(part: slice) -> Tensor:
        return user_US.detach()[torch.from_numpy(user_E[part]).to(user_US.device)]

    if columns is None:
        return rows(own)
    whole = [
        Divided(rows(part), "columns", torch.Size([part.stop - part.start, columns])).to(number)
        for number, part in enumerate(_parts(user_E))
    ]
    return next(row_ES for row_ES in whole if row_ES is not None)


def _parts(user_E: Ints) -> list[slice]:
    """Users of each process, in whole blocks, so that products are those of one process."""
    return parallel.parts(len(user_E), BLOCK)


def rank_scores(scorer: Scorer, parts: Sequence[HeldOut], depth: int | None = None) -> list[Ranks]:
    """``rank_together`` of a recommender without vectors. Raises DataError if it has other users or items."""
    if scorer.shape != _shape_of(parts):
        raise DataError(f"scores of {scorer.shape} users and items cannot rank those of {_shape_of(parts)}")

    def masked_scores(all_user_E: Ints, own: slice, mask: tuple[Ints, Ints]) -> Iterator[tuple[int, Tensor]]:
        user_E = all_user_E[own]
        for first in range(0, len(user_E), CHUNK):
            score_IC = scorer.scores(user_E[first : first + CHUNK]).T.contiguous()
            low, high = np.searchsorted(mask[0], [first, first + CHUNK])
            score_IC[mask[1][low:high], mask[0][low:high] - first] = -torch.inf
            yield first, score_IC

    return _rank(masked_scores, parts, depth)


def _shape_of(parts: Sequence[HeldOut]) -> tuple[int, int]:
    """Numbers of users and items of the splits. Raises DataError if they differ."""
    shapes = {(part.num_users, part.num_items) for part in parts}
    if len(shapes) > 1:
        raise DataError("splits of different data sets cannot be ranked together")
    return shapes.pop()


def _rank(
    masked_scores: Callable[[Ints, slice, tuple[Ints, Ints]], Iterator[tuple[int, Tensor]]],
    parts: Sequence[HeldOut],
    depth: int | None,
) -> list[Ranks]:
    if not _leave_out_the_same(parts):
        return [ranks for part in parts for ranks in _rank(masked_scores, [part], depth)]
    num_users = parts[0].num_users
    user_E, mask = _all_users(parts)
    row_U = np.empty(num_users, dtype=np.int64)
    row_U[user_E] = np.arange(len(user_E))
    row_P = np.concatenate([row_U[part.user_E][part.row_P] for part in parts])
    order = np.argsort(row_P, kind="stable")
    row_P, item_P = row_P[order], np.concatenate([part.item_P for part in parts])[order]
    sorted_rank_P = torch.empty(len(row_P), dtype=torch.int64)
    shares = _parts(user_E)
    own = shares[parallel.rank()]
    for first, score_IC in masked_scores(user_E, own, _of_part(mask, own)):
        start = own.start + first
        low, high = np.searchsorted(row_P, [start, start + score_IC.shape[1]])
        row_p = torch.from_numpy(row_P[low:high] - start).to(score_IC.device)
        item_p = torch.from_numpy(item_P[low:high]).to(score_IC.device)
        sorted_rank_P[low:high] = _ranks_among(score_IC, row_p, item_p, depth)
    parallel.fill_rows(sorted_rank_P, [slice(*np.searchsorted(row_P, [s.start, s.stop])) for s in shares])
    rank_P = np.empty(len(row_P), dtype=np.int64)
    rank_P[order] = sorted_rank_P.numpy()
    ranks = []
    ends = np.cumsum([len(part.row_P) for part in parts])
    for part, rank_p in zip(parts, np.split(rank_P, ends[:-1]), strict=True):
        rank_p[part.trained_P] = NEVER
        ranks.append(Ranks(part.user_E, part.row_P, part.item_P, rank_p))
    return ranks


def _of_part(mask: tuple[Ints, Ints], part: slice) -> tuple[Ints, Ints]:
    """The training pairs of some of the users, counted from the first of them."""
    low, high = np.searchsorted(mask[0], [part.start, part.stop])
    return mask[0][low:high] - part.start, mask[1][low:high]


def _leave_out_the_same(parts: Sequence[HeldOut]) -> bool:
    """Whether the items that are left out of the ranking of a user are the same in all parts that have the user."""

    def left_out(part: HeldOut, other: HeldOut) -> Ints:
        shared_E = np.isin(part.user_E, other.user_E)
        row_M, item_M = part.mask
        return np.sort((part.user_E[row_M] * part.num_items + item_M)[shared_E[row_M]])

    return all(np.array_equal(left_out(a, b), left_out(b, a)) for a, b in combinations(parts, 2))


def _all_users(parts: Sequence[HeldOut]) -> tuple[Ints, tuple[Ints, Ints]]:
    """The users of all splits, and their training pairs as (position among the users, item), sorted by position."""
    if len(parts) == 1:
        return parts[0].user_E, parts[0].mask
    seen_U = np.zeros(parts[0].num_users, dtype=bool)
    users, items = [], []
    for part in parts:
        new_T = ~seen_U[part.user_E][part.mask[0]]
        users.append(part.user_E[part.mask[0][new_T]])
        items.append(part.mask[1][new_T])
        seen_U[part.user_E] = True
    user_E = np.flatnonzero(seen_U)
    return user_E, items_of_users(user_E, np.concatenate(users), np.concatenate(items), len(seen_U))


def _ranks_among(score_IC: Tensor, row_P: Tensor, item_P: Tensor, depth: int | None) -> Tensor:
    """Rank of item_p among the scores of user row_p, (P,) int64. If it is ≥ depth, any number ≥ depth.

    With ``depth``, an item below the best items of ``depth`` groups needs no exact rank.
    """
    num_items, score_P = len(score_IC), score_IC[item_P, row_P]
    if depth is None:
        rank_P, near_P = torch.empty_like(row_P), torch.arange(len(row_P), device=row_P.device)
    else:
        best_GP = _best_of_groups(score_IC, max(GROUPS, 2 * depth)).index_select(1, row_P)
        rank_P = torch.gt(best_GP, score_P, out=best_GP).sum(dim=0).long()
        near_P = torch.nonzero(rank_P < depth)[:, 0]
    for near in torch.split(near_P, max(1, MAX_SCORES // num_items)):
        scores, held_out_score = score_IC.index_select(1, row_P[near]), score_P[near]
        # Comparing into floats and adding these up is exact up to 2^24 items and several times as fast as counting.
        flags = torch.empty_like(scores)
        rank = torch.gt(scores, held_out_score, out=flags).sum(dim=0).long()
        tied = torch.eq(scores, held_out_score, out=flags).sum(dim=0) > 1
        if bool(tied.any()):
            lower = torch.arange(num_items, device=scores.device)[:, None] < item_P[near[tied]]
            rank[tied] += (lower & (scores[:, tied] == held_out_score[tied])).sum(dim=0)
        rank_P[near] = rank
    return rank_P


def _best_of_groups(score_IC: Tensor, groups: int) -> Tensor:
    """Best score in each group of items, (G, C): ``groups`` of them in every section, or each item by itself."""
    num_items, users = score_IC.shape
    if num_items <= SECTIONS * groups:
        return score_IC
    divisible = num_items // (SECTIONS * groups) * (SECTIONS * groups)
    best_GC: Tensor = score_IC[:divisible].view(SECTIONS, -1, groups, users).amax(dim=1).flatten(0, 1)
    remainder = score_IC[divisible:]
    best_GC[: len(remainder)].clamp_(min=remainder)
    return best_GC


def top_k(
    user_US: Tensor,
    item_IS: Tensor,
    user_E: npt.ArrayLike,
    train_user_N: npt.ArrayLike,
    train_item_N: npt.ArrayLike,
    k: int,
    chunk: int = CHUNK,
) -> tuple[Ints, npt.NDArray[np.floating[Any]]]:
    """The k best items of each user in ``user_E``, without training items: (item_EK int64, score_EK float32).

    Best first; the lower index first among equal scores, at the end of the list too: the order of ``rank_held_out``.
    If fewer than k items are left, the remaining places hold item -1 with score -inf. ``chunk`` bounds the memory.

    Raises TrainingError as ``rank_held_out`` does, DataError for an unknown user or item, ConfigError for k < 1.
    """
    if k < 1:
        raise ConfigError(f"k = {k}: a list needs at least one place, give k >= 1")
    num_users, num_items = len(user_US), len(item_IS)
    _check_shapes(user_US, item_IS, num_users, num_items)
    train_user, train_item = check_pairs("training", train_user_N, train_item_N, num_users, num_items)
    users = check_indices("asked-for user", user_E, num_users)
    item_EK = np.full((len(users), k), -1, dtype=np.int64)
    score_EK = np.full((len(users), k), -np.inf, dtype=np.float32)
    mask = items_of_users(users, train_user, train_item, num_users)
    user_ES = user_US.detach()[torch.from_numpy(users).to(user_US.device)]
    for first, score_IC in _masked_scores(user_ES, item_IS, mask, chunk):
        item, score = stable_topk(score_IC.T.contiguous(), k)
        cells = slice(first, first + len(score)), slice(0, score.shape[1])
        score_EK[cells], item_EK[cells] = score.cpu().numpy(), item.cpu().numpy()
    item_EK[score_EK == -np.inf] = -1
    return item_EK, score_EK


def _masked_scores(
    user_ES: Tensor, item_IS: Tensor, mask: tuple[Ints, Ints], chunk: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield (first position, score_IC) for consecutive chunks of the users, with -inf at the masked pairs.

    All chunks share one buffer. Items are its rows, because threads share a product by its rows.
    """
    if chunk < 1:
        raise ConfigError(f"chunk = {chunk}: give a number of users >= 1")
    user_ES, items = user_ES.float(), item_IS.detach().float()
    _check_finite(user_ES, items)
    total = len(user_ES)
    padded = -(-total // BLOCK) * BLOCK
    user_ES = torch.cat([user_ES, user_ES.new_zeros(padded - total, user_ES.shape[1])])
    chunk = min(-(-chunk // BLOCK) * BLOCK, padded)
    buffer = items.new_empty(len(items), chunk)
    for first in range(0, total, max(chunk, 1)):
        for start in range(0, min(chunk, padded - first), BLOCK):
            block = user_ES[first + start : first + start + BLOCK].T
            torch.mm(items, block, out=buffer[:, start : start + BLOCK])
        low, high = np.searchsorted(mask[0], [first, first + chunk])
        row, item = (torch.from_numpy(part[low:high]).to(buffer.device) for part in mask)
        buffer[item, row - first] = -torch.inf
        yield first, buffer[:, : min(chunk, total - first)]


def _check_finite(user_ES: Tensor, item_IS: Tensor) -> None:
    """Raise TrainingError unless every score is finite. |u·i| ≤ ‖u‖‖i‖: the longest vectors settle it for all pairs."""
    longest = [_longest(part) for part in (user_ES, item_IS)]
    for name, length in zip(("user", "item"), longest, strict=True):
        if not np.isfinite(length):
            raise TrainingError(
                f"{name} vectors to rank with hold NaN or inf: training diverged, lower {setting('learning_rate')}"
            )
    if longest[0] * longest[1] > torch.finfo(torch.float32).max:
        raise TrainingError(
            f"scores may overflow float32 (longest user vector {longest[0]:.3g}, item vector {longest[1]:.3g}): "
            "training diverged, lower {setting('learning_rate')}"
        )


def _longest(vector_NS: Tensor) -> float:
    """The length of the longest vector, NaN where one holds NaN, 0 without any."""
    if not len(vector_NS):
        return 0.0
    lengths = [part_NS.double().norm(dim=1).max() for part_NS in torch.split(vector_NS, CHECKED)]
    return float(torch.stack(lengths).max())


def _check_shapes(user_US: Tensor, item_IS: Tensor, num_users: int, num_items: int) -> None:
    shapes = tuple(user_US.shape), tuple(item_IS.shape)
    if user_US.ndim != 2 or item_IS.ndim != 2 or shapes != ((num_users, shapes[1][1]), (num_items, shapes[0][1])):
        raise DataError(
            f"vectors of shapes {shapes[0]} and {shapes[1]} cannot rank {num_items} items for {num_users} users: "
            "need (users, S) and (items, S)"
        )
