"""Keep interactions within a time window: since ≤ time < until."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from crossrec.data.importers.config import ImportConfig, parse_bound
from crossrec.data.io.codes import TimeEncoder
from crossrec.errors import ConfigError
from crossrec.lazy import polars as pl


class TimeWindow:
    """The window that ``config`` sets. ``rule``: its settings as text, empty without a window."""

    def __init__(self, config: ImportConfig, times: TimeEncoder) -> None:
        self.times = times
        self.settings = [("since", config.since), ("until", config.until)]
        self.rule = ", ".join(f"{name} {text}" for name, text in self.settings if text is not None)
        self.bounds: list[float] | None = None
        self.range = (np.inf, -np.inf)

    def mask(self, time_N: np.ndarray | None) -> np.ndarray | None:
        """Which rows lie inside, bool (N,); None for all. Raises ConfigError if the bounds do not suit the times."""
        if not self.rule or time_N is None or not len(time_N):
            return None
        first, last = time_N.min(), time_N.max()
        self.range = (min(self.range[0], first), max(self.range[1], last))
        if self.bounds is None:
            self.bounds = [
                default if text is None else encode_bound(self.times, text, name, float(last))
                for (name, text), default in zip(self.settings, (-np.inf, np.inf), strict=True)
            ]
            if self.bounds[0] >= self.bounds[1]:
                raise ConfigError(f"{self.rule}: since is not before until; exchange them")
        keep_N: np.ndarray = (time_N >= self.bounds[0]) & (time_N < self.bounds[1])
        return keep_N

    def range_text(self) -> str:
        """The earliest and latest time read, as text."""
        first, last = (self.times.decode(np.array([time]))[0] for time in self.range)
        return f"times run from {first} to {last}"


def encode_bound(times: TimeEncoder, text: str, setting: str, largest: float) -> float:
    """Encode a bound of the window like the times that ``times`` has encoded.

    Numbers are in the unit of the column. In a column of numbers, a date stands for seconds since 1970, or for milli-,
    micro- or nanoseconds if ``largest``, one of the times, is too large for the coarser unit; without a time zone it is
    UTC. Raises ConfigError for a number in a column of dates.
    """
    dtype = times.dtype
    assert dtype is not None
    bound = parse_bound(text)
    if not isinstance(bound, datetime):
        if dtype.is_temporal():
            raise ConfigError(f"{setting} {text}: the times are dates; give an ISO date such as 2014-05-31")
        return bound
    moment = bound if bound.tzinfo else bound.replace(tzinfo=UTC)
    microseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    if dtype == pl.Date:
        return microseconds / (24 * 3600 * 10**6)
    if isinstance(dtype, pl.Datetime):
        unit = {"ms": 10**3, "us": 10**6, "ns": 10**9}[dtype.time_unit]
    elif dtype.is_temporal():
        raise ConfigError(f"{setting} {text}: the times are of type {dtype}, not dates; leave {setting} out")
    else:
        unit = next((unit for unit in (1, 10**3, 10**6) if largest < unit * 10**11), 10**9)
    seconds, rest = divmod(microseconds * unit, 10**6)
    return seconds + rest / 10**6 if rest else seconds
