"""A data set in memory: who took what, split three ways, and what the items look and read like."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl

    from crossrec.data.io.features import Scaler


@dataclass(frozen=True)
class Interactions:
    """One split as parallel arrays, in the order of the file.

    ``user_N``, ``item_N``: int64 of shape (N,), rows of the user and item tables.
    """

    user_N: np.ndarray
    item_N: np.ndarray

    def __len__(self) -> int:
        return int(self.user_N.shape[0])

    def where(self, keep_N: np.ndarray) -> Interactions:
        """Those marked in ``keep_N``, bool (N,)."""
        return Interactions(self.user_N[keep_N], self.item_N[keep_N])


@dataclass(frozen=True)
class Cold:
    """Items that a data set was rid of, C of them: original ids, raw features, and what anybody did with them.

    ``features``: modality → (C, D_m), not scaled. ``taken``: rows of the data set's users, and of these items.
    """

    item_ids: pl.Series
    features: dict[str, np.ndarray]
    taken: Interactions


@dataclass(frozen=True)
class Dataset:
    """Everything training and evaluation read. Users are rows 0..U-1, items rows 0..I-1.

    ``features``: modality → float32 (I, D_m), C-contiguous and already scaled; an item without the feature has an
    all-zero row. ``user_ids``, ``item_ids``: the original id of every row. ``dropped_duplicates``: repeated rows left
    out because ``duplicates="drop"`` asked for it. ``scalers``: how the raw features of each modality were scaled.
    ``cold``: what ``cold_items`` took out; nothing of it is in the rest, nor in the fingerprint.
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
    cold: Cold | None = None

    def save_id_maps(self, folder: Path) -> None:
        """Write ``users.parquet`` and ``items.parquet`` (columns index, id) into ``folder``, each whole or not at all.

        The folder is made if need be. Raises OSError where it cannot be written.
        """
        import polars as pl

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for stem, ids in (("users", self.user_ids), ("items", self.item_ids)):
            target, draft = folder / f"{stem}.parquet", folder / f".{stem}.parquet.{os.getpid()}"
            try:
                pl.DataFrame({"index": np.arange(len(ids), dtype=np.int64), "id": ids}).write_parquet(draft)
                draft.replace(target)
            finally:
                draft.unlink(missing_ok=True)

    def fingerprint(self) -> str:
        """SHA-256, in hex, of what training sees: counts, the three splits in order, the scaled features.

        Equal data give equal fingerprints whatever the name, the ids or the file they came from.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.num_users} users {self.num_items} items".encode())
        for part in (self.train, self.valid, self.test):
            for array in (part.user_N, part.item_N):
                digest.update(f"|{len(part)}|".encode())
                digest.update(np.ascontiguousarray(array, dtype="<i8").data)
        for modality, matrix in sorted(self.features.items()):
            digest.update(f"|{modality} {matrix.shape}|".encode())
            digest.update(np.ascontiguousarray(matrix, dtype="<f4").data)
        return digest.hexdigest()
