"""RQ7: how much do CROSS's settings matter? One at a time over a range, all others as they are (Fig. 11)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from crossrec.alignment.config import Temperature, Weight
from crossrec.config import Neighbors
from crossrec.data import DataConfig, Dataset
from crossrec.errors import ConfigError
from crossrec.experiments.analysis import wording
from crossrec.experiments.analysis.comparison import (
    PLAIN,
    comparison_cells,
    comparison_columns,
    headline_metric,
    runs_by_group,
)
from crossrec.experiments.analysis.seed_values import SeedValues, is_higher, mean_over_seeds, metric_values, table_cell
from crossrec.experiments.analysis.significance_tables import Pair, PairedTests, compare_pairs
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings
from crossrec.experiments.reporting.figures import COLOURS, legend_below, means_and_deviations, plot_curve
from crossrec.experiments.reporting.result import ExperimentResult, ResultFigure
from crossrec.experiments.reporting.tables import RULE, CellValue, Column, ResultTable
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.runs.directory import learnt_temperatures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Parameter = Literal["alpha", "beta", "gamma", "lambda_f", "lambda_c", "lambda_n", "neighbors"]
SYMBOLS = {
    **{"alpha": "α", "beta": "β", "gamma": "γ"},
    **{"lambda_f": "λ_f", "lambda_c": "λ_c", "lambda_n": "λ_n", "neighbors": "K"},
}
LEARNABLE = ("lambda_f", "lambda_c")
"""Temperatures that CROSS can learn."""
LOGARITHMIC = ("alpha", "beta", "gamma", "lambda_n")
"""Parameters with a logarithmic axis in the figure; the others have a linear one."""
WEIGHTS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
METRIC = "recall@10"
"""The metric of Figure 11, unless others are named."""
AS_SET_GROUP = "cross"
"""Group of the cells with CROSS as the settings have it."""
ALONE, AS_SET = "backbone alone", "as set"
"""Labels of the two baselines that every value is compared with."""
PANELS_PER_ROW, MAX_TICKS = 4, 6
"""MAX_TICKS: up to so many values, each has a tick."""


class SensitivityConfig(ExperimentConfig):
    """Options of ``crossrec sensitivity``."""

    backbones: tuple[str, ...] = Field(default=("freedom",), min_length=1)
    """Backbones to train."""
    parameters: tuple[Parameter, ...] = Field(default=tuple(SYMBOLS), min_length=1)  # type: ignore[arg-type]
    """Settings to vary, one at a time; neighbors is K."""
    alpha_values: tuple[Weight, ...] = Field(default=WEIGHTS, min_length=1)
    """Values of α, weight of the item level."""
    beta_values: tuple[Weight, ...] = Field(default=WEIGHTS, min_length=1)
    """Values of β, weight of the clusters."""
    gamma_values: tuple[Weight, ...] = Field(default=WEIGHTS, min_length=1)
    """Values of γ, weight of the neighbours."""
    lambda_f_values: tuple[Temperature, ...] = Field(default=(0.05, 0.1, 0.15, 0.2, 0.25), min_length=1)
    """Values of λ_f, temperature of the item level."""
    lambda_c_values: tuple[Temperature, ...] = Field(default=(0.1, 0.2, 0.3, 0.4, 0.5), min_length=1)
    """Values of λ_c, temperature of the clusters."""
    lambda_n_values: tuple[Temperature, ...] = Field(default=(0.2, 2.0, 20.0), min_length=1)
    """Values of λ_n, temperature of the neighbours."""
    neighbors_values: tuple[Neighbors, ...] = Field(default=(1, 3, 5, 10, 15), min_length=1)
    """Values of K, neighbours per item."""
    fixed_temperatures: bool = False
    """Keep λ_f and λ_c at the value that is tried; else it is where learning starts."""

    def values(self, parameter: str) -> tuple[float, ...]:
        """The values of a parameter, in ascending order."""
        return tuple(sorted(getattr(self, f"{parameter}_values")))


CLAIMED = {
    (name, value)
    for name in SYMBOLS
    for value in SensitivityConfig().values(name)
    if name != "lambda_n" and (name, value) not in (("beta", 0.1), ("gamma", 0.1))
}
"""Values at which the paper finds CROSS above the backbone: all of its Figure 11 but the largest β and γ."""


def cells(options: SensitivityConfig, shared: SharedSettings) -> list[Cell]:
    """Per backbone and seed: the backbone alone, CROSS as it is set, and CROSS with each value of each parameter.

    Raises ConfigError for values of a parameter that is not among those to vary.
    """
    for field in sorted(options.model_fields_set):
        parameter = field.removesuffix("_values")
        if parameter in SYMBOLS and parameter not in options.parameters:
            flag = field.replace("_", "-")
            raise ConfigError(f"--{flag}: {parameter} is not varied; add it to --parameters, or leave its values out")
    variants: list[tuple[str, str, dict[str, Any]]] = [(PLAIN, "", {}), (AS_SET_GROUP, "", {})]
    for parameter in options.parameters:
        fixed = {f"learn_{parameter}": False} if parameter in LEARNABLE and options.fixed_temperatures else {}
        variants += [(parameter, f"{value:g}", {parameter: value, **fixed}) for value in options.values(parameter)]
    return [
        Cell(
            shared.run_config(backbone, PLAIN if name == PLAIN else "cross", seed, alignment_settings=settings),
            group=(backbone, name, value),
        )
        for backbone in options.backbones
        for name, value, settings in variants
        for seed in options.seeds
    ]


class Sweep:
    """The runs on one backbone, by parameter and value. ``points``: every parameter with each of its values."""

    def __init__(self, backbone: str, options: SensitivityConfig, runs: Sequence[Result]) -> None:
        self.backbone, self.options, self.parameters = backbone, options, options.parameters
        self.points = [(parameter, value) for parameter in self.parameters for value in options.values(parameter)]
        self._runs = {group[1:]: of_group for group, of_group in runs_by_group(runs).items() if group[0] == backbone}
        self.metric = headline_metric(runs, METRIC)

    def runs(self, parameter: str, value: float | None = None) -> Sequence[Result]:
        """The runs with a value; of PLAIN and AS_SET_GROUP without one."""
        return self._runs[parameter, "" if value is None else f"{value:g}"]

    def recall(self, parameter: str, value: float | None = None) -> SeedValues:
        """``metric`` of ``runs``."""
        return metric_values(self.runs(parameter, value), "test", self.metric)

    def test_label(self, parameter: str, value: float) -> tuple[str, str]:
        """Labels of a value's tests. Runs that are those of CROSS as set are tested once, as such."""
        as_set = [run.folder for run in self.runs(AS_SET_GROUP)]
        if [run.folder for run in self.runs(parameter, value)] == as_set:
            return AS_SET_GROUP, ""
        return SYMBOLS[parameter], f"{value:g}"

    def test_pairs(self) -> Iterator[Pair]:
        """CROSS as set against the backbone alone, and every other value against both."""
        plain, as_set = self.runs(PLAIN), self.runs(AS_SET_GROUP)
        yield (AS_SET_GROUP, "", ALONE), as_set, plain
        for parameter, value in self.points:
            label, runs = self.test_label(parameter, value), self.runs(parameter, value)
            if label != (AS_SET_GROUP, ""):
                yield (*label, ALONE), runs, plain
                yield (*label, AS_SET), runs, as_set

    def value_as_set(self, parameter: str) -> float:
        """The value of a parameter in CROSS as set."""
        return float(getattr(self.runs(AS_SET_GROUP)[0].cell.config.alignment, parameter))

    def is_learnt(self, parameter: str) -> bool:
        """Whether a parameter is a temperature that is learnt from its value on, not kept there."""
        runs = self.runs(parameter, self.options.values(parameter)[0]) if parameter in LEARNABLE else []
        return any(getattr(run.cell.config.alignment, f"learn_{parameter}") for run in runs)

    def learnt_values(self, parameter: str, value: float) -> tuple[float, ...]:
        """The temperatures learnt from this value, one per run that recorded it."""
        ends = (learnt_temperatures(run.folder).get(parameter) for run in self.runs(parameter, value) if run.metrics)
        return tuple(end for end in ends if end is not None)


def _table(sweep: Sweep, data: str) -> ResultTable:
    """The backbone alone and CROSS as set, then a block of rows per parameter."""
    plain, learnt = sweep.runs(PLAIN), [name for name in sweep.parameters if sweep.is_learnt(name)]
    blank: list[CellValue] = [""] if learnt else []
    rows: list[Sequence[CellValue]] = [
        [sweep.backbone, "", *comparison_cells(plain, None), *blank],
        ["  + cross", AS_SET, *comparison_cells(sweep.runs(AS_SET_GROUP), plain), *blank],
    ]
    for parameter in sweep.parameters:
        rows.append(RULE)
        for value in sweep.options.values(parameter):
            ends = [sweep.learnt_values(parameter, value) or "–"] if parameter in learnt else blank
            rows.append([SYMBOLS[parameter], value, *comparison_cells(sweep.runs(parameter, value), plain), *ends])
    as_set = ", ".join(f"{SYMBOLS[name]} {sweep.value_as_set(name):g}" for name in SYMBOLS)
    fixed = [name for name in sweep.parameters if name in LEARNABLE and name not in learnt]
    temperatures = "".join(
        f" {' and '.join(SYMBOLS[name] for name in names)}: {how}."
        for how, names in {"learnt, the value is where it starts": learnt, "kept at the value": fixed}.items()
        if names
    )
    notes = (
        f"Test metrics{wording.seeds_note(sweep.options.seeds)}. As set: {as_set}.{temperatures}",
        "Δ: change of the mean against the backbone alone, in %.",
    )
    columns = [Column("model", "left"), Column("value", format="g"), *comparison_columns(plain)]
    columns += [Column("learnt to")] if learnt else []
    return ResultTable(f"{data}: settings of CROSS on {sweep.backbone}, one at a time", columns, rows, notes)


def _figure(sweep: Sweep, data: str) -> ResultFigure:
    """A panel per parameter: the curve, the backbone alone as a line with a band, and the value as set."""
    parameters = sweep.parameters
    plain = table_cell(sweep.recall(PLAIN))
    rows: list[Sequence[CellValue]] = [[ALONE, "", plain], [AS_SET, "", table_cell(sweep.recall(AS_SET_GROUP))]]
    rows += [[SYMBOLS[name], value, table_cell(sweep.recall(name, value))] for name, value in sweep.points]
    columns = [Column("parameter", "left"), Column("value", format="g"), Column(sweep.metric)]
    numbers = ResultTable(f"{data}: settings of CROSS on {sweep.backbone}", columns, rows)
    width, height = min(PANELS_PER_ROW, len(parameters)), math.ceil(len(parameters) / PANELS_PER_ROW)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(height, width, squeeze=False, sharey=True)
        (mean,), (deviation,) = means_and_deviations([plain])
        for axes in panels.flat[len(parameters) :]:
            axes.set_visible(False)
        for axes, parameter in zip(panels.flat, parameters, strict=False):
            _plot_parameter(axes, sweep, parameter)
            axes.axhline(mean, color=COLOURS[0], linestyle="--", linewidth=1, label=ALONE, zorder=1)
            if not math.isnan(deviation):
                axes.axhspan(mean - deviation, mean + deviation, color=COLOURS[0], alpha=0.15, linewidth=0)
        for axes in panels[:, 0]:
            axes.set_ylabel(wording.metric_label(sweep.metric))
        legend_below(figure, panels[0][0].get_legend_handles_labels()[0])

    caption = (
        f"{data}, {sweep.backbone} with CROSS, one setting varied at a time (dotted: where it is otherwise). Test "
        f"{wording.metric_label(sweep.metric)}{wording.seeds_note(sweep.options.seeds)}; dashed: the backbone alone, "
        "its deviation as a band."
    )
    return ResultFigure("Settings of CROSS", caption, numbers, draw, (1.0 + 1.7 * width, 0.7 + 1.9 * height))


def _plot_parameter(axes: Axes, sweep: Sweep, parameter: str) -> None:
    values = sweep.options.values(parameter)
    plot_curve(axes, values, [table_cell(sweep.recall(parameter, value)) for value in values], 1, "with CROSS")
    if parameter in LOGARITHMIC and min(values) > 0:
        axes.set_xscale("log")
    elif parameter in LOGARITHMIC:  # shows a weight of 0 beside the powers
        axes.set_xscale("symlog", linthresh=min((value for value in values if value > 0), default=1.0))
    if len(values) <= MAX_TICKS:
        axes.set_xticks(values, _tick_labels(parameter, values), fontsize=7)
        axes.minorticks_off()
    axes.axvline(sweep.value_as_set(parameter), color="black", linestyle=":", linewidth=0.8, label=AS_SET)
    symbol = SYMBOLS[parameter]
    axes.set_xlabel(f"${symbol.replace('λ', chr(92) + 'lambda')}$" if "_" in symbol else symbol)


def _tick_labels(parameter: str, values: Sequence[float]) -> list[str]:
    """Powers of ten as such on a logarithmic axis where all values are powers, else the numbers."""
    if parameter in LOGARITHMIC and min(values) > 0:
        powers = [round(math.log10(value)) for value in values]
        if [10.0**power for power in powers] == list(values):
            return [f"$10^{{{power}}}$" for power in powers]
    return [f"{value:g}" for value in values]


def _findings(sweep: Sweep, tests: PairedTests) -> list[str]:
    """A sentence per parameter, and the claim of Section 7.8."""
    change = wording.describe_change(sweep.recall(AS_SET_GROUP), sweep.recall(PLAIN))
    sentences = [f"{sweep.backbone}: CROSS as set changes {wording.metric_label(sweep.metric)} by {change}."]
    sentences += filter(None, (_parameter_sentence(sweep, parameter, tests) for parameter in sweep.parameters))
    return sentences + _claims(sweep, tests)


def _parameter_sentence(sweep: Sweep, parameter: str, tests: PairedTests) -> str:
    """The range of the metric over a parameter; "" where it is not known."""
    values, as_set = sweep.options.values(parameter), mean_over_seeds(sweep.recall(AS_SET_GROUP))
    means = {value: mean_over_seeds(sweep.recall(parameter, value)) for value in values}
    recall = {value: mean for value, mean in means.items() if mean is not None}
    if not recall or not as_set:
        return ""
    low, high = min(recall, key=recall.__getitem__), max(recall, key=recall.__getitem__)
    above = sum(is_higher(sweep.recall(parameter, value), sweep.recall(PLAIN)) is True for value in values)
    return (
        f"{sweep.backbone}: {SYMBOLS[parameter]} from {values[0]:g} to {values[-1]:g} moves "
        f"{wording.metric_label(sweep.metric)} by "
        f"{100 * (recall[high] - recall[low]) / as_set:.1f} %, from {recall[low]:.4f} (at {low:g}) to "
        f"{recall[high]:.4f} (at {high:g}), above the backbone alone at {above} of "
        f"{len(values)} values.{_difference_sentence(sweep, parameter, tests)}{_learnt_sentence(sweep, parameter)}"
    )


def _difference_sentence(sweep: Sweep, parameter: str, tests: PairedTests) -> str:
    """The values whose tests differ from CROSS as set; "" where not all of them were tested."""
    labels = [sweep.test_label(parameter, value) for value in sweep.options.values(parameter)]
    verdicts = {label[1]: tests.verdict(*label, AS_SET) for label in labels if label != (AS_SET_GROUP, "")}
    if not verdicts or None in verdicts.values():
        return ""
    by_verdict = {v: [value for value in verdicts if verdicts[value] == v] for v in ("lower", "higher")}
    different = [f"{verdict} at {wording.join_words(values)}" for verdict, values in by_verdict.items() if values]
    if not different:
        return " No value differs from CROSS as set beyond chance."
    return f" Against CROSS as set it is {', '.join(different)}, beyond chance."


def _learnt_sentence(sweep: Sweep, parameter: str) -> str:
    """The range of the learnt temperatures; "" where the parameter is not learnt, or none was recorded."""
    values = sweep.options.values(parameter) if sweep.is_learnt(parameter) else ()
    ends = [end for value in values for end in sweep.learnt_values(parameter, value)]
    return f" It is learnt from there and ends between {min(ends):.4f} and {max(ends):.4f}." if ends else ""


def _claims(sweep: Sweep, tests: PairedTests) -> list[str]:
    plain, claimed = sweep.recall(PLAIN), [point for point in sweep.points if point in CLAIMED]
    if not claimed:
        return []
    claim = "CROSS is above the backbone alone at every value of Figure 11 but β and γ = 0.1"
    higher = {f"{SYMBOLS[name]} = {value:g}": is_higher(sweep.recall(name, value), plain) for name, value in claimed}
    verdicts = [tests.verdict(*sweep.test_label(name, value), ALONE) for name, value in claimed]
    return [wording.judge_all(sweep.backbone, claim, higher, verdicts, exceptions="not at {}", join=", ".join)]


def result(
    options: SensitivityConfig, shared: SharedSettings, runs: Sequence[Result], datasets: Mapping[DataConfig, Dataset]
) -> ExperimentResult:
    """A table with paired tests and a figure per backbone, and the paper's claim on its settings."""
    data = next(iter(datasets.values())).name
    tables, figures, findings = {}, {}, []
    for backbone in options.backbones:
        sweep = Sweep(backbone, options, runs)
        stem = f"sensitivity-{backbone}" if len(options.backbones) > 1 else "sensitivity"
        tests = compare_pairs(sweep.test_pairs(), datasets, sweep.metric)
        tables[stem], figures[f"{stem}-figure"] = _table(sweep, data), _figure(sweep, data)
        title = f"{data}: is it chance? {wording.metric_label(sweep.metric)} of CROSS on {backbone}"
        tables[f"{stem}-tests"] = tests.table(title, ("setting", "value", "compared with"))
        findings += _findings(sweep, tests)
    return ExperimentResult("How much does it matter how CROSS is set?", findings, tables, figures)


EXPERIMENT = Experiment(SensitivityConfig, cells, result)
