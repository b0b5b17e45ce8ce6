"""Batches of observed pairs with one uniform negative each, drawn vectorised."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor

from crossrec.errors import DataError
from crossrec.ops.csr import absent_columns, sorted_unique
from crossrec.ops.row_blocks import row_blocks
from crossrec.ops.vectors import counts
from crossrec.types import Batch, Distinct, TrainingSet

Weighting = Literal["loss", "sampling"]

ROUNDS = 32
"""Draws of a negative before the items that a user lacks are listed: a user who has 60 % of the items, more than any of
MovieLens, is undecided after so many once in ten million draws."""


DRAWS = 1 << 20
"""Negatives drawn at a time on a CPU, whose generator gives the same numbers however many are drawn at a time."""


AHEAD = 64
"""Batches on a GPU whose distinct users and items are found together, so that the host waits for them once."""


class Sampler:
    """Shuffled batches of the training pairs; negatives uniform over items seen in training and not by that user.

    A user who has interacted with every item seen in training has no negative: its pairs are left out of the batches,
    with a warning that says how many. ``weighting``: whether the weights of a set that has some are part of the batches
    (``loss``), or pairs are drawn in proportion to them, with replacement (``sampling``). Raises DataError where no
    pair is left, for users and items that the set does not have, and for weights that are not above 0.
    """

    def __init__(self, data: TrainingSet, batch_size: int, weighting: Weighting = "loss") -> None:
        self.batch_size, self.weighting = batch_size, weighting
        _check(data)
        self.seen_item = torch.bincount(data.item_T, minlength=data.num_items).nonzero().squeeze(1)
        num_seen = len(self.seen_item)
        index_I = torch.empty(data.num_items, dtype=torch.int64, device=data.item_T.device)
        index_I[self.seen_item] = torch.arange(num_seen, device=index_I.device)
        self.seen_key = _keys(data.user_T, num_seen, index_I[data.item_T])
        """The training pairs, sorted, as user · number of seen items + index of the item in ``seen_item``."""
        bound_U = torch.arange(data.num_users + 1, device=self.seen_key.device) * num_seen
        lacks_U = torch.searchsorted(self.seen_key, bound_U).diff() < num_seen
        usable = slice(None) if bool(lacks_U.all()) else lacks_U[data.user_T]
        self.user_T, self.item_T = data.user_T[usable], data.item_T[usable]
        self.weight_T = None if data.weight_T is None else data.weight_T[usable]
        if not len(self.user_T):
            raise DataError(
                "no training pair has a possible negative: every user has interacted with every item; add interactions"
            )
        if (left_out := len(data.user_T) - len(self.user_T)) > 0:
            warnings.warn(f"{left_out} training pairs of users who know every item are not trained on", stacklevel=2)

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return -(-len(self.user_T) // self.batch_size)

    def epoch(self, generator: torch.Generator) -> Iterator[Batch]:
        """Batches of all pairs in random order, or of as many drawn by weight; the last may be smaller.

        ``generator`` alone decides the order.
        """
        order_T = self._order(generator)
        draw_T = self._draw(len(order_T), lambda rows: self.user_T[order_T[rows]], generator)
        with_weights = self.weight_T is not None and self.weighting == "loss"
        ahead: dict[str, Iterator[Distinct]] = {}
        if order_T.device.type != "cpu":
            sides = {"users": self.user_T[order_T], "items": self.item_T[order_T]}
            ahead = {name: distinct_by_batch(number_T, self.batch_size) for name, number_T in sides.items()}
        for part in row_blocks(len(order_T), self.batch_size):
            row_B = order_T[part]
            weight_B = self.weight_T[row_B] if with_weights else None  # type: ignore[index]
            negative_B = self.seen_item[draw_T[part]]
            batch = Batch(self.user_T[row_B], self.item_T[row_B], negative_B, weight_B, is_checked=True)
            vars(batch).update({name: next(distinct) for name, distinct in ahead.items()})  # not computed in the step
            yield batch

    def _order(self, generator: torch.Generator) -> Tensor:
        """The pairs of an epoch in their order, (T,), in a small type: it lasts until the epoch is over."""
        count, device = len(self.user_T), generator.device
        if self.weight_T is None or self.weighting == "loss":
            return torch.randperm(count, generator=generator, device=device, dtype=_small(count))
        bound_T = self.weight_T.double().cumsum(0)
        draw_T = torch.rand(count, generator=generator, device=device, dtype=torch.float64) * bound_T[-1]
        return torch.searchsorted(bound_T, draw_T, right=True).clamp_max(count - 1).to(_small(count))

    def negatives(self, user_T: Tensor, generator: torch.Generator) -> Tensor:
        """One item per user, uniform over those seen in training but not by that user; int64, shape of ``user_T``.

        Draws again where a draw is an item of the user. Users who have nearly every item would draw hundreds of times,
        so what is undecided after ``ROUNDS`` draws is drawn from the items that the user lacks. Raises ValueError for a
        user who lacks none.
        """
        negative_T: Tensor = self.seen_item[self._draw(len(user_T), lambda rows: user_T[rows], generator)]
        return negative_T

    def _draw(self, count: int, users: Callable[[Tensor], Tensor], generator: torch.Generator) -> Tensor:
        """``negatives`` of ``users(torch.arange(count))`` as indices of ``seen_item``, in a small type."""
        num_seen, device = len(self.seen_item), self.seen_key.device
        size = DRAWS if device.type == "cpu" else max(1, count)
        draw_T = torch.empty(count, dtype=_small(num_seen), device=device)
        undecided: Iterable[Tensor] = (torch.arange(p.start, p.stop, device=device) for p in row_blocks(count, size))
        for _ in range(ROUNDS):
            taken = [torch.empty(0, dtype=torch.int64, device=device)]
            for row_N in undecided:
                index_N = torch.randint(num_seen, (len(row_N),), generator=generator, device=device)
                draw_T[row_N] = index_N.to(draw_T.dtype)
                key_N = users(row_N) * num_seen + index_N
                position_N = torch.searchsorted(self.seen_key, key_N).clamp_max(len(self.seen_key) - 1)
                taken.append(row_N[self.seen_key[position_N] == key_N])
            left_N = torch.cat(taken)
            if not len(left_N):
                break
            undecided = torch.split(left_N, size)
        else:
            draw_T[left_N] = self._from_complement(users(left_N), generator).to(draw_T.dtype)
        return draw_T

    def _from_complement(self, user_N: Tensor, generator: torch.Generator) -> Tensor:
        """One of the items that each user lacks, uniformly, as index of ``seen_item``, (N,)."""
        num_seen = len(self.seen_item)
        user_D, row_N = torch.unique(user_N, return_inverse=True)
        key_K = self.seen_key[torch.isin(self.seen_key // num_seen, user_D)]
        row_K = torch.searchsorted(user_D, key_K // num_seen)
        lacking_N = (num_seen - torch.bincount(row_K, minlength=len(user_D)))[row_N]
        if not bool(lacking_N.all()):
            raise ValueError("a user has every item that is seen in training: no negative can be drawn")
        # the remainder of 62 random bits: uniform to a part in 2^62 / items
        rank_N = torch.randint(2**62, user_N.shape, generator=generator, device=user_N.device) % lacking_N
        key, user, rank = (part.cpu().numpy() for part in (key_K, user_N, rank_N))
        return torch.from_numpy(absent_columns(key, num_seen, user, rank)).to(user_N.device)


def _small(count: int) -> torch.dtype:
    """The smaller type of integers below ``count``."""
    return torch.int32 if count < 2**31 else torch.int64


def _keys(user_T: Tensor, num_items: int, item_T: Tensor) -> Tensor:
    """The distinct pairs as user · num_items + item, sorted, int64. Changes ``item_T``."""
    key_T = item_T.add_(user_T, alpha=num_items)
    distinct: Tensor = (
        torch.from_numpy(sorted_unique(key_T.numpy())) if key_T.device.type == "cpu" else torch.unique(key_T)
    )
    return distinct


def _check(data: TrainingSet) -> None:
    """Raise DataError for users and items that the set does not have and for weights that are not above 0."""
    for name, number_T, limit in (("user", data.user_T, data.num_users), ("item", data.item_T, data.num_items)):
        low, high = (int(bound) for bound in number_T.aminmax()) if len(number_T) else (0, 0)
        if low < 0 or high >= max(limit, 1):
            wrong = low if low < 0 else high
            raise DataError(f"a training pair has {name} {wrong}, but there are {limit} {name}s, numbered from 0")
    if data.weight_T is not None and len(data.weight_T) and not bool(data.weight_T.min() > 0):
        raise DataError(f"a training pair has the weight {float(data.weight_T.min())}: give numbers above 0")


def distinct_by_batch(number_T: Tensor, batch_size: int) -> Iterator[Distinct]:
    """``Distinct`` of every batch of consecutive numbers, at least one, found for ``AHEAD`` batches at a time."""
    limit = int(number_T.max()) + 1
    for number_X in torch.split(number_T, AHEAD * batch_size):
        batch_X = torch.arange(len(number_X), device=number_X.device) // batch_size
        joint = Distinct.of(batch_X * limit + number_X)
        num_batches = -(-len(number_X) // batch_size)
        sizes = counts(joint.value_N // limit, num_batches, torch.int64).tolist()
        parts = (torch.split(joint.value_N % limit, sizes), torch.split(joint.index_B, batch_size))
        starts = itertools.accumulate(sizes[:-1], initial=0)
        for value, index, count, start in zip(*parts, torch.split(joint.count_N, sizes), starts, strict=True):
            yield Distinct(value, index - start, count)
