"""CROSS (Figure 1): the alignment terms on top of any recommender's user and item vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crossrec.alignment.clusters import item_cluster_loss, user_cluster_loss
from crossrec.alignment.config import LAMBDA_C_BOUNDS, LAMBDA_F_BOUNDS, CrossConfig, default_prototypes
from crossrec.alignment.direction import directions
from crossrec.alignment.item_level import Aligner, item_level_loss
from crossrec.alignment.neighbors import neighbor_loss, neighborhood
from crossrec.alignment.projection import Projection
from crossrec.alignment.strength import mean_preference, mean_preference_of, strength
from crossrec.alignment.tuning import direction_tuning_loss
from crossrec.graph import co_occurrence_neighbors
from crossrec.ops.blockwise import Workspace
from crossrec.ops.vectors import gather_rows, known_unit, l2_normalize, zero_like
from crossrec.types import ID, Batch, Representations


class Cross(nn.Module):
    """Named alignment terms for a recommender, to be added to its own loss.

    In a training loop of your own::

        cross = Cross(64, features={"image": image}, interactions=(user, item), num_items=num_items)
        terms = cross(Representations(user_vectors, item_vectors), Batch(user, item))
        loss = own_loss + cross.total(terms)

    and ``cross.parameters()`` go to the optimiser beside the recommender's.

    ``dim``: L. ``features``: raw content features per modality, (I, D_m); each gets a learned linear projection.
    ``modalities``: further content modalities, whose (I, L) vectors come with every ``Representations.modality_IL``.
    ``interactions``: all training pairs (user, item), int64 (T,), from which Equation 7 takes each item's neighbours;
    or ``neighbors``, an own (I, K) table with -1 for none. ``num_items``: I, where no feature tells it.
    ``generator`` draws the initial values. The modalities are ``id`` plus features plus modalities, in this order.

    Raises ValueError where the neighbour term is asked for but neither interactions nor neighbours are given; where a
    modality's name is ``id``, empty, given twice or contains "." or "->"; where features, neighbours, interactions and
    ``num_items`` disagree about the number of items, or none of them tells it.
    """

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
        config: CrossConfig | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = config = config or CrossConfig()
        features = {name: f for name, f in (features or {}).items() if name not in modalities}
        self.modalities = _checked((ID, *features, *modalities))
        num_items = _number_of_items(num_items, features, interactions, neighbors)
        active = config.active
        # Modules are kept by the name with a suffix: a bare one could be a name that torch itself uses.
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
        self._room = Workspace()

        if "neighbor" in active and neighbors is None:
            if interactions is None:
                raise ValueError("the neighbour term needs interactions=(user, item) or neighbors=; or leave it out")
            neighbors = co_occurrence_neighbors(*interactions, num_items, config.neighbors)
        self.register_buffer("neighbor_IK", neighbors if "neighbor" in active else None, persistent=False)

    def forward(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        """The terms of ``config.active`` by name, each a scalar, not weighted.

        ``item`` (Eq. 4), ``tuning`` (Eq. 6), ``neighbor`` (Eq. 9), ``cluster_items`` (Eq. 11), ``cluster_users``
        (Eq. 12). A term for which nothing takes part, such as ``item`` with the id modality alone, is a
        differentiable zero. Raises ValueError where ``reps.modality_IL`` lacks an announced modality.
        """
        config, active = self.config, self.config.active
        if not active:
            return {}
        view = self._look(reps, batch, with_neighbors="neighbor" in active)
        terms: dict[str, Tensor] = {}
        if "item" in active or "tuning" in active:
            preference_NL = mean_preference(view.user(), view.index_B, len(view.item_N))
            nobody = zero_like(view.item[ID])
            strengths = {m: strength(preference_NL, v) for m, v in view.item.items()}
            mask = directions(torch.stack(list(strengths.values())), config.direction)
            supported = self._supported(mask)
            aligned = {
                (m, n): l2_normalize(self.aligners[f"{m}->{n}"](view.rows(m, r))) for (m, n), r in supported.items()
            }
            if "item" in active:
                temperature = _clamped(self.lambda_f, config.lambda_f, LAMBDA_F_BOUNDS)
                terms["item"] = item_level_loss(
                    aligned, view.item, supported, temperature=temperature, precision=config.precision
                )
            if "tuning" in active:
                terms["tuning"] = direction_tuning_loss(aligned, preference_NL, strengths, supported) + nobody
        if "neighbor" in active:
            terms["neighbor"] = self._neighbor_term(view)
        temperature = _clamped(self.lambda_c, config.lambda_c, LAMBDA_C_BOUNDS)
        if self.codebook_itv is not None:
            terms["cluster_items"] = item_cluster_loss(
                list(view.item.values()),
                self.codebook_itv,
                temperature=temperature,
                weight_N=view.count_N,
                clusterer=config.clusterer,
                rounds=config.sinkhorn_rounds,
                room=self._room,
                precision=config.precision,
            )
        if self.codebook_ui is not None:
            terms["cluster_users"] = user_cluster_loss(
                view.distinct_user_L,
                view.item[ID],
                self.codebook_ui,
                temperature=temperature,
                pairs=(view.user_index_B, view.index_B),
                clusterer=config.clusterer,
                rounds=config.sinkhorn_rounds,
                room=self._room,
                precision=config.precision,
            )
        return terms

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """α (item + tuning) + β (cluster_items + cluster_users) + γ neighbor, over the terms given; a scalar."""
        weighted = [self.config.weight(name) * value for name, value in terms.items()]  # type: ignore[arg-type]
        return torch.stack(weighted).sum() if weighted else torch.zeros(())

    @torch.no_grad()
    def strengths(self, reps: Representations, batch: Batch) -> tuple[Tensor, Tensor]:
        """What Figure 2 plots, for one batch: s_i^m, (M, N), and the directions taken, boolean (M, M, N).

        The batch may hold all training pairs there are.
        """
        view = self._look(reps, batch, with_neighbors=False)
        preference_NL = mean_preference_of(view.distinct_user_L, view.user_index_B, view.index_B, len(view.item_N))
        strength_MN = torch.stack([strength(preference_NL, v) for v in view.item.values()])
        return strength_MN, directions(strength_MN, self.config.direction)

    def _supported(self, mask_MMN: Tensor) -> dict[tuple[str, str], Tensor]:
        """Rows of the items that support each direction; on a GPU one wait for all of them."""
        mask_PN = mask_MMN.flatten(0, 1)
        row = torch.split(mask_PN.nonzero()[:, 1], mask_PN.sum(1).tolist())
        every = ((m, n) for m in self.modalities for n in self.modalities)
        return {(m, n): row_D for (m, n), row_D in zip(every, row, strict=True) if m != n}

    def _look(self, reps: Representations, batch: Batch, *, with_neighbors: bool) -> _View:
        """Gather and normalise, once, every vector that the terms of a batch need."""
        item_N, index_B, count_N = torch.unique(batch.item_B, return_inverse=True, return_counts=True)
        user_N, user_index_B = torch.unique(batch.user_B, return_inverse=True)
        needed_R, neighbor_NK = item_N, None
        if with_neighbors:
            assert self.neighbor_IK is not None
            needed_R, neighbor_NK = _with_neighbors(item_N, self.neighbor_IK)
        table = {m: l2_normalize(self._vectors(m, reps, needed_R)) for m in self.modalities}
        item = {m: known_unit(t[: len(item_N)]) for m, t in table.items()} if with_neighbors else table
        user_NL = l2_normalize(gather_rows(reps.user_UL, user_N))
        return _View(item_N, index_B, count_N, user_NL, user_index_B, item, table, neighbor_NK)

    def _vectors(self, modality: str, reps: Representations, item_R: Tensor) -> Tensor:
        if modality == ID:
            return gather_rows(reps.item_IL, item_R)
        if f"{modality}_feat" in self.projections:
            projected: Tensor = self.projections[f"{modality}_feat"](item_R)
            return projected
        if modality not in reps.modality_IL:
            raise ValueError(f"modality '{modality}' was announced, but Representations.modality_IL does not hold it")
        return gather_rows(reps.modality_IL[modality], item_R)

    def _neighbor_term(self, view: _View) -> Tensor:
        assert view.neighbor_NK is not None
        taking_part = (view.neighbor_NK >= 0).any(1).nonzero().squeeze(1)
        losses = [
            neighbor_loss(
                view.rows(m, taking_part),
                neighborhood(view.table[m], view.neighbor_NK[taking_part]),
                temperature=self.config.lambda_n,
                negatives=self.config.negatives,
                precision=self.config.precision,
            )
            for m in self.modalities
        ]
        return torch.stack(losses).mean()


@dataclass
class _View:
    """One batch with its repeats merged: N distinct items, their vectors of unit length, and where each pair points."""

    item_N: Tensor
    index_B: Tensor
    count_N: Tensor
    distinct_user_L: Tensor
    user_index_B: Tensor
    item: dict[str, Tensor]
    table: dict[str, Tensor]
    neighbor_NK: Tensor | None

    def user(self) -> Tensor:
        return known_unit(gather_rows(self.distinct_user_L, self.user_index_B))

    def rows(self, modality: str, row_D: Tensor) -> Tensor:
        """Vectors of some of the distinct items."""
        item_NL = self.item[modality]
        return item_NL if len(row_D) == len(item_NL) else known_unit(gather_rows(item_NL, row_D))


def _with_neighbors(item_N: Tensor, neighbor_IK: Tensor) -> tuple[Tensor, Tensor]:
    """The items and, behind them, their neighbours that are not among them, (R,); and the neighbours as places in it.

    -1, no neighbour, stays -1.
    """
    neighbor_NK = neighbor_IK[item_N]
    place_I = item_N.new_full((len(neighbor_IK) + 1,), -1)  # the last place is that of -1
    place_I[item_N] = torch.arange(len(item_N), device=item_N.device)
    further = neighbor_NK[(place_I[neighbor_NK] < 0) & (neighbor_NK >= 0)]
    present_I = torch.zeros_like(place_I, dtype=torch.bool)
    present_I[further] = True
    further_N = present_I.nonzero().squeeze(1)
    place_I[further_N] = torch.arange(len(item_N), len(item_N) + len(further_N), device=item_N.device)
    return torch.cat([item_N, further_N]), place_I[neighbor_NK]


def _codebook(count: int, dim: int, generator: torch.Generator | None) -> nn.Parameter:
    return nn.Parameter(l2_normalize(torch.randn(count, dim, generator=generator)))


def _clamped(learnt: Tensor | None, fixed: float, bounds: tuple[float, float]) -> Tensor | float:
    return fixed if learnt is None else learnt.clamp(*bounds)


def _checked(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names[1:]:
        if not name or name == ID or "." in name or "->" in name:
            raise ValueError(f"a content modality cannot be called {name!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"a modality is named twice: {', '.join(names)}")
    return names


def _number_of_items(
    num_items: int | None,
    features: Mapping[str, Tensor],
    interactions: tuple[Tensor, Tensor] | None,
    neighbors: Tensor | None,
) -> int:
    counts = {f"feature '{name}'": len(feature) for name, feature in features.items()}
    if num_items is not None:
        counts["num_items"] = num_items
    if neighbors is not None:
        counts["neighbors"] = len(neighbors)
    largest = int(interactions[1].max()) + 1 if interactions is not None and len(interactions[1]) else 0
    if any(count < largest for count in counts.values()):
        counts["the largest item of the interactions"] = largest
    if len(set(counts.values())) > 1:
        raise ValueError(f"different numbers of items: {', '.join(f'{k} has {v}' for k, v in counts.items())}")
    if counts:
        return next(iter(counts.values()))
    if largest:
        return largest
    raise ValueError("the number of items is unknown: give features, interactions, neighbors or num_items")
