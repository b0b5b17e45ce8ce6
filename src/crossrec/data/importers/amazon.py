"""Import the raw Amazon files of 2014 (McAuley): reviews, metadata and image features of 4,096 columns.

``reviews_X_5.json.gz`` holds one JSON object per line. ``meta_X.json.gz`` holds one Python literal per line, which
``ast.literal_eval`` parses without running code. ``image_features_X.b`` holds for each item its id in 10 bytes of ASCII
and 4,096 little-endian float32. Source: He and McAuley 2016; McAuley et al. 2015.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.import_source import (
    FeatureSource,
    ImportSource,
    OnCount,
    SourceFiles,
    import_roles,
    table_parts,
)
from crossrec.data.io.npy import RowWriter
from crossrec.data.io.open_text import open_bytes
from crossrec.data.io.tables import open_table
from crossrec.errors import DataError
from crossrec.lazy import polars as pl

REVIEWS = re.compile(r"reviews_(?P<category>.+?)(_5)?\.json(\.gz)?$", re.IGNORECASE)
META = re.compile(r"meta_(?P<category>.+)\.json(\.gz)?$", re.IGNORECASE)
IMAGES = re.compile(r"(?P<modality>[a-z]+)_features_(?P<category>.+)\.b$", re.IGNORECASE)
COLUMNS = 4096
RECORD = np.dtype([("item", "S10"), ("feature", "<f4", COLUMNS)])
"""One item in ``image_features_X.b``: 16,394 bytes."""

BATCH = 2048  # records, or lines, in memory at a time
_ID = re.compile(rb"^\{'asin': '([^'\\]+)'")


def category(path: Path) -> str | None:
    """The X in a file's name; None if the name has none of these patterns."""
    matches = (pattern.match(path.name) for pattern in (REVIEWS, META, IMAGES))
    return next((match["category"] for match in matches if match), None)


def open_source(files: SourceFiles, config: ImportConfig) -> ImportSource:
    """Inspect the files: reviews are the log (reviewerID, asin, overall, unixReviewTime), metadata the items.

    Raises DataError if there are no reviews, several files of one kind, or a truncated ``.b`` file.
    """
    reviews = files.at_most_one("reviews_*.json.gz", lambda path: REVIEWS.match(path.name))
    meta = files.at_most_one("meta_*.json.gz", lambda path: META.match(path.name))
    images = files.at_most_one("image_features_*.b", lambda path: IMAGES.match(path.name))
    if reviews is None:
        raise DataError(f"{files.where}: no reviews_*.json.gz; the metadata alone hold no interactions")
    table = open_table(reviews)
    return ImportSource(
        table_parts([table], import_roles(table, config), config),
        [] if images is None else [_image_features(images)],
        None if meta is None else lambda ids, on_count: read_meta(meta, ids, on_count),
        meta,
        used=[*filter(None, (reviews, meta, images))],
    )


def read_meta(path: Path | str, ids: pl.Series | None, on_count: OnCount) -> pl.DataFrame:
    """Read the items ``ids`` (None: all): item, title, text, brand, category (a list), price and picture (a URL).

    Lines that start with the id of another item are skipped unparsed. Raises DataError naming the line of a broken
    literal.
    """
    path = Path(path)
    text = pl.String()
    columns = {"item": text, "title": text, "text": text, "brand": text, "category": pl.List(text)}
    schema = pl.Schema({**columns, "price": pl.Float64(), "picture": text})
    wanted_ids = None if ids is None else set(ids.cast(pl.String).to_list())
    seen: set[str] = set()
    frames, rows = [pl.DataFrame(schema=schema)], []
    for number, line in _read_lines(path, on_count):
        match = _ID.match(line)
        if match and wanted_ids is not None and match[1].decode(errors="replace") not in wanted_ids:
            continue
        entry = _parse_literal(path, number, line)
        if entry["asin"] not in seen and (wanted_ids is None or entry["asin"] in wanted_ids):
            seen.add(entry["asin"])  # a second line of an item adds nothing
            rows.append(_item_row(entry))
        if len(rows) == BATCH:
            frames.append(pl.DataFrame(rows, schema=schema, orient="row"))
            rows = []
    return pl.concat([*frames, pl.DataFrame(rows, schema=schema, orient="row")])


def _read_lines(path: Path, on_count: OnCount) -> Iterator[tuple[int, bytes]]:
    with open_bytes(path) as (file, position):
        for number, line in enumerate(file, 1):
            if number % BATCH == 0:
                on_count(position(), path.stat().st_size)
            if line.strip():
                yield number, line


def _parse_literal(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """Parse a line as a dict in Python or JSON notation."""
    entry: Any = None
    try:
        text = line.decode().strip()
        try:
            entry = json.loads(text) if text.startswith('{"') else None
        except ValueError:
            entry = None
        if entry is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about invalid escapes in product texts
                entry = ast.literal_eval(text)
    except UnicodeDecodeError:
        raise DataError(f"{path}, line {number}: not UTF-8 text; get the file again") from None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        message = error.msg.partition(" (detected")[0] if isinstance(error, SyntaxError) else str(error)
        reason = (message or type(error).__name__).splitlines()[0][:100]
        raise DataError(
            f"{path}, line {number}: not a Python literal ({reason}); mend or delete the line, or get the file again"
        ) from None
    if not isinstance(entry, dict) or not isinstance(entry.get("asin"), str):
        raise DataError(f"{path}, line {number}: no dict with 'asin'; mend or delete the line")
    return entry


def _item_row(entry: dict[str, Any]) -> tuple[Any, ...]:
    """The row of an item; a value of an unexpected type becomes null."""

    def text(key: str) -> str | None:
        value = entry.get(key)
        return value if isinstance(value, str) and value else None

    paths = entry.get("categories")
    names = [name for path in paths if isinstance(path, list) for name in path] if isinstance(paths, list) else []
    names = list(dict.fromkeys(name for name in names if isinstance(name, str)))
    price = entry.get("price")
    price = float(price) if isinstance(price, int | float) and np.isfinite(price) else None
    return entry["asin"], text("title"), text("description"), text("brand"), names or None, price, text("imUrl")


def _image_features(path: Path) -> FeatureSource:
    size = path.stat().st_size
    if size == 0 or size % RECORD.itemsize:
        complete = size // RECORD.itemsize
        raise DataError(
            f"{path}, byte {complete * RECORD.itemsize}: cut short after {complete:,} items ("
            f"{size % RECORD.itemsize:,} of {RECORD.itemsize:,} bytes of the next one); get the file again"
        )
    match = IMAGES.match(path.name)
    assert match is not None
    fill = partial(_copy_records, path)
    return FeatureSource(match["modality"].lower(), COLUMNS, np.dtype(np.float32), fill, None)


def _copy_records(path: Path, ids: pl.Series, target: RowWriter, on_count: OnCount) -> None:
    """The ``Fill`` of a ``.b`` file. Raises DataError naming the byte of a damaged record."""
    row_of = {str(item).encode(): row for row, item in enumerate(ids.to_list())}
    byte = 0
    with open_bytes(path) as (file, position):
        while content := file.read(RECORD.itemsize * BATCH):
            record_R = np.frombuffer(content, dtype=RECORD)
            row_R = np.full(len(record_R), -1)
            for index, (item, feature) in enumerate(zip(record_R["item"].tolist(), record_R["feature"], strict=True)):
                if len(item) != 10 or not item.isalnum():
                    raise DataError(f"{path}, byte {byte}: {item!r} is no item id; the file is damaged, get it again")
                if item in row_of:
                    if not np.isfinite(feature).all():
                        raise DataError(
                            f"{path}, byte {byte}: item {item.decode()} has a feature that is no finite number; "
                            "get the file again"
                        )
                    row_R[index] = row_of[item]
                byte += RECORD.itemsize
            target.write(row_R[row_R >= 0], record_R["feature"][row_R >= 0])
            on_count(position(), path.stat().st_size)
