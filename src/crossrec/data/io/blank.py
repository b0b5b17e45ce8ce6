"""Text that says nothing: blanks, characters that nobody sees, and words that stand for none, such as ``nan``."""

from __future__ import annotations

from crossrec.lazy import polars as pl

WIDTHLESS = r"\x{AD}\x{34F}\x{115F}\x{1160}\x{180E}\x{200B}-\x{200D}\x{2060}-\x{2065}\x{2800}\x{3164}\x{FEFF}\x{FFA0}"
"""Inside of a character class: characters without a mark on paper. Variation selectors, which belong to the character
before them, are none."""
STEERING = r"\p{Cc}\x{61C}\x{200E}\x{200F}\x{202A}-\x{202E}\x{2066}-\x{206F}"
"""Control characters, and marks that change the direction of writing."""
INVISIBLE = rf"\s{WIDTHLESS}{STEERING}"
"""Both, and blanks of all kinds."""
_WRAPPING = rf"[{INVISIBLE}\[\](){{}}<>\"'`,;:#.?_–—-]*"
NOTHING = rf"(?i)^{_WRAPPING}(null|none|nan|nat|n[/.]?a|nil|undefined|\\N)?{_WRAPPING}$"
"""Pattern of a text that stands for a missing one: ``nan``, ``None``, ``N/A``, ``[]``, ``{}``, ``-``, ``<NA>``, …"""


def strip_invisible(text: pl.Series) -> pl.Series:
    """``text`` without blanks and characters that nobody sees at its ends."""
    return text.str.replace_all(rf"^[{INVISIBLE}]+|[{INVISIBLE}]+$", "")


def says_nothing(text: pl.Series) -> pl.Series:
    """Which texts stand for a missing one, a null among them."""
    return text.str.contains(NOTHING).fill_null(True)
