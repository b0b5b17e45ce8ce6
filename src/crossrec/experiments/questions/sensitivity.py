"""RQ7: how much do CROSS's settings matter? One at a time over a range, all others as they are (Fig. 11)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from crossrec.alignment.config import Temperature, Weight
from crossrec.data import DataConfig, Dataset
from crossrec.errors import ConfigError
from crossrec.experiments.analysis.comparison import (
    COLUMNS,
    PLAIN,
    Values,
    above,
    every,
    listed,
    mean,
    measured,
    named,
    rise,
    told,
    verdict,
)
from crossrec.experiments.analysis.significance_tables import Pair, paired_table, tested_pairs, verdicts
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings, over_seeds, values_of
from crossrec.experiments.reporting.figures import (
    COLOURS,
    legend_below,
    legend_handles,
    means_and_deviations,
    plot_curve,
)
from crossrec.experiments.reporting.result import ExperimentResult, ResultFigure
from crossrec.experiments.reporting.tables import RULE, CellValue, Column, ResultTable
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.runs.directory import learnt_temperatures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Parameter = Literal["alpha", "beta", "gamma", "lambda_f", "lambda_c", "lambda_n", "neighbors"]
SYMBOLS = {
    **{"alpha": "α", "beta": "β", "gamma": "γ"},
    **{"lambda_f": "λ_f", "lambda_c": "λ_c", "lambda_n": "λ_n", "neighbors": "K"},
}
LOGARITHMIC = ("alpha", "beta", "gamma", "lambda_n")
"""What is swept over powers; the others have a linear axis."""
WEIGHTS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
METRIC = "recall@10"
"""The metric of Figure 11."""
SET = "cross"
"""Group of the runs at the base setting."""
ALONE, AS_SET = "backbone alone", "as set"
"""What CROSS with a value is compared with."""
ACROSS, MOST_TICKS = 4, 6
"""Panels in a row, and values that are all written at an axis."""


class SensitivityConfig(ExperimentConfig):
    """What to vary, over which values."""

    backbones: tuple[str, ...] = Field(default=("freedom",), min_length=1)
    """Backbones to ask the question of."""
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
    neighbors_values: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(1, 3, 5, 10, 15), min_length=1)
    """Values of K, neighbours per item."""
    fixed_temperatures: bool = False
    """Keep λ_f and λ_c at the value that is tried; else it is where learning starts."""

    def values(self, parameter: str) -> tuple[float, ...]:
        """What a parameter is set to, in ascending order."""
        return tuple(sorted(getattr(self, f"{parameter}_values")))


CLAIMED = {
    (name, value)
    for name in SYMBOLS
    for value in SensitivityConfig().values(name)
    if name != "lambda_n" and (name, value) not in (("beta", 0.1), ("gamma", 0.1))
}
"""Where the paper finds CROSS above the backbone: all of its Figure 11 but the largest β and γ."""


def cells(options: SensitivityConfig, shared: SharedSettings) -> list[Cell]:
    """Per backbone and seed: the backbone alone, CROSS as it is set, and CROSS with each value of each parameter.

    Raises ConfigError for values of a parameter that is not among those to vary.
    """
    for field in sorted(options.model_fields_set):
        parameter = field.removesuffix("_values")
        if parameter in SYMBOLS and parameter not in options.parameters:
            flag = field.replace("_", "-")
            raise ConfigError(f"--{flag}: {parameter} is not varied; add it to --parameters, or leave its values out")
    variants: list[tuple[str, str, dict[str, Any]]] = [(PLAIN, "", {}), (SET, "", {})]
    for parameter in options.parameters:
        fixed = {f"learn_{parameter}": False} if _learnable(parameter) and options.fixed_temperatures else {}
        variants += [(parameter, f"{value:g}", {parameter: value, **fixed}) for value in options.values(parameter)]
    return [
        Cell(
            shared.run_config(backbone, PLAIN if name == PLAIN else "cross", seed, alignment_settings=changed),
            group=(backbone, name, value),
        )
        for backbone in options.backbones
        for name, value, changed in variants
        for seed in options.seeds
    ]


def result(
    options: SensitivityConfig,
    shared: SharedSettings,
    results: Sequence[Result],
    datasets: Mapping[DataConfig, Dataset],
) -> ExperimentResult:
    """A table and a figure per backbone, and what the paper says of its settings."""
    data = next(iter(datasets.values())).name
    tables, figures, findings = {}, {}, []
    for backbone in options.backbones:
        sweep = _Sweep(backbone, options, [r for r in results if r.cell.group[0] == backbone])
        stem = f"sensitivity-{backbone}" if len(options.backbones) > 1 else "sensitivity"
        tests = tested_pairs(sweep.pairs(), datasets, METRIC)
        tables[stem], figures[f"{stem}-figure"] = sweep.table(data), sweep.figure(data)
        title = f"{data}: is it chance? {named(METRIC)} of CROSS on {backbone}"
        tables[f"{stem}-tests"] = paired_table(title, ("setting", "value", "compared with"), tests)
        findings += sweep.findings(verdicts(tests))
    return ExperimentResult("How much does it matter how CROSS is set?", findings, tables, figures)


def _learnable(parameter: str) -> bool:
    return parameter in ("lambda_f", "lambda_c")


@dataclass(frozen=True)
class _Sweep:
    """The results on one backbone."""

    backbone: str
    options: SensitivityConfig
    results: Sequence[Result]

    def runs(self, parameter: str, value: float | None = None) -> Sequence[Result]:
        group = (self.backbone, parameter, "" if value is None else f"{value:g}")
        return [r for r in self.results if r.cell.group == group]

    def metric(self, parameter: str, value: float | None = None) -> Values:
        return values_of(self.runs(parameter, value), "test", METRIC)

    def shown(self, parameter: str, value: float | None = None) -> CellValue:
        found = self.metric(parameter, value)
        return told(found) if isinstance(found, str) else found

    def pairs(self) -> Iterator[Pair]:
        """What is tested for chance: CROSS as it is set against the backbone alone, every other value against both."""
        plain, as_set = self.runs(PLAIN), self.runs(SET)
        yield (SET, "", ALONE), as_set, plain
        for parameter in self.options.parameters:
            for value in self.options.values(parameter):
                label, runs = self.label(parameter, value), self.runs(parameter, value)
                if label != (SET, ""):
                    yield (*label, ALONE), runs, plain
                    yield (*label, AS_SET), runs, as_set

    def label(self, parameter: str, value: float) -> tuple[str, str]:
        """Under which name a value is tested: runs that are those of the base setting are tested once, as such."""
        as_set = [result.folder for result in self.runs(SET)]
        if [result.folder for result in self.runs(parameter, value)] == as_set:
            return SET, ""
        return SYMBOLS[parameter], f"{value:g}"

    def base_value(self, parameter: str) -> float:
        """What a parameter is at the base setting."""
        return float(getattr(self.runs(SET)[0].cell.config.alignment, parameter))

    def learns(self, parameter: str) -> bool:
        """Whether a swept parameter is a temperature that is learnt from its value on, not kept there."""
        runs = self.runs(parameter, self.options.values(parameter)[0]) if _learnable(parameter) else []
        return any(getattr(run.cell.config.alignment, f"learn_{parameter}") for run in runs)

    def learnt(self, parameter: str, value: float) -> tuple[float, ...]:
        """Where learning has taken a temperature from this value, a number a run of which it is known."""
        ends = (learnt_temperatures(run.folder).get(parameter) for run in self.runs(parameter, value) if run.metrics)
        return tuple(end for end in ends if end is not None)

    def table(self, data: str) -> ResultTable:
        """The backbone alone and CROSS as it is set, then a block per parameter."""
        plain, learnt = self.runs(PLAIN), [name for name in self.options.parameters if self.learns(name)]
        blank: list[CellValue] = [""] if learnt else []
        rows: list[Sequence[CellValue]] = [[self.backbone, "", *measured(plain, None), *blank]]
        rows.append(["  + cross", AS_SET, *measured(self.runs(SET), plain), *blank])
        for parameter in self.options.parameters:
            rows.append(RULE)
            for value in self.options.values(parameter):
                end = [self.learnt(parameter, value) or "–"] if parameter in learnt else blank
                rows.append([SYMBOLS[parameter], value, *measured(self.runs(parameter, value), plain), *end])
        as_set = ", ".join(f"{SYMBOLS[name]} {self.base_value(name):g}" for name in SYMBOLS)
        notes = (
            f"Test metrics{over_seeds(self.options.seeds)}. As set: {as_set}.{self._temperatures(learnt)}",
            "Δ: change of the mean against the backbone alone, in %.",
        )
        columns = [
            Column("model", "left"),
            Column("value", format="g"),
            *COLUMNS,
            *([Column("learnt to")] if learnt else []),
        ]
        return ResultTable(f"{data}: settings of CROSS on {self.backbone}, one at a time", columns, rows, notes)

    def _temperatures(self, learnt: Sequence[str]) -> str:
        kept = [name for name in self.options.parameters if _learnable(name) and name not in learnt]
        said = {"learnt, the value is where it starts": learnt, "kept at the value": kept}
        return "".join(
            f" {' and '.join(SYMBOLS[name] for name in names)}: {how}." for how, names in said.items() if names
        )

    def figure(self, data: str) -> ResultFigure:
        """A panel per parameter: the curve, the backbone alone as a line with a band, and the base setting."""
        rows: list[Sequence[CellValue]] = [[ALONE, "", self.shown(PLAIN)], [AS_SET, "", self.shown(SET)]]
        parameters = self.options.parameters
        for name in parameters:
            rows += [[SYMBOLS[name], value, self.shown(name, value)] for value in self.options.values(name)]
        columns = [Column("parameter", "left"), Column("value", format="g"), Column(METRIC)]
        numbers = ResultTable(f"{data}: settings of CROSS on {self.backbone}", columns, rows)

        def draw(canvas: Canvas) -> None:
            across = min(ACROSS, len(parameters))
            panels = canvas.subplots(-(-len(parameters) // across), across, squeeze=False, sharey=True)
            (plain,), (deviation,) = means_and_deviations([rows[0][2]])
            for place, axes in enumerate(panels.flat):
                if place >= len(parameters):
                    axes.set_visible(False)
                    continue
                self._panel(axes, parameters[place])
                axes.axhline(plain, color=COLOURS[0], linestyle="--", linewidth=1, label=ALONE, zorder=1)
                if deviation == deviation:
                    axes.axhspan(plain - deviation, plain + deviation, color=COLOURS[0], alpha=0.15, linewidth=0)
                if place % across == 0:
                    axes.set_ylabel(named(METRIC))
            legend_below(canvas, legend_handles(panels[0][0]))

        caption = (
            f"{data}, {self.backbone} with CROSS, one setting varied at a time (dotted: where it is otherwise). Test "
            f"Recall@10{over_seeds(self.options.seeds)}; dashed: the backbone alone, its deviation as a band."
        )
        across, down = min(ACROSS, len(parameters)), -(-len(parameters) // ACROSS)
        return ResultFigure("Settings of CROSS", caption, numbers, draw, (1.0 + 1.7 * across, 0.7 + 1.9 * down))

    def _panel(self, axes: Axes, parameter: str) -> None:
        values = self.options.values(parameter)
        plot_curve(axes, values, [self.shown(parameter, value) for value in values], 1, "with CROSS")
        if parameter in LOGARITHMIC and min(values) > 0:
            axes.set_xscale("log")
        elif parameter in LOGARITHMIC:  # a weight of 0 has a place beside the powers
            axes.set_xscale("symlog", linthresh=min((value for value in values if value > 0), default=1.0))
        if len(values) <= MOST_TICKS:
            axes.set_xticks(values, _ticks(parameter, values), fontsize=7)
            axes.minorticks_off()
        axes.axvline(self.base_value(parameter), color="black", linestyle=":", linewidth=0.8, label=AS_SET)
        symbol = SYMBOLS[parameter]
        axes.set_xlabel(f"${symbol.replace('λ', chr(92) + 'lambda')}$" if "_" in symbol else symbol)

    def findings(self, shown: Mapping[tuple[str, ...], str]) -> list[str]:
        """A sentence a parameter, and the claim of Section 7.8."""
        plain, as_set = self.metric(PLAIN), mean(self.metric(SET))
        said = [f"{self.backbone}: CROSS as set changes Recall@10 by {rise(self.metric(SET), plain)}."]
        higher: dict[tuple[str, float], bool | None] = {}
        for parameter in self.options.parameters:
            values = self.options.values(parameter)
            judged = [above(self.metric(parameter, value), plain) for value in values]
            higher.update(((parameter, value), up) for value, up in zip(values, judged, strict=True))
            means = {value: mean(self.metric(parameter, value)) for value in values}
            known = {value: number for value, number in means.items() if number is not None}
            if known and as_set:
                low, high = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
                said.append(
                    f"{self.backbone}: {SYMBOLS[parameter]} from {values[0]:g} to {values[-1]:g} moves Recall@10 by "
                    f"{100 * (known[high] - known[low]) / as_set:.1f} %, from {known[low]:.4f} (at {low:g}) to "
                    f"{known[high]:.4f} (at {high:g}), above the backbone alone at {judged.count(True)} of "
                    f"{len(values)} values.{self._moved(parameter, shown)}{self._ended(parameter)}"
                )
        claimed = {key: up for key, up in higher.items() if key in CLAIMED}
        if not claimed:
            return said
        fallen = ", ".join(f"{SYMBOLS[name]} = {value:g}" for (name, value), up in claimed.items() if up is False)
        claim = "CROSS is above the backbone alone at every value of Figure 11 but β and γ = 0.1"
        tested = [shown.get((*self.label(name, value), ALONE)) for name, value in claimed]
        detail = f"not at {fallen}" if fallen else ""
        return [*said, verdict(self.backbone, claim, every(claimed.values()), detail, tested)]

    def _moved(self, parameter: str, shown: Mapping[tuple[str, ...], str]) -> str:
        """At which values the tests tell CROSS from CROSS as it is set; nothing where they do not know all of them."""
        labels = [self.label(parameter, value) for value in self.options.values(parameter)]
        found = {label[1]: shown.get((*label, AS_SET)) for label in labels if label != (SET, "")}
        if not found or None in found.values():
            return ""
        at = {outcome: [value for value in found if found[value] == outcome] for outcome in ("lower", "higher")}
        apart = [f"{outcome} at {listed(values)}" for outcome, values in at.items() if values]
        if not apart:
            return " No value differs from CROSS as set beyond chance."
        return f" Against CROSS as set it is {', '.join(apart)}, beyond chance."

    def _ended(self, parameter: str) -> str:
        """Between which temperatures learning ends; nothing where the parameter is not learnt or that is not known."""
        values = self.options.values(parameter) if self.learns(parameter) else ()
        ends = [end for value in values for end in self.learnt(parameter, value)]
        return f" It is learnt from there and ends between {min(ends):.4f} and {max(ends):.4f}." if ends else ""


def _ticks(parameter: str, values: Sequence[float]) -> list[str]:
    """What is written at an axis: powers of ten as such, where it is logarithmic and all are, else the numbers."""
    if parameter in LOGARITHMIC and min(values) > 0:
        powers = [round(math.log10(value)) for value in values]
        if [10.0**power for power in powers] == list(values):
            return [f"$10^{{{power}}}$" for power in powers]
    return [f"{value:g}" for value in values]


EXPERIMENT = Experiment(SensitivityConfig, cells, result)
