"""What an importer hands over: the parts of the log, what is known of items, and the files of features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crossrec.config import did_you_mean
from crossrec.data.importers.config import ImportConfig
from crossrec.data.io.features import open_features
from crossrec.data.io.parse_log import LABELS, positions
from crossrec.data.io.tables import Block, Table, find_column
from crossrec.data.io.text_chunks import ending
from crossrec.data.sources import FEATURE_END, name_problem
from crossrec.errors import DataError

if TYPE_CHECKING:
    import polars as pl

COPY = 4096  # feature rows that are copied at a time

Tell = Callable[[int, int], None]
"""Called with how much is done, and of how much."""


@dataclass(frozen=True)
class Files:
    """The files of a source. ``where``: what to call it in messages; ``paths``: sorted within a folder."""

    where: str
    paths: list[Path]

    def features(self) -> dict[str, Path]:
        """Modality → its ``<modality>_feat.npy``. Raises DataError for a name that cannot be one."""
        found = {path.name.removesuffix(FEATURE_END): path for path in self.paths if path.name.endswith(FEATURE_END)}
        found.pop("", None)
        for modality, path in found.items():
            if problem := name_problem(modality):
                raise DataError(f"{path}: {problem}; rename the file")
        return found


@dataclass(frozen=True)
class Part:
    """One file of interactions.

    ``columns``: role (user, item, time, rating, split) → what the file calls it. ``blocks``: its rows, a column a role.
    ``typed``: whether the file says what is text and what a number. ``split``: the label of all of its rows.
    """

    path: Path
    columns: dict[str, str]
    blocks: Callable[[], Iterator[Block]]
    typed: bool
    split: str | None = None


@dataclass(frozen=True)
class Features:
    """The features of one modality.

    ``fill(ids, target, tell)`` writes the row of every item id into ``target`` (N, D), leaves rows of zeros where there
    is none, and says where there is one, bool (N,); ``tell(done, total)`` is called on the way. ``keys``: items that
    have a row, in the order of the rows; None where they are not known without reading all of it.
    """

    modality: str
    path: Path
    columns: int
    dtype: np.dtype
    fill: Callable[[pl.Series, np.ndarray, Tell], np.ndarray]
    keys: pl.Series | None


@dataclass(frozen=True)
class ImportSource:
    """A source that has been looked at and not been read yet.

    ``items(ids, tell)``: a column ``item`` and what else is known, a row an item, for those of ``ids`` and perhaps
    others, or for all (None). ``users``: a column ``user`` and what else is known. ``rows``: (file, number of rows)
    where item ids are row numbers of the features, and so below that. ``used``: the files that are read.
    """

    parts: list[Part]
    features: list[Features]
    items: Callable[[pl.Series | None, Tell], pl.DataFrame] | None = None
    users: pl.DataFrame | None = None
    rows: tuple[Path, int] | None = None
    used: Sequence[Path] = ()


def find_roles(table: Table, config: ImportConfig, labelled: bool = False) -> dict[str, str]:
    """Which column of ``table`` plays which role, as far as the rules need it or the file has it.

    ``labelled``: the split is known from elsewhere. Raises DataError if one that is needed is missing or ambiguous.
    """
    roles: dict[str, str] = {}
    wanted = {role: getattr(config, f"{role}_column") for role in ("user", "item", "time", "rating", "split")}
    needed = {"user", "item"}
    if config.split == "time" or config.since is not None or config.until is not None:
        needed.add("time")
    if config.min_rating is not None:
        needed.add("rating")
    if config.split == "given":
        needed.add("split")
    if labelled or config.split not in ("auto", "given"):
        del wanted["split"]
    for role, name in wanted.items():
        if name == "" and role not in needed:
            continue
        column = find_column(table, role, name or None, required=role in needed)
        if column is not None:
            roles[role] = column
    return roles


def table_part(table: Table, roles: dict[str, str], split: str | None = None) -> Part:
    """A table as a part of the log."""
    import polars as pl

    def blocks() -> Iterator[Block]:
        for block in table.blocks(list(dict.fromkeys(roles.values()))):
            frame = block.frame.select(pl.col(column).alias(role) for role, column in roles.items())
            yield Block(frame, block.place, block.blank, block.done)

    return Part(table.path, roles, blocks, table.typed, split)


def table_parts(tables: list[Table], roles: dict[str, str], labels: Sequence[str | None]) -> list[Part]:
    """Tables that together are the log; ``roles``: columns of the first; ``labels``: the split of each, if known.

    Raises DataError if they are of different kinds, or a later one lacks a column that the first has.
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
    return [table_part(table, roles, label) for table, label in zip(tables, labels, strict=True)]


def stem(path: Path) -> str:
    """The name of a file without its ending, and without ``.gz``, in small letters."""
    return path.name.lower().removesuffix(".gz").removesuffix(ending(path))


def split_labels(names: Sequence[str], config: ImportConfig) -> list[str | None]:
    """Which split every file is, where there are several and each is called like one (train, valid, test, …)."""
    told = len(names) > 1 and all(name in LABELS and not name.isdigit() for name in names)
    return [name if told and config.split in ("auto", "given") else None for name in names]


def only(paths: list[Path], where: str, what: str) -> Path | None:
    """The one path, None if there is none. Raises DataError if there are several."""
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        raise DataError(f"{where}: more than one {what} ({names}); name the files to read")
    return paths[0] if paths else None


def npy_features(paths: dict[str, Path], keys: pl.Series | None, listed: str = "") -> list[Features]:
    """Feature matrices in ``.npy`` files; ``keys``: the item of every row, None where ids are row numbers.

    ``listed``: the file that the keys come from. Raises DataError if a file is damaged, or its rows do not fit.
    """
    import polars as pl

    matrices = {modality: open_features(path) for modality, path in sorted(paths.items())}
    counts = {paths[modality]: len(matrix) for modality, matrix in matrices.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{path.name} {count}" for path, count in counts.items())
        raise DataError(
            f"{next(iter(counts)).parent}: feature files have different numbers of rows ({told}); one row an item"
        )
    for path, count in counts.items():
        if keys is not None and count != len(keys):
            raise DataError(f"{path}: {count} rows, but {listed} lists {len(keys)} items; one row an item")
    return [
        Features(
            modality,
            paths[modality],
            matrix.shape[1],
            matrix.dtype,
            _filler(matrix, keys),
            pl.Series(np.arange(len(matrix))) if keys is None else keys,
        )
        for modality, matrix in matrices.items()
    ]


def numbered(paths: dict[str, Path]) -> tuple[list[Features], tuple[Path, int] | None]:
    """(features whose row n is of item n; the first file and how many rows it has)."""
    features = npy_features(paths, None)
    return features, (features[0].path, len(features[0].keys)) if features and features[0].keys is not None else None


def _filler(matrix: np.ndarray, keys: pl.Series | None) -> Callable[[pl.Series, np.ndarray, Tell], np.ndarray]:
    def fill(ids: pl.Series, target: np.ndarray, tell: Tell) -> np.ndarray:
        row_N = ids.to_numpy() if keys is None else positions(ids, keys)
        there_N: np.ndarray = (row_N >= 0) & (row_N < len(matrix))
        for start in range(0, len(ids), COPY):
            part = slice(start, start + COPY)
            target[part][there_N[part]] = matrix[row_N[part][there_N[part]]]
            tell(min(start + COPY, len(ids)), len(ids))
        present_N: np.ndarray = there_N & target_rows(target)
        return present_N

    return fill


def target_rows(target: np.ndarray) -> np.ndarray:
    """Which rows are not all zero, bool (N,)."""
    return np.concatenate([target[start : start + COPY].any(axis=1) for start in range(0, len(target), COPY)])
