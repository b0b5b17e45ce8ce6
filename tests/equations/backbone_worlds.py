"""A small user-item graph with content for its items, and backbones on it in float64."""

from __future__ import annotations

from typing import Any

import torch

from crossrec.backbones import BACKBONES
from crossrec.types import Batch, TrainingSet

from . import reference as ref
from .worlds import generator, numbers, randn

USERS, ITEMS = 4, 5
EDGES = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (3, 3)]  # item 4 has none
EDGE_T = torch.tensor(EDGES).T.contiguous()
FEATURES = {"sound": randn(1, ITEMS, 4), "scent": randn(2, ITEMS, 2)}
BATCH = Batch(torch.tensor([0, 1, 0, 3]), torch.tensor([0, 2, 0, 3]), torch.tensor([4, 3, 3, 0]))


def dense(matrix):
    """The matrix written out, as its product with the identity."""
    return matrix @ torch.eye(matrix.shape[1], dtype=torch.float64)


def backbone(name: str, features: dict[str, torch.Tensor] | None = None, dim: int = 3, **settings: Any):
    """A backbone with normal parameters, and the same numbers by their names."""
    content = {name: f.float() for name, f in (FEATURES if features is None else features).items()}
    data = TrainingSet(USERS, ITEMS, *EDGE_T, content)
    model = BACKBONES[name](BACKBONES[name].config_type(dim=dim, **settings), data, generator(1)).double()
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.copy_(randn(20 + number, *parameter.shape))
    return model, {key: numbers(value) for key, value in model.state_dict().items()}


def score(user, item, users, items):
    return [ref.dot(user[u], item[i]) for u, i in zip(users.tolist(), items.tolist(), strict=True)]


def expected_bpr(user, item):
    return ref.bpr(score(user, item, BATCH.user_B, BATCH.item_B), score(user, item, BATCH.user_B, BATCH.negative_B))


def expected_norm(user, item):
    picked = (user, BATCH.user_B), (item, BATCH.item_B), (item, BATCH.negative_B)
    return ref.embedding_norm(*[[table[at] for at in index.tolist()] for table, index in picked])
