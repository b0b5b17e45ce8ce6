"""A run's vectors with further items among them, and what their raw features become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossrec.errors import DataError
from crossrec.runs.embeddings import TrainedEmbeddings


def content_of(vectors: TrainedEmbeddings, features: Mapping[str, Any]) -> dict[str, Tensor]:
    """i^m, (N, L) by modality, of raw features (N, D_m) that nobody has looked at.

    Raises DataError for none, an unknown modality, another width than the run was trained with, numbers of rows that
    differ, and what is not a finite number.
    """
    if not features:
        raise DataError(f"no features: give at least one of {', '.join(vectors.content_encoders)}")
    raw: dict[str, np.ndarray] = {}
    for m, given in features.items():
        if m not in vectors.content_encoders:
            raise DataError(f"unknown modality '{m}': this run has {', '.join(vectors.content_encoders)}")
        width = vectors.content_encoders[m].weights[0].shape[1]
        try:
            matrix = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"features '{m}': not numbers; give {width} an item") from None
        if matrix.ndim != 2 or matrix.shape[1] != width:
            shape = " x ".join(map(str, matrix.shape[1:])) or "0"
            raise DataError(f"features '{m}': {shape} numbers an item, the run was trained with {width}")
        if not (np.abs(matrix) <= np.finfo(np.float32).max).all():
            raise DataError(f"features '{m}': a number is not finite; leave the modality out if there is none")
        raw[m] = matrix
    if len({len(matrix) for matrix in raw.values()}) > 1:
        raise DataError("modalities with different numbers of rows: one row an item")
    with torch.no_grad():
        return vectors.features(raw)


def with_rows(old: TrainedEmbeddings, made_NS: Tensor, content: Mapping[str, Tensor]) -> TrainedEmbeddings:
    """Items behind the known ones: ``made_NS`` rank them, ``content`` is i^m, (N, L), zeros for what is not there."""
    count, width = len(made_NS), old.item_IL.shape[1]
    item_IS = torch.cat([old.item_IS, made_NS])
    item_IL = torch.cat([old.item_IL, torch.zeros(count, width)]) if old.item_IL is not old.item_IS else item_IS
    lacking = torch.zeros(count, width)
    return replace(
        old,
        item_IS=item_IS,
        item_IL=item_IL,
        degree_I=torch.cat([old.degree_I, torch.zeros(count, dtype=torch.int64)]),
        made_I=torch.cat([_made(old), (made_NS != 0).any(1)]),
        modality_IL={m: torch.cat([table, content.get(m, lacking)]) for m, table in old.modality_IL.items()},
    )


def with_rows_anew(old: TrainedEmbeddings, row_N: Tensor, made_NS: Tensor) -> TrainedEmbeddings:
    """Items ``row_N`` ranked by ``made_NS`` instead of what they had; where that is zero they keep it."""
    found = (made_NS != 0).any(1)
    row_N, made_NS = row_N[found], made_NS[found]
    item_IS = old.item_IS.index_copy(0, row_N, made_NS)
    return replace(
        old,
        item_IS=item_IS,
        item_IL=item_IS if old.item_IL is old.item_IS else old.item_IL.index_fill(0, row_N, 0.0),
        part_IS={name: table.index_fill(0, row_N, 0.0) for name, table in old.part_IS.items()},
        made_I=_made(old).index_fill(0, row_N, True),
    )


def _made(vectors: TrainedEmbeddings) -> Tensor:
    return torch.zeros(vectors.num_items, dtype=torch.bool) if vectors.made_I is None else vectors.made_I
