"""Ids and times as numbers, block by block: no Python object a row, and memory that grows with what is distinct."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from crossrec.data.importers.config import as_bound
from crossrec.data.io.parse_log import parse_times, plain_ids
from crossrec.errors import ConfigError, DataError

if TYPE_CHECKING:
    import polars as pl


class Ids:
    """Ids of one kind (users, items) get the numbers 0, 1, 2, … in the order in which they are met.

    The table of distinct ids is a polars dictionary (``Categories``) of their text. It lives as long as a series that
    uses it: ``_anchor`` is one, whose only id is the first.
    """

    def __init__(self) -> None:
        import polars as pl

        self._kind = pl.Categorical(pl.Categories.random())
        self._anchor: pl.Series | None = None
        self._texts: list[pl.Series] = []
        self._dtypes: list[pl.DataType] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def encode(self, cells: pl.Series) -> np.ndarray:
        """Number of every id, int32. Raises DataError where the ids are of another type than those before.

        ``cells``: text, numbers, dates or categories without nulls.
        """
        import polars as pl

        if isinstance(cells.dtype, pl.Categorical | pl.Enum):
            cells = cells.cast(pl.String)
        if cells.dtype not in self._dtypes:
            self._dtypes.append(cells.dtype)
            if len(self._dtypes) > 1 and not all(dtype.is_integer() for dtype in self._dtypes):
                raise DataError(
                    f"column '{cells.name}' holds {cells.dtype} here and {self._dtypes[0]} in the files before; give "
                    "it one type in all files"
                )
        texts = (cells.to_physical() if cells.dtype.is_temporal() else cells).cast(pl.String).cast(self._kind)
        numbers = texts.to_physical()
        if self._anchor is None and len(texts):
            self._anchor = texts[:1]
        fresh = texts.filter(numbers >= self._count).unique()
        if len(fresh):
            order = fresh.to_physical().arg_sort()
            self._texts.append(fresh[order].cast(pl.String))
            self._count += len(fresh)
        if self._anchor is not None and self._texts[0][:1].cast(self._kind).to_physical()[0] != 0:
            raise RuntimeError("the dictionary of ids was lost")
        return numbers.cast(pl.Int32).to_numpy()

    def distinct(self, *, typed: bool) -> tuple[pl.Series, np.ndarray]:
        """(the distinct ids in sorted order and their own type, int32 place of every number among them).

        Whole numbers are Int64; those of a file that is not ``typed`` too.
        """
        import polars as pl

        texts = pl.concat(self._texts) if self._texts else pl.Series(dtype=pl.String)
        dtype = self._dtypes[0] if self._dtypes else pl.String()
        if dtype.is_integer():
            ids = texts.cast(pl.Int64, strict=False)
            ids = texts.cast(pl.UInt64) if ids.null_count() else ids
        elif dtype.is_temporal():
            physical = pl.Series(dtype=dtype).to_physical().dtype
            ids = texts.cast(physical).cast(dtype)
        else:
            ids = texts if dtype in (pl.String, pl.Boolean) else texts.cast(dtype)
        ids = plain_ids(ids, typed=typed)
        order = ids.arg_sort()
        place = np.empty(len(ids), dtype=np.int32)
        place[order.to_numpy()] = np.arange(len(ids), dtype=np.int32)
        return ids[order], place


class Times:
    """Times as int64 or float64, in the order of time; ``dtype``: what they are written as, once that is known."""

    def __init__(self) -> None:
        self.dtype: pl.DataType | None = None

    def encode(self, cells: pl.Series) -> pl.Series:
        """The number of every time; null where a cell is none, or is of another kind than those before."""
        import polars as pl

        if cells.dtype == pl.String:
            cells = cells.str.strip_chars()
            cells = cells.cast(pl.Float64, strict=False) if self.dtype == pl.Float64 else parse_times(cells)
        elif cells.dtype.is_float():
            cells = cells.cast(pl.Float64).fill_nan(None)
        elif cells.dtype.is_integer():
            cells = cells.cast(pl.Int64, strict=False)
        if self.dtype is None and cells.null_count() < len(cells):
            self.dtype = cells.dtype
        if self.dtype == pl.Int64 and cells.dtype == pl.Float64:
            self.dtype = pl.Float64()
        elif self.dtype == pl.Float64 and cells.dtype == pl.Int64:
            cells = cells.cast(pl.Float64)
        if cells.dtype != self.dtype or not (cells.dtype.is_numeric() or cells.dtype in (pl.Date, pl.Datetime)):
            return pl.repeat(None, len(cells), dtype=pl.Int64, eager=True)
        return cells if cells.dtype.is_float() else cells.to_physical().cast(pl.Int64)

    def decode(self, numbers: np.ndarray) -> pl.Series:
        """The times that :meth:`encode` was given."""
        import polars as pl

        assert self.dtype is not None
        physical = pl.Series(dtype=self.dtype).to_physical().dtype
        return pl.Series("time", numbers).cast(physical).cast(self.dtype)

    def bound(self, text: str, setting: str, largest: float) -> float:
        """A bound of the time window as a number to compare with those of :meth:`encode`.

        Numbers are in the unit of the column. Where the column holds numbers, a date stands for the seconds since 1970,
        or for milli-, micro- or nanoseconds where ``largest``, one of the times, is too large for the coarser unit;
        without a time zone it is meant in UTC. Raises ConfigError where a number meets dates.
        """
        import polars as pl

        assert self.dtype is not None
        value = as_bound(text)
        if not isinstance(value, datetime):
            if self.dtype.is_temporal():
                raise ConfigError(f"{setting} {text}: the times are dates; give an ISO date such as 2014-05-31")
            return value
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        micro = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        if self.dtype == pl.Date:
            return micro / (24 * 3600 * 10**6)
        if isinstance(self.dtype, pl.Datetime):
            unit = {"ms": 10**3, "us": 10**6, "ns": 10**9}[self.dtype.time_unit]
        else:
            unit = next((unit for unit in (1, 10**3, 10**6) if largest < unit * 10**11), 10**9)
        whole, rest = divmod(micro * unit, 10**6)
        return whole + rest / 10**6 if rest else whole
