"""What an importer returns: the parts of the log, tables of items and users, and sources of features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from crossrec.config import did_you_mean
from crossrec.data.importers.config import ImportConfig
from crossrec.data.io.codes import positions
from crossrec.data.io.features import check_row_counts, open_features
from crossrec.data.io.id_column import find_roles
from crossrec.data.io.parse_log import LABELS, by_role
from crossrec.data.io.tables import Block, Table
from crossrec.data.io.text_chunks import ending
from crossrec.data.sources import feature_files
from crossrec.errors import DataError
from crossrec.lazy import polars as pl

COPY_ROWS = 4096  # feature rows copied at a time

ROLES = ("user", "item", "time", "rating", "split")

OnCount = Callable[[int, int], None]
"""Called with (amount done, total amount)."""

Fill = Callable[["pl.Series", np.ndarray, OnCount], np.ndarray]
"""``fill(ids, target, on_count)`` writes the feature row of every id into ``target`` (N, D), leaves zeros for ids
without one, and returns which ids have one, bool (N,)."""


@dataclass(frozen=True)
class SourceFiles:
    """The files of a source. ``where``: its name in error messages; ``paths``: sorted within a folder."""

    where: str
    paths: list[Path]

    def features(self) -> dict[str, Path]:
        """Modality → its ``<modality>_feat.npy``. Raises DataError for an invalid name of a modality."""
        return feature_files(self.paths)


@dataclass(frozen=True)
class LogPart:
    """One file of interactions.

    ``columns``: role (user, item, time, rating, split) → column of the file. ``blocks``: yields its rows, one column
    for each role. ``typed``: whether the file stores types. ``split``: the split of all its rows, if the file is one
    split.
    """

    path: Path
    columns: dict[str, str]
    blocks: Callable[[], Iterator[Block]]
    typed: bool
    split: str | None = None


@dataclass(frozen=True)
class FeatureSource:
    """The features of one modality.

    ``fill``: copies the rows of given items. ``keys``: the item of every row, in order; None if reading them requires
    reading all features.
    """

    modality: str
    path: Path
    columns: int
    dtype: np.dtype
    fill: Fill
    keys: pl.Series | None = field(repr=False)


@dataclass(frozen=True)
class ImportSource:
    """A source whose files have been inspected and not read yet.

    ``items(ids, on_count)``: a table with column ``item`` and further columns, one row an item, for at least ``ids``
    (None: all items). ``users``: a table with column ``user`` and further columns. ``feature_rows``: (file, number of
    rows) if item ids are row numbers of the features. ``used``: the files that are read.
    """

    parts: list[LogPart]
    features: list[FeatureSource]
    items: Callable[[pl.Series | None, OnCount], pl.DataFrame] | None = None
    users: pl.DataFrame | None = field(default=None, repr=False)
    feature_rows: tuple[Path, int] | None = None
    used: Sequence[Path] = ()


def import_roles(table: Table, config: ImportConfig, *, has_split: bool = False) -> dict[str, str]:
    """Map each role to its column in ``table``, for roles that the rules need or the file has.

    ``has_split``: the split is known from elsewhere. Raises DataError if a needed column is missing or ambiguous.
    """
    required = {"user", "item"}
    if config.split == "time" or config.since is not None or config.until is not None:
        required.add("time")
    if config.min_rating is not None:
        required.add("rating")
    if config.split == "given":
        required.add("split")
    names = {role: getattr(config, f"{role}_column") for role in ROLES}
    if has_split or config.split not in ("auto", "given"):
        del names["split"]
    names = {role: name or None for role, name in names.items() if name != "" or role in required}
    return find_roles(table, names, required)


def table_parts(tables: list[Table], roles: dict[str, str], splits: Sequence[str | None]) -> list[LogPart]:
    """Combine tables into one log; ``roles``: columns of the first; ``splits``: the split of each table, if known.

    Raises DataError if the formats differ or a later table lacks a column of the first.
    """
    first = tables[0]
    for table in tables[1:]:
        if table.kind != first.kind:
            raise DataError(f"{table.path}: another kind of file than {first.path.name}; name the files to read")
        for column in roles.values():
            if column not in table.columns:
                raise DataError(
                    f"{table.path}: no column '{column}', which {first.path.name} has"
                    f"{did_you_mean(column, table.columns)}; rename it, or name the files to read"
                )
    return [_table_part(table, roles, split) for table, split in zip(tables, splits, strict=True)]


def _table_part(table: Table, roles: dict[str, str], split: str | None) -> LogPart:
    def blocks() -> Iterator[Block]:
        for block in table.blocks(list(dict.fromkeys(roles.values()))):
            yield by_role(block, roles)

    return LogPart(table.path, roles, blocks, table.typed, split)


def stem(path: Path) -> str:
    """The file name in lower case, without its extension and ``.gz``."""
    return path.name.lower().removesuffix(".gz").removesuffix(ending(path))


def file_splits(names: Sequence[str], config: ImportConfig) -> list[str | None]:
    """The split of each file, if there are several and all have names of splits (train, valid, test, …)."""
    named = len(names) > 1 and all(name in LABELS and not name.isdigit() for name in names)
    return [name if named and config.split in ("auto", "given") else None for name in names]


def at_most_one(paths: list[Path], where: str, what: str) -> Path | None:
    """The one path, or None. Raises DataError if there are several."""
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        raise DataError(f"{where}: more than one {what} ({names}); name the files to read")
    return paths[0] if paths else None


def npy_features(paths: dict[str, Path], keys: pl.Series | None, listed_in: str = "") -> list[FeatureSource]:
    """Open the feature matrices of ``.npy`` files; ``keys``: the item of every row, None if ids are row numbers.

    ``listed_in``: name of the file with the keys. Raises DataError if a file is damaged or has the wrong number of
    rows.
    """
    matrices = {modality: open_features(path) for modality, path in sorted(paths.items())}
    row_counts = {paths[modality]: len(matrix) for modality, matrix in matrices.items()}
    check_row_counts(row_counts, listed_in, None if keys is None else len(keys))
    return [
        FeatureSource(
            modality,
            paths[modality],
            matrix.shape[1],
            matrix.dtype,
            _matrix_fill(matrix, keys),
            pl.Series(np.arange(len(matrix))) if keys is None else keys,
        )
        for modality, matrix in matrices.items()
    ]


def numbered_features(paths: dict[str, Path]) -> tuple[list[FeatureSource], tuple[Path, int] | None]:
    """Return (features whose row n belongs to item n; the first file and its number of rows)."""
    features = npy_features(paths, None)
    first = features[0] if features else None
    return features, (first.path, len(first.keys)) if first is not None and first.keys is not None else None


def _matrix_fill(matrix: np.ndarray, keys: pl.Series | None) -> Fill:
    def fill(ids: pl.Series, target: np.ndarray, on_count: OnCount) -> np.ndarray:
        row_N = ids.to_numpy() if keys is None else positions(ids, keys)
        in_matrix_N: np.ndarray = (row_N >= 0) & (row_N < len(matrix))
        for start in range(0, len(ids), COPY_ROWS):
            rows = slice(start, start + COPY_ROWS)
            target[rows][in_matrix_N[rows]] = matrix[row_N[rows][in_matrix_N[rows]]]
            on_count(min(start + COPY_ROWS, len(ids)), len(ids))
        has_feature_N: np.ndarray = in_matrix_N & nonzero_rows(target)
        return has_feature_N

    return fill


def nonzero_rows(matrix: np.ndarray) -> np.ndarray:
    """Which rows are not all zero, bool (N,)."""
    return np.concatenate([matrix[start : start + COPY_ROWS].any(axis=1) for start in range(0, len(matrix), COPY_ROWS)])
