"""Check the first line of a text file: it must be a header, separated like the file's extension says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from crossrec.data.io.open_text import ending
from crossrec.errors import DataError

SEPARATORS = {".inter": "\t", ".item": "\t", ".user": "\t", ".tsv": "\t", ".csv": ","}
"""File extension → column separator; text files with other extensions hold one JSON object per line."""
SEPARATOR_NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars", "::": "double colons", " ": "blanks"}
NUMBER = re.compile(r"\s*[+-]?\d+(\.\d+)?\s*")


def check_header(path: Path, columns: Sequence[str]) -> None:
    """Raise DataError if a column name occurs twice, or if the line is a comment or has another separator."""
    for column in columns:
        if columns.count(column) > 1:
            raise DataError(
                f"{path}, line 1: column '{column}' occurs {columns.count(column)} times; rename all but one"
            )
    if ending(path) not in SEPARATORS:
        return
    if columns[0].lower().startswith("sep="):
        raise DataError(f"{path}, line 1: '{columns[0]}' is a note for Excel, not the header; delete the line")
    if columns[0].startswith(("#", "//", "%")) and any(map(str.isalnum, columns[0])):
        raise DataError(
            f"{path}, line 1: a comment ('{columns[0][:40]}') where the header should be; delete the line, or only the "
            "mark if the names of the columns follow it"
        )
    separator = _other_separator(columns)
    if separator and len(columns) == 1 and separator != " ":
        raise DataError(f"{path}, line 1: {_wrong_separator(path, separator)}")


def header_problem(path: Path, columns: Sequence[str], separated_by: str | None) -> str | None:
    """Why a file lacks the columns sought, if its first line shows that; None if it does not."""
    if problem := numbers_in_header(path, columns) or types_in_header(path, columns):
        return problem
    separator = _other_separator(columns) if separated_by and separated_by == SEPARATORS.get(ending(path)) else None
    return _wrong_separator(path, separator) if separator else None


def numbers_in_header(path: Path, columns: Sequence[str]) -> str | None:
    """What to do if the first line of a text file holds numbers, not the names of columns; None if it does not."""
    if ending(path) not in SEPARATORS or not any(map(NUMBER.fullmatch, columns)):
        return None
    return f"numbers where the names of columns should be ('{', '.join(columns)[:60]}'); add a header above the rows"


def types_in_header(path: Path, columns: Sequence[str]) -> str | None:
    """What to do if the columns have types such as ``user_id:token``, as in RecBole's files; None if they have none."""
    if ending(path) != ".inter" or not all(":" in column for column in columns):
        return None
    return (
        f"columns with types ('{columns[0]}'), as in the files of RecBole; make a data folder of them: crossrec data "
        f"import {path.parent} --out FOLDER"
    )


def _other_separator(columns: Sequence[str]) -> str | None:
    """A separator that stands in the names of columns, if their number could be that of the columns."""
    separators = SEPARATOR_NAMES if len(columns) == 1 else SEPARATOR_NAMES.keys() - {" "}
    counts = {separator: sum(column.strip().count(separator) for column in columns) for separator in separators}
    return next((separator for separator, count in counts.items() if count and count + 1 >= len(columns)), None)


def _wrong_separator(path: Path, separator: str) -> str:
    kind, way_out = ending(path), "change the separators or the ending, or make a data folder with crossrec data import"
    if separator in ("::", " "):
        own = {"\t": r"\t"}.get(SEPARATORS[kind], SEPARATORS[kind])
        way_out = f"replace them, e.g. with sed 's/{separator}/{own}/g'"
    return (
        f"the header is separated by {SEPARATOR_NAMES[separator]}, a {kind} file is by "
        f"{SEPARATOR_NAMES[SEPARATORS[kind]]}; {way_out}"
    )
