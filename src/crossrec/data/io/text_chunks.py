"""Read text files in chunks of complete records, compressed or not, and name the line of any error."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from crossrec.data.io.open_text import SAVE_AS_UTF8, first_line, open_text
from crossrec.data.io.records import QuoteError, Records, split_lines, split_records
from crossrec.data.io.system_errors import no_panic
from crossrec.data.io.text_format import TextFormat
from crossrec.errors import DataError
from crossrec.lazy import polars as pl

HEADER_BYTES = 2**16  # bytes of the first read for column names
CHUNK_BYTES = 2**24  # bytes of a text file parsed at a time
MAX_RECORD_BYTES = 2**28  # longest record accepted
HEADER_RECORDS = 100  # JSON lines read for column names


class MalformedRecordError(DataError):
    """A record with a wrong number of fields, or a line that is no JSON object. The message names its line."""


def read_header(path: Path, form: TextFormat) -> tuple[list[str], bool]:
    """Return (column names of a text file, whether it starts with a byte-order mark).

    Raises DataError naming the line if the start of the file does not match its extension.
    """
    with open_text(path, quote=form.quote) as (file, _):
        content = more = file.read(HEADER_BYTES)
        while more and len(content) <= MAX_RECORD_BYTES and not _holds_header(content, form):
            more = file.read(len(content))
            content += more
        bom = file.bom
    if form.separator is not None:
        if content.lstrip().startswith((b'{"', b"[{", b"[[")):
            raise DataError(f"{path}, line 1: JSON, not cells; write one object a line and let its name end in .jsonl")
        header = content[: _header_end(content, form) or len(content)]
        chunk = TextChunk(path, form, [], header, 1, 0)
        if not chunk.records.fields_R.any():
            return [], bom
        try:
            rows = csv.reader(io.StringIO(chunk.text(), newline="\n"), **form.csv_options())
            return next(fields for fields in rows if fields), bom
        except csv.Error as error:
            raise DataError(f"{path}, line 1: the header cannot be read ({error}); mend it") from None
    columns: dict[str, None] = {}
    malformed: MalformedRecordError | None = None
    lines = content[: content.rfind(b"\n") + 1 or len(content)].split(b"\n")
    for number, line in enumerate(lines[:HEADER_RECORDS], 1):
        try:
            columns |= dict.fromkeys(parse_object(line, f"{path}, line {number}") if line.strip() else ())
        except MalformedRecordError as error:  # an error, or dropped, when the rows are read
            malformed = malformed or error
    if malformed and not columns:
        raise malformed
    return list(columns), bom


def read_chunks(path: Path, form: TextFormat, columns: list[str]) -> Iterator[TextChunk]:
    """Yield a text file in chunks of complete records, without its header.

    A line end inside quotes does not end a record. Raises DataError if the file cannot be read or a record does not
    end.
    """
    with open_text(path, quote=form.quote) as (file, position):
        rest, line, in_header = b"", 1, form.separator is not None
        while True:
            more = file.read(max(CHUNK_BYTES, len(rest)))
            content, last = rest + more, not more
            if in_header and (end := _header_end(content, form)):
                line += content.count(b"\n", 0, end)
                content, in_header = content[end:], False
            cut = 0 if in_header else len(content) if last else _last_record_end(content, form)
            if not cut and len(content) > MAX_RECORD_BYTES:
                raise DataError(
                    f"{path}, line {line}: a row that does not end within {MAX_RECORD_BYTES >> 20} MB; close its quote"
                )
            if cut:
                yield TextChunk(path, form, columns, content[:cut], line, position())
                line += content.count(b"\n", 0, cut)
            rest = content[cut:]
            if last:
                return


@dataclass(frozen=True)
class TextChunk:
    """Complete records of a text file, as bytes whose lines end as in :class:`TextFile`.

    ``columns``: names from the header of the file. ``line``: number of the first line. ``bytes_read``: bytes of the
    file read so far.
    """

    path: Path
    form: TextFormat
    columns: list[str]
    content: bytes = field(repr=False)
    line: int
    bytes_read: int

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def records(self) -> Records:
        """The records; a blank line is a record without fields, but none in JSON Lines.

        Raises DataError naming the line of a quote that is not closed, or stands inside a cell that is not in quotes.
        """
        if self.form.separator is None:
            return split_lines(self.content)
        try:
            return split_records(self.content, self.form.separator, quote=self.form.quote)
        except QuoteError as error:
            raise DataError(f"{self._line_at(error.position)}: {error}") from None

    def read(self, columns: Sequence[str]) -> pl.DataFrame:
        """Parse the named columns: one row for each of :attr:`records`.

        Raises MalformedRecordError naming the line of the first malformed record, DataError for other damage.
        """
        separator = self.form.separator
        if separator is None:
            return self._read_json(columns)
        header = separator.join(map(str, range(len(self.columns)))).encode()
        try:
            with no_panic():
                frame = pl.read_csv(
                    header + b"\n" + self.content,
                    separator=separator,
                    quote_char=self.form.quote,
                    infer_schema=False,
                )
        except pl.exceptions.PolarsError as error:
            self._check_records()
            raise self._unreadable(first_line(str(error))) from None
        if not self._is_regular(frame.height):
            self._check_records(frame.height)
        return frame.select(pl.col(str(self.columns.index(column))).alias(column) for column in columns)

    def without_malformed(self) -> tuple[TextChunk, int]:
        """Return (the chunk with a blank line for each line of its malformed records, number of these records)."""
        records, pieces, start = self.records, [], 0
        malformed = self._malformed()
        for record in malformed:
            first, end = int(records.start_R[record]), int(records.end_R[record])
            pieces += [self.content[start:first], b"\n" * self.content.count(b"\n", first, end)]
            start = end
        return replace(self, content=b"".join([*pieces, self.content[start:]])), len(malformed)

    def location(self, row: int) -> str:
        """The line on which a row of :meth:`read` starts, e.g. 'line 7'."""
        return f"line {self.line + int(self.records.line_R[row])}"

    def blank_rows(self) -> list[int]:
        """Rows of :meth:`read` that are blank lines."""
        rows: list[int] = np.flatnonzero(self.records.fields_R == 0).tolist()
        return rows

    def text(self) -> str:
        """The content as text. Raises DataError naming the first line that is not UTF-8."""
        try:
            return self.content.decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{self._line_at(error.start)}: {SAVE_AS_UTF8}") from None

    def _is_regular(self, rows: int) -> bool:
        """Whether counting shows that there is a row for each line, with the right number of fields."""
        assert self.form.separator is not None
        if self.form.quote is not None and self.form.quote.encode() in self.content:
            return False
        separators = self.content.count(self.form.separator.encode())
        return rows == _count_lines(self.content) and separators == rows * (len(self.columns) - 1)

    def _check_records(self, rows: int | None = None) -> None:
        """Raise DataError for the first malformed record, or if there are not as many records as parsed ``rows``."""
        self.text()
        if len(malformed := self._malformed()):
            record = int(malformed[0])
            raise MalformedRecordError(
                f"{self.path}, {self.location(record)}: {self.records.fields_R[record]} fields where the header has "
                f"{len(self.columns)}; mend the line (columns are separated by {self.form.separator_name})"
            )
        if rows not in (None, len(self.records)):
            raise self._unreadable(f"{rows} of {len(self.records)} rows could be parsed")

    def _malformed(self) -> np.ndarray:
        """Indices of the records with a wrong number of fields, or that are no JSON objects."""
        if self.form.separator is not None:
            return np.flatnonzero(~np.isin(self.records.fields_R, (0, len(self.columns))))
        records = zip(self.records.start_R.tolist(), self.records.end_R.tolist(), strict=True)
        return np.flatnonzero([not _is_object(self.content[start:end]) for start, end in records])

    def _read_json(self, columns: Sequence[str]) -> pl.DataFrame:
        schema = dict.fromkeys(columns, pl.String)
        try:
            with no_panic():
                frame = pl.read_ndjson(self.content, schema=schema)
        except pl.exceptions.PolarsError:
            raise self._json_error(schema) from None
        if frame.height != _count_lines(self.content) and frame.height != len(self.records):
            raise self._unreadable(f"{frame.height} of {len(self.records)} rows could be parsed")
        if b"\\u" in self.content:
            has_nul = frame.select(pl.any_horizontal(pl.all().str.contains("\0", literal=True).fill_null(False)))
            if (cells := has_nul.to_series()).any():
                where = self.location(int(cells.arg_max() or 0))
                raise MalformedRecordError(f"{self.path}, {where}: a \\u… that stands for no character; mend it")
        return frame

    def _json_error(self, schema: Any) -> DataError:
        """The error for the first line that cannot be parsed, to Python's parser or to that of polars."""
        self.text()
        for row in range(len(self.records)):
            line = self.content[self.records.start_R[row] : self.records.end_R[row]]
            try:
                parse_object(line, f"{self.path}, {self.location(row)}")
            except DataError as error:
                return error
        low, high = 0, len(self.records)  # the first `low` lines can be parsed, the first `high` cannot
        while high - low > 1:
            middle = (low + high) // 2
            try:
                with no_panic():
                    pl.read_ndjson(self.content[: self.records.end_R[middle - 1]], schema=schema)
                low = middle
            except pl.exceptions.PolarsError:
                high = middle
        return DataError(f"{self.path}, {self.location(low)}: a number or text of this JSON is out of range; mend it")

    def _line_at(self, position: int) -> str:
        line = self.line + self.content.count(b"\n", 0, position)
        return f"{self.path}, line {line}"

    def _unreadable(self, reason: str) -> DataError:
        return DataError(f"{self.path}, from line {self.line}: cannot be read ({reason}); check its quotes")


def parse_object(line: bytes, where: str) -> dict[str, Any]:
    """Parse a line as a JSON object. Raises DataError, which starts with ``where``, if it is none."""
    constants: list[str] = []
    try:
        record = json.loads(line.decode(), parse_constant=constants.append)
    except UnicodeDecodeError:
        raise DataError(f"{where}: {SAVE_AS_UTF8}") from None
    except (ValueError, RecursionError):
        record = None
    if constants:
        raise MalformedRecordError(f"{where}: {constants[0]} is no value of JSON; write null or leave the key out")
    if not isinstance(record, dict):
        raise MalformedRecordError(f"{where}: not a JSON object; write one {{...}} a line")
    return record


def _is_object(line: bytes) -> bool:
    try:
        return bool(parse_object(line, "") or True)
    except MalformedRecordError:
        return False


def _count_lines(content: bytes) -> int:
    return content.count(b"\n") + (not content.endswith(b"\n"))


def _holds_header(content: bytes, form: TextFormat) -> bool:
    """Whether the start of a file is long enough to hold all column names."""
    return content.count(b"\n") > HEADER_RECORDS if form.separator is None else bool(_header_end(content, form))


def _header_end(content: bytes, form: TextFormat) -> int:
    """The position after the first record that is not blank; 0 if the content does not hold all of it."""
    end, quotes = len(content) - len(content.lstrip(b"\r\n")), 0
    while newline := content.find(b"\n", end) + 1:
        quotes += _count_quotes(content, form, end, newline)
        end = newline
        if quotes % 2 == 0:
            return end
    return 0


def _last_record_end(content: bytes, form: TextFormat) -> int:
    """The position after the last line end that ends a record; 0 if there is none."""
    end = content.rfind(b"\n") + 1
    odd = _count_quotes(content, form, 0, end) % 2
    while end and odd:
        start = content.rfind(b"\n", 0, end - 1) + 1
        odd, end = (odd + _count_quotes(content, form, start, end)) % 2, start
    return end


def _count_quotes(content: bytes, form: TextFormat, start: int, end: int) -> int:
    return 0 if form.quote is None else content.count(form.quote.encode(), start, end)
