"""Tables as a page shows them: what is sorted by what, and what a row is called when it stands alone."""

from __future__ import annotations

import statistics

import pytest

from crossrec.experiments.reporting.html_tables import html_table
from crossrec.experiments.reporting.tables import RULE, Column, ResultTable, to_csv, to_latex

from .sample_results import COLUMNS, CURVE, FAILURE, POINTS, WIDE


def test_cells():
    shown = html_table(WIDE)
    first, failed, infinite, empty = (shown.rows[y].cells[x] for y, x in ((0, 1), (1, 1), (1, 9), (5, 1)))
    assert (first.text, first.kind, float(first.value)) == ("0.0050 ± 0.0071", "number", 0.005)
    assert first.exact == f"mean 0.005, deviation {statistics.stdev([0, 0.01])!r}, n 2"
    assert (failed.text, failed.kind, failed.value) == (FAILURE, "failed", "")
    assert (shown.rows[1].cells[2].text, shown.rows[1].cells[2].kind) == ("not run", "missing")
    assert (infinite.text, infinite.value) == ("inf", "inf")
    assert (empty.text, empty.kind, empty.value) == ("", "text", "")
    assert shown.rows[0].cells[9].exact == "", "12 is all there is to know of 12"
    assert shown.rows[2].cells[9].exact == "3.25"
    assert [cell.best for cell in shown.rows[0].cells[1:4]] == [True, True, True]


def test_what_is_sorted_first():
    firsts = {head.text: head.first for head in html_table(WIDE).header}
    assert (firsts["model"], firsts["R@10"], firsts["epochs"], firsts["remark"]) == (
        *("ascending", "descending", "ascending", "ascending"),
    )


def test_rows_under_another_and_rules():
    rows = html_table(WIDE).rows
    assert [(row.cells[0].parent, row.cells[0].text) for row in rows] == [
        *(("", "bpr"), ("bpr", "+ cross"), ("", "lightgcn"), ("lightgcn", "+ fettle"), ("lightgcn", "+ cross")),
        ("", "average + cross"),
    ]
    assert [row.rule for row in rows] == [False, False, True, False, False, True]
    block = ResultTable("", [Column("m", "left")], [RULE, ["bpr + fettle"], ["  + cross"], RULE, ["  alone"]])
    shown = html_table(block).rows
    assert [row.cells[0].parent for row in shown] == ["", "bpr", ""]
    assert [row.rule for row in shown] == [False, False, True]


def test_groups_notes_and_names():
    shown = html_table(WIDE)
    assert shown.groups == [("", 1), ("tiktok", 4), ("Tom & Jerry", 4), ("", 2)]
    assert shown.notes == [*WIDE.footnotes, "Bold: the best of a column, between two lines."]
    assert shown.row_names
    plain = html_table(POINTS)
    assert (plain.groups, plain.notes, plain.row_names) == ([], [], False)
    assert "row" in html_table(ResultTable("", COLUMNS, WIDE.rows, compete="row")).notes[-1]


def test_most_rows_and_whole_copies():
    shown = html_table(POINTS, max_rows=10)
    assert (len(shown.rows), shown.omitted) == (10, 590)
    assert shown.copies == {"CSV": to_csv(POINTS)}
    assert (len(html_table(CURVE).rows), html_table(CURVE).omitted) == (6, 0)
    assert html_table(CURVE, formats=("LaTeX",)).copies == {"LaTeX": to_latex(CURVE)}


def test_details_stand_in_the_last_cell():
    shown = html_table(CURVE, details=[f"d{n}" for n in range(6)])
    assert [row.cells[-1].detail for row in shown.rows] == [f"d{n}" for n in range(6)]
    assert {cell.detail for row in shown.rows for cell in row.cells[:-1]} == {""}


@pytest.mark.parametrize("rows", [[], [RULE]])
def test_without_rows(rows):
    shown = html_table(ResultTable("t", [Column("a"), Column("b", best="max")], rows))
    assert ([head.first for head in shown.header], shown.rows) == (["ascending"] * 2, [])
