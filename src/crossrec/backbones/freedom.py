"""FREEDOM (Zhou and Shen. A tale of two graphs: freezing and denoising graph structures for multimodal recommendation,
ACM MM 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, cast

import numpy as np
import scipy.sparse as sp
import torch
from pydantic import Field
from torch import Tensor, nn

from crossrec.backbones.base import Backbone, BackboneConfig, negatives, xavier_table
from crossrec.backbones.content_encoder import ContentEncoder
from crossrec.config import Layers, Neighbors
from crossrec.graph import bipartite_adjacency, degree_sensitive_sample, knn, modality_shares, propagate_mean
from crossrec.losses import bpr
from crossrec.ops.sparse import SparseMatrix
from crossrec.ops.vectors import gather_rows
from crossrec.types import ID, Batch, Representations, TrainingSet


class FREEDOMConfig(BackboneConfig):
    """Settings of FREEDOM."""

    name: ClassVar[str] = "freedom"
    layers: Layers = 2
    """Layers of propagation over the user-item graph."""
    item_layers: Layers = 1
    """Layers of propagation over the item graph."""
    knn: Neighbors = 10
    """Most similar items per item and modality, the item itself included."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.8
    """Share of the interactions that an epoch prunes from the graph."""
    reg: Annotated[float, Field(ge=0)] = 1e-3
    """Weight of the BPR losses of the content modalities."""
    modality_weights: dict[str, Annotated[float, Field(ge=0)]] | None = None
    """Share of each modality in the item graph, e.g. image 0.1 and text 0.9; equal unless given."""


class FREEDOM(Backbone):
    """LightGCN on a graph that is pruned again each epoch, plus ids propagated over a frozen graph of similar items.

    The item graph mixes, per modality, the binary kNN graph by cosine, normalised by row degrees. h = graph · id table;
    item = LightGCN item + h. Training prunes the user-item graph to a 1 - dropout share of its edges, drawn with
    probability ∝ 1/√(d_u d_i); recommending uses all edges. Loss = BPR + reg · Σ_m BPR(u, Linear(feature_m)), and the
    raw features are trainable.

    For the alignment: u and i^ID as scored with, and per modality i^m = Linear(feature_m).
    """

    config_type = FREEDOMConfig
    weighs_pairs = True
    multimodal = True
    has_item_graph = True

    def __init__(self, config: FREEDOMConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__(config, data, generator)
        self.config, self.modalities = config, tuple(data.features)
        self.user = xavier_table(data.num_users, config.dim, generator)
        self.item = xavier_table(data.num_items, config.dim, generator)
        self.content = nn.ModuleDict(
            {f"{m}_feat": TrainableFeatures(f, config.dim, generator) for m, f in data.features.items()}
        )
        self.edges = (data.user_T, data.item_T)
        self.adjacency = bipartite_adjacency(*self.edges, self.num_users, self.num_items)
        self.pruned = self.adjacency
        self.item_graph = item_graph(
            data.features, config.knn, modality_shares(config.modality_weights, self.modalities, "--modality-weights")
        )

    def before_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Prune the user-item graph for the epoch."""
        if self.config.dropout:
            edge_index = degree_sensitive_sample(*self.edges, 1 - self.config.dropout, generator)
            self.pruned = bipartite_adjacency(
                self.edges[0][edge_index], self.edges[1][edge_index], self.num_users, self.num_items
            )

    def propagate(self) -> Representations:
        adjacency = self.pruned if self.training else self.adjacency
        everything = propagate_mean(adjacency, torch.cat([self.user, self.item]), self.config.layers)
        similar_IL = self._similar()
        content = {m: self.content[f"{m}_feat"]() for m in self.modalities}
        user_UL, item_IL = torch.split(everything, [self.num_users, self.num_items])
        return Representations(user_UL, item_IL + similar_IL, content)

    def _similar(self) -> Tensor:
        similar_IL: Tensor = self.item
        for _ in range(self.config.item_layers):
            similar_IL = self.item_graph @ similar_IL
        return similar_IL

    def parts(self, reps: Representations) -> dict[str, Tensor]:
        similar_IL = self._similar()
        return {ID: reps.item_IL - similar_IL, "content": similar_IL}

    def content_encoders(self) -> dict[str, ContentEncoder]:
        content = {m: cast(TrainableFeatures, self.content[f"{m}_feat"]) for m in self.modalities}
        return {m: ContentEncoder((part.weight,), (part.bias,)) for m, part in content.items()}

    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        user_BL, negative_B = gather_rows(reps.user_UL, batch.user_B), negatives(batch)

        def preference(item_IL: Tensor) -> Tensor:
            positive = (user_BL * gather_rows(item_IL, batch.item_B)).sum(-1)
            return bpr(positive, (user_BL * gather_rows(item_IL, negative_B)).sum(-1), batch.weight_B)

        terms = {"bpr": preference(reps.item_IL)}
        for modality, content_IL in reps.modality_IL.items():
            terms[f"bpr_{modality}"] = self.config.reg * preference(content_IL)
        return terms


class TrainableFeatures(nn.Module):
    """Linear map with bias of one modality's features, which are trained too: (I, L).

    The parameter ``feature_ID`` (I, D) keeps its name because ``model.safetensors`` holds it under that name.
    """

    def __init__(self, feature_matrix: Tensor, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.feature_ID = nn.Parameter(feature_matrix.clone())
        self.weight = xavier_table(dim, feature_matrix.shape[1], generator)
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self) -> Tensor:
        return self.feature_ID @ self.weight.T + self.bias


def item_graph(features: Mapping[str, Tensor], k: int, shares: dict[str, float]) -> SparseMatrix:
    """Σ_m share_m · (binary kNN graph of modality m, rows divided by their degree): (I, I), ≤ k · |M| entries a row.

    An item without the feature has itself as its only neighbour in that modality's graph.
    """
    mixed = None
    for modality, feature_matrix in features.items():
        index_IK, _ = knn(feature_matrix, k)
        count, width = index_IK.shape
        row = np.repeat(np.arange(count), width)
        graph = sp.csr_matrix((np.ones(count * width), (row, index_IK.cpu().numpy().ravel())), (count, count))
        graph.data[:] = 1.0  # an item with too few neighbours is listed as its own neighbour several times: one edge
        graph = sp.diags(shares[modality] / np.diff(graph.indptr)) @ graph
        mixed = graph if mixed is None else mixed + graph
    return SparseMatrix.from_scipy(mixed, symmetric=False, device=feature_matrix.device)
