"""MGCN (Yu, Tan, Lu, Bao. Multi-view graph convolutional network for multimedia recommendation, ACM MM 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from crossrec.backbones.base import Backbone, BackboneConfig, DecayedConfig, Linear, negatives, xavier_table
from crossrec.config import Layers, Neighbors
from crossrec.graph import bipartite_adjacency, interaction_adjacency, knn_graph, propagate_mean
from crossrec.losses import bpr, info_nce
from crossrec.ops.sparse import SparseMatrix
from crossrec.ops.vectors import gather_rows, l2_normalize
from crossrec.types import Batch, Representations, TrainingSet


class MGCNConfig(DecayedConfig):
    """Settings of MGCN."""

    name: ClassVar[str] = "mgcn"
    layers: Layers = 2
    """Layers of propagation over the user-item graph."""
    item_layers: Annotated[Layers, Field(ge=1)] = 1
    """Layers of propagation over each modality's item graph."""
    knn: Neighbors = 10
    """Most similar items per item and modality, itself included."""
    reg: Annotated[float, Field(ge=0)] = 1e-4
    """Weight of the squared lengths of the batch's vectors."""
    cl: Annotated[float, Field(ge=0)] = 0.01
    """Weight of the contrast between side information and ids."""
    temperature: Annotated[float, Field(gt=0)] = 0.2
    """τ of the contrast."""


@dataclass(frozen=True, kw_only=True)
class SideRepresentations(Representations):
    """The id path, the vectors to score with, and what the losses compare.

    ``side``: the part of the vectors that score that comes from content, of users and of items. ``blocks``: each
    modality's vectors of users and items, (U + I, L).
    """

    side: tuple[Tensor, Tensor]
    blocks: tuple[Tensor, ...]


class GatedContent(nn.Module):
    """One modality's gate σ(W Linear(feature)) on the item ids, (I, L). The raw features are trainable."""

    def __init__(self, feature: Tensor, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.feature = nn.Parameter(feature.clone())
        self.project = Linear(feature.shape[1], dim, generator)
        self.gate = Linear(dim, dim, generator)

    def forward(self, item_IL: Tensor) -> Tensor:
        gated: Tensor = item_IL * torch.sigmoid(self.gate(self.project(self.feature)))
        return gated


class CommonPart(nn.Module):
    """Attention over modalities: Σ_m softmax_m(w · tanh(W x_m + b)) x_m, the part that the modalities share."""

    def __init__(self, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.hidden = Linear(dim, dim, generator)
        self.score = xavier_table(1, dim, generator)

    def forward(self, blocks: Sequence[Tensor]) -> Tensor:
        score_NM = torch.cat([torch.tanh(self.hidden(block)) @ self.score.T for block in blocks], dim=1)
        share_NM = score_NM.softmax(1)
        return torch.stack([share_NM[:, m : m + 1] * block for m, block in enumerate(blocks)]).sum(0)


def side_information(common: Tensor, blocks: Sequence[Tensor], preferences: Sequence[Tensor]) -> Tensor:
    """(c + Σ_m p_m ⊙ (x_m - c)) / (M + 1): the common part and what each modality adds, as the id path prefers it."""
    own = [preference * (block - common) for preference, block in zip(preferences, blocks, strict=True)]
    return torch.stack([common, *own]).sum(0) / (len(blocks) + 1)


def batch_contrast(left_BL: Tensor, right_BL: Tensor, temperature: float) -> Tensor:
    """mean_b -log softmax_c( cos(x_b, y_c) / τ )_b, a scalar: every row of the batch against all rows of the other."""
    own_B = torch.arange(len(left_BL), device=left_BL.device)
    total = info_nce(l2_normalize(left_BL), l2_normalize(right_BL), own_B, temperature=temperature, normalized=True)
    return total / len(left_BL)


class MGCN(Backbone):
    """LightGCN of ids plus side information from content, gated by behaviour.

    A modality's item block is one product of its kNN graph with id ⊙ σ(W Linear(feature)); its user block is the
    normalised user-item matrix times that. With c the common part of the blocks (attention), side =
    (c + Σ_m σ(Linear_m(id path)) ⊙ (block_m - c)) / (M + 1), and users and items score with id path + side.
    loss = BPR + reg · ½ Σ ‖vectors of the batch‖² / B + cl · (contrast of side and id path, over items and over users).

    Hands to the alignment: the id path as u and i^ID, and each modality's item block as i^m.
    """

    config_type: ClassVar[type[BackboneConfig]] = MGCNConfig
    weighs_pairs = True
    config: MGCNConfig
    multimodal = True
    has_item_graph = True

    def __init__(self, config: MGCNConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__(config, data, generator)
        self.config, self.modalities = config, tuple(data.features)
        self.user = xavier_table(data.num_users, config.dim, generator)
        self.item = xavier_table(data.num_items, config.dim, generator)
        self.gated = nn.ModuleList(GatedContent(f, config.dim, generator) for f in data.features.values())
        self.common = CommonPart(config.dim, generator)
        self.prefer = nn.ModuleList(Linear(config.dim, config.dim, generator) for _ in self.modalities)
        self.adjacency = self._user_item_graph(data)
        self.interactions = interaction_adjacency(data.user_T, data.item_T, data.num_users, data.num_items)
        self.item_graphs = [knn_graph(f, config.knn) for f in data.features.values()]

    def _user_item_graph(self, data: TrainingSet) -> SparseMatrix:
        """The graph that ids are propagated over."""
        return bipartite_adjacency(data.user_T, data.item_T, data.num_users, data.num_items)

    def propagate(self) -> SideRepresentations:
        id_path = propagate_mean(self.adjacency, torch.cat([self.user, self.item]), self.config.layers)
        items = self._item_blocks()
        blocks = [torch.cat([self.interactions @ item_IL, item_IL]) for item_IL in items]
        preferences = [torch.sigmoid(prefer(id_path)) for prefer in self.prefer]
        side = side_information(self.common(blocks), blocks, preferences)
        sizes = [self.num_users, self.num_items]
        (user_UL, item_IL), (side_UL, side_IL) = torch.split(id_path, sizes), torch.split(side, sizes)
        return SideRepresentations(
            user_UL=user_UL,
            item_IL=item_IL,
            modality_IL=dict(zip(self.modalities, items, strict=True)),
            scoring=(user_UL + side_UL, item_IL + side_IL),
            side=(side_UL, side_IL),
            blocks=tuple(blocks),
        )

    def _item_blocks(self) -> list[Tensor]:
        """Each modality's vectors of items, (I, L)."""
        blocks = []
        for gated, graph in zip(self.gated, self.item_graphs, strict=True):
            item_IL: Tensor = gated(self.item)
            for _ in range(self.config.item_layers):
                item_IL = graph @ item_IL
            blocks.append(item_IL)
        return blocks

    def parts(self, reps: Representations) -> dict[str, Tensor]:
        return {"id": reps.item_IL, "content": reps.item_IS - reps.item_IL}

    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        assert isinstance(reps, SideRepresentations)
        terms = ranking_terms(reps, batch, self.config.reg)
        contrasts = [
            batch_contrast(gather_rows(side, index_B), gather_rows(ids, index_B), self.config.temperature)
            for side, ids, index_B in zip(
                reps.side, (reps.user_UL, reps.item_IL), (batch.user_B, batch.item_B), strict=True
            )
        ]
        return {**terms, "cl": self.config.cl * torch.stack(contrasts).sum()}


def ranking_terms(reps: Representations, batch: Batch, reg: float) -> Mapping[str, Tensor]:
    """BPR of the vectors that score, and reg · ½ Σ ‖·‖² / B of the batch's users, positives and negatives."""
    user_BS = gather_rows(reps.user_US, batch.user_B)
    positive_BS, negative_BS = gather_rows(reps.item_IS, torch.cat([batch.item_B, negatives(batch)])).chunk(2)
    squares = user_BS.square().sum() + positive_BS.square().sum() + negative_BS.square().sum()
    return {
        "bpr": bpr((user_BS * positive_BS).sum(-1), (user_BS * negative_BS).sum(-1), batch.weight_B),
        "reg": reg / 2 / len(batch) * squares,
    }
