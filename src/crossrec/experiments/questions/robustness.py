"""RQ4: how robust are methods to missing content and false clicks? Rising shares of both (Fig. 8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from crossrec.backbones import BACKBONES
from crossrec.data import DataConfig, Dataset
from crossrec.data.config import Share
from crossrec.errors import ConfigError
from crossrec.experiments.analysis import wording
from crossrec.experiments.analysis.comparison import (
    PLAIN,
    comparison_cells,
    comparison_columns,
    headline_metric,
    runs_by_group,
    shown_metrics,
)
from crossrec.experiments.analysis.seed_values import (
    SeedValues,
    average_by_seed,
    finite,
    is_higher,
    metric_values,
    percent_change,
    table_cell,
)
from crossrec.experiments.analysis.significance_tables import Pair, PairedTests, compare_pairs, versus
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings
from crossrec.experiments.reporting.figures import legend_below, plot_curve
from crossrec.experiments.reporting.result import ExperimentResult, ResultFigure
from crossrec.experiments.reporting.tables import RULE, CellValue, Column, ResultTable, join_blocks
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.runs.config import RunConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Method = Literal["none", "ila", "ilda", "fettle", "cross"]
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "none": ("none", {}),
    "ila": ("fettle", {"terms": ("item",)}),
    "ilda": ("cross", {"terms": ("item",)}),
    "fettle": ("fettle", {}),
    "cross": ("cross", {}),
}
"""Name → alignment and its changed settings: ILA and ILDA are the item level (Eq. 4) alone."""
NAMES = {"none": "backbone alone", "ila": "ILA", "ilda": "ILDA", "fettle": "FETTLE", "cross": "CROSS"}
RIVALS = {"missing": ("ila", "ilda"), "clicks": ("fettle", "cross")}
"""The method of FETTLE and that of CROSS that the paper compares, by kind of noise."""
METRIC = "recall@10"
"""The metric of Figure 8, unless others are named."""


class RobustnessConfig(ExperimentConfig):
    """Options of ``crossrec robustness``."""

    backbones: tuple[str, ...] = Field(default=("freedom",), min_length=1)
    """Backbones to train."""
    missing: tuple[Share, ...] = (0.0, 0.2, 0.4, 0.6, 0.8)
    """Shares of items whose features become noise, in each modality apart; --empty-missing for no such runs."""
    missing_methods: tuple[Method, ...] = Field(default=("none", "ila", "ilda"), min_length=1)
    """Methods to train with missing content; ila and ilda are the item level of FETTLE and CROSS alone."""
    clicks: tuple[Share, ...] = (0.0, 0.05, 0.1, 0.15, 0.2)
    """False clicks as shares of the training interactions; --empty-clicks for no such runs."""
    clicks_methods: tuple[Method, ...] = Field(default=("none", "fettle", "cross"), min_length=1)
    """Methods to train with false clicks."""
    redraw: bool = False
    """Draw the noise anew for every seed; else all seeds train on the same noise, that of --corruption-seed."""


@dataclass(frozen=True)
class Noise:
    """A kind of noise: its setting of the data, its name in titles, and its axis in figures."""

    setting: str
    title: str
    axis: str


KINDS = {
    "missing": Noise("missing_content", "missing content", "items whose feature is noise (%)"),
    "clicks": Noise("false_clicks", "false clicks", "false clicks (% of the training interactions)"),
}


def cells(options: RobustnessConfig, shared: SharedSettings) -> list[Cell]:
    """One cell per kind of noise, backbone, share, method and seed. Raises ConfigError without any share."""
    if not options.missing and not options.clicks:
        raise ConfigError("--empty-missing --empty-clicks: nothing is asked; give shares for one of them")
    plan = {"missing": (options.missing, options.missing_methods), "clicks": (options.clicks, options.clicks_methods)}
    return [
        Cell(
            _run_config(options, shared, kind, backbone, share, method, seed),
            group=(kind, backbone, percent(share), method),
        )
        for kind, (shares, methods) in plan.items()
        for backbone in options.backbones
        for share in sorted(shares)
        for method in methods
        for seed in options.seeds
    ]


def percent(share: float) -> str:
    """20 % for 0.2."""
    return f"{100 * share:g} %"


def _run_config(
    options: RobustnessConfig, shared: SharedSettings, kind: str, backbone: str, share: float, method: str, seed: int
) -> RunConfig:
    """A run under noise. Missing content does not reach a backbone alone that reads none: its run is the clean one."""
    alignment, settings = METHODS[method]
    clean = shared.run_config(backbone, alignment, seed, alignment_settings=settings)
    if kind == "missing" and clean.alignment is None and not BACKBONES[backbone].multimodal:
        share = 0.0
    return clean.model_copy(update={"data": _noisy_data(options, shared, kind, share, seed)})


def _noisy_data(options: RobustnessConfig, shared: SharedSettings, kind: str, share: float, seed: int) -> DataConfig:
    """The data with a share of noise. A share of 0 gives the configuration without noise, for the same cells."""
    noise = {KINDS[kind].setting: share or None}
    corruption = {setting: getattr(shared.data, setting) for setting in ("missing_content", "false_clicks")} | noise
    noise_seed = seed if options.redraw else shared.data.corruption_seed
    return shared.data.model_copy(update=noise | {"corruption_seed": noise_seed if any(corruption.values()) else None})


class NoiseRuns:
    """The runs under one kind of noise on one backbone, by share and method."""

    def __init__(self, kind: str, backbone: str, runs: Sequence[Result]) -> None:
        self.kind, self.backbone = kind, backbone
        self.by_share_and_method = {
            (share, method): of_group
            for (run_kind, run_backbone, share, method), of_group in runs_by_group(runs).items()
            if (run_kind, run_backbone) == (kind, backbone)
        }
        self.metric = headline_metric(runs, METRIC)
        self.shares = list(dict.fromkeys(share for share, _ in self.by_share_and_method))
        self.methods = list(dict.fromkeys(method for _, method in self.by_share_and_method))
        self.noisy_shares = [share for share in self.shares if share != percent(0)]

    def values(self, share: str, method: str, metric: str | None = None) -> SeedValues:
        return metric_values(self.by_share_and_method[share, method], "test", metric or self.metric)

    def average(self, method: str, metric: str | None = None) -> SeedValues:
        """The average over the shares above 0, seed by seed."""
        return average_by_seed([self.values(share, method, metric) for share in self.noisy_shares])

    def retained(self, share: str, method: str) -> float | str:
        """``metric`` in % of the method's own without noise; "–" where that was not trained."""
        if percent(0) not in self.shares:
            return "–"
        change = percent_change(self.values(share, method), self.values(percent(0), method))
        return change if isinstance(change, str) else 100 + change

    def test_labels(self, share: str, new: str, base: str) -> tuple[str, str, str]:
        return self.backbone, share, versus(NAMES[new], NAMES[base])

    def test_pairs(self) -> Iterator[Pair]:
        """At every share: every method against the first, and CROSS's method against FETTLE's."""
        pairs = [(method, self.methods[0]) for method in self.methods[1:]]
        weaker, stronger = RIVALS[self.kind]
        pairs += [(stronger, weaker)] if {weaker, stronger} <= set(self.methods) else []
        for share in self.shares:
            for new, base in dict.fromkeys(pairs):
                runs = self.by_share_and_method
                yield self.test_labels(share, new, base), runs[share, new], runs[share, base]


def _table(kind: str, blocks: Sequence[NoiseRuns], data: str, options: RobustnessConfig) -> ResultTable:
    rows, kept = join_blocks(map(_rows, blocks)), f"{wording.short_metric(blocks[0].metric)} kept"
    drawn = "drawn anew for every seed" if options.redraw else "the same for every seed"
    notes = (
        f"Test metrics{wording.seeds_note(options.seeds)}. Noise is {drawn}; validation and test pairs are as they "
        "were.",
        "Δ: change of the mean against the first row of the block, in %. "
        + f"{kept}: in % of the method's own without noise.",
    )
    head = comparison_columns(next(iter(blocks[0].by_share_and_method.values())))
    columns = [Column("model", "left"), Column("noise"), *head, Column(kept, format=".1f")]
    return ResultTable(f"{data}: {KINDS[kind].title}", columns, rows, notes)


def _rows(block: NoiseRuns) -> list[Sequence[CellValue]]:
    """A block of rows per share and, with several above 0, one of averages over these."""
    rows: list[Sequence[CellValue]] = []
    labels = {m: block.backbone if m == PLAIN else f"  + {NAMES[m]}" for m in block.methods}
    first = block.methods[0]
    for share in block.shares:
        for method, label in labels.items():
            baseline = None if method == first else block.by_share_and_method[share, first]
            cells = comparison_cells(block.by_share_and_method[share, method], baseline)
            rows.append([label, share, *cells, block.retained(share, method)])
        rows.append(RULE)
    if len(block.noisy_shares) < 2:
        return rows[:-1]
    shown = shown_metrics(next(iter(block.by_share_and_method.values())))
    plain = [block.average(first, metric) for metric in shown]
    for method, label in labels.items():
        values = [block.average(method, metric) for metric in shown]
        if isinstance(values[0], str):
            cells = [table_cell(values[0]), *[None] * (2 * len(shown) + 2)]
        else:
            changes = ["" if method == first else percent_change(a, b) for a, b in zip(values, plain, strict=True)]
            cells = [*values, *changes, "", "", ""]
        rows.append([label, "average > 0 %", *cells])
    return rows


def _figure(kind: str, blocks: Sequence[NoiseRuns], data: str, seeds: Sequence[int]) -> ResultFigure:
    """A line per method over the shares, a panel per backbone."""
    metric = blocks[0].metric
    rows: list[Sequence[CellValue]] = [
        [block.backbone, method, float(share.removesuffix(" %")), table_cell(block.values(share, method))]
        for block in blocks
        for method in block.methods
        for share in block.shares
    ]
    columns = [Column("backbone", "left"), Column("method", "left"), Column("noise in %", format="g"), Column(metric)]
    numbers = ResultTable(f"{data}: {KINDS[kind].title}", columns, rows)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(blocks), squeeze=False)[0]
        for axes, block in zip(panels, blocks, strict=True):
            for number, method in enumerate(block.methods):
                line = [row for row in rows if row[:2] == [block.backbone, method]]
                x = [float(row[2]) for row in line if isinstance(row[2], float)]
                plot_curve(
                    axes,
                    x,
                    [row[3] for row in line],
                    list(METHODS).index(method),
                    NAMES[method] if method == PLAIN else f"+ {NAMES[method]}",
                    offset=number - (len(block.methods) - 1) / 2,
                )
                axes.set_xticks(x)
            axes.set_title(block.backbone, fontsize=9)
            axes.set_xlabel(KINDS[kind].axis)
            axes.set_ylabel(wording.metric_label(metric))
        legend_below(figure, panels[0].get_legend_handles_labels()[0])

    caption = f"{data}: {KINDS[kind].title}. Test {wording.metric_label(metric)}{wording.seeds_note(seeds)}"
    caption += ", by the share of noise in training."
    return ResultFigure(KINDS[kind].title.capitalize(), caption, numbers, draw, (1.2 + 3.0 * len(blocks), 3.0))


def _findings(block: NoiseRuns, tests: PairedTests) -> list[str]:
    """Change and retained share of every method, and the claims of Section 7.5 on the methods that were trained."""
    if not block.noisy_shares:
        return []
    subject, label = f"{block.backbone}, {KINDS[block.kind].title}", wording.metric_label(block.metric)
    first, lowest, highest = block.methods[0], block.noisy_shares[0], block.noisy_shares[-1]
    shares = f"average of {lowest} … {highest}" if len(block.noisy_shares) > 1 else f"at {highest}"
    baseline = "the backbone alone" if first == PLAIN else NAMES[first]
    sentences = [
        f"{subject}, {shares}: {label} of {NAMES[method]} against {baseline}: "
        f"{wording.describe_change(block.average(method), block.average(first))}."
        for method in block.methods[1:]
    ]
    retained = {method: finite(block.retained(highest, method)) for method in block.methods}
    percents = [f"{NAMES[method]} {value:.1f} %" for method, value in retained.items() if value is not None]
    if percents:
        sentences.append(f"{subject}: of the {label} without noise, this is left at {highest}: {', '.join(percents)}.")
    return sentences + _claims(subject, block, tests)


def _claims(subject: str, block: NoiseRuns, tests: PairedTests) -> list[str]:
    weaker, stronger = RIVALS[block.kind]
    sentences = []
    for method in (weaker, stronger):
        if {PLAIN, method} <= set(block.methods):
            claim = f"{NAMES[method]} is above the backbone at every share"
            higher = {s: is_higher(block.values(s, method), block.values(s, PLAIN)) for s in block.noisy_shares}
            verdicts = [tests.verdict(*block.test_labels(share, method, PLAIN)) for share in block.noisy_shares]
            sentences.append(
                wording.judge_all(subject, claim, higher, verdicts, exceptions="not at {}", join=", ".join)
            )
    if {weaker, stronger} <= set(block.methods):
        new, old = block.average(stronger), block.average(weaker)
        claim = f"{NAMES[stronger]} is above {NAMES[weaker]} on average"
        verdicts = [tests.verdict(*block.test_labels(share, stronger, weaker)) for share in block.noisy_shares]
        change = wording.describe_change(new, old)
        sentences.append(wording.judge_claim(subject, claim, is_higher(new, old), change, verdicts))
    return sentences


def result(
    options: RobustnessConfig, shared: SharedSettings, runs: Sequence[Result], datasets: Mapping[DataConfig, Dataset]
) -> ExperimentResult:
    """A table with paired tests and a figure per kind of noise, and the paper's claims on it."""
    data = next(iter(datasets.values())).name
    tables, figures, findings = {}, {}, []
    for kind, noise in KINDS.items():
        blocks = [NoiseRuns(kind, backbone, runs) for backbone in options.backbones]
        if any(block.methods for block in blocks):
            tests = compare_pairs((pair for block in blocks for pair in block.test_pairs()), datasets, blocks[0].metric)
            title = f"{data}, {noise.title}: is it chance? {wording.metric_label(blocks[0].metric)}"
            tables[f"robustness-{kind}"] = _table(kind, blocks, data, options)
            tables[f"robustness-{kind}-tests"] = tests.table(title, ("backbone", "noise", "compared"))
            figures[f"robustness-{kind}-figure"] = _figure(kind, blocks, data, options.seeds)
            findings += [finding for block in blocks for finding in _findings(block, tests)]
    question = "Who keeps recommending well when features are missing or clicks are false?"
    return ExperimentResult(question, findings, tables, figures)


EXPERIMENT = Experiment(RobustnessConfig, cells, result)
