"""The alignment losses of DA-MRS, on top of any recommender's user and item vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from crossrec.alignment.base import Alignment, not_compiled
from crossrec.alignment.config import DamrsAlignmentConfig
from crossrec.alignment.inputs import StepCheck, as_settings
from crossrec.arguments import as_features, as_pairs, number_of_items
from crossrec.errors import ArgumentError
from crossrec.graph import agreed_knn_graph, co_occurrence_graph
from crossrec.losses import graded_neighbor_loss, symmetric_kl
from crossrec.ops.vectors import gather_rows, l2_normalize
from crossrec.types import ID, Batch, Representations


class DamrsAlignment(Alignment):
    """Alignment by graded item relations and by user preference (Xv et al., KDD 2024), without parameters.

    h_g = item graph g · i^ID, with i^ID and u of the recommender. The graphs: per modality the kNN graph without the
    edges that some modality finds less similar than its average pair, and the co-occurrence graph with loops. Terms:

    - ``item_relations``: the neighbour term of every h_g, summed over the graphs (``graded_neighbor_loss``).
    - ``user_preference``: symmetric KL of σ(u · i/‖i‖) and σ(u · h/‖h‖), h = mean_g h_g, i = i^ID, mean over the
      batch's distinct users × items.

    ``features``: raw content features by modality, (I, D_m), of all modalities; ``interactions``: all training pairs.
    ``modalities`` and ``generator`` have no effect. Without features co-occurrence is the only graph.
    """

    config: DamrsAlignmentConfig

    def __init__(
        self,
        dim: int,
        *,
        features: Mapping[str, Tensor],
        modalities: Sequence[str] = (),
        interactions: tuple[Tensor, Tensor],
        num_items: int,
        config: DamrsAlignmentConfig | Mapping[str, Any] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = config = as_settings(config, DamrsAlignmentConfig)
        features, interactions = as_features(features), as_pairs(interactions)
        self.modalities = (ID, *features)
        self._check = StepCheck(dim, *number_of_items(num_items, features, interactions, None), None)
        self.projections, self.aligners = nn.ModuleDict(), nn.ModuleDict()
        user_T, item_T = interactions
        num_users = int(user_T.max()) + 1 if len(user_T) else 0
        self.item_graphs = [
            *agreed_knn_graph(list(features.values()), config.relation_knn),
            co_occurrence_graph(user_T, item_T, num_users, num_items),
        ]

    @not_compiled
    def forward(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        config, active = self.config, self.config.active
        terms: dict[str, Tensor] = {}
        if not active:
            return terms
        self._check.vectors(reps)
        self._check.batch(batch, reps)
        if reps.item_rows is not None or reps.user_rows is not None:
            raise ArgumentError("DA-MRS's losses need the vectors of all users and items: leave out the rows")
        graph_items, item_N = [graph @ reps.item_IL for graph in self.item_graphs], batch.items.value_N
        if "item_relations" in active:
            units = [l2_normalize(item_IL) for item_IL in graph_items]
            terms["item_relations"] = graded_neighbor_loss(
                units, item_N, config.relation_items, config.relation_temperature
            )
        if "user_preference" in active:
            user_NL = gather_rows(reps.user_UL, batch.users.value_N)
            item_NL, mean_NL = (
                l2_normalize(gather_rows(item_IL, item_N))
                for item_IL in (reps.item_IL, torch.stack(graph_items).mean(0))
            )
            terms["user_preference"] = symmetric_kl(user_NL @ item_NL.T, user_NL @ mean_NL.T)
        return terms
