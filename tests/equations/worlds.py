"""Small random cases of CROSS: the module under test, its inputs, and the same numbers for the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from crossrec.alignment import Cross, CrossConfig
from crossrec.types import Batch, Representations

from .reference import World, neighbors

TERMS = ("item", "tuning", "neighbor", "cluster_items", "cluster_users")


def close(actual: Tensor | float, expected: Any, tolerance: float = 1e-10) -> None:
    """Equal to ``tolerance`` relative, with an absolute floor for what is exactly or nearly zero."""
    left = torch.as_tensor(actual, dtype=torch.float64)
    right = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(left.detach(), right.detach(), rtol=tolerance, atol=tolerance * 1e-2)


def numbers(tensor: Tensor) -> Any:
    """Nested lists of floats."""
    return tensor.detach().double().tolist()


def double(values: Any) -> Tensor:
    """A float64 tensor of literal numbers."""
    return torch.tensor(values, dtype=torch.float64)


def keyed(tensor: Tensor) -> dict[int, list[float]]:
    """Rows by their number."""
    return dict(enumerate(numbers(tensor)))


def generator(seed: int) -> torch.Generator:
    """A seeded torch generator."""
    return torch.Generator().manual_seed(seed)


def randn(seed: int, *shape: int) -> Tensor:
    """Normal float64 numbers that float32 holds exactly, so that no rounding on the way matters."""
    return torch.randn(*shape, generator=generator(seed)).double()


@dataclass
class Case:
    """A Cross in float64 with one batch to evaluate it on."""

    cross: Cross
    reps: Representations
    batch: Batch
    features: dict[str, Tensor]
    neighbors: dict[int, list[int]]

    def terms(self) -> dict[str, Tensor]:
        return self.cross(self.reps, self.batch)

    def world(self) -> World:
        """The same numbers for the reference."""
        cross, config = self.cross, self.cross.config
        state = {name: numbers(value) for name, value in cross.state_dict().items()}
        ordered = ["id", *self.features, *self.reps.modality_IL]
        pairs = [(m, n) for m in ordered for n in ordered if m != n]
        aligners: dict[tuple[str, str], Any] = {}
        for m, n in pairs:
            name = f"aligners.{m}->{n}."
            parts = [state[name + part] for part in ("weight", "bias", "second", "second_bias") if name + part in state]
            aligners[m, n] = parts[0] if len(parts) == 1 else tuple(parts)
        return World(
            pairs=list(zip(self.batch.user_B.tolist(), self.batch.item_B.tolist(), strict=True)),
            user=numbers(self.reps.user_UL),
            item={
                "id": numbers(self.reps.item_IL),
                **{name: numbers(table) for name, table in self.reps.modality_IL.items()},
            },
            modalities=ordered,
            features={name: numbers(table) for name, table in self.features.items()},
            projections={name: state[f"projections.{name}_feat.weight"] for name in self.features},
            aligners=aligners,
            codebook_itv=state["codebook_itv"],
            codebook_ui=state["codebook_ui"],
            lambda_f=state.get("lambda_f", config.lambda_f),
            lambda_c=state.get("lambda_c", config.lambda_c),
            lambda_n=config.lambda_n,
            learn_lambda_f=config.learn_lambda_f,
            learn_lambda_c=config.learn_lambda_c,
            rule=config.direction,
            scale=config.strength_scale,
            negatives=config.negatives,
            clusterer=config.clusterer,
            rounds=config.sinkhorn_rounds,
            neighbors=self.neighbors,
        )


def make(
    seed: int,
    *,
    projected: Sequence[str] = ("sound", "scent"),
    unprojected: Sequence[str] = ("touch",),
    users: int = 4,
    items: int = 6,
    dim: int = 3,
    batch: int = 9,
    zeros: bool = True,
    own_neighbors: bool = True,
    **config: Any,
) -> Case:
    """A case with repeated users and items, some zero vectors, and items with few or no neighbours."""
    draw = generator(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw).double()

    def integers(high: int, count: int) -> Tensor:
        return torch.randint(high, (count,), generator=draw)

    features = {name: normal(items, 2 + number) for number, name in enumerate(projected)}
    vectors = {name: normal(items, dim) for name in unprojected}
    if zeros:
        for table in (*features.values(), *vectors.values()):
            table[seed % items] = 0
    settings: dict[str, Any] = {
        "prototypes_itv": 4,
        "prototypes_ui": 5,
        "neighbors": items,
        "alpha": 0.7,
        "beta": 0.3,
        "gamma": 1.3,
    }
    if own_neighbors:
        table = torch.randint(-1, items, (items, 2), generator=draw)
        table[0] = -1
        neighbors_of = {i: [k for k in row if k >= 0] for i, row in enumerate(table.tolist())}
        source: dict[str, Any] = {"neighbors": table}
    else:
        training = (integers(users, 8), integers(items - 1, 8))
        listed = list(zip(training[0].tolist(), training[1].tolist(), strict=True))
        neighbors_of = {i: neighbors(listed, items, items, i) for i in range(items)}
        source = {"interactions": training}
    cross = Cross(
        dim,
        features={name: table.float() for name, table in features.items()},
        modalities=tuple(unprojected),
        num_items=items,
        config=CrossConfig(**{**settings, **config}),
        generator=draw,
        **source,
    ).double()
    with torch.no_grad():
        for parameter in cross.parameters():
            if parameter.dim() > 0:
                parameter.copy_(torch.randn(parameter.shape, generator=draw).double() * 0.5)
    reps = Representations(normal(users, dim), normal(items, dim), vectors)
    return Case(cross, reps, Batch(integers(users, batch), integers(items, batch)), features, neighbors_of)
