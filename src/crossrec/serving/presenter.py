"""Present users and items: ids for JSON, titles, categories and pictures; search by words."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from crossrec.errors import DataError
from crossrec.lazy import polars as pl
from crossrec.ops.csr import Ints
from crossrec.recommend.id_map import IdMap
from crossrec.recommend.item_table import CATEGORY
from crossrec.recommend.recommender import Recommender

TITLE_COLUMNS, PICTURE_COLUMNS = ("title", "name"), ("picture", "image")
"""Columns of the table of items to use as title and as file name; the first that exists."""
MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly."""
MAX_CHARACTERS = 500
"""Characters of a cell to show."""
IMAGE_FORMATS = {
    ".jpg": ("image/jpeg", rb"\xff\xd8\xff"),
    ".jpeg": ("image/jpeg", rb"\xff\xd8\xff"),
    ".png": ("image/png", rb"\x89PNG\r\n\x1a\n"),
    ".webp": ("image/webp", rb"RIFF....WEBP"),
    ".gif": ("image/gif", rb"GIF8"),
}
"""Media type, and pattern of the first bytes, by file ending. Formats that can hold scripts, as SVG, are left out."""
MAX_BYTES = 16 * 2**20
"""Size of the largest picture to serve."""


class ImageFolder:
    """A folder of pictures, found by file name (which may hold folders) or by item id as ``ID.jpg``."""

    def __init__(self, folder: Path | str) -> None:
        """Raises DataError if there is no such folder."""
        folder = Path(folder)
        if not folder.is_dir():
            raise DataError(f"--pictures {folder}: no such folder")
        self.folder = folder.resolve()

    def find(self, name: str | None, item_id: str) -> Path | None:
        """The file called ``name``, or without a name the one called by the item's id; None if there is none."""
        names = [name] if name else [f"{item_id}{ending}" for ending in IMAGE_FORMATS]
        return next((path for candidate in names if (path := self._inside(candidate)) is not None), None)

    def _inside(self, name: str) -> Path | None:
        if Path(name).suffix.lower() not in IMAGE_FORMATS:
            return None
        try:
            path = (self.folder / name).resolve()
            return path if path.is_relative_to(self.folder) and path.is_file() else None
        except (OSError, ValueError, RuntimeError):  # too long, a NUL, links in a circle
            return None


class SearchableIds:
    """Ids for responses, searchable by words. ``titles``: further text to search, in row order."""

    def __init__(self, id_map: IdMap, titles: pl.Series | None = None) -> None:
        self.id_map, self._titles = id_map, titles
        ids = id_map.ids
        bounds: Any = (ids.min(), ids.max()) if ids.dtype.is_integer() and len(ids) else ()
        self._as_numbers = bool(bounds) and max(map(abs, bounds)) <= MAX_SAFE_INTEGER

    def response_ids(self, rows: Ints) -> list[Any]:
        """The ids of rows: numbers if JSON keeps all of them exactly, else text (``str`` of the id, for ``IdMap``)."""
        ids = self.id_map.ids.gather(rows).to_list()
        return ids if self._as_numbers else [str(id) for id in ids]

    def search(self, words: str, offset: int, limit: int) -> tuple[Ints, int]:
        """One page of the rows whose id or title contains ``words``, in any case, and the number of matches.

        The item whose id equals ``words`` comes first.
        """
        words = words.strip()
        if not words:
            return self.id_map.present[offset : offset + limit], len(self.id_map.present)
        matches = self.id_map.present[self._lowercase.str.contains(words.lower(), literal=True).to_numpy()]
        exact = self.id_map.row(words)
        if exact is not None:
            matches = np.concatenate([[exact], matches[matches != exact]])
        return matches[offset : offset + limit], len(matches)

    @cached_property
    def _lowercase(self) -> pl.Series:
        present = self.id_map.present
        text = pl.Series([str(id) for id in self.id_map.ids.gather(present).to_list()], dtype=pl.String)
        if self._titles is not None:
            text = text + "\n" + self._titles.gather(present).fill_null("")
        return text.str.to_lowercase()


class ItemPresenter:
    """The users of a run, and its items with titles, categories and pictures."""

    def __init__(self, recommender: Recommender, images: ImageFolder | None) -> None:
        table = recommender.item_table
        self._frame = pl.DataFrame() if table is None else table.frame
        self._nulls = pl.Series(CATEGORY, [None] * len(recommender.items), dtype=pl.String)
        self._title, self._picture = self._text_column(TITLE_COLUMNS), self._text_column(PICTURE_COLUMNS)
        self._category = self._frame.get_column(CATEGORY, default=self._nulls)
        self.images = images
        self.items = SearchableIds(recommender.items, self._title)
        self.users = SearchableIds(recommender.users)

    def _text_column(self, names: tuple[str, ...]) -> pl.Series:
        """The first of these columns that exists, as text; nulls if there is none."""
        cells = next((self._frame[name] for name in names if name in self._frame), self._nulls)
        if isinstance(cells.dtype, pl.List):
            cells = cells.list.first()
        return self._nulls if cells.dtype.is_nested() or cells.dtype == pl.Binary else cells.cast(pl.String)

    def summaries(self, rows: Ints) -> list[dict[str, Any]]:
        """The fields of ``schemas.ItemSummary`` for item rows."""
        columns = self._title.gather(rows).to_list(), self._category.gather(rows).to_list()
        return [
            {
                "id": id,
                "title": title and title[:MAX_CHARACTERS],
                "categories": _category_names(category),
                "picture": self.picture_path(int(row)) is not None,
            }
            for id, title, category, row in zip(self.items.response_ids(rows), *columns, rows, strict=True)
        ]

    def picture_path(self, row: int) -> Path | None:
        """The picture file of an item."""
        if self.images is None:
            return None
        return self.images.find(self._picture[row], str(self.items.id_map.ids[row]))

    def details(self, row: int) -> dict[str, str]:
        """The other columns of the table of items, as text."""
        others = self._frame.drop({CATEGORY, self._title.name, self._picture.name}, strict=False)
        cells = others.row(row, named=True) if others.width else {}
        return {
            name: str(cell)[:MAX_CHARACTERS]
            for name, cell in cells.items()
            if cell is not None and not isinstance(cell, bytes)
        }

    @cached_property
    def categories(self) -> list[str]:
        """All categories, the most frequent first."""
        cells = self._category.explode() if isinstance(self._category.dtype, pl.List) else self._category
        counts = cells.cast(pl.String).drop_nulls().rename(CATEGORY).value_counts()
        return counts.sort(["count", CATEGORY], descending=[True, False])[CATEGORY].to_list()


def _category_names(cell: Any) -> list[str]:
    if cell is None:
        return []
    names = cell if isinstance(cell, list) else [cell]
    return [str(name)[:MAX_CHARACTERS] for name in names if name is not None]


def read_image(path: Path) -> tuple[bytes, str] | None:
    """Content and media type of a picture; None if it is too large, unreadable, or does not match its ending."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    media_type, signature = IMAGE_FORMATS[path.suffix.lower()]
    return (content, media_type) if re.match(signature, content, re.DOTALL) else None
