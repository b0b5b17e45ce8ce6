"""Data of the benchmarks: TikTok and Baby where CROSSREC_DATA has them, otherwise generated sets of their sizes."""

from __future__ import annotations

import numpy as np
import torch

from crossrec.data import DataConfig, load
from crossrec.errors import DataError
from crossrec.runs.embeddings import TrainedEmbeddings
from crossrec.runs.execute import training_set
from crossrec.types import TrainingSet

SIZES = {"tiktok": (9308, 6710, 59541, (128, 128)), "baby": (19445, 7050, 118551, ())}
"""Users, items, training pairs, widths of the features."""


def real_or_generated(name: str) -> TrainingSet:
    """The named set, or a generated one of the same size where it is missing."""
    try:
        return training_set(load(DataConfig(data=name)))
    except DataError:
        return generated(*SIZES[name])


def generated(users: int, items: int, pairs: int, widths: tuple[int, ...] = (), seed: int = 0) -> TrainingSet:
    """Long-tailed items and users, up to ``pairs`` distinct pairs; every user and item occurs."""
    draw = torch.Generator().manual_seed(seed)
    rank = torch.arange(1, items + 1, dtype=torch.float64)
    popular = torch.cumsum(rank**-0.7, 0)
    drawn = torch.rand(pairs, generator=draw, dtype=torch.float64) * popular[-1]
    item = torch.searchsorted(popular, drawn).clamp_max(items - 1)
    item[: min(items, pairs)] = torch.arange(min(items, pairs))
    user = (torch.rand(pairs, generator=draw) ** 1.5 * users).long().clamp_max(users - 1)
    user[-min(users, pairs) :] = torch.arange(min(users, pairs))
    pair = torch.unique(user * items + item)
    user, item = pair // items, pair % items
    names = ("image", "text", "audio", "video")
    features = {n: torch.randn(items, w, generator=draw) for n, w in zip(names, widths, strict=False)}
    return TrainingSet(users, items, user, item, features)


def random_vectors(users: int, items: int, width: int, history: int = 20) -> TrainedEmbeddings:
    """Random embeddings of a run; every user has ``history`` items."""
    draw = torch.Generator().manual_seed(0)
    user, item = torch.randn(users, width, generator=draw), torch.randn(items, width, generator=draw)
    seen = np.sort(np.random.default_rng(0).integers(0, items, (users, history)), axis=1).ravel()
    return TrainedEmbeddings(
        backbone="random",
        alignment=None,
        identity="random",
        user_US=user,
        item_IS=item,
        user_UL=user,
        item_IL=item,
        degree_I=torch.ones(items, dtype=torch.int64),
        seen_indptr=torch.arange(users + 1) * history,
        seen_item=torch.from_numpy(seen),
        seen_trained=torch.ones(users * history, dtype=torch.bool),
    )
