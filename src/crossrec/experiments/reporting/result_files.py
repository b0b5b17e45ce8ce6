"""Answers as they lie in files: tables as plain values and back, and all the answers of a folder, checked."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from crossrec.data.io.atomic import read_json
from crossrec.errors import RunError
from crossrec.experiments.reporting.tables import ResultTable

SECTIONS = {
    **{"compare": "RQ1", "ablate": "RQ2", "directions": "RQ3", "robustness": "RQ4", "visualize": "RQ5"},
    **{"popularity": "RQ6", "sensitivity": "RQ7", "strengths": "Fig. 2", "tune": "Section 7.1", "coldstart": ""},
}
"""The experiments in the order in which they are read, and where the paper asks their question."""
OF_A_RUN = {"metrics.json", "history.csv", "cell.json"}
"""A folder with one of these is a run's and holds no answer."""


def table_to_json(table: ResultTable) -> dict[str, Any]:
    """A table as values that JSON has a word for, numbers in full; ``PlainTable`` reads them back.

    nan and the infinities become {"float": "nan"} and so on.
    """
    return asdict(table) | {"rows": [[_plain(cell) for cell in row] for row in table.rows]}


def _plain(cell: Any) -> Any:
    if cell is None or isinstance(cell, str | int):
        return cell
    if isinstance(cell, Sequence):
        return [_plain(float(value)) for value in cell]
    return float(cell) if math.isfinite(cell) else {"float": str(float(cell))}


def _from_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return float(str(value.get("float")))
    return [_from_plain(part) for part in value] if isinstance(value, list) else value


def _with_rows(values: Any) -> Any:
    return values | {"rows": _from_plain(values.get("rows"))} if isinstance(values, dict) else values


TableField = Annotated[ResultTable, BeforeValidator(_with_rows)]
Stem = Annotated[str, Field(pattern=r"^[^/\\]+$")]
"""Name of a file without its ending, and no path."""


class _FileModel(BaseModel):
    model_config = ConfigDict(frozen=True)


class SavedTable(_FileModel):
    """A table and the stem of its files."""

    name: Stem
    table: TableField


class SavedFigure(_FileModel):
    """What is known of a figure: the stem of its files, and the numbers behind it."""

    name: Stem
    title: str
    caption: str
    data: TableField


class SavedCell(_FileModel):
    """A run of an experiment, with its metrics where it is done."""

    folder: str
    label: str
    group: list[str]
    seed: int
    state: str
    config: dict[str, Any]
    best_epoch: int | None = None
    epochs: int | None = None
    train_seconds_per_epoch: float | None = None
    peak_memory_mb: float | None = None
    valid: dict[str, Any] = {}
    test: dict[str, Any] = {}


class DataCard(_FileModel):
    """What a data set is."""

    name: str
    users: int
    items: int
    train: int
    valid: int
    test: int
    features: dict[str, int]
    fingerprint: str
    settings: dict[str, Any]


def _named(values: Any) -> Any:
    return {"name": values.get("name"), "table": values} if isinstance(values, dict) else values


class SavedResult(_FileModel):
    """An answer as ``write_answer`` wrote it. What it has beyond these fields is kept in ``model_extra``."""

    model_config = ConfigDict(frozen=True, extra="allow")

    experiment: str
    question: str
    findings: list[str]
    tables: list[Annotated[SavedTable, BeforeValidator(_named)]]
    figures: list[SavedFigure]
    command: str = ""
    date: str = ""
    seconds: float | None = None
    machine: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    options: dict[str, Any] = {}
    seeds: list[int] = []
    data: list[DataCard] = []
    cells: list[SavedCell] = []


def read_results(folder: Path) -> dict[Path, SavedResult]:
    """The answers in ``folder`` and below it, folders of runs left out, by file and in the order of ``SECTIONS``.

    Other JSON files are passed over. Raises RunError, naming the file, where one is damaged, and where there is no
    answer at all.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder; give the --out of an experiment, or a folder of several")
    found = {path: answer for path in _files(folder) if (answer := _read(path)) is not None}
    if not found:
        raise RunError(f"{folder}: no experiment has written an answer here; run one first, e.g. crossrec compare")
    places = {name: place for place, name in enumerate(SECTIONS)}
    ordered = sorted((places.get(a.experiment, len(places)), a.experiment, path) for path, a in found.items())
    return {path: found[path] for *_, path in ordered}


def _files(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise RunError(f"{error.filename}: cannot be read: {error.strerror}")

    for here, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [] if OF_A_RUN & set(files) else [name for name in folders if not name.startswith(".")]
        if not OF_A_RUN & set(files):
            yield from (Path(here, name) for name in files if name.endswith(".json") and not name.startswith("."))


def _read(path: Path) -> SavedResult | None:
    values = read_json(path)
    if not isinstance(values, dict) or not {"experiment", "tables"} <= values.keys():
        return None
    try:
        return SavedResult.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(
            f"{path}: '{where}': {first['msg']}; run the experiment again, which keeps the cells that are done"
        ) from None
