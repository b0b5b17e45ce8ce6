"""RQ6: whom does it help, the popular items or the rare ones? Recall per group of items by popularity (Fig. 10)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
from pydantic import Field

from crossrec.alignment import ALIGNMENTS
from crossrec.data import DataConfig, Dataset
from crossrec.evaluation.groups import HEAD, Groups, group_means, popularity_groups
from crossrec.experiments.analysis.comparison import (
    MISSING,
    PLAIN,
    Row,
    Values,
    above,
    blocks_of,
    change,
    change_cell,
    every,
    listed,
    mean,
    named,
    told,
    verdict,
)
from crossrec.experiments.analysis.popularity_figures import by_group, distribution
from crossrec.experiments.analysis.run_evaluation import RunEvaluation, evaluate_runs
from crossrec.experiments.analysis.significance_tables import (
    UNSHOWN,
    Comparison,
    compared,
    judged,
    paired_table,
    versus,
)
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings, over_seeds
from crossrec.experiments.questions.ablate import name_of, terms_of
from crossrec.experiments.reporting.result import ExperimentResult
from crossrec.experiments.reporting.tables import RULE, CellValue, Column, ResultTable
from crossrec.experiments.runner.jobs import Cell, Result

METRIC = "recall@10"
"""The metric of Figure 10(b)."""
COLLABORATIVE = "CNA&CLA"
"""What the paper's claims are about: neighbours and clusters."""
TOTAL = "all"
"""All items together: the metric as in every other table."""


class PopularityConfig(ExperimentConfig):
    """What to compare, on which backbones."""

    backbones: tuple[str, ...] = Field(default=("freedom",), min_length=1)
    """Backbones to ask the question of."""
    alignments: tuple[str, ...] = Field(default=("cna+cla", "cross"), min_length=1)
    """What to compare with the backbone alone: fettle, cross, or components or terms of CROSS joined by +."""


def cells(options: PopularityConfig, shared: SharedSettings) -> list[Cell]:
    """The backbone alone and with each alignment, per backbone and seed. Raises ConfigError for an unknown one."""
    return [
        Cell(shared.run_config(backbone, alignment, seed, alignment_settings=settings), group=(backbone, name))
        for backbone in options.backbones
        for name, (alignment, settings) in _stacked(options).items()
        for seed in options.seeds
    ]


def _stacked(options: PopularityConfig) -> dict[str, tuple[str, dict[str, object]]]:
    """Alignment and its own settings by the name of the row."""
    stacked: dict[str, tuple[str, dict[str, object]]] = {PLAIN: (PLAIN, {})}
    for name in options.alignments:
        if name in ALIGNMENTS:
            stacked[name] = name, {}
        else:
            terms = terms_of(name, "--alignments")
            stacked[name_of(terms)] = "cross", {"terms": terms}
    return stacked


def result(
    options: PopularityConfig, shared: SharedSettings, results: Sequence[Result], datasets: Mapping[DataConfig, Dataset]
) -> ExperimentResult:
    """Recall@10 per group, what the groups are, paired tests in each; two figures."""
    dataset, seeds = next(iter(datasets.values())), options.seeds
    degree_I = np.bincount(dataset.train.item_N, minlength=dataset.num_items)
    groups, blocks = popularity_groups(degree_I), blocks_of(results)
    measured, tests = [], []
    for block in blocks:
        outcomes = {row.name: evaluate_runs(row.results, datasets) for row in block}
        measured.append({row.name: _by_group(outcomes[row.name], groups.names) for row in block})
        tests += _tests(block, outcomes, groups.names)
    labels = ("backbone", "compared", "items")
    return ExperimentResult(
        "Who gains, popular items or rare ones?",
        [
            _head_share(dataset.name, groups),
            *(f for block, values in zip(blocks, measured, strict=True) for f in _findings(block, values, tests)),
        ],
        {
            "popularity": _table(dataset.name, blocks, measured, groups.names, seeds),
            "popularity-groups": _groups(dataset, groups, degree_I),
            "popularity-tests": paired_table(f"{dataset.name}: {named(METRIC)} within groups", labels, tests),
        },
        {
            "popularity-distribution-figure": distribution(dataset.name, groups, degree_I),
            "popularity-figure": by_group(dataset.name, blocks, measured, groups.names, METRIC, seeds),
        },
    )


def _by_group(outcomes: Sequence[RunEvaluation] | str, names: Sequence[str]) -> dict[str, Values]:
    """METRIC of every group, and of all items: one number a seed; "none" where no user has a value."""
    if isinstance(outcomes, str):
        return dict.fromkeys((*names, TOTAL), outcomes)
    means = [group_means(outcome.of_items | {TOTAL: outcome.test}) for outcome in outcomes]
    found: dict[str, Values] = {}
    for name in (*names, TOTAL):
        values = tuple(of_seed[name].means[METRIC] for of_seed in means)
        found[name] = "none" if any(map(math.isnan, values)) else values if len(values) > 1 else values[0]
    return found


def _tests(
    block: Sequence[Row], outcomes: Mapping[str, Sequence[RunEvaluation] | str], names: Sequence[str]
) -> list[Comparison]:
    return [
        compared(
            (row.backbone, versus(row.name, block[0].name), group),
            outcomes[row.name],
            outcomes[block[0].name],
            METRIC,
            of=lambda outcome, group=group: outcome.of_items[group],  # type: ignore[misc]
        )
        for row in block[1:]
        for group in names
    ]


def tail_change(values: Mapping[str, Values], plain: Mapping[str, Values]) -> float | str:
    """The mean over the tail groups of the change of each in %, as the paper has it (+22.36 on Baby)."""
    changes = [change(values[name], plain[name]) for name in values if name not in (HEAD, TOTAL)]
    known = [percent for percent in changes if isinstance(percent, float) and math.isfinite(percent)]
    return fmean(known) if known and len(known) == len(changes) else "–"


def _table(
    data: str,
    blocks: Sequence[Sequence[Row]],
    measured: Sequence[Mapping[str, Mapping[str, Values]]],
    names: Sequence[str],
    seeds: Sequence[int],
) -> ResultTable:
    columns = [Column("model", "left")]
    columns += [Column(name, best="max", group="R@10") for name in (*names, TOTAL)]
    columns += [Column(name, format="+.1f", group="Δ %") for name in (*names, TOTAL, "tail average")]
    rows: list[Sequence[CellValue]] = []
    for block, values in zip(blocks, measured, strict=True):
        rows += [RULE] if rows else []
        plain = values[block[0].name]
        for place, row in enumerate(block):
            own = values[row.name]
            shown = [told(value) if isinstance(value, str) else value for value in own.values()]
            changes = [*(change_cell(own[name], plain[name]) for name in own), tail_change(own, plain)]
            rows.append([row.label, *shown, *(changes if place else [""] * len(changes))])
    notes = (
        f"Test Recall@10 within groups of items by training interactions{over_seeds(seeds)}: only held-out items of "
        "the group count, ranked among all items; a user without one is in no mean of the group.",
        "Δ: change of the mean against the backbone alone, in %; tail average: the mean of the tail groups' changes.",
    )
    return ResultTable(f"{data}: who gains, popular items or rare ones", columns, rows, notes)


def _groups(dataset: Dataset, groups: Groups, degree_I: np.ndarray) -> ResultTable:
    """What the groups are."""
    columns = [
        Column("group", "left"),
        Column("items"),
        Column("interactions an item", "left"),
        Column("share of interactions in %", format=".2f"),
        Column("test pairs"),
    ]
    pairs_G = np.bincount(groups.group_N[dataset.test.item_N], minlength=len(groups.names))
    rows: list[Sequence[CellValue]] = []
    for place, name in enumerate(groups.names):
        degree = degree_I[groups.members(name)]
        span = (
            "–" if not len(degree) else f"{degree.min()} to {degree.max()}" if len(set(degree)) > 1 else f"{degree[0]}"
        )
        share = 100 * float(groups.share_G[place])
        rows.append([name, int(groups.size_G[place]), span, share, int(pairs_G[place])])
    note = "Items by training interactions, the rarest first: Head is the 20 % with the most, the tail is cut evenly."
    return ResultTable(f"{dataset.name}: items by popularity", columns, rows, (note,))


def _head_share(data: str, groups: Groups) -> str:
    share = 100 * float(groups.share_G[groups.names.index(HEAD)])
    return (
        f"{data}: the 20 % most popular items have {share:.1f} % of the interactions (in the paper, on Baby, 61.8 %)."
    )


def _findings(
    block: Sequence[Row], measured: Mapping[str, Mapping[str, Values]], tests: Sequence[Comparison]
) -> list[str]:
    plain, said = measured[block[0].name], []
    for row in block[1:]:
        changes = {name: change(value, plain[name]) for name, value in measured[row.name].items()}
        known = {name: c for name, c in changes.items() if isinstance(c, float) and math.isfinite(c)}
        where, tail = f"{row.backbone} + {row.name}", tail_change(measured[row.name], plain)
        shown = ", ".join(f"{name} {percent:+.1f} %" for name, percent in known.items() if name != TOTAL)
        if not shown:
            said.append(f"{where}: nothing can be said of groups, as no change is known.")
            continue
        average = f" (tail groups {tail:+.1f} % on average)" if isinstance(tail, float) else ""
        said.append(f"{where}: Recall@10 changes by {shown}{average}.")
        own = [one for one in judged(tests) if one.labels[:2] == (row.backbone, versus(row.name, block[0].name))]
        beyond = [f"{one.labels[2]} ({one.verdict})" for one in own if one.verdict != UNSHOWN]
        said.append(f"{where}: beyond chance over users after correction: {listed(beyond) if beyond else 'no group'}.")
        if row.name == COLLABORATIVE:
            said += _verdicts(row, measured[row.name], plain, known, tail)
    return said


def _verdicts(
    row: Row,
    own: Mapping[str, Values],
    plain: Mapping[str, Values],
    known: Mapping[str, float],
    tail: float | str,
) -> list[str]:
    """The claims of Section 7.7. ``known``: changes in %, of the groups that have one."""
    where, groups = f"{row.backbone} + {row.name}", [name for name in own if name != TOTAL]
    risen = {name: above(own[name], plain[name]) for name in groups}
    fallen = [name for name, up in risen.items() if up is False]
    said = [
        verdict(where, "every group of items gains", every(risen.values()), f"not {listed(fallen)}" if fallen else "")
    ]
    nothing = [name for name in groups if mean(plain[name]) == 0]
    unknown = f"{row.backbone} alone has no hit in {listed(nothing)}" if nothing else MISSING
    more = known[HEAD] < tail if isinstance(tail, float) and HEAD in known else None
    detail = "" if more is None else f"tail {tail:+.1f} %, head {known[HEAD]:+.1f} %"
    said.append(verdict(where, "tail items gain more than head items", more, detail, unknown=unknown))
    most = max(known, key=lambda name: known[name] if name != TOTAL else -math.inf)
    complete = all(name in known for name in groups)
    detail = f"{most} gains most, {known[most]:+.1f} %" if complete else ""
    rarest = most == groups[0] if complete else None
    return [*said, verdict(where, "the rarest items gain most", rarest, detail, unknown=unknown)]


EXPERIMENT = Experiment(PopularityConfig, cells, result)
