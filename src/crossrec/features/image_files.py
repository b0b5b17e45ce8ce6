"""Picture files: find the file of each item, and read files that may be damaged or hostile."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, cast
from unicodedata import normalize

import numpy as np

from crossrec.errors import DataError
from crossrec.features.items import CatalogueItems
from crossrec.features.ledger import Mark

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

log = logging.getLogger(__name__)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
"""Formats that are read, by Pillow's names. Some of its other formats start programs."""
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".avif", ".jp2")
MAX_PIXELS = 90_000_000
MAX_RATIO = 50
"""Pictures with more pixels, or a longer side so many times the shorter, are not read: they would fill the memory."""
ORIENTATION = 0x0112
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0
SAMPLE_FORMAT, SIGNED = 339, 2
"""Tags of TIFF that Pillow does not apply to grey of more than 8 bits, and their values."""
URL = re.compile(r"data:|[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def names_by_column(items: CatalogueItems, column: str, folder: Path) -> tuple[list[str], int]:
    """Return (picture file of each item, relative to ``folder``, "" for none; how many cells hold a word for none).

    The names are those of a column, of a list the first.

    Raises DataError for a URL, and for a file outside of the folder.
    """
    names: list[str] = []
    base = os.path.abspath(folder)
    cells, placeholders = items.text(column, first=True)
    for item, cell in enumerate(cells.to_list()):
        if cell is None:
            names.append("")
            continue
        if URL.match(cell):
            raise DataError(f"{items.location(item)}: {column} '{cell[:80]}' is no file; download the pictures first")
        name = os.path.relpath(os.path.join(base, cell), base)
        if name.split(os.sep)[0] == os.pardir:
            raise DataError(
                f"{items.location(item)}: {column} '{cell[:80]}' is outside of {folder}; --pictures names it"
            )
        names.append(PurePath(name).as_posix())
    return names, placeholders


def names_by_item_id(items: CatalogueItems, folder: Path) -> list[str]:
    """Picture file of each item that is named by its id, such as sku-7.jpg; "" for none.

    Raises DataError where no item has a picture, or an item has two.
    """
    ids = [normalize("NFC", str(item_id)) for item_id in items.ids.to_list()]  # file systems compose letters or not
    id_set = set(ids)
    names: dict[str, str] = {}
    others: list[str] = []
    for name in sorted(os.listdir(folder)):
        stem, ending = os.path.splitext(name)
        stem = normalize("NFC", stem)
        if ending.lower() not in ENDINGS:
            continue
        if stem not in id_set:
            others.append(name)
            continue
        if stem in names:
            raise DataError(f"{folder}: {names[stem]} and {name} are both called by item '{stem}'; keep one")
        names[stem] = name
    if not names:
        raise DataError(
            f"{folder}: no picture is called by an item's id, such as {ids[0]}.jpg; name a column of files with --image"
        )
    if others:
        log.warning("%s: %s pictures are called by no item's id, such as %s", folder, f"{len(others):,}", others[0])
    return [names.get(item_id, "") for item_id in ids]


def file_stamp(path: Path) -> str | None:
    """Size and time of a file; None where it cannot be read."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    readable = stat.S_ISREG(status.st_mode) and os.access(path, os.R_OK)
    return f"{status.st_size} {status.st_mtime_ns}" if readable else None


def read_image(path: Path) -> tuple[PILImage | None, Mark]:
    """Read the first frame of a picture as RGB, turned upright, on white. None, with the reason, where it cannot be.

    A picture that is of one colour gets a mark: nothing may be in it, or nothing of it may have survived.
    """
    from PIL import Image, ImageOps

    if file_stamp(path) is None:
        return None, Mark.LOST
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]  # a build of Pillow may lack some
    try:
        with Image.open(path, formats=formats) as image:
            width, height = image.size
            if width * height > MAX_PIXELS or max(width, height) > MAX_RATIO * min(width, height):
                return None, Mark.TOO_LARGE
            marks = Mark.CONVERTED if image.mode != "RGB" else Mark(0)
            marks |= Mark.FRAMES if getattr(image, "n_frames", 1) > 1 else Mark(0)
            tags = getattr(image, "tag_v2", {})
            upright: PILImage = image
            if _turned(image):
                upright, marks = ImageOps.exif_transpose(image), marks | Mark.TURNED
            rgb = _rgb(_grey_of_8_bits(upright, tags) if image.mode[0] in "IF" else upright)
            is_blank = all(low == high for low, high in cast("tuple[tuple[int, int], ...]", rgb.getextrema()))
            return rgb, marks | Mark.ONE_COLOUR if is_blank else marks
    except Image.DecompressionBombError:
        return None, Mark.TOO_LARGE
    except MemoryError:
        raise
    except Exception:  # whatever a damaged or hostile file makes of a parser
        return None, Mark.BROKEN


def _turned(image: PILImage) -> bool:
    """Whether the EXIF data say that the camera was not upright; damaged EXIF data are ignored."""
    try:
        return image.getexif().get(ORIENTATION, 1) in range(2, 9)
    except Exception:
        return False


def _rgb(image: PILImage) -> PILImage:
    """Convert to RGB: transparent parts become white."""
    from PIL import Image

    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        return white.convert("RGB")
    return image.convert("RGB")


def _grey_of_8_bits(image: PILImage, tags: Mapping[int, Any]) -> PILImage:
    """Scale grey of 16 bits, 32 bits or decimals to 8 bits; ``tags``: those of a TIFF. Pillow would cut off instead.

    Whole numbers keep the upper 8 of the bits that the largest needs. Decimals are scaled from their smallest to their
    largest. Raises ValueError where no pixel is a finite number.
    """
    from PIL import Image

    grey = np.asarray(image)
    if image.mode == "F":
        is_finite = np.isfinite(grey)
        low, high = np.float64(grey[is_finite].min()), np.float64(grey[is_finite].max())
        share = (np.where(is_finite, grey, low) - low) / (high - low or 1)
        return Image.fromarray((255 * share).round().astype(np.uint8))
    if grey.dtype == np.int32 and tags.get(SAMPLE_FORMAT, (1,))[0] != SIGNED:
        grey = grey.view(np.uint32)
    if grey.min() < 0:
        grey = grey.astype(np.int64) - grey.min()
    eight_bits = (grey >> max(0, int(grey.max()).bit_length() - 8)).astype(np.uint8)
    return Image.fromarray(255 - eight_bits if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else eight_bits)
