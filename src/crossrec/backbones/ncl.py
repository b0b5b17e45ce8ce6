"""NCL (Lin, Tian, Hou, Zhao. Improving graph collaborative filtering with neighborhood-enriched contrastive learning,
WWW 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from crossrec.backbones.base import contrast
from crossrec.backbones.lightgcn import LightGCN, LightGCNConfig
from crossrec.config import Layers, NumberOrZero, Prototypes
from crossrec.errors import ConfigError
from crossrec.graph import propagate_layers
from crossrec.ops.kmeans import kmeans
from crossrec.types import Batch, Representations, TrainingSet


class NCLConfig(LightGCNConfig):
    """Settings of NCL."""

    name: ClassVar[str] = "ncl"
    hops: Annotated[Layers, Field(ge=1)] = 1
    """h: the structural contrast compares layer 2h with layer 0."""
    temperature: Annotated[float, Field(gt=0)] = 0.1
    """τ of both contrasts."""
    ssl: Annotated[float, Field(ge=0)] = 1e-7
    """Weight of the structural contrast, which is summed over the batch."""
    item_share: Annotated[float, Field(ge=0)] = 1.0
    """α, weight of the items in the structural contrast; that of the users is 1."""
    proto: Annotated[float, Field(ge=0)] = 8e-8
    """Weight of the contrast with prototypes, which is summed over the batch."""
    clusters: Prototypes = 1000
    """Clusters of users and of items, at most as many as there are users or items."""
    warm_up: NumberOrZero = 20
    """Epochs before the contrast with prototypes starts."""


@dataclass(frozen=True, kw_only=True)
class NCLRepresentations(Representations):
    """Representations with the user and item vectors of layer 2h."""

    context: tuple[Tensor, Tensor]


class NCL(LightGCN):
    """LightGCN that moves users and items towards their structural neighbours and the centroid of their cluster.

    loss = BPR + reg · EmbLoss of ego vectors
    + ssl · Σ_b (InfoNCE of u_b^(2h) among all users^(0) + α · of i_b^(2h) among all items^(0))
    + proto · Σ_b (InfoNCE of u_b^(0) among the user centroids + of i_b^(0) among the item centroids), by cosine.
    k-means on the ego tables gives the centroids before every epoch after the warm-up.

    For the alignment: u and i^ID, the mean of the layers; no content vectors of its own. Raises ConfigError where
    there are fewer than 2h layers.
    """

    config_type = NCLConfig

    def __init__(self, config: NCLConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__(config, data, generator)
        if config.layers < 2 * config.hops:
            raise ConfigError(
                f"--hops {config.hops} contrasts layer {2 * config.hops} and there are --layers {config.layers}: "
                "give more layers or fewer hops"
            )
        self.config = config
        # of users and of items: centroids, and the index of each row's centroid
        self.prototypes: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None

    def before_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Cluster users and items again, once the warm-up is over."""
        if epoch > self.config.warm_up and self.config.proto:
            clusters = self.config.clusters
            self.prototypes = (kmeans(self.user, clusters, generator), kmeans(self.item, clusters, generator))

    def propagate(self) -> NCLRepresentations:
        layers = propagate_layers([self.adjacency] * self.layers, torch.cat([self.user, self.item]))
        sizes = [self.num_users, self.num_items]
        user_UL, item_IL = torch.split(torch.stack(layers).mean(0), sizes)
        context_UL, context_IL = torch.split(layers[2 * self.config.hops], sizes)
        return NCLRepresentations(user_UL, item_IL, context=(context_UL, context_IL))

    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        assert isinstance(reps, NCLRepresentations)
        config = self.config
        of_users = contrast(reps.context[0], self.user, batch.users, config.temperature)
        of_items = contrast(reps.context[1], self.item, batch.items, config.temperature)
        terms = {**super().losses(reps, batch), "ssl": config.ssl * (of_users + config.item_share * of_items)}
        if self.prototypes is not None:
            (user_PL, cluster_U), (item_PL, cluster_I) = self.prototypes
            of_users = contrast(self.user, user_PL, batch.users, config.temperature, cluster_U)
            of_items = contrast(self.item, item_PL, batch.items, config.temperature, cluster_I)
            terms["proto"] = config.proto * (of_users + of_items)
        return terms
