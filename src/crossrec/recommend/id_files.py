"""Read ids from the command line or from a file, with the line of every mistake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from crossrec.data.io.id_column import find_id_column
from crossrec.data.io.tables import open_table
from crossrec.errors import DataError
from crossrec.recommend.id_map import IdMap

TABLES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")
"""Endings of tables with an id column; a ``.txt`` file holds one id a line, without a header."""


def read_ids(arguments: Sequence[str], id_map: IdMap, flag: str) -> list[Any]:
    """Ids from the command line: the arguments themselves, or the ids in one file; all must be in ``id_map``.

    A single argument with the ending of a file is one: a table with a column of users or items, or a ``.txt`` file.
    Raises DataError naming an unknown id with its flag, or with its file and line.
    """
    if (
        len(arguments) == 1
        and Path(arguments[0]).suffix.lower() in (*TABLES, ".txt")
        and id_map.row(arguments[0]) is None
    ):
        return _from_file(Path(arguments[0]), id_map, flag)
    for id in arguments:
        if id_map.row(id) is None:
            raise DataError(f"{flag} {id}: none of the {len(id_map)} {id_map.what}s of this run, and no file of them")
    return list(arguments)


def _from_file(path: Path, id_map: IdMap, flag: str) -> list[Any]:
    if not path.is_file():
        raise DataError(f"{flag} {path}: no such file")
    line_of: Callable[[int], str] = "line {}".format
    if path.suffix.lower() == ".txt":
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError):
            raise DataError(f"{flag} {path}: cannot be read; save it as UTF-8 text, an id a line") from None
        ids = [(n, line.strip()) for n, line in enumerate(lines, 1) if line.strip()]
    else:
        table = open_table(path)
        column = find_id_column(table, id_map.what)
        blank_rows = set(table.blank_rows())
        cells = table.read([column])[column].to_list()
        ids = [(row, id) for row, id in enumerate(cells) if row not in blank_rows]
        line_of = table.location
    for row, id in ids:
        if id_map.row(id) is None:
            raise DataError(
                f"{path}, {line_of(row)}: {id_map.what} {'' if id is None else id} is none of the {len(id_map)} "
                "of this run"
            )
    return [id for _, id in ids]
