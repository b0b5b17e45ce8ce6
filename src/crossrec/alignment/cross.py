"""CROSS (Figure 1): the alignment terms on top of any recommender's user and item vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from crossrec.alignment.base import Alignment, not_compiled
from crossrec.alignment.batch_view import BatchView, append_neighbors
from crossrec.alignment.clusters import item_cluster_loss, user_cluster_loss
from crossrec.alignment.config import LAMBDA_C_BOUNDS, LAMBDA_F_BOUNDS, CrossConfig, default_prototypes
from crossrec.alignment.direction import directions
from crossrec.alignment.inputs import (
    StepCheck,
    as_neighbors,
    as_settings,
    checked_modalities,
)
from crossrec.alignment.item_level import Aligner, item_level_loss
from crossrec.alignment.neighbors import fill_with_content, neighbor_loss, neighborhood
from crossrec.alignment.projection import Projection
from crossrec.alignment.strength import mean_preference, strength, strength_by_rank, strength_by_zscore
from crossrec.alignment.terms import outside_terms
from crossrec.alignment.tuning import direction_tuning_loss
from crossrec.arguments import as_features, as_pairs, check_terms, number_of_items, row_of
from crossrec.errors import ArgumentError
from crossrec.graph import co_occurrence_neighbors
from crossrec.ops.blockwise import Workspace
from crossrec.ops.vectors import counts, gather_rows, l2_normalize, true_indices, unit_rows, zero_like
from crossrec.types import ID, Batch, Representations


class Cross(Alignment):
    """Named alignment terms for a recommender, to be added to its own loss.

    In a training loop of your own::

        cross = Cross(64, features={"image": image}, interactions=(user, item), num_items=num_items)
        terms = cross(Representations(user_vectors, item_vectors), Batch(user, item))
        loss = own_loss + cross.total(terms)

    and ``cross.parameters()`` go to the optimiser beside the recommender's.

    A model that computes the vectors of a batch only, such as two towers, asks ``items_needed`` for the items::

        users, items = torch.unique(user), cross.items_needed(Batch(user, item))
        reps = Representations(user_tower(users), item_tower(items), user_rows=users, item_rows=items)

    The terms are then exactly those with the vectors of all items.

    ``dim``: L. ``features``: raw content features per modality, (I, D_m); each gets a learned linear projection.
    ``modalities``: further content modalities, whose (I, L) vectors come with every ``Representations.modality_IL``.
    ``interactions``: all training pairs (user, item), int64 (T,) each, or a table (T, 2) of them, from which Equation 7
    finds each item's neighbours; or ``neighbors``, a table (I, K) of them with -1 for none. With
    ``config.fill_neighbors`` the nearest by all of ``features`` fill those that are missing. ``num_items``: I, needed
    if no other argument implies it. ``config``: the settings, also as a dict; a ConfigError names a wrong one.
    ``generator`` draws the initial values. The modalities are ``id`` plus features plus modalities, in this order.

    Raises ArgumentError, a ValueError, if the neighbour term is active without interactions and neighbours; if a
    modality's name is ``id``, empty, given twice or contains "." or "->"; if features, neighbours, interactions and
    ``num_items`` imply different numbers of items, or none; if features are not finite; for wrong types and shapes.
    """

    config: CrossConfig
    neighbor_IK: Tensor | None

    def __init__(
        self,
        dim: int,
        *,
        features: Mapping[str, Tensor] | None = None,
        modalities: Sequence[str] = (),
        interactions: tuple[Tensor, Tensor] | None = None,
        neighbors: Tensor | None = None,
        num_items: int | None = None,
        config: CrossConfig | Mapping[str, Any] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = config = as_settings(config, CrossConfig)
        content = as_features({} if features is None else features)
        interactions = None if interactions is None else as_pairs(interactions)
        neighbors = None if neighbors is None else as_neighbors(neighbors)
        features = {name: f for name, f in content.items() if name not in modalities}
        self.modalities = checked_modalities(features, modalities)
        num_items, is_exact = number_of_items(num_items, content, interactions, neighbors)
        self._check = StepCheck(dim, num_items, is_exact, tuple(modalities))
        active = config.active
        # The suffix keeps the names of modalities apart from attributes of torch's own modules.
        self.projections = nn.ModuleDict({f"{m}_feat": Projection(f, dim, generator) for m, f in features.items()})

        self.pairs = tuple((m, n) for m in self.modalities for n in self.modalities if m != n)
        self.aligners = nn.ModuleDict()
        self.lambda_f = self.lambda_c = None
        if {"item", "tuning"} & set(active):
            self.aligners.update({f"{m}->{n}": Aligner(dim, config.aligner, generator) for m, n in self.pairs})
        if "item" in active and config.learn_lambda_f:
            self.lambda_f = nn.Parameter(torch.tensor(config.lambda_f))
        if {"cluster_items", "cluster_users"} & set(active) and config.learn_lambda_c:
            self.lambda_c = nn.Parameter(torch.tensor(config.lambda_c))
        count = config.prototypes_itv or default_prototypes(num_items)
        self.codebook_itv = _codebook(count, dim, generator) if "cluster_items" in active else None
        count = config.prototypes_ui or 2 * count
        self.codebook_ui = _codebook(count, dim, generator) if "cluster_users" in active else None
        self._workspace = Workspace()

        if "neighbor" not in active:
            neighbors = None
        elif neighbors is None:
            if interactions is None:
                raise ArgumentError("the neighbour term needs interactions=(user, item) or neighbors=; or leave it out")
            neighbors = co_occurrence_neighbors(*interactions, num_items, config.neighbors)
        if neighbors is not None and config.fill_neighbors and content:
            neighbors = fill_with_content(neighbors, content, config.content_shares)
        self.register_buffer("neighbor_IK", neighbors, persistent=False)
        self.outside, self._functions = outside_terms(active, dim, self.modalities, num_items, generator)

    @not_compiled
    def forward(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        """The terms of ``config.active`` by name, each a scalar, not weighted.

        ``item`` (Eq. 4), ``tuning`` (Eq. 6), ``neighbor`` (Eq. 9), ``cluster_items`` (Eq. 11), ``cluster_users``
        (Eq. 12), and those from outside the package. A term in which nothing takes part, such as ``item`` with the id
        modality alone, is a differentiable zero. ``torch.compile`` leaves this step as it is, because compiled it is
        slower. Raises ArgumentError where vectors or batch do not fit: rows, columns, devices, numbers out of range,
        and modalities other than announced.
        """
        active = self.config.active
        if not active:
            return {}
        view = self._view(reps, batch, with_neighbors="neighbor" in active)
        terms: dict[str, Tensor] = {}
        if "item" in active or "tuning" in active:
            terms |= self._item_terms(view)
        if "neighbor" in active:
            terms["neighbor"] = self._neighbor_term(view)
        terms |= self._cluster_terms(view)
        outside = {name: module(view) for name, module in self.outside.items()} | {
            name: term(view) for name, term in self._functions.items()
        }
        if outside:
            check_terms(outside, "terms from outside")
        return terms | outside

    def parameter_groups(self) -> list[dict[str, Any]]:
        """As ``Alignment.parameter_groups``; with ``temperature_gradient`` λ_f and λ_c have the factors α and β."""
        weighted = {}
        if self.config.temperature_gradient == "weighted":
            temperatures = {"item": self.lambda_f, "cluster_items": self.lambda_c}
            weighted = {t: self.config.weight(term) for term, t in temperatures.items() if t is not None}
        others = [p for p in self.parameters() if p not in weighted]
        groups = [{"params": [t], "lr_factor": weight} for t, weight in weighted.items()]
        return [{"params": others, "lr_factor": 1.0}, *groups]

    @torch.no_grad()
    def strengths(self, reps: Representations, batch: Batch) -> tuple[Tensor, Tensor]:
        """s_i^m of the batch's distinct items, (M, N), and the directions they support, boolean (M, M, N) (Figure 2).

        The strengths are on the scale of ``config.strength_scale``. The batch may hold all training pairs there are.
        """
        view = self._view(reps, batch, with_neighbors=False)
        strength_MN = self._scaled(view, self._strengths(view)[1])
        return strength_MN, directions(strength_MN, self.config.direction)

    def _item_terms(self, view: BatchView) -> dict[str, Tensor]:
        """Item-level loss and direction tuning, whichever are active."""
        config, terms = self.config, dict[str, Tensor]()
        preference_NL, strengths = self._strengths(view)
        supported = self._supported(directions(self._scaled(view, strengths), config.direction))
        aligned = {
            (m, n): l2_normalize(self.aligners[f"{m}->{n}"](view.item_DL(m, row_D), normalized=True))
            for (m, n), row_D in supported.items()
        }
        if "item" in config.active:
            terms["item"] = item_level_loss(
                aligned,
                view.item,
                supported,
                temperature=_clamped(self.lambda_f, config.lambda_f, LAMBDA_F_BOUNDS),
                normalized=True,
                precision=config.precision,
            )
        if "tuning" in config.active:
            tuning = direction_tuning_loss(aligned, preference_NL, strengths, supported, normalized=True)
            terms["tuning"] = tuning + zero_like(view.item[ID])  # differentiable without any direction
        return terms

    def _strengths(self, view: BatchView) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean preference of every distinct item, (N, L), and s^m of every modality."""
        preference_NL = mean_preference(
            view.distinct_user_L,
            view.index_B,
            len(view.item_N),
            user_index_B=view.user_index_B,
            weight_B=view.weight_B,
            normalized=True,
        )
        return preference_NL, {m: strength(preference_NL, v, normalized=True) for m, v in view.item.items()}

    def _scaled(self, view: BatchView, strengths: Mapping[str, Tensor]) -> Tensor:
        """s^m of every modality on the scale that the direction rule uses, (M, N)."""
        user_DL, scale = view.distinct_user_L, self.config.strength_scale
        if scale == "rank":
            pairs = (view.index_B, view.user_index_B, view.weight_B)
            strengths = {m: strength_by_rank(user_DL, v, *pairs) for m, v in view.item.items()}
        elif scale == "zscore":
            strengths = {m: strength_by_zscore(user_DL, v, strengths[m]) for m, v in view.item.items()}
        return torch.stack(list(strengths.values()))

    def _supported(self, mask_MMN: Tensor) -> dict[tuple[str, str], Tensor]:
        """Rows of the items that support each direction. On a GPU this waits once for all directions."""
        rows = true_indices(*mask_MMN.flatten(0, 1))
        pairs = ((m, n) for m in self.modalities for n in self.modalities)
        return {(m, n): row_D for (m, n), row_D in zip(pairs, rows, strict=True) if m != n}

    def _neighbor_term(self, view: BatchView) -> Tensor:
        """Mean of Equation 9 over the modalities."""
        assert view.neighbor_NK is not None
        assert view.neighbored_D is not None
        row_D = view.neighbored_D
        losses = [
            neighbor_loss(
                view.item_DL(m, row_D),
                neighborhood(view.table[m], view.neighbor_NK[row_D], normalized=True),
                temperature=self.config.lambda_n,
                negatives=self.config.negatives,
                normalized=True,
                precision=self.config.precision,
            )
            for m in self.modalities
        ]
        return torch.stack(losses).mean()

    def _cluster_terms(self, view: BatchView) -> dict[str, Tensor]:
        """Cluster losses of items and of users, whichever are active."""
        terms: dict[str, Tensor] = {}
        options: dict[str, Any] = {
            "temperature": _clamped(self.lambda_c, self.config.lambda_c, LAMBDA_C_BOUNDS),
            "clusterer": self.config.clusterer,
            "rounds": self.config.sinkhorn_rounds,
            "normalized": True,
            "workspace": self._workspace,
            "precision": self.config.precision,
        }
        if self.codebook_itv is not None:
            items = list(view.item.values())
            terms["cluster_items"] = item_cluster_loss(items, self.codebook_itv, weight_N=view.count_N, **options)
        if self.codebook_ui is not None:
            pairs = (view.user_index_B, view.index_B)
            terms["cluster_users"] = user_cluster_loss(
                view.distinct_user_L, view.item[ID], self.codebook_ui, pairs=pairs, weight_B=view.weight_B, **options
            )
        return terms

    @not_compiled
    def items_needed(self, batch: Batch) -> Tensor:
        """The items whose vectors the terms of a batch use, (R,) int64: its own, ascending, then other neighbours.

        For a model that computes the vectors of a batch only. Raises ArgumentError for items that do not exist.
        """
        self._check.batch(batch)
        item_N = batch.items.value_N
        if self.neighbor_IK is None or "neighbor" not in self.config.active:
            return item_N
        return append_neighbors(item_N, self.neighbor_IK)[0]

    def _view(self, reps: Representations, batch: Batch, *, with_neighbors: bool) -> BatchView:
        """The batch with every vector that its terms need, gathered and normalised once."""
        self._check.vectors(reps)
        self._check.devices(reps, batch, next(self.parameters(), self.neighbor_IK))
        self._check.batch(batch, reps)
        item_N, index_B, count_N = batch.items.value_N, batch.items.index_B, batch.items.count_N
        user_N, user_index_B = batch.users.value_N, batch.users.index_B
        item_R, neighbor_NK, neighbored_D = item_N, None, None
        if with_neighbors and self.neighbor_IK is not None:
            item_R, neighbor_NK, neighbored_D = append_neighbors(item_N, self.neighbor_IK)
        row_R, user_row_N = item_R, user_N
        if reps.item_rows is not None:
            row_R = row_of(item_R, reps.item_rows, "Representations.item_rows", "give cross.items_needed(batch)")
        if reps.user_rows is not None:
            user_row_N = row_of(user_N, reps.user_rows, "Representations.user_rows", "give torch.unique(batch.user_B)")
        table = {
            m: unit_rows(self._vectors(m, reps, item_R, row_R), normalized=m == ID and reps.normalized)
            for m in self.modalities
        }
        item = table if neighbor_NK is None else {m: vector_RL[: len(item_N)] for m, vector_RL in table.items()}
        user_NL = unit_rows(gather_rows(reps.user_UL, user_row_N, reps.columns), normalized=reps.normalized)
        if batch.weight_B is not None:
            count_N = counts(index_B, len(item_N), batch.weight_B.dtype, batch.weight_B)
        of_pairs = (user_NL, user_index_B, item, table, neighbor_NK, batch.weight_B)
        return BatchView(item_N, index_B, count_N, *of_pairs, neighbored_D)

    def _vectors(self, modality: str, reps: Representations, item_R: Tensor, row_R: Tensor) -> Tensor:
        """Vectors of the items, which are the rows ``row_R`` of the representations, not normalised."""
        if f"{modality}_feat" in self.projections:
            projected: Tensor = self.projections[f"{modality}_feat"](item_R)
            return projected
        if modality == ID:
            return gather_rows(reps.item_IL, row_R, reps.columns)
        return gather_rows(reps.modality_IL[modality], row_R)


def _codebook(count: int, dim: int, generator: torch.Generator | None) -> nn.Parameter:
    return nn.Parameter(l2_normalize(torch.randn(count, dim, generator=generator)))


def _clamped(learnt: Tensor | None, fixed: float, bounds: tuple[float, float]) -> Tensor | float:
    return fixed if learnt is None else learnt.clamp(*bounds)
