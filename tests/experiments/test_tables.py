"""Tables of results: exact output in every form, what is best, what is missing."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
import shutil
import statistics
import subprocess

import pytest
from tests.experiments.fake_runs import TINY, result_from

from crossrec.errors import RunError
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.registry import QUESTIONS
from crossrec.experiments.reporting.tables import (
    RULE,
    Column,
    ResultTable,
    best_cells,
    cell_statistics,
    format_cell,
    join_blocks,
    rule_by_first_cell,
    to_csv,
    to_latex,
    to_markdown,
    to_polars,
    to_text,
    write_table,
)
from crossrec.training import TrainingConfig

TABLE = ResultTable(
    "Accuracy of R&D_1 [50%]",
    [
        Column("Model", "left"),
        Column("R@20", best="max", group="Baby"),
        Column("N@20", best="max", group="Baby"),
        Column("epochs", best="min", format=".1f"),
    ],
    [
        ["BPR", [0.1, 0.2, 0.4], 0.03, 12],
        ["A|x", [0.5], 0.03, 7],
        RULE,
        ["[M_R]", None, "failed: out of memory", 3.25],
        ["D ± α", [0.2, 0.2], math.nan, 4],
    ],
    ["n = 3 seeds", "x < y_1"],
)

TEXT = """\
                  Accuracy of R&D_1 [50%]

                     Baby                    Baby
 Model               R@20                    N@20   epochs
 ─────────────────────────────────────────────────────────
 BPR      0.2333 ± 0.1528                 *0.0300       12
 A|x          *0.5000 ± –                 *0.0300       *7

 [M_R]            not run   failed: out of memory     *3.2
 D ± α   *0.2000 ± 0.0000                     nan        4

n = 3 seeds
x < y_1
"""

MARKDOWN = r"""**Accuracy of R&D\_1 \[50%\]**

| Model | Baby R@20 | Baby N@20 | epochs |
| :-- | --: | --: | --: |
| BPR | 0.2333 ± 0.1528 | **0.0300** | 12 |
| A\|x | **0.5000 ± –** | **0.0300** | **7** |
| \[M\_R\] | not run | failed: out of memory | **3.2** |
| D ± α | **0.2000 ± 0.0000** | nan | 4 |

n = 3 seeds

x \< y\_1
"""

LATEX = r"""% \usepackage{booktabs}
\begin{table*}[tp]
\sloppy\centering\small\setlength{\tabcolsep}{4pt}
\caption{Accuracy of R\&D\_1 {[}50\%{]}}
\begin{tabular}{lrrr}
\toprule
\multicolumn{1}{c}{} & \multicolumn{2}{c}{Baby} & \multicolumn{1}{c}{} \\
\cmidrule(lr){2-3}
Model & R@20 & N@20 & epochs \\
\midrule
BPR & 0.2333 $\pm$ 0.1528 & \textbf{0.0300} & 12 \\
A\textbar{}x & \textbf{0.5000 $\pm$ --} & \textbf{0.0300} & \textbf{7} \\
\midrule
{[}M\_R{]} & not run & failed: out of memory & \textbf{3.2} \\
D $\pm$ $\alpha$ & \textbf{0.2000 $\pm$ 0.0000} & nan & 4 \\
\bottomrule
\end{tabular}
\par\smallskip\footnotesize n = 3 seeds
\par\smallskip\footnotesize x \textless{} y\_1
\end{table*}
"""


def test_markdown():
    assert to_markdown(TABLE) == MARKDOWN


def test_latex():
    assert to_latex(TABLE) == LATEX


def test_text():
    assert to_text(TABLE) == TEXT


def test_text_aligns_numbers_whether_marked_or_not():
    table = ResultTable("", [Column("m", "left"), Column("v", format=".2f", best="max")], [["a", 0.5], ["bcd", 11.25]])
    assert to_text(table) == " m          v\n ────────────\n a       0.50\n bcd   *11.25\n"


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_text_is_plain_wherever_it_is_made(monkeypatch, variable):
    plain = to_text(TABLE)
    monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERM", "dumb")
    assert to_text(TABLE) == plain
    assert "\x1b" not in plain


def test_text_fits_and_loses_nothing():
    table = ResultTable(
        "wide", [Column(f"h{x}", "left") for x in range(12)], [["verdict: abcdefghijklmnopqrstuvwxyz"] * 12]
    )
    text = to_text(table)
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("z") == 12
    assert "…" not in text


def test_a_long_reason_stands_once_below_the_text():
    reason = "failed: vectors.safetensors is of another run than config.json: delete it"
    table = ResultTable(
        "t", [Column("model"), Column("a"), Column("b")], [["x", reason, None], ["y", 0.5, reason]], ["note"]
    )
    lines = to_text(table).splitlines()
    assert [line.split() for line in lines if "[1]" in line][:2] == [
        ["x", "failed", "[1]", "not", "run"],
        ["y", "0.5000", "failed", "[1]"],
    ]
    assert " ".join(" ".join(lines).split()).endswith(f"[1] {reason} note")
    assert to_markdown(table).count(reason) == 2


def test_csv_reads_back_in_full_precision():
    rows = list(csv.DictReader(io.StringIO(to_csv(TABLE))))
    names = ["Model", "Baby R@20 mean", "Baby R@20 deviation", "Baby R@20 n", "Baby N@20", "epochs"]
    assert list(rows[0]) == names
    assert [row["Model"] for row in rows] == ["BPR", "A|x", "[M_R]", "D ± α"]
    assert float(rows[0]["Baby R@20 mean"]) == statistics.fmean([0.1, 0.2, 0.4])
    assert float(rows[0]["Baby R@20 deviation"]) == statistics.stdev([0.1, 0.2, 0.4])
    assert [row["Baby R@20 n"] for row in rows] == ["3", "1", "0", "2"]
    assert [row["Baby R@20 deviation"] for row in rows[1:]] == ["", "", "0.0"]
    assert [row["Baby R@20 mean"] for row in rows[1:]] == ["0.5", "not run", "0.2"]
    assert [row["Baby N@20"] for row in rows] == ["0.03", "0.03", "failed: out of memory", "nan"]
    assert [row["epochs"] for row in rows] == ["12", "7", "3.25", "4"]


@pytest.mark.parametrize("text", ["a,b", 'say "x"', "two\nlines", " edge ", "ü"])
def test_csv_keeps_any_text(text):
    table = ResultTable("t", [Column(text), Column("v")], [[text, 0.1 + 0.2]])
    assert list(csv.reader(io.StringIO(to_csv(table), newline=""))) == [[text, "v"], [text, "0.30000000000000004"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100% of A&B_c #1 {x}", r"100\% of A\&B\_c \#1 \{x\}"),
        (r"\input~$x^2$", r"\textbackslash{}input\textasciitilde{}\$x\textasciicircum{}2\$"),
        ("[a] * b", "{[}a{]} {*} b"),
        ("α ≥ 1 – β×2 ± τ", r"$\alpha$ $\geq$ 1 -- $\beta$$\times$2 $\pm$ $\tau$"),
        ("two\nlines", "two lines"),
    ],
)
def test_latex_escapes(text, expected):
    lines = to_latex(ResultTable(text, [Column(text, "center")], [[text]], [text])).splitlines()
    assert lines[3] == rf"\caption{{{expected}}}"
    assert lines[4] == r"\begin{tabular}{c}"
    assert lines[6] == lines[8] == rf"{expected} \\"
    assert lines[11] == rf"\par\smallskip\footnotesize {expected}"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("text", "text"),
        ("", ""),
        (None, "not run"),
        ([], "not run"),
        (0, "0"),
        (-3, "-3"),
        (0.0, "0.00"),
        (1.005, "1.00"),
        ([1.0], "1.00 ± –"),
        ([1.0, 2.0], "1.50 ± 0.71"),
        ((1.0, 2.0, 3.0), "2.00 ± 1.00"),
        ([1.0, math.nan], "nan ± nan"),
        ([math.inf, -math.inf], "nan ± nan"),
        (math.inf, "inf"),
    ],
)
def test_cells_as_text(cell, expected):
    assert format_cell(cell, ".2f") == expected


def test_spread_is_mean_sample_deviation_and_count():
    assert cell_statistics([1, 2, 4]) == (7 / 3, pytest.approx(math.sqrt(7 / 3), abs=1e-15), 3)
    assert cell_statistics(5) == (5.0, None, 1)
    assert cell_statistics("5") is None


def test_best_in_a_column_within_rules():
    rows = [["a", 1.0, 3], ["b", 2.0, 1], RULE, ["c", 0.5, None], ["d", "failed", 9], ["e", 0.5, math.inf]]
    columns = [Column("m"), Column("up", best="max"), Column("down", best="min")]
    assert best_cells(ResultTable("t", columns, rows)) == {(1, 1), (1, 2), (3, 1), (5, 1), (4, 2)}


def test_best_in_a_row_within_a_group():
    columns = [Column("m"), *(Column(x, best="max", group=g) for g in ("Baby", "Sports") for x in ("none", "CROSS"))]
    rows = [["a", 1.0, [0.9, 1.3], 5, 4], ["b", 2.0, None, "failed", 4]]
    assert best_cells(ResultTable("t", columns, rows, compete="row")) == {(0, 2), (0, 3), (1, 1), (1, 4)}


def test_best_is_chosen_before_rounding():
    table = ResultTable("t", [Column("v", format=".1f", best="max")], [[0.101], [0.102]])
    assert best_cells(table) == {(1, 0)}


def test_without_rows_the_headers_remain():
    table = ResultTable("t", [Column("Model"), Column("R@20")], [])
    assert to_csv(table) == "Model,R@20\n"
    assert to_markdown(table) == "**t**\n\n| Model | R@20 |\n| --: | --: |\n"
    assert to_text(table).split() == ["t", "Model", "R@20", "─" * 12]


def test_rules_stand_between_blocks_of_rows():
    one, two, three = ("a", 1), ("a", 2), ("b", 3)
    assert join_blocks([[one, two], [three]]) == rule_by_first_cell([one, two, three]) == [one, two, RULE, three]
    assert join_blocks([]) == rule_by_first_cell([]) == []


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="row 1 has 1 cells for 2 columns"):
        ResultTable("t", [Column("a"), Column("b")], [[1, 2], [1]])


def test_write_all_writes_the_four_forms(tmp_path):
    write_table(TABLE, tmp_path / "out", "rq1")
    written = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "out").iterdir()}
    assert written == {
        "rq1.txt": to_text(TABLE),
        "rq1.md": MARKDOWN,
        "rq1.tex": LATEX,
        "rq1.csv": to_csv(TABLE),
    }
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        write_table(TABLE, tmp_path / "file", "rq1")


PAPER = ResultTable(
    "tiktok: Δ, ±, ≤, λ → ∞ · “x” 中",
    [Column("model", "left"), *(Column(f"ΔR@{k}", best="max") for k in range(12))],
    [["lightgcn", *[[0.1, 0.2]] * 12], ["  + cross", *[[0.2, 0.3]] * 12], RULE, ["average + damrs", *["–"] * 12]],
    ["p ≤ 0.05; cross v.s. fettle: a crossing, in %."],
)


def test_latex_for_a_paper_has_proper_names_and_parts_that_fit():
    latex = to_latex(PAPER)
    assert latex.isascii()
    assert latex.startswith("% \\usepackage{booktabs}\n\\begin{table*}[tp]\n")
    assert r"$\Delta$, $\pm$, $\leq$, $\lambda$ $\to$ $\infty$ $\cdot$ ``x'' U+4E2D" in latex
    assert r"p $\leq$ 0.05; CROSS v.s. FETTLE: a crossing, in \%." in latex
    bodies = re.findall(r"\\begin{tabular}{(l)(r+)}(.*?)\\end{tabular}", latex, re.DOTALL)
    assert sum(len(numbers) for _, numbers, _ in bodies) == 12
    assert len(bodies) == 3
    for _, numbers, body in bodies:
        lines = [line for line in body.splitlines() if "&" in line]
        assert all(line.count("&") == len(numbers) for line in lines)
        assert [line.split(" & ")[0] for line in lines] == ["model", "LightGCN", r"\quad + CROSS", "average + DA-MRS"]
        assert lines[2].count("textbf") == len(numbers)
    narrow = to_latex(ResultTable("t", [Column("m", "left"), Column("x")], [["vbpr", 0.5]]))
    assert r"\begin{table}[tp]" in narrow


def test_latex_of_long_tables_is_cut_into_floats_of_one_number():
    rows = [[f"m{n}", n] for n in range(100)]
    latex = to_latex(ResultTable("t", [Column("model", "left"), Column("x")], rows, ["note"]))
    assert latex.count(r"\begin{table}") == latex.count(r"\end{table}") == latex.count(r"\begin{tabular}") == 3
    assert latex.count(r"\addtocounter{table}{-1}") == latex.count("(continued)") == 2
    assert re.findall(r"^(m\d+) & (\d+) ", latex, re.MULTILINE) == [(f"m{n}", str(n)) for n in range(100)]
    assert latex.count(r"\footnotesize note") == 1


def test_latex_of_long_texts():
    failure = "failed: /a/very/long/path/to/a/run/that/is/gone: no such folder, and nothing else to say about it"
    columns = [Column("model", "left"), Column("x", best="max"), Column("verdict", "left")]
    latex = to_latex(ResultTable("t", columns, [["a", failure, "words " * 20], ["b", 0.5, ""]]))
    assert r"a & failed {[}1{]} & \parbox[t]{160pt}{\raggedright words words" in latex
    assert r"\footnotesize {[}1{]} failed: /\allowbreak{}a/\allowbreak{}very/" in latex
    assert r"\allowbreak" not in to_latex(ResultTable("p = 0.05, v.s.", columns, [["a/b", 0.5, "x-y"]]))


WIDE = ResultTable(
    "a title that takes several lines of a page of two columns " * 4,
    [Column("model", "left"), Column("what it is trained on", "left"), *(Column("GROUP@MM", group="WWW GGG MMM"),) * 9],
    [["MMMM WWWW " * 6, "a_name/of/a/folder/that/is/long/" * 5, *[[0.1234, 0.2345]] * 9]] * 50,
    ["notes/with/paths/" * 12, "± ≤ Δ " * 60],
)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles_and_fits_the_page(tmp_path):
    tables = {"0": TABLE, "1": PAPER, "wide": WIDE}
    for name, question in QUESTIONS.items():
        values = itertools.cycle((0.0712, 0.0834, None, 0.0905))
        options = question.load().config_type(backbones=("freedom", "lightgcn"), seeds=(0, 1))
        training = TrainingConfig(metrics=("mrr", "precision", "map")) if name == "robustness" else TrainingConfig()
        result = result_from(name, options, lambda _, v=values: next(v), SharedSettings(TINY.data, training))
        tables |= {f"{name}-{stem}": table for stem, table in result.tables.items()}
    for name, table in tables.items():
        (tmp_path / f"{name}.tex").write_text(to_latex(table), encoding="utf-8")
    body = "".join(rf"\typeout{{TABLE {name}}}\input{{{name}}}\clearpage" for name in tables)
    head = r"\documentclass[twocolumn]{article}\usepackage{booktabs}\begin{document}"
    (tmp_path / "paper.tex").write_text(head + body + r"\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    log = (tmp_path / "paper.log").read_text(errors="replace")
    assert log.count("TABLE ") == len(tables) > 20
    assert re.findall(r"TABLE [^\n]*|Overfull[^\n]*", log) == [f"TABLE {name}" for name in tables]


def test_tables_as_frames():
    frame = to_polars(PAPER)
    assert frame.columns[:4] == ["model", "ΔR@0 mean", "ΔR@0 deviation", "ΔR@0 n"]
    assert frame["model"].to_list() == ["lightgcn", "  + cross", "average + damrs"]
    numbers = to_polars(ResultTable("t", [Column("m", "left"), Column("x")], [["a", 1 / 3], RULE, ["b", 2.0]]))
    assert numbers["x"].to_list() == [1 / 3, 2.0]
