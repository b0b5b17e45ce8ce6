"""Items of a data folder in the row order of its features, with the columns of a table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossrec.data.io.blank import says_nothing, strip_invisible
from crossrec.data.io.codes import positions
from crossrec.data.io.feature_card import RowSource
from crossrec.data.io.features import open_matrix
from crossrec.data.io.id_column import IdListing, find_column, read_ids, read_listing
from crossrec.data.io.open_text import ending
from crossrec.data.io.tables import open_table, plain_column
from crossrec.data.row_numbers import no_row_index, too_sparse
from crossrec.data.sources import FEATURE_END, INTER, SUFFIXES, existing, items_file, locate
from crossrec.data.synthetic import RECIPES
from crossrec.errors import DataError, setting
from crossrec.features.config import FeaturesConfig
from crossrec.lazy import polars as pl

JSON_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class CatalogueItems:
    """Ids of the items (I,) in row order, and ``row_I``: the row of each item in ``listing``, -1 where it has none.

    ``folder_listing``: the items table of the folder, which may be ``listing`` itself. ``row_indices``: ids are rows.
    """

    folder: Path
    ids: pl.Series
    listing: IdListing | None
    row_I: np.ndarray
    folder_listing: IdListing | None
    row_indices: bool

    def row_source(self, columns: Iterable[str]) -> RowSource | None:
        """Digest the ids and, where they are in it, ``columns`` of the folder's items table; None if it has none."""
        own = self.folder_listing
        if own is None:
            return None
        columns = dict.fromkeys(columns) if own is self.listing else ()
        return RowSource.of([own.column, *columns], own.ids, own.frame, by_id=self.row_indices)

    def text(self, column: str, *, first: bool = False) -> tuple[pl.Series, int]:
        """Return (cells of a column by item as text, (I,); how many of them stand for a missing one by a word).

        A cell is null where it shows nothing or a word for nothing such as ``nan``, and where the table lacks the item.
        Numbers, dates, booleans and the elements of a list are written as text; ``first``: only the first element of a
        list. Raises DataError naming the column where it holds another type.
        """
        assert self.listing is not None
        rows = pl.Series(self.row_I)
        cells = plain_column(self.listing.frame, column).gather(rows.set(rows < 0, None))
        if self.listing.table.kind in JSON_LINES:
            cells = _join_json_lists(cells, first)
        if first and isinstance(cells.dtype, pl.List):
            cells = cells.list.first()
        kind = cells.dtype
        if isinstance(kind, pl.List | pl.Array) and not kind.inner.is_nested():
            cells = cells.cast(pl.List(pl.String)).list.join(" ", ignore_nulls=True)
        elif kind.is_nested() or kind in (pl.Binary, pl.Object):
            raise DataError(f"{self.column(column)} holds {kind}; give a column of text, numbers or lists of them")
        if kind.is_float():
            cells = cells.fill_nan(None)
        cells = cells.cast(pl.String)
        missing, shown = says_nothing(cells), strip_invisible(cells)
        text = cells.str.strip_chars() if first else shown  # a file may be called so
        return text.set(missing, None), int((missing & (shown != "")).sum())

    def column(self, column: str) -> str:
        """File and column, for error messages."""
        assert self.listing is not None
        return f"{self.listing.table.path}: column '{column}'"

    def location(self, item: int) -> str:
        """File and line (or row) of an item, for error messages."""
        assert self.listing is not None
        return self.listing.location(int(self.row_I[item]))


def _join_json_lists(cells: pl.Series, first: bool) -> pl.Series:
    """Write lists of JSON Lines, which are read as text such as '["a", "b"]', as Parquet's lists are written."""
    if not cells.str.starts_with("[").any():
        return cells
    return pl.Series(cells.name, [_join_json_list(cell, first) for cell in cells.to_list()], dtype=pl.String)


def _join_json_list(cell: str | None, first: bool) -> str | None:
    try:
        elements = json.loads(cell) if cell and cell.startswith("[") else None
    except (ValueError, RecursionError):
        elements = None
    if not isinstance(elements, list) or any(isinstance(element, list | dict) for element in elements):
        return cell
    elements = [element for element in elements if element is not None][: 1 if first else None]
    return " ".join(element if isinstance(element, str) else json.dumps(element) for element in elements)


def read_items(config: FeaturesConfig) -> CatalogueItems:
    """Read the items of ``config.data`` and the columns that ``config`` names.

    The row order is that of ``crossrec.data.load``: the order of the items file, or of the ids where they are row
    numbers. Raises DataError where the folder, the table or a column is missing, or no id of the table is an item.
    """
    if config.data in RECIPES:
        raise DataError(f"{setting('data')} '{config.data}': a built-in set has its features already; give a folder")
    data_path = existing(config.data)
    folder = data_path if data_path.is_dir() else data_path.parent
    columns = [*config.text, *([config.image] if config.image else [])]
    folder_table = items_file(folder)
    path = config.items or folder_table
    if columns and path is None:
        kinds = ",".join(SUFFIXES)
        raise DataError(
            f"{folder}: no items table; put items{{{kinds}}} with item ids and {', '.join(columns)} there, or name "
            "one with --items"
        )
    listing = None
    if path is not None:
        table = open_table(path)
        for column in [*([config.item_column] if config.item_column else []), *columns]:
            find_column(table, "item", column, required=True)  # raises an error that names the nearest column
        listing = read_listing(table, preferred=config.item_column, columns=columns)
    folder_listing, row_indices = listing, has_row_indices(data_path)
    if folder_table is None:
        folder_listing = None
    elif path is not None and not path.samefile(folder_table):
        folder_listing = read_listing(open_table(folder_table), preferred=config.item_column)
    ids = _row_numbers(config, listing) if folder_listing is None or row_indices else folder_listing.ids
    row_I = np.full(len(ids), -1) if listing is None else positions(ids, listing.ids)
    if listing is not None and not (row_I >= 0).any():
        raise DataError(
            f"{listing.table.path}: none of its ids is an item of {folder} (here '{listing.ids[0]}', there "
            f"'{ids[0]}'); is it the right column? (--item-column names it)"
        )
    return CatalogueItems(folder, ids, listing, row_I, folder_listing, row_indices)


def has_row_indices(path: Path) -> bool:
    """Whether a data folder or file has the MMRec layout, where ids are row numbers."""
    files = [path] if path.is_file() else [file for file in path.iterdir() if not file.name.startswith(".")]
    return any(ending(file) == INTER for file in files)


def _row_numbers(config: FeaturesConfig, listing: IdListing | None) -> pl.Series:
    """Row numbers 0, 1, 2, …: as many as other features have rows, else up to the highest id."""
    source = locate(config.data)
    table = open_table(source.table)
    column = find_column(table, "item", config.item_column if listing is None else None, required=True)
    assert column is not None
    all_ids = [read_ids(table, preferred=column).ids]
    if listing is not None:
        all_ids.append(listing.ids)
    if all_ids[0].dtype != pl.Int64:
        raise no_row_index(f"{source.table.parent}", all_ids[0], table, "add items.csv,")
    new_modalities = {
        config.text_name if config.text else None,
        config.image_name if config.image or config.pictures else None,
    }
    for modality, path in source.features.items():
        if modality not in new_modalities:
            return pl.Series(np.arange(len(open_matrix(path))))
    numbers = pl.concat(ids for ids in all_ids if ids.dtype == pl.Int64)
    highest = int(numbers.max() or 0)  # type: ignore[arg-type]
    if too_sparse(highest, numbers.n_unique()):
        raise DataError(
            f"{source.table.parent}: {numbers.n_unique():,} items with ids up to {highest:,} would make a file of "
            f"{highest + 1:,} rows, nearly all of them empty; put items.csv there, listing the item ids in row order"
        )
    return pl.Series(np.arange(highest + 1))


def feature_path(folder: Path, modality: str) -> Path:
    """Feature file of a modality."""
    return folder / f"{modality}{FEATURE_END}"
