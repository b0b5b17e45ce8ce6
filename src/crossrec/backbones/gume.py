"""GUME (Lin, Meng, Wang, Long, Zhou, Xiao. GUME: graphs and user modalities enhancement for long-tail multimodal
recommendation, CIKM 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from crossrec.backbones.base import Backbone, Linear, xavier_table
from crossrec.backbones.mgcn import (
    CommonPart,
    GatedContent,
    MGCNConfig,
    SideRepresentations,
    batch_contrast,
    ranking_terms,
    side_information,
)
from crossrec.graph import bipartite_adjacency, interaction_adjacency, knn, knn_graph, propagate_mean
from crossrec.ops.vectors import gather_rows, l2_normalize
from crossrec.types import Batch, Representations, TrainingSet


class GUMEConfig(MGCNConfig):
    """Settings of GUME."""

    name: ClassVar[str] = "gume"
    layers: Annotated[int, Field(ge=0)] = 3
    """Layers of propagation over the user-item graph."""
    item_layers: Annotated[int, Field(ge=1)] = 2
    """Layers of propagation over each modality's item graph."""
    reg: Annotated[float, Field(ge=0)] = 1e-5
    """Weight of the squared lengths of the batch's vectors."""
    cl: Annotated[float, Field(ge=0)] = 0.01
    """bm: weight of the contrast between side information and ids."""
    temperature: Annotated[float, Field(gt=0)] = 0.4
    """τ of this contrast."""
    um: Annotated[float, Field(ge=0)] = 0.01
    """Weight of the contrasts of the users' modalities."""
    um_temperature: Annotated[float, Field(gt=0)] = 0.1
    """τ of these contrasts."""
    vt: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the differences between the modalities' means and variances."""
    noise: Annotated[float, Field(ge=0)] = 0.1
    """Length of the noise that makes a view of the users' vectors."""
    extended_reg: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the squared lengths of the batch's extended items."""


@dataclass(frozen=True)
class GUMERepresentations(SideRepresentations):
    """Those of MGCN, and what the losses compare: the blocks of each modality and the extended users and items."""

    blocks: tuple[Tensor, ...] = ()
    extended: tuple[Tensor, Tensor] | None = None


class GUME(Backbone):
    """MGCN's side information on a graph in which alike items are linked, with further modalities of the users.

    Items that are among the k nearest of each other in every modality get an edge of the user-item graph; ids pass
    LightGCN on it. The explicit block of a modality is that of MGCN after ``item_layers`` products; side information
    as there. The extended block of a modality is LightGCN of a further user table and the explicit items; extended =
    their mean over modalities. loss = BPR + reg · ½ Σ ‖vectors of the batch‖² / B + cl · (contrast of side and id path,
    items and users) + vt · Σ over pairs of modalities (|difference of variances| + |difference of means|)
    + um · (contrast of extended users and the users' side, and of two noisy views of each)
    + extended_reg · ½ Σ ‖extended items of the batch‖² / B.

    Hands to the alignment: the id path as u and i^ID, and each modality's explicit item block as i^m.
    """

    config_type = GUMEConfig
    multimodal = True
    has_item_graph = True

    def __init__(self, config: GUMEConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__(config, data, generator)
        self.config, self.modalities = config, tuple(data.features)
        self.user = xavier_table(data.num_users, config.dim, generator)
        self.item = xavier_table(data.num_items, config.dim, generator)
        self.extended_user = nn.ParameterList(
            xavier_table(data.num_users, config.dim, generator) for _ in self.modalities
        )
        self.gated = nn.ModuleList(GatedContent(f, config.dim, generator) for f in data.features.values())
        self.common = CommonPart(config.dim, generator)
        self.prefer = nn.ModuleList(Linear(config.dim, config.dim, generator) for _ in self.modalities)
        edges = (data.user_T, data.item_T, data.num_users, data.num_items)
        self.adjacency = bipartite_adjacency(*edges, item_edges=alike_items(list(data.features.values()), config.knn))
        self.interactions = interaction_adjacency(*edges)
        self.item_graphs = [knn_graph(f, config.knn) for f in data.features.values()]
        self.noise_generator: torch.Generator | None = None

    def before_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Take the generator of the noise."""
        self.noise_generator = generator

    def propagate(self) -> GUMERepresentations:
        sizes = [self.num_users, self.num_items]
        id_path = propagate_mean(self.adjacency, torch.cat([self.user, self.item]), self.config.layers)
        blocks = self._explicit()
        preferences = [torch.sigmoid(prefer(id_path)) for prefer in self.prefer]
        side = side_information(self.common(blocks), blocks, preferences)
        extended = None
        if self.training:
            tables = [torch.cat([u, b[self.num_users :]]) for u, b in zip(self.extended_user, blocks, strict=True)]
            mean = torch.stack([propagate_mean(self.adjacency, table, self.config.layers) for table in tables]).mean(0)
            extended = (mean[: self.num_users], mean[self.num_users :])
        user_UL, item_IL = torch.split(id_path, sizes)
        (scoring_UL, scoring_IL), (side_UL, side_IL) = torch.split(id_path + side, sizes), torch.split(side, sizes)
        content = {m: block[self.num_users :] for m, block in zip(self.modalities, blocks, strict=True)}
        return GUMERepresentations(
            user_UL,
            item_IL,
            content,
            (scoring_UL, scoring_IL),
            side=(side_UL, side_IL),
            blocks=tuple(blocks),
            extended=extended,
        )

    def _explicit(self) -> list[Tensor]:
        """Each modality's explicit vectors of users and items, (U + I, L)."""
        blocks = []
        for gated, graph in zip(self.gated, self.item_graphs, strict=True):
            item_IL: Tensor = gated(self.item)
            for _ in range(self.config.item_layers):
                item_IL = graph @ item_IL
            blocks.append(torch.cat([self.interactions @ item_IL, item_IL]))
        return blocks

    def parts(self, reps: Representations) -> dict[str, Tensor]:
        return {"id": reps.item_IL, "content": reps.item_IS - reps.item_IL}

    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        assert isinstance(reps, GUMERepresentations)
        assert reps.side is not None
        assert reps.extended is not None
        config, (user_B, item_B) = self.config, (batch.user_B, batch.item_B)
        side_user, side_item = gather_rows(reps.side[0], user_B), gather_rows(reps.side[1], item_B)
        behaviour = batch_contrast(side_user, gather_rows(reps.user_UL, user_B), config.temperature)
        behaviour = behaviour + batch_contrast(side_item, gather_rows(reps.item_IL, item_B), config.temperature)
        apart = [
            (left.var() - right.var()).abs() + (left.mean() - right.mean()).abs()
            for left, right in combinations(reps.blocks, 2)
        ]
        extended_user, extended_item = gather_rows(reps.extended[0], user_B), gather_rows(reps.extended[1], item_B)
        users = batch_contrast(extended_user, side_user, config.um_temperature)
        for vector in (side_user, extended_user):
            users = users + batch_contrast(self._noisy(vector), self._noisy(vector), config.um_temperature)
        return {
            **ranking_terms(reps, batch, config.reg),
            "bm": config.cl * behaviour,
            "vt": config.vt * (torch.stack(apart).sum() if apart else reps.item_IL[:0].sum()),
            "um": config.um * users,
            "extended_reg": config.extended_reg / 2 / len(batch) * extended_item.square().sum(),
        }

    def _noisy(self, vector_BL: Tensor) -> Tensor:
        """x + noise · sign(x) ⊙ (uniform noise of length 1), from the epoch's generator."""
        generator = self.noise_generator
        device = vector_BL.device if generator is None else generator.device
        uniform = torch.rand(vector_BL.shape, generator=generator, dtype=vector_BL.dtype, device=device)
        return vector_BL + self.config.noise * vector_BL.detach().sign() * l2_normalize(uniform.to(vector_BL.device))


def alike_items(features: list[Tensor], k: int) -> tuple[Tensor, Tensor]:
    """Pairs (i, j), i ≠ j, where j is among the ``k`` nearest of i in every modality: int64 (E,) each."""
    count = len(features[0])
    codes: Tensor | None = None
    for feature in features:
        index_IK, cosine_IK = knn(feature, k)
        row = torch.arange(count, device=feature.device).unsqueeze(1).expand_as(index_IK)
        near = (index_IK != row) & (cosine_IK > 0)
        own = row[near] * count + index_IK[near]
        codes = own if codes is None else codes[torch.isin(codes, own)]
    assert codes is not None
    return codes // count, codes % count
