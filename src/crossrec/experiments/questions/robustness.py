"""RQ4: who is steady under missing content and false clicks? Rising shares of both, several methods (Fig. 8)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from crossrec.backbones import BACKBONES
from crossrec.data import DataConfig, Dataset
from crossrec.data.config import Share
from crossrec.errors import ConfigError
from crossrec.experiments.analysis.comparison import (
    COLUMNS,
    METRICS,
    PLAIN,
    Values,
    above,
    average,
    change,
    every,
    measured,
    named,
    rise,
    told,
    verdict,
)
from crossrec.experiments.analysis.significance_tables import Pair, paired_table, tested_pairs, verdicts, versus
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings, over_seeds, values_of
from crossrec.experiments.reporting.figures import legend_below, legend_handles, plot_curve
from crossrec.experiments.reporting.result import ExperimentResult, ResultFigure
from crossrec.experiments.reporting.tables import RULE, CellValue, Column, ResultTable
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.runs.config import RunConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

Method = Literal["none", "ila", "ilda", "fettle", "cross"]
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "none": ("none", {}),
    "ila": ("fettle", {"terms": ("item",)}),
    "ilda": ("cross", {"terms": ("item",)}),
    "fettle": ("fettle", {}),
    "cross": ("cross", {}),
}
"""Name → alignment and what is changed in its settings: ILA and ILDA are the item level (Eq. 4) alone."""
NAMES = {"none": "backbone alone", "ila": "ILA", "ilda": "ILDA", "fettle": "FETTLE", "cross": "CROSS"}
RIVALS = {"missing": ("ila", "ilda"), "clicks": ("fettle", "cross")}
"""The methods of FETTLE and of CROSS that the paper compares, by kind of noise."""
METRIC = "recall@10"
"""The metric of Figure 8."""


class RobustnessConfig(ExperimentConfig):
    """Which noise, how much, and who has to live with it."""

    backbones: tuple[str, ...] = Field(default=("freedom",), min_length=1)
    """Backbones to ask the question of."""
    missing: tuple[Share, ...] = (0.0, 0.2, 0.4, 0.6, 0.8)
    """Shares of items whose features become noise, in each modality apart; --empty-missing for no such runs."""
    missing_methods: tuple[Method, ...] = Field(default=("none", "ila", "ilda"), min_length=1)
    """Who lives with missing content; ila and ilda are the item level of FETTLE and CROSS alone."""
    clicks: tuple[Share, ...] = (0.0, 0.05, 0.1, 0.15, 0.2)
    """False clicks as shares of the training interactions; --empty-clicks for no such runs."""
    clicks_methods: tuple[Method, ...] = Field(default=("none", "fettle", "cross"), min_length=1)
    """Who lives with false clicks."""
    redraw: bool = False
    """Draw the noise anew for every seed; else all seeds train on the same noise, that of --corruption-seed."""


@dataclass(frozen=True)
class Noise:
    """A kind of noise: the setting of the data that makes it, and what it is called."""

    setting: str
    title: str
    axis: str


KINDS = {
    "missing": Noise("missing_content", "missing content", "items whose feature is noise (%)"),
    "clicks": Noise("false_clicks", "false clicks", "false clicks (% of the training interactions)"),
}


def cells(options: RobustnessConfig, shared: SharedSettings) -> list[Cell]:
    """One cell per kind of noise, backbone, share, method and seed. Raises ConfigError where no share is asked for."""
    asked = {"missing": (options.missing, options.missing_methods), "clicks": (options.clicks, options.clicks_methods)}
    if not options.missing and not options.clicks:
        raise ConfigError("--empty-missing --empty-clicks: nothing is asked; give shares for one of them")
    return [
        Cell(_config(options, shared, kind, backbone, share, method, seed), (kind, backbone, percent(share), method))
        for kind, (shares, methods) in asked.items()
        for backbone in options.backbones
        for share in sorted(shares)
        for method in methods
        for seed in options.seeds
    ]


def percent(share: float) -> str:
    """20 % for 0.2."""
    return f"{100 * share:g} %"


def _config(
    options: RobustnessConfig, shared: SharedSettings, kind: str, backbone: str, share: float, method: str, seed: int
) -> RunConfig:
    """A run under noise. A backbone alone that reads no content never meets what is missing of it: its run is clean."""
    alignment, changed = METHODS[method]
    clean = shared.run_config(backbone, alignment, seed, alignment_settings=changed)
    if kind == "missing" and clean.alignment is None and not BACKBONES[backbone].multimodal:
        share = 0.0
    return clean.model_copy(update={"data": _noisy(options, shared, kind, share, seed)})


def _noisy(options: RobustnessConfig, shared: SharedSettings, kind: str, share: float, seed: int) -> DataConfig:
    """The data with a share of noise. No noise is the very configuration that never heard of it."""
    noise = {KINDS[kind].setting: share or None}
    clean = {setting: getattr(shared.data, setting) for setting in ("missing_content", "false_clicks")} | noise
    drawn = seed if options.redraw else shared.data.corruption_seed
    return shared.data.model_copy(update=noise | {"corruption_seed": drawn if any(clean.values()) else None})


def result(
    options: RobustnessConfig, shared: SharedSettings, results: Sequence[Result], datasets: Mapping[DataConfig, Dataset]
) -> ExperimentResult:
    """A table and a figure per kind of noise, and what the paper says of it."""
    data = next(iter(datasets.values())).name
    tables, figures, findings = {}, {}, []
    for kind in KINDS:
        runs = [_Runs(kind, backbone, results) for backbone in options.backbones]
        if any(of_backbone.methods for of_backbone in runs):
            tests = tested_pairs((pair for of_backbone in runs for pair in of_backbone.pairs()), datasets, METRIC)
            title = f"{data}, {KINDS[kind].title}: is it chance? {named(METRIC)}"
            tables[f"robustness-{kind}"] = _table(kind, runs, data, options)
            tables[f"robustness-{kind}-tests"] = paired_table(title, ("backbone", "noise", "compared"), tests)
            figures[f"robustness-{kind}-figure"] = _figure(kind, runs, data, options.seeds)
            findings += [finding for of_backbone in runs for finding in of_backbone.findings(verdicts(tests))]
    question = "Who keeps recommending well when features are missing or clicks are false?"
    return ExperimentResult(question, findings, tables, figures)


class _Runs:
    """The results of one kind of noise on one backbone, by share and method."""

    def __init__(self, kind: str, backbone: str, results: Sequence[Result]) -> None:
        self.kind, self.backbone = kind, backbone
        own = [r for r in results if r.cell.group[:2] == (kind, backbone)]
        self.shares = list(dict.fromkeys(r.cell.group[2] for r in own))
        self.methods = list(dict.fromkeys(r.cell.group[3] for r in own))
        self.noisy = [share for share in self.shares if share != percent(0)]
        self.of = {
            (share, method): [r for r in own if r.cell.group[2:] == (share, method)]
            for share in self.shares
            for method in self.methods
        }

    def values(self, share: str, method: str, metric: str = METRIC) -> Values:
        return values_of(self.of[share, method], "test", metric)

    def average(self, method: str, metric: str = METRIC) -> Values:
        """Over the shares above 0, seed by seed."""
        return average([self.values(share, method, metric) for share in self.noisy])

    def kept(self, share: str, method: str) -> float | str:
        """METRIC in % of what the method has without noise; "–" where that is not known."""
        percentage = change(self.values(share, method), self.values(percent(0), method)) if self.clean else "–"
        return percentage if isinstance(percentage, str) else 100 + percentage

    @property
    def clean(self) -> bool:
        """Whether there are runs without noise to compare with."""
        return percent(0) in self.shares

    def rows(self) -> list[Sequence[CellValue]]:
        """A block per share and, of several above 0, one of averages."""
        rows: list[Sequence[CellValue]] = []
        for share in self.shares:
            first = self.of[share, self.methods[0]]
            for place, method in enumerate(self.methods):
                cells = measured(self.of[share, method], first if place else None)
                rows.append([self.label(method), share, *cells, self.kept(share, method)])
            rows.append(RULE)
        if len(self.noisy) < 2:
            return rows[:-1]
        for place, method in enumerate(self.methods):
            values = [self.average(method, metric) for metric in METRICS]
            plain = [self.average(self.methods[0], metric) for metric in METRICS]
            if isinstance(values[0], str):
                shown: list[CellValue] = [told(values[0]), *[None] * len(COLUMNS)]
            else:
                changes = [change(new, old) if place else "" for new, old in zip(values, plain, strict=True)]
                shown = [*values, *changes, "", "", ""]
            rows.append([self.label(method), "average > 0 %", *shown])
        return rows

    def label(self, method: str) -> str:
        """How a row is named."""
        return self.backbone if method == PLAIN else f"  + {NAMES[method]}"

    def pairs(self) -> Iterator[Pair]:
        """What is tested for chance: at every share every method against the first, and CROSS's against FETTLE's."""
        pairs = [(method, self.methods[0]) for method in self.methods[1:]]
        weaker, stronger = RIVALS[self.kind]
        pairs += [(stronger, weaker)] if {weaker, stronger} <= set(self.methods) else []
        for share in self.shares:
            for new, base in dict.fromkeys(pairs):
                yield self.labels(share, new, base), self.of[share, new], self.of[share, base]

    def labels(self, share: str, new: str, base: str) -> tuple[str, str, str]:
        """Of a test."""
        return self.backbone, share, versus(NAMES[new], NAMES[base])

    def findings(self, shown: Mapping[tuple[str, ...], str]) -> list[str]:
        """What became of each method, and the claims of Section 7.5 as far as the methods they are about were asked."""
        if not self.noisy:
            return []
        where, most, first = f"{self.backbone}, {KINDS[self.kind].title}", self.noisy[-1], self.methods[0]
        over = f"average of {self.noisy[0]} … {most}" if len(self.noisy) > 1 else f"at {most}"
        to = "the backbone alone" if first == PLAIN else NAMES[first]
        said = [
            f"{where}, {over}: Recall@10 of {NAMES[method]} against {to}: "
            f"{rise(self.average(method), self.average(first))}."
            for method in self.methods[1:]
        ]
        kept = {method: self.kept(most, method) for method in self.methods}
        known = [
            f"{NAMES[method]} {share:.1f} %"
            for method, share in kept.items()
            if isinstance(share, float) and math.isfinite(share)
        ]
        if known:
            said.append(f"{where}: of the Recall@10 without noise, this is left at {most}: {', '.join(known)}.")
        return said + self._verdicts(where, shown)

    def _verdicts(self, where: str, shown: Mapping[tuple[str, ...], str]) -> list[str]:
        weaker, stronger = RIVALS[self.kind]
        said = []
        for method in (weaker, stronger):
            if {PLAIN, method} <= set(self.methods):
                higher = {s: above(self.values(s, method), self.values(s, PLAIN)) for s in self.noisy}
                fallen = ", ".join(share for share, up in higher.items() if up is False)
                claim = f"{NAMES[method]} is above the backbone at every share"
                tested = [shown.get(self.labels(share, method, PLAIN)) for share in self.noisy]
                said.append(verdict(where, claim, every(higher.values()), f"not at {fallen}" if fallen else "", tested))
        if {weaker, stronger} <= set(self.methods):
            new, old = self.average(stronger), self.average(weaker)
            claim = f"{NAMES[stronger]} is above {NAMES[weaker]} on average"
            tested = [shown.get(self.labels(share, stronger, weaker)) for share in self.noisy]
            said.append(verdict(where, claim, above(new, old), rise(new, old), tested))
        return said


def _table(kind: str, runs: Sequence[_Runs], data: str, options: RobustnessConfig) -> ResultTable:
    rows: list[Sequence[CellValue]] = []
    for of_backbone in runs:
        rows += [RULE, *of_backbone.rows()] if rows else of_backbone.rows()
    drawn = "drawn anew for every seed" if options.redraw else "the same for every seed"
    notes = (
        f"Test metrics{over_seeds(options.seeds)}. Noise is {drawn}; validation and test pairs are as they were.",
        "Δ: change of the mean against the first row of the block, in %. R@10 kept: in % of the method's own without "
        "noise.",
    )
    columns = [Column("model", "left"), Column("noise"), *COLUMNS]
    return ResultTable(f"{data}: {KINDS[kind].title}", [*columns, Column("R@10 kept", format=".1f")], rows, notes)


def _figure(kind: str, runs: Sequence[_Runs], data: str, seeds: Sequence[int]) -> ResultFigure:
    """A line per method over the shares, a panel per backbone."""
    rows: list[Sequence[CellValue]] = []
    for of in runs:
        for method in of.methods:
            for share in of.shares:
                values = of.values(share, method)
                cell = told(values) if isinstance(values, str) else values
                rows.append([of.backbone, method, float(share.removesuffix(" %")), cell])
    columns = [Column("backbone", "left"), Column("method", "left"), Column("noise in %", format="g"), Column(METRIC)]
    shown = ResultTable(f"{data}: {KINDS[kind].title}", columns, rows)

    def draw(canvas: Canvas) -> None:
        panels = canvas.subplots(1, len(runs), squeeze=False)[0]
        for axes, of in zip(panels, runs, strict=True):
            for place, method in enumerate(of.methods):
                line = [row for row in rows if row[:2] == [of.backbone, method]]
                places = [float(row[2]) for row in line if isinstance(row[2], float)]
                plot_curve(
                    axes,
                    places,
                    [row[3] for row in line],
                    list(METHODS).index(method),
                    NAMES[method] if method == PLAIN else f"+ {NAMES[method]}",
                    offset=place - (len(of.methods) - 1) / 2,
                )
                axes.set_xticks(places)
            axes.set_title(of.backbone, fontsize=9)
            axes.set_xlabel(KINDS[kind].axis)
            axes.set_ylabel(named(METRIC))
        legend_below(canvas, legend_handles(panels[0]))

    caption = f"{data}: {KINDS[kind].title}. Test Recall@10{over_seeds(seeds)}, by the share of noise in training."
    return ResultFigure(KINDS[kind].title.capitalize(), caption, shown, draw, (1.2 + 3.0 * len(runs), 3.0))


EXPERIMENT = Experiment(RobustnessConfig, cells, result)
