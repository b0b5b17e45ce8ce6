"""Text files in pieces of whole rows, compressed or not; and the line of whatever is wrong in them."""

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

from crossrec.errors import DataError

if TYPE_CHECKING:
    import _csv

    import polars as pl

SEPARATORS = {".inter": "\t", ".item": "\t", ".user": "\t", ".tsv": "\t", ".csv": ","}
"""Ending of a file of separated columns → its separator; text files of other endings hold a JSON object a line."""
SEPARATOR_NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
UNQUOTED = (".inter", ".item", ".user")
BOM = b"\xef\xbb\xbf"
HEAD = 2**16  # bytes that are looked at for column names, at first
PIECE = 2**24  # bytes of a text file that are parsed at a time
LONGEST = 2**28  # bytes that a row may have
PEEK = 100  # JSON lines that are looked at for column names


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
        raise DataError(f"{path}: truncated or damaged ({first_line(str(error))}); get the file again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the file and its rights") from None


def read_header(path: Path) -> tuple[list[str], bool]:
    """(columns of a text file, whether it starts with a byte-order mark).

    Raises DataError naming the line if the file does not start as its ending promises; csv.Error on a broken header.
    """
    kind = ending(path)
    with open_bytes(path) as (file, _):
        content = more = file.read(HEAD)
        while more and not _has_header(content, kind):
            more = file.read(len(content))
            content += more
    bom = content.startswith(BOM)
    content = content.removeprefix(BOM)
    cut = content.rfind(b"\n") + 1
    try:
        text = (content[:cut] or content).decode()
    except UnicodeDecodeError as error:
        raise Piece(path, [], content, 1, b"", 0).unreadable(str(error)) from None
    lines = io.StringIO(text, newline="")
    if kind in SEPARATORS:
        return next((fields for fields in _reader(lines, kind) if fields), []), bom
    columns: dict[str, None] = {}
    for number, line in zip(range(1, PEEK + 1), lines, strict=False):
        if line.strip():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict):
                raise DataError(f"{path}, line {number}: not a JSON object; write one {{...}} a line")
            columns |= dict.fromkeys(record)
    return list(columns), bom


def pieces(path: Path, columns: list[str]) -> Iterator[Piece]:
    """A text file in pieces of whole records, without its header.

    A line end within quotes does not end a record. As polars, this counts the quotes: a line end with an odd number of
    them before it is within. Raises DataError where the file cannot be read, or a record does not end.
    """
    kind = ending(path)
    quoted = kind in SEPARATORS and kind not in UNQUOTED
    with open_bytes(path) as (file, position):
        rest, line, header, fresh = b"", 1, b"", True
        while True:
            more = file.read(max(PIECE, len(rest)))
            content, last = rest + more, not more
            if fresh:
                content, fresh = content.removeprefix(BOM), False
                if kind in SEPARATORS:
                    header, content = _split_header(content, kind)
                    line += header.count(b"\n")
            cut = len(content) if last else _last_record_end(content, quoted)
            if not cut and len(content) > LONGEST:
                raise DataError(
                    f"{path}, line {line}: a row that does not end within {LONGEST >> 20} MB; close its quote"
                )
            if cut:
                yield Piece(path, columns, content[:cut], line, header, position())
                line += content.count(b"\n", 0, cut)
            rest = content[cut:]
            if last:
                return


@dataclass(frozen=True)
class Piece:
    """Whole records of a text file, as bytes.

    ``columns``: those of the header. ``line``: the number of the first line. ``header``: for polars. ``done``: bytes of
    the file read so far.
    """

    path: Path
    columns: list[str]
    content: bytes
    line: int
    header: bytes
    done: int

    def read(self, columns: Sequence[str]) -> pl.DataFrame:
        """The named columns. Raises DataError naming the line of the first record that is malformed."""
        import polars as pl

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
            raise self.unreadable(str(error)) from None
        if frame[self.columns[-1]].null_count() and not self._even(frame.height) and (ragged := self._ragged()):
            raise DataError(ragged)
        return frame.select(columns)

    def place(self, row: int) -> str:
        """Which line a row of :meth:`read` starts on."""
        found = (line for index, (line, _) in enumerate(self.records()) if index == row)
        return f"line {next(found, self.line)}"

    def blank(self) -> list[int]:
        """Rows of :meth:`read` that are blank lines."""
        return blank_rows(self.records())

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """(first line, fields) of every row, slowly: for messages only. A blank line of a .csv has no fields."""
        kind, before = ending(self.path), self.line - 1
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

    def unreadable(self, reason: str) -> DataError:
        """What is wrong with the first line that is no UTF-8, no JSON object, or has not as many fields as columns."""
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
        if kind in SEPARATORS and (ragged := self._ragged()):
            return DataError(ragged)
        return DataError(f"{path}: cannot be read ({first_line(reason)}); check its quotes and line ends")

    def _even(self, rows: int) -> bool:
        """Whether no line can be short: no line is long, or polars would have said so, and the separators suffice."""
        kind = ending(self.path)
        plain = kind in UNQUOTED or b'"' not in self.content
        return plain and self.content.count(SEPARATORS[kind].encode()) == rows * (len(self.columns) - 1)

    def _ragged(self) -> str | None:
        for line, fields in self.records():
            if fields and len(fields) != len(self.columns):
                return (
                    f"{self.path}, line {line}: {len(fields)} fields where the header has {len(self.columns)}; "
                    f"mend the line (columns are separated by {SEPARATOR_NAMES[SEPARATORS[ending(self.path)]]})"
                )
        return None


def blank_rows(records: Iterator[tuple[int, list[str]]]) -> list[int]:
    """Numbers of the records that are blank lines."""
    return [row for row, (_, fields) in enumerate(records) if not fields]


def first_line(reason: str) -> str:
    """The first line of somebody else's message, cut short."""
    return reason.strip().splitlines()[0][:200] if reason.strip() else "no reason given"


def _has_header(content: bytes, kind: str) -> bool:
    """Whether what there is of a file is enough to tell its columns."""
    if kind not in SEPARATORS:
        return content.count(b"\n") > PEEK
    return bool(content[: _last_record_end(content, kind not in UNQUOTED)].removeprefix(BOM).strip())


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


def _reader(file: Iterator[str], kind: str) -> _csv.Reader:
    return csv.reader(
        file, delimiter=SEPARATORS[kind], quoting=csv.QUOTE_NONE if kind in UNQUOTED else csv.QUOTE_MINIMAL
    )
