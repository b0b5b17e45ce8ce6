"""LaTeX for papers: every character as pdflatex takes it, proper names, and tables cut to the size of a page."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence

COLUMN_WIDTH, PAGE_WIDTH, CELL_WIDTH = 225.0, 460.0, 160.0
"""Points that a column and a page of two columns have (those of article), and that a cell has before it is wrapped."""
LONG_WORD = 24
"""Characters of a word that may be too long for a line."""
GAP = 8.0
"""Points between two columns of a table, two \\tabcolsep."""
PAGE_ROWS = 44
"""Rows of a table that fit a page, below its caption and head and above its notes."""
_EM = {
    0.32: "ijl.,;:!'|`[]/’‘",
    0.4: 'frstI()-"“” \u00a0',
    0.52: "0123456789acegoqvxyz?–_*",
    0.57: "bdhknpuSJ",
    1.05: "mMW%@&—…→≥≤±×≈≠∑",
}
_WIDTHS = {char: em for em, chars in _EM.items() for char in chars}
"""Em of characters in Computer Modern, rounded up; others are capitals or Greek, or as wide."""
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


def width(text: str, *, bold: bool = False) -> float:
    """Points of a text in small type, rounded up; a character that ``escape`` writes as its code point has seven."""
    em = sum(_WIDTHS.get(char, 0.8 if char in _ESCAPES or not _plain(char)[1:] else 4.0) for char in text)
    return em * 9.3 * (1.16 if bold else 1)


def wrapped(text: str) -> str:
    """A text for a cell or a note, in a box of ``CELL_WIDTH`` if it is wider. Paths may break behind a slash."""
    if width(text) <= CELL_WIDTH:
        return escape(text)
    return rf"\parbox[t]{{{CELL_WIDTH:g}pt}}{{\raggedright {breakable(text)}\strut}}"


def breakable(text: str) -> str:
    """A text of several lines, whose paths and other long words may break behind a slash, a point or the like."""
    words = (
        re.sub(r"(/|\\_|=|\.|-)", r"\1\\allowbreak{}", escape(w)) if len(w) > LONG_WORD else escape(w)
        for w in text.split(" ")
    )
    return " ".join(words)


def parts_of(widths: Sequence[float], groups: Sequence[str], fixed: int) -> list[list[int]]:
    """Columns in parts that fit a page, each with the ``fixed`` first ones.

    ``widths``: points of every column; ``groups``: the head that a column shares with its neighbours, or "".
    """
    head = list(range(fixed))
    parts = [list(head)]
    for column in range(fixed, len(widths)):
        if total_width(widths, groups, [*parts[-1], column]) > PAGE_WIDTH and len(parts[-1]) > fixed:
            parts.append(list(head))
        parts[-1].append(column)
    return parts


def total_width(widths: Sequence[float], groups: Sequence[str], part: Sequence[int]) -> float:
    """Points of the columns of a part; a head that is wider than its columns widens them."""
    total = 0.0
    for group, members in itertools.groupby(part, key=lambda column: groups[column]):
        total += GAP + max(width(group), sum(widths[column] + GAP for column in members) - GAP)
    return total - GAP
