"""A small data set with all awkward cases, and the training loop of the contract tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from crossrec.alignment import CrossConfig
from crossrec.backbones import BACKBONES, Backbone
from crossrec.objective import Objective
from crossrec.randomness import torch_generator
from crossrec.sampling import Sampler
from crossrec.types import Batch, TrainingSet

USERS, ITEMS, DIM = 14, 18, 8
NAMES = ("sound", "scent", "touch")
ALONE_USER, ALONE_ITEM, SILENT_ITEM = USERS - 1, ITEMS - 1, 3
"""A user and an item without any training interaction, and an item without a single feature."""


def world(modalities: int = 2) -> TrainingSet:
    """About 60 distinct training pairs in two communities, with 5, 6, 7 feature columns for the modalities."""
    draw = torch.Generator().manual_seed(11)
    user_P, item_P = torch.meshgrid(torch.arange(ALONE_USER), torch.arange(ALONE_ITEM), indexing="ij")
    likely = torch.where(user_P % 2 == item_P % 2, 0.5, 0.1)
    is_observed = torch.rand(likely.shape, generator=draw) < likely
    is_observed[:, SILENT_ITEM] |= torch.arange(ALONE_USER) % 4 == 1
    is_observed[torch.arange(ALONE_USER), torch.arange(ALONE_USER)] = True
    features = {}
    for width, name in zip((5, 6, 7), NAMES[:modalities], strict=False):
        feature = torch.randn(ITEMS, width, generator=draw)
        feature[SILENT_ITEM] = 0
        features[name] = feature
    return TrainingSet(USERS, ITEMS, user_P[is_observed], item_P[is_observed], features)


def backbone(name: str, data: TrainingSet, seed: int = 0, **settings: Any) -> Backbone:
    kind = BACKBONES[name]
    return kind(kind.config_type(dim=DIM, **settings), data, torch_generator(seed, "backbone"))


def objective(name: str, data: TrainingSet, alignment: CrossConfig | None, seed: int = 0, **settings: Any) -> Objective:
    return Objective(BACKBONES[name].config_type(dim=DIM, **settings), alignment, data, seed)


def batches(data: TrainingSet, seed: int = 0, size: int = 16) -> list[Batch]:
    """The batches of one epoch."""
    return list(Sampler(data, size).epoch(torch_generator(seed, "sampling")))


def train(model: Objective, data: TrainingSet, epochs: int = 2) -> list[dict[str, float]]:
    """Train in a plain loop, independent of ``fit``. Returns every term of every step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    generator, seen = torch_generator(0, "epoch"), []
    model.train()
    for epoch in range(1, epochs + 1):
        model.backbone.before_epoch(epoch, generator)
        for batch in batches(data, seed=epoch):
            terms, loss = model(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append({name: value.item() for name, value in terms.items()} | {"loss": loss.item()})
    return seen


def scores(model: Backbone) -> Tensor:
    """Scores of a backbone, (U, I)."""
    model.eval()
    with torch.no_grad():
        reps = model.propagate()
        return reps.user_US @ reps.item_IS.T


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Whether two sets of tensors are bit-equal."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
