"""Read, check and scale content features, and average their pairwise cosine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossrec.config import did_you_mean
from crossrec.data.config import Scaling
from crossrec.data.io.feature_card import check_features
from crossrec.data.io.open_text import reading
from crossrec.errors import DataError

BLOCK = 4096  # rows converted to float64 at a time
MAX_VALUE = 1e6  # of features to train with: squares and sums of them are far from the limits of float32
_MAGIC = b"\x93NUMPY"


def choose_modalities(available: Sequence[str], wanted: Sequence[str] | None, where: str) -> list[str]:
    """Return the modalities to use, sorted: ``wanted``, or all ``available``. Raises DataError for a missing one."""
    for name in wanted or ():
        if name not in available:
            hint = did_you_mean(name, list(available)) if available else f"; it has no features, add {name}_feat.npy"
            raise DataError(f"{where}: no modality '{name}'{hint}")
    return sorted(set(available if wanted is None else wanted))


def check_row_counts(row_counts: Mapping[Path, int], listed_in: str = "", num_items: int | None = None) -> None:
    """Check that feature files have one row an item. ``row_counts``: file → rows.

    ``num_items``: items that the file ``listed_in`` lists, if there is one. Raises DataError if the numbers differ.
    """
    if len(set(row_counts.values())) > 1:
        counts = ", ".join(f"{path.name} {count}" for path, count in row_counts.items())
        raise DataError(
            f"{next(iter(row_counts)).parent}: feature files have different numbers of rows ({counts}); one row an item"
        )
    for path, count in row_counts.items():
        if num_items is not None and count != num_items:
            raise DataError(f"{path}: {count} rows, but {listed_in} lists {num_items} items; one row an item")


def no_feature_row(path: Path, count: int, hint: str | None = None) -> str:
    """The reason in an error message for an item id that is none of the ``count`` row numbers of ``path``."""
    hint = hint or "add the row, or items.csv listing the ids in row order"
    return f"has no row in {path.name}, which has {count} (0 to {count - 1}); {hint}"


def open_features(path: Path | str) -> np.ndarray:
    """``open_matrix`` of a feature file, after it was held against its card, if it has one (``check_features``)."""
    path = Path(path)
    check_features(path)
    return open_matrix(path)


def open_matrix(path: Path) -> np.ndarray:
    """Map the matrix of a ``.npy`` file, (I, D), from disk and check it; pickled objects are never loaded.

    Raises DataError if the file is damaged or not a .npy file, or if the array is not a finite real matrix.
    """
    try:
        with reading(path), path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise DataError(f"{path}: not a .npy file; write it with numpy.save")
            matrix: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except DataError:
        raise
    except Exception as error:  # a damaged or hostile header can raise anything
        if "object" in str(error).lower():
            raise DataError(
                f"{path}: holds pickled Python objects, which are not loaded; save numbers, e.g. float32"
            ) from None
        raise DataError(f"{path}: truncated or damaged; write it again with numpy.save") from None
    if matrix.ndim == 2 and isinstance(matrix, np.memmap) and matrix.offset + matrix.nbytes != path.stat().st_size:
        extra = path.stat().st_size - matrix.offset - matrix.nbytes
        raise DataError(
            f"{path}: {extra:,} bytes more than a matrix of shape {matrix.shape} has; write it again with numpy.save"
        )
    if matrix.ndim != 2:
        raise DataError(
            f"{path}: has {matrix.ndim} dimensions {matrix.shape}; save one row an item, one column a feature"
        )
    if matrix.dtype.kind not in "fiu":
        raise DataError(f"{path}: holds {matrix.dtype}; save numbers, e.g. float32")
    if 0 in matrix.shape:
        raise DataError(f"{path}: is empty, shape {matrix.shape}; save one row an item, one column a feature")
    for start, block in _blocks(matrix):
        bad = ~np.isfinite(block) | (np.abs(block) > np.finfo(np.float32).max)
        if bad.any():
            row, column = (int(index) for index in np.argwhere(bad)[0])
            raise DataError(
                f"{path}, row {start + row}, column {column} (from 0): {matrix[start + row, column]} is not a "
                f"finite 32-bit number; replace it, or make the row all zero if the item has no feature"
            )
    return matrix


def too_large(modality: str, matrix: np.ndarray) -> str | None:
    """What to do about scaled features with values that no training bears; None if all are at most MAX_VALUE."""
    largest = max(-float(matrix.min(initial=0)), float(matrix.max(initial=0)))
    if largest <= MAX_VALUE:
        return None
    return (
        f"modality '{modality}' has values up to {largest:.3g}, too large to train with (more than {MAX_VALUE:.0e}); "
        "scale them with --feature-scaling standardize_l2"
    )


def missing_rows(matrix: np.ndarray) -> np.ndarray:
    """Which items have no feature (a row of zeros), bool (I,)."""
    return np.concatenate([~matrix[start : start + BLOCK].any(axis=1) for start in range(0, len(matrix), BLOCK)])


@dataclass(frozen=True, repr=False)
class Scaler:
    """Scale the features of a modality: (x - centre) · factor by column, then length 1 by row if ``unit``.

    ``centre_D``, ``factor_D``: float64 (D,). Rows of zeros (no feature) stay zero.
    """

    centre_D: np.ndarray
    factor_D: np.ndarray
    unit: bool

    def __repr__(self) -> str:
        return f"Scaler({len(self.centre_D)} columns, unit={self.unit})"

    @classmethod
    def fit(cls, matrix: np.ndarray, how: Scaling) -> Scaler:
        """Fit a scaler to ``matrix`` (I, D).

        ``standardize``: mean 0 and population standard deviation 1 of each column over the items that have the feature;
        a constant column becomes zero. ``l2``: every row gets length 1. Statistics are in float64.
        """
        columns = matrix.shape[1]
        centre, factor = np.zeros(columns), np.ones(columns)
        if how in ("standardize", "standardize_l2"):
            centre, factor = _column_scale(matrix)
        return cls(centre, factor, how in ("l2", "standardize_l2"))

    def __call__(self, matrix: np.ndarray) -> np.ndarray:
        """Scaled features, float32 (N, D), C-contiguous."""
        out = np.zeros(matrix.shape, dtype=np.float32)
        for start, block in _blocks(matrix):
            present = block.any(axis=1)
            rows = (block[present] - self.centre_D) * self.factor_D
            out[start : start + len(block)][present] = _normalize_rows(rows) if self.unit else rows
        return out


def mean_pairwise_cosine(matrix: np.ndarray) -> float:
    """Return the mean cosine over all pairs of different items with the feature; NaN for fewer than two.

    A column of the paper's Table 1. With unit rows x̂: Σ_{i≠j} x̂_i·x̂_j = |Σ_i x̂_i|² - n, so neither time nor memory
    grows with n².
    """
    count, total = 0, np.zeros(matrix.shape[1])
    for rows in _present_rows(matrix):
        count += len(rows)
        total += _normalize_rows(rows).sum(axis=0)
    return float((np.square(total).sum() - count) / (count * (count - 1))) if count > 1 else float("nan")


def _blocks(matrix: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, float64 copy of the rows) block by block."""
    for start in range(0, len(matrix), BLOCK):
        yield start, np.asarray(matrix[start : start + BLOCK], dtype=np.float64)


def _present_rows(matrix: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the rows that are not all zero, float64, block by block."""
    return (block[block.any(axis=1)] for _, block in _blocks(matrix))


def _column_scale(matrix: np.ndarray) -> tuple[Any, Any]:
    """Return, for each column, the mean and 1 / deviation (0 if constant) over rows that are not all zero."""
    count, total = 0, np.zeros(matrix.shape[1])
    low, high = np.full(matrix.shape[1], np.inf), np.full(matrix.shape[1], -np.inf)
    for rows in _present_rows(matrix):
        count += len(rows)
        total += rows.sum(axis=0)
        low = np.minimum(low, rows.min(axis=0, initial=np.inf))
        high = np.maximum(high, rows.max(axis=0, initial=-np.inf))
    mean = total / max(count, 1)
    squares = np.zeros(matrix.shape[1])
    for rows in _present_rows(matrix):
        squares += np.square(rows - mean).sum(axis=0)
    deviation = np.sqrt(squares / max(count, 1))
    varies = (high > low) & (deviation > 0)
    return mean, np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)


def _normalize_rows(rows: np.ndarray) -> np.ndarray:
    """Scale rows to length 1; rows of zeros stay zero."""
    length = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 0))
