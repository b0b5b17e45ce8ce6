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


def entity_table(listing: IdListing, role: str) -> pl.DataFrame:
    """The ids as a column named by their role, then the further columns.

    Of ``item`` columns, the first with a standard meaning gets its name. A further column already called like the ids
    gets underscores appended.
    """
    frame = listing.frame.drop(listing.column)
    renames: dict[str, str] = {}
    for name, aliases in ITEM_COLUMNS.items() if role == "item" else ():
        matches = [column for alias in aliases for column in frame.columns if normalize_name(column) == alias]
        if matches and name not in frame.columns:
            renames[matches[0]] = name
    frame = frame.rename(renames)
    other_name = role
    while other_name in frame.columns:
        other_name += "_"
    return frame.rename({role: other_name}, strict=False).insert_column(0, listing.ids.alias(role))


def is_prose(column: str) -> bool:
    """Whether a column holds titles or texts, whose blanks do not separate values."""
    return normalize_name(column) in ITEM_COLUMNS["title"] + ITEM_COLUMNS["text"]
