"""Read text files in chunks of complete records, compressed or not, and name the line of any error."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from crossrec.errors import DataError
from crossrec.lazy import polars as pl

if TYPE_CHECKING:
    import _csv

SEPARATORS = {".inter": "\t", ".item": "\t", ".user": "\t", ".tsv": "\t", ".csv": ","}
"""File extension → column separator; text files with other extensions hold one JSON object per line."""
SEPARATOR_NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
UNQUOTED = (".inter", ".item", ".user")
BOM = b"\xef\xbb\xbf"
HEADER_BYTES = 2**16  # bytes of the first read for column names
CHUNK_BYTES = 2**24  # bytes of a text file parsed at a time
MAX_RECORD_BYTES = 2**28  # longest record accepted
HEADER_RECORDS = 100  # JSON lines read for column names


def ending(path: Path) -> str:
    """The lower-case extension of a file; for a compressed file, the extension before ``.gz``."""
    inner = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return inner.suffix.lower()


@contextmanager
def open_bytes(path: Path) -> Iterator[tuple[IO[bytes], Callable[[], int]]]:
    """Open a file for reading bytes, decompressing ``.gz``; yields (file, function that returns the bytes read so far).

    Raises DataError if the file cannot be read or its compressed data are truncated.
    """
    try:
        with path.open("rb") as raw:
            if path.suffix.lower() == ".gz":
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    yield cast("IO[bytes]", unpacked), raw.tell
            else:
                yield raw, raw.tell
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: truncated or damaged ({first_line(str(error))}); get the file again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the file and its rights") from None


def read_header(path: Path) -> tuple[list[str], bool]:
    """Return (column names of a text file, whether it starts with a byte-order mark).

    Raises DataError naming the line if the start of the file does not match its extension; csv.Error on a broken
    header.
    """
    kind = ending(path)
    with open_bytes(path) as (file, _):
        content = more = file.read(HEADER_BYTES)
        while more and not _has_header(content, kind):
            more = file.read(len(content))
            content += more
    bom = content.startswith(BOM)
    content = content.removeprefix(BOM)
    cut = content.rfind(b"\n") + 1
    try:
        text = (content[:cut] or content).decode()
    except UnicodeDecodeError as error:
        raise TextChunk(path, [], content, 1, b"", 0).parse_error(str(error)) from None
    lines = io.StringIO(text, newline="")
    if kind in SEPARATORS:
        return next((fields for fields in _csv_reader(lines, kind) if fields), []), bom
    columns: dict[str, None] = {}
    for number, line in zip(range(1, HEADER_RECORDS + 1), lines, strict=False):
        if line.strip():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict):
                raise DataError(f"{path}, line {number}: not a JSON object; write one {{...}} a line")
            columns |= dict.fromkeys(record)
    return list(columns), bom


def read_chunks(path: Path, columns: list[str]) -> Iterator[TextChunk]:
    """Yield a text file in chunks of complete records, without its header.

    A line end inside quotes does not end a record. Like polars, this counts quotes: a line end with an odd number of
    quotes before it is inside quotes. Raises DataError if the file cannot be read or a record does not end.
    """
    kind = ending(path)
    quoted = kind in SEPARATORS and kind not in UNQUOTED
    with open_bytes(path) as (file, position):
        rest, line, header, at_start = b"", 1, b"", True
        while True:
            more = file.read(max(CHUNK_BYTES, len(rest)))
            content, last = rest + more, not more
            if at_start:
                content, at_start = content.removeprefix(BOM), False
                if kind in SEPARATORS:
                    header, content = _split_header(content, kind)
                    line += header.count(b"\n")
            cut = len(content) if last else _last_record_end(content, quoted)
            if not cut and len(content) > MAX_RECORD_BYTES:
                raise DataError(
                    f"{path}, line {line}: a row that does not end within {MAX_RECORD_BYTES >> 20} MB; close its quote"
                )
            if cut:
                yield TextChunk(path, columns, content[:cut], line, header, position())
                line += content.count(b"\n", 0, cut)
            rest = content[cut:]
            if last:
                return


@dataclass(frozen=True)
class TextChunk:
    """Complete records of a text file, as bytes.

    ``columns``: names from the header of the file. ``line``: number of the first line. ``header``: header bytes that
    polars parses in front of ``content``. ``bytes_read``: bytes of the file read so far.
    """

    path: Path
    columns: list[str]
    content: bytes = field(repr=False)
    line: int
    header: bytes
    bytes_read: int

    def read(self, columns: Sequence[str]) -> pl.DataFrame:
        """Parse the named columns. Raises DataError naming the line of the first malformed record."""
        kind = ending(self.path)
        try:
            if kind not in SEPARATORS:
                return pl.read_ndjson(self.content, schema=dict.fromkeys(columns, pl.String))
            frame = pl.read_csv(
                self.header + self.content,
                separator=SEPARATORS[kind],
                quote_char=None if kind in UNQUOTED else '"',
                infer_schema=False,
            )
        except pl.exceptions.PolarsError as error:
            raise self.parse_error(str(error)) from None
        if frame[self.columns[-1]].null_count() and not self._all_complete(frame.height):
            self._check_field_counts()
        return frame.select(columns)

    def location(self, row: int) -> str:
        """The line on which a row of :meth:`read` starts, e.g. 'line 7'."""
        lines = (line for index, (line, _) in enumerate(self.records()) if index == row)
        return f"line {next(lines, self.line)}"

    def blank_rows(self) -> list[int]:
        """Rows of :meth:`read` that are blank lines."""
        return blank_rows(self.records())

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (first line, fields) of every row. Slow: for error messages only. A blank .csv line has no fields."""
        kind, previous_line = ending(self.path), self.line - 1
        lines = io.StringIO(self.content.decode(errors="replace"), newline="")
        if kind not in SEPARATORS:
            yield from ((number, [text]) for number, text in enumerate(lines, self.line) if text.strip())
            return
        reader = _csv_reader(lines, kind)
        try:
            for fields in reader:
                yield previous_line + 1, fields
                previous_line = self.line - 1 + reader.line_num
        except csv.Error:  # an unclosed quote consumes the rest
            return

    def parse_error(self, reason: str) -> DataError:
        """The error for the first line that is not UTF-8, is no JSON object, or has the wrong number of fields."""
        path, kind = self.path, ending(self.path)
        for number, raw in enumerate(self.content.split(b"\n"), self.line):
            try:
                text = raw.decode()
                if kind not in SEPARATORS and text.strip() and not isinstance(json.loads(text), dict):
                    raise ValueError
            except UnicodeDecodeError:
                return DataError(f"{path}, line {number}: not UTF-8 text; save the file as UTF-8")
            except (ValueError, RecursionError):
                return DataError(f"{path}, line {number}: not a JSON object; write one {{...}} a line")
        if kind in SEPARATORS:
            try:
                self._check_field_counts()
            except DataError as error:
                return error
        return DataError(f"{path}: cannot be read ({first_line(reason)}); check its quotes and line ends")

    def _all_complete(self, rows: int) -> bool:
        """Whether the number of separators rules out short lines; polars has refused long lines already."""
        kind = ending(self.path)
        unquoted = kind in UNQUOTED or b'"' not in self.content
        return unquoted and self.content.count(SEPARATORS[kind].encode()) == rows * (len(self.columns) - 1)

    def _check_field_counts(self) -> None:
        """Raise DataError for the first record whose number of fields differs from that of the header."""
        for line, fields in self.records():
            if fields and len(fields) != len(self.columns):
                raise DataError(
                    f"{self.path}, line {line}: {len(fields)} fields where the header has {len(self.columns)}; "
                    f"mend the line (columns are separated by {SEPARATOR_NAMES[SEPARATORS[ending(self.path)]]})"
                )


def blank_rows(records: Iterator[tuple[int, list[str]]]) -> list[int]:
    """Indices of the records that are blank lines."""
    return [row for row, (_, fields) in enumerate(records) if not fields]


def first_line(reason: str) -> str:
    """The first line of another library's message, at most 200 characters."""
    return reason.strip().splitlines()[0][:200] if reason.strip() else "no reason given"


def _has_header(content: bytes, kind: str) -> bool:
    """Whether the start of a file is long enough to hold all column names."""
    if kind not in SEPARATORS:
        return content.count(b"\n") > HEADER_RECORDS
    return bool(content[: _last_record_end(content, kind not in UNQUOTED)].removeprefix(BOM).strip())


def _last_record_end(content: bytes, quoted: bool) -> int:
    """The position after the last line end that ends a record; 0 if there is none."""
    end = content.rfind(b"\n") + 1
    odd = quoted and content.count(b'"', 0, end) % 2
    while end and odd:
        start = content.rfind(b"\n", 0, end - 1) + 1
        odd, end = (odd + content.count(b'"', start, end)) % 2, start
    return end


def _split_header(content: bytes, kind: str) -> tuple[bytes, bytes]:
    """Split into (header with its line end, remaining bytes); blank lines before a header belong to it."""
    reader = _csv_reader(io.StringIO(content.decode(errors="replace"), newline=""), kind)
    next((fields for fields in reader if fields), None)
    lines = content.split(b"\n", reader.line_num)
    rest = lines.pop() if len(lines) > reader.line_num else b""
    return b"\n".join(lines) + b"\n", rest


def _csv_reader(file: Iterator[str], kind: str) -> _csv.Reader:
    return csv.reader(
        file, delimiter=SEPARATORS[kind], quoting=csv.QUOTE_NONE if kind in UNQUOTED else csv.QUOTE_MINIMAL
    )
