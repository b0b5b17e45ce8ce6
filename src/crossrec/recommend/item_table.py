"""Table of items from a file: titles, categories and other columns, one row an item."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np

from crossrec.config import did_you_mean
from crossrec.data.io.codes import positions
from crossrec.data.io.id_column import read_listing
from crossrec.data.io.numbers import NumberReader
from crossrec.data.io.tables import open_table, plain_column
from crossrec.data.io.text_format import find_format
from crossrec.errors import DataError, setting
from crossrec.lazy import polars as pl
from crossrec.ops.csr import Bools, Ints
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

        Separator and quotes of text are those that its first lines show.

        Raises DataError where it cannot be read, has no item column, names an item twice, or names none of ``items``.
        """
        path = Path(path)
        table = open_table(path, find_format)
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

    def with_ids(self, items: IdMap) -> pl.DataFrame:
        """The table with the ids of its items, as ``read`` takes it."""
        return self.frame.select(items.ids.alias("item_id"), pl.exclude("item_id"))

    def of_category(self, names: Iterable[str]) -> Bools:
        """Which items have one of these categories, bool (I,). A cell may hold a list of categories.

        Raises DataError where the table has no column of categories, or no item has such a category.
        """
        rows = self._categories.to_frame().with_row_index("__row")
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

    @cached_property
    def category_I(self) -> Ints:
        """A number for the category of each item, its first one where it has several; -1 for none, int64 (I,).

        Raises DataError where the table has no column of categories.
        """
        cells = self._categories
        if isinstance(cells.dtype, pl.List):
            cells = cells.list.first()
        codes = cells.cast(pl.String).rank("dense").cast(pl.Int64)
        return (codes - 1).fill_null(-1).to_numpy(writable=True)

    @property
    def _categories(self) -> pl.Series:
        if CATEGORY not in self.frame.columns:
            raise DataError(f"{self.path}: no column '{CATEGORY}'{did_you_mean(CATEGORY, self.frame.columns)}")
        return self.frame[CATEGORY]

    def where(self, expression: str) -> Bools:
        """Which items an SQL expression over the columns holds for, such as ``stock > 0 and price < 50``; bool (I,).

        Columns of text that hold numbers only, with decimal points or commas, are numbers, except with leading zeros.
        Where a value that the expression needs is missing, it does not hold. Raises DataError where it is not one,
        names no column of the table, or gives something else than true or false.
        """
        try:
            result = self._numbers.select(pl.sql_expr(expression).alias("holds"))["holds"]
        except pl.exceptions.PolarsError as error:
            reason = str(error).strip().splitlines()[0]
            raise DataError(f"{self.path}: {setting('where')} {expression!r}: {reason}") from None
        if result.dtype != pl.Boolean or len(result) != self.frame.height:
            raise DataError(
                f"{self.path}: {setting('where')} {expression!r} is no condition on each item; give one such as "
                '"price < 50"'
            )
        return result.fill_null(False).to_numpy()

    @cached_property
    def _numbers(self) -> pl.DataFrame:
        """The table with its columns of text that hold numbers as numbers."""
        return pl.DataFrame([_as_numbers(cells) for cells in self.frame])

    def widened(self, count: int) -> ItemTable:
        """The table with empty rows appended, ``count`` rows in all."""
        missing = count - self.frame.height
        if not missing or not self.frame.width:
            return self
        rows = pl.Series([*range(self.frame.height), *[None] * missing], dtype=pl.Int64)
        return ItemTable(self.frame[rows], self.path)


def _as_numbers(cells: pl.Series) -> pl.Series:
    """Text that is a number in every row, none with a leading zero, as numbers; else the same."""
    if cells.dtype != pl.String or cells.str.contains(r"^\s*[-+]?0\d").any() or not cells.count():
        return cells
    whole = cells.str.strip_chars().cast(pl.Int64, strict=False)
    numbers = (whole, NumberReader().parse(cells)[0].alias(cells.name))
    return next((column for column in numbers if column.null_count() == cells.null_count()), cells)
