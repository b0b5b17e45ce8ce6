"""Read times: numbers in one unit, or dates in ISO form or in a form that is given.

No order of day and month is guessed; an import may take the one that days above 12 show.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from crossrec.data.io.codes import from_physical
from crossrec.data.io.time_units import MAX_TIME, TimesSeen
from crossrec.errors import DataError, setting
from crossrec.lazy import polars as pl

NO_TIME = "is no time; use numbers, ISO dates such as 2024-05-31T12:00:00, or --time-format"
ISO = (
    r"^(\d{4})[-/](\d{1,2})[-/](\d{1,2})"
    r"(?:[Tt ](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)? ?([Zz]|UTC|[+-](?:0\d|1[0-4])(?::?[0-5]\d)?)?)?$"
)
"""Year, month, day and perhaps hour, minute, second, fraction of a second, time zone."""
DAY_OR_MONTH_FIRST = r"^\d{1,2}([-/.])\d{1,2}[-/.]\d{2,4}\b"
SHOWN = 0.1
"""Share of dates with a day above 12 that shows the order of day and month."""
WRITTEN_DATE = re.compile(
    r"\d{1,2}(?P<sign>[-/.])\d{1,2}(?P=sign)(?P<year>\d{4}|\d{2})"
    r"(?:(?P<gap>[T ])\d{1,2}:\d{2}(?P<seconds>:\d{2}((?P<point>[.,])\d+)?)?((?P<space> ?)[AaPp][Mm])?)?"
)
DAY_BEFORE_MONTH = r"^\d{4}[-/.](1[3-9]|2\d|3[01])[-/.](0?[1-9]|1[0-2])\b"


@dataclass
class TimeEncoder:
    """Encode times as int64 or float64 that sort like the times.

    ``time_format``: form of dates, by the directives of ``strptime``; None reads numbers and ISO dates.
    ``finds_format``: whether the first dates may show their form, if it is not given (``find_time_format``). ``dtype``:
    type of the times, once known. Dates with a time zone are converted to UTC; others are taken to be in UTC.
    """

    time_format: str | None = None
    dtype: pl.DataType | None = None
    finds_format: bool = False
    _has_zone: bool | None = None
    seen: TimesSeen = field(default_factory=TimesSeen, repr=False)

    def encode(self, cells: pl.Series) -> tuple[pl.Series, pl.Series | None, str]:
        """Return (the number of every time, null for an unusable cell; cells in another form; what to do about them).

        A cell in another form holds a date whose day and month could be exchanged, or a date with a time zone among
        dates without one: a mistake of the column, not of the row. Raises DataError if the column has another type than
        in the files before.
        """
        if self.time_format is not None and cells.dtype.is_temporal():
            raise DataError(f"column '{cells.name}' holds {cells.dtype}, no text; leave {setting('time_format')} out")
        other_form, reason = None, ""
        if self.finds_format and self.time_format is None and self.dtype is None and cells.dtype == pl.String:
            self.time_format = find_time_format(cells.str.strip_chars())
        if self.time_format is not None or cells.dtype == pl.String:
            values, other_form, reason = self._parse(cells)
        elif cells.dtype.is_decimal():
            values = cells.cast(pl.Float64)
        elif cells.dtype.is_integer():
            values = cells.cast(pl.Int64, strict=False)
        else:
            values = cells
        if values.dtype.is_float():
            values = _finite(values.cast(pl.Float64))
        if values.dtype.is_numeric():
            values = values.set((values.abs() > MAX_TIME).fill_null(False), None)
        if values.null_count() == len(values):
            return pl.repeat(None, len(cells), dtype=pl.Int64, eager=True), other_form, reason
        if self.dtype is None or (self.dtype == pl.Int64 and values.dtype == pl.Float64):
            self.dtype = values.dtype
        elif self.dtype == pl.Float64 and values.dtype == pl.Int64:
            values = values.cast(pl.Float64)
        if values.dtype != self.dtype:
            raise DataError(
                f"column '{cells.name}' holds {values.dtype} here and {self.dtype} in the files before; give it one "
                "type in all files"
            )
        return values if values.dtype.is_float() else values.to_physical().cast(pl.Int64), other_form, reason

    @property
    def is_local(self) -> bool:
        """Whether the times are dates without a time zone."""
        return isinstance(self.dtype, pl.Datetime) and self.dtype.time_zone is None

    @property
    def unusable(self) -> str:
        """What to do about a cell that is no time."""
        return NO_TIME if self.time_format is None else f"is no time in the form {self.time_format} (--time-format)"

    def decode(self, numbers: np.ndarray) -> pl.Series:
        """Invert :meth:`encode`: the times in their original type."""
        assert self.dtype is not None
        return from_physical(pl.Series("time", numbers), self.dtype)

    def range_text(self, first: float, last: float) -> str:
        """Two encoded times, the earliest and the latest, as text."""
        shown = (self.decode(np.array([time]))[0] for time in (first, last))
        return "times run from {} to {}".format(*shown)

    def note_units(self, numbers: pl.Series, location: Callable[[int], str]) -> None:
        """Remember which units the numbers of a block are in. ``location(row)``: file and line of a row."""
        if self.dtype is not None:
            is_numeric = self.dtype.is_numeric()
            self.seen.add(
                numbers if is_numeric else from_physical(numbers, self.dtype).cast(pl.Datetime("us")), location
            )

    def _parse(self, cells: pl.Series) -> tuple[pl.Series, pl.Series | None, str]:
        """Parse text as :meth:`encode` does."""
        if cells.dtype.is_float():
            cells = cells.cast(pl.Int64, strict=False)
        text = cells.cast(pl.String).str.strip_chars()
        if self.time_format is not None:
            swapped = exchange_day_and_month(self.time_format)
            values = parse_dates(text, self.time_format)
            fits = values.is_null() & parse_dates(text, swapped).is_not_null()
            return values, fits, f"does not fit --time-format {self.time_format}, but {swapped}; give the right one"
        number = _parse_numbers(text)
        if self.dtype is not None and self.dtype.is_numeric():
            return number, *_ambiguous(text, number)
        if self.dtype is None and number.null_count() <= (text.fill_null("") == "").sum():
            return number, None, ""
        values, has_zone = _parse_iso(text)
        if self.dtype is None and values.null_count() > number.null_count():
            return number, *_ambiguous(text, number)
        other_form, reason = _ambiguous(text, values)
        if not other_form.any() and (zoned := has_zone.drop_nulls()).len():
            if self._has_zone is None:
                self._has_zone = bool(zoned[0])
            other_form = (has_zone != self._has_zone).fill_null(False)
            has, lacks = ("a", "none") if self._has_zone is False else ("no", "one")
            reason = f"has {has} time zone, and times before have {lacks}; write all with a zone (such as Z) or none"
        return values.dt.replace_time_zone("UTC") if self._has_zone else values, other_form, reason


def parse_dates(text: pl.Series, time_format: str) -> pl.Series:
    """Parse dates in a form given by the directives of ``strptime``; null where the text does not fit."""
    if time_format.endswith("%z"):
        text = text.str.replace("[Zz]$", "+0000")
    if "%H" in time_format and "%M" not in time_format:  # polars reads hours with minutes only
        text, time_format = text + ":00", f"{time_format}:%M"
    if ",%f" in time_format:  # and fractions after a point only
        text, time_format = text.str.replace(r",(\d+)", ".$1"), time_format.replace(",%f", ".%f")
    try:
        return text.str.to_datetime(time_format.replace(".%f", "%.f"), strict=False, time_unit="us")
    except pl.exceptions.PolarsError:
        return pl.repeat(None, len(text), dtype=pl.Datetime("us"), eager=True)


def check_time_format(time_format: str) -> str:
    """Return the form. Raises ValueError unless dates written in it can be read again, with year, month and day."""
    written = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC).strftime(time_format)
    (read,) = parse_dates(pl.Series([written]), time_format).to_list()
    if read is None or (read.year, read.month, read.day) != (2001, 2, 3):
        raise ValueError("no form of dates; write year, month and day, such as %d/%m/%Y or %m/%d/%Y %H:%M:%S")
    return time_format


def find_time_format(text: pl.Series) -> str | None:
    """The form of dates that begin with their day or their month, if days above 12 show which; None if they do not.

    They show it if a tenth of the dates has one, and none has one in the other place. The first date shows separators,
    digits of the year and the form of a time of day.
    """
    dates = text.drop_nulls()
    dates = dates.filter(dates.str.contains(DAY_OR_MONTH_FIRST))
    day_first = None if dates.is_empty() else _day_first_form(dates[0])
    if day_first is None:
        return None
    month_first = exchange_day_and_month(day_first)
    fits_day, fits_month = (parse_dates(dates, form).is_not_null() for form in (day_first, month_first))
    num_day, num_month = int((fits_day & ~fits_month).sum()), int((fits_month & ~fits_day).sum())
    if min(num_day, num_month) or max(num_day, num_month) < SHOWN * len(dates):
        return None
    if num_day and "%y" in day_first:  # 24-03-01 may begin with its year, if its end changes more than its start
        first, third = (dates.str.extract(pattern).n_unique() for pattern in (r"^(\d+)", r"^\d+.\d+.(\d+)"))
        if first <= third:
            return None
    return day_first if num_day else month_first


def _day_first_form(date: str) -> str | None:
    """The form of a date that begins with its day, or, with both exchanged, with its month; None for another form."""
    match = WRITTEN_DATE.fullmatch(date)
    if match is None:
        return None
    form = match["sign"].join(("%d", "%m", "%Y" if len(match["year"]) == 4 else "%y"))
    if match["gap"]:
        form += f"{match['gap']}{'%H' if match['space'] is None else '%I'}:%M"
        form += "" if match["seconds"] is None else ":%S"
        form += "" if match["point"] is None else f"{match['point']}%f"
        form += "" if match["space"] is None else f"{match['space']}%p"
    return form


def exchange_day_and_month(time_format: str) -> str:
    """The form with %d and %m exchanged."""
    return re.sub("%[dm]", lambda match: {"%d": "%m", "%m": "%d"}[match[0]], time_format)


def _finite(values: pl.Series) -> pl.Series:
    return pl.select(pl.when(values.is_finite()).then(values)).to_series()


def _parse_numbers(text: pl.Series) -> pl.Series:
    """Parse whole numbers as Int64, or as Float64 where there are decimals; null for other text, NaN and infinity."""
    whole = text.cast(pl.Int64, strict=False)
    decimal = _finite(text.cast(pl.Float64, strict=False))
    return whole if whole.null_count() <= decimal.null_count() else decimal


def _parse_iso(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return (moments in UTC, null where the text is no ISO date; whether a moment has a time zone, null likewise)."""
    names = ("year", "month", "day", "hour", "minute", "second", "fraction", "zone")
    parts = text.str.extract_groups(ISO).struct.unnest()
    parts.columns = list(names)
    two = {name: pl.col(name).fill_null("0").str.zfill(2) for name in names[3:6]}
    date = pl.concat_str([pl.col("year"), pl.col("month").str.zfill(2), pl.col("day").str.zfill(2)], separator="-")
    clock = pl.concat_str([two["hour"], two["minute"], two["second"]], separator=":")
    written = pl.concat_str([date, pl.lit("T"), clock, pl.lit("."), pl.col("fraction").fill_null("0")])
    sign = pl.when(pl.col("zone").str.starts_with("-")).then(-1).otherwise(1)
    hours, minutes = (pl.col("zone").str.extract(r"^[+-](\d{2}):?(\d{2})?$", group).cast(pl.Int64) for group in (1, 2))
    offset = pl.duration(minutes=sign * (hours.fill_null(0) * 60 + minutes.fill_null(0)))
    moment = written.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", strict=False, time_unit="us") - offset
    frame = parts.select(moment.alias("moment"), pl.col("zone").is_not_null().alias("has_zone"))
    moments = frame["moment"]
    return moments, pl.select(pl.when(moments.is_not_null()).then(frame["has_zone"])).to_series()


def _ambiguous(text: pl.Series, values: pl.Series) -> tuple[pl.Series, str]:
    """Return (which unusable cells are dates that begin with a day or a month, what to do about the first)."""
    unusable = values.is_null()
    day_or_month_first = (unusable & text.str.contains(DAY_OR_MONTH_FIRST)).fill_null(False)
    if day_or_month_first.any():
        cell = str(text[int(day_or_month_first.arg_max() or 0)])
        day_first = _day_first_form(cell) or str(_day_first_form(re.split("[ T]", cell)[0]))
        options, year = [day_first, exchange_day_and_month(day_first)], ""
        if "%y" in day_first:
            year = " or with its year"
            options.append(re.sub("%[dy]", lambda match: {"%d": "%y", "%y": "%d"}[match[0]], day_first))
        forms = " or ".join(map(shlex.quote, options))
        clock = "" if ":" in day_first else ", with %H:%M:%S for a time of day"
        return day_or_month_first, (
            f"may begin with its day or with its month{year}; say which with --time-format {forms}{clock}"
        )
    day_before_month = (unusable & text.str.contains(DAY_BEFORE_MONTH)).fill_null(False)
    return day_before_month, "has its day before its month; say so with --time-format %Y-%d-%m"
