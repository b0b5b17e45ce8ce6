"""Tables on disk: Parquet, comma- or tab-separated text, JSON Lines; and the line a row stands on, for messages."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crossrec.config import did_you_mean
from crossrec.data.io.text_chunks import (
    SEPARATOR_NAMES,
    SEPARATORS,
    blank_rows,
    ending,
    first_line,
    pieces,
    read_header,
)
from crossrec.errors import DataError

if TYPE_CHECKING:
    import polars as pl

WELL_KNOWN = {
    "user": ("userid", "user", "uid", "customerid", "reviewerid"),
    "item": ("itemid", "item", "iid", "productid", "asin"),
    "split": ("xlabel", "split", "subset"),
    "time": ("timestamp", "time", "datetime", "date", "unixreviewtime"),
    "rating": ("rating", "overall", "score", "stars"),
}


@dataclass(frozen=True)
class Block:
    """Some consecutive rows of a table. ``frame``: the rows; a blank line of a text file is a row of nulls.

    ``place(row)``: where a row of the frame stands in its file. ``blank()``: rows that are blank lines. ``done``: bytes
    of the file read so far.
    """

    frame: pl.DataFrame
    place: Callable[[int], str]
    blank: Callable[[], list[int]]
    done: int


@dataclass(frozen=True)
class Table:
    """A table file whose columns are known and whose rows are not read yet.

    Columns of text files arrive as text, those of Parquet as they are. ``bom``: the file starts with a byte-order mark,
    which is not part of the first column's name. A text file may be compressed (``.gz``).
    """

    path: Path
    columns: list[str]
    bom: bool = False

    @property
    def kind(self) -> str:
        """The ending that says how the file is written."""
        return ending(self.path)

    @property
    def typed(self) -> bool:
        """Whether the file itself says what is text and what a number."""
        return self.kind == ".parquet"

    def read(self, columns: Sequence[str]) -> pl.DataFrame:
        """The named columns, all rows. Raises DataError as :meth:`blocks` does."""
        import polars as pl

        frames = [block.frame for block in self.blocks(columns)]
        return pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(columns, pl.String))

    def blocks(self, columns: Sequence[str]) -> Iterator[Block]:
        """The named columns in blocks of some 100,000 rows, in order; memory does not grow with the file.

        Raises DataError naming the line if a line has too few or too many fields or is not what the ending promises.
        """
        if self.typed:
            yield from self._row_groups(columns)
            return
        for piece in pieces(self.path, self.columns):
            yield Block(piece.read(columns), piece.place, piece.blank, piece.done)

    def _row_groups(self, columns: Sequence[str]) -> Iterator[Block]:
        import polars as pl

        size, first = self.path.stat().st_size, 0
        try:
            scan = pl.scan_parquet(self.path, glob=False, hive_partitioning=False).select(columns)
            total = scan.select(pl.len()).collect().item()
            if not total:
                yield Block(scan.collect(), _numbered(0), list, size)
            for frame in scan.collect_batches(maintain_order=True):
                first += frame.height
                yield Block(frame, _numbered(first - frame.height), list, size * first // max(total, 1))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(
                f"{self.path}: cannot be read as Parquet ({first_line(str(error))}); write the file again"
            ) from None

    def place(self, row: int) -> str:
        """Where row ``row`` (from 0) stands: 'line 7' of a text file, header counted, or 'row 6' of a Parquet file."""
        if not self.typed:
            for index, (line, _) in enumerate(self._records()):
                if index == row:
                    return f"line {line}"
        return f"row {row + 1}"

    def blank(self) -> list[int]:
        """Rows of :meth:`read` that are blank lines."""
        return [] if self.typed else blank_rows(self._records())

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        for piece in pieces(self.path, self.columns):
            yield from piece.records()


def _numbered(first: int) -> Callable[[int], str]:
    return lambda row: f"row {first + row + 1}"


def open_table(path: Path) -> Table:
    """Look at the columns of ``path``. Raises DataError if the file is empty, damaged or repeats a column name."""
    import polars as pl

    kind = ending(path)
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty; it needs at least a user and an item column")
        if kind == ".parquet":
            return Table(path, list(pl.read_parquet_schema(path)))
        columns, bom = read_header(path)
    except (pl.exceptions.PolarsError, OSError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({first_line(str(error))}); write the file again") from None
    if not columns:
        raise DataError(f"{path}: the file is empty; it needs at least a user and an item column")
    separator = next((other for other in SEPARATOR_NAMES if len(columns) == 1 and other in columns[0]), None)
    if separator and kind in SEPARATORS:
        raise DataError(
            f"{path}, line 1: the header is separated by {SEPARATOR_NAMES[separator]}, a {kind} file is by "
            f"{SEPARATOR_NAMES[SEPARATORS[kind]]}; change the separators or the ending"
        )
    for column in columns:
        if columns.count(column) > 1:
            raise DataError(
                f"{path}, line 1: column '{column}' occurs {columns.count(column)} times; rename all but one"
            )
    return Table(path, columns, bom)


def find_column(table: Table, role: str, wanted: str | None, *, required: bool) -> str | None:
    """The column that plays ``role`` (user, item, split, time): ``wanted`` if given, else the one well-known name.

    Raises DataError naming the nearest column if it is missing, or the candidates if there are several.
    """
    if wanted is not None:
        if wanted in table.columns:
            return wanted
        raise DataError(f"{table.path}: no column '{wanted}'{did_you_mean(wanted, table.columns)}")
    plain = {column: "".join(filter(str.isalnum, column.lower())) for column in table.columns}
    found = [column for column in table.columns if plain[column] in WELL_KNOWN[role]]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{table.path}: columns {', '.join(found)} could each be the {role}; choose with {role}_column")
    if not required:
        return None
    raise DataError(
        f"{table.path}: no {role} column{did_you_mean(f'{role}_id', table.columns)} ({role}_column names it)"
    )
