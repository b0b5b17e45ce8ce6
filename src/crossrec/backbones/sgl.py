"""SGL (Wu, Wang, Feng, He, Chen, Lian, Xie. Self-supervised graph learning for recommendation, SIGIR 2021)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from crossrec.backbones.base import contrast
from crossrec.backbones.lightgcn import LightGCN, LightGCNConfig
from crossrec.graph import bipartite_adjacency, edge_drop, node_drop, propagate_layers, propagate_mean
from crossrec.ops.sparse import SparseMatrix
from crossrec.types import Batch, Representations, TrainingSet


class SGLConfig(LightGCNConfig):
    """Settings of SGL."""

    name: ClassVar[str] = "sgl"
    reg: Annotated[float, Field(ge=0)] = 1e-5
    """Weight of the norms of the ego embeddings."""
    augmentation: Literal["edge_drop", "node_drop", "random_walk"] = "edge_drop"
    """How a view drops part of the graph; random_walk drops other edges in every layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the edges or nodes that a view drops."""
    ssl: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the contrast of the two views."""
    temperature: Annotated[float, Field(gt=0)] = 0.2
    """τ of the contrast."""


class SGL(LightGCN):
    """LightGCN and a contrast of two views: the same tables propagated over two graphs with edges or nodes dropped.

    loss = BPR + reg · EmbLoss of ego vectors + ssl · mean_b (InfoNCE of u_b' among all users'' + of i_b' among all
    items''), by cosine. Both graphs are drawn again before every epoch and normalised by their remaining degrees. Only
    the contrast uses them: BPR and recommending use the whole graph.

    For the alignment: u and i^ID, propagated over the whole graph; no content vectors of its own.
    """

    config_type = SGLConfig

    def __init__(self, config: SGLConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__(config, data, generator)
        self.config = config
        self.edges = (data.user_T, data.item_T)
        # one adjacency per layer and view
        self.views: list[list[SparseMatrix]] = [[self.adjacency] * config.layers] * 2

    def before_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Draw the two views of the epoch."""
        walk = self.config.augmentation == "random_walk"
        self.views = [
            [self._dropped_graph(generator) for _ in range(self.layers)]
            if walk
            else [self._dropped_graph(generator)] * self.layers
            for _ in range(2)
        ]

    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        ego = torch.cat([self.user, self.item])
        sizes = [self.num_users, self.num_items]
        (user1_UL, item1_IL), (user2_UL, item2_IL) = (torch.split(self._propagate(v, ego), sizes) for v in self.views)
        ssl = contrast(user1_UL, user2_UL, batch.users, self.config.temperature)
        ssl = ssl + contrast(item1_IL, item2_IL, batch.items, self.config.temperature)
        return {**super().losses(reps, batch), "ssl": self.config.ssl / len(batch) * ssl}

    def _dropped_graph(self, generator: torch.Generator) -> SparseMatrix:
        if self.config.augmentation == "node_drop":
            edge_index = node_drop(*self.edges, self.num_users, self.num_items, self.config.dropout, generator)
        else:
            edge_index = edge_drop(self.edges[0], self.config.dropout, generator)
        return bipartite_adjacency(self.edges[0][edge_index], self.edges[1][edge_index], self.num_users, self.num_items)

    def _propagate(self, view: list[SparseMatrix], ego: Tensor) -> Tensor:
        if self.config.augmentation == "random_walk":
            return torch.stack(propagate_layers(view, ego)).mean(0)
        return propagate_mean(view[0], ego, self.layers) if view else ego
