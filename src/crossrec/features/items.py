"""The items of a data folder in the row order of its features, and the cells of columns beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crossrec.data.io.codes import plain_ids, positions
from crossrec.data.io.features import open_features
from crossrec.data.io.id_column import IdListing, find_column, read_listing
from crossrec.data.io.tables import open_table
from crossrec.data.row_numbers import no_row_index
from crossrec.data.sources import FEATURE_END, INTER, SUFFIXES, existing, items_file, locate
from crossrec.data.synthetic import RECIPES
from crossrec.errors import DataError
from crossrec.features.config import FeaturesConfig

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class CatalogueItems:
    """``ids``: (I,) in row order. ``at_I``: where each item stands in the table with the columns, -1 if it does not."""

    folder: Path
    ids: pl.Series
    listing: IdListing | None
    at_I: np.ndarray

    def cells(self, column: str) -> pl.Series:
        """The cells of a column by item, (I,); null where the table does not have the item."""
        import polars as pl

        assert self.listing is not None
        at = pl.Series(self.at_I)
        return self.listing.frame[column].gather(at.set(at < 0, None))

    def column(self, column: str) -> str:
        """A column with its file, for messages."""
        assert self.listing is not None
        return f"{self.listing.table.path}: column '{column}'"

    def place(self, item: int) -> str:
        """File and line (or row) of an item, for messages."""
        assert self.listing is not None
        return self.listing.location(int(self.at_I[item]))


def read_items(config: FeaturesConfig) -> CatalogueItems:
    """The items of ``config.data`` with the columns that ``config`` names.

    Rows are those that ``crossrec.data.load`` takes: of the items file, or the ids themselves where they are row
    numbers. Raises DataError where the folder, the table or a column is missing, or no id fits.
    """
    if config.data in RECIPES:
        raise DataError(f"data '{config.data}': a built-in set has its features already; give a folder")
    given = existing(config.data, list(RECIPES))
    folder = given if given.is_dir() else given.parent
    columns = [*config.text, *([config.image] if config.image else [])]
    own = items_file(folder)
    path = config.items or own
    if columns and path is None:
        kinds = ",".join(SUFFIXES)
        raise DataError(
            f"{folder}: no items table; put items{{{kinds}}} with item ids and {', '.join(columns)} there, or name "
            "one with --items"
        )
    if path is not None and not path.is_file():
        raise DataError(f"--items {path}: no such file; give a table with a row an item")
    listing = None
    if path is not None:
        table = open_table(path)
        for column in [*([config.item_column] if config.item_column else []), *columns]:
            find_column(table, "item", column, required=True)  # raises an error that names the nearest column
        listing = read_listing(table, preferred=config.item_column, columns=columns)
    if own is not None and not row_indices(given):
        listed = listing if listing is not None and path == own else None
        ids = (listed or read_listing(open_table(own), preferred=config.item_column)).ids
    else:
        ids = _row_numbers(config, listing)
    at_I = np.full(len(ids), -1) if listing is None else positions(ids, listing.ids)
    if listing is not None and not (at_I >= 0).any():
        raise DataError(
            f"{listing.table.path}: none of its ids is an item of {folder} (here '{listing.ids[0]}', there "
            f"'{ids[0]}'); is it the right column? (--item-column names it)"
        )
    return CatalogueItems(folder, ids, listing, at_I)


def row_indices(given: Path) -> bool:
    """Whether ids are row numbers whatever an items file says: the MMRec layout."""
    files = [given] if given.is_file() else [file for file in given.iterdir() if not file.name.startswith(".")]
    return any(file.suffix.lower() == INTER for file in files)


def _row_numbers(config: FeaturesConfig, listing: IdListing | None) -> pl.Series:
    """0, 1, 2, … up to the rows of other features, else to the highest id that occurs."""
    import polars as pl

    source = locate(config.data, list(RECIPES))
    table = open_table(source.table)
    column = find_column(table, "item", config.item_column if listing is None else None, required=True)
    assert column is not None
    known = [plain_ids(table.read([column])[column].drop_nulls(), typed=table.typed)]
    if listing is not None:
        known.append(listing.ids)
    if known[0].dtype != pl.Int64:
        raise no_row_index(f"{source.table.parent}", known[0], table, "add items.csv,")
    made = {config.text_name if config.text else None, config.image_name if config.image or config.pictures else None}
    for modality, path in source.features.items():
        if modality not in made:
            return pl.Series(np.arange(len(open_features(path))))
    highest = max(int(ids.max() or 0) for ids in known if ids.dtype == pl.Int64)  # type: ignore[arg-type]
    return pl.Series(np.arange(highest + 1))


def feature_path(folder: Path, modality: str) -> Path:
    """Where the features of a modality lie."""
    return folder / f"{modality}{FEATURE_END}"
