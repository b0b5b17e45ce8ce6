"""Tables for the HTML report: texts of the cells, the numbers they are sorted by, and copies in other formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from crossrec.experiments.reporting import tables
from crossrec.experiments.reporting.tables import CellValue, Column, ResultTable


@dataclass(frozen=True)
class HtmlCell:
    """Text of a cell, the number ``value`` that it is sorted by, all its digits (``exact``) and a folded ``detail``.

    ``parent`` is the name of the block that an indented row belongs to, shown when sorting separates the two.
    """

    text: str
    kind: Literal["number", "text", "failed", "missing"]
    value: str = ""
    exact: str = ""
    best: bool = False
    parent: str = ""
    detail: str = ""


@dataclass(frozen=True)
class HtmlTable:
    """A table as the template draws it.

    ``header``: (column, direction of the first sort). ``groups``: (name, number of columns) of the header above it.
    ``rows``: (whether a line is drawn above it, cells). ``row_names``: the first cell names its row. ``copies``: the
    complete table as text, by format. ``omitted``: number of rows that only the copies hold.
    """

    title: str
    header: list[tuple[Column, Literal["ascending", "descending"]]]
    groups: list[tuple[str, int]]
    rows: list[tuple[bool, list[HtmlCell]]]
    row_names: bool
    notes: list[str]
    copies: dict[str, str]
    omitted: int


FORMATS = {"CSV": tables.to_csv, "LaTeX": tables.to_latex, "Markdown": tables.to_markdown}


def html_table(
    table: ResultTable, *, formats: Sequence[str] = ("CSV",), max_rows: int | None = None, details: Sequence[str] = ()
) -> HtmlTable:
    """The first ``max_rows`` rows of a table, with copies of all rows in ``formats``.

    ``details``: text to fold into the last cell of each row.
    """
    best, rows, rule, parent = tables.best_cells(table), list[tuple[bool, list[HtmlCell]]](), False, ""
    for y, row in enumerate(table.rows):
        if not row:
            rule, parent = bool(rows), ""
            continue
        pairs = zip(table.columns, row, strict=True)
        cells = [_cell(cell, column, (y, x) in best) for x, (column, cell) in enumerate(pairs)]
        name = cells[0].text
        if name[:1].isspace():
            cells[0] = replace(cells[0], text=name.strip(), parent=parent)
        else:
            parent = name.split(" + ")[0]  # "lightgcn" is the parent of "  + cross", also below "lightgcn + fettle"
        if details:
            cells[-1] = replace(cells[-1], detail=details[len(rows)])
        rows.append((rule, cells))
        rule = False
    groups = [(name, len(list(members))) for name, members in groupby(column.group for column in table.columns)]
    scope = "column, between two lines" if table.compete == "column" else "row and group of columns"
    return HtmlTable(
        title=table.title,
        header=[
            (column, _first_sort(column, [cells[x] for _, cells in rows])) for x, column in enumerate(table.columns)
        ],
        groups=groups if any(name for name, _ in groups) else [],
        rows=rows[:max_rows],
        row_names=all(isinstance(row[0], str) for row in table.rows if row),
        notes=[*table.footnotes, *([f"Bold: the best of a {scope}."] if best else [])],
        copies={name: FORMATS[name](table) for name in formats},
        omitted=len(rows) - len(rows[:max_rows]),
    )


def _cell(cell: CellValue, column: Column, best: bool) -> HtmlCell:
    text, numbers = tables.format_cell(cell, column.format), tables.cell_statistics(cell)
    if numbers is None:
        missing = not isinstance(cell, str)
        return HtmlCell(text, "missing" if missing else "failed" if text.startswith("failed") else "text")
    mean, deviation, n = numbers
    exact = f"mean {mean!r}, deviation {deviation!r}, n {n}" if isinstance(cell, Sequence) else repr(cell)
    return HtmlCell(text, "number", repr(mean), "" if exact == text else exact, best)


def _first_sort(column: Column, cells: Sequence[HtmlCell]) -> Literal["ascending", "descending"]:
    largest_first = column.best != "min" and any(cell.kind == "number" for cell in cells)
    return "descending" if largest_first else "ascending"
