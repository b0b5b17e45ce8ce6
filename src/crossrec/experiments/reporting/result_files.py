"""Files of results: write tables, figures and NAME.json, and read all NAME.json files of a folder."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from crossrec.data.io.atomic import files_together, read_json, write_text_atomic
from crossrec.data.io.manifest import SEAL, read_sealed, write_sealed
from crossrec.errors import RunError
from crossrec.experiments.registry import SECTIONS
from crossrec.experiments.reporting.figures import save_figure
from crossrec.experiments.reporting.result import ExperimentResult
from crossrec.experiments.reporting.tables import CellValue, ResultTable, to_csv, write_table

WAY_OUT = "run the experiment again, which keeps the cells that are done"
RUN_FILES = {"metrics.json", "history.csv", "cell.json"}
"""A folder with one of these files is that of a run and is not searched."""


def _table_to_json(table: ResultTable) -> dict[str, Any]:
    """A table as JSON values with numbers in full; nan and the infinities become {"float": "nan"} and so on."""
    return asdict(table) | {"rows": [[_cell_to_json(cell) for cell in row] for row in table.rows]}


def _cell_to_json(cell: CellValue) -> Any:
    if cell is None or isinstance(cell, str | int):
        return cell
    if isinstance(cell, Sequence):
        return [_cell_to_json(float(value)) for value in cell]
    return float(cell) if math.isfinite(cell) else {"float": str(float(cell))}


def _cells_from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return float(str(value.get("float")))
    return [_cells_from_json(cell) for cell in value] if isinstance(value, list) else value


def _table_from_json(values: Any) -> Any:
    return values | {"rows": _cells_from_json(values.get("rows"))} if isinstance(values, dict) else values


TableField = Annotated[ResultTable, BeforeValidator(_table_from_json)]
FileStem = Annotated[str, Field(pattern=r"^[^/\\]+$")]
"""File name without ending and without folder."""


class _FileModel(BaseModel):
    model_config = ConfigDict(frozen=True)


class SavedTable(_FileModel):
    """A table and the stem of its files; one flat object in JSON."""

    name: FileStem
    table: TableField

    @model_validator(mode="before")
    @classmethod
    def _nest(cls, values: Any) -> Any:
        flat = isinstance(values, dict) and "table" not in values
        return {"name": values.get("name"), "table": values} if flat else values


class SavedFigure(_FileModel):
    """The stem of a figure's files, and the numbers behind the figure."""

    name: FileStem
    title: str
    caption: str
    data: TableField


class SavedCell(_FileModel):
    """A run of an experiment, with its metrics if it is done."""

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


class SavedDataset(_FileModel):
    """Name, settings, sizes and fingerprint of a data set."""

    name: str
    settings: dict[str, Any]
    users: int
    items: int
    train: int
    valid: int
    test: int
    features: dict[str, int]
    fingerprint: str


class SavedResult(_FileModel):
    """The content of NAME.json. Keys beyond these fields are in ``model_extra``."""

    model_config = ConfigDict(frozen=True, extra="allow")

    experiment: str
    question: str
    findings: list[str]
    tables: list[SavedTable]
    figures: list[SavedFigure]
    command: str = ""
    date: str = ""
    seconds: float | None = None
    machine: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    options: dict[str, Any] = {}
    seeds: list[int] = []
    data: list[SavedDataset] = []
    cells: list[SavedCell] = []


def write_result(result: ExperimentResult, out: Path, name: str, provenance: Mapping[str, Any]) -> None:
    """Write tables (.txt, .md, .tex, .csv), figures (.png, .pdf, .csv) and, last, NAME.json: a ``SavedResult``.

    ``provenance`` holds its fields from ``command`` on. Raises RunError where a file cannot be written; then all files
    stay as they were.
    """
    tables = [{"name": stem, **_table_to_json(table)} for stem, table in result.tables.items()]
    figures = [
        {"name": stem, "title": figure.title, "caption": figure.caption, "data": _table_to_json(figure.data)}
        for stem, figure in result.figures.items()
    ]
    content = {"experiment": name, "question": result.question, "findings": result.findings}
    with files_together():
        for stem, table in result.tables.items():
            write_table(table, out, stem)
        for stem, figure in result.figures.items():
            write_text_atomic(out / f"{stem}.csv", to_csv(figure.data))
            save_figure(figure.draw, out / stem, figure.inches)
        write_sealed(out / f"{name}.json", {**content, "tables": tables, "figures": figures, **provenance})


def read_results(folder: Path | str) -> dict[Path, SavedResult]:
    """Read the results in ``folder`` and below it, by file, in the order of ``SECTIONS``.

    Folders of runs and other JSON files are skipped. Raises RunError, naming the file, where one is damaged, and
    where there is no result.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder; give the --out of an experiment, or a folder of several")
    results = {path: result for path in _json_files(folder) if (result := _read_result(path)) is not None}
    if not results:
        raise RunError(f"{folder}: no experiment has written an answer here; run one first, e.g. crossrec compare")
    order = {name: number for number, name in enumerate(SECTIONS)}
    ordered = sorted((order.get(r.experiment, len(order)), r.experiment, path) for path, r in results.items())
    return {path: results[path] for *_, path in ordered}


def _json_files(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise RunError(f"{error.filename}: cannot be read: {error.strerror}")

    for parent, folders, files in os.walk(folder, onerror=refuse):
        is_run = bool(RUN_FILES & set(files))
        folders[:] = [] if is_run else [name for name in folders if not name.startswith(".")]
        if not is_run:
            yield from (Path(parent, name) for name in files if name.endswith(".json") and not name.startswith("."))


def _read_result(path: Path) -> SavedResult | None:
    """Read a file; None where it is not that of a result. The digest in it is checked if it has one."""
    values = read_json(path)
    if isinstance(values, dict) and SEAL in values:
        values = read_sealed(path, WAY_OUT)
    if not isinstance(values, dict) or not {"experiment", "tables"} <= values.keys():
        return None
    try:
        return SavedResult.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(map(str, first["loc"]))
        raise RunError(f"{path}: '{location}': {first['msg']}; {WAY_OUT}") from None
