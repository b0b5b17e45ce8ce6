"""Matrix factorisation with a bias per item (Koren, Bell, Volinsky. Matrix factorization techniques, Computer 2009)."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from crossrec.backbones.base import Backbone, BackboneConfig, negatives, xavier_table
from crossrec.losses import bpr, embedding_norm
from crossrec.ops.vectors import gather_rows
from crossrec.types import Batch, Representations, TrainingSet


class BiasedMFConfig(BackboneConfig):
    """Settings of BiasedMF: a field is a flag, and its docstring the help."""

    name: ClassVar[str] = "biased"
    reg: Annotated[float, Field(ge=0)] = 1e-3
    """Weight of the embedding norms."""


class BiasedMF(Backbone):
    """score(u, i) = u · i + b_i; loss = BPR + reg · EmbLoss. Hands to the alignment: u and i^ID, the two tables."""

    config_type = BiasedMFConfig

    def __init__(self, config: BiasedMFConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__(config, data, generator)
        self.reg = config.reg
        self.user = xavier_table(data.num_users, config.dim, generator)
        self.item = xavier_table(data.num_items, config.dim, generator)
        self.bias = nn.Parameter(torch.zeros(data.num_items, 1))

    def propagate(self) -> Representations:
        user_US = torch.cat([self.user, torch.ones_like(self.user[:, :1])], dim=1)
        item_IS = torch.cat([self.item, self.bias], dim=1)
        return Representations(self.user, self.item, scoring=(user_US, item_IS))

    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        user_BS = gather_rows(reps.user_US, batch.user_B)
        positive_BS, negative_BS = gather_rows(reps.item_IS, batch.item_B), gather_rows(reps.item_IS, negatives(batch))
        ego = (
            gather_rows(self.user, batch.user_B),
            gather_rows(self.item, batch.item_B),
            gather_rows(self.item, negatives(batch)),
        )
        return {
            "bpr": bpr((user_BS * positive_BS).sum(-1), (user_BS * negative_BS).sum(-1)),
            "reg": self.reg * embedding_norm(*ego),
        }
