"""PGL, local (Yu, Tan, Bao. Mind individual information! Principal graph learning for multimedia recommendation,
AAAI 2025)."""

from __future__ import annotations

from typing import Annotated, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from crossrec.backbones.base import Backbone, DecayedConfig, negatives, xavier_table
from crossrec.backbones.content_encoder import ContentEncoder
from crossrec.backbones.freedom import item_graph
from crossrec.backbones.mgcn import batch_contrast
from crossrec.config import Layers, Neighbors
from crossrec.graph import bipartite_adjacency, degree_sensitive_sample, modality_shares, propagate_mean
from crossrec.losses import bpr
from crossrec.ops.vectors import gather_rows, l2_normalize
from crossrec.types import Batch, Representations, TrainingSet


class PGLConfig(DecayedConfig):
    """Settings of PGL."""

    name: ClassVar[str] = "pgl"
    layers: Layers = 2
    """Layers of propagation over the user-item graph."""
    item_layers: Layers = 1
    """Layers of propagation over the item graph."""
    knn: Neighbors = 10
    """Most similar items per item and modality, itself included."""
    pruned: Annotated[float, Field(ge=0, lt=1)] = 0.7
    """Share of the interactions that training leaves out of an epoch's graph."""
    modality_weights: dict[str, Annotated[float, Field(ge=0)]] | None = None
    """Share of each modality in the item graph, e.g. image 0.1 and text 0.9; equal unless given."""
    ssl: Annotated[float, Field(ge=0)] = 0.05
    """Weight of the contrast between two dropped-out copies of the batch's vectors."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the entries that a copy drops."""
    temperature: Annotated[float, Field(gt=0)] = 0.2
    """τ of the contrast."""


class PGL(Backbone):
    """LightGCN over users and the content of items, without item ids, trained on a principal subgraph.

    Users have one table per modality; an item's block of a modality is W_m feature_m of length 1, features trainable.
    Blocks stand side by side, (·, L·M). Training propagates over the edges that are left of an epoch's draw, with
    probability ∝ 1/√(d_u d_i) and normalised again; recommending uses all edges. Item = propagated + item graph ·
    block, with FREEDOM's graph of similar items. loss = BPR + ssl · (contrast of two dropped-out copies of the batch's
    users, and of its items).

    Hands to the alignment: the mean over its blocks of the vectors it scores with as u and i^ID, and the item blocks
    before propagation as i^m (docs/deviations.md).
    """

    config_type = PGLConfig
    weighs_pairs = True
    multimodal = True
    has_item_graph = True

    def __init__(self, config: PGLConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__(config, data, generator)
        self.config, self.modalities = config, tuple(data.features)
        self.user = nn.Parameter(
            torch.cat([xavier_table(data.num_users, config.dim, generator).data for _ in self.modalities], dim=1)
        )
        self.feature = nn.ParameterList(f.clone() for f in data.features.values())
        self.weight = nn.ParameterList(xavier_table(config.dim, f.shape[1], generator) for f in data.features.values())
        self.edges = (data.user_T, data.item_T)
        self.adjacency = bipartite_adjacency(*self.edges, self.num_users, self.num_items)
        self.principal = self.adjacency
        shares = modality_shares(config.modality_weights, self.modalities, "--modality-weights")
        self.item_graph = item_graph(data.features, config.knn, shares)
        self.dropout_generator: torch.Generator | None = None

    def before_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Draw the edges of the principal subgraph anew."""
        self.dropout_generator = generator
        if self.config.pruned:
            edge = degree_sensitive_sample(*self.edges, 1 - self.config.pruned, generator)
            self.principal = bipartite_adjacency(
                self.edges[0][edge], self.edges[1][edge], self.num_users, self.num_items
            )

    def propagate(self) -> Representations:
        adjacency = self.principal if self.training else self.adjacency
        content = self._content()
        block_IS = torch.cat(list(content.values()), dim=1)
        everything = propagate_mean(adjacency, torch.cat([self.user, block_IS]), self.config.layers)
        user_US, item_IS = torch.split(everything, [self.num_users, self.num_items])
        item_IS = item_IS + self._similar(block_IS)
        return Representations(self._mean_block(user_US), self._mean_block(item_IS), content, (user_US, item_IS))

    def _content(self) -> dict[str, Tensor]:
        vectors = (l2_normalize(f @ w.T) for f, w in zip(self.feature, self.weight, strict=True))
        return dict(zip(self.modalities, vectors, strict=True))

    def _similar(self, block_IS: Tensor) -> Tensor:
        for _ in range(self.config.item_layers):
            block_IS = self.item_graph @ block_IS
        return block_IS

    def _mean_block(self, vector_NS: Tensor) -> Tensor:
        return torch.stack(vector_NS.chunk(len(self.modalities), dim=1)).mean(0)

    def content_encoders(self) -> dict[str, ContentEncoder]:
        weights = dict(zip(self.modalities, cast(list[Tensor], self.weight), strict=True))
        return {m: ContentEncoder((weight,), unit_output=True) for m, weight in weights.items()}

    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        user_BS = gather_rows(reps.user_US, batch.user_B)
        positive_BS, negative_BS = gather_rows(reps.item_IS, torch.cat([batch.item_B, negatives(batch)])).chunk(2)
        terms = {"bpr": bpr((user_BS * positive_BS).sum(-1), (user_BS * negative_BS).sum(-1), batch.weight_B)}
        if self.config.ssl:
            contrasts = [
                batch_contrast(self._dropped(vector), self._dropped(vector), self.config.temperature)
                for vector in (user_BS, positive_BS)
            ]
            terms["ssl"] = self.config.ssl * torch.stack(contrasts).sum()
        return terms

    def _dropped(self, vector_BS: Tensor) -> Tensor:
        """A copy with a share of the entries set to zero and the others scaled up, from the epoch's generator."""
        if not self.config.dropout:
            return vector_BS
        generator, keep = self.dropout_generator, 1 - self.config.dropout
        device = vector_BS.device if generator is None else generator.device
        uniform = torch.rand(vector_BS.shape, generator=generator, dtype=vector_BS.dtype, device=device)
        return vector_BS * (uniform.to(vector_BS.device) < keep) / keep
