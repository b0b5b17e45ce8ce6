"""RQ3: which way should modalities be aligned? The four rules of Sections 4.2 and 5 on several backbones (Fig. 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from crossrec.alignment import CrossConfig
from crossrec.data import DataConfig, Dataset
from crossrec.errors import ConfigError
from crossrec.experiments.analysis import wording
from crossrec.experiments.analysis.comparison import (
    PLAIN,
    MethodRuns,
    comparison_table,
    figure_table,
    headline_metric,
    method_blocks,
)
from crossrec.experiments.analysis.seed_values import finite, highest, percent_change
from crossrec.experiments.analysis.significance_tables import PairedTests, compare_blocks, versus
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings, method_cells
from crossrec.experiments.reporting.figures import bar_style, legend_below, plot_grouped_bars
from crossrec.experiments.reporting.result import ExperimentResult, ResultFigure
from crossrec.experiments.reporting.tables import ResultTable
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.types import Direction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRIC = "recall@10"
"""The metric of Figure 7, unless others are named."""
OFF = "off"
"""Name of the alignment without its item level, in place of a rule."""
CLAIMS = (
    ("dynamic gains most", "dynamic", (("dynamic", "one_way"), ("dynamic", "bidirectional"))),
    ("bidirectional gains least", "bidirectional", (("one_way", "bidirectional"), ("dynamic", "bidirectional"))),
    ("topmost gains less than the rules for pairs", "topmost", (("one_way", "topmost"), ("dynamic", "topmost"))),
)
"""Claims of Sections 5 and 7.4: the claim, its rule, and pairs of rules of which the first gains more."""
ITEM_LEVEL = ("item", "tuning")
"""The terms that a direction applies to."""


class DirectionsConfig(ExperimentConfig):
    """Options of ``crossrec directions``."""

    backbones: tuple[str, ...] = Field(default=("lightgcn", "ncl", "vbpr", "slmrec"), min_length=1)
    """Backbones to train."""
    directions: tuple[Direction | Literal["off"], ...] = Field(
        default=("bidirectional", "one_way", "dynamic", "topmost"), min_length=1
    )
    """Rules to compare with each other and with the backbone alone; off: the alignment without its item level."""
    alignment: Literal["cross", "fettle"] = "cross"
    """Alignment that gives all other terms and settings; only the direction differs."""
    item_level_only: bool = False
    """Leave clusters and neighbours out."""


def cells(options: DirectionsConfig, shared: SharedSettings) -> list[Cell]:
    """The backbone alone and with every rule, per backbone and seed."""
    cells: list[Cell] = []
    for backbone in options.backbones:
        settings = {rule: _rule_settings(options, shared, backbone, rule) for rule in options.directions}
        methods: dict[str, tuple[str, dict[str, Any]]] = {PLAIN: (PLAIN, {})}
        methods |= {rule: (options.alignment, changed) for rule, changed in settings.items()}
        cells += method_cells(options.model_copy(update={"backbones": (backbone,)}), shared, methods)
    return cells


def _rule_settings(options: DirectionsConfig, shared: SharedSettings, backbone: str, rule: str) -> dict[str, Any]:
    """Settings of the alignment that apply a rule. Raises ConfigError where the rule would change nothing."""
    alignment = shared.run_config(backbone, options.alignment, options.seeds[0]).alignment
    assert isinstance(alignment, CrossConfig)
    item_level = [term for term in alignment.terms if term in ITEM_LEVEL]
    others = [] if options.item_level_only else [term for term in alignment.terms if term not in ITEM_LEVEL]
    if not item_level:
        raise ConfigError(f"--settings: 'terms' of '{options.alignment}' lack item and tuning: no rule changes a thing")
    if rule != OFF:
        return {"direction": rule, "terms": [term for term in alignment.terms if term in item_level + others]}
    if not others:
        raise ConfigError("--directions off: leaves nothing but the backbone; give it without --item-level-only")
    return {"terms": others}


def _rule_label(rule: str) -> str:
    return {PLAIN: "the backbone alone", OFF: "no item level"}.get(rule, rule.replace("_", "-"))


def _changes_by_rule(blocks: Sequence[Sequence[MethodRuns]]) -> dict[str, list[float]]:
    """The change of the metric by each rule, in %, on every backbone where it is known."""
    metric = headline_metric(blocks[0][0].results, METRIC)
    changes: dict[str, list[float]] = {}
    for block in blocks:
        for method in block[1:]:
            percent = finite(percent_change(method.values(metric), block[0].values(metric)))
            if percent is not None:
                changes.setdefault(method.name, []).append(percent)
    return changes


def _figure(blocks: Sequence[Sequence[MethodRuns]], data: str, seeds: Sequence[int]) -> ResultFigure:
    """Groups of bars, one per backbone; beside them, with several backbones, the average changes."""
    metric = headline_metric(blocks[0][0].results, METRIC)
    numbers = figure_table(f"{data}: directions", blocks, "direction", [metric])
    rules, changes = [method.name for method in blocks[0]], _changes_by_rule(blocks)
    if len(blocks) > 1:
        averages = [("average", rule, "", fmean(percents)) for rule, percents in changes.items()]
        numbers = ResultTable(numbers.title, numbers.columns, [*numbers.rows, *averages])

    def draw(figure: Figure) -> None:
        if len(blocks) == 1:
            axes = figure.subplots()
        else:
            axes, right = figure.subplots(1, 2, width_ratios=[len(blocks), 1.3])
            _plot_averages(right, rules, changes)
        series = {
            _rule_label(rule): [(row[2], row[3]) for row in numbers.rows if row[1] == rule and row[0] != "average"]
            for rule in rules
        }
        plot_grouped_bars(axes, [block[0].backbone for block in blocks], series)
        axes.set_ylabel(wording.metric_label(metric))
        legend_below(figure, axes.get_legend_handles_labels()[0])

    caption = (
        f"{data}: the backbone alone and with each direction of item-level alignment. Test "
        f"{wording.metric_label(metric)}"
        f"{wording.seeds_note(seeds)}; the percentages are changes of the mean against the backbone"
        + ("; right: their average over backbones, and each of them as a dot." if len(blocks) > 1 else ".")
    )
    return ResultFigure("Directions of alignment", caption, numbers, draw, (7.0 if len(blocks) > 1 else 4.0, 3.2))


def _plot_averages(axes: Axes, rules: Sequence[str], changes: Mapping[str, Sequence[float]]) -> None:
    for number, rule in enumerate(rules):
        if percents := changes.get(rule):
            axes.bar(number, fmean(percents), 0.8, **bar_style(number))
            axes.plot([number] * len(percents), percents, "o", color="black", markersize=2.5)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks([])
    axes.set_ylabel("average change in %")


def _findings(blocks: Sequence[Sequence[MethodRuns]], tests: PairedTests) -> list[str]:
    changes, metric = _changes_by_rule(blocks), headline_metric(blocks[0][0].results, METRIC)
    label = wording.metric_label(metric)
    if len(blocks) == 1:
        subject, plain = blocks[0][0].backbone, blocks[0][0].values(metric)
        described = [(method.name, wording.describe_change(method.values(metric), plain)) for method in blocks[0][1:]]
    else:
        subject, described = f"average of {len(blocks)} backbones", []
        for rule, percents in changes.items():
            missing = f", not known on {len(blocks) - len(percents)}" if len(percents) < len(blocks) else ""
            higher = f"higher on {sum(percent > 0 for percent in percents)} of {len(percents)}{missing}"
            described.append((rule, f"{fmean(percents):+.1f} %, {higher}"))
    sentences = [f"{subject}: {_rule_label(rule)} changes {label} by {change}." for rule, change in described]
    winners = {block[0].backbone: highest({method.name: method.values(metric) for method in block}) for block in blocks}
    known_winners = {backbone: rule for backbone, rule in winners.items() if rule is not None}
    for rule in dict.fromkeys(known_winners.values()):
        backbones = [backbone for backbone, winner in known_winners.items() if winner == rule]
        sentences.append(
            f"{_rule_label(rule)} has the best {label} on {len(backbones)} of {len(known_winners)} backbones: "
            f"{wording.join_words(backbones)}."
        )
    complete = {rule: fmean(percents) for rule, percents in changes.items() if len(percents) == len(blocks)}
    return sentences + _claims(subject, complete, blocks, tests)


def _claims(
    subject: str, changes: Mapping[str, float], blocks: Sequence[Sequence[MethodRuns]], tests: PairedTests
) -> list[str]:
    """The claims of Sections 5 and 7.4 on the rules that were trained. ``changes``: average change in % by rule."""
    trained, sentences = {method.name for method in blocks[0]}, []
    for claim, claimed_rule, claimed_pairs in CLAIMS:
        pairs = [pair for pair in claimed_pairs if set(pair) <= trained]
        if not pairs:
            continue
        rules = list(dict.fromkeys([claimed_rule, *(rule for pair in pairs for rule in pair)]))
        holds = None if set(rules) - changes.keys() else all(changes[more] > changes[less] for more, less in pairs)
        detail = ", ".join(f"{_rule_label(rule)} {changes[rule]:+.1f} %" for rule in rules if rule in changes)
        verdicts = [tests.verdict(block[0].backbone, versus(*pair)) for block in blocks for pair in pairs]
        sentences.append(wording.judge_claim(subject, claim, holds, detail, verdicts))
    return sentences


def result(
    options: DirectionsConfig, shared: SharedSettings, runs: Sequence[Result], datasets: Mapping[DataConfig, Dataset]
) -> ExperimentResult:
    """A table with paired tests, a figure of one metric and its average change, and the paper's claims on the rules."""
    blocks, data = method_blocks(runs), next(iter(datasets.values())).name
    settings = f"{options.alignment} with its item level alone" if options.item_level_only else options.alignment
    note = (
        f"Test metrics{wording.seeds_note(options.seeds)}. Everything but the direction of the item level is as in "
        f"{settings}."
    )
    metric = headline_metric(runs, METRIC)
    tests = compare_blocks(blocks, [pair for *_, pairs in CLAIMS for pair in pairs], datasets, metric)
    return ExperimentResult(
        "Which way should modalities be aligned: both ways, towards the stronger one, or by the dynamic rule?",
        _findings(blocks, tests),
        {
            "directions": comparison_table(f"{data}: directions", blocks, note),
            "directions-tests": tests.table(f"{data}: is it chance? {wording.metric_label(metric)}"),
        },
        {"directions-figure": _figure(blocks, data, options.seeds)},
    )


EXPERIMENT = Experiment(DirectionsConfig, cells, result)
