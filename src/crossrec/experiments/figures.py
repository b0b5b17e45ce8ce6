"""Figures fit for a paper: readable in grey, the same file for the same numbers. matplotlib without global state."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossrec.storage import write_bytes_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

COLOURS = ("#4d4d4d", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's, told apart by the colour-blind; grey, for what the others are compared with, comes first."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("--", "-", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
HATCHES = ("", "//", "\\\\", "..", "xx", "--", "++")
"""So that series are told apart without colour too."""

STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "pdf.fonttype": 42,
}
DOTS_PER_INCH = 200


def line_style(number: int) -> dict[str, Any]:
    """Colour, marker and dashes of the series of that number."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": LINES[number % len(LINES)],
        "markersize": 4,
        "capsize": 2,
    }


def bar_style(number: int) -> dict[str, Any]:
    """Colour, hatching and edge of the bars of that number."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "hatch": HATCHES[number % len(HATCHES)],
        "edgecolor": "white",
        "error_kw": {"elinewidth": 0.8, "capsize": 2},
    }


def save(draw: Callable[[Canvas], None], stem: Path, inches: tuple[float, float]) -> None:
    """Draw and write STEM.png and STEM.pdf, each whole or not at all. Raises RunError where they cannot be written."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        canvas = Canvas(figsize=inches, layout="constrained")
        draw(canvas)
        for ending, options in (
            ("png", {"dpi": DOTS_PER_INCH, "metadata": {"Software": None}}),
            ("pdf", {"metadata": {"CreationDate": None}}),
        ):
            buffer = io.BytesIO()
            canvas.savefig(buffer, format=ending, **options)
            write_bytes_atomic(stem.with_name(f"{stem.name}.{ending}"), buffer.getvalue())
