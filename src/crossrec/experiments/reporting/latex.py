"""LaTeX for papers: every character as pdflatex takes it, proper names, and tables cut to the width of a page."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

COLUMN_WIDTH, PAGE_WIDTH = 52, 104
"""Characters of a table that fit a column, and a page of two columns, in small type."""
NAMES = {
    **{"bpr": "BPR", "lightgcn": "LightGCN", "sgl": "SGL", "directau": "DirectAU", "ncl": "NCL", "vbpr": "VBPR"},
    **{"grcn": "GRCN", "dualgnn": "DualGNN", "slmrec": "SLMRec", "lattice": "LATTICE", "freedom": "FREEDOM"},
    **{"mgcn": "MGCN", "gume": "GUME", "pgl": "PGL", "damrs": "DA-MRS"},
    **{"fettle": "FETTLE", "cross": "CROSS", "prime": "PRIME", "itemknn": "ItemKNN", "ease": "EASE"},
}
"""Models as their publications write them."""

_ESCAPES = {char: f"\\{char}" for char in "&%$#_{}"}
_ESCAPES |= {char: f"{{{char}}}" for char in "[]*"}  # \\ at the end of the row before takes these for its arguments
_ESCAPES |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\n": " "}
_ESCAPES |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"}
_ESCAPES |= {"–": "--", "—": "---", "…": r"\ldots{}", "’": "'", "‘": "`", "“": "``", "”": "''", "\u00a0": "~"}
_MATH = {"±": "pm", "×": "times", "≥": "geq", "≤": "leq", "≠": "neq", "≈": "approx", "·": "cdot", "→": "to", "−": "-"}
_MATH |= {"∈": "in", "√": "surd", "∞": "infty", "∑": "sum", "Σ": "Sigma", "Δ": "Delta", "Λ": "Lambda", "Ω": "Omega"}
_MATH |= {"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "θ": "theta", "κ": "kappa"}
_MATH |= {"λ": "lambda", "μ": "mu", "µ": "mu", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "ω": "omega"}
_ESCAPES |= {char: "$-$" if name == "-" else rf"$\{name}$" for char, name in _MATH.items()}
_ESCAPES |= {char: rf"\textsuperscript{{{digit}}}" for char, digit in zip("¹²³", "123", strict=True)}


def escape(text: str) -> str:
    r"""A text for pdflatex, with ``\quad`` for blanks at its beginning.

    Letters of Latin scripts stay. Any other character without an entry here is written as its code point, ``U+4E2D``,
    since pdflatex ends at it.
    """
    stripped = text.lstrip(" ")
    indent = r"\quad " if len(stripped) < len(text) else ""
    return indent + "".join(_ESCAPES.get(char) or _plain(char) for char in stripped)


def _plain(char: str) -> str:
    is_latin = char.isascii() or ("\u00c0" <= char <= "\u017f" and unicodedata.category(char).startswith("L"))
    return char if is_latin else f"U+{ord(char):04X}"


def proper_names(text: str) -> str:
    """``text`` with models as their publications write them: "lightgcn + cross" is "LightGCN + CROSS"."""
    return re.sub(r"(?<![\w-])[a-z]+(?![\w-])", lambda word: NAMES.get(word[0], word[0]), text)


def parts_of(widths: Sequence[int], fixed: int) -> list[list[int]]:
    """Columns in parts that fit a page, each with the ``fixed`` first ones. ``widths``: characters of every column."""
    head = list(range(fixed))
    parts = [list(head)]
    for column in range(fixed, len(widths)):
        total = sum(widths[x] + 2 for x in (*parts[-1], column))
        if total > PAGE_WIDTH and len(parts[-1]) > fixed:
            parts.append(list(head))
        parts[-1].append(column)
    return parts
