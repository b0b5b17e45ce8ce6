"""Describe a data set by the columns of the paper's Table 1 and a few more."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from crossrec.data.config import DataConfig
from crossrec.data.io.features import mean_pairwise_cosine, missing_rows
from crossrec.data.loading import load


@dataclass(frozen=True)
class Description:
    """Counts and similarities of a data set; the keys of dicts are modalities.

    ``sparsity``: share of (user, item) pairs without interaction. ``mean_cosine``: mean cosine of the raw features over
    all pairs of different items with the feature (NaN for fewer than two). ``dropped_duplicates``: rows dropped because
    ``duplicates="drop"``.
    """

    name: str
    users: int
    items: int
    interactions: int
    train: int
    valid: int
    test: int
    sparsity: float
    users_without_training: int
    items_without_training: int
    dropped_duplicates: int
    columns: dict[str, int]
    mean_cosine: dict[str, float]
    items_without_feature: dict[str, int]

    def rows(self) -> list[tuple[str, str]]:
        """(name, value) of each entry, as text."""
        cells = [
            ("Users", f"{self.users:,}"),
            ("Items", f"{self.items:,}"),
            ("Interactions", f"{self.interactions:,}"),
            ("Train / valid / test", f"{self.train:,} / {self.valid:,} / {self.test:,}"),
            ("Sparsity", f"{self.sparsity:.2%}"),
            ("Users without training interactions", f"{self.users_without_training:,}"),
            ("Items without training interactions", f"{self.items_without_training:,}"),
        ]
        if self.dropped_duplicates:
            cells.append(("Dropped duplicate rows", f"{self.dropped_duplicates:,}"))
        for modality, cosine in self.mean_cosine.items():
            cells += [
                (f"{modality}: columns", f"{self.columns[modality]:,}"),
                (f"{modality}: mean cosine of two items", "–" if math.isnan(cosine) else f"{cosine:.4f}"),
                (f"{modality}: items without feature", f"{self.items_without_feature[modality]:,}"),
            ]
        return cells


def describe(config: DataConfig) -> Description:
    """Load the data set that ``config`` names and describe it; features are raw, whatever ``feature_scaling`` says.

    Raises DataError as :func:`load` does. Source: Table 1 of the paper.
    """
    dataset = load(config.model_copy(update={"feature_scaling": "none"}))
    interactions = len(dataset.train) + len(dataset.valid) + len(dataset.test)
    return Description(
        name=dataset.name,
        users=dataset.num_users,
        items=dataset.num_items,
        interactions=interactions,
        train=len(dataset.train),
        valid=len(dataset.valid),
        test=len(dataset.test),
        sparsity=1 - interactions / (dataset.num_users * dataset.num_items),
        users_without_training=dataset.num_users - len(np.unique(dataset.train.user_N)),
        items_without_training=dataset.num_items - len(np.unique(dataset.train.item_N)),
        dropped_duplicates=dataset.dropped_duplicates,
        columns={modality: matrix.shape[1] for modality, matrix in dataset.features.items()},
        mean_cosine={modality: mean_pairwise_cosine(matrix) for modality, matrix in dataset.features.items()},
        items_without_feature={name: int(missing_rows(matrix).sum()) for name, matrix in dataset.features.items()},
    )
