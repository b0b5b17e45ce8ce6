"""RQ6: which items gain, popular or rare ones? Recall per group of items by popularity (Fig. 10)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
from pydantic import Field

from crossrec.alignment import ALIGNMENTS
from crossrec.data import DataConfig, Dataset
from crossrec.evaluation.groups import HEAD, Groups, group_means, popularity_groups
from crossrec.experiments.analysis import wording
from crossrec.experiments.analysis.comparison import PLAIN, MethodRuns, headline_metric, method_blocks
from crossrec.experiments.analysis.components import components_label, parse_components
from crossrec.experiments.analysis.popularity_figures import distribution_figure, groups_figure
from crossrec.experiments.analysis.run_evaluation import RunEvaluation, evaluate_runs
from crossrec.experiments.analysis.seed_values import (
    SeedValues,
    finite,
    is_higher,
    mean_over_seeds,
    percent_change,
    percent_change_cell,
    seed_values,
    table_cell,
)
from crossrec.experiments.analysis.significance_tables import Comparison, PairedTests, compare_methods, versus
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings, method_cells
from crossrec.experiments.reporting.result import ExperimentResult
from crossrec.experiments.reporting.tables import RULE, CellValue, Column, ResultTable
from crossrec.experiments.runner.jobs import Cell, Result

METRIC = "recall@10"
"""The metric of Figure 10(b), unless others are named."""
COLLABORATIVE = "CNA&CLA"
"""The components that the paper's claims are about: neighbours and clusters."""
TOTAL = "all"
"""Name of all items together, beside the groups."""

GroupValues = Mapping[str, SeedValues]
"""A metric of one method by group of items, and of TOTAL."""


class PopularityConfig(ExperimentConfig):
    """Options of ``crossrec popularity``."""

    backbones: tuple[str, ...] = Field(default=("freedom",), min_length=1)
    """Backbones to train."""
    alignments: tuple[str, ...] = Field(default=("cna+cla", "cross"), min_length=1)
    """Methods to compare with the backbone alone: fettle, cross, or components or terms of CROSS joined by +."""

    def methods(self) -> dict[str, tuple[str, dict[str, object]]]:
        """Alignment and its changed settings by name of the method, the backbone alone first.

        Raises ConfigError for an unknown alignment, component or term.
        """
        methods: dict[str, tuple[str, dict[str, object]]] = {PLAIN: (PLAIN, {})}
        for name in self.alignments:
            if name in ALIGNMENTS:
                methods[name] = name, {}
            else:
                terms = parse_components(name, "--alignments")
                methods[components_label(terms)] = "cross", {"terms": terms}
        return methods


def cells(options: PopularityConfig, shared: SharedSettings) -> list[Cell]:
    """The backbone alone and with each method, per backbone and seed. Raises ConfigError for an unknown method."""
    return method_cells(options, shared, options.methods())


def _group_values(evaluations: Sequence[RunEvaluation] | str, names: Sequence[str], metric: str) -> GroupValues:
    """A metric of every group and of all items; "none" where no user has a value, or the failure."""
    if isinstance(evaluations, str):
        return dict.fromkeys((*names, TOTAL), evaluations)
    means = [group_means(evaluation.of_items | {TOTAL: evaluation.test}) for evaluation in evaluations]
    by_group = {name: [of_seed[name].means[metric] for of_seed in means] for name in (*names, TOTAL)}
    return {name: "none" if any(map(math.isnan, values)) else seed_values(values) for name, values in by_group.items()}


def _block_tests(
    block: Sequence[MethodRuns], evaluations: Mapping[str, Sequence[RunEvaluation] | str], names: Sequence[str]
) -> list[Comparison]:
    """Test every method against the backbone alone within every group."""
    metric = headline_metric(block[0].results, METRIC)
    return [
        compare_methods(
            (method.backbone, versus(method.name, block[0].name), group),
            evaluations[method.name],
            evaluations[block[0].name],
            metric,
            of=lambda evaluation, group=group: evaluation.of_items[group],  # type: ignore[misc]
        )
        for method in block[1:]
        for group in names
    ]


def tail_change(values: GroupValues, plain: GroupValues) -> float | str:
    """Mean over the tail groups of the change of each in %, as in the paper (+22.36 on Baby); "–" if one is missing."""
    changes = [finite(percent_change(values[name], plain[name])) for name in values if name not in (HEAD, TOTAL)]
    percents = [percent for percent in changes if percent is not None]
    return fmean(percents) if percents and len(percents) == len(changes) else "–"


def _recall_table(
    data: str,
    blocks: Sequence[Sequence[MethodRuns]],
    recall: Sequence[Mapping[str, GroupValues]],
    names: Sequence[str],
    metric: str,
    seeds: Sequence[int],
) -> ResultTable:
    columns = [Column("model", "left")]
    columns += [Column(name, best="max", group=wording.short_metric(metric)) for name in (*names, TOTAL)]
    columns += [Column(name, format="+.1f", group="Δ %") for name in (*names, TOTAL, "tail average")]
    rows: list[Sequence[CellValue]] = []
    for block, by_method in zip(blocks, recall, strict=True):
        rows += [RULE] if rows else []
        plain = by_method[block[0].name]
        for method in block:
            values = by_method[method.name]
            changes = [*(percent_change_cell(values[name], plain[name]) for name in values), tail_change(values, plain)]
            if method is block[0]:
                changes = [""] * len(changes)
            rows.append([method.label, *map(table_cell, values.values()), *changes])
    notes = (
        f"Test {wording.metric_label(metric)} within groups of items by training interactions"
        f"{wording.seeds_note(seeds)}: only held-out items of the group count, ranked among all items; a user without "
        "one is in no mean of the group.",
        "Δ: change of the mean against the backbone alone, in %; tail average: the mean of the tail groups' changes.",
    )
    return ResultTable(f"{data}: who gains, popular items or rare ones", columns, rows, notes)


def _groups_table(dataset: Dataset, groups: Groups, degree_I: np.ndarray) -> ResultTable:
    """Size, interactions and test pairs of every group."""
    columns = [
        Column("group", "left"),
        Column("items"),
        Column("interactions an item", "left"),
        Column("share of interactions in %", format=".2f"),
        Column("test pairs"),
    ]
    pairs_G = np.bincount(groups.group_N[dataset.test.item_N], minlength=len(groups.names))
    rows: list[Sequence[CellValue]] = []
    for group, name in enumerate(groups.names):
        degree = degree_I[groups.members(name)]
        low_high = dict.fromkeys((int(degree.min()), int(degree.max()))) if len(degree) else {}
        span = " to ".join(map(str, low_high)) or "–"
        share = 100 * float(groups.share_G[group])
        rows.append([name, int(groups.size_G[group]), span, share, int(pairs_G[group])])
    note = "Items by training interactions, the rarest first: Head is the 20 % with the most, the tail is cut evenly."
    return ResultTable(f"{dataset.name}: items by popularity", columns, rows, (note,))


def _head_share(data: str, groups: Groups) -> str:
    share = 100 * float(groups.share_G[groups.names.index(HEAD)])
    return (
        f"{data}: the 20 % most popular items have {share:.1f} % of the interactions (in the paper, on Baby, 61.8 %)."
    )


def _findings(block: Sequence[MethodRuns], recall: Mapping[str, GroupValues], tests: PairedTests) -> list[str]:
    plain, sentences = recall[block[0].name], list[str]()
    label = wording.metric_label(headline_metric(block[0].results, METRIC))
    for method in block[1:]:
        subject, values = f"{method.backbone} + {method.name}", recall[method.name]
        percents = {name: finite(percent_change(value, plain[name])) for name, value in values.items()}
        changes = {name: percent for name, percent in percents.items() if percent is not None}
        described = ", ".join(f"{name} {percent:+.1f} %" for name, percent in changes.items() if name != TOTAL)
        if not described:
            sentences.append(f"{subject}: nothing can be said of groups, as no change is known.")
            continue
        tail = tail_change(values, plain)
        average = f" (tail groups {tail:+.1f} % on average)" if isinstance(tail, float) else ""
        sentences.append(f"{subject}: {label} changes by {described}{average}.")
        verdicts = {name: tests.verdict(method.backbone, versus(method.name, block[0].name), name) for name in values}
        different = [f"{name} ({verdict})" for name, verdict in verdicts.items() if verdict in ("higher", "lower")]
        groups = wording.join_words(different) if different else "no group"
        sentences.append(f"{subject}: beyond chance over users after correction: {groups}.")
        if method.name == COLLABORATIVE:
            sentences += _claims(method, values, plain, changes)
    return sentences


def _claims(method: MethodRuns, values: GroupValues, plain: GroupValues, changes: Mapping[str, float]) -> list[str]:
    """The claims of Section 7.7. ``changes``: in %, of the groups where they are known."""
    subject, groups = f"{method.backbone} + {method.name}", [name for name in values if name != TOTAL]
    higher = {name: is_higher(values[name], plain[name]) for name in groups}
    sentences = [wording.judge_all(subject, "every group of items gains", higher)]
    without_hit = wording.join_words([name for name in groups if mean_over_seeds(plain[name]) == 0])
    unknown = f"{method.backbone} alone has no hit in {without_hit}" if without_hit else wording.RESULTS_MISSING
    holds, detail, tail = None, "", tail_change(values, plain)
    if isinstance(tail, float) and HEAD in changes:
        holds, detail = changes[HEAD] < tail, f"tail {tail:+.1f} %, head {changes[HEAD]:+.1f} %"
    claim = "tail items gain more than head items"
    sentences.append(wording.judge_claim(subject, claim, holds, detail, unknown=unknown))
    holds, detail = None, ""
    if all(name in changes for name in groups):
        most = max(groups, key=changes.__getitem__)
        holds, detail = most == groups[0], f"{most} gains most, {changes[most]:+.1f} %"
    return [*sentences, wording.judge_claim(subject, "the rarest items gain most", holds, detail, unknown=unknown)]


def result(
    options: PopularityConfig, shared: SharedSettings, runs: Sequence[Result], datasets: Mapping[DataConfig, Dataset]
) -> ExperimentResult:
    """A metric per group with paired tests in each, the groups themselves, and two figures."""
    dataset, seeds = next(iter(datasets.values())), options.seeds
    degree_I = np.bincount(dataset.train.item_N, minlength=dataset.num_items)
    groups, blocks = popularity_groups(degree_I), method_blocks(runs)
    metric = headline_metric(runs, METRIC)
    recall, comparisons = [], list[Comparison]()
    for block in blocks:
        evaluations = {method.name: evaluate_runs(method.results, datasets) for method in block}
        recall.append({name: _group_values(of_method, groups.names, metric) for name, of_method in evaluations.items()})
        comparisons += _block_tests(block, evaluations, groups.names)
    tests, title = PairedTests(comparisons), f"{dataset.name}: {wording.metric_label(metric)} within groups"
    return ExperimentResult(
        "Who gains, popular items or rare ones?",
        [
            _head_share(dataset.name, groups),
            *(f for block, values in zip(blocks, recall, strict=True) for f in _findings(block, values, tests)),
        ],
        {
            "popularity": _recall_table(dataset.name, blocks, recall, groups.names, metric, seeds),
            "popularity-groups": _groups_table(dataset, groups, degree_I),
            "popularity-tests": tests.table(title, ("backbone", "compared", "items")),
        },
        {
            "popularity-distribution-figure": distribution_figure(dataset.name, groups, degree_I),
            "popularity-figure": groups_figure(dataset.name, blocks, recall, groups.names, metric, seeds),
        },
    )


EXPERIMENT = Experiment(PopularityConfig, cells, result)
