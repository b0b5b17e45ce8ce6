"""Figure 2: how well each modality predicts feedback as training goes on, and which way items are aligned by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from crossrec.data import DataConfig, Dataset
from crossrec.experiments.analysis.comparison import blocks_of
from crossrec.experiments.analysis.strength_history import Course
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings, over_seeds
from crossrec.experiments.reporting.figures import plot_band
from crossrec.experiments.reporting.result import ExperimentResult, ResultFigure
from crossrec.experiments.reporting.tables import RULE, CellValue, Column, ResultTable
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.types import ID

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

EARLY = 10
"""The last of the epochs that the paper calls early."""
DIRECTIONS_SHOWN = 6
"""Directions that one panel can show; of more modalities it shows those from and to the id."""


class StrengthsConfig(ExperimentConfig):
    """What to watch."""

    backbones: tuple[str, ...] = Field(default=("freedom",), min_length=1)
    """Backbones to ask the question of."""
    alignments: tuple[str, ...] = Field(default=("none", "fettle", "cross"), min_length=1)
    """Alignments to watch; of the backbone alone (none), the directions that the dynamic rule would take."""


def cells(options: StrengthsConfig, shared: SharedSettings) -> list[Cell]:
    """One run per backbone, alignment and seed that records strengths: other runs than those that do not."""
    recording = SharedSettings(
        shared.data, shared.training.model_copy(update={"record_strengths": True}), shared.model_settings
    )
    return [
        Cell(recording.run_config(backbone, alignment, seed), group=(backbone, alignment))
        for backbone in options.backbones
        for alignment in options.alignments
        for seed in options.seeds
    ]


def result(
    options: StrengthsConfig, shared: SharedSettings, results: Sequence[Result], datasets: Mapping[DataConfig, Dataset]
) -> ExperimentResult:
    """Strengths and directions at the first and last epochs, and over all; two figures per backbone."""
    data = next(iter(datasets.values())).name
    courses = [[Course(row) for row in block] for block in blocks_of(results)]
    figures = {}
    for of_backbone in courses:
        own = f"-{of_backbone[0].backbone}" if len(courses) > 1 else ""
        figures[f"strengths{own}-figure"] = _figure(data, of_backbone, options.seeds)
        if any(course.pairs for course in of_backbone):
            aligned = [course for course in of_backbone if course.pairs or course.failure]
            figures[f"strengths-directions{own}-figure"] = _directions_figure(data, aligned, options.seeds)
    every = [course for of_backbone in courses for course in of_backbone]
    return ExperimentResult(
        "How well does each modality predict feedback as training goes on, and which way are items aligned by it?",
        [finding for course in every for finding in course.findings()],
        {
            "strengths": _table(data, every, options.seeds),
            "strengths-directions": _directions_table(data, every, options.seeds),
        },
        figures,
    )


def _table(data: str, courses: Sequence[Course], seeds: Sequence[int]) -> ResultTable:
    """A row a modality: mean, variance, and how often it is the strongest, at some epochs."""
    columns = [Column("model", "left"), Column("modality", "left"), Column("epochs")]
    for group, format in (("mean", ".3f"), ("variance", ".4f"), ("strongest %", ".1f")):
        columns += [Column(epoch, format=format, group=group) for epoch in ("first", f"epoch {EARLY}", "last")]
    rows: list[Sequence[CellValue]] = []
    for course in courses:
        rows += [RULE] if rows else []
        if course.failure:
            rows.append([course.title, course.failure, *[None] * (len(columns) - 2)])
        for modality in course.modalities:
            cells: list[CellValue] = [course.title, modality, course.epochs]
            for name in ("mean", "variance", "strongest"):
                found = (course.at(epoch, f"{name} {modality}") for epoch in (1, EARLY, course.epochs))
                cells += [_percent(value) if name == "strongest" else value for value in found]
            rows.append(cells)
    notes = (
        "Strength s of a modality: mean cosine of an item's vector and the users of its training pairs (Eq. 1); mean "
        f"and variance over items{over_seeds(seeds)}. Strongest: share of items whose strongest modality it is.",
        "epochs: those that every seed's run has; the last of them is the last shown.",
    )
    return ResultTable(f"{data}: strength of modalities", columns, rows, notes)


def _directions_table(data: str, courses: Sequence[Course], seeds: Sequence[int]) -> ResultTable:
    """A row a pair of modalities: the share of items aligned either way and both ways, at first and at last."""
    columns = [Column("model", "left"), *(Column(head, "left") for head in ("rule", "one", "other"))]
    for group in ("first epoch", "last epoch"):
        columns += [Column(head, format=".1f", group=group) for head in ("one to other", "other to one", "both")]
    rows: list[Sequence[CellValue]] = []
    for course in courses:
        rows += [RULE] if rows else []
        if course.failure:
            rows.append([course.title, course.failure, *[None] * (len(columns) - 2)])
        for m, n in course.pairs:
            cells: list[CellValue] = [course.title, course.rule.replace("_", "-"), m, n]
            for epoch in (1, course.epochs):
                cells += [_percent(course.at(epoch, name)) for name in (f"{m}->{n}", f"{n}->{m}", f"{m}<->{n}")]
            rows.append(cells)
    notes = (
        f"Items with training interactions that support a direction, in %{over_seeds(seeds)}. Nothing is aligned in a "
        "backbone alone: there it is what the dynamic rule would do.",
    )
    return ResultTable(f"{data}: directions of alignment", columns, rows, notes)


def _percent(value: tuple[float, ...] | float | str) -> CellValue:
    if isinstance(value, str):
        return value
    return tuple(100 * share for share in value) if isinstance(value, tuple) else 100 * value


def _figure(data: str, courses: Sequence[Course], seeds: Sequence[int]) -> ResultFigure:
    """Figure 2(a) and (b), a row of panels an alignment."""
    modalities = list(dict.fromkeys(m for course in courses for m in course.modalities))
    quantities = [[f"{what} {m}" for m in modalities] for what in ("mean", "variance")]
    caption = (
        f"{data}: mean and variance over items of the strength of each modality, after every epoch{over_seeds(seeds)}."
    )
    panels = [("mean strength", list(zip(quantities[0], modalities, strict=True)))]
    panels += [("variance of strength", list(zip(quantities[1], modalities, strict=True)))]
    return _panels("Strength of modalities", caption, f"{data}: strength by epoch", courses, panels, percent=False)


def _directions_figure(data: str, courses: Sequence[Course], seeds: Sequence[int]) -> ResultFigure:
    pairs = list(dict.fromkeys(pair for course in courses for pair in course.pairs))
    ways = [way for m, n in pairs for way in ((m, n), (n, m))]
    if len(ways) > DIRECTIONS_SHOWN:
        ways = [way for way in ways if ID in way]
    panels = [("items aligned, in %", [(f"{m}->{n}", f"{m} → {n}") for m, n in ways])]
    panels += [("items aligned both ways, in %", [(f"{m}<->{n}", f"{m} ↔ {n}") for m, n in pairs])]
    caption = (
        f"{data}: share of items that support each direction of alignment, and both of a pair, after every epoch"
        f"{over_seeds(seeds)}. Of a backbone alone: what the dynamic rule would do."
    )
    return _panels("Directions of alignment", caption, f"{data}: directions by epoch", courses, panels, percent=True)


Panel = tuple[str, list[tuple[str, str]]]
"""Label of the axis; quantities and what they are called."""


def _panels(
    title: str, caption: str, what: str, courses: Sequence[Course], panels: Sequence[Panel], *, percent: bool
) -> ResultFigure:
    """A row an alignment, a column a panel; a row that failed says why."""
    names = [name for _, quantities in panels for name, _ in quantities]

    def shown(course: Course, name: str) -> list[CellValue]:
        found = course.over(name)
        return [_percent(value) for value in found] if percent else found  # type: ignore[arg-type]

    rows: list[Sequence[CellValue]] = []
    for course in courses:
        epochs = range(1, course.epochs + 1)
        columns = [epochs, *(shown(course, n) if course.has(n) else ["–"] * len(epochs) for n in names)]
        rows += [[course.backbone, course.alignment, *values] for values in zip(*columns, strict=True)]
    heads = [Column("backbone", "left"), Column("alignment", "left"), Column("epoch"), *map(Column, names)]

    def draw(canvas: Canvas) -> None:
        axes = canvas.subplots(len(courses), len(panels), squeeze=False, sharey="col")
        for y, course in enumerate(courses):
            for x, (label, quantities) in enumerate(panels):
                for number, (name, told) in enumerate(quantities):
                    values = shown(course, name) if course.has(name) else []
                    plot_band(axes[y][x], range(1, len(values) + 1), values, number, told)
                if course.failure:
                    axes[y][x].text(0.5, 0.5, course.failure, transform=axes[y][x].transAxes, **FAILURE)
                axes[y][x].set_ylabel(label)
            axes[y][0].set_title(course.title, loc="left", fontsize=9, fontweight="bold")
        for axis in axes[-1]:
            if percent:
                axis.set_ylim(bottom=0)  # of the whole column, and after its lines: they decide where it ends
            axis.set_xlabel("epoch")
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=3, fontsize=8)

    return ResultFigure(title, caption, ResultTable(what, heads, rows), draw, (7.0, 1.0 + 2.0 * len(courses)))


FAILURE: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7, "wrap": True}


EXPERIMENT = Experiment(StrengthsConfig, cells, result)
