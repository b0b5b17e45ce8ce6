"""Figures that a publication prints, beside the measured ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from crossrec.alignment import ALIGNMENTS
from crossrec.backbones import BACKBONES
from crossrec.data.io.numbers import NumberReader
from crossrec.data.io.tables import open_table
from crossrec.errors import DataError
from crossrec.experiments.analysis.comparison import PLAIN, MethodRuns, shown_metrics
from crossrec.experiments.analysis.seed_values import percent_change, table_cell
from crossrec.experiments.analysis.wording import short_metric
from crossrec.experiments.reporting.tables import CellValue, Column, ResultTable

PAPER = Path(__file__).with_name("paper.csv")
"""Tables 2 and 3 of the paper."""
KEY = ("data", "backbone", "alignment")
Published = dict[tuple[str, ...], dict[str, float]]
"""Metrics by the names of data set, backbone and alignment."""


def read_published(source: str) -> Published:
    """Read ``paper``, the paper's own tables, or a table file: a row for a model, a column for a metric.

    The columns ``data``, ``backbone`` and ``alignment`` say whose figures they are, with ``none`` for a backbone alone;
    the others are metrics such as ``recall@20``. An empty cell is a figure that is not printed. Raises DataError naming
    file, line and column.
    """
    path = PAPER if source == "paper" else Path(source)
    table = open_table(path)
    if missing := [column for column in KEY if column not in table.columns]:
        raise DataError(
            f"{path}: no column '{missing[0]}'; a file for --published has the columns {', '.join(KEY)} and one for "
            "each metric, such as recall@20"
        )
    metrics = [column for column in table.columns if column not in KEY]
    frame = table.read(table.columns)
    published: Published = {}
    for row, key in enumerate(map(_own_names, frame.select(KEY).iter_rows())):
        if key in published:
            raise DataError(f"{path}, {table.location(row)}: '{', '.join(key)}' has several rows; keep one")
        published[key] = {}
    reader = NumberReader(".")
    for metric in metrics:
        numbers, what_to_do = reader.parse(frame[metric])
        for row, (key, number) in enumerate(zip(published, numbers, strict=True)):
            cell = frame[metric][row]
            if number is not None:
                published[key][metric] = number
            elif cell is not None and str(cell).strip():
                raise DataError(f"{path}, {table.location(row)}, column '{metric}': '{cell}' {what_to_do}")
    return published


def _own_names(key: tuple[object, ...]) -> tuple[str, ...]:
    """The names of data set, backbone and alignment in the spelling of this package."""
    data, backbone, alignment = map(str, key)
    return data, BACKBONES.canonical(backbone), ALIGNMENTS.canonical(alignment)


def check_published(source: str, models: Iterable[tuple[str, ...]]) -> None:
    """Raise DataError where the source has no figure for any of the models that a data set is compared on.

    ``models``: folder of the data set, backbone and alignment.
    """
    published = read_published(source)
    models = list(dict.fromkeys((Path(folder).name, *names) for folder, *names in models))
    for data in dict.fromkeys(model[0] for model in models):
        if not any(model[0] == data and model in published for model in models):
            present = dict.fromkeys(" + ".join(key[1:]) for key in published if key[0] == data)
            what = "these models on the data set" if present else "the data set"
            others = present or dict.fromkeys(key[0] for key in published)
            raise DataError(f"--published {source}: no figures for {what} '{data}'; it has {', '.join(others)}")


def published_table(source: str, data: str, blocks: Sequence[Sequence[MethodRuns]]) -> ResultTable:
    """Measured and printed metrics of the models that the source has figures for, and their difference in %."""
    published, metrics = read_published(source), shown_metrics(blocks[0][0].results)
    columns = [Column("model", "left")]
    for metric in metrics:
        label = short_metric(metric)
        columns += [Column("measured", group=label), Column("printed", group=label)]
        columns.append(Column("difference %", format="+.1f", group=label))
    rows: list[Sequence[CellValue]] = []
    for method in (method for block in blocks for method in block):
        printed = published.get((data, method.backbone, method.name))
        if printed is None:
            continue
        row: list[CellValue] = [method.backbone if method.name == PLAIN else f"{method.backbone} + {method.name}"]
        for metric in metrics:
            measured, figure = method.values(metric), printed.get(metric)
            row += [table_cell(measured), *(["", ""] if figure is None else [figure, percent_change(measured, figure)])]
        rows.append(row)
    source = "Tables 2 and 3 of the paper" if source == "paper" else Path(source).name
    note = f"printed: {source}. difference: of the measured mean over seeds from the printed figure."
    return ResultTable(f"{data}: beside the printed figures", columns, rows, (note,))
