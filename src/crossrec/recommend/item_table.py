"""What is known about items besides their vectors: a table with a row an item, from a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from crossrec.config import nearest
from crossrec.data.io.tables import find_column, open_table
from crossrec.errors import DataError
from crossrec.recommend.id_map import IdMap

if TYPE_CHECKING:
    import polars as pl

CATEGORY = "category"
"""The column that ``of_category`` reads."""


class ItemTable:
    """``frame``: the table's columns but the ids, in the row order of the run's items; null where it has no row."""

    def __init__(self, frame: pl.DataFrame, path: Path) -> None:
        self.frame, self.path = frame, path

    @classmethod
    def read(cls, path: Path, items: IdMap) -> ItemTable:
        """From a Parquet, CSV, TSV or JSON Lines file with a column of item ids; rows of unknown items are left out.

        Raises DataError where it cannot be read, has no item column, or names an item twice.
        """
        import polars as pl

        if not path.is_file():
            raise DataError(f"{path}: no such file; give a table of items")
        table = open_table(path)
        column = find_column(table, "item", "id" if "id" in table.columns else None, required=True)
        assert column is not None
        frame = table.read(table.columns)
        rows = [-1 if (row := items.row(one)) is None else row for one in frame[column].to_list()]
        place_N = pl.Series("row", rows, dtype=pl.Int64)
        known = frame.with_columns(place_N.alias("__row")).filter(pl.col("__row") >= 0)
        repeated = known.filter(pl.col("__row").is_duplicated())
        if repeated.height:
            raise DataError(f"{path}: item {repeated[column][0]} is in it more than once; keep one row an item")
        full = pl.DataFrame({"__row": pl.int_range(len(items), eager=True)})
        joined = full.join(known, on="__row", how="left", maintain_order="left")
        return cls(joined.drop("__row", column), path)

    def of_category(self, names: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Which items are of one of these categories, bool (I,); a list of categories counts as each of them.

        Raises DataError where the table has no such column, or none of its items such a category.
        """
        import polars as pl

        if CATEGORY not in self.frame.columns:
            raise DataError(f"{self.path}: no column '{CATEGORY}'{nearest(CATEGORY, self.frame.columns)}")
        cells = self.frame[CATEGORY]
        keep_I = np.zeros(len(cells), dtype=bool)
        for name in names:
            if isinstance(cells.dtype, pl.List):
                found = cells.cast(pl.List(pl.String)).list.contains(name)
            else:
                found = cells.cast(pl.String) == name
            if not found.any():
                known = (cells.explode() if isinstance(cells.dtype, pl.List) else cells).cast(pl.String)
                names_known = known.drop_nulls().unique().sort().to_list()
                raise DataError(f"{self.path}: no item of category '{name}'{nearest(name, names_known[:50])}")
            keep_I |= found.fill_null(False).to_numpy()
        return keep_I

    def widened(self, count: int) -> ItemTable:
        """With empty rows behind, up to ``count`` of them."""
        import polars as pl

        further = count - self.frame.height
        if not further or not self.frame.width:
            return self
        return ItemTable(pl.concat([self.frame, self.frame.clear(further)]), self.path)
