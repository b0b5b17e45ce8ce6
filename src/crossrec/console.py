"""The one way to print: results go to stdout, progress and notices to stderr.

Nothing that a message, an id, a column or a path holds is interpreted: no markup, no emoji codes, no highlighting.
Characters that would steer the terminal or hide from the eye are escaped (``crossrec.errors.visible``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from crossrec.errors import visible


class PlainConsole(Console):
    """A console of rich that shows text as it is, ``visible``. Only line ends and tabs have an effect."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Escape a text before its width is measured."""
        return super().render_str(visible(text, keep="\n\t"), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Escape what was no plain text before."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text, keep="\n\t"))


stderr = PlainConsole(stderr=True)
stdout = PlainConsole(width=None if PlainConsole().is_terminal else 132)


def say(line: object) -> None:
    """Print one line of a result on stdout, of any length."""
    stdout.print(visible(str(line)), soft_wrap=True)


def notify(message: str, kind: str = "") -> None:
    """Print a notice on stderr in one line, "crossrec: KIND: MESSAGE". ``kind``: error, warning, or none."""
    stderr.print(visible(f"crossrec: {kind}: {message}" if kind else f"crossrec: {message}"), soft_wrap=True)


def add_cells(table: Table, cells: Iterable[object]) -> None:
    """Add a row of plain values to a table. A line end in an id is escaped and begins no line."""
    table.add_row(*(visible(str(cell)) for cell in cells))
