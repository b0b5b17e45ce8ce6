"""Give the columns of an item table their standard names: title, text, brand, category, price, picture."""

from __future__ import annotations

from crossrec.data.io.id_column import IdListing, normalize_name
from crossrec.lazy import polars as pl

ITEM_COLUMNS = {
    "title": ("title", "name", "itemname", "itemtitle", "productname", "producttitle", "movietitle"),
    "text": ("text", "description", "desc", "itemtext", "productdescription"),
    "brand": ("brand", "manufacturer"),
    "category": ("category", "categories", "genre", "genres", "class", "itemcategory", "productcategory"),
    "price": ("price",),
    "picture": ("picture", "image", "img", "photo", "imagepath", "picturepath", "imageurl", "imurl", "pictureurl"),
}
"""Column of items.parquet → its names in sources, as ``normalize_name`` writes them."""


def item_table(listing: IdListing) -> pl.DataFrame:
    """The ids as column ``item``, then the further columns; the first column with a standard meaning gets its name."""
    frame = listing.frame.drop(listing.column)
    renames: dict[str, str] = {}
    for name, aliases in ITEM_COLUMNS.items():
        matches = [column for alias in aliases for column in frame.columns if normalize_name(column) == alias]
        if matches and name not in frame.columns:
            renames[matches[0]] = name
    return _insert_ids(frame.rename(renames), "item", listing.ids)


def user_table(listing: IdListing) -> pl.DataFrame:
    """The ids as column ``user``, then the further columns."""
    return _insert_ids(listing.frame.drop(listing.column), "user", listing.ids)


def is_prose(column: str) -> bool:
    """Whether a column holds titles or texts, whose blanks do not separate values."""
    return normalize_name(column) in ITEM_COLUMNS["title"] + ITEM_COLUMNS["text"]


def _insert_ids(frame: pl.DataFrame, name: str, ids: pl.Series) -> pl.DataFrame:
    """Put ``ids`` in front as column ``name``; a column already called so gets underscores appended."""
    new_name = name
    while new_name in frame.columns:
        new_name += "_"
    frame = frame.rename({name: new_name}) if new_name != name else frame
    return frame.insert_column(0, ids.alias(name))
