"""Batches of observed pairs with one uniform negative each, drawn vectorised."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from crossrec.errors import DataError
from crossrec.ops.csr import absent_columns
from crossrec.ops.vectors import counts
from crossrec.types import Batch, Distinct, TrainingSet

Weighting = Literal["loss", "sampling"]

ROUNDS = 32
"""Draws of a negative before the items that a user lacks are listed: a user who has 60 % of the items, more than any of
MovieLens, is undecided after so many once in ten million draws."""


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
        self.seen_item, index_T = torch.unique(data.item_T, return_inverse=True)
        self.seen_key = torch.unique(data.user_T * len(self.seen_item) + index_T)
        """The training pairs, sorted, as user · number of seen items + index of the item in ``seen_item``."""
        distinct_items = torch.bincount(self.seen_key // max(1, len(self.seen_item)), minlength=data.num_users)
        usable = distinct_items[data.user_T] < len(self.seen_item)
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
        order = self._order(generator)
        user_T, item_T = self.user_T[order], self.item_T[order]
        weight_T = None if self.weight_T is None or self.weighting == "sampling" else self.weight_T[order]
        negative_T = self.negatives(user_T, generator)
        sides = {"users": user_T, "items": item_T} if user_T.device.type != "cpu" else {}
        ahead = {name: distinct_by_batch(number_T, self.batch_size) for name, number_T in sides.items()}
        for start in range(0, len(order), self.batch_size):
            part = slice(start, start + self.batch_size)
            weight_B = None if weight_T is None else weight_T[part]
            batch = Batch(user_T[part], item_T[part], negative_T[part], weight_B, is_checked=True)
            vars(batch).update({name: next(distinct) for name, distinct in ahead.items()})  # not computed in the step
            yield batch

    def _order(self, generator: torch.Generator) -> Tensor:
        """The pairs of an epoch in their order, (T,)."""
        count, device = len(self.user_T), generator.device
        if self.weight_T is None or self.weighting == "loss":
            return torch.randperm(count, generator=generator, device=device)
        bound_T = self.weight_T.double().cumsum(0)
        draw_T = torch.rand(count, generator=generator, device=device, dtype=torch.float64) * bound_T[-1]
        return torch.searchsorted(bound_T, draw_T, right=True).clamp_max(count - 1)

    def negatives(self, user_T: Tensor, generator: torch.Generator) -> Tensor:
        """One item per user, uniform over those seen in training but not by that user; int64, shape of ``user_T``.

        Draws again where a draw is an item of the user. Users who have nearly every item would draw hundreds of times,
        so what is undecided after ``ROUNDS`` draws is drawn from the items that the user lacks. Raises ValueError for a
        user who lacks none.
        """
        draw_T = torch.empty_like(user_T)
        undecided = torch.arange(len(user_T), device=user_T.device)
        for _ in range(ROUNDS):
            draw = torch.randint(len(self.seen_item), (len(undecided),), generator=generator, device=user_T.device)
            draw_T[undecided] = draw
            key = user_T[undecided] * len(self.seen_item) + draw
            index = torch.searchsorted(self.seen_key, key).clamp_max(len(self.seen_key) - 1)
            undecided = undecided[self.seen_key[index] == key]
            if not len(undecided):
                break
        else:
            draw_T[undecided] = self._from_complement(user_T[undecided], generator)
        negative_T: Tensor = self.seen_item[draw_T]
        return negative_T

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
