"""Picture files: which one is an item's, and what is in it, read without trust."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np

from crossrec.errors import DataError
from crossrec.features.items import Items
from crossrec.features.store import Mark
from crossrec.features.text import as_text

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
"""What is read, as Pillow calls it; its other formats, some of which start programs, are not."""
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".avif", ".jp2")
MAX_PIXELS = 90_000_000
MAX_RATIO = 50
"""A picture that is larger, or longer by its width, is not read: it would fill the memory when unpacked or scaled."""
ORIENTATION = 0x0112
URL = re.compile(r"data:|[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def by_column(items: Items, column: str, folder: Path) -> list[str | None]:
    """The picture file of every item, relative to ``folder``; of a list of files the first.

    Raises DataError on an address, and on a file outside of the folder.
    """
    import polars as pl

    cells = items.cells(column)
    if isinstance(cells.dtype, pl.List):
        cells = cells.list.first()
    names: list[str | None] = []
    base = os.path.abspath(folder)
    for item, cell in enumerate(as_text(cells, items.column(column)).to_list()):
        if cell is None:
            names.append(None)
            continue
        if URL.match(cell):
            raise DataError(f"{items.place(item)}: {column} '{cell[:80]}' is no file; download the pictures first")
        name = os.path.relpath(os.path.join(base, cell), base)
        if name.split(os.sep)[0] == os.pardir:
            raise DataError(f"{items.place(item)}: {column} '{cell[:80]}' is outside of {folder}; --pictures names it")
        names.append(PurePath(name).as_posix())
    return names


def by_id(items: Items, folder: Path) -> list[str | None]:
    """The picture file that is called by the id of each item, such as sku-7.jpg.

    Raises DataError where there is none at all, or two for one item.
    """
    ids = [str(one) for one in items.ids.to_list()]
    known = set(ids)
    found: dict[str, str] = {}
    for name in sorted(os.listdir(folder)):
        stem, ending = os.path.splitext(name)
        if ending.lower() not in ENDINGS or stem not in known:
            continue
        if stem in found:
            raise DataError(f"{folder}: {found[stem]} and {name} are both called by item '{stem}'; keep one")
        found[stem] = name
    if not found:
        raise DataError(
            f"{folder}: no picture is called by an item's id, such as {ids[0]}.jpg; name a column of files with --image"
        )
    return [found.get(one) for one in ids]


def stamp(path: Path) -> str | None:
    """Size and time of a file that can be read, or None."""
    try:
        known = path.stat()
    except (OSError, ValueError):
        return None
    readable = stat.S_ISREG(known.st_mode) and os.access(path, os.R_OK)
    return f"{known.st_size} {known.st_mtime_ns}" if readable else None


def read_picture(path: Path) -> tuple[Picture | None, Mark]:
    """A picture as RGB, upright and on white, the first of several frames; None with the reason if there is none."""
    from PIL import Image, ImageOps

    if stamp(path) is None:
        return None, Mark.LOST
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]  # a build of Pillow may lack some
    try:
        with Image.open(path, formats=formats) as image:
            width, height = image.size
            if width * height > MAX_PIXELS or max(width, height) > MAX_RATIO * min(width, height):
                return None, Mark.LARGE
            marks = Mark.CONVERTED if image.mode != "RGB" else Mark(0)
            marks |= Mark.FRAMES if getattr(image, "n_frames", 1) > 1 else Mark(0)
            if _turned(image):
                return _rgb(ImageOps.exif_transpose(image)), marks | Mark.TURNED
            return _rgb(image), marks
    except Image.DecompressionBombError:
        return None, Mark.LARGE
    except MemoryError:
        raise
    except Exception:  # whatever a damaged or hostile file makes of a parser
        return None, Mark.BROKEN


def _turned(image: Picture) -> bool:
    """Whether the camera was held otherwise than upright; notes of the camera that are damaged say nothing."""
    try:
        return image.getexif().get(ORIENTATION, 1) in range(2, 9)
    except Exception:
        return False


def _rgb(image: Picture) -> Picture:
    """RGB: transparent parts on white, 16-bit grey by its upper half."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        return white.convert("RGB")
    return image.convert("RGB")
