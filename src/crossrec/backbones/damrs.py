"""DA-MRS on LightGCN (Xv, Li, Lin, Li, Du, Liao, Sun, Chen. Improving multi-modal recommender systems by denoising and
aligning multi-modal content and user feedback, KDD 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from crossrec.backbones.base import Backbone, BackboneConfig, negatives, xavier_table
from crossrec.config import Layers, Neighbors
from crossrec.graph import agreed_knn_graph, bipartite_adjacency, co_occurrence_graph, propagate_mean
from crossrec.losses import graded_neighbor_loss, symmetric_kl, weighted_mean
from crossrec.ops.vectors import gather_rows, l2_normalize
from crossrec.types import Batch, Representations, TrainingSet


class DAMRSConfig(BackboneConfig):
    """Settings of DA-MRS on LightGCN."""

    name: ClassVar[str] = "damrs"
    layers: Layers = 2
    """Layers of propagation over the user-item graph."""
    knn: Neighbors = 10
    """Most similar items per item and modality, itself included."""
    denoise: bool = True
    """Weight each pair of the BPR loss by how far the item graphs agree on it."""
    neighbor_items: Neighbors = 10
    """Positive items, and next ones, of an item in the neighbour term."""
    neighbor_weight: Annotated[float, Field(ge=0)] = 0.001
    """Weight of the neighbour term of each item graph."""
    neighbor_temperature: Annotated[float, Field(gt=0)] = 0.2
    """τ of the neighbour term."""
    kl: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the divergence between preferences by behaviour and by the item graphs."""


@dataclass(frozen=True)
class GraphRepresentations(Representations):
    """Vectors to score with, LightGCN's items, and the items of each item graph, (I, L) each."""

    behavior_IL: Tensor | None = None
    graph_items: tuple[Tensor, ...] = ()


class DAMRS(Backbone):
    """LightGCN with item graphs by content and by co-occurrence, a denoised BPR loss and two alignment losses.

    h_g = item graph g · id table; item = LightGCN item + mean_g h_g. The graphs: per modality the kNN graph without the
    edges that some modality finds less similar than its average pair, and the co-occurrence graph with loops.
    p_g = σ(u · h_g / ‖h_g‖) is the preference of a pair by graph g. loss = mean_b [ w_b softplus(neg - pos) + v_b
    softplus(pos - neg) ] with w = mean_g p_g · exp(-2 Var_g p_g), and v = max_b(mean p) - mean p where a pair's mean is
    below the negatives' mean, else 0; + neighbor_weight · Σ_g neighbour term of g + kl · symmetric KL of σ(u · i/‖i‖)
    and σ(u · h/‖h‖), h = mean_g h_g, over the batch's distinct users × items.

    Hands to the alignment: u and i^ID as scored with, and each modality's h_g as i^m.
    """

    config_type = DAMRSConfig
    weighs_pairs = True
    multimodal = True
    has_item_graph = True

    def __init__(self, config: DAMRSConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__(config, data, generator)
        self.config, self.modalities = config, tuple(data.features)
        self.user = xavier_table(data.num_users, config.dim, generator)
        self.item = xavier_table(data.num_items, config.dim, generator)
        self.adjacency = bipartite_adjacency(data.user_T, data.item_T, data.num_users, data.num_items)
        self.item_graphs = [
            *agreed_knn_graph(list(data.features.values()), config.knn),
            co_occurrence_graph(data.user_T, data.item_T, data.num_users, data.num_items),
        ]

    def propagate(self) -> GraphRepresentations:
        everything = propagate_mean(self.adjacency, torch.cat([self.user, self.item]), self.config.layers)
        user_UL, behavior_IL = torch.split(everything, [self.num_users, self.num_items])
        graph_items = tuple(graph @ self.item for graph in self.item_graphs)
        content = dict(zip(self.modalities, graph_items, strict=False))
        item_IL = behavior_IL + torch.stack(graph_items).mean(0)
        return GraphRepresentations(user_UL, item_IL, content, behavior_IL=behavior_IL, graph_items=graph_items)

    def parts(self, reps: Representations) -> dict[str, Tensor]:
        assert isinstance(reps, GraphRepresentations)
        assert reps.behavior_IL is not None
        return {"id": reps.behavior_IL, "content": reps.item_IL - reps.behavior_IL}

    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        assert isinstance(reps, GraphRepresentations)
        config = self.config
        terms = {"bpr": self._denoised_bpr(reps, batch)}
        item_N = batch.items.value_N
        if config.neighbor_weight:
            terms["neighbors"] = config.neighbor_weight * graded_neighbor_loss(
                [l2_normalize(item) for item in reps.graph_items],
                item_N,
                config.neighbor_items,
                config.neighbor_temperature,
            )
        if config.kl:
            user_NL = gather_rows(reps.user_UL, batch.users.value_N)
            mean_IL = torch.stack(reps.graph_items).mean(0)
            assert reps.behavior_IL is not None
            terms["kl"] = config.kl * symmetric_kl(
                user_NL @ l2_normalize(gather_rows(reps.behavior_IL, item_N)).T,
                user_NL @ l2_normalize(gather_rows(mean_IL, item_N)).T,
            )
        return terms

    def _denoised_bpr(self, reps: GraphRepresentations, batch: Batch) -> Tensor:
        user_BL, negative_B = gather_rows(reps.user_UL, batch.user_B), negatives(batch)
        margin_B = (user_BL * (gather_rows(reps.item_IL, batch.item_B) - gather_rows(reps.item_IL, negative_B))).sum(-1)
        if not self.config.denoise:
            return weighted_mean(F.softplus(-margin_B), batch.weight_B)
        weight_B, reverse_B = confidence(user_BL, reps.graph_items, batch.item_B, negative_B)
        loss_B = weight_B * F.softplus(-margin_B) + reverse_B * F.softplus(margin_B)
        return weighted_mean(loss_B, batch.weight_B)


@torch.no_grad()
def confidence(
    user_BL: Tensor, graph_items: Sequence[Tensor], item_B: Tensor, negative_B: Tensor
) -> tuple[Tensor, Tensor]:
    """Weights of each pair's loss and of its reversed loss, (B,) each; no gradient. The formula: ``DAMRS``."""

    def preference(index_B: Tensor) -> Tensor:
        return torch.stack([torch.sigmoid((user_BL * l2_normalize(h[index_B])).sum(-1)) for h in graph_items])

    preference_GB = preference(item_B)
    mean_B = preference_GB.mean(0)
    weight_B = mean_B * torch.exp(-2 * preference_GB.var(0, correction=0))
    doubtful = mean_B < preference(negative_B).mean()
    return weight_B, torch.where(doubtful, mean_B.max() - mean_B, 0.0)
