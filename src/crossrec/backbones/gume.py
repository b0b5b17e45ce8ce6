"""GUME (Lin, Meng, Wang, Long, Zhou, Xiao. GUME: graphs and user modalities enhancement for long-tail multimodal
recommendation, CIKM 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from crossrec.backbones.base import BackboneConfig, xavier_table
from crossrec.backbones.mgcn import MGCN, MGCNConfig, SideRepresentations, batch_contrast
from crossrec.config import Layers
from crossrec.graph import bipartite_adjacency, knn, propagate_mean
from crossrec.ops.sparse import SparseMatrix
from crossrec.ops.vectors import gather_rows, l2_normalize, zero_like
from crossrec.types import Batch, Representations, TrainingSet


class GUMEConfig(MGCNConfig):
    """Settings of GUME."""

    name: ClassVar[str] = "gume"
    layers: Layers = 3
    """Layers of propagation over the user-item graph."""
    item_layers: Annotated[Layers, Field(ge=1)] = 2
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


@dataclass(frozen=True, kw_only=True)
class GUMERepresentations(SideRepresentations):
    """Representations of MGCN with the extended users and items, (·, L).

    None in ``eval()`` mode, where a loss alone needs them.
    """

    extended: tuple[Tensor, Tensor] | None


class GUME(MGCN):
    """MGCN on a user-item graph with edges between similar items, and with a further user table per modality.

    Items that are among the k nearest of each other in every modality get an edge of the user-item graph; ids pass
    LightGCN on it. The explicit block of a modality is that of MGCN after ``item_layers`` products; side information
    as there. The extended block of a modality is LightGCN of a further user table and the explicit items; extended =
    their mean over modalities. loss = BPR + reg · ½ Σ ‖vectors of the batch‖² / B + cl · (contrast of side and id path,
    items and users) + vt · Σ over pairs of modalities (|difference of variances| + |difference of means|)
    + um · (contrast of extended users and the users' side, and of two noisy views of each)
    + extended_reg · ½ Σ ‖extended items of the batch‖² / B.

    Hands to the alignment: the id path as u and i^ID, and each modality's explicit item block as i^m.
    """

    config_type: ClassVar[type[BackboneConfig]] = GUMEConfig
    config: GUMEConfig

    def __init__(self, config: GUMEConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__(config, data, generator)
        self.extended_user = nn.ParameterList(
            xavier_table(data.num_users, config.dim, generator) for _ in self.modalities
        )
        self.noise_generator: torch.Generator | None = None

    def _user_item_graph(self, data: TrainingSet) -> SparseMatrix:
        edges = (data.user_T, data.item_T, data.num_users, data.num_items)
        item_edges = alike_items(list(data.features.values()), self.config.knn)
        return bipartite_adjacency(*edges, item_edges=item_edges)

    def before_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Take the generator of the noise."""
        self.noise_generator = generator

    def propagate(self) -> GUMERepresentations:
        reps = super().propagate()
        return GUMERepresentations(**vars(reps), extended=self._extended(reps.blocks) if self.training else None)

    def _extended(self, blocks: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Mean over modalities of LightGCN of the further user table and the explicit items."""
        tables = [torch.cat([u, b[self.num_users :]]) for u, b in zip(self.extended_user, blocks, strict=True)]
        layers = [propagate_mean(self.adjacency, table, self.config.layers) for table in tables]
        mean = torch.stack(layers).mean(0)
        return mean[: self.num_users], mean[self.num_users :]

    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        assert isinstance(reps, GUMERepresentations)
        extended_UL, extended_IL = reps.extended or self._extended(reps.blocks)
        config = self.config
        apart = [
            (left.var() - right.var()).abs() + (left.mean() - right.mean()).abs()
            for left, right in combinations(reps.blocks, 2)
        ]
        side_user = gather_rows(reps.side[0], batch.user_B)
        extended_user = gather_rows(extended_UL, batch.user_B)
        users = batch_contrast(extended_user, side_user, config.um_temperature)
        for vector in (side_user, extended_user):
            users = users + batch_contrast(self._noisy(vector), self._noisy(vector), config.um_temperature)
        extended_item = gather_rows(extended_IL, batch.item_B)
        return {
            **super().losses(reps, batch),
            "vt": config.vt * torch.stack([*apart, zero_like(reps.item_IL)]).sum(),
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
