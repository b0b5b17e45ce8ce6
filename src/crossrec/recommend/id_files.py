"""Ids in files, read with the line of every mistake; lists written whole or not at all, by parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossrec.data.io.output import check_ending, write_frames
from crossrec.data.io.tables import find_column, open_table
from crossrec.errors import DataError
from crossrec.recommend.id_map import IdMap

__all__ = ["check_ending", "read_ids", "write_frames"]

TABLES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")
"""Endings of files that ids are read from; ``.txt`` holds an id a line, without a header."""


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
