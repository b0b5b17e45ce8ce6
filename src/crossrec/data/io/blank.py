"""Text that says nothing: blanks, characters that nobody sees, and words that stand for none, such as ``nan``."""

from __future__ import annotations

from crossrec.lazy import polars as pl

INVISIBLE = (
    r"\s\p{Cc}\x{AD}\x{61C}\x{115F}\x{1160}\x{180E}\x{200B}-\x{200F}\x{2028}-\x{202E}\x{2060}-\x{206F}\x{2800}"
    r"\x{3164}\x{FEFF}\x{FFA0}"
)
"""Inside of a character class: blanks, control characters, and characters without a mark on paper. Variation selectors,
which belong to the character before them, are none."""
EDGES = rf"^[{INVISIBLE}]+|[{INVISIBLE}]+$"
"""Pattern of blanks and invisible characters at the ends of a text."""
_WRAPPING = rf"[{INVISIBLE}\[\](){{}}<>\"'`,;:#.?_–—-]*"
NOTHING = rf"(?i)^{_WRAPPING}(null|none|nan|nat|n/?a|nil|undefined)?{_WRAPPING}$"
"""Pattern of a text that stands for a missing one: ``nan``, ``None``, ``N/A``, ``[]``, ``{}``, ``-``, ``<NA>``, …"""


def strip_invisible(text: pl.Series) -> pl.Series:
    """``text`` without blanks and invisible characters at its ends."""
    return text.str.replace_all(EDGES, "")


def says_nothing(text: pl.Series) -> pl.Series:
    """Which texts stand for a missing one, a null among them."""
    return text.str.contains(NOTHING).fill_null(True)
