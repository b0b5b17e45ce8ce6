"""One HTML page of all that experiments wrote into a folder: it needs no network and no other file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from crossrec.data.io.atomic import write_text_atomic
from crossrec.errors import RunError
from crossrec.experiments.reporting.figures import DOTS_PER_INCH
from crossrec.experiments.reporting.html_tables import FORMS, HtmlTable, html_table
from crossrec.experiments.reporting.result_files import (
    SECTIONS,
    DataCard,
    SavedCell,
    SavedFigure,
    SavedResult,
    read_results,
)
from crossrec.experiments.reporting.tables import Column, ResultTable

ROWS_SHOWN = 500
"""Rows of the numbers behind a figure that stand on the page; copying them as CSV gives all."""
CSS_DOTS_PER_INCH = 96


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write the page of all answers in ``folder`` to ``out``, or to ``folder``/report.html; returns where it is.

    Raises RunError, naming the file, where there is no answer, one is damaged or the page cannot be written.
    """
    out = folder / "report.html" if out is None else out
    write_text_atomic(out, to_html(read_results(folder), folder, out))
    return out


def to_html(answers: Mapping[Path, SavedResult], folder: Path, out: Path) -> str:
    """The page of these answers below ``folder``, the same for the same files.

    It links to tables and figures in other forms where these lie beside or below ``out``, the file it is meant for.
    Raises RunError for a picture that cannot be read; one that is missing is named on the page.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("crossrec.experiments.reporting", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style, script = (loader.get_source(environment, name)[0] for name in ("report.css", "report.js"))
    policy = {
        **{"default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'"},
        **{"style-src": _digest(style), "script-src": _digest(script)},
    }
    return environment.get_template("report.html").render(
        title=folder.resolve().name,
        sections=[_section(n, path, answers[path], folder, out) for n, path in enumerate(answers, start=1)],
        style=Markup(style),  # both are ours, and the browser runs nothing of another digest
        script=Markup(script),
        policy="; ".join(f"{name} {value}" for name, value in policy.items()),
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@dataclass(frozen=True)
class Picture:
    """A figure: its PNG as a data URI and its size in CSS pixels, or what is the matter with it."""

    title: str
    caption: str
    data: HtmlTable
    uri: str
    width: int
    height: int
    trouble: str


def _section(number: int, path: Path, answer: SavedResult, folder: Path, out: Path) -> dict[str, Any]:
    """All that the template shows of an answer. Its name is where it lies, "tiktok/compare"."""
    place = path.parent.relative_to(folder)
    place = place if place.name == answer.experiment else place / answer.experiment
    stems = [table.name for table in answer.tables] + [figure.name for figure in answer.figures]
    return {
        "id": re.sub(r"\W+", "-", f"{answer.experiment}-{number}"),
        "answer": answer,
        "name": place.as_posix(),
        "asked_in": SECTIONS.get(answer.experiment, ""),
        "tables": [(table.name, html_table(table.table, forms=tuple(FORMS))) for table in answer.tables],
        "figures": [(figure.name, _picture(figure, path.parent)) for figure in answer.figures],
        "files": {stem: _files(path.with_name(stem), out) for stem in stems},
        "failed": [cell for cell in answer.cells if cell.state != "done"],
        "facts": _facts(answer),
        "options": [line for name, value in answer.options.items() for line in _lines(name, value)],
        "cards": html_table(_cards(answer.data)) if answer.data else None,
        "settings": {card.name: list(_lines("", card.settings)) for card in answer.data},
        "cells": html_table(_cells(answer.cells), details=[_detail(cell) for cell in answer.cells])
        if answer.cells
        else None,
        "further": json.dumps(answer.model_extra, indent=2, ensure_ascii=False) if answer.model_extra else "",
    }


def _picture(figure: SavedFigure, folder: Path) -> Picture:
    path = folder / f"{figure.name}.png"
    try:
        png = path.read_bytes()
    except FileNotFoundError:
        png = b""
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from None
    whole = png.startswith(b"\x89PNG\r\n\x1a\n") and png[12:16] == b"IHDR" and b"IEND" in png[-12:]
    width, height = struct.unpack(">II", png[16:24]) if whole else (0, 0)
    return Picture(
        title=figure.title,
        caption=figure.caption,
        data=html_table(figure.data, most=ROWS_SHOWN),
        uri=f"data:image/png;base64,{base64.b64encode(png).decode()}" if whole else "",
        width=round(width * CSS_DOTS_PER_INCH / DOTS_PER_INCH),
        height=round(height * CSS_DOTS_PER_INCH / DOTS_PER_INCH),
        trouble="" if whole else f"{path.name} is {'damaged' if png else 'missing'}",
    )


def _files(stem: Path, out: Path) -> dict[str, str]:
    """Links from ``out`` to the files of a table or figure, by ending, where they lie beside or below it."""
    home, folder = out.resolve().parent, stem.resolve().parent
    if not folder.is_relative_to(home):
        return {}
    files = (folder / f"{stem.name}.{ending}" for ending in ("csv", "tex", "md", "txt", "pdf", "png"))
    return {file.suffix[1:]: quote(file.relative_to(home).as_posix()) for file in files if file.exists()}


def _facts(answer: SavedResult) -> list[tuple[str, str]]:
    """How the answer came about, as (what, value)."""
    trained = [c.epochs * c.train_seconds_per_epoch for c in answer.cells if c.epochs and c.train_seconds_per_epoch]
    facts = {
        "Date": answer.date,
        "Duration": "" if answer.seconds is None else f"{_duration(answer.seconds)}, without cells done before",
        "Training": f"{_duration(sum(trained))} in {len(trained)} cells, without evaluation" if trained else "",
        "Seeds": ", ".join(map(str, answer.seeds)),
        "Machine": ", ".join(f"{name} {value}" for name, value in answer.machine.items()),
        "Versions": ", ".join(f"{name} {value}" for name, value in answer.versions.items()),
    }
    return [(name, value) for name, value in facts.items() if value]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _lines(name: str, value: Any) -> list[tuple[str, str]]:
    """A setting as (dotted name, value), one line for each below it."""
    if isinstance(value, dict) and value:
        return [line for key, part in value.items() for line in _lines(f"{name}.{key}" if name else key, part)]
    return [(name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]


def _cards(cards: list[DataCard]) -> ResultTable:
    names = ("users", "items", "train", "valid", "test")
    columns = [
        Column("data set", "left"),
        *map(Column, names),
        Column("features", "left"),
        Column("fingerprint", "left"),
    ]
    rows = []
    for card in cards:
        features = ", ".join(f"{name} {size}" for name, size in card.features.items()) or "none"
        rows.append([card.name, *(getattr(card, name) for name in names), features, card.fingerprint])
    return ResultTable("Data sets: interactions per split, and dimensions of the features", columns, rows)


def _cells(cells: list[SavedCell]) -> ResultTable:
    columns = [
        *(Column(name, "left") for name in ("run", "group")),
        Column("seed"),
        Column("state", "left"),
        *(Column(name) for name in ("best epoch", "epochs")),
        Column("s/epoch", format=".2f"),
        Column("memory, MB", format=".0f"),
        Column("config", "left"),
    ]
    rows = [
        [
            *(cell.label, " / ".join(cell.group), cell.seed, cell.state),
            *("" if value is None else value for value in (cell.best_epoch, cell.epochs, cell.train_seconds_per_epoch)),
            "" if cell.peak_memory_mb is None else cell.peak_memory_mb,
            Path(cell.folder).name,
        ]
        for cell in cells
    ]
    return ResultTable("Cells: each a run in a folder of its own", columns, rows)


def _detail(cell: SavedCell) -> str:
    """Configuration and metrics of a cell as JSON."""
    shown = {"config": cell.config, "valid": cell.valid, "test": cell.test}
    return json.dumps(shown, indent=2, ensure_ascii=False)
