"""What an importer returns: the parts of the log, tables of items and users, and sources of features."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from crossrec.config import did_you_mean
from crossrec.data.importers.config import ImportConfig
from crossrec.data.io.blank import says_nothing
from crossrec.data.io.codes import positions
from crossrec.data.io.feature_card import FeatureCard, read_card
from crossrec.data.io.features import check_row_counts, open_features
from crossrec.data.io.id_column import COLUMN_NAMES, IdListing, find_roles, normalize_name
from crossrec.data.io.npy import RowWriter
from crossrec.data.io.numbers import NumberReader
from crossrec.data.io.parse_log import LABELS, by_role
from crossrec.data.io.tables import Block, Table
from crossrec.data.sources import feature_files
from crossrec.errors import DataError, setting
from crossrec.lazy import polars as pl

COPY_ROWS = 4096  # feature rows copied at a time

ROLES = ("user", "item", "time", "rating", "split", "event", "weight")
NAMED_ROLES = ("event", "weight")
"""Roles without well-known names: only a column that is named plays them."""

ITEM_COLUMNS = {
    "title": ("title", "name", "itemname", "itemtitle", "productname", "producttitle", "movietitle"),
    "text": ("text", "description", "desc", "itemtext", "productdescription"),
    "brand": ("brand", "manufacturer"),
    "category": ("category", "categories", "genre", "genres", "class", "itemcategory", "productcategory"),
    "price": ("price",),
    "picture": ("picture", "image", "img", "photo", "imagepath", "picturepath", "imageurl", "imurl", "pictureurl"),
}
"""Column of items.parquet → its names in sources, as ``normalize_name`` writes them."""

OnCount = Callable[[int, int], None]
"""Called with (amount done, total amount)."""

Fill = Callable[["pl.Series", RowWriter, OnCount], None]
"""``fill(ids, target, on_count)`` writes the feature row of every id that has one into ``target`` (N, D)."""


@dataclass(frozen=True)
class SourceFiles:
    """The files of a source. ``where``: its name in error messages; ``paths``: sorted within a folder."""

    where: str
    paths: list[Path]

    def at_most_one(self, what: str, matches: Callable[[Path], object]) -> Path | None:
        """The one file that matches, or None. Raises DataError if there are several."""
        paths = [path for path in self.paths if matches(path)]
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise DataError(f"{self.where}: more than one {what} ({names}); name the files to read")
        return paths[0] if paths else None


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
    reading all features. ``card``: that of the source's file, if it has one.
    """

    modality: str
    columns: int
    dtype: np.dtype
    fill: Fill
    keys: pl.Series | None = field(repr=False)
    card: FeatureCard | None = None


@dataclass(frozen=True)
class ImportSource:
    """A source whose files have been inspected and not read yet.

    ``items(ids, on_count)``: a table with column ``item`` and further columns, one row an item, for at least ``ids``
    (None: all items); ``items_path``: its file. ``users``: a table with column ``user`` and further columns.
    ``feature_rows``: (file, number of rows) if item ids are row numbers of the features. ``used``: the files that are
    read. ``notes``: what is told about them.
    """

    parts: list[LogPart]
    features: list[FeatureSource]
    items: Callable[[pl.Series | None, OnCount], pl.DataFrame] | None = None
    items_path: Path | None = None
    users: pl.DataFrame | None = field(default=None, repr=False)
    feature_rows: tuple[Path, int] | None = None
    used: Sequence[Path] = ()
    notes: Sequence[str] = ()


def import_roles(table: Table, config: ImportConfig, *, has_split: bool = False) -> dict[str, str]:
    """Map each role to its column in ``table``, for roles that the rules need or the file has.

    ``has_split``: the split is known from elsewhere. Raises DataError if a needed column is missing or ambiguous.
    """
    required = {"user", "item"}
    if config.split in ("time", "date") or any(
        rule is not None for rule in (config.since, config.until, config.half_life)
    ):
        required.add("time")
    if config.min_rating is not None or (config.duplicates == "highest" and not config.has_weights):
        required.add("rating")
    if config.split == "given":
        required.add("split")
    names = {role: getattr(config, f"{role}_column") for role in ROLES}
    if has_split or config.split not in ("auto", "given"):
        del names["split"]
    for role in NAMED_ROLES:
        if not names[role]:
            del names[role]
    if names["rating"] is None and "rating" not in required and names.get("weight"):
        weight = normalize_name(str(names["weight"]))
        names["rating"] = "" if weight in COLUMN_NAMES["rating"] else None  # a column plays one role
    names = {role: name or None for role, name in names.items() if name != "" or role in required}
    return find_roles(table, names, required)


def table_parts(
    tables: list[Table], roles: dict[str, str], config: ImportConfig, splits: Sequence[str | None] = (None,)
) -> list[LogPart]:
    """Combine tables into one log; ``roles``: columns of the first; ``splits``: the split of each table, if known.

    Malformed records are dropped and counted if ``config`` drops bad rows. Raises DataError if the formats differ or a
    later table lacks a column of the first.
    """
    drop_malformed = config.bad_rows == "drop"
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
    return [
        LogPart(table.path, roles, partial(_role_blocks, table, roles, drop_malformed), table.typed, split)
        for table, split in zip(tables, splits, strict=True)
    ]


def _role_blocks(table: Table, roles: dict[str, str], drop_malformed: bool) -> Iterator[Block]:
    ids = [roles["user"], roles["item"]]
    blocks = table.blocks(list(dict.fromkeys(roles.values())), ids, drop_malformed=drop_malformed)
    return (by_role(block, roles) for block in blocks)


def file_splits(names: Sequence[str], config: ImportConfig) -> list[str | None]:
    """The split of each file, if there are several and all have names of splits (train, valid, test, …)."""
    named = len(names) > 1 and all(name in LABELS and not name.isdigit() for name in names)
    return [name if named and config.split in ("auto", "given") else None for name in names]


def entity_table(listing: IdListing, role: str, config: ImportConfig, notes: list[str]) -> pl.DataFrame:
    """The ids as a column named by their role, then the further columns.

    Of ``item`` columns, the one that ``config`` names for a standard meaning gets its name, or else the first with a
    well-known name; prices in text become numbers if all are, otherwise ``notes`` gets a line. A further column already
    called like the ids gets underscores appended. Raises DataError if there is no column of a name that is given.
    """
    others = [column for column in listing.frame.columns if column != listing.column]
    names = dict(zip(others, others, strict=True))
    if role == "item":
        names |= _standard_names(others, listing.table.path, config)
    names |= {column: _free_name(role, names.values()) for column, name in names.items() if name == role}
    columns = [listing.frame[column].alias(name) for column, name in names.items()]
    columns = [_as_numbers(cells, config, notes) if cells.name == "price" else cells for cells in columns]
    return pl.DataFrame([listing.ids.alias(role), *columns])


def _free_name(name: str, names: Collection[str]) -> str:
    """``name`` with underscores appended until it is none of ``names``."""
    while name in names:
        name += "_"
    return name


def _standard_names(columns: Sequence[str], path: Path, config: ImportConfig) -> dict[str, str]:
    """Map columns of a table of items to the standard names that they get."""
    given = {name: getattr(config, f"{name}_column") for name in ITEM_COLUMNS}
    renames: dict[str, str] = {}
    for name, column in given.items():
        if column and column not in columns:
            raise DataError(
                f"{path}: no column '{column}'{did_you_mean(column, list(columns))} ({setting(f'{name}_column')})"
            )
        if column in renames:
            raise DataError(f"{path}: column '{column}' is named as the {renames[column]} and the {name}; name two")
        if column:
            renames[column] = name
    renames |= {name: _free_name(name, columns) for name in renames.values() if name in columns and name not in renames}
    for name, aliases in ITEM_COLUMNS.items():
        matches = [column for alias in aliases for column in columns if normalize_name(column) == alias]
        if given[name] is None and matches and matches[0] not in renames and name not in columns:
            renames[matches[0]] = name
    return renames


def _as_numbers(prices: pl.Series, config: ImportConfig, notes: list[str]) -> pl.Series:
    """Prices as numbers, if every price is one."""
    if prices.dtype != pl.String:
        return prices
    reader, is_blank = NumberReader(config.decimal), says_nothing(prices)
    cells = prices.set(is_blank, None)
    numbers, _ = reader.parse(cells)
    bad = numbers.is_null() & ~is_blank
    if bad.any():
        notes.append(f"prices such as '{cells[int(bad.arg_max() or 0)]}' are no numbers: the column stays text")
        return prices
    if reader.decimal not in (None, config.decimal):
        notes.append(f"prices: with a decimal {'comma' if reader.decimal == ',' else 'point'}, as the cells show")
    return numbers.alias(prices.name)


def is_prose(column: str) -> bool:
    """Whether a column holds titles or texts, whose blanks do not separate values."""
    return normalize_name(column) in ITEM_COLUMNS["title"] + ITEM_COLUMNS["text"]


def complete_source(
    files: SourceFiles,
    log_paths: Iterable[Path],
    parts: list[LogPart],
    items: tuple[Path, pl.DataFrame] | None = None,
    users: tuple[Path, pl.DataFrame] | None = None,
    notes: Sequence[str] = (),
) -> ImportSource:
    """Combine a log, the ``.npy`` features of ``files``, and tables of items and users with their files.

    Features have a row for each row of ``items``, else row n belongs to item n. Raises DataError if a feature file is
    damaged or has the wrong number of rows.
    """
    paths = feature_files(files.paths)
    matrices = {modality: open_features(path) for modality, path in sorted(paths.items())}
    row_counts = {paths[modality]: len(matrix) for modality, matrix in matrices.items()}
    keys = None if items is None else items[1]["item"]
    if items is None:
        check_row_counts(row_counts)
    else:
        check_row_counts(row_counts, items[0].name, items[1].height)
    features = [
        FeatureSource(
            modality,
            matrix.shape[1],
            matrix.dtype,
            fill=partial(_copy_rows, matrix, keys),
            keys=pl.Series(np.arange(len(matrix))) if keys is None else keys,
            card=read_card(paths[modality]),
        )
        for modality, matrix in matrices.items()
    ]
    return ImportSource(
        parts,
        features,
        None if items is None else lambda _, __: items[1],
        None if items is None else items[0],
        None if users is None else users[1],
        feature_rows=next(iter(row_counts.items()), None) if items is None else None,
        used=[*log_paths, *paths.values(), *(path for path, _ in filter(None, (items, users)))],
        notes=notes,
    )


def _copy_rows(
    matrix: np.ndarray, keys: pl.Series | None, ids: pl.Series, target: RowWriter, on_count: OnCount
) -> None:
    """The ``Fill`` of a matrix whose rows belong to the items ``keys``, or to the items 0, 1, 2, …"""
    row_N = ids.to_numpy() if keys is None else positions(ids, keys)
    in_matrix = np.flatnonzero((row_N >= 0) & (row_N < len(matrix)))
    for start in range(0, len(in_matrix), COPY_ROWS):
        rows = in_matrix[start : start + COPY_ROWS]
        target.write(rows, matrix[row_N[rows]])
        on_count(start + len(rows), len(in_matrix))
