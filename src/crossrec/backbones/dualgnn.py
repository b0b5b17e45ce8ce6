"""DualGNN (Wang, Wei, Yin, Wu, Song, Nie. DualGNN: dual graph neural network for multimedia recommendation, IEEE
Transactions on Multimedia 2021)."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from crossrec.backbones.base import Backbone, BackboneConfig, FeatureMLP, content_encoders, gather_batch, xavier_table
from crossrec.backbones.content_encoder import ContentEncoder
from crossrec.config import Layers, Neighbors
from crossrec.graph import bipartite_adjacency, co_interaction_graph, propagate_layers, sum_adjacency
from crossrec.losses import bpr
from crossrec.ops.vectors import gather_rows, l2_normalize
from crossrec.types import Batch, Representations, TrainingSet


class DualGNNConfig(BackboneConfig):
    """Settings of DualGNN."""

    name: ClassVar[str] = "dualgnn"
    layers: Layers = 2
    """Layers of propagation over the user-item graph."""
    aggregation: Literal["sym", "sum"] = "sym"
    """Weights of the neighbours in a sum: sym 1 / √(product of both degrees), sum 1."""
    user_neighbors: Neighbors = 40
    """Neighbours of a user in the user graph: those with most items in common."""
    reg: Annotated[float, Field(ge=0)] = 1e-3
    """Weight of the mean squares of preferences and fusion weights."""


class DualGNN(Backbone):
    """Content propagated per modality over the user-item graph, fused by weights of each user, shared with like users.

    Per modality m: items are Linear_L(leaky ReLU(Linear_4L(feature_m))), users a table of preferences, both
    L2-normalised; x^m = Σ_l A^l x, a sum over layers and neighbours. Item = Σ_m x_i^m. User h_u = Σ_m w_um x_u^m with
    learned w, then h_u + Σ_v softmax_v(items in common with v) h_v over the users with most items in common.
    loss = mean -log2 σ(positive - negative) + reg · (Σ_m mean square of the batch's preferences + mean square of w).

    For the alignment: u and i^ID as scored with, the fused ones (there is no id table), and per modality
    i^m = x_i^m, the propagated item vectors.
    """

    config_type = DualGNNConfig
    weighs_pairs = True
    multimodal = True

    def __init__(self, config: DualGNNConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__(config, data, generator)
        self.config, self.modalities = config, tuple(data.features)
        widths = (4 * config.dim, config.dim)
        self.content = nn.ModuleList(FeatureMLP(f, widths, generator) for f in data.features.values())
        self.preference = nn.ParameterList(xavier_table(self.num_users, config.dim, generator) for _ in data.features)
        weight_UM = xavier_table(self.num_users, len(data.features), generator)
        self.fusion = nn.Parameter(weight_UM.detach().softmax(1))
        edges = (data.user_T, data.item_T, data.num_users, data.num_items)
        self.adjacency = (bipartite_adjacency if config.aggregation == "sym" else sum_adjacency)(*edges)
        self.user_graph = co_interaction_graph(*edges, config.user_neighbors)

    def propagate(self) -> Representations:
        users = [l2_normalize(table) for table in self.preference]
        items = [l2_normalize(content()) for content in self.content]
        # all modalities side by side, so that one propagation serves them all
        ego = torch.cat([torch.cat(users, dim=1), torch.cat(items, dim=1)])
        total = torch.stack(propagate_layers([self.adjacency] * self.config.layers, ego)).sum(0)
        user_US, item_IS = torch.split(total, [self.num_users, self.num_items])
        user_UML = user_US.view(self.num_users, len(users), -1)
        fused_UL = (self.fusion.unsqueeze(2) * user_UML).sum(1)
        parts = item_IS.chunk(len(items), dim=1)
        item_IL = item_IS.view(self.num_items, len(items), -1).sum(1)
        return Representations(
            fused_UL + self.user_graph @ fused_UL, item_IL, dict(zip(self.modalities, parts, strict=True))
        )

    def parts(self, reps: Representations) -> dict[str, Tensor]:
        return dict(reps.modality_IL)

    def content_encoders(self) -> dict[str, ContentEncoder]:
        return content_encoders(self.modalities, self.content, unit_output=True)

    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        user_BL, positive_BL, negative_BL = gather_batch(reps.user_UL, reps.item_IL, batch)
        squares = self.fusion.square().mean()
        for table in self.preference:
            squares = squares + gather_rows(table, batch.user_B).square().mean()
        return {
            "bpr": bpr((user_BL * positive_BL).sum(-1), (user_BL * negative_BL).sum(-1), batch.weight_B) / math.log(2),
            "reg": self.config.reg * squares,
        }
