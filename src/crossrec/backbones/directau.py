"""DirectAU (Wang, Yu, Ma, Zhang, Chen, Liu, Ma. Towards representation alignment and uniformity in collaborative
filtering, KDD 2022)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from crossrec.backbones.base import Backbone, BackboneConfig, xavier_table
from crossrec.config import Layers
from crossrec.graph import bipartite_adjacency, propagate_mean
from crossrec.losses import mean_square_distance, uniformity
from crossrec.ops.vectors import gather_rows, l2_normalize
from crossrec.types import Batch, Representations, TrainingSet


class DirectAUConfig(BackboneConfig):
    """Settings of DirectAU."""

    name: ClassVar[str] = "directau"
    weight_decay: Annotated[float, Field(ge=0)] = 1e-6
    """Weight decay of Adam on the backbone's parameters."""
    encoder: Literal["mf", "lightgcn"] = "mf"
    """User and item vectors: the tables themselves, or LightGCN over them."""
    layers: Layers = 3
    """Layers of propagation of the lightgcn encoder."""
    gamma_uniformity: Annotated[float, Field(ge=0)] = 1.0
    """γ, weight of uniformity."""
    scores: Literal["dot", "cosine"] = "dot"
    """Rank by dot products of the encoder's vectors, or by their cosine, which the loss uses."""


class DirectAU(Backbone):
    """Matrix factorisation or LightGCN, L2-normalised, whose loss is alignment and uniformity; no negatives.

    loss = mean_b ‖u_b - i_b‖² + γ/2 (uniformity of the batch's users + of its items), uniformity of x being
    log mean_{n≠m} exp(-2 ‖x_n - x_m‖²) over the pairs of the batch, repeated users and items included. The loss depends
    on directions only; the dot products that rank items also use the length of the vectors, which follows popularity.

    For the alignment: u and i^ID of unit length; no content vectors of its own.
    """

    config_type = DirectAUConfig
    weighs_pairs = True

    def __init__(self, config: DirectAUConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__(config, data, generator)
        self.config = config
        self.user = xavier_table(data.num_users, config.dim, generator)
        self.item = xavier_table(data.num_items, config.dim, generator)
        self.adjacency = bipartite_adjacency(data.user_T, data.item_T, data.num_users, data.num_items)

    def propagate(self) -> Representations:
        user_UL: Tensor = self.user
        item_IL: Tensor = self.item
        if self.config.encoder == "lightgcn":
            everything = propagate_mean(self.adjacency, torch.cat([user_UL, item_IL]), self.config.layers)
            user_UL, item_IL = torch.split(everything, [self.num_users, self.num_items])
        encoded = (user_UL, item_IL) if self.config.scores == "dot" else None
        return Representations(l2_normalize(user_UL), l2_normalize(item_IL), scoring=encoded, normalized=True)

    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        users, items = batch.users, batch.items
        user_BL, item_BL = gather_rows(reps.user_UL, batch.user_B), gather_rows(reps.item_IL, batch.item_B)
        of_users = uniformity(gather_rows(reps.user_UL, users.value_N), users.count_N, normalized=True)
        of_items = uniformity(gather_rows(reps.item_IL, items.value_N), items.count_N, normalized=True)
        return {
            "closeness": mean_square_distance(user_BL, item_BL, batch.weight_B),
            "uniformity": self.config.gamma_uniformity / 2 * (of_users + of_items),
        }
