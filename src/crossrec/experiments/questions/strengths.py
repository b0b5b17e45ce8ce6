"""Figure 2: how well each modality predicts feedback as training goes on, and which way items are aligned by it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING, Any, cast

from pydantic import Field

from crossrec.alignment import CrossConfig
from crossrec.data import DataConfig, Dataset
from crossrec.experiments.analysis.comparison import PLAIN, MethodRuns, method_blocks
from crossrec.experiments.analysis.seed_values import SeedValues, seed_values
from crossrec.experiments.analysis.wording import join_words, judge_claim, seeds_note
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings, method_cells
from crossrec.experiments.reporting.figures import literal, plot_band
from crossrec.experiments.reporting.result import ExperimentResult, ResultFigure
from crossrec.experiments.reporting.tables import CellValue, Column, ResultTable, join_blocks
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.runs.directory import STRENGTHS_FILE
from crossrec.types import ID

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EARLY = 10
"""The last of the epochs that the paper calls early."""
MAX_DIRECTIONS = 6
"""Directions that fit in one panel; of more modalities it shows those from and to the id."""
FAILURE_STYLE: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7, "wrap": True}

Panel = tuple[str, list[tuple[str, str]]]
"""Label of the axis, and quantities with their names in the legend."""


class StrengthsConfig(ExperimentConfig):
    """Options of ``crossrec strengths``."""

    backbones: tuple[str, ...] = Field(default=("freedom",), min_length=1)
    """Backbones to train."""
    alignments: tuple[str, ...] = Field(default=("none", "fettle", "cross"), min_length=1)
    """Alignments to watch; of the backbone alone (none), the directions that the dynamic rule would take."""


def cells(options: StrengthsConfig, shared: SharedSettings) -> list[Cell]:
    """One run per backbone, alignment and seed that records strengths: other runs than those that do not."""
    training = shared.training.model_copy(update={"record_strengths": True})
    recording = SharedSettings(shared.data, training, shared.model_settings)
    return method_cells(options, recording, {name: (name, {}) for name in options.alignments})


class StrengthHistory:
    """The records of one method's runs: a value per seed, for every epoch that all of them have.

    Shares of items are in %. ``failure``: why there are no records. ``rule``: the alignment's rule of directions; of a
    backbone alone, the rule that CROSS would use.
    """

    def __init__(self, method: MethodRuns) -> None:
        self.backbone, self.alignment = method.backbone, method.name
        records = [_read_history(result) for result in method.results]
        self.failure = next((record for record in records if isinstance(record, str)), "")
        self.runs = [] if self.failure else cast(list[list[dict[str, float]]], records)
        self.epochs = min(map(len, self.runs), default=0)
        columns = list(self.runs[0][0]) if self.epochs else []
        self.modalities = [column.removeprefix("mean ") for column in columns if column.startswith("mean ")]
        self.pairs = list(combinations(self.modalities, 2))
        self._columns = set(columns)
        config = method.results[0].cell.config.alignment
        self.rule = (config if isinstance(config, CrossConfig) else CrossConfig()).direction

    @property
    def title(self) -> str:
        return f"{self.backbone} alone" if self.alignment == PLAIN else f"{self.backbone} + {self.alignment}"

    def has(self, quantity: str) -> bool:
        """Whether a quantity was recorded. A model without content vectors records those of the id alone."""
        return quantity in self._columns

    def at(self, epoch: int, quantity: str) -> SeedValues:
        """A quantity after an epoch, counted from 1; "–" where there was no such epoch."""
        if not 1 <= epoch <= self.epochs:
            return "–"
        return seed_values([run[epoch - 1][quantity] for run in self.runs])

    def every_epoch(self, quantity: str) -> list[SeedValues]:
        """A quantity after every epoch."""
        return [self.at(epoch, quantity) for epoch in range(1, self.epochs + 1)]

    def mean(self, epoch: int, quantity: str) -> float:
        """The mean over seeds after an epoch."""
        return fmean(run[epoch - 1][quantity] for run in self.runs)


def _read_history(result: Result) -> list[dict[str, float]] | str:
    """The rows of a run's file, or why there are none."""
    if result.metrics is None:
        return result.failure
    path = result.folder / STRENGTHS_FILE
    problem = "empty"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{name: float(value) * _scale(name) for name, value in row.items()} for row in csv.DictReader(file)]
        if rows:
            return rows
    except OSError as error:
        problem = str(error.strerror)
    except (TypeError, ValueError):
        problem = "damaged"
    return f"failed: {path}: {problem}; delete the folder, and it is trained again"


def _scale(quantity: str) -> float:
    """100 for shares of items, which are shown in %."""
    return 1 if quantity.startswith(("mean ", "variance ")) else 100


def _strengths_table(data: str, histories: Sequence[StrengthHistory], seeds: Sequence[int]) -> ResultTable:
    """A row per modality: mean, variance, and how often it is the strongest, at some epochs."""
    columns = [Column("model", "left"), Column("modality", "left"), Column("epochs")]
    for group, format in (("mean", ".3f"), ("variance", ".4f"), ("strongest %", ".1f")):
        columns += [Column(epoch, format=format, group=group) for epoch in ("first", f"epoch {EARLY}", "last")]
    names, blocks = ("mean", "variance", "strongest"), []
    for history in histories:
        epochs = (1, EARLY, history.epochs)
        blocks.append(_failure_row(history, columns))
        for modality in history.modalities:
            cells = [history.at(epoch, f"{name} {modality}") for name in names for epoch in epochs]
            blocks[-1].append([history.title, modality, history.epochs, *cells])
    notes = (
        "Strength s of a modality: mean cosine of an item's vector and the users of its training pairs (Eq. 1), on the "
        f"scale of --strength-scale if given; mean and variance over items{seeds_note(seeds)}. Strongest: share of "
        "items whose strongest modality it is.",
        "epochs: those that every seed's run has; the last of them is the last shown.",
    )
    return ResultTable(f"{data}: strength of modalities", columns, join_blocks(blocks), notes)


def _directions_table(data: str, histories: Sequence[StrengthHistory], seeds: Sequence[int]) -> ResultTable:
    """A row per pair of modalities: shares of items aligned either way and both ways, at the first and last epoch."""
    columns = [Column("model", "left"), *(Column(head, "left") for head in ("rule", "one", "other"))]
    for group in ("first epoch", "last epoch"):
        columns += [Column(head, format=".1f", group=group) for head in ("one to other", "other to one", "both")]
    blocks = []
    for history in histories:
        blocks.append(_failure_row(history, columns))
        for m, n in history.pairs:
            names, epochs = (f"{m}->{n}", f"{n}->{m}", f"{m}<->{n}"), (1, history.epochs)
            cells = [history.at(epoch, name) for epoch in epochs for name in names]
            blocks[-1].append([history.title, history.rule.replace("_", "-"), m, n, *cells])
    notes = (
        f"Items with training interactions that support a direction, in %{seeds_note(seeds)}. Nothing is aligned in a "
        "backbone alone: there it is what the dynamic rule would do.",
    )
    return ResultTable(f"{data}: directions of alignment", columns, join_blocks(blocks), notes)


def _failure_row(history: StrengthHistory, columns: Sequence[Column]) -> list[Sequence[CellValue]]:
    """The failure of a model that has no history; nothing for the others."""
    return [[history.title, history.failure, *[None] * (len(columns) - 2)]] if history.failure else []


def _strengths_figure(data: str, histories: Sequence[StrengthHistory], seeds: Sequence[int]) -> ResultFigure:
    """Figure 2(a) and (b), a row of panels per alignment."""
    modalities = list(dict.fromkeys(m for history in histories for m in history.modalities))
    panels: list[Panel] = [
        ("mean strength", [(f"mean {m}", m) for m in modalities]),
        ("variance of strength", [(f"variance {m}", m) for m in modalities]),
    ]
    caption = (
        f"{data}: mean and variance over items of the strength of each modality, after every epoch{seeds_note(seeds)}."
    )
    title = "Strength of modalities"
    return _epochs_figure(title, caption, f"{data}: strength by epoch", histories, panels, percent=False)


def _directions_figure(data: str, histories: Sequence[StrengthHistory], seeds: Sequence[int]) -> ResultFigure:
    """Shares of items aligned each way and both ways, a row of panels per alignment."""
    pairs = list(dict.fromkeys(pair for history in histories for pair in history.pairs))
    directions = [direction for m, n in pairs for direction in ((m, n), (n, m))]
    if len(directions) > MAX_DIRECTIONS:
        directions = [direction for direction in directions if ID in direction]
    panels: list[Panel] = [
        ("items aligned, in %", [(f"{m}->{n}", f"{m} → {n}") for m, n in directions]),
        ("items aligned both ways, in %", [(f"{m}<->{n}", f"{m} ↔ {n}") for m, n in pairs]),
    ]
    caption = (
        f"{data}: share of items that support each direction of alignment, and both of a pair, after every epoch"
        f"{seeds_note(seeds)}. Of a backbone alone: what the dynamic rule would do."
    )
    title = "Directions of alignment"
    return _epochs_figure(title, caption, f"{data}: directions by epoch", histories, panels, percent=True)


def _epochs_figure(
    title: str,
    caption: str,
    table_title: str,
    histories: Sequence[StrengthHistory],
    panels: Sequence[Panel],
    *,
    percent: bool,
) -> ResultFigure:
    """Curves over epochs: a row per alignment, a column per panel. The row of a failed model shows the failure."""
    quantities = [quantity for _, curves in panels for quantity, _ in curves]
    rows: list[Sequence[CellValue]] = []
    for history in histories:
        epochs = range(1, history.epochs + 1)
        columns = [history.every_epoch(q) if history.has(q) else ["–"] * len(epochs) for q in quantities]
        rows += [[history.backbone, history.alignment, *values] for values in zip(epochs, *columns, strict=True)]
    heads = [Column("backbone", "left"), Column("alignment", "left"), Column("epoch"), *map(Column, quantities)]

    def draw(figure: Figure) -> None:
        axes = figure.subplots(len(histories), len(panels), squeeze=False, sharey="col")
        for y, history in enumerate(histories):
            for x, (label, curves) in enumerate(panels):
                for number, (quantity, name) in enumerate(curves):
                    values = history.every_epoch(quantity) if history.has(quantity) else []
                    plot_band(axes[y][x], range(1, len(values) + 1), values, number, literal(name))
                if history.failure:
                    axes[y][x].text(0.5, 0.5, literal(history.failure), transform=axes[y][x].transAxes, **FAILURE_STYLE)
                axes[y][x].set_ylabel(label)
            axes[y][0].set_title(history.title, loc="left", fontsize=9, fontweight="bold")
        for axis in axes[-1]:
            if percent:
                axis.set_ylim(bottom=0)  # of the whole column, once its lines have set the upper limit
            axis.set_xlabel("epoch")
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=3, fontsize=8)

    height = 1.0 + 2.0 * len(histories)
    return ResultFigure(title, caption, ResultTable(table_title, heads, rows), draw, (7.0, height))


def _findings(history: StrengthHistory) -> list[str]:
    """Strengths at the first and last epoch, the claims of Section 4.1 on them, and the share of mutual alignment."""
    title, last = history.title, history.epochs
    if history.failure:
        return [f"{title}: nothing can be said, as a run is missing ({history.failure})."]
    if last == 1:
        return [f"{title}: one epoch says nothing of how strengths go on.", *_direction_findings(history)]
    first_means, last_means = ({m: history.mean(e, f"mean {m}") for m in history.modalities} for e in (1, last))
    moved = f"from {_join_values(first_means)} to {_join_values(last_means)}"
    sentences = [f"{title}: between epochs 1 and {last} the mean strength goes {moved}."]
    if len(history.modalities) > 1:
        first_gap, last_gap = _gap(first_means), _gap(last_means)
        detail = f"highest less lowest: {first_gap:.3f} after epoch 1, {last_gap:.3f} after the last"
        claim = "strengths lie closer together at first than later"
        sentences.append(judge_claim(title, claim, first_gap < last_gap, detail))
        strongest = max(last_means, key=last_means.__getitem__)
        detail = "" if strongest == ID else f"it is {strongest}"
        claim = "the id is the strongest modality in the end"
        sentences.append(judge_claim(title, claim, strongest == ID, detail))
    variances = {m: [history.mean(e, f"variance {m}") for e in (1, last)] for m in history.modalities}
    falls = all(new < old for old, new in variances.values())
    detail = ", ".join(f"{m} {old:.2g} → {new:.2g}" for m, (old, new) in variances.items())
    sentences.append(judge_claim(title, "the variance of strengths falls as training goes on", falls, detail))
    return sentences + _direction_findings(history)


def _direction_findings(history: StrengthHistory) -> list[str]:
    both_ways = [f"{m}<->{n}" for m, n in history.pairs]
    if not both_ways:
        return []
    first, last = (fmean(history.mean(epoch, name) for name in both_ways) for epoch in (1, history.epochs))
    aligned = "would be aligned" if history.alignment == PLAIN else "are aligned"
    sentences = [
        f"{history.title}: of items and pairs of modalities {first:.1f} % {aligned} both ways after epoch 1, "
        f"{last:.1f} % after epoch {history.epochs}, by the {history.rule.replace('_', '-')} rule."
    ]
    if history.rule == "dynamic" and last < 1:
        sentences.append(f"{history.title}: in the end the dynamic rule is all but the one-way rule.")
    return sentences


def _join_values(values: Mapping[str, float]) -> str:
    return join_words([f"{name} {value:.3f}" for name, value in values.items()])


def _gap(values: Mapping[str, float]) -> float:
    return max(values.values()) - min(values.values())


def result(
    options: StrengthsConfig, shared: SharedSettings, runs: Sequence[Result], datasets: Mapping[DataConfig, Dataset]
) -> ExperimentResult:
    """Strengths and directions at the first and last epochs, and over all epochs in two figures per backbone."""
    data = next(iter(datasets.values())).name
    blocks = [[StrengthHistory(method) for method in block] for block in method_blocks(runs)]
    histories = [history for block in blocks for history in block]
    figures = {}
    for block in blocks:
        suffix = f"-{block[0].backbone}" if len(blocks) > 1 else ""
        figures[f"strengths{suffix}-figure"] = _strengths_figure(data, block, options.seeds)
        if any(history.pairs for history in block):
            aligned = [history for history in block if history.pairs or history.failure]
            figures[f"strengths-directions{suffix}-figure"] = _directions_figure(data, aligned, options.seeds)
    return ExperimentResult(
        "How well does each modality predict feedback as training goes on, and which way are items aligned by it?",
        [finding for history in histories for finding in _findings(history)],
        {
            "strengths": _strengths_table(data, histories, options.seeds),
            "strengths-directions": _directions_table(data, histories, options.seeds),
        },
        figures,
    )


EXPERIMENT = Experiment(StrengthsConfig, cells, result)
