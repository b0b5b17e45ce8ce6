"""LATTICE (Zhang, Zhu, Liu, Wu, Wang, Wang. Mining latent structures for multimedia recommendation, ACM MM 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from crossrec.backbones.base import (
    Backbone,
    DecayedConfig,
    FeatureMLP,
    LazyTensors,
    content_encoders,
    gather_batch,
    xavier_table,
)
from crossrec.backbones.content_encoder import ContentEncoder
from crossrec.config import Layers, Neighbors
from crossrec.graph import knn, mean_adjacency, propagate_mean
from crossrec.losses import bpr
from crossrec.ops.sparse import SparsePattern
from crossrec.ops.vectors import gather_rows, l2_normalize
from crossrec.types import ID, Batch, Representations, TrainingSet


class LATTICEConfig(DecayedConfig):
    """Settings of LATTICE."""

    name: ClassVar[str] = "lattice"
    layers: Layers = 2
    """Layers of propagation over the user-item graph."""
    item_layers: Annotated[Layers, Field(ge=1)] = 1
    """Layers of propagation over the item graph."""
    knn: Neighbors = 10
    """Most similar items per item, modality and graph, itself included."""
    original: Annotated[float, Field(ge=0, le=1)] = 0.9
    """λ, share of the graph of the raw features; the rest is that of the learned one."""
    reg: Annotated[float, Field(ge=0)] = 1e-3
    """Weight of the squared lengths of the batch's vectors."""
    original_normalization: Literal["sum", "modality"] | None = None
    """What is normalised of the raw features' graphs: their weighted sum, or each modality's before it is weighted, as
    in the authors' code; the sum unless given."""
    trainable_features: bool | None = None
    """Train the raw features, as the authors' code does; they are constant unless given."""


class LATTICE(Backbone):
    """An item graph learned from content, ids propagated over it and added to a graph convolution of users and items.

    graph = (1-λ) learned + λ original, each sym(Σ_m w_m S^m): S^m has an item's k largest cosines, of the projected
    features Linear(feature_m) or of the raw ones, negative ones set to zero; w = softmax of learned logits; sym(S) =
    D^-1/2 S D^-1/2 with D the row sums. With ``original_normalization`` "modality" the original is Σ_m w_m sym(S^m).
    h = graph · id table. Users and items: mean of the layers of propagation with D^-1 (A + 1); item += h / ‖h‖.
    loss = BPR + reg · ½ Σ ‖vectors of the batch that score‖² / B.

    The first step of every epoch rebuilds the learned graph, with gradient for projections and weights; it is constant
    until the next epoch. The graph is part of the state, so that a reloaded model recommends the same. An item without
    the feature has no edge in that modality.

    For the alignment: u and i^ID as scored with, and per modality i^m = Linear(feature_m).
    """

    config_type = LATTICEConfig
    weighs_pairs = True
    multimodal = True
    has_item_graph = True
    has_MI: Tensor
    original_index: Tensor
    original_value: Tensor
    graph_index: Tensor
    graph_value: Tensor

    def __init__(self, config: LATTICEConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__(config, data, generator)
        self.config, self.modalities = config, tuple(data.features)
        self.user = xavier_table(data.num_users, config.dim, generator)
        self.item = xavier_table(data.num_items, config.dim, generator)
        self.content = nn.ModuleList(
            FeatureMLP(f, (config.dim,), generator, trainable=bool(config.trainable_features))
            for f in data.features.values()
        )
        self.modality_logit = nn.Parameter(torch.zeros(len(data.features)))
        self.adjacency = mean_adjacency(data.user_T, data.item_T, data.num_users, data.num_items)
        neighbors = [knn(f, config.knn) for f in data.features.values()]
        values = [cosine_IK.clamp_min(0).to(torch.get_default_dtype()) for _, cosine_IK in neighbors]
        if config.original_normalization == "modality":
            values = [_symmetric(index_IK, value) for (index_IK, _), value in zip(neighbors, values, strict=True)]
        # (I, |M| k): neighbours by modality, side by side
        self.register_buffer("original_index", torch.cat([index for index, _ in neighbors], dim=1), persistent=False)
        self.register_buffer("original_value", torch.cat(values, dim=1), persistent=False)
        has_MI = torch.stack([(f != 0).any(1) for f in data.features.values()])
        self.register_buffer("has_MI", has_MI, persistent=False)
        self.rebuild = False
        self.to(data.user_T.device)  # initial values are drawn on the CPU
        with torch.no_grad():
            index, value = self.mixed_graph(self._content())
        self.register_buffer("graph_index", index)
        self.register_buffer("graph_value", value)
        self.frozen = self._pattern(index).matrix(value.flatten())
        self.register_load_state_dict_post_hook(_take_graph_from_state)  # type: ignore[no-untyped-call]

    def before_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Let the next step rebuild the item graph."""
        self.rebuild = True

    def propagate(self) -> Representations:
        content = self._content()
        if self.rebuild and self.training and torch.is_grad_enabled():
            index_IK, value_IK = self.mixed_graph(content)
            pattern = self._pattern(index_IK)
            similar_IL: Tensor = self.item
            for _ in range(self.config.item_layers):
                similar_IL = pattern.product(value_IK.flatten(), similar_IL)
            self.graph_index.copy_(index_IK)
            self.graph_value.copy_(value_IK.detach())
            self.frozen, self.rebuild = pattern.matrix(value_IK.flatten()), False
        else:
            similar_IL = self._similar()
        everything = propagate_mean(self.adjacency, torch.cat([self.user, self.item]), self.config.layers)
        user_UL, item_IL = torch.split(everything, [self.num_users, self.num_items])
        return Representations(user_UL, item_IL + l2_normalize(similar_IL), content)

    def _similar(self) -> Tensor:
        similar_IL: Tensor = self.item
        for _ in range(self.config.item_layers):
            similar_IL = self.frozen @ similar_IL
        return similar_IL

    def parts(self, reps: Representations) -> dict[str, Tensor]:
        similar_IL = l2_normalize(self._similar())
        return {ID: reps.item_IL - similar_IL, "content": similar_IL}

    def content_encoders(self) -> dict[str, ContentEncoder]:
        return content_encoders(self.modalities, self.content)

    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        user_BL, positive_BL, negative_BL = gather_batch(reps.user_UL, reps.item_IL, batch)
        squares = user_BL.square().sum() + positive_BL.square().sum() + negative_BL.square().sum()
        return {
            "bpr": bpr((user_BL * positive_BL).sum(-1), (user_BL * negative_BL).sum(-1), batch.weight_B),
            "reg": self.config.reg / 2 / len(batch) * squares,
        }

    def mixed_graph(self, content: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The item graph of the current projections and weights: columns and values, (I, 2 |M| k) each.

        First the learned part, then the original one. A column may occur several times in a row; its values add up.
        Differentiable in the values.
        """
        share_M = self.modality_logit.softmax(0)
        learned = [self._neighbors(content[m], has_I) for m, has_I in zip(self.modalities, self.has_MI, strict=True)]
        index_IK = torch.cat([index for index, _ in learned], dim=1)
        cosine_IK = torch.cat([cosine for _, cosine in learned], dim=1)
        share_K = share_M.repeat_interleave(index_IK.shape[1] // len(learned))
        original_IK = share_K * self.original_value
        if self.config.original_normalization != "modality":
            original_IK = _symmetric(self.original_index, original_IK)
        mixed = self.config.original
        values = [(1 - mixed) * _symmetric(index_IK, share_K * cosine_IK), mixed * original_IK]
        return torch.cat([index_IK, self.original_index], dim=1), torch.cat(values, dim=1)

    def _neighbors(self, content_IL: Tensor, has_I: Tensor) -> tuple[Tensor, Tensor]:
        """The k items of highest cosine, (I, k), and the cosines with gradient, zero where they are not positive."""
        unit_IL = l2_normalize(content_IL) * has_I.unsqueeze(1)
        index_IK, knn_cosine_IK = knn(unit_IL.detach(), self.config.knn)
        cosine_IK = self._pattern(index_IK).dots(unit_IL, unit_IL).view(index_IK.shape)
        return index_IK, torch.where(knn_cosine_IK > 0, cosine_IK, 0.0)

    def _pattern(self, index_IK: Tensor) -> SparsePattern:
        count, width = index_IK.shape
        row_E = torch.arange(count, device=index_IK.device).repeat_interleave(width)
        return SparsePattern(row_E, index_IK.flatten(), count, count)

    def _content(self) -> LazyTensors:
        return LazyTensors(dict(zip(self.modalities, self.content, strict=True)))


def _symmetric(index_IK: Tensor, value_IK: Tensor) -> Tensor:
    """D^-1/2 S D^-1/2, (I, K), of a graph with values S at columns ``index_IK``; D its row sums. No edges: zeros."""
    degree_I = value_IK.sum(1, keepdim=True)
    inverse_root_I = torch.where(degree_I > 0, degree_I.clamp_min(1e-12).rsqrt(), 0.0)
    other_IK = gather_rows(inverse_root_I, index_IK.flatten()).view(index_IK.shape)
    return inverse_root_I * value_IK * other_IK


def _take_graph_from_state(backbone: LATTICE, _: object) -> None:
    pattern = backbone._pattern(backbone.graph_index)
    backbone.frozen = pattern.matrix(backbone.graph_value.flatten())
