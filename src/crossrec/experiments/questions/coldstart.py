"""Items without any interactions: how good are vectors made of their content, compared with other baselines?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from crossrec.backbones import BACKBONES
from crossrec.data import DataConfig, Dataset
from crossrec.errors import ConfigError
from crossrec.experiments.analysis import new_item_metrics
from crossrec.experiments.analysis.comparison import PLAIN, runs_by_group
from crossrec.experiments.analysis.new_item_metrics import HISTORY, METRIC, NEW, OTHERS, POPULARITY, TRUE, Metrics
from crossrec.experiments.analysis.seed_values import (
    SeedValues,
    each_seed,
    mean_over_seeds,
    measure_runs,
    metric_values,
    percent_change,
    seed_values,
    table_cell,
)
from crossrec.experiments.analysis.wording import describe_change, metric_label, seeds_note, short_metric
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings, check_name
from crossrec.experiments.reporting.figures import bar_style, means_and_deviations
from crossrec.experiments.reporting.result import ExperimentResult, ResultFigure
from crossrec.experiments.reporting.tables import RULE, CellValue, Column, ResultTable, rule_by_first_cell
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.recommend.cold_start import DEFAULT_METHOD
from crossrec.training import TrainingConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ColdstartConfig(ExperimentConfig):
    """Options of ``crossrec coldstart``."""

    backbones: tuple[str, ...] = Field(default=("lightgcn",), min_length=1)
    """Backbones to train alone and with each alignment."""
    alignments: tuple[str, ...] = Field(default=("cross",), min_length=1)
    """Alignments whose vectors of new items are measured: cross, fettle."""
    references: tuple[str, ...] = ("vbpr",)
    """Backbones to train alone, for comparison."""
    quantiles: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0.5, 0.8, 0.9, 0.95)
    """Lengths of new items' vectors, as quantiles of the others', to rank them among all items with."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the items that are taken out before training, others for every seed."""


def cells(options: ColdstartConfig, shared: SharedSettings) -> list[Cell]:
    """Every backbone alone and aligned, then the references, per seed. Raises ConfigError for an unknown name."""
    if shared.data.cold_items is not None:
        raise ConfigError("--cold-items: coldstart takes items out itself; give --share")
    for backbone in options.references:
        check_name(backbone, BACKBONES, "--references")
    alignments = dict.fromkeys((PLAIN, *options.alignments))
    methods = [(backbone, name) for backbone in options.backbones for name in alignments]
    methods += [(backbone, PLAIN) for backbone in options.references if backbone not in options.backbones]
    return [
        Cell(shared.run_config(backbone, name, seed, data=_data(options, shared, seed)), group=(backbone, name))
        for backbone, name in methods
        for seed in options.seeds
    ]


def _data(options: ColdstartConfig, shared: SharedSettings, seed: int) -> DataConfig:
    return shared.data.model_copy(update={"cold_items": options.share, "cold_seed": seed})


@dataclass(frozen=True)
class NewItemRow:
    """A model and a method to make vectors of new items, with its metrics by name.

    A baseline has no model, and a model that failed has no method.
    """

    model: str
    method: str
    values: Mapping[str, SeedValues]

    @property
    def name(self) -> str:
        return self.model or self.method


def _model_rows(
    model: str, runs: Sequence[Result], datasets: Mapping[DataConfig, Dataset], quantiles: Sequence[float]
) -> list[NewItemRow]:
    """A row per method of a model, or one with its failure."""
    training = runs[0].cell.config.training

    def measure(run: Result) -> dict[str, Metrics]:
        return new_item_metrics.run_metrics(run.folder, datasets[run.cell.config.data], quantiles, training)

    by_seed = measure_runs(runs, measure)
    if isinstance(by_seed, str):
        return [NewItemRow(model, "", dict.fromkeys(training.shown, by_seed))]
    others = metric_values(runs, "test", training.headline(METRIC))
    return [replace(row, values={**row.values, OTHERS: others}) for row in _rows(model, by_seed)]


def _rows(model: str, by_seed: Sequence[Mapping[str, Metrics]]) -> list[NewItemRow]:
    """A row per method that every seed has. ``by_seed``: metrics by method."""
    return [
        NewItemRow(model, method, {m: seed_values([of_seed[method][m] for of_seed in by_seed]) for m in metrics})
        for method, metrics in by_seed[0].items()
        if all(method in of_seed for of_seed in by_seed)
    ]


def representatives(rows: Sequence[NewItemRow]) -> list[NewItemRow]:
    """One row per model: its ``own`` method where a backbone alone has one, else the library's default method.

    A model without content has the default method by features.
    """
    chosen: dict[str, NewItemRow] = {}
    for row in rows:
        own = () if " + " in row.model else ("own",)
        preferences = (new_item_metrics.by_features(DEFAULT_METHOD), DEFAULT_METHOD, *own)
        rank = {method: number for number, method in enumerate(preferences)}
        best = chosen.get(row.name)
        if best is None or rank.get(row.method, -1) > rank.get(best.method, -1):
            chosen[row.name] = row
    return list(chosen.values())


def compared_rows(rows: Sequence[NewItemRow], alone: Sequence[str]) -> Iterator[tuple[NewItemRow, NewItemRow]]:
    """Every aligned model with its backbone, with the backbones ``alone`` and with the baselines."""
    by_name = {row.name: row for row in representatives(rows)}
    for name, row in by_name.items():
        backbone, plus, _ = name.partition(" + ")
        if plus:
            yield from ((row, by_name[other]) for other in dict.fromkeys((backbone, HISTORY, *alone, POPULARITY)))


def _headlines(training: TrainingConfig) -> list[str]:
    """The metrics of differences and figure: Recall and NDCG at 20, unless others are named."""
    return list(dict.fromkeys(map(training.headline, (METRIC, "ndcg@20"))))


def _table(
    data: str, rows: Sequence[NewItemRow], seeds: Sequence[int], share: float, shown: Sequence[str]
) -> ResultTable:
    """Metrics of new items, ranked among themselves."""
    starred = {id(row) for row in representatives(rows) if row.model and row.method}
    columns = [Column("model", "left"), Column("new items by", "left"), *(Column(short_metric(m)) for m in shown)]
    table_rows: list[Sequence[CellValue]] = []
    for row in rows:
        values: list[CellValue] = [row.values.get(metric, "–") for metric in shown]
        if not row.method:
            values = [table_cell(values[0]), *["–"] * (len(values) - 1)]
        table_rows.append([row.model or "–", f"{row.method}{' *' if id(row) in starred else ''}", *values])
    notes = (
        f"{100 * share:g} % of the items are taken out before training, others for every seed, and ranked among "
        f"themselves by everything that was done with them{seeds_note(seeds)}.",
        "popularity: nobody has touched them, so any order; true popularity is not known of a new item. *: what "
        "figure and differences take of a model.",
    )
    return ResultTable(f"{data}: items that nobody has touched", columns, rule_by_first_cell(table_rows), notes)


def _differences_table(
    data: str, rows: Sequence[NewItemRow], alone: Sequence[str], metrics: Sequence[str]
) -> ResultTable:
    """Differences seed by seed: both models of a seed have the same items and users."""
    columns = [Column("compared", "left"), Column("against", "left")]
    for metric in metrics:
        heads = (("difference", ".4f"), ("Δ %", "+.1f"), ("higher in", ""))
        columns += [Column(head, format=format, group=short_metric(metric)) for head, format in heads]
    table_rows: list[Sequence[CellValue]] = []
    for new, old in compared_rows(rows, alone):
        cells = [c for m in metrics for c in _difference_cells(new.values[m], old.values[m])]
        table_rows.append([new.name, old.name, *cells])
    note = "Differences are taken seed by seed, on the same items and users; mean ± sample deviation over seeds."
    return ResultTable(f"{data}: new items, what alignment adds", columns, rule_by_first_cell(table_rows), (note,))


def _difference_cells(new: SeedValues, old: SeedValues) -> list[CellValue]:
    """Difference, change in %, and the number of seeds in which ``new`` is higher; or the failure."""
    if isinstance(new, str) or isinstance(old, str):
        return [table_cell(new if isinstance(new, str) else old), None, None]
    differences = [new_value - old_value for new_value, old_value in zip(each_seed(new), each_seed(old), strict=True)]
    higher = f"{sum(difference > 0 for difference in differences)} of {len(differences)}"
    return [seed_values(differences), percent_change(new, old), higher]


def _among_all_table(data: str, rows: Sequence[NewItemRow], quantiles: Sequence[float], metric: str) -> ResultTable:
    """A metric of new items among all, and of the other items beside them, by the length of the new items' vectors."""
    columns = [Column("model", "left"), Column("length", "left"), Column("new items"), Column("other items")]
    columns.append(Column("Δ %", format="+.1f"))
    table_rows: list[Sequence[CellValue]] = []
    for row in rows:
        if row.model and not row.method:
            table_rows += [RULE, [row.model, "", table_cell(row.values[metric]), "–", "–"]]
        measured = [quantile for quantile in quantiles if new_item_metrics.among_all(NEW, quantile) in row.values]
        if not measured:
            continue
        without = row.values[OTHERS]
        table_rows += [RULE, [f"{row.model} ({row.method})", "no new items", "–", table_cell(without), ""]]
        for quantile in measured:
            new = row.values[new_item_metrics.among_all(NEW, quantile)]
            others = row.values.get(new_item_metrics.among_all(OTHERS, quantile), "none")
            change = percent_change(others, without)
            table_rows.append(["", f"quantile {quantile:g}", table_cell(new), table_cell(others), change])
    note = (
        f"{metric_label(metric)} among all items. Length: of the vectors of new items, as a quantile of the others'. "
        "Other items: by the test split; Δ: change of the mean against no new items, in %."
    )
    return ResultTable(f"{data}: new items among all", columns, table_rows[1:], (note,))


def _figure(data: str, rows: Sequence[NewItemRow], seeds: Sequence[int], metrics: Sequence[str]) -> ResultFigure:
    """A bar per model, and a line for the true popularity, which is not known of a new item."""
    columns = [Column("model", "left"), Column("new items by", "left"), *map(Column, metrics)]
    chosen = representatives(rows)
    figure_rows: list[Sequence[CellValue]] = [
        [row.name, row.method if row.model else "", *(table_cell(row.values[metric]) for metric in metrics)]
        for row in chosen
    ]
    true = next(mean_over_seeds(row.values[metrics[0]]) for row in chosen if row.name == TRUE)
    bars = [row for row in figure_rows if row[0] != TRUE]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        means, deviations = means_and_deviations([row[2] for row in bars])
        for y, (row, mean, deviation) in enumerate(zip(bars, means, deviations, strict=True)):
            aligned = " + " in str(row[0])
            axes.barh(y, mean, xerr=deviation, height=0.7, **bar_style(1 if aligned else 0))
        if true is not None:
            axes.axvline(true, color="black", linestyle=":", linewidth=1)
        axes.set_yticks(range(len(bars)), [f"{row[0]} ({row[1]})" if row[1] else str(row[0]) for row in bars])
        axes.invert_yaxis()
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"{metric_label(metrics[0])} of new items")

    caption = (
        f"{data}: {metric_label(metrics[0])} of items that were taken out before training, ranked among themselves"
        f"{seeds_note(seeds)}. Dotted: {TRUE}, which nobody knows of a new item."
    )
    numbers = ResultTable(data, columns, figure_rows)
    return ResultFigure("Items that nobody has touched", caption, numbers, draw, (6.4, 0.8 + 0.3 * len(bars)))


def _findings(
    data: str, rows: Sequence[NewItemRow], alone: Sequence[str], datasets: Sequence[Dataset], metric: str
) -> list[str]:
    """The size of what was taken out, and every comparison in words."""
    cold_items = [new_item_metrics.cold_of(dataset) for dataset in datasets]
    interactions = fmean(len(cold.interactions) for cold in cold_items)
    users = fmean(
        len(np.intersect1d(cold.interactions.user_N, dataset.train.user_N))
        for cold, dataset in zip(cold_items, datasets, strict=True)
    )
    sentences = [
        f"{data}: {len(cold_items[0].item_ids)} items taken out, with {interactions:.0f} interactions of {users:.0f} "
        f"users that training knows{' on average' if len(datasets) > 1 else ''}."
    ]
    for new, old in compared_rows(rows, alone):
        change = describe_change(new.values[metric], old.values[metric])
        sentences.append(f"{new.name} against {old.name}: {metric_label(metric)} {change}.")
    return sentences


def result(
    options: ColdstartConfig, shared: SharedSettings, runs: Sequence[Result], datasets: Mapping[DataConfig, Dataset]
) -> ExperimentResult:
    """Metrics of new items per model and method, differences seed by seed, new items among all, and a figure."""
    by_seed = [datasets[_data(options, shared, seed)] for seed in options.seeds]
    training, metrics = shared.training, _headlines(shared.training)
    baselines = [
        new_item_metrics.baseline_metrics(dataset, seed, training)
        for dataset, seed in zip(by_seed, options.seeds, strict=True)
    ]
    rows = _rows("", baselines)
    for (backbone, name), model_runs in runs_by_group(runs).items():
        model = backbone if name == PLAIN else f"{backbone} + {name}"
        rows += _model_rows(model, model_runs, datasets, options.quantiles)
    data, alone = by_seed[0].name, (*options.backbones, *options.references)
    return ExperimentResult(
        "Items that nobody has touched: does alignment make better vectors of their content than what else there is?",
        _findings(data, rows, alone, by_seed, metrics[0]),
        {
            "coldstart": _table(data, rows, options.seeds, options.share, training.shown),
            "coldstart-differences": _differences_table(data, rows, alone, metrics),
            "coldstart-among-all": _among_all_table(data, rows, options.quantiles, metrics[0]),
        },
        {"coldstart-figure": _figure(data, rows, options.seeds, metrics)},
    )


EXPERIMENT = Experiment(ColdstartConfig, cells, result)
