"""Find the records of delimited text: where each starts, how many fields it has, and whether its quotes are sound."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

NEWLINE, RETURN = b"\n\r"
INSIDE = 'a quote inside a cell that is not in quotes; quote the cell and double the quotes inside: "27"" screen"'
UNCLOSED = "a quote opens here and is not closed at the end of its cell; close it, or double it if it is part of a text"


class QuoteError(ValueError):
    """A quote that does not open or close a cell. ``position``: of the byte, or of the quote that opens the cell."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(reason)
        self.position = position


@dataclass(frozen=True)
class Records:
    """R records of a text. ``start_R``, ``end_R``: first byte, and the byte after the last, without the line end.

    ``fields_R``: number of fields; 0 for a blank line. ``line_R``: number of the line it starts on, from 0.
    """

    start_R: np.ndarray = field(repr=False)
    end_R: np.ndarray = field(repr=False)
    fields_R: np.ndarray = field(repr=False)
    line_R: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.start_R)


def split_records(content: bytes, separator: str, *, quote: str | None) -> Records:
    """Split text, whose lines end in ``\\n`` or ``\\r\\n``, into records of fields between separators.

    Line ends and separators inside quotes do not count; ``quote`` None: nothing is quoted. Raises QuoteError for a
    quote that neither opens nor closes a cell, is not doubled inside quotes, or is never closed.
    """
    byte_N = np.frombuffer(content, dtype=np.uint8)
    newlines = ends = np.flatnonzero(byte_N == NEWLINE)
    separators = np.flatnonzero(byte_N == ord(separator))
    if quote is not None and quote.encode() in content:
        _check_quotes(content, byte_N, ord(separator), ord(quote))
        is_inside_N = (np.cumsum(byte_N == ord(quote), dtype=np.uint8) % 2).astype(bool)
        ends, separators = ends[~is_inside_N[ends]], separators[~is_inside_N[separators]]
    if content and (not len(ends) or ends[-1] < len(content) - 1):
        ends = np.append(ends, len(content))
    starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1] + 1])[: len(ends)]
    ends = ends - ((ends > starts) & (byte_N[ends - 1] == RETURN))
    fields_R = np.searchsorted(separators, ends) - np.searchsorted(separators, starts) + 1
    fields_R[starts == ends] = 0
    return Records(starts, ends, fields_R, np.searchsorted(newlines, starts))


def split_lines(content: bytes) -> Records:
    """Split text into its lines that are not blank, as records of one field."""
    ends = np.flatnonzero(np.frombuffer(content + b"\n", dtype=np.uint8) == NEWLINE)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1] + 1])
    lines = np.flatnonzero([bool(line.strip()) for line in content.split(b"\n")])
    return Records(starts[lines], ends[lines], np.ones(len(lines), dtype=np.int64), lines)


def _check_quotes(content: bytes, byte_N: np.ndarray, separator: int, quote: int) -> None:
    """Raise QuoteError unless quotes open at the start of a cell and close at its end, doubled inside."""
    quotes = np.flatnonzero(byte_N == quote)
    padded_N = np.frombuffer(b"\n" + content + b"\n", dtype=np.uint8)
    before_Q, after_Q = padded_N[quotes], padded_N[quotes + 2]
    opens_Q = np.arange(len(quotes)) % 2 == 0
    is_sound_Q = np.where(
        opens_Q,
        np.isin(before_Q, (separator, NEWLINE, quote)),
        np.isin(after_Q, (separator, NEWLINE, RETURN, quote)),
    )
    if is_sound_Q.all() and len(quotes) % 2 == 0:
        return
    bad = len(quotes) - 1 if is_sound_Q.all() else int(np.argmin(is_sound_Q))
    if opens_Q[bad] and not is_sound_Q[bad]:
        raise QuoteError(INSIDE, int(quotes[bad]))
    first = bad - bad % 2
    while first and quotes[first - 1] == quotes[first] - 1:  # a doubled quote inside the cell
        first -= 2
    raise QuoteError(UNCLOSED, int(quotes[first]))
