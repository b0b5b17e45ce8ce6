"""How many settings a search has tried, as a column of a comparison."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from crossrec.errors import ConfigError
from crossrec.experiments.analysis.comparison import PLAIN, MethodRuns
from crossrec.experiments.reporting.tables import CellValue, Column, ResultTable

TRIALS = "trials.csv"
"""File of a search, beside its ``settings.json``: a row per setting."""
NOTE = (
    "trials: settings that the search behind --settings tried on validation, of the backbone + of the alignment on the "
    "best of these."
)


def read_trials(settings: Path | None) -> dict[tuple[str, str], int]:
    """Settings tried per backbone and alignment, by the ``trials.csv`` beside a settings file; empty without one.

    Raises ConfigError for a file without these columns, or that cannot be read.
    """
    path = None if settings is None else settings.with_name(TRIALS)
    if path is None or not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return dict(Counter((row["backbone"], row["alignment"]) for row in csv.DictReader(file)))
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise ConfigError(
            f"{path}: not the trials of a search ({error}); run crossrec tune again, or move the file away"
        ) from None


def with_trials(
    table: ResultTable, blocks: Iterable[Sequence[MethodRuns]], trials: Mapping[tuple[str, str], int]
) -> ResultTable:
    """The table of a comparison, whose first rows are those of the blocks, with a column of the settings tried.

    Without any trials it is the table itself.
    """
    if not trials:
        return table
    cells = iter([_cell(trials, method) for block in blocks for method in block])
    rows: list[Sequence[CellValue]] = [[*row, next(cells, "")] if row else row for row in table.rows]
    columns = [*table.columns, Column("trials", "left")]
    return replace(table, columns=columns, rows=rows, footnotes=[*table.footnotes, NOTE])


def _cell(trials: Mapping[tuple[str, str], int], method: MethodRuns) -> str:
    of_backbone = str(trials.get((method.backbone, PLAIN), 0))
    return of_backbone if method.name == PLAIN else f"{of_backbone} + {trials.get((method.backbone, method.name), 0)}"
