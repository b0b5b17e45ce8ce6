"""RQ3: which way should modalities be aligned? The four rules of Sections 4.2 and 5 on several backbones (Fig. 7)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from crossrec.data import DataConfig, Dataset
from crossrec.errors import ConfigError
from crossrec.experiments.analysis.comparison import (
    COLUMNS,
    DELTA,
    PLAIN,
    Row,
    best,
    blocks_of,
    change,
    comparison,
    listed,
    named,
    numbers,
    rise,
    verdict,
)
from crossrec.experiments.analysis.significance_tables import (
    HEADS,
    paired_table,
    pairs_of,
    tested_pairs,
    verdicts,
    versus,
)
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings, over_seeds
from crossrec.experiments.reporting.figures import (
    bar_style,
    label_bar,
    legend_below,
    legend_handles,
    means_and_deviations,
)
from crossrec.experiments.reporting.result import ExperimentResult, ResultFigure
from crossrec.experiments.reporting.tables import Column, ResultTable
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.types import Direction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

METRIC = "recall@10"
"""The metric of Figure 7."""
OFF = "off"
"""In place of a rule: the alignment without its item level."""
CLAIMS = (
    ("dynamic gains most", "dynamic", (("dynamic", "one_way"), ("dynamic", "bidirectional"))),
    ("bidirectional gains least", "bidirectional", (("one_way", "bidirectional"), ("dynamic", "bidirectional"))),
    ("topmost gains less than the rules for pairs", "topmost", (("one_way", "topmost"), ("dynamic", "topmost"))),
)
"""What Sections 5 and 7.4 claim of which rule: pairs of the one that gains more and the one that gains less."""
ITEM_LEVEL = ("item", "tuning")
"""The terms that a direction is for."""


class DirectionsConfig(ExperimentConfig):
    """Which rules to compare, on what."""

    backbones: tuple[str, ...] = Field(default=("lightgcn", "ncl", "vbpr", "slmrec"), min_length=1)
    """Backbones to ask the question of."""
    directions: tuple[Direction | Literal["off"], ...] = Field(
        default=("bidirectional", "one_way", "dynamic", "topmost"), min_length=1
    )
    """Rules to compare with each other and with the backbone alone; off: the alignment without its item level."""
    alignment: Literal["cross", "fettle"] = "cross"
    """Whose other terms and settings are on; only the direction differs."""
    item_level_only: bool = False
    """Leave clusters and neighbours out."""


def cells(options: DirectionsConfig, shared: SharedSettings) -> list[Cell]:
    """The backbone alone and every rule, per backbone and seed."""
    return [
        Cell(
            shared.run_config(
                backbone,
                PLAIN if rule == PLAIN else options.alignment,
                seed,
                alignment_settings=None if rule == PLAIN else _changed(options, shared, backbone, rule),
            ),
            group=(backbone, rule),
        )
        for backbone in options.backbones
        for rule in (PLAIN, *options.directions)
        for seed in options.seeds
    ]


def result(
    options: DirectionsConfig, shared: SharedSettings, results: Sequence[Result], datasets: Mapping[DataConfig, Dataset]
) -> ExperimentResult:
    """One table, a figure of Recall@10 and its average change, and what the paper says of the rules."""
    blocks, data = blocks_of(results), next(iter(datasets.values())).name
    of = f"{options.alignment} with its item level alone" if options.item_level_only else options.alignment
    notes = (
        f"Test metrics{over_seeds(options.seeds)}. Everything but the direction of the item level is as in {of}.",
        DELTA,
    )
    claimed = [pair for *_, pairs in CLAIMS for pair in pairs]
    tests = tested_pairs((pair for block in blocks for pair in pairs_of(block, claimed)), datasets, METRIC)
    shown = ResultTable(f"{data}: directions", [Column("model", "left"), *COLUMNS], comparison(blocks), notes)
    return ExperimentResult(
        "Which way should modalities be aligned: both ways, towards the stronger one, or by the dynamic rule?",
        _findings(blocks, verdicts(tests)),
        {"directions": shown, "directions-tests": paired_table(f"{data}: is it chance? {named(METRIC)}", HEADS, tests)},
        {"directions-figure": _figure(blocks, data, options.seeds)},
    )


def _changed(options: DirectionsConfig, shared: SharedSettings, backbone: str, rule: str) -> dict[str, Any]:
    """What sets a rule apart in the settings of the alignment. Raises ConfigError where it would change nothing."""
    alignment = shared.run_config(backbone, options.alignment, options.seeds[0]).alignment
    assert alignment is not None
    own = [term for term in alignment.terms if term in ITEM_LEVEL]
    others = [] if options.item_level_only else [term for term in alignment.terms if term not in ITEM_LEVEL]
    if not own:
        raise ConfigError(f"--settings: 'terms' of '{options.alignment}' lack item and tuning: no rule changes a thing")
    if rule != OFF:
        return {"direction": rule, "terms": [term for term in alignment.terms if term in own + others]}
    if not others:
        raise ConfigError("--directions off: leaves nothing but the backbone; give it without --item-level-only")
    return {"terms": others}


def _average_changes(blocks: Sequence[Sequence[Row]]) -> dict[str, list[float]]:
    """The changes of METRIC on each backbone, in %, by rule; without those that are not known."""
    changes: dict[str, list[float]] = {}
    for block in blocks:
        for row in block[1:]:
            percent = change(row.values(METRIC), block[0].values(METRIC))
            if isinstance(percent, float) and math.isfinite(percent):
                changes.setdefault(row.name, []).append(percent)
    return changes


def _findings(blocks: Sequence[Sequence[Row]], shown: Mapping[tuple[str, ...], str]) -> list[str]:
    changes = _average_changes(blocks)
    if len(blocks) == 1:
        over, plain = blocks[0][0].backbone, blocks[0][0].values(METRIC)
        said = [f"{over}: {_told(r.name)} changes Recall@10 by {rise(r.values(METRIC), plain)}." for r in blocks[0][1:]]
    else:
        over, said = f"average of {len(blocks)} backbones", []
        for name, found in changes.items():
            missing = f", not known on {len(blocks) - len(found)}" if len(found) < len(blocks) else ""
            higher = f"higher on {sum(percent > 0 for percent in found)} of {len(found)}{missing}"
            said.append(f"{over}: {_told(name)} changes Recall@10 by {fmean(found):+.1f} %, {higher}.")
    won = {block[0].backbone: best({row.name: row.values(METRIC) for row in block}) for block in blocks}
    known = {backbone: name for backbone, name in won.items() if name is not None}
    for name in dict.fromkeys(known.values()):
        on = [backbone for backbone, winner in known.items() if winner == name]
        said.append(f"{_told(name)} has the best Recall@10 on {len(on)} of {len(known)} backbones: {listed(on)}.")
    return said + _verdicts(over, {n: fmean(f) for n, f in changes.items() if len(f) == len(blocks)}, blocks, shown)


def _told(rule: str) -> str:
    """A rule in words."""
    return {PLAIN: "the backbone alone", OFF: "no item level"}.get(rule, rule.replace("_", "-"))


def _verdicts(
    over: str, gain: Mapping[str, float], blocks: Sequence[Sequence[Row]], shown: Mapping[tuple[str, ...], str]
) -> list[str]:
    """The claims of Sections 5 and 7.4, as far as the rules they are about were asked for."""
    asked, backbones = {row.name for row in blocks[0]}, [block[0].backbone for block in blocks]
    said = []
    for claim, name, claimed in CLAIMS:
        pairs = [pair for pair in claimed if set(pair) <= asked]
        if not pairs:
            continue
        rules = list(dict.fromkeys([name, *(rule for pair in pairs for rule in pair)]))
        holds = None if set(rules) - gain.keys() else all(gain[more] > gain[less] for more, less in pairs)
        told = ", ".join(f"{_told(rule)} {gain[rule]:+.1f} %" for rule in rules if rule in gain)
        tested = [shown.get((backbone, versus(*pair))) for backbone in backbones for pair in pairs]
        said.append(verdict(over, claim, holds, told, tested))
    return said


def _figure(blocks: Sequence[Sequence[Row]], data: str, seeds: Sequence[int]) -> ResultFigure:
    """Groups of bars, one a backbone; beside them, of several backbones, the average change."""
    shown = numbers(f"{data}: directions", blocks, "direction", [METRIC])
    changes = _average_changes(blocks)
    if len(blocks) > 1:
        rows = list(shown.rows)
        rows += [("average", name, "", fmean(found)) for name, found in changes.items()]
        shown = ResultTable(shown.title, shown.columns, rows)
    names = [row.name for row in blocks[0]]

    def draw(canvas: Canvas) -> None:
        if len(blocks) == 1:
            axes = canvas.subplots()
        else:
            axes, right = canvas.subplots(1, 2, width_ratios=[len(blocks), 1.3])
            _averages(right, names, changes)
        width = 0.84 / len(names)
        for number, name in enumerate(names):
            cells = [row for row in shown.rows if row[1] == name and row[0] != "average"]
            means, deviations = means_and_deviations([row[2] for row in cells])
            places = [group + (number - (len(names) - 1) / 2) * width for group in range(len(cells))]
            axes.bar(places, means, width, yerr=deviations, label=_told(name), **bar_style(number))
            for row, mean, place, deviation in zip(cells, means, places, deviations, strict=True):
                if number:
                    label_bar(axes, row[3], (place, mean), deviation, sideways=False)
        axes.set_xticks(range(len(blocks)), [block[0].backbone for block in blocks])
        axes.set_ylabel(named(METRIC))
        axes.margins(y=0.22)
        axes.set_ylim(bottom=0)
        legend_below(canvas, legend_handles(axes))

    caption = (
        f"{data}: the backbone alone and with each direction of item-level alignment. Test Recall@10"
        f"{over_seeds(seeds)}; the percentages are changes of the mean against the backbone"
        + ("; right: their average over backbones, and each of them as a dot." if len(blocks) > 1 else ".")
    )
    return ResultFigure("Directions of alignment", caption, shown, draw, (7.0 if len(blocks) > 1 else 4.0, 3.2))


def _averages(axes: Axes, names: Sequence[str], changes: Mapping[str, Sequence[float]]) -> None:
    for number, name in enumerate(names):
        if found := changes.get(name):
            axes.bar(number, fmean(found), 0.8, **bar_style(number))
            axes.plot([number] * len(found), found, "o", color="black", markersize=2.5)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks([])
    axes.set_ylabel("average change in %")


EXPERIMENT = Experiment(DirectionsConfig, cells, result)
