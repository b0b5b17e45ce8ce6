"""Tables of results, written as plain text, Markdown, LaTeX or CSV. Every form holds every cell."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import rich.table
from rich import box
from rich.text import Text

from crossrec.console import PlainConsole
from crossrec.data.io.atomic import write_text_atomic
from crossrec.errors import visible
from crossrec.experiments.reporting import latex
from crossrec.lazy import polars as pl

CellValue = str | int | float | Sequence[float] | None
"""Text ("failed: out of memory"), a number, one number per seed (shown as mean ± deviation), or None: "not run"."""

LONG_FAILURE = 30
"""A "failed: REASON" of more characters becomes a footnote of the plain text and of LaTeX."""

RULE: tuple[CellValue, ...] = ()
"""A row that draws a line between two blocks of rows."""


@dataclass(frozen=True)
class Column:
    """Header, alignment, format of floats, and whether the largest or the smallest number is the best.

    Neighbouring columns of the same ``group`` share a header above theirs.
    """

    header: str
    align: Literal["left", "right", "center"] = "right"
    format: str = ".4f"
    best: Literal["max", "min"] | None = None
    group: str = ""

    @property
    def name(self) -> str:
        """Group and header on one line."""
        return f"{self.group} {self.header}" if self.group else self.header


@dataclass(frozen=True)
class ResultTable:
    """Title, columns, rows and footnotes. A row has one cell per column, or is RULE.

    In columns with ``best`` the best number is emphasised, and every number equal to it. Numbers compete within a
    column between two RULEs, or within a row and a column group with ``compete="row"``. Seeds compete by their mean.
    Raises ValueError for a row of another length.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[CellValue]]
    footnotes: Sequence[str] = ()
    compete: Literal["column", "row"] = "column"

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) not in (0, len(self.columns)):
                raise ValueError(f"row {number} has {len(row)} cells for {len(self.columns)} columns")


def join_blocks(blocks: Iterable[Sequence[Sequence[CellValue]]]) -> list[Sequence[CellValue]]:
    """The rows of several blocks, with a RULE between two of them."""
    rows: list[Sequence[CellValue]] = []
    for block in blocks:
        rows += [RULE, *block] if rows else block
    return rows


def rule_by_first_cell(rows: Iterable[Sequence[CellValue]]) -> list[Sequence[CellValue]]:
    """``rows`` with a RULE wherever the first cell changes."""
    return join_blocks(list(block) for _, block in itertools.groupby(rows, key=lambda row: row[0]))


class CellStatistics(NamedTuple):
    """Mean, sample deviation sqrt(Σ (x - mean)² / (n - 1)), and n. The deviation is None for n = 1."""

    mean: float
    deviation: float | None
    n: int


def cell_statistics(cell: CellValue) -> CellStatistics | None:
    """Statistics of a numeric cell over its seeds; None for text and for a cell without numbers."""
    if cell is None or isinstance(cell, str):
        return None
    values = [float(value) for value in cell] if isinstance(cell, Sequence) else [float(cell)]
    if not values:
        return None
    n, finite = len(values), all(map(math.isfinite, values))
    mean = statistics.fmean(values) if finite else sum(values) / n
    deviation = None if n == 1 else statistics.stdev(values) if finite else math.nan
    return CellStatistics(mean, deviation, n)


def format_cell(cell: CellValue, format: str) -> str:
    """Write a cell as text. The deviation of a single seed is '–'."""
    if isinstance(cell, str | int):
        return str(cell)
    numbers = cell_statistics(cell)
    if numbers is None:
        return "not run"
    mean, deviation, _ = numbers
    if isinstance(cell, float):
        return f"{mean:{format}}"
    return f"{mean:{format}} ± " + ("–" if deviation is None else f"{deviation:{format}}")


def best_cells(table: ResultTable) -> set[tuple[int, int]]:
    """Find the (row, column) of every cell to emphasise."""
    groups: dict[tuple[object, ...], list[tuple[float, tuple[int, int]]]] = {}
    block = 0
    for y, row in enumerate(table.rows):
        block += not row
        for x, (column, cell) in enumerate(zip(table.columns, row, strict=False)):
            numbers = cell_statistics(cell)
            if column.best and numbers and math.isfinite(numbers.mean):
                key = (y, column.group, column.best) if table.compete == "row" else (block, x)
                value = numbers.mean if column.best == "max" else -numbers.mean
                groups.setdefault(key, []).append((value, (y, x)))
    return {position for cells in groups.values() for value, position in cells if value == max(cells)[0]}


def _long_failures(table: ResultTable) -> dict[str, str]:
    """Failures that are too long for a cell → what stands there, "failed [1]"."""
    failures = [cell for row in table.rows for cell in row[1:] if isinstance(cell, str) and cell.startswith("failed: ")]
    long = dict.fromkeys(cell for cell in failures if len(cell) > LONG_FAILURE)
    return {failure: f"failed [{number}]" for number, failure in enumerate(long, 1)}


def to_rich(table: ResultTable) -> rich.table.Table:
    """Make a table for a console of any width. The best cells are bold and marked '*', which shows without colours.

    The first column, which names the row, is folded last. Long failures become footnotes: "failed [1]".
    """
    best = best_cells(table)
    out = rich.table.Table(
        title=Text(visible(table.title)), box=box.SIMPLE_HEAD, caption_justify="left", pad_edge=False
    )
    references = _long_failures(table)
    notes = [*(f"[{number}] {failure}" for number, failure in enumerate(references, 1)), *table.footnotes]
    out.caption = Text("\n".join(map(visible, notes))) if notes else None
    grouped = any(column.group for column in table.columns)
    for x, column in enumerate(table.columns):
        header = f"{column.group}\n{column.header}" if grouped else column.header
        out.add_column(Text(visible(header, keep="\n")), justify=column.align, overflow="fold", no_wrap=x == 0)
    for y, row in enumerate(table.rows):
        texts = []
        for x, (column, cell) in enumerate(zip(table.columns, row, strict=False)):
            mark = "*" if (y, x) in best else ""
            text = format_cell(cell, column.format)
            text = references.get(text, text) if x else text
            texts.append(Text(mark + visible(text), style="bold" if (y, x) in best else ""))
        out.add_row(*texts) if row else out.add_section()
    return out


def to_text(table: ResultTable, width: int = 100) -> str:
    """Write plain text of at most ``width`` columns, without colours. Cells that do not fit are folded."""
    file = io.StringIO()
    console = PlainConsole(file=file, width=width, color_system=None, force_terminal=False, force_jupyter=False)
    console.print(to_rich(table))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()).strip("\n") + "\n"


def to_markdown(table: ResultTable) -> str:
    """Write a GitHub Markdown table with title and footnotes, the best cells in bold."""
    best = best_cells(table)
    marks = {"left": ":--", "right": "--:", "center": ":-:"}
    lines = [[_markdown(column.name) for column in table.columns], [marks[column.align] for column in table.columns]]
    lines += [_row(table, y, best, _markdown, "**{}**") for y, row in enumerate(table.rows) if row]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = "".join(f"\n{_markdown(note)}\n" for note in table.footnotes)
    return f"**{_markdown(table.title)}**\n\n{body}\n{notes}"


def to_latex(table: ResultTable) -> str:
    r"""Write a table to ``\input`` into a paper: for booktabs, the best cells in bold, models by their proper names.

    A table that is wider than a column of two is a ``table*``. What is wider or longer than a page is cut into parts,
    each a float of the same number with the columns that name the rows. Long failures become notes, as on a console.
    """
    best, names = best_cells(table), sum(1 for _ in itertools.takewhile(lambda c: c.align == "left", table.columns))
    references = _long_failures(table)
    cells = [[format_cell(c, k.format) for c, k in zip(r, table.columns, strict=False)] for r in table.rows]
    texts = [
        [
            latex.proper_names(text) if table.columns[x].align == "left" else references.get(text, text)
            for x, text in enumerate(row)
        ]
        for row in cells
    ]
    widths = [
        min(
            latex.CELL_WIDTH,
            max([latex.width(column.header), *(latex.width(row[x], bold=bool(column.best)) for row in texts if row)]),
        )
        for x, column in enumerate(table.columns)
    ]
    groups = [column.group for column in table.columns]
    wide = "*" if latex.total_width(widths, groups, range(len(widths))) > latex.COLUMN_WIDTH else ""
    spans = [range(start, min(start + latex.PAGE_ROWS, len(texts))) for start in range(0, len(texts), latex.PAGE_ROWS)]
    lines = [r"% \usepackage{booktabs}"]
    for number, (part, rows) in enumerate(
        itertools.product(latex.parts_of(widths, groups, names), spans or [range(0)])
    ):
        lines += [rf"\end{{table{wide}}}"] if number else []
        lines += [rf"\begin{{table{wide}}}[tp]", r"\sloppy\centering\small\setlength{\tabcolsep}{4pt}"]
        lines += [r"\addtocounter{table}{-1}"] if number else []
        lines.append(rf"\caption{{{latex.breakable(table.title)}{' (continued)' if number else ''}}}")
        lines += _latex_part([table.columns[x] for x in part], part, texts, rows, best)
    notes = [f"[{number}] {failure}" for number, failure in enumerate(references, 1)]
    notes += map(latex.proper_names, table.footnotes)
    lines += [rf"\par\smallskip\footnotesize {latex.breakable(note)}" for note in notes]
    return "\n".join([*lines, rf"\end{{table{wide}}}"]) + "\n"


def _latex_part(
    columns: Sequence[Column],
    part: Sequence[int],
    texts: Sequence[Sequence[str]],
    rows: Sequence[int],
    best: set[tuple[int, int]],
) -> list[str]:
    """Lines of the tabular of some columns and rows."""
    lines = [rf"\begin{{tabular}}{{{''.join(column.align[0] for column in columns)}}}", r"\toprule"]
    if any(column.group for column in columns):
        heads, rules, start = [], [], 1
        for group, members in itertools.groupby(columns, key=lambda column: column.group):
            size = len(list(members))
            heads.append(rf"\multicolumn{{{size}}}{{c}}{{{latex.escape(group)}}}")
            rules += [rf"\cmidrule(lr){{{start}-{start + size - 1}}}"] if group else []
            start += size
        lines += [" & ".join(heads) + r" \\", " ".join(rules)]
    lines += [" & ".join(latex.wrapped(column.header) for column in columns) + r" \\", r"\midrule"]
    for y in rows:
        row = texts[y]
        cells = [(latex.wrapped(row[x]), (y, x) in best) for x in part] if row else []
        marked = " & ".join(rf"\textbf{{{text}}}" if is_best else text for text, is_best in cells)
        lines.append(marked + r" \\" if row else r"\midrule")
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def to_polars(table: ResultTable) -> pl.DataFrame:
    """The numbers in full precision as a polars frame, with the columns of ``to_csv``."""
    return pl.read_csv(to_csv(table).encode(), infer_schema_length=None, truncate_ragged_lines=False)


def to_csv(table: ResultTable) -> str:
    """Write numbers in full precision. A column with seeds becomes three: NAME mean, NAME deviation, NAME n.

    Text in such a column ("not run") goes into its mean, with n = 0. Title, footnotes and rules are left out.
    """
    rows = [row for row in table.rows if row]
    names: list[str] = []
    cells: list[list[object]] = [[] for _ in rows]
    for x, column in enumerate(table.columns):
        seeds = any(isinstance(row[x], Sequence) and not isinstance(row[x], str) for row in rows)
        names += [f"{column.name} {part}" for part in ("mean", "deviation", "n")] if seeds else [column.name]
        for line, row in zip(cells, rows, strict=True):
            cell, numbers = row[x], cell_statistics(row[x])
            text = format_cell(cell, column.format) if numbers is None else cell
            line += (numbers or (text, None, 0)) if seeds else (text,)
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([names, *cells])
    return file.getvalue()


def write_table(table: ResultTable, folder: Path | str, stem: str) -> None:
    """Write STEM.txt, STEM.md, STEM.tex and STEM.csv into ``folder``, each atomically.

    A line of STEM.txt has at most 200 columns. Raises RunError where a file cannot be written.
    """
    texts = {"txt": to_text(table, width=200), "md": to_markdown(table), "tex": to_latex(table), "csv": to_csv(table)}
    for ending, text in texts.items():
        write_text_atomic(Path(folder) / f"{stem}.{ending}", text)


def _row(table: ResultTable, y: int, best: set[tuple[int, int]], escape: Callable[[str], str], bold: str) -> list[str]:
    texts = [
        escape(format_cell(cell, column.format)) for column, cell in zip(table.columns, table.rows[y], strict=True)
    ]
    return [bold.format(text) if (y, x) in best else text for x, text in enumerate(texts)]


def _markdown(text: str) -> str:
    return re.sub(r"([\\|*_`<\[\]])", r"\\\1", text).replace("\n", " ")
