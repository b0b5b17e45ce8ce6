"""HTML report of all results in a folder: one page that needs no network and no other file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from crossrec.data.io.atomic import write_text_atomic
from crossrec.errors import RunError
from crossrec.experiments.registry import SECTIONS
from crossrec.experiments.reporting import result_files
from crossrec.experiments.reporting.figures import DOTS_PER_INCH
from crossrec.experiments.reporting.html_tables import FORMATS, html_table
from crossrec.experiments.reporting.tables import Column, ResultTable

MAX_FIGURE_ROWS = 500
"""Rows of the numbers behind a figure on the page; the copy as CSV holds all rows."""
CSS_DOTS_PER_INCH = 96


def write_report(folder: Path | str, out: Path | str | None = None) -> Path:
    """Write the report of all results in ``folder`` to ``out`` (``folder``/report.html by default); returns its path.

    Raises RunError, naming the file, where there is no result, one is damaged, or the page cannot be written.
    """
    folder = Path(folder)
    out = folder / "report.html" if out is None else Path(out)
    write_text_atomic(out, to_html(result_files.read_results(folder), folder, out))
    return out


def to_html(results: Mapping[Path, result_files.SavedResult], folder: Path, out: Path) -> str:
    """Render the page of ``results``, which lie below ``folder``. The same files give the same page.

    The page links to files of tables and figures that lie beside or below ``out``, its future path. A missing image is
    named on the page. Raises RunError for an image that cannot be read.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("crossrec.experiments.reporting", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style, script = (loader.get_source(environment, name)[0] for name in ("report.css", "report.js"))
    policy = "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'"
    return environment.get_template("report.html").render(
        title=folder.resolve().name,
        sections=[_section(n, path, results[path], folder, out) for n, path in enumerate(results, start=1)],
        style=Markup(style),  # both are our own files; the policy refuses any other
        script=Markup(script),
        policy=f"{policy}; style-src {_csp_hash(style)}; script-src {_csp_hash(script)}",
    )


def _csp_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _section(number: int, path: Path, result: result_files.SavedResult, folder: Path, out: Path) -> dict[str, Any]:
    """Variables of the template for one result. The section is named by the file's folder, e.g. "tiktok/compare"."""
    name = path.parent.relative_to(folder)
    name = name if name.name == result.experiment else name / result.experiment
    cells, data = result.cells, result.data
    stems = [table.name for table in result.tables] + [figure.name for figure in result.figures]
    return {
        "id": re.sub(r"\W+", "-", f"{result.experiment}-{number}"),
        "result": result,
        "name": name.as_posix(),
        "paper_section": SECTIONS.get(result.experiment, ""),
        "tables": [(table.name, html_table(table.table, formats=tuple(FORMATS))) for table in result.tables],
        "figures": [(figure.name, _figure(figure, path.parent)) for figure in result.figures],
        "files": {stem: _links(path.with_name(stem), out) for stem in stems},
        "failed": [cell for cell in cells if cell.state != "done"],
        "facts": _facts(result),
        "options": [line for key, value in result.options.items() for line in _lines(key, value)],
        "datasets": html_table(_dataset_table(data)) if data else None,
        "settings": {dataset.name: list(_lines("", dataset.settings)) for dataset in data},
        "cells": html_table(_cell_table(cells), details=[_cell_json(cell) for cell in cells]) if cells else None,
        "extra": json.dumps(result.model_extra, indent=2, ensure_ascii=False) if result.model_extra else "",
    }


def _figure(figure: result_files.SavedFigure, folder: Path) -> dict[str, Any]:
    """A figure: its PNG as a data URI and its size in CSS pixels, or the ``problem`` with the PNG."""
    path = folder / f"{figure.name}.png"
    try:
        png = path.read_bytes()
    except FileNotFoundError:
        png = b""
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from None
    complete = png.startswith(b"\x89PNG\r\n\x1a\n") and png[12:16] == b"IHDR" and b"IEND" in png[-12:]
    width, height = struct.unpack(">II", png[16:24]) if complete else (0, 0)
    return {
        "title": figure.title,
        "caption": figure.caption,
        "data": html_table(figure.data, max_rows=MAX_FIGURE_ROWS),
        "uri": f"data:image/png;base64,{base64.b64encode(png).decode()}" if complete else "",
        "width": round(width * CSS_DOTS_PER_INCH / DOTS_PER_INCH),
        "height": round(height * CSS_DOTS_PER_INCH / DOTS_PER_INCH),
        "problem": "" if complete else f"{path.name} is {'damaged' if png else 'missing'}",
    }


def _links(stem: Path, out: Path) -> dict[str, str]:
    """Links from ``out`` to the files of a table or figure, by ending; none unless they lie beside or below it."""
    root, folder = out.resolve().parent, stem.resolve().parent
    if not folder.is_relative_to(root):
        return {}
    files = (folder / f"{stem.name}.{ending}" for ending in ("csv", "tex", "md", "txt", "pdf", "png"))
    return {file.suffix[1:]: quote(file.relative_to(root).as_posix()) for file in files if file.exists()}


def _facts(result: result_files.SavedResult) -> list[tuple[str, str]]:
    """Date, duration, seeds, machine and versions of a result."""
    seconds = [c.epochs * c.train_seconds_per_epoch for c in result.cells if c.epochs and c.train_seconds_per_epoch]
    facts = {
        "Date": result.date,
        "Duration": "" if result.seconds is None else f"{_duration(result.seconds)}, without cells done before",
        "Training": f"{_duration(sum(seconds))} in {len(seconds)} cells, without evaluation" if seconds else "",
        "Seeds": ", ".join(map(str, result.seeds)),
        "Machine": ", ".join(f"{name} {value}" for name, value in result.machine.items()),
        "Versions": ", ".join(f"{name} {value}" for name, value in result.versions.items()),
    }
    return [(name, value) for name, value in facts.items() if value]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _lines(name: str, value: Any) -> list[tuple[str, str]]:
    """Flatten a nested setting into (dotted name, value)."""
    if isinstance(value, dict) and value:
        return [line for key, part in value.items() for line in _lines(f"{name}.{key}" if name else key, part)]
    return [(name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]


def _dataset_table(datasets: list[result_files.SavedDataset]) -> ResultTable:
    counts = ("users", "items", "train", "valid", "test")
    rows = []
    for dataset in datasets:
        features = ", ".join(f"{name} {size}" for name, size in dataset.features.items()) or "none"
        rows.append([dataset.name, *(getattr(dataset, name) for name in counts), features, dataset.fingerprint])
    columns = [*map(Column, counts), Column("features", "left"), Column("fingerprint", "left")]
    title = "Data sets: interactions per split, and dimensions of the features"
    return ResultTable(title, [Column("data set", "left"), *columns], rows)


def _cell_table(cells: list[result_files.SavedCell]) -> ResultTable:
    columns = [
        Column("run", "left"),
        Column("group", "left"),
        Column("seed"),
        Column("state", "left"),
        Column("best epoch"),
        Column("epochs"),
        Column("s/epoch", format=".2f"),
        Column("memory, MB", format=".0f"),
        Column("config", "left"),
    ]
    rows = []
    for cell in cells:
        measured = (cell.best_epoch, cell.epochs, cell.train_seconds_per_epoch, cell.peak_memory_mb)
        numbers = ("" if value is None else value for value in measured)
        rows.append([cell.label, " / ".join(cell.group), cell.seed, cell.state, *numbers, Path(cell.folder).name])
    return ResultTable("Cells: each a run in a folder of its own", columns, rows)


def _cell_json(cell: result_files.SavedCell) -> str:
    """Configuration and metrics of a cell."""
    values = {"config": cell.config, "valid": cell.valid, "test": cell.test}
    return json.dumps(values, indent=2, ensure_ascii=False)
