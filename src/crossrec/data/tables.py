"""Tables on disk: Parquet, comma- or tab-separated text, JSON Lines; and the line a row stands on, for messages."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crossrec.config import nearest
from crossrec.errors import DataError

if TYPE_CHECKING:
    import _csv

    import polars as pl

SEPARATORS = {".inter": "\t", ".tsv": "\t", ".csv": ","}
SEPARATOR_NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
BOM = b"\xef\xbb\xbf"
_GAPS = "a cell of the row is empty"
PEEK = 100  # JSON lines that are looked at for column names

WELL_KNOWN = {
    "user": ("userid", "user", "uid", "customerid", "reviewerid"),
    "item": ("itemid", "item", "iid", "productid", "asin"),
    "split": ("xlabel", "split", "subset"),
    "time": ("timestamp", "time", "datetime", "date"),
}


@dataclass(frozen=True)
class Table:
    """A table file whose columns are known and whose rows are not read yet.

    Columns of text files arrive as text, those of Parquet as they are. ``bom``: the file starts with a byte-order mark,
    which is not part of the first column's name.
    """

    path: Path
    columns: list[str]
    bom: bool = False

    @property
    def _kind(self) -> str:
        return self.path.suffix.lower()

    @property
    def typed(self) -> bool:
        """Whether the file itself says what is text and what a number."""
        return self._kind == ".parquet"

    def read(self, columns: Sequence[str]) -> pl.DataFrame:
        """The named columns, all rows; a blank line of a text file is a row of nulls.

        Raises DataError naming the line if a line has too few or too many fields or is not what the ending promises.
        """
        import polars as pl

        last = self.columns[-1]
        try:
            if self.typed:
                return pl.scan_parquet(self.path, glob=False, hive_partitioning=False).select(columns).collect()
            if self._kind not in SEPARATORS:
                source = self.path.read_bytes().removeprefix(BOM) if self.bom else self.path
                return pl.scan_ndjson(source, schema=dict.fromkeys(columns, pl.String)).select(columns).collect()
            frame = (
                pl.scan_csv(
                    self.path,
                    separator=SEPARATORS[self._kind],
                    quote_char=None if self._kind == ".inter" else '"',
                    infer_schema=False,
                    glob=False,
                )
                # touching every column makes polars notice lines that are too long
                .with_columns(pl.any_horizontal(pl.all().is_null()).alias(_GAPS))
                .select(list(dict.fromkeys([*columns, last, _GAPS])))
                .collect()
            )
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._unreadable(str(error)) from None
        if frame[last].null_count() and (ragged := self._ragged()):
            raise DataError(ragged)
        return frame.select(columns)

    def place(self, row: int) -> str:
        """Where row ``row`` (from 0) stands: 'line 7' of a text file, header counted, or 'row 6' of a Parquet file."""
        if self.typed:
            return f"row {row + 1}"
        for index, (line, _) in enumerate(self._records()):
            if index == row:
                return f"line {line}"
        return f"row {row + 1}"

    def blank(self) -> list[int]:
        """Rows of :meth:`read` that are blank lines."""
        if self._kind not in SEPARATORS:
            return []
        return [row for row, (_, fields) in enumerate(self._records()) if not fields]

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """(first line, fields) of every row, slowly: for messages only. A blank line of a .csv has no fields."""
        with self.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            if self._kind not in SEPARATORS:
                yield from ((number, [text]) for number, text in enumerate(file, 1) if text.strip())
                return
            reader, before, header = _reader(file, self._kind), 0, False
            try:
                for fields in reader:
                    if header:
                        yield before + 1, fields
                    before, header = reader.line_num, header or bool(fields)
            except csv.Error:  # a quote that is never closed swallows the rest
                return

    def _ragged(self) -> str | None:
        for line, fields in self._records():
            if fields and len(fields) != len(self.columns):
                return (
                    f"{self.path}, line {line}: {len(fields)} fields where the header has {len(self.columns)}; "
                    f"mend the line (columns are separated by {SEPARATOR_NAMES[SEPARATORS[self._kind]]})"
                )
        return None

    def _unreadable(self, reason: str) -> DataError:
        if self.typed:
            return DataError(f"{self.path}: cannot be read as Parquet ({_first_line(reason)}); write the file again")
        with self.path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                try:
                    text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                    if self._kind not in SEPARATORS and text.strip() and not isinstance(json.loads(text), dict):
                        raise ValueError
                except UnicodeDecodeError:
                    return DataError(f"{self.path}, line {number}: not UTF-8 text; save the file as UTF-8")
                except (ValueError, RecursionError):
                    return DataError(f"{self.path}, line {number}: not a JSON object; write one {{...}} a line")
        if self._kind in SEPARATORS and (ragged := self._ragged()):
            return DataError(ragged)
        return DataError(f"{self.path}: cannot be read ({_first_line(reason)}); check its quotes and line ends")


def open_table(path: Path) -> Table:
    """Look at the columns of ``path``. Raises DataError if the file is empty, damaged or repeats a column name."""
    import polars as pl

    kind = path.suffix.lower()
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty; it needs at least a user and an item column")
        if kind == ".parquet":
            return Table(path, list(pl.read_parquet_schema(path)))
        with path.open("rb") as raw:
            bom = raw.read(3) == BOM
        with path.open(encoding="utf-8-sig", newline="") as file:
            if kind in SEPARATORS:
                columns: list[str] = next((fields for fields in _reader(file, kind) if fields), [])
            else:
                columns = _json_columns(path, file)
    except UnicodeDecodeError as error:
        raise Table(path, [])._unreadable(str(error)) from None
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
        file, delimiter=SEPARATORS[kind], quoting=csv.QUOTE_NONE if kind == ".inter" else csv.QUOTE_MINIMAL
    )


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
