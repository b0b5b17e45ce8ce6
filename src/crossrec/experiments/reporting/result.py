"""What an experiment comes to: findings, tables and figures, and how they are kept in files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossrec.data.io.atomic import write_json_atomic, write_text_atomic
from crossrec.experiments.reporting.figures import save_figure
from crossrec.experiments.reporting.result_files import table_to_json
from crossrec.experiments.reporting.tables import ResultTable, to_csv, write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


@dataclass(frozen=True)
class ResultFigure:
    """A picture and the numbers behind it. ``draw`` fills an empty canvas of ``inches`` (width, height)."""

    title: str
    caption: str
    data: ResultTable
    draw: Callable[[Canvas], None]
    inches: tuple[float, float] = (6.4, 3.6)


@dataclass(frozen=True)
class ExperimentResult:
    """``question`` in one sentence, ``findings`` in sentences made of the numbers, tables and figures by file stem.

    Raises ValueError where a table and a figure have one stem: both have a CSV.
    """

    question: str
    findings: Sequence[str]
    tables: Mapping[str, ResultTable]
    figures: Mapping[str, ResultFigure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if both := self.tables.keys() & self.figures.keys():
            raise ValueError(f"a table and a figure are both called {', '.join(sorted(both))}")


def write_result(answer: ExperimentResult, out: Path, name: str, about: Mapping[str, Any]) -> None:
    """Write tables (.txt, .md, .tex, .csv), figures (.png, .pdf, .csv) and, last, NAME.json, which lists them.

    NAME.json holds ``about`` (command, versions, cells …), question, findings, and every table and figure with the
    stem of its files and the numbers of the table, or of the one behind the figure: it is what ``crossrec report``
    reads. Each file appears whole or not at all. Raises RunError where a file cannot be written.
    """
    for stem, table in answer.tables.items():
        write_table(table, out, stem)
    for stem, figure in answer.figures.items():
        write_text_atomic(out / f"{stem}.csv", to_csv(figure.data))
        save_figure(figure.draw, out / stem, figure.inches)
    written = {
        "experiment": name,
        "question": answer.question,
        "findings": list(answer.findings),
        "tables": [{"name": stem, **table_to_json(table)} for stem, table in answer.tables.items()],
        "figures": [
            {"name": stem, "title": figure.title, "caption": figure.caption, "data": table_to_json(figure.data)}
            for stem, figure in answer.figures.items()
        ],
        **about,
    }
    write_json_atomic(out / f"{name}.json", json.loads(json.dumps(written, default=str)))
