"""Read and write tables: Parquet, comma- or tab-separated text, JSON Lines. Every row keeps its location for errors."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crossrec.data.io.atomic import new_file
from crossrec.data.io.text_chunks import (
    SEPARATOR_NAMES,
    SEPARATORS,
    blank_rows,
    ending,
    first_line,
    read_chunks,
    read_header,
)
from crossrec.errors import ConfigError, DataError, RunError
from crossrec.lazy import polars as pl

ENDINGS = (".parquet", ".csv", ".jsonl")
"""File extensions that :func:`write_frames` supports."""


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a table. ``frame``: the rows; a blank line of a text file is a row of nulls.

    ``location(row)``: the position of a row of the frame in its file, e.g. 'line 7'. ``blank_rows()``: rows that are
    blank lines. ``bytes_read``: bytes of the file read so far.
    """

    frame: pl.DataFrame = field(repr=False)
    location: Callable[[int], str]
    blank_rows: Callable[[], list[int]]
    bytes_read: int


@dataclass(frozen=True)
class Table:
    """A table file with known columns and unread rows.

    Text files give columns of text, Parquet files give typed columns. ``bom``: whether the file starts with a
    byte-order mark, which is not part of the first column's name. A text file may be compressed (``.gz``).
    """

    path: Path
    columns: list[str]
    bom: bool = False

    @property
    def kind(self) -> str:
        """The extension that names the file format."""
        return ending(self.path)

    @property
    def typed(self) -> bool:
        """Whether the file stores the types of its columns."""
        return self.kind == ".parquet"

    def read(self, columns: Sequence[str]) -> pl.DataFrame:
        """Read all rows of the named columns. Raises DataError as :meth:`blocks` does."""
        frames = [block.frame for block in self.blocks(columns)]
        return pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(columns, pl.String))

    def read_block(self, columns: Sequence[str]) -> Block:
        """Read all rows of the named columns as one block. Raises DataError as :meth:`blocks` does."""
        return Block(self.read(columns), self.location, self.blank_rows, self.path.stat().st_size)

    def blocks(self, columns: Sequence[str]) -> Iterator[Block]:
        """Read the named columns in blocks of some 100,000 rows, in order; memory does not grow with the file.

        Raises DataError naming the line if a line has the wrong number of fields or does not match the file's
        extension.
        """
        if self.typed:
            yield from self._row_groups(columns)
            return
        for chunk in read_chunks(self.path, self.columns):
            yield Block(chunk.read(columns), chunk.location, chunk.blank_rows, chunk.bytes_read)

    def _row_groups(self, columns: Sequence[str]) -> Iterator[Block]:
        size, first = self.path.stat().st_size, 0
        try:
            scan = pl.scan_parquet(self.path, glob=False, hive_partitioning=False).select(columns)
            total = scan.select(pl.len()).collect().item()
            if not total:
                yield Block(scan.collect(), _row_locations(0), list, size)
            for frame in scan.collect_batches(maintain_order=True):
                first += frame.height
                yield Block(frame, _row_locations(first - frame.height), list, size * first // max(total, 1))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(
                f"{self.path}: cannot be read as Parquet ({first_line(str(error))}); write the file again"
            ) from None

    def location(self, row: int) -> str:
        """The position of row ``row`` (from 0): 'line 7' of a text file, header counted, or 'row 6' of Parquet."""
        if not self.typed:
            for index, (line, _) in enumerate(self._records()):
                if index == row:
                    return f"line {line}"
        return f"row {row + 1}"

    def blank_rows(self) -> list[int]:
        """Rows of :meth:`read` that are blank lines."""
        return [] if self.typed else blank_rows(self._records())

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        for chunk in read_chunks(self.path, self.columns):
            yield from chunk.records()


def _row_locations(first: int) -> Callable[[int], str]:
    return lambda row: f"row {first + row + 1}"


def open_table(path: Path | str) -> Table:
    """Read the column names of ``path``. Raises DataError if the file is empty, damaged or repeats a column name."""
    path = Path(path)
    kind = ending(path)
    try:
        if path.stat().st_size == 0:
            raise _empty(path)
        if kind == ".parquet":
            return Table(path, list(pl.read_parquet_schema(path)))
        columns, bom = read_header(path)
    except (pl.exceptions.PolarsError, OSError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({first_line(str(error))}); write the file again") from None
    if not columns:
        raise _empty(path)
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


def _empty(path: Path) -> DataError:
    return DataError(f"{path}: the file is empty; it needs at least a user and an item column")


def check_ending(path: Path | str) -> None:
    """Raise ConfigError unless ``path`` has an extension that :func:`write_frames` supports."""
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"--out {path}: give a file that ends in {', '.join(ENDINGS)}")
    if path.is_dir():
        raise ConfigError(f"--out {path} is a folder: give a file")


def write_frames(
    frames: Iterator[pl.DataFrame],
    path: Path | str,
    schema: pl.DataFrame,
    on_frame: Callable[[pl.DataFrame], None] = lambda _: None,
) -> None:
    """Write frames one after another to one Parquet, CSV or JSON Lines file, by the extension of ``path``.

    Only a few frames are in memory at a time. The file replaces an existing one when it is complete. ``schema``: a
    frame without rows. Raises ConfigError for another extension, RunError if the file cannot be written.
    """
    from polars.exceptions import PolarsError
    from polars.io.plugins import register_io_source

    path = Path(path)
    check_ending(path)
    raised: list[BaseException] = []

    def source(*_: object) -> Iterator[pl.DataFrame]:
        yield schema
        try:
            for frame in frames:
                on_frame(frame)
                yield frame
        except (GeneratorExit, OSError, PolarsError):
            raise
        except BaseException as error:
            raised.append(error)
            raise

    lazy = register_io_source(source, schema=schema.schema)
    sinks: dict[str, Callable[..., object]] = {
        ".parquet": lazy.sink_parquet,
        ".csv": lazy.sink_csv,
        ".jsonl": lazy.sink_ndjson,
    }
    try:
        with new_file(path) as file:
            sinks[path.suffix.lower()](file)
    except (RunError, PolarsError) as error:
        if raised:  # polars before 2.0 wraps an exception of the frames, even KeyboardInterrupt, in its own
            raise raised[0] from None
        if isinstance(error, RunError):
            raise
        raise RunError(f"{path}: cannot be written ({first_line(str(error))}); choose another ending") from None
