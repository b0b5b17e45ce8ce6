"""Moments that a person names, such as those of ``--since`` and ``--valid-from``, in the numbers of a log's times."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import numpy as np
from pydantic import AfterValidator

from crossrec.data.io.time_units import PER_SECOND, digit_format, unit_of
from crossrec.data.io.times import TimeEncoder
from crossrec.errors import ConfigError
from crossrec.lazy import polars as pl

SECONDS_A_DAY = 24 * 3600


def parse_bound(text: str) -> int | float | datetime:
    """Parse a bound of the time window: a finite number or an ISO date. Raises ValueError for anything else."""
    for kind in (int, float, datetime.fromisoformat):
        try:
            bound = kind(text)
        except ValueError:
            continue
        if isinstance(bound, datetime) or math.isfinite(bound):
            return bound
    raise ValueError("neither a number nor an ISO date such as 2014-05-31")


def _parse_share(text: str) -> Decimal | None:
    """The share that text such as 80% says; None for other text. Raises ValueError for what is no share of a log."""
    if not text.rstrip().endswith("%"):
        return None
    try:
        share = Decimal(text.rstrip()[:-1].strip()) / 100
    except ArithmeticError:
        share = Decimal("nan")
    if share.is_nan() or not 0 < share < 1:
        raise ValueError
    return share


def _check_bound(text: str) -> str:
    parse_bound(text)
    return text


def _check_split_bound(text: str) -> str:
    try:
        return text if _parse_share(text) is not None else _check_bound(text)
    except ValueError:
        raise ValueError("neither a number, an ISO date such as 2014-05-31, nor a share such as 80%") from None


Bound = Annotated[str, AfterValidator(_check_bound)]
"""A number in the unit of the times, or an ISO date."""

SplitBound = Annotated[str, AfterValidator(_check_split_bound)]
"""A ``Bound``, or a share of the interactions such as 80%."""


def encode_split_bound(times: TimeEncoder, time_N: np.ndarray, text: str, setting: str) -> float:
    """The first time of ``time_N`` (N,), or later, that lies behind a bound, encoded like them.

    80% is the time of the row before which four fifths of the rows lie, in the order of their times; rows of equal
    times stay together, behind the bound. Raises ConfigError as ``encode_bound`` does.
    """
    share = _parse_share(text)
    if share is None:
        return encode_bound(times, text, setting, float(time_N.max()))
    row = int(share * len(time_N))
    bound: float = np.partition(time_N, row)[row].item()
    return bound


def encode_bound(times: TimeEncoder, text: str, setting: str, largest: float) -> float:
    """Encode a bound of the window like the times that ``times`` has encoded.

    Numbers are in the unit of the column. In a column of numbers, a date stands for seconds, milli-, micro- or
    nanoseconds since 1970, whichever unit ``largest``, one of the times, is in; without a time zone it is UTC. Raises
    ConfigError for a number in a column of dates, and where the bound and the times are in different units or in none.
    """
    dtype = times.dtype
    assert dtype is not None
    bound = parse_bound(text)
    unit = unit_of(largest)
    if not isinstance(bound, datetime):
        if dtype.is_temporal():
            raise ConfigError(f"{setting} {text}: the times are dates; give an ISO date such as 2014-05-31")
        if None not in (unit, bound_unit := unit_of(bound)) and unit != bound_unit:
            raise ConfigError(
                f"{setting} {text}: the times seem to be in {unit}, such as {largest:.0f}, and this in {bound_unit}; "
                "give it in the same unit, or as an ISO date"
            )
        return bound
    moment = bound if bound.tzinfo else bound.replace(tzinfo=UTC)
    microseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    if dtype == pl.Date:
        return microseconds / (SECONDS_A_DAY * 10**6)
    if dtype.is_temporal() and not isinstance(dtype, pl.Datetime):
        raise ConfigError(f"{setting} {text}: the times are of type {dtype}, not dates; leave {setting} out")
    per_second = ticks_per_second(times, largest)
    if not isinstance(per_second, int):
        example = f"{setting} {text}: the times are numbers such as {largest:.15g}"
        if form := digit_format(largest):
            raise ConfigError(f"{example}, which seem to be dates; say so with --time-format {form}")
        raise ConfigError(f"{example}, which are no (milli-, micro-, nano-)seconds since 1970; give a number")
    seconds, rest = divmod(microseconds * per_second, 10**6)
    return seconds + rest / 10**6 if rest else seconds


def ticks_per_second(times: TimeEncoder, largest: float) -> int | float | None:
    """How many units of the encoded times a second has; None if they are in no known unit. ``largest``: one of them."""
    if times.dtype == pl.Date:
        return 1 / SECONDS_A_DAY
    if isinstance(times.dtype, pl.Datetime):
        return {"ms": 10**3, "us": 10**6, "ns": 10**9}[times.dtype.time_unit]
    assert times.dtype is not None
    return None if times.dtype.is_temporal() else PER_SECOND.get(str(unit_of(largest)))
