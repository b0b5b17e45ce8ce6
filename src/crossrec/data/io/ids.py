"""What may be an id: a whole number, a text or a date, written one way. The one rule for every column of ids."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from crossrec.data.io.blank import INVISIBLE, STEERING, WIDTHLESS, says_nothing, strip_invisible
from crossrec.errors import DataError
from crossrec.lazy import polars as pl

log = logging.getLogger(__name__)

WHOLE = r"^(0|-?[1-9][0-9]*)$"
"""Pattern of text that stands for a whole number."""
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)$"
ROUNDED = r"^[+-]?[0-9](\.[0-9]+[eE]\+?|[eE]\+)[0-9]+$"
"""Pattern of a large number as decimals are written: 1.2345678901234568e+18."""
DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?$"

EDGES = rf"^[\s{WIDTHLESS}]|[\s{WIDTHLESS}]$"
SUSPECT = rf"^$|^[{INVISIBLE}]|[\s{WIDTHLESS}]$|\x{{0}}|^[+-]?[0-9][.eE]"
"""Pattern of text that may be empty, AT_EDGES, NUL or ROUNDED."""

GROUPED = r"^[+-]?[0-9]{1,3}([,_' ][0-9]{3})+$"
"""Pattern of a whole number with its thousands parted."""
UNKNOWN = r"(?i)^\(?(unknown|anonymous|missing|not set|not available)\)?$"
QUOTED = r"^(['\x{60}].*'|\x{201C}.*\x{201D}|\x{201E}.*[\x{201C}\x{201D}]|\x{AB}.*\x{BB}|\x{22}.*\x{22})$"
UUID = r"^\{?([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})\}?$"
HIDDEN = r"\p{Default_Ignorable_Code_Point}"
CYRILLIC = {0x430: "a", 0x432: "b", 0x435: "e", 0x43A: "k", 0x43C: "m", 0x43D: "h", 0x43E: "o", 0x440: "p"}
CYRILLIC |= {0x441: "c", 0x442: "t", 0x443: "y", 0x445: "x", 0x456: "i"}
GREEK = {0x3B1: "a", 0x3B2: "b", 0x3B5: "e", 0x3B6: "z", 0x3B7: "h", 0x3B9: "i", 0x3BA: "k", 0x3BF: "o", 0x3C1: "p"}
GREEK |= {0x3C4: "t", 0x3C5: "y", 0x3C7: "x"}
LOOK_ALIKES = {
    **{chr(code): letter for code, letter in (CYRILLIC | GREEK).items()},
    **{chr(zero + digit): str(digit) for zero in (0x660, 0x6F0, 0x966, 0x9E6) for digit in range(10)},
    **dict.fromkeys(map(chr, (*range(0x2010, 0x2015), 0x2212)), "-"),
    **dict.fromkeys("\u2018\u2019\u02bc", "'"),
    **{"\u201c": '"', "\u201d": '"', "\xdf": "ss", "\u03c2": "\u03c3", "\u0131": "i", "\u0307": ""},
}
"""Character → another one that it may be taken for, in lower case."""

ID_KINDS = "ids are numbers or text"
AT_EDGES = "begins or ends with a blank or a character that nobody sees; remove it"
NUL = "holds a NUL character, which no text file can; remove it"
DECIMAL = "is a decimal; ids are whole numbers or text: write them so, or name another column"
LOST_DIGITS = "is a number that may have lost its last digits; store ids as whole numbers or text"
EXACT = {"Float16": 2**11, "Float32": 2**24, "Float64": 2**53}
"""Type of decimals → whole numbers below it are exact."""

Fail = Callable[[str, "pl.Series | None"], DataError]
"""Makes the error for a reason and the cells that it applies to; None: to the type of the column."""


def parse_ids(cells: pl.Series, fail: Fail) -> pl.Series:
    """Return ids as whole numbers, text or dates; null for an empty cell: null, NaN, or text that shows nothing.

    Raises ``fail(reason, cells)`` for a type that no id has, for text with blanks or characters without width at its
    ends, for decimals, and for numbers so large that decimals cannot hold them.
    """
    dtype = cells.dtype
    if isinstance(dtype, pl.Categorical | pl.Enum):
        cells, dtype = cells.cast(pl.String), pl.String()
    if dtype == pl.String:
        if not cells.str.contains(SUSPECT).any():  # one look at each cell of a sound column
            return cells
        is_empty = strip_invisible(cells) == ""
        _refuse(cells.str.contains(EDGES) & ~is_empty, AT_EDGES, fail)
        _refuse(cells.str.contains("\0", literal=True) & ~is_empty, NUL, fail)
        _refuse(cells.str.contains(ROUNDED), LOST_DIGITS, fail)
        return cells.set(is_empty, None)
    if dtype.is_float():
        cells = cells.fill_nan(None)
        _refuse(cells.is_infinite() | (cells % 1 != 0), DECIMAL, fail)
        _refuse(cells.abs() >= EXACT[str(dtype)], LOST_DIGITS, fail)
        return cells.cast(pl.Int64)
    if dtype.is_decimal():
        number = cells.cast(pl.Int64, strict=False)
        _refuse(cells.is_not_null() & (number.is_null() | (number.cast(dtype, strict=False) != cells)), DECIMAL, fail)
        return number
    if not (dtype.is_integer() or dtype in (pl.Date, pl.Datetime, pl.Null)):
        raise fail(ID_KINDS, None)
    return cells


def _refuse(bad: pl.Series, reason: str, fail: Fail) -> None:
    if bad.any():
        raise fail(reason, bad.fill_null(False))


def plain_ids(ids: pl.Series, *, typed: bool) -> pl.Series:
    """Convert categories to text and whole numbers to Int64, in text too unless the file is ``typed``."""
    if isinstance(ids.dtype, pl.Categorical | pl.Enum):
        ids = ids.cast(pl.String)
    whole = not typed and bool(ids.str.contains(WHOLE).all()) if ids.dtype == pl.String else ids.dtype.is_integer()
    number = ids.cast(pl.Int64, strict=False) if whole else ids
    return ids if number.null_count() else number


def spelling(text: pl.Series) -> pl.Series:
    """One spelling for texts that look the same: composed letters (NFC), one kind of blank, all with width.

    A number without its zeros after the point: 3 for 3.0.
    """
    text = text.str.normalize("NFC").str.replace_all(r"\s+", " ").str.replace_all(f"[{WIDTHLESS}{STEERING}]", "")
    return text.str.replace(r"^([+-]?[0-9]+)\.0*$", "$1")


def loose_spelling(text: pl.Series) -> pl.Series:
    """One spelling for texts that differ in case, in the look of characters, or in the form of a number.

    ``STRASSE`` and ``straße``, a Cyrillic and a Latin a, kinds of dashes; ``7``, ``007``, ``+7`` and ``7e0``, ``1000``
    and ``1,000``.
    """
    text = spelling(text).str.normalize("NFKC").str.to_lowercase()
    if text.str.contains(r"[^\x{0}-\x{7F}]").any():
        text = text.str.replace_all(HIDDEN, "").str.replace_many(LOOK_ALIKES)
    grouped = text.str.contains(GROUPED)
    text = text.zip_with(~grouped, text.str.replace_all("[^0-9+-]", "")) if grouped.any() else text
    text = text.str.replace(r"^[+]?(-?)0*([0-9]+)$", "$1$2").str.replace("^-0$", "0")
    text = text.str.replace(r"^([+-]?)\.([0-9]+)$", "${1}0.$2").str.replace(r"^([+-]?[0-9]+\.[0-9]*[1-9])0+$", "$1")
    text = text.str.replace(UUID, "$1$2$3$4$5")
    exponent = text.str.contains(r"^[+-]?[0-9]+e\+?[0-9]$")
    if exponent.any():
        text = text.zip_with(
            ~exponent, text.cast(pl.Float64, strict=False).cast(pl.Int64, strict=False).cast(pl.String)
        )
    return text


def check_ids(
    ids: pl.Series,
    column: str,
    where: object,
    locate: Callable[[int], str],
    tell: Callable[[str], None] = log.warning,
    rows_D: np.ndarray | None = None,
) -> None:
    """Check distinct ids against each other, and tell what is odd about them.

    ``column``, ``where``: column and file for messages; ``locate(n)``: file and line of id n; ``tell``: called with
    each warning, which names the column, the number of ids and an example; ``rows_D``: rows of each id.

    Raises DataError for ids that look the same but differ (in Unicode form, blanks, characters without width or
    zeros after the point), and for numbers of which some are decimals.
    """
    if ids.dtype.is_temporal() or (ids.dtype == pl.String and len(ids) and ids.str.contains(DATE).all()):
        tell(f"{where}: column '{column}' holds dates ({len(ids):,}, such as {ids[0]}), which are taken for ids")
    number = ids.cast(pl.Int64, strict=False) if ids.dtype == pl.String or ids.dtype.is_integer() else pl.Series([0])
    if len(ids) > 1 and number.null_count() == 0 and number.min() == -1:
        tell(
            f"{locate(int(number.arg_min() or 0))}: {column} -1 often stands for a missing one, and is taken for an id"
        )
    if ids.dtype != pl.String or not len(ids):
        return
    is_decimal = ids.str.contains(".", literal=True)
    if is_decimal.any() and ids.str.contains(NUMBER).all():
        first, count = int(is_decimal.arg_max() or 0), int(is_decimal.sum())
        raise DataError(f"{locate(first)}: {column} '{ids[first]}' {DECIMAL} ({count:,} of {len(ids):,} ids)")
    if pair := _alike(spelling(ids)):
        first, second, count = pair
        raise DataError(
            f"{locate(second)}: {column} {ids[second]!a} looks like {ids[first]!a} ({locate(first)}); write an "
            f"id one way ({count:,} such ids)"
        )
    if pair := _alike(loose_spelling(ids)):
        first, second, count = pair
        tell(
            f"{where}: {count:,} ids of column '{column}' differ from others only in case, width, look or leading "
            f"zeros: {ids[second]!a} ({locate(second)}) from {ids[first]!a}; they are taken for different ids"
        )
    for is_odd, what in (
        (says_nothing(ids) | ids.str.contains(UNKNOWN), "what stands for a missing one"),
        (ids == column, "the name of its column, as where the header is repeated"),
        (ids.str.contains("\ufffd", literal=True), "damaged: a letter was lost when its file was made"),
        (ids.str.contains(QUOTED), "in quotes, which are part of it"),
        (_is_truth(ids), "true or false"),
        (_is_json(ids), "a list or an object"),
    ):
        if is_odd.any():
            first = int(is_odd.arg_max() or 0)
            rows = "" if rows_D is None else f" ({int(rows_D[is_odd.to_numpy()].sum()):,} rows)"
            tell(f"{locate(first)}: {column} '{ids[first]}' is {what}, and taken for an id{rows}")


def _alike(spellings: pl.Series) -> tuple[int, int, int] | None:
    """Return (an id, a later one of the same spelling, the number of ids that are spelt like an earlier one)."""
    is_later = ~spellings.is_first_distinct()
    if not is_later.any():
        return None
    second = int(is_later.arg_max() or 0)
    first = int((spellings == spellings[second]).arg_max() or 0)
    return first, second, int(is_later.sum())


def _is_truth(ids: pl.Series) -> pl.Series:
    """Which ids are true or false, if all are."""
    is_truth = ids.str.to_lowercase().is_in(["true", "false"])
    return is_truth & is_truth.all()


def _is_json(ids: pl.Series) -> pl.Series:
    """Which ids are lists or objects of JSON."""

    def is_container(text: str) -> bool:
        try:
            return isinstance(json.loads(text), list | dict)
        except (ValueError, RecursionError):
            return False

    is_json = ids.str.contains(r"^(\[.*\]|\{.*\})$")
    if is_json.any():
        is_json = pl.Series([bracketed and is_container(id) for bracketed, id in zip(is_json, ids, strict=True)])
    return is_json


def same_spelling(id: Any, ids: pl.Series) -> Any:
    """The first of ``ids`` that is spelt like ``id``, loosely; None for none."""
    texts = loose_spelling(ids.cast(pl.String))
    matches = texts == loose_spelling(strip_invisible(pl.Series([str(id)])))[0]
    return ids[int(matches.arg_max() or 0)] if matches.any() else None
