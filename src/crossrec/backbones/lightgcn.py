"""LightGCN (He, Deng, Wang, Li, Zhang, Wang. LightGCN: simplifying and powering GCN for recommendation, SIGIR 2020)."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from crossrec.backbones.base import Backbone, BackboneConfig, gather_batch, xavier_table
from crossrec.config import Layers
from crossrec.graph import bipartite_adjacency, propagate_mean
from crossrec.losses import bpr, embedding_norm
from crossrec.types import Batch, Representations, TrainingSet


class LightGCNConfig(BackboneConfig):
    """Settings of LightGCN."""

    name: ClassVar[str] = "lightgcn"
    layers: Layers = 3
    """Layers of propagation."""
    reg: Annotated[float, Field(ge=0)] = 1e-4
    """Weight of the norms of the ego embeddings."""


class LightGCN(Backbone):
    """Mean of layers 0 … k of linear propagation over the user-item graph; loss = BPR + reg · EmbLoss of ego vectors.

    For the alignment: u and i^ID, the propagated vectors it scores with; no content vectors of its own.
    """

    config_type = LightGCNConfig
    weighs_pairs = True
    divides_columns = True

    def __init__(self, config: LightGCNConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__(config, data, generator)
        self.layers, self.reg = config.layers, config.reg
        self.user = xavier_table(data.num_users, config.dim, generator)
        self.item = xavier_table(data.num_items, config.dim, generator)
        self.adjacency = bipartite_adjacency(data.user_T, data.item_T, data.num_users, data.num_items)

    def propagate(self) -> Representations:
        everything = propagate_mean(self.adjacency, torch.cat([self.user, self.item]), self.layers)
        user_UL, item_IL = torch.split(everything, [self.num_users, self.num_items])
        return Representations(user_UL, item_IL, columns=self.columns)

    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        user_BL, positive_BL, negative_BL = gather_batch(reps.user_UL, reps.item_IL, batch, reps.columns)
        return {
            "bpr": bpr((user_BL * positive_BL).sum(-1), (user_BL * negative_BL).sum(-1), batch.weight_B),
            "reg": self.reg * embedding_norm(*gather_batch(self.user, self.item, batch, reps.columns)),
        }
