"""The raw Amazon files of 2014 (McAuley): reviews, metadata and the image features of 4,096 columns.

``reviews_X_5.json.gz`` has a JSON object a line; ``meta_X.json.gz`` a Python literal a line (``ast.literal_eval`` reads
it, nothing is evaluated); ``image_features_X.b`` is, per item, its id in 10 bytes of ASCII and 4,096 little-endian
float32. Source: He and McAuley 2016; McAuley et al. 2015.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.import_source import (
    Features,
    Files,
    ImportSource,
    Tell,
    find_roles,
    only,
    table_parts,
    target_rows,
)
from crossrec.data.io.tables import open_table
from crossrec.data.io.text_chunks import open_bytes
from crossrec.errors import DataError

if TYPE_CHECKING:
    import polars as pl

REVIEWS = re.compile(r"reviews_(?P<category>.+?)(_5)?\.json(\.gz)?$", re.IGNORECASE)
META = re.compile(r"meta_(?P<category>.+)\.json(\.gz)?$", re.IGNORECASE)
IMAGES = re.compile(r"(?P<modality>[a-z]+)_features_(?P<category>.+)\.b$", re.IGNORECASE)
COLUMNS = 4096
RECORD = np.dtype([("item", "S10"), ("feature", "<f4", COLUMNS)])
"""One item in ``image_features_X.b``: 16,394 bytes."""

_AT = 2048  # records, or lines, that are in memory at a time
_ID = re.compile(rb"^\{'asin': '([^'\\]+)'")


def category(path: Path) -> str | None:
    """The X of a file's name, None if it is not called like one of these."""
    matches = (pattern.match(path.name) for pattern in (REVIEWS, META, IMAGES))
    return next((match["category"] for match in matches if match), None)


def is_amazon(path: Path) -> bool:
    """Whether the file is called like one of these."""
    return category(path) is not None


def open_source(files: Files, config: ImportConfig) -> ImportSource:
    """Reviews are the log (reviewerID, asin, overall, unixReviewTime), metadata the items, the ``.b`` the features.

    Raises DataError if there are no reviews, or files of one kind several times, or the ``.b`` is cut short.
    """
    chosen = {
        what: only([path for path in files.paths if pattern.match(path.name)], files.where, what)
        for what, pattern in (("reviews_*.json.gz", REVIEWS), ("meta_*.json.gz", META), ("image_features_*.b", IMAGES))
    }
    reviews, meta, images = chosen.values()
    if reviews is None:
        raise DataError(f"{files.where}: no reviews_*.json.gz; the metadata alone hold no interactions")
    table = open_table(reviews)
    return ImportSource(
        table_parts([table], find_roles(table, config), [None]),
        [] if images is None else [_image_features(images)],
        None if meta is None else lambda ids, tell: read_meta(meta, ids, tell),
        used=[path for path in (reviews, meta, images) if path],
    )


def read_meta(path: Path, ids: pl.Series | None, tell: Tell) -> pl.DataFrame:
    """Columns item, title, text, brand, category (a list), price, picture (a URL) of the items ``ids``, or of all.

    Lines of other items are passed over unread where they start with the id, as they do. Raises DataError naming the
    line of a literal that is broken.
    """
    import polars as pl

    text = pl.String()
    schema = pl.Schema(
        {
            "item": text,
            "title": text,
            "text": text,
            "brand": text,
            "category": pl.List(text),
            "price": pl.Float64(),
            "picture": text,
        }
    )
    wanted = None if ids is None else set(ids.cast(pl.String).to_list())
    seen: set[str] = set()
    frames, rows = [pl.DataFrame(schema=schema)], []
    for number, line in _lines(path, tell):
        told = _ID.match(line)
        if told and wanted is not None and told[1].decode(errors="replace") not in wanted:
            continue
        entry = _literal(path, number, line)
        if entry["asin"] not in seen and (wanted is None or entry["asin"] in wanted):
            seen.add(entry["asin"])  # a second line of an item adds nothing
            rows.append(_item(entry))
        if len(rows) == _AT:
            frames.append(pl.DataFrame(rows, schema=schema, orient="row"))
            rows = []
    return pl.concat([*frames, pl.DataFrame(rows, schema=schema, orient="row")])


def _lines(path: Path, tell: Tell) -> Iterator[tuple[int, bytes]]:
    with open_bytes(path) as (file, position):
        for number, line in enumerate(file, 1):
            if number % _AT == 0:
                tell(position(), path.stat().st_size)
            if line.strip():
                yield number, line


def _literal(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """The dict that a line writes, in Python's or in JSON's way."""
    entry: Any = None
    try:
        text = line.decode().strip()
        try:
            entry = json.loads(text) if text.startswith('{"') else None
        except ValueError:
            entry = None
        if entry is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of odd escapes in product texts
                entry = ast.literal_eval(text)
    except UnicodeDecodeError:
        raise DataError(f"{path}, line {number}: not UTF-8 text; get the file again") from None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        told = error.msg.partition(" (detected")[0] if isinstance(error, SyntaxError) else str(error)
        reason = (told or type(error).__name__).splitlines()[0][:100]
        raise DataError(
            f"{path}, line {number}: not a Python literal ({reason}); mend or delete the line, or get the file again"
        ) from None
    if not isinstance(entry, dict) or not isinstance(entry.get("asin"), str):
        raise DataError(f"{path}, line {number}: no dict with 'asin'; mend or delete the line")
    return entry


def _item(entry: dict[str, Any]) -> tuple[Any, ...]:
    """The row of an item; what is not of the type it should be counts as missing."""

    def text(key: str) -> str | None:
        value = entry.get(key)
        return value if isinstance(value, str) and value else None

    paths = entry.get("categories")
    names = [name for path in paths if isinstance(path, list) for name in path] if isinstance(paths, list) else []
    names = list(dict.fromkeys(name for name in names if isinstance(name, str)))
    price = entry.get("price")
    price = float(price) if isinstance(price, int | float) and np.isfinite(price) else None
    return entry["asin"], text("title"), text("description"), text("brand"), names or None, price, text("imUrl")


def _image_features(path: Path) -> Features:
    size = path.stat().st_size
    if size == 0 or size % RECORD.itemsize:
        whole = size // RECORD.itemsize
        raise DataError(
            f"{path}, byte {whole * RECORD.itemsize}: cut short after {whole:,} items ({size % RECORD.itemsize:,} of "
            f"{RECORD.itemsize:,} bytes of the next one); get the file again"
        )
    match = IMAGES.match(path.name)
    assert match is not None
    return Features(match["modality"].lower(), path, COLUMNS, np.dtype(np.float32), _filler(path), None)


def _filler(path: Path) -> Callable[[pl.Series, np.ndarray, Tell], np.ndarray]:
    def fill(ids: pl.Series, target: np.ndarray, tell: Tell) -> np.ndarray:
        place = {str(item).encode(): row for row, item in enumerate(ids.to_list())}
        done = 0
        with open_bytes(path) as (file, position):
            while content := file.read(RECORD.itemsize * _AT):
                record_R = np.frombuffer(content, dtype=RECORD)
                for number, item in enumerate(record_R["item"].tolist()):
                    byte = (done + number) * RECORD.itemsize
                    if len(item) != 10 or not item.isalnum():
                        raise DataError(
                            f"{path}, byte {byte}: {item!r} is no item id; the file is damaged, get it again"
                        )
                    row = place.get(item)
                    if row is not None:
                        feature = record_R["feature"][number]
                        if not np.isfinite(feature).all():
                            raise DataError(
                                f"{path}, byte {byte}: item {item.decode()} has a feature that is no finite number; "
                                "get the file again"
                            )
                        target[row] = feature
                done += len(record_R)
                tell(position(), path.stat().st_size)
        return target_rows(target)

    return fill
