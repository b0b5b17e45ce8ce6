"""VBPR (He and McAuley. VBPR: visual Bayesian personalized ranking from implicit feedback, AAAI 2016)."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from crossrec.backbones.base import Backbone, BackboneConfig, xavier_table
from crossrec.backbones.bpr import bpr_terms
from crossrec.backbones.content_encoder import ContentEncoder
from crossrec.types import ID, Batch, Representations, TrainingSet


class VBPRConfig(BackboneConfig):
    """Settings of VBPR."""

    name: ClassVar[str] = "vbpr"
    reg: Annotated[float, Field(ge=0)] = 0.5
    """Weight of the embedding norms."""


class VBPR(Backbone):
    """User vectors of 2L; item = [id of L ; Linear(all features side by side) of L]; loss = BPR + reg · EmbLoss.

    For the alignment: the id blocks of both, u = user[:L] and i^ID = id table. One map takes all modalities together,
    so there are no content vectors per modality, and the alignment projects the features itself.
    """

    config_type = VBPRConfig
    weighs_pairs = True
    multimodal = True
    feature_matrix: Tensor

    def __init__(self, config: VBPRConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__(config, data, generator)
        self.dim, self.reg = config.dim, config.reg
        self.user = xavier_table(data.num_users, 2 * config.dim, generator)
        self.item = xavier_table(data.num_items, config.dim, generator)
        self.register_buffer("feature_matrix", torch.cat(list(data.features.values()), dim=1), persistent=False)
        self.widths = {m: f.shape[1] for m, f in data.features.items()}
        self.weight = xavier_table(config.dim, self.feature_matrix.shape[1], generator)
        self.bias = nn.Parameter(torch.zeros(config.dim))

    def propagate(self) -> Representations:
        content_IL = self.feature_matrix @ self.weight.T + self.bias
        scoring = (self.user, torch.cat([self.item, content_IL], dim=1))
        return Representations(self.user[:, : self.dim], self.item, scoring=scoring)

    def parts(self, reps: Representations) -> dict[str, Tensor]:
        blank_IL = torch.zeros_like(self.item)
        weights, features = self._by_modality(self.weight), self._by_modality(self.feature_matrix)
        shares = {m: torch.cat([blank_IL, features[m] @ weights[m].T], dim=1) for m in self.widths}
        bias_IL = self.bias.expand_as(blank_IL)
        return {
            ID: torch.cat([self.item, blank_IL], dim=1),
            **shares,
            "bias": torch.cat([blank_IL, bias_IL], dim=1),
        }

    def content_encoders(self) -> dict[str, ContentEncoder]:
        return {m: ContentEncoder((weight,)) for m, weight in self._by_modality(self.weight).items()}

    def _by_modality(self, matrix_ND: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.widths, torch.split(matrix_ND, list(self.widths.values()), dim=1), strict=True))

    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        return bpr_terms(reps, batch, self.reg)
