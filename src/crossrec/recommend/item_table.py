"""Table of items from a file: titles, categories and other columns, one row an item."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from crossrec.config import did_you_mean
from crossrec.data.io.codes import positions
from crossrec.data.io.id_column import read_listing
from crossrec.data.io.tables import open_table, plain_column
from crossrec.errors import DataError
from crossrec.lazy import polars as pl
from crossrec.ops.csr import Bools
from crossrec.recommend.id_map import IdMap

CATEGORY = "category"
"""The column that ``of_category`` reads."""


class ItemTable:
    """``frame``: the columns besides the ids, in the row order of the run's items; null for an item without a row."""

    def __init__(self, frame: pl.DataFrame, path: Path) -> None:
        self.frame, self.path = frame, path

    @classmethod
    def read(cls, path: Path | str, items: IdMap) -> ItemTable:
        """Read a Parquet, CSV, TSV or JSON Lines file with a column of item ids; rows of unknown items are dropped.

        Raises DataError where it cannot be read, has no item column, names an item twice, or names none of ``items``.
        """
        path = Path(path)
        table = open_table(path)
        listing = read_listing(table, columns=table.columns)
        row_I = positions(items.ids, listing.ids)
        if len(items) and not (row_I >= 0).any():
            raise DataError(
                f"{path}: none of its {len(listing.ids):,} ids is an item of the run (here '{listing.ids[0]}', there "
                f"'{items.ids[0]}'); is '{listing.column}' the right column?"
            )
        rows = pl.Series(row_I).set(pl.Series(row_I < 0), None)
        others = [name for name in table.columns if name != listing.column]
        return cls(pl.DataFrame([plain_column(listing.frame, name).gather(rows).alias(name) for name in others]), path)

    def of_category(self, names: Iterable[str]) -> Bools:
        """Which items have one of these categories, bool (I,). A cell may hold a list of categories.

        Raises DataError where the table has no column of categories, or no item has such a category.
        """
        if CATEGORY not in self.frame.columns:
            raise DataError(f"{self.path}: no column '{CATEGORY}'{did_you_mean(CATEGORY, self.frame.columns)}")
        rows = self.frame.select(CATEGORY).with_row_index("__row")
        if isinstance(rows[CATEGORY].dtype, pl.List):
            rows = rows.explode(CATEGORY)
        categories = rows[CATEGORY].cast(pl.String)
        matches_I = np.zeros(self.frame.height, dtype=bool)
        for name in names:
            matches = rows["__row"].filter(categories == name)
            if not len(matches):
                names_in_use = categories.drop_nulls().unique().sort().to_list()
                raise DataError(f"{self.path}: no item of category '{name}'{did_you_mean(name, names_in_use[:50])}")
            matches_I[matches] = True
        return matches_I

    def widened(self, count: int) -> ItemTable:
        """The table with empty rows appended, ``count`` rows in all."""
        missing = count - self.frame.height
        if not missing or not self.frame.width:
            return self
        rows = pl.Series([*range(self.frame.height), *[None] * missing], dtype=pl.Int64)
        return ItemTable(self.frame[rows], self.path)
