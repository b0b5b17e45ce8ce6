"""BPR (Rendle, Freudenthaler, Gantner, Schmidt-Thieme. BPR: Bayesian personalized ranking, UAI 2009)."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from crossrec.backbones.base import Backbone, BackboneConfig, negatives, xavier_table
from crossrec.losses import bpr, embedding_norm
from crossrec.ops.vectors import gather_rows
from crossrec.types import Batch, Representations, TrainingSet


class BPRConfig(BackboneConfig):
    """Settings of BPR."""

    name: ClassVar[str] = "bpr"
    reg: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the embedding norms."""


class BPR(Backbone):
    """A user table and an item table; score = dot product; loss = BPR + reg · EmbLoss.

    For the alignment: u and i^ID, the rows of the two tables; no content vectors of its own.
    """

    config_type = BPRConfig
    weighs_pairs = True
    divides_columns = True

    def __init__(self, config: BPRConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__(config, data, generator)
        self.reg = config.reg
        self.user = xavier_table(data.num_users, config.dim, generator)
        self.item = xavier_table(data.num_items, config.dim, generator)

    def propagate(self) -> Representations:
        return Representations(self.user, self.item, columns=self.columns)

    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        return bpr_terms(reps, batch, self.reg)


def bpr_terms(reps: Representations, batch: Batch, reg: float) -> dict[str, Tensor]:
    """BPR of the dot products of the vectors to score with, and reg · EmbLoss of the same vectors."""
    user_BS = gather_rows(reps.user_US, batch.user_B, reps.columns)
    positive_BS = gather_rows(reps.item_IS, batch.item_B, reps.columns)
    negative_BS = gather_rows(reps.item_IS, negatives(batch), reps.columns)
    return {
        "bpr": bpr((user_BS * positive_BS).sum(-1), (user_BS * negative_BS).sum(-1), batch.weight_B),
        "reg": reg * embedding_norm(user_BS, positive_BS, negative_BS),
    }
