"""RQ2: what does each component do? A backbone with subsets of CROSS's components (Fig. 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from pydantic import Field

from crossrec.alignment import CrossConfig
from crossrec.data import DataConfig, Dataset
from crossrec.experiments.analysis import wording
from crossrec.experiments.analysis.comparison import (
    PLAIN,
    MethodRuns,
    comparison_table,
    figure_table,
    headline_metric,
    method_blocks,
)
from crossrec.experiments.analysis.components import COMPONENTS, components_label, parse_components
from crossrec.experiments.analysis.seed_values import SeedValues, finite, highest, is_higher, percent_change
from crossrec.experiments.analysis.significance_tables import PairedTests, compare_blocks, versus
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings, method_cells
from crossrec.experiments.reporting.figures import bar_style, label_bar, means_and_deviations
from crossrec.experiments.reporting.result import ExperimentResult, ResultFigure
from crossrec.experiments.runner.jobs import Cell, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALL = "ILDA&DT&CNA&CLA"
PAPER = ("ILDA", "DT", "CNA", "CLA", "ILDA&DT", "ILDA&CNA", "ILDA&CLA", "CNA&CLA", "ILDA&CNA&CLA", ALL)
"""The subsets of Figure 6 and the pairs between them."""
ADDED = (
    ("ILDA&CNA&CLA", "ILDA", "CNA and CLA add to ILDA"),
    (ALL, "ILDA&CNA&CLA", "DT adds to the other three"),
)
"""A subset, the subset that it extends, and the paper's claim about the two."""
LITTLE = 1.0
"""A change, in %, that the paper calls little or none (it has -0.16 for DT on Baby)."""
METRICS = ("recall@10", "ndcg@10")
"""The metrics of Figure 6, unless others are named. Claims are judged by the first."""


class AblateConfig(ExperimentConfig):
    """Options of ``crossrec ablate``."""

    backbones: tuple[str, ...] = Field(default=("freedom",), min_length=1)
    """Backbones to train."""
    subsets: tuple[str, ...] = Field(default=("paper",), min_length=1)
    """Components or terms joined by +, e.g. ilda+cna tuning+neighbor; 'paper' stands for those of Figure 6."""

    def terms(self) -> list[tuple[str, ...]]:
        """The terms of every subset, without duplicates. Raises ConfigError for an unknown component or term."""
        names = [name for subset in self.subsets for name in (PAPER if subset.lower() == "paper" else (subset,))]
        return list(dict.fromkeys(parse_components(name, "--subsets") for name in names))


def cells(options: AblateConfig, shared: SharedSettings) -> list[Cell]:
    """The backbone alone and with every subset, per backbone and seed. Raises ConfigError for an unknown component."""
    subsets = {components_label(terms): ("cross", {"terms": terms}) for terms in options.terms()}
    return method_cells(options, shared, {PLAIN: (PLAIN, {}), **subsets})


def _zero_weight_notes(block: Sequence[MethodRuns]) -> list[str]:
    """Name the terms that the settings weigh with 0: they are left out of every row."""
    configs = [cast(CrossConfig, method.results[0].cell.config.alignment) for method in block if method.name != PLAIN]
    unweighted = {term for config in configs for term in config.terms if not config.weight(term)}
    label = components_label(sorted(unweighted))
    return [f"{block[0].backbone}: the weight of {label} is 0, so it is not computed."] if unweighted else []


def _figure(blocks: Sequence[Sequence[MethodRuns]], data: str, seeds: Sequence[int]) -> ResultFigure:
    """Bars from 0, the plain backbone first: a panel per metric, a row of panels per backbone."""
    metrics = list(dict.fromkeys(headline_metric(blocks[0][0].results, metric) for metric in METRICS))
    numbers = figure_table(f"{data}: components of CROSS", blocks, "components", metrics)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(blocks), len(metrics), squeeze=False, sharey="row", sharex="col")
        for y, block in enumerate(blocks):
            rows = [row for row in numbers.rows if row[0] == block[0].backbone]
            labels = [block[0].backbone, *(f"+ {row[1]}" for row in rows[1:])]
            for x, metric in enumerate(metrics):
                axes, (means, deviations) = panels[y][x], means_and_deviations([row[2 + x] for row in rows])
                for bar, (row, mean, deviation) in enumerate(zip(rows, means, deviations, strict=True)):
                    style = bar_style(0 if row[1] == PLAIN else 1 + str(row[1]).count("&"))
                    axes.barh(bar, mean, xerr=deviation, height=0.75, **style)
                    if bar:
                        change = row[2 + len(metrics) + x]
                        label_bar(axes, change, (max(mean, means[0]), bar), deviation, sideways=True)
                axes.axvline(means[0], color="black", linewidth=0.8, linestyle=":")
                axes.set_yticks(range(len(rows)), labels)
                axes.grid(axis="x")
                axes.grid(visible=False, axis="y")
                axes.set_xlabel(wording.metric_label(metric))
                axes.margins(x=0.2, y=0.02)
            panels[y][0].invert_yaxis()

    caption = (
        f"{data}: the backbone alone (top, dotted line) and with components of CROSS. Test metrics"
        f"{wording.seeds_note(seeds)}; the percentages are changes of the mean against the backbone."
    )
    height = 0.6 + 0.22 * len(numbers.rows) + 0.3 * len(blocks)
    return ResultFigure("Components of CROSS", caption, numbers, draw, (7.0, height))


def _findings(block: Sequence[MethodRuns], tests: PairedTests) -> list[str]:
    """Changes by component, the best subset, and the claims of Section 7.3 on those that were trained."""
    backbone = block[0].backbone
    metric = headline_metric(block[0].results, METRICS[0])
    recall, label = {method.name: method.values(metric) for method in block}, wording.metric_label(metric)
    plain = recall.pop(PLAIN)
    alone = {name: recall[name] for name in COMPONENTS if name in recall}
    changed = {f"{name} alone changes": values for name, values in alone.items()}
    if ALL in recall:
        changed["all components change"] = recall[ALL]
    sentences = [
        f"{backbone}: {words} {label} by {wording.describe_change(values, plain)}." for words, values in changed.items()
    ]
    best = highest(recall)
    if best and len(recall) > 1:
        sentences.append(f"{backbone}: {best} has the highest {label} of the {len(recall)} subsets.")
    if helpful := [name for name in alone if name != "DT"]:
        claim = f"{wording.join_words(helpful)} alone raise{'s' * (len(helpful) == 1)} {label}"
        higher = {name: is_higher(alone[name], plain) for name in helpful}
        verdicts = [tests.verdict(backbone, versus(name, PLAIN)) for name in helpful]
        sentences.append(wording.judge_all(backbone, claim, higher, verdicts))
    if "ILDA" in alone and len(alone) > 1:
        strongest = highest(alone)
        holds = None if strongest is None else strongest == "ILDA"
        detail = "" if holds is not False else f"it is {strongest}"
        sentences.append(wording.judge_claim(backbone, "ILDA is the strongest component alone", holds, detail))
    if "DT" in alone:
        sentences.append(_little_claim(backbone, alone["DT"], plain, tests.verdict(backbone, versus("DT", PLAIN))))
    for richer, poorer, claim in ADDED:
        if {richer, poorer} <= recall.keys():
            new, old = recall[richer], recall[poorer]
            verdict, change = tests.verdict(backbone, versus(richer, poorer)), wording.describe_change(new, old)
            sentences.append(wording.judge_claim(backbone, claim, is_higher(new, old), change, [verdict]))
    return sentences


def _little_claim(backbone: str, tuning: SeedValues, plain: SeedValues, verdict: str | None) -> str:
    """DT alone does little: a difference beyond chance in either direction contradicts it."""
    percent = finite(percent_change(tuning, plain))
    holds = None if percent is None else abs(percent) < LITTLE
    claim = f"DT alone does little, less than {LITTLE:g} % either way,"
    if holds is not False:
        return wording.judge_claim(backbone, claim, holds)
    tests = [verdict.replace("higher", "lower")] if verdict else []
    return wording.judge_claim(backbone, claim, holds, wording.describe_change(tuning, plain), tests)


def result(
    options: AblateConfig, shared: SharedSettings, runs: Sequence[Result], datasets: Mapping[DataConfig, Dataset]
) -> ExperimentResult:
    """A table with paired tests, a figure of its Recall@10 and NDCG@10, and the paper's claims on components."""
    blocks, data = method_blocks(runs), next(iter(datasets.values())).name
    metric = headline_metric(runs, METRICS[0])
    tests = compare_blocks(blocks, [(richer, poorer) for richer, poorer, _ in ADDED], datasets, metric)
    note = (
        f"Test metrics{wording.seeds_note(options.seeds)}. ILDA: item level, DT: direction tuning, CNA: neighbours, "
        "CLA: clusters of items and of users."
    )
    zero_weights = [zero_note for block in blocks for zero_note in _zero_weight_notes(block)]
    return ExperimentResult(
        "What does each component of CROSS do, alone and with the others?",
        [finding for block in blocks for finding in _findings(block, tests)],
        {
            "ablate": comparison_table(f"{data}: components of CROSS", blocks, note, zero_weights),
            "ablate-tests": tests.table(f"{data}: is it chance? {wording.metric_label(metric)}"),
        },
        {"ablate-figure": _figure(blocks, data, options.seeds)},
    )


EXPERIMENT = Experiment(AblateConfig, cells, result)
