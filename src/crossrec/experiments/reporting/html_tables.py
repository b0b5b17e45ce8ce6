"""Tables made ready for a page: the texts of the other forms, and beside each what it is sorted by, in full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from crossrec.experiments.reporting.tables import (
    CellValue,
    Column,
    ResultTable,
    best_cells,
    cell_statistics,
    format_cell,
    to_csv,
    to_latex,
    to_markdown,
)


@dataclass(frozen=True)
class HtmlCell:
    """A cell. ``value``: the number it is sorted by; ``exact``: all its digits in words; ``detail``: folded away.

    ``parent``: what the row is part of where its name is indented, for when sorting has torn the two apart.
    """

    text: str
    kind: Literal["number", "text", "failed", "missing"]
    value: str = ""
    exact: str = ""
    best: bool = False
    parent: str = ""
    detail: str = ""


@dataclass(frozen=True)
class HeaderCell:
    """A column. ``first``: the direction that it is sorted in first."""

    text: str
    align: str
    first: Literal["ascending", "descending"]


@dataclass(frozen=True)
class HtmlRow:
    """Cells, and whether a line is drawn above them."""

    cells: list[HtmlCell]
    rule: bool


@dataclass(frozen=True)
class HtmlTable:
    """A table. ``groups``: names above columns, and above how many; ``named``: the first cell is the row's name.

    ``copies``: the whole table as text, by the name of the form; ``left_out``: rows that are only in there.
    """

    title: str
    heads: list[HeaderCell]
    groups: list[tuple[str, int]]
    rows: list[HtmlRow]
    named: bool
    notes: list[str]
    copies: dict[str, str]
    left_out: int


FORMS = {"CSV": to_csv, "LaTeX": to_latex, "Markdown": to_markdown}


def html_table(
    table: ResultTable, *, forms: Sequence[str] = ("CSV",), most: int | None = None, details: Sequence[str] = ()
) -> HtmlTable:
    """``table``, at most ``most`` rows of it, and as text in ``forms``.

    ``details``: what is folded away in the last cell of each row.
    """
    best, rows, rule, parent = best_cells(table), list[HtmlRow](), False, ""
    for y, row in enumerate(table.rows):
        if not row:
            rule, parent = bool(rows), ""
            continue
        pairs = zip(table.columns, row, strict=True)
        cells = [_shown(cell, column, (y, x) in best) for x, (column, cell) in enumerate(pairs)]
        name = cells[0].text
        if name[:1].isspace():
            cells[0] = replace(cells[0], text=name.strip(), parent=parent)
        else:
            parent = name.split(" + ")[0]  # "lightgcn + fettle", then "  + cross": of lightgcn both
        if details:
            cells[-1] = replace(cells[-1], detail=details[len(rows)])
        rows.append(HtmlRow(cells, rule))
        rule = False
    groups = [(name, len(list(members))) for name, members in groupby(column.group for column in table.columns)]
    within = "column, between two lines" if table.compete == "column" else "row and group of columns"
    return HtmlTable(
        title=table.title,
        heads=[_head(column, [row.cells[x] for row in rows]) for x, column in enumerate(table.columns)],
        groups=groups if any(name for name, _ in groups) else [],
        rows=rows[:most],
        named=all(isinstance(row[0], str) for row in table.rows if row),
        notes=[*table.footnotes, *([f"Bold: the best of a {within}."] if best else [])],
        copies={name: FORMS[name](table) for name in forms},
        left_out=len(rows) - len(rows[:most]),
    )


def _shown(cell: CellValue, column: Column, best: bool) -> HtmlCell:
    text, numbers = format_cell(cell, column.format), cell_statistics(cell)
    if numbers is None:
        missing = not isinstance(cell, str)
        return HtmlCell(text, "missing" if missing else "failed" if text.startswith("failed") else "text")
    mean, deviation, n = numbers
    exact = f"mean {mean!r}, deviation {deviation!r}, n {n}" if isinstance(cell, Sequence) else repr(cell)
    return HtmlCell(text, "number", repr(mean), "" if exact == text else exact, best)


def _head(column: Column, cells: Sequence[HtmlCell]) -> HeaderCell:
    largest = column.best != "min" and any(cell.kind == "number" for cell in cells)
    return HeaderCell(column.header, column.align, "descending" if largest else "ascending")
