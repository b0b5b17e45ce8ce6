"""Read numbers from text, with a decimal point or a decimal comma."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from crossrec.lazy import polars as pl

Decimal = Literal[".", ","]
NO_NUMBER = "is no number; mend it"
AMBIGUOUS = "may have a decimal comma or a comma between thousands; say which with decimal , or ."
WITH_SIGN = r"[+-]?[\d.,]*[.,]\d+"

LARGEST = 1e30
"""Ratings, weights and prices from here on are mistakes: their sums and squares leave float32."""


@dataclass
class NumberReader:
    """Read numbers of one source. ``decimal``: the decimal sign if it is given, or once the cells have shown it.

    Cells show a decimal comma where a comma stands that cannot part thousands, as in ``3,5`` and ``1.299,00``, and no
    point that cannot part them. ``1,299`` alone shows nothing. A sign that is known allows the other one between
    thousands.
    """

    decimal: Decimal | None = None
    _has_points: bool = False

    def parse(self, cells: pl.Series) -> tuple[pl.Series, str]:
        """Return (Float64, null where there is no finite number; what to do about the first such cell)."""
        if cells.dtype != pl.String:
            return _finite(cells), NO_NUMBER
        text = cells.str.strip_chars()
        signs = {sign: text.str.contains(sign, literal=True).any() for sign in (",", ".")}
        if self.decimal is None and signs[","]:
            proofs = {sign: text.str.contains(_shows(sign)).any() for sign in (",", ".")}
            if proofs[","] and not (proofs["."] or self._has_points):
                self.decimal = ","
            elif proofs["."] and not proofs[","]:
                self.decimal = "."
        self._has_points = self._has_points or bool(signs["."])
        if self.decimal is not None and (signs[","] or self.decimal == ","):
            text = _with_point(text, self.decimal)
        numbers = _finite(text)
        first = numbers.is_null().arg_max()
        cell = None if first is None or numbers[first] is not None else cells[first]
        return numbers, NO_NUMBER if cell is None else self._reason(str(cell).strip())

    def _reason(self, cell: str) -> str:
        if not re.fullmatch(WITH_SIGN, cell):
            return NO_NUMBER
        if self.decimal is None:
            return AMBIGUOUS
        return f"is no number with the decimal sign {self.decimal} (decimal); write all numbers one way"


def _shows(decimal: str) -> str:
    """Pattern of numbers in which ``decimal`` is the decimal sign and cannot part thousands."""
    sign, other = re.escape(decimal), re.escape("." if decimal == "," else ",")
    forms = (
        rf"\d{{1,3}}({other}\d{{3}})+{sign}\d+",  # 1.299,00
        rf"\d{{1,3}}({other}\d{{3}}){{2,}}",  # 1.299.000
        rf"\d*{sign}(\d{{1,2}}|\d{{4,}})",  # 3,5
        rf"(\d{{4,}}|0+){sign}\d+",  # 0,125
    )
    return f"^[+-]?({'|'.join(forms)})$"


def _with_point(text: pl.Series, decimal: str) -> pl.Series:
    """Texts of numbers with a decimal point and nothing between thousands; null for other texts with both signs."""
    other = "," if decimal == "." else "."
    grouped = text.str.contains(rf"^[+-]?\d{{1,3}}({re.escape(other)}\d{{3}})+({re.escape(decimal)}\d+)?$")
    plain = text.str.replace_all(other, "", literal=True)
    parts = pl.DataFrame({"text": text, "plain": plain, "grouped": grouped})
    bare = pl.when("grouped").then("plain").when(~pl.col("text").str.contains(other, literal=True)).then("text")
    return parts.select(bare.str.replace(decimal, ".", literal=True)).to_series()


def _finite(cells: pl.Series) -> pl.Series:
    if cells.dtype != pl.String and not cells.dtype.is_numeric():
        return pl.repeat(None, len(cells), dtype=pl.Float64, eager=True)
    number = cells.cast(pl.Float64, strict=False)
    return pl.select(pl.when(number.abs() < LARGEST).then(number)).to_series()
