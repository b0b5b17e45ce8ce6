"""Users and items as the service shows them: ids that JSON keeps, titles, categories, pictures; found by words."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crossrec.recommend.id_map import IdMap, Ints
from crossrec.recommend.item_table import CATEGORY
from crossrec.recommend.recommender import Recommender
from crossrec.serving.images import Pictures

if TYPE_CHECKING:
    import polars as pl

TITLES, PICTURES = ("title", "name"), ("picture", "image")
"""Columns of the table of items that are shown; the first that is there."""
SAFE = 2**53 - 1
"""The largest whole number that every reader of JSON keeps."""
LONGEST = 500
"""Characters of a cell that are shown."""


class Names:
    """Ids in replies and by search. ``titles``: what else to search in."""

    def __init__(self, known: IdMap, titles: pl.Series | None = None) -> None:
        self.known, self._titles = known, titles
        whole = known.ids.dtype.is_integer() and len(known.ids) > 0
        self._as_numbers = whole and known.ids.min() >= -SAFE and known.ids.max() <= SAFE  # type: ignore[operator]

    def told(self, rows: Ints) -> list[Any]:
        """The ids of rows: whole numbers that JSON keeps, or text (as Python writes it, which ``IdMap`` reads)."""
        ids = self.known.ids.gather(rows).to_list()
        return ids if self._as_numbers else [str(one) for one in ids]

    def search(self, words: str, offset: int, limit: int) -> tuple[Ints, int]:
        """Rows whose id or title holds ``words``, in any case, and how many there are; one with this id comes first."""
        words = words.strip()
        if not words:
            return np.arange(offset, min(offset + limit, len(self.known))), len(self.known)
        found = np.flatnonzero(self._lower.str.contains(words.lower(), literal=True).to_numpy())
        exact = self.known.row(words)
        if exact is not None:
            found = np.concatenate([[exact], found[found != exact]])
        return found[offset : offset + limit], len(found)

    @cached_property
    def _lower(self) -> pl.Series:
        import polars as pl

        text = pl.Series([str(one) for one in self.known.ids.to_list()], dtype=pl.String)
        if self._titles is not None:
            text = text + "\n" + self._titles.fill_null("")
        return text.str.to_lowercase()


class Shelf:
    """The items of a run with their titles, categories and pictures, and its users."""

    def __init__(self, recommender: Recommender, pictures: Pictures | None) -> None:
        self._frame = None if recommender.item_table is None else recommender.item_table.frame
        self._title, self._picture = self._text(TITLES), self._text(PICTURES)
        self._category = None if self._frame is None or CATEGORY not in self._frame else self._frame[CATEGORY]
        self._pictures = pictures
        self.items = Names(recommender.items, None if self._title is None else self._title[1])
        self.users = Names(recommender.users)

    def _text(self, names: tuple[str, ...]) -> tuple[str, pl.Series] | None:
        import polars as pl

        if self._frame is None or (name := next((n for n in names if n in self._frame.columns), None)) is None:
            return None
        cells = self._frame[name]
        if isinstance(cells.dtype, pl.List):
            cells = cells.list.first()
        if cells.dtype.is_nested() or cells.dtype == pl.Binary:
            return None
        return name, cells.cast(pl.String)

    def show(self, rows: Ints) -> list[dict[str, Any]]:
        """Id, title, categories and whether there is a picture, of item rows."""
        ids = self.items.told(rows)
        titles = [None] * len(rows) if self._title is None else self._title[1].gather(rows).to_list()
        categories = [None] * len(rows) if self._category is None else self._category.gather(rows).to_list()
        return [
            {
                "id": one,
                "title": title if title is None else title[:LONGEST],
                "categories": _words(category),
                "picture": self._pictures is not None and self.picture(int(row)) is not None,
            }
            for one, title, category, row in zip(ids, titles, categories, rows, strict=True)
        ]

    def picture(self, row: int) -> Path | None:
        """The file of an item's picture."""
        if self._pictures is None:
            return None
        name = None if self._picture is None else self._picture[1][row]
        return self._pictures.find(name, str(self.items.known.ids[row]))

    def details(self, row: int) -> dict[str, str]:
        """The other columns of the table of items, as text."""
        if self._frame is None:
            return {}
        shown = {CATEGORY, *(found[0] for found in (self._title, self._picture) if found is not None)}
        cells = self._frame.row(row, named=True)
        return {
            name: str(cell)[:LONGEST]
            for name, cell in cells.items()
            if name not in shown and cell is not None and not isinstance(cell, bytes)
        }

    @cached_property
    def categories(self) -> list[str]:
        """All of them, those of most items first."""
        import polars as pl

        if self._category is None:
            return []
        cells = self._category.explode() if isinstance(self._category.dtype, pl.List) else self._category
        counts = cells.cast(pl.String).drop_nulls().rename(CATEGORY).value_counts()
        return counts.sort(["count", CATEGORY], descending=[True, False])[CATEGORY].to_list()


def _words(category: Any) -> list[str]:
    if category is None:
        return []
    found = category if isinstance(category, list) else [category]
    return [str(one)[:LONGEST] for one in found if one is not None]
