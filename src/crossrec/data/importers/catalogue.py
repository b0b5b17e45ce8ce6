"""What is known of items, in columns with well-known names: title, text, brand, category, price, picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

ITEM_COLUMNS = {
    "title": ("title", "name", "itemname", "itemtitle", "productname", "producttitle", "movietitle"),
    "text": ("text", "description", "desc", "itemtext", "productdescription"),
    "brand": ("brand", "manufacturer"),
    "category": ("category", "categories", "genre", "genres", "class", "itemcategory", "productcategory"),
    "price": ("price",),
    "picture": ("picture", "image", "img", "photo", "imagepath", "picturepath", "imageurl", "imurl", "pictureurl"),
}
"""Column of items.parquet → what it may be called in a source, of which only letters and digits count."""


def known_columns(ids: pl.Series, others: pl.DataFrame) -> pl.DataFrame:
    """A column ``item`` and the others, the first that is called like a well-known one under the well-known name."""
    taken: dict[str, str] = {}
    for name, aliases in ITEM_COLUMNS.items():
        plain = {column: "".join(filter(str.isalnum, column.lower())) for column in others.columns}
        found = [column for alias in aliases for column in others.columns if plain[column] == alias]
        if found and name not in others.columns:
            taken[found[0]] = name
    return _without(others.rename(taken), "item").insert_column(0, ids.alias("item"))


def known_users(ids: pl.Series, others: pl.DataFrame) -> pl.DataFrame:
    """A column ``user`` and the others."""
    return _without(others, "user").insert_column(0, ids.alias("user"))


def is_prose(column: str) -> bool:
    """Whether a column is called like a title or a text, whose blanks separate nothing."""
    plain = "".join(filter(str.isalnum, column.lower()))
    return plain in ITEM_COLUMNS["title"] + ITEM_COLUMNS["text"]


def _without(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """The frame, a column called ``name`` renamed."""
    other = name
    while other in frame.columns:
        other += "_"
    return frame.rename({name: other}) if other != name else frame
