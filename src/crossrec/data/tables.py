"""Tables on disk: Parquet, comma- or tab-separated text, JSON Lines; and the line a row stands on, for messages."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from crossrec.config import nearest
from crossrec.errors import DataError

if TYPE_CHECKING:
    import _csv

    import polars as pl

SEPARATORS = {".inter": "\t", ".item": "\t", ".user": "\t", ".tsv": "\t", ".csv": ","}
SEPARATOR_NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
BOM = b"\xef\xbb\xbf"
UNQUOTED = (".inter", ".item", ".user")
PIECE = 2**24  # bytes of a text file that are parsed at a time
LONGEST = 2**28  # bytes that a row may have
PEEK = 100  # JSON lines that are looked at for column names

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
        for piece in _pieces(self):
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
                f"{self.path}: cannot be read as Parquet ({_first_line(str(error))}); write the file again"
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
        return [] if self.typed else _blank(self._records())

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        for piece in _pieces(self):
            yield from piece.records()


@dataclass(frozen=True)
class _Piece:
    """Whole records of a text file, as bytes; ``line``: the number of the first line; ``header``: for polars."""

    table: Table
    content: bytes
    line: int
    header: bytes
    done: int

    def read(self, columns: Sequence[str]) -> pl.DataFrame:
        """Parsed. Raises DataError naming the line of the first record that is malformed."""
        import polars as pl

        table = self.table
        try:
            if table.kind not in SEPARATORS:
                return pl.read_ndjson(self.content, schema=dict.fromkeys(columns, pl.String))
            frame = pl.read_csv(
                self.header + self.content,
                separator=SEPARATORS[table.kind],
                quote_char=None if table.kind in UNQUOTED else '"',
                infer_schema=False,
            )
        except pl.exceptions.PolarsError as error:
            raise self._unreadable(str(error)) from None
        if frame[table.columns[-1]].null_count() and not self._even(frame.height) and (ragged := self._ragged()):
            raise DataError(ragged)
        return frame.select(columns)

    def place(self, row: int) -> str:
        """The line that a row of :meth:`read` starts on."""
        return f"line {next(line for index, (line, _) in enumerate(self.records()) if index == row)}"

    def blank(self) -> list[int]:
        """Rows of :meth:`read` that are blank lines."""
        return _blank(self.records())

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """(first line, fields) of every row, slowly: for messages only. A blank line of a .csv has no fields."""
        kind, before = self.table.kind, self.line - 1
        lines = io.StringIO(self.content.decode(errors="replace"), newline="")
        if kind not in SEPARATORS:
            yield from ((number, [text]) for number, text in enumerate(lines, self.line) if text.strip())
            return
        reader = _reader(lines, kind)
        try:
            for fields in reader:
                yield before + 1, fields
                before = self.line - 1 + reader.line_num
        except csv.Error:  # a quote that is never closed swallows the rest
            return

    def _even(self, rows: int) -> bool:
        """Whether no line can be short: no line is long, or polars would have said so, and the separators suffice."""
        plain = self.table.kind in UNQUOTED or b'"' not in self.content
        return plain and self.content.count(SEPARATORS[self.table.kind].encode()) == rows * (
            len(self.table.columns) - 1
        )

    def _ragged(self) -> str | None:
        table = self.table
        for line, fields in self.records():
            if fields and len(fields) != len(table.columns):
                return (
                    f"{table.path}, line {line}: {len(fields)} fields where the header has {len(table.columns)}; "
                    f"mend the line (columns are separated by {SEPARATOR_NAMES[SEPARATORS[table.kind]]})"
                )
        return None

    def _unreadable(self, reason: str) -> DataError:
        path, kind = self.table.path, self.table.kind
        for number, raw in enumerate(self.content.split(b"\n")):
            try:
                text = raw.decode()
                if kind not in SEPARATORS and text.strip() and not isinstance(json.loads(text), dict):
                    raise ValueError
            except UnicodeDecodeError:
                return DataError(f"{path}, line {self.line + number}: not UTF-8 text; save the file as UTF-8")
            except (ValueError, RecursionError):
                return DataError(f"{path}, line {self.line + number}: not a JSON object; write one {{...}} a line")
        if kind in SEPARATORS and (ragged := self._ragged()):
            return DataError(ragged)
        return DataError(f"{path}: cannot be read ({_first_line(reason)}); check its quotes and line ends")


def ending(path: Path) -> str:
    """What a file's name ends in, in small letters; of a compressed file what stands before ``.gz``."""
    inner = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return inner.suffix.lower()


@contextmanager
def open_bytes(path: Path) -> Iterator[tuple[IO[bytes], Callable[[], int]]]:
    """A file as bytes, decompressed where its name ends in ``.gz``, and how much of it has been read.

    Raises DataError where it cannot be read, or is compressed and cut short.
    """
    try:
        with path.open("rb") as raw:
            if path.suffix.lower() == ".gz":
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    yield cast("IO[bytes]", unpacked), raw.tell
            else:
                yield raw, raw.tell
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: truncated or damaged ({_first_line(str(error))}); get the file again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the file and its rights") from None


def _pieces(table: Table) -> Iterator[_Piece]:
    """A text file in pieces of whole records, without its header.

    A line end within quotes is not the end of a record. As polars, this counts the quotes: a line end with an odd
    number of them before it is within.
    """
    quoted = table.kind in SEPARATORS and table.kind not in UNQUOTED
    with open_bytes(table.path) as (file, position):
        rest, line, header, fresh = b"", 1, b"", True
        while True:
            more = file.read(max(PIECE, len(rest)))
            content, last = rest + more, not more
            if fresh:
                content, fresh = content.removeprefix(BOM), False
                if table.kind in SEPARATORS:
                    header, content = _split_header(content, table.kind)
                    line += header.count(b"\n")
            cut = len(content) if last else _last_record_end(content, quoted)
            if not cut and len(content) > LONGEST:
                raise DataError(
                    f"{table.path}, line {line}: a row that does not end within {LONGEST >> 20} MB; close its quote"
                )
            if cut:
                yield _Piece(table, content[:cut], line, header, position())
                line += content.count(b"\n", 0, cut)
            rest = content[cut:]
            if last:
                return


def _last_record_end(content: bytes, quoted: bool) -> int:
    """The position after the last line end that ends a record; 0 where there is none."""
    end = content.rfind(b"\n") + 1
    odd = quoted and content.count(b'"', 0, end) % 2
    while end and odd:
        before = content.rfind(b"\n", 0, end - 1) + 1
        odd, end = (odd + content.count(b'"', before, end)) % 2, before
    return end


def _split_header(content: bytes, kind: str) -> tuple[bytes, bytes]:
    """(the header with its line end, what follows); blank lines before a header belong to it."""
    reader = _reader(io.StringIO(content.decode(errors="replace"), newline=""), kind)
    next((fields for fields in reader if fields), None)
    lines = content.split(b"\n", reader.line_num)
    rest = lines.pop() if len(lines) > reader.line_num else b""
    return b"\n".join(lines) + b"\n", rest


def _blank(records: Iterator[tuple[int, list[str]]]) -> list[int]:
    return [row for row, (_, fields) in enumerate(records) if not fields]


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
        columns, bom = _header(path, kind)
    except (pl.exceptions.PolarsError, OSError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({_first_line(str(error))}); write the file again") from None
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
        raise DataError(f"{table.path}: no column '{wanted}'{nearest(wanted, table.columns)}")
    plain = {column: "".join(filter(str.isalnum, column.lower())) for column in table.columns}
    found = [column for column in table.columns if plain[column] in WELL_KNOWN[role]]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{table.path}: columns {', '.join(found)} could each be the {role}; choose with {role}_column")
    if not required:
        return None
    raise DataError(f"{table.path}: no {role} column{nearest(f'{role}_id', table.columns)} ({role}_column names it)")


def _reader(file: Iterator[str], kind: str) -> _csv.Reader:
    return csv.reader(
        file, delimiter=SEPARATORS[kind], quoting=csv.QUOTE_NONE if kind in UNQUOTED else csv.QUOTE_MINIMAL
    )


def _header(path: Path, kind: str) -> tuple[list[str], bool]:
    """(columns of a text file, whether it starts with a byte-order mark)."""
    with open_bytes(path) as (file, _):
        content = file.read(PIECE)
    bom = content.startswith(BOM)
    content = content.removeprefix(BOM)
    cut = content.rfind(b"\n") + 1
    try:
        text = (content[:cut] or content).decode()
    except UnicodeDecodeError as error:
        raise _Piece(Table(path, []), content, 1, b"", 0)._unreadable(str(error)) from None
    lines = io.StringIO(text, newline="")
    if kind in SEPARATORS:
        return next((fields for fields in _reader(lines, kind) if fields), []), bom
    return _json_columns(path, lines), bom


def _json_columns(path: Path, file: Iterator[str]) -> list[str]:
    columns: dict[str, None] = {}
    for number, text in zip(range(1, PEEK + 1), file, strict=False):
        if text.strip():
            try:
                record = json.loads(text)
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict):
                raise DataError(f"{path}, line {number}: not a JSON object; write one {{...}} a line")
            columns |= dict.fromkeys(record)
    return list(columns)


def _first_line(reason: str) -> str:
    return reason.strip().splitlines()[0][:200] if reason.strip() else "no reason given"
