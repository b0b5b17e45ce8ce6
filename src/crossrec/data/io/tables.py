"""Read and write tables: Parquet, comma- or tab-separated text, JSON Lines. Every row keeps its location for errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from zoneinfo import ZoneInfo

from crossrec.data.io.atomic import new_file
from crossrec.data.io.header import check_header
from crossrec.data.io.json_ids import JsonIdKinds, check_repeated_keys
from crossrec.data.io.open_text import ending, first_line, reading
from crossrec.data.io.system_errors import no_panic
from crossrec.data.io.text_chunks import MalformedRecordError, TextChunk, read_chunks, read_header
from crossrec.data.io.text_format import TextFormat
from crossrec.errors import ConfigError, DataError, RunError
from crossrec.lazy import polars as pl

ENDINGS = (".parquet", ".csv", ".jsonl")
"""File extensions that :func:`write_frames` supports."""
PARQUET = b"PAR1"
"""First bytes of a Parquet file."""
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
"""The days of the calendar, from 1 January of year 1 to 31 December 9999, counted from 1970."""
UNITS_A_DAY = {None: 1, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
"""Time unit of polars, None for dates → how many are a day."""


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a table. ``frame``: the rows; a blank line of a text file is a row of nulls.

    ``location(row)``: the position of a row of the frame in its file, e.g. 'line 7'. ``blank_rows()``: rows that are
    blank lines. ``bytes_read``: bytes of the file read so far. ``malformed``: records left out because they are
    malformed.
    """

    frame: pl.DataFrame = field(repr=False)
    location: Callable[[int], str]
    blank_rows: Callable[[], list[int]]
    bytes_read: int
    malformed: int = 0


@dataclass(frozen=True)
class Table:
    """A table file with known columns and unread rows.

    Text files give columns of text, Parquet files give typed columns. ``bom``: whether the file starts with a
    byte-order mark, which is not part of the first column's name. ``form``: separator and quote of a text file, which
    may be compressed (``.gz``).
    """

    path: Path
    columns: list[str]
    form: TextFormat
    bom: bool = False

    @property
    def kind(self) -> str:
        """The extension that names the file format."""
        return ending(self.path)

    @property
    def typed(self) -> bool:
        """Whether the file stores the types of its columns."""
        return self.kind == ".parquet"

    def read(self, columns: Sequence[str], ids: Sequence[str] = ()) -> pl.DataFrame:
        """Read all rows of the named columns. Raises DataError as :meth:`blocks` does."""
        frames = [block.frame for block in self.blocks(columns, ids)]
        return pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(columns, pl.String))

    def read_block(self, columns: Sequence[str], ids: Sequence[str] = ()) -> Block:
        """Read all rows of the named columns as one block. Raises DataError as :meth:`blocks` does."""
        return Block(self.read(columns, ids), self.location, self.blank_rows, self.path.stat().st_size)

    def blocks(
        self, columns: Sequence[str], ids: Sequence[str] = (), *, drop_malformed: bool = False
    ) -> Iterator[Block]:
        """Read the named columns in blocks of some 100,000 rows, in order; memory does not grow with the file.

        ``ids``: which of the columns hold ids. Raises DataError naming the line if the file does not match its
        extension, if a record has the wrong number of fields or is no JSON object, or if an id in JSON is neither text
        nor a whole number, or not of one kind. ``drop_malformed`` leaves malformed records out and counts them.
        """
        if self.typed:
            yield from self._row_groups(columns)
            return
        json_ids = JsonIdKinds(() if self.form.separator is not None else ids)
        for chunk in read_chunks(self.path, self.form, self.columns):
            yield _block(chunk, columns, drop_malformed)
            json_ids.check(chunk)
            if self.form.separator is None:
                check_repeated_keys(chunk, columns)

    def _row_groups(self, columns: Sequence[str]) -> Iterator[Block]:
        size, first = self.path.stat().st_size, 0
        indices = [self.columns.index(column) for column in columns]  # polars takes names such as * for patterns
        with open_parquet(self.path) as file:
            with no_panic():
                scan = pl.scan_parquet(file).select(pl.nth(indices))
                total = scan.select(pl.len()).collect().item()
                frames = iter(scan.collect_batches(maintain_order=True) if total else [scan.collect()])
            while True:
                with no_panic():
                    frame = next(frames, None)
                if frame is None:
                    return
                first, location = first + frame.height, _row_locations(first)
                _check_calendar(self.path, frame, location)
                yield Block(_in_known_zones(frame), location, list, size * first // max(total, 1))

    def location(self, row: int) -> str:
        """The position of row ``row`` (from 0): 'line 7' of a text file, header counted, or 'row 6' of Parquet."""
        return next(
            (chunk.location(row - first) for first, chunk in self._chunks() if row < first + len(chunk)),
            f"row {row + 1}",
        )

    def blank_rows(self) -> list[int]:
        """Rows of :meth:`read` that are blank lines."""
        return [first + row for first, chunk in self._chunks() for row in chunk.blank_rows()]

    def _chunks(self) -> Iterator[tuple[int, TextChunk]]:
        """Yield (its first row, chunk) of a text file."""
        first = 0
        for chunk in [] if self.typed else read_chunks(self.path, self.form, self.columns):
            yield first, chunk
            first += len(chunk)


def _block(chunk: TextChunk, columns: Sequence[str], drop_malformed: bool) -> Block:
    """Parse a chunk as a block."""
    malformed = 0
    try:
        frame = chunk.read(columns)
    except MalformedRecordError:
        if not drop_malformed:
            raise
        chunk, malformed = chunk.without_malformed()
        frame = chunk.read(columns)
    return Block(frame, chunk.location, chunk.blank_rows, chunk.bytes_read, malformed)


def _row_locations(first: int) -> Callable[[int], str]:
    return lambda row: f"row {first + row + 1}"


def open_table(path: Path | str, find_format: Callable[[Path], TextFormat] = TextFormat.of) -> Table:
    """Read the column names of ``path``. Raises DataError if the file is empty, damaged or repeats a column name.

    ``find_format``: tells the format of a text file; default: by its ending.
    """
    path = Path(path)
    with reading(path):
        if path.stat().st_size == 0:
            raise _empty(path)
    if ending(path) == ".parquet":
        with open_parquet(path) as file, no_panic():
            return Table(path, list(pl.read_parquet_schema(file)), TextFormat.of(path))
    form = find_format(path)
    columns, bom = read_header(path, form)
    if not columns:
        raise _empty(path)
    check_header(path, columns)
    return Table(path, columns, form, bom)


@contextmanager
def open_parquet(path: Path) -> Iterator[BinaryIO]:
    """Open a Parquet file. Raises DataError where it is none, or polars fails to read it in the block.

    polars gets the open file and never a path, in which it would read ``*``, ``[1]`` and ``~`` as patterns.
    """
    os.environ.setdefault("POLARS_IGNORE_TIMEZONE_PARSE_ERROR", "1")  # +05:30 is a time zone of Parquet, not of polars
    if path.suffix.lower() == ".gz":
        raise DataError(f"{path}: Parquet is compressed already and not read from gzip; unpack it with gunzip")
    with reading(path), path.open("rb") as file:
        start = file.read(len(PARQUET))
        if start == b"PARE":
            raise DataError(f"{path}: encrypted Parquet, which is not read; write the file without encryption")
        if start != PARQUET:
            raise DataError(f"{path}: not a Parquet file; give it the ending of its format, such as .csv")
        file.seek(0)
        try:
            yield file
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"{path}: cannot be read as Parquet ({first_line(str(error))}); write the file again"
            ) from None


def plain_column(frame: pl.DataFrame, name: str) -> pl.Series:
    """A column without its name: polars' methods look the name of a series up, and take ``^a.*$`` for a pattern."""
    return frame[name].alias("cells")


def _check_calendar(path: Path, frame: pl.DataFrame, location: Callable[[int], str]) -> None:
    """Raise DataError for the first date or moment outside the years 1 to 9999, at which polars panics."""
    for cells in frame:
        if isinstance(cells.dtype, pl.Date | pl.Datetime):
            unit = UNITS_A_DAY[getattr(cells.dtype, "time_unit", None)]
            days = cells.to_physical().alias("cells") // unit
            outside = ~days.is_between(FIRST_DAY, LAST_DAY).fill_null(True)
            if outside.any():
                row = int(outside.arg_max() or 0)
                raise DataError(
                    f"{path}, {location(row)}: column '{cells.name}' holds a date {days[row]:,} days from 1970, "
                    "outside the years 1 to 9999; is it in another unit?"
                )


def _in_known_zones(frame: pl.DataFrame) -> pl.DataFrame:
    """The same moments in UTC, where a column of times has a zone such as +05:30 that has no name."""
    for cells in frame:
        kind = cells.dtype
        if isinstance(kind, pl.Datetime) and kind.time_zone is not None and not _is_zone(kind.time_zone):
            frame = frame.with_columns(cells.cast(pl.Datetime(kind.time_unit, "UTC")))
    return frame


def _is_zone(name: str) -> bool:
    try:
        return bool(ZoneInfo(name))
    except (ValueError, OSError, KeyError):  # of any sort: the name may be a path
        return False


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
