"""Ids and lists in files: read with the line of every mistake, written whole or not at all, by parts."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossrec.data.tables import find_column, open_table
from crossrec.errors import ConfigError, DataError, RunError
from crossrec.recommend.ids import IdMap

if TYPE_CHECKING:
    import polars as pl

TABLES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")
"""Endings of files that ids are read from; ``.txt`` holds an id a line, without a header."""
ENDINGS = (".parquet", ".csv", ".jsonl")
"""Endings of files that lists are written to."""


def read_ids(given: Sequence[str], known: IdMap, flag: str) -> list[Any]:
    """Ids as told on a command line: themselves, or one file of them; checked against the known ones.

    A single word that ends like a file is one: a table with a column of users or items, or a ``.txt`` of lines. Raises
    DataError naming the flag, or file and line, of an id that is not known.
    """
    if len(given) == 1 and Path(given[0]).suffix.lower() in (*TABLES, ".txt") and known.row(given[0]) is None:
        return _from_file(Path(given[0]), known, flag)
    for one in given:
        if known.row(one) is None:
            raise DataError(f"{flag} {one}: none of the {len(known)} {known.what}s of this run, and no file of them")
    return list(given)


def _from_file(path: Path, known: IdMap, flag: str) -> list[Any]:
    if not path.is_file():
        raise DataError(f"{flag} {path}: no such file")
    if path.suffix.lower() == ".txt":
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError):
            raise DataError(f"{flag} {path}: cannot be read; save it as UTF-8 text, an id a line") from None
        cells = [(f"line {n}", line.strip()) for n, line in enumerate(lines, 1) if line.strip()]
        for place, one in cells:
            if known.row(one) is None:
                raise DataError(f"{path}, {place}: {known.what} {one} is none of the {len(known)} of this run")
        return [one for _, one in cells]
    table = open_table(path)
    alone = table.columns[0] if len(table.columns) == 1 else "id" if "id" in table.columns else None
    column = find_column(table, known.what, alone, required=True)
    assert column is not None
    blank = set(table.blank())
    ids = table.read([column])[column].to_list()
    for row, one in enumerate(ids):
        if known.row(one) is None and row not in blank:
            raise DataError(
                f"{path}, {table.place(row)}: {known.what} {'' if one is None else one} is none of the {len(known)} "
                "of this run"
            )
    return [one for row, one in enumerate(ids) if row not in blank]


def check_ending(path: Path) -> None:
    """Raise ConfigError unless lists can be written to a file of this name."""
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"--out {path}: give a file that ends in {', '.join(ENDINGS)}")
    if path.is_dir():
        raise ConfigError(f"--out {path} is a folder: give a file")


def write_frames(
    frames: Iterator[pl.DataFrame],
    path: Path,
    schema: pl.DataFrame,
    on_frame: Callable[[pl.DataFrame], None] = lambda _: None,
) -> None:
    """Write frames one after the other as Parquet, CSV or JSON Lines, by the ending of ``path``.

    No more than a few frames are in memory. The file appears under its name when it is whole; a file that was there
    stays until then. ``schema``: a frame without rows. Raises ConfigError for another ending, RunError where the file
    cannot be written.
    """
    from polars.exceptions import PolarsError
    from polars.io.plugins import register_io_source

    check_ending(path)

    def source(*_: object) -> Iterator[pl.DataFrame]:
        yield schema
        for frame in frames:
            on_frame(frame)
            yield frame

    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lazy = register_io_source(source, schema=schema.schema)
        if path.suffix.lower() == ".parquet":
            lazy.sink_parquet(draft)
        elif path.suffix.lower() == ".csv":
            lazy.sink_csv(draft)
        else:
            lazy.sink_ndjson(draft)
        os.replace(draft, path)
    except (OSError, PolarsError) as error:
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise RunError(f"{path}: cannot be written ({reason}); is there space and permission?") from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
