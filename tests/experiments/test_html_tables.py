"""Tables of the HTML report: texts and sort keys of cells, parents of rows, copies."""

from __future__ import annotations

import statistics

import pytest

from crossrec.experiments.reporting.html_tables import html_table
from crossrec.experiments.reporting.tables import RULE, Column, ResultTable, to_csv, to_latex

from .sample_results import COLUMNS, CURVE, FAILURE, POINTS, WIDE


def test_cells():
    table = html_table(WIDE)
    first, failed, infinite, empty = (table.rows[y][1][x] for y, x in ((0, 1), (1, 1), (1, 9), (5, 1)))
    assert (first.text, first.kind, float(first.value)) == ("0.0050 ± 0.0071", "number", 0.005)
    assert first.exact == f"mean 0.005, deviation {statistics.stdev([0, 0.01])!r}, n 2"
    assert (failed.text, failed.kind, failed.value) == (FAILURE, "failed", "")
    assert (table.rows[1][1][2].text, table.rows[1][1][2].kind) == ("not run", "missing")
    assert (infinite.text, infinite.value) == ("inf", "inf")
    assert (empty.text, empty.kind, empty.value) == ("", "text", "")
    assert table.rows[0][1][9].exact == "", "12 has no more digits"
    assert table.rows[2][1][9].exact == "3.25"
    assert [cell.best for cell in table.rows[0][1][1:4]] == [True, True, True]


def test_direction_of_the_first_sort():
    firsts = {column.header: first for column, first in html_table(WIDE).header}
    assert (firsts["model"], firsts["R@10"], firsts["epochs"], firsts["remark"]) == (
        *("ascending", "descending", "ascending", "ascending"),
    )


def test_parents_of_indented_rows_and_rules():
    rows = html_table(WIDE).rows
    assert [(cells[0].parent, cells[0].text) for _, cells in rows] == [
        *(("", "bpr"), ("bpr", "+ cross"), ("", "lightgcn"), ("lightgcn", "+ fettle"), ("lightgcn", "+ cross")),
        ("", "average + cross"),
    ]
    assert [rule for rule, _ in rows] == [False, False, True, False, False, True]
    block = ResultTable("", [Column("m", "left")], [RULE, ["bpr + fettle"], ["  + cross"], RULE, ["  alone"]])
    table = html_table(block).rows
    assert [cells[0].parent for _, cells in table] == ["", "bpr", ""]
    assert [rule for rule, _ in table] == [False, False, True]


def test_groups_notes_and_names():
    table = html_table(WIDE)
    assert table.groups == [("", 1), ("tiktok", 4), ("Tom & Jerry", 4), ("", 2)]
    assert table.notes == [*WIDE.footnotes, "Bold: the best of a column, between two lines."]
    assert table.row_names
    plain = html_table(POINTS)
    assert (plain.groups, plain.notes, plain.row_names) == ([], [], False)
    assert "row" in html_table(ResultTable("", COLUMNS, WIDE.rows, compete="row")).notes[-1]


def test_max_rows_and_complete_copies():
    table = html_table(POINTS, max_rows=10)
    assert (len(table.rows), table.omitted) == (10, 590)
    assert table.copies == {"CSV": to_csv(POINTS)}
    assert (len(html_table(CURVE).rows), html_table(CURVE).omitted) == (6, 0)
    assert html_table(CURVE, formats=("LaTeX",)).copies == {"LaTeX": to_latex(CURVE)}


def test_details_are_in_the_last_cell():
    table = html_table(CURVE, details=[f"d{n}" for n in range(6)])
    assert [cells[-1].detail for _, cells in table.rows] == [f"d{n}" for n in range(6)]
    assert {cell.detail for _, cells in table.rows for cell in cells[:-1]} == {""}


@pytest.mark.parametrize("rows", [[], [RULE]])
def test_without_rows(rows):
    table = html_table(ResultTable("t", [Column("a"), Column("b", best="max")], rows))
    assert ([first for _, first in table.header], table.rows) == (["ascending"] * 2, [])
