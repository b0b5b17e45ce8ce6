"""Batches of observed pairs with one uniform negative each, drawn vectorised."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from crossrec.errors import DataError
from crossrec.types import Batch, TrainingSet


class Sampler:
    """Shuffled batches of the training pairs; negatives uniform over items seen in training and not by that user.

    A user who has interacted with every item seen in training has no negative: its pairs are left out of the batches,
    with a warning that says how many. Raises DataError where no pair is left.
    """

    def __init__(self, data: TrainingSet, batch_size: int) -> None:
        self.batch_size, self.num_items = batch_size, data.num_items
        self.seen_item = torch.unique(data.item_T)
        self.seen_pair = torch.unique(data.user_T * data.num_items + data.item_T)
        distinct_items = torch.bincount(self.seen_pair // data.num_items, minlength=data.num_users)
        usable = distinct_items[data.user_T] < len(self.seen_item)
        self.user_T, self.item_T = data.user_T[usable], data.item_T[usable]
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
        """Batches of all pairs in random order; the last may be smaller. ``generator`` alone decides the order."""
        order = torch.randperm(len(self.user_T), generator=generator, device=generator.device)
        user_T, item_T = self.user_T[order], self.item_T[order]
        negative_T = self.negatives(user_T, generator)
        for start in range(0, len(order), self.batch_size):
            part = slice(start, start + self.batch_size)
            yield Batch(user_T[part], item_T[part], negative_T[part])

    def negatives(self, user_T: Tensor, generator: torch.Generator) -> Tensor:
        """One item per user, uniform over those seen in training but not by that user; int64, shape of ``user_T``."""
        negative_T = torch.empty_like(user_T)
        undecided = torch.arange(len(user_T), device=user_T.device)
        while len(undecided):
            draw = torch.randint(len(self.seen_item), (len(undecided),), generator=generator, device=user_T.device)
            candidate = self.seen_item[draw]
            negative_T[undecided] = candidate
            pair = user_T[undecided] * self.num_items + candidate
            index = torch.searchsorted(self.seen_pair, pair).clamp_max(len(self.seen_pair) - 1)
            undecided = undecided[self.seen_pair[index] == pair]
        return negative_T
