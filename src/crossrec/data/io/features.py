"""Content features: read without trust, scale without surprise, compare without an items × items matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossrec.config import did_you_mean
from crossrec.data.config import Scaling
from crossrec.errors import DataError

BLOCK = 4096  # rows that are held in float64 at a time
_MAGIC = b"\x93NUMPY"


def choose_modalities(found: Sequence[str], wanted: Sequence[str] | None, where: str) -> list[str]:
    """The modalities to use, sorted: those ``wanted``, or all ``found``. Raises DataError on one that is not there."""
    for name in wanted or ():
        if name not in found:
            hint = did_you_mean(name, list(found)) if found else f"; it has no features, add {name}_feat.npy"
            raise DataError(f"{where}: no modality '{name}'{hint}")
    return sorted(set(found if wanted is None else wanted))


def open_features(path: Path) -> np.ndarray:
    """The matrix of a ``.npy`` file, (I, D), mapped from disk and checked; pickled objects are never loaded.

    Raises DataError if the file is damaged or no .npy, or the array is not a finite real matrix.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise DataError(f"{path}: not a .npy file; write it with numpy.save")
        matrix: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the file and its permissions") from None
    except Exception as error:  # whatever a damaged or hostile header makes of the parser
        if "object" in str(error).lower():
            raise DataError(
                f"{path}: holds pickled Python objects, which are not loaded; save numbers, e.g. float32"
            ) from None
        raise DataError(f"{path}: truncated or damaged; write it again with numpy.save") from None
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


def missing_rows(matrix: np.ndarray) -> np.ndarray:
    """Which items have no feature: bool (I,), true where the row is all zero."""
    return np.concatenate([~block.any(axis=1) for _, block in _blocks(matrix)])


@dataclass(frozen=True)
class Scaler:
    """How the features of a modality are scaled: (x - centre) · factor by column, then length 1 by row if ``unit``.

    ``centre_D``, ``factor_D``: float64 (D,). Rows that are all zero mean "no feature" and stay so.
    """

    centre_D: np.ndarray
    factor_D: np.ndarray
    unit: bool

    @classmethod
    def fit(cls, matrix: np.ndarray, how: Scaling) -> Scaler:
        """``standardize``: every column to mean 0 and (population) deviation 1 over the items that have the feature, a
        constant column to zero. ``l2``: every row to length 1. Statistics are in float64."""
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
            out[start : start + len(block)][present] = _unit(rows) if self.unit else rows
        return out


def scale(matrix: np.ndarray, how: Scaling) -> np.ndarray:
    """The features scaled by their own ``Scaler``."""
    return Scaler.fit(matrix, how)(matrix)


def mean_pairwise_cosine(matrix: np.ndarray) -> float:
    """Mean cosine over all pairs of different items that have the feature; NaN for fewer than two.

    A column of the paper's Table 1. With unit rows x̂: Σ_{i≠j} x̂_i·x̂_j = |Σ_i x̂_i|² - n, so neither time nor memory
    grows with n².
    """
    count, total = 0, np.zeros(matrix.shape[1])
    for _, block in _blocks(matrix):
        rows = block[block.any(axis=1)]
        count += len(rows)
        total += _unit(rows).sum(axis=0)
    return float((np.square(total).sum() - count) / (count * (count - 1))) if count > 1 else float("nan")


def _blocks(matrix: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, float64 copy of the rows) block by block."""
    for start in range(0, len(matrix), BLOCK):
        yield start, np.asarray(matrix[start : start + BLOCK], dtype=np.float64)


def _column_scale(matrix: np.ndarray) -> tuple[Any, Any]:
    """Per column: the mean, and one over the deviation (0 if constant), over rows that are not all zero."""
    count, total = 0, np.zeros(matrix.shape[1])
    low, high = np.full(matrix.shape[1], np.inf), np.full(matrix.shape[1], -np.inf)
    for _, block in _blocks(matrix):
        rows = block[block.any(axis=1)]
        count += len(rows)
        total += rows.sum(axis=0)
        low, high = (
            np.minimum(low, rows.min(axis=0, initial=np.inf)),
            np.maximum(high, rows.max(axis=0, initial=-np.inf)),
        )
    mean = total / max(count, 1)
    squares = np.zeros(matrix.shape[1])
    for _, block in _blocks(matrix):
        squares += np.square(block[block.any(axis=1)] - mean).sum(axis=0)
    deviation = np.sqrt(squares / max(count, 1))
    varies = (high > low) & (deviation > 0)
    return mean, np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays."""
    length = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    unit: np.ndarray = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return unit
