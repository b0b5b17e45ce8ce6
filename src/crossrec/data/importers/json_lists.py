"""Import the JSON layout of the multi-modal TikTok set: train/val/test.json of user → list of items, with features."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.import_source import ImportSource, LogPart, SourceFiles, complete_source
from crossrec.data.io.open_text import open_bytes
from crossrec.data.io.tables import Block
from crossrec.errors import ConfigError, DataError, setting
from crossrec.lazy import polars as pl

FILES = {"train": ("train",), "valid": ("val", "valid", "validation"), "test": ("test",)}
"""Split → names of its file, before ``.json``."""


def is_lists(path: Path) -> bool:
    """Whether the file has a name of this layout."""
    return path.suffix.lower() == ".json" and any(path.stem.lower() in names for names in FILES.values())


def open_source(files: SourceFiles, config: ImportConfig) -> ImportSource:
    """Inspect the files; item n is row n of the features.

    Each file is read completely: some 100 bytes of memory per interaction.

    Raises DataError if there is no train.json, or two files for one split.
    """
    for name in ("time", "rating", "event", "weight"):
        if getattr(config, f"{name}_column"):
            raise ConfigError(f"{setting(f'{name}_column')}: lists of items have no {name}s; leave it out")
    if (
        config.split in ("time", "date")
        or config.since
        or config.until
        or config.half_life
        or config.min_rating is not None
    ):
        raise ConfigError(f"{files.where}: lists of items have no times or ratings; leave the rules about them out")
    paths: dict[str, Path] = {}
    for path in filter(is_lists, files.paths):
        split = next(split for split, names in FILES.items() if path.stem.lower() in names)
        if split in paths:
            raise DataError(f"{path}: {paths[split].name} is the {split} split already; take one of them away")
        paths[split] = path
    if "train" not in paths:
        raise DataError(f"{files.where}: no train.json of user → list of items")
    columns, labelled = {"user": "user", "item": "item"}, config.split in ("auto", "given")
    parts = [
        LogPart(paths[split], columns, partial(_blocks, paths[split]), typed=False, split=split if labelled else None)
        for split in FILES
        if split in paths
    ]
    return complete_source(files, paths.values(), parts)


def _blocks(path: Path) -> Iterator[Block]:
    """Read a file as one block, whose rows are located by their user.

    Raises DataError if the file is not JSON, has another structure, or mixes numbers and text.
    """
    lists = _read_lists(path)
    users = [user for user, _ in lists]
    items = [item for _, user_items in lists for item in user_items]
    count_U = np.array([len(user_items) for _, user_items in lists], dtype=np.int64)
    user_row_N = np.repeat(np.arange(len(users)), count_U)

    def location(row: int) -> str:
        return f"user '{users[int(user_row_N[row])]}'"

    try:
        column = pl.Series("item", items, dtype=pl.Int64 if not items or type(items[0]) is int else pl.String)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        other = next((row for row, item in enumerate(items) if type(item) is not type(items[0])), None)
        where = "" if other is None else f", {location(other)}"
        raise DataError(f"{path}{where}: items are numbers in one place and text in another; write one kind") from None
    frame = pl.DataFrame({"user": pl.Series(users, dtype=pl.String).gather(user_row_N), "item": column})
    yield Block(frame, location, list, path.stat().st_size)


def _read_lists(path: Path) -> list[tuple[str, list[Any]]]:
    """Return pairs of a user and the list of its items."""
    with open_bytes(path) as (file, _):
        content = file.read()
    try:
        pairs: Any = json.loads(content.decode("utf-8-sig"), object_pairs_hook=lambda pairs: pairs)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno}, column {error.colno}: not JSON ({error.msg}); get the file again"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, byte {error.start}: not UTF-8 text; save the file as UTF-8") from None
    except RecursionError:
        raise DataError(f"{path}: nested too deeply; it maps users to lists of items") from None
    if not content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        raise DataError(f'{path}: not a JSON object; it maps users to lists of items, {{"0": [3, 7], …}}')
    for user, items in pairs:
        if not isinstance(items, list) or not all(type(item) in (int, str) for item in items):
            raise DataError(f"{path}, user '{user}': not a list of items (numbers or text); mend it")
    lists: list[tuple[str, list[Any]]] = pairs
    return lists
