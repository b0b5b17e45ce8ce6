"""Checks of what an alignment is given, when it is made and in every step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from crossrec.alignment.config import AlignmentConfig
from crossrec.arguments import as_count, as_tensor, check_same_device
from crossrec.errors import ArgumentError
from crossrec.types import ID, Batch, Representations

C = TypeVar("C", bound=AlignmentConfig)


def as_settings(config: C | Mapping[str, Any] | None, kind: type[C]) -> C:
    """Settings of that kind: as they are, from a dict, or the defaults. Raises ArgumentError for anything else."""
    if config is None or isinstance(config, Mapping):
        return kind.parse(config or {})
    if isinstance(config, kind):
        return config
    raise ArgumentError(
        f"config must be a {kind.__name__} or a dict of its settings, and it is a {type(config).__name__}"
    )


def as_neighbors(neighbors: Any) -> Tensor:
    """A table of neighbours, (I, K) int64, -1 for none. Raises ArgumentError for another."""
    table = as_tensor(neighbors, "neighbors")
    if table.dim() != 2 or table.dtype.is_floating_point:
        raise ArgumentError(f"neighbors has shape {tuple(table.shape)}: give whole numbers, a row of K for each item")
    table = table.long()
    if table.numel() and not -1 <= int(table.min()) <= int(table.max()) < len(table):
        raise ArgumentError(f"neighbors must hold numbers of items from 0 to {len(table) - 1}, and -1 for none")
    return table


def checked_modalities(features: Iterable[str], modalities: Sequence[str]) -> tuple[str, ...]:
    """All modalities, the id first. Raises ArgumentError for a name that cannot be used and for one given twice."""
    if isinstance(modalities, str):
        raise ArgumentError(f"modalities must be a list or tuple of names, such as ({modalities!r},)")
    names = (ID, *features, *modalities)
    for name in names[1:]:
        if not isinstance(name, str) or not name or name == ID or "." in name or "->" in name:
            raise ArgumentError(f"a content modality cannot be called {name!r}")
    if len(set(names)) < len(names):
        raise ArgumentError(f"a modality is named twice: {', '.join(names)}")
    return names


@dataclass(frozen=True)
class StepCheck:
    """Checks that vectors and batch of a step fit the alignment. Raises ArgumentError that says what does not.

    ``dim``: L; ``num_items``: I, at least that many where not ``is_exact``; ``modalities``: whose vectors come with
    every step; None where the alignment reads none of them.
    """

    dim: int
    num_items: int
    is_exact: bool
    modalities: tuple[str, ...] | None

    def __post_init__(self) -> None:
        as_count(self.dim, "dim")

    def vectors(self, reps: Representations) -> None:
        """Check shapes and modalities of the vectors."""
        content = {f"modality_IL['{m}']": reps.modality_IL.get(m) for m in self.modalities or ()}
        for name, vectors in content.items():
            if vectors is None:
                raise ArgumentError(f"Representations.{name} is missing, and its modality was announced")
        unannounced = [] if self.modalities is None else sorted(set(reps.modality_IL) - set(self.modalities))
        if unannounced:
            raise ArgumentError(
                f"Representations.modality_IL holds '{unannounced[0]}', which was not announced: make the alignment "
                f"with modalities=('{unannounced[0]}',), or leave it out"
            )
        items = {"item_IL": reps.item_IL, **content}
        for name, vectors in {"user_UL": reps.user_UL, **items}.items():
            if vectors is not None and (reps.columns or vectors.shape[1]) != self.dim:
                raise ArgumentError(
                    f"Representations.{name} has {vectors.shape[1]} columns, but the alignment was made for {self.dim}"
                )
        rows = self.num_items if reps.item_rows is None else len(reps.item_rows)
        for name, vectors in items.items():
            if vectors is None or len(vectors) == rows:
                continue
            if reps.item_rows is not None:
                raise ArgumentError(f"Representations.{name} has {len(vectors)} rows, but item_rows has {rows}")
            if self.is_exact or len(vectors) < rows:
                raise ArgumentError(
                    f"Representations.{name} has {len(vectors)} rows, but there are {rows} items: give the vectors of "
                    "all items, or say in item_rows whose they are; users come before items"
                )
        if reps.user_rows is not None and len(reps.user_rows) != len(reps.user_UL):
            raise ArgumentError(
                f"Representations.user_UL has {len(reps.user_UL)} rows, but user_rows has {len(reps.user_rows)}"
            )

    def batch(self, batch: Batch, reps: Representations | None = None) -> None:
        """Check the numbers of items and, with the vectors of all users, of users; nothing of a checked batch."""
        _require_batch(batch)
        if batch.is_checked:
            return
        limits = [("item", batch.item_B, self.num_items)]
        if reps is not None and reps.user_rows is None:
            limits.append(("user", batch.user_B, len(reps.user_UL)))
        if not len(batch):
            return
        bounds = torch.stack([bound for _, ids, _ in limits for bound in ids.aminmax()]).tolist()  # one wait for a GPU
        for (name, _, limit), low, high in zip(limits, bounds[::2], bounds[1::2], strict=True):
            if low < 0 or high >= limit:
                raise ArgumentError(
                    f"the batch has {name} {low if low < 0 else high}, but there are {limit} {name}s, numbered from 0; "
                    "a batch is (user, item), in this order"
                )
        if batch.weight_B is not None and not bool(batch.weight_B.min() > 0):
            raise ArgumentError(f"Batch.weight_B holds {float(batch.weight_B.min())}: give numbers above 0")

    def devices(self, reps: Representations, batch: Batch, of_alignment: Tensor | None) -> None:
        """Check that all is on one device, and vectors and parameters of one type, outside ``torch.autocast``."""
        _require_batch(batch)
        check_same_device(
            {
                "Representations.user_UL": reps.user_UL,
                "Representations.item_IL": reps.item_IL,
                "Batch.user_B": batch.user_B,
                "Batch.item_B": batch.item_B,
                "the alignment": of_alignment,
            }
        )
        if (
            of_alignment is None
            or not of_alignment.is_floating_point()
            or torch.is_autocast_enabled(of_alignment.device.type)
        ):
            return
        for name, vectors in (("user_UL", reps.user_UL), ("item_IL", reps.item_IL)):
            if vectors.dtype != of_alignment.dtype:
                own, given = (str(tensor.dtype).removeprefix("torch.") for tensor in (of_alignment, vectors))
                raise ArgumentError(
                    f"Representations.{name} has type {given}, and the alignment {own}: give .to(torch.{own}), or "
                    f"convert the alignment with .to(torch.{given})"
                )


def _require_batch(batch: Any) -> None:
    if not isinstance(batch, Batch):
        raise ArgumentError(f"the batch is a {type(batch).__name__}: make one with crossrec.types.Batch(user, item)")
