"""A data set in memory: interactions in three splits and the content features of the items."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from crossrec.data.io.feature_card import FeatureCard
from crossrec.data.io.features import Scaler
from crossrec.data.io.id_column import save_id_map
from crossrec.lazy import polars as pl


@dataclass(frozen=True, repr=False)
class Interactions:
    """One split as parallel arrays, in file order.

    ``user_N``, ``item_N``: int64 of shape (N,), rows of the user and item tables. ``weight_N``: float64, above 0, the
    weights that training uses; None: all the same.
    """

    user_N: np.ndarray
    item_N: np.ndarray
    weight_N: np.ndarray | None = None

    def __len__(self) -> int:
        return int(self.user_N.shape[0])

    def select(self, rows: np.ndarray | slice) -> Interactions:
        """The interactions at ``rows``: indices, bool (N,) or a slice."""
        weight_N = None if self.weight_N is None else self.weight_N[rows]
        return Interactions(self.user_N[rows], self.item_N[rows], weight_N)

    @staticmethod
    def join(parts: Sequence[Interactions]) -> Interactions:
        """One part after the other; with weights if all have some."""
        weights = [part.weight_N for part in parts if part.weight_N is not None]
        return Interactions(
            np.concatenate([part.user_N for part in parts]),
            np.concatenate([part.item_N for part in parts]),
            np.concatenate(weights) if len(weights) == len(parts) else None,
        )

    def __repr__(self) -> str:
        return f"Interactions({len(self):,})"


@dataclass(frozen=True, repr=False)
class ColdItems:
    """C items held out of a data set: original ids, raw features and all their interactions.

    ``features``: modality → (C, D_m), not scaled. ``interactions``: rows of the data set's users and of these items.
    """

    item_ids: pl.Series
    features: dict[str, np.ndarray]
    interactions: Interactions

    def __repr__(self) -> str:
        sizes = f"{len(self.item_ids):,} items, {len(self.interactions):,} interactions"
        return f"ColdItems({sizes}, {_widths(self.features)})"


@dataclass(frozen=True, repr=False)
class Dataset:
    """The data for training and evaluation. Users are rows 0..U-1, items rows 0..I-1.

    ``features``: modality → float32 (I, D_m), C-contiguous and scaled; an item without the feature has a row of zeros.
    ``user_ids``, ``item_ids``: the original id of every row. ``dropped_duplicates``: repeated rows dropped because
    ``duplicates="drop"``. ``scalers``: modality → the scaling of its raw features. ``cold``: items held out by
    ``cold_items``; the other fields and the fingerprint do not contain them. ``alignment_features``: as ``features``,
    for the alignment, where it has its own (knock-outs). ``feature_cards``: modality → how its features were made, for
    those that have a card. ``mask_validation``: whether validation items are left out of the ranking at test.
    """

    name: str
    num_users: int
    num_items: int
    train: Interactions
    valid: Interactions
    test: Interactions
    features: dict[str, np.ndarray]
    user_ids: pl.Series
    item_ids: pl.Series
    dropped_duplicates: int = 0
    scalers: dict[str, Scaler] = field(default_factory=dict)
    cold: ColdItems | None = None
    alignment_features: dict[str, np.ndarray] | None = None
    mask_validation: bool = False
    feature_cards: dict[str, FeatureCard] = field(default_factory=dict)

    @property
    def all_features(self) -> dict[str, np.ndarray]:
        """The features of every modality as the alignment sees them, or the backbone where the alignment does not."""
        return self.features | (self.alignment_features or {})

    def __repr__(self) -> str:
        splits = ", ".join(f"{split} {len(getattr(self, split)):,}" for split in ("train", "valid", "test"))
        cold = "" if self.cold is None else f", {len(self.cold.item_ids):,} cold items"
        sizes = f"{self.num_users:,} users, {self.num_items:,} items"
        return f"Dataset({self.name!r}, {sizes}, {splits}, {_widths(self.features)}{cold})"

    @cached_property
    def absent_U(self) -> np.ndarray:
        """Users that occur in no interaction, bool (U,), as in gaps between row numbers."""
        return ~_occurring("user_N", (self.train, self.valid, self.test), self.num_users)

    @cached_property
    def absent_I(self) -> np.ndarray:
        """Items that occur in no interaction and have no feature, bool (I,)."""
        occurring_I = _occurring("item_N", (self.train, self.valid, self.test), self.num_items)
        for matrix in self.features.values():
            occurring_I |= matrix.any(axis=1)
        return ~occurring_I

    def all_in_training(self) -> Dataset:
        """The same data with the interactions of all splits in training, in the order train, valid, test."""
        everything = Interactions.join([self.train, self.valid, self.test])
        none = everything.select(slice(0))
        return replace(self, train=everything, valid=none, test=none)

    def save_id_maps(self, folder: Path | str) -> None:
        """Write ``users.parquet`` and ``items.parquet`` (columns index, id) into ``folder``, each atomically.

        Creates the folder if needed. Raises RunError if a file cannot be written.
        """
        save_id_map(self.user_ids, Path(folder) / "users.parquet")
        save_id_map(self.item_ids, Path(folder) / "items.parquet")

    def fingerprint(self) -> str:
        """Return the SHA-256, in hex, of the training data: counts, splits in order, weights, the scaled features.

        Equal data have equal fingerprints, whatever their name, ids or files.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.num_users} users {self.num_items} items".encode())
        for part in (self.train, self.valid, self.test):
            for array in (part.user_N, part.item_N):
                digest.update(f"|{len(part)}|".encode())
                digest.update(np.ascontiguousarray(array, dtype="<i8").data)
        for part in (self.train, self.valid, self.test):
            if part.weight_N is not None:
                digest.update(b"|weights|")
                digest.update(np.ascontiguousarray(part.weight_N, dtype="<f8").data)
        for prefix, features in (("", self.features), ("alignment ", self.alignment_features or {})):
            for modality, matrix in sorted(features.items()):
                digest.update(f"|{prefix}{modality} {matrix.shape}|".encode())
                digest.update(np.ascontiguousarray(matrix, dtype="<f4").data)
        return digest.hexdigest()


def _occurring(name: str, splits: Iterable[Interactions], count: int) -> np.ndarray:
    """Which of ``count`` users (``user_N``) or items (``item_N``) occur in an interaction."""
    occurs = np.zeros(count, dtype=bool)
    for split in splits:
        occurs[getattr(split, name)] = True
    return occurs


def _widths(features: dict[str, np.ndarray]) -> str:
    """Every modality with its number of columns, as text."""
    widths = ", ".join(f"{modality} {matrix.shape[1]:,}" for modality, matrix in features.items())
    return f"features {{{widths}}}"
