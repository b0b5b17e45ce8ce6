"""RQ2: what does each component do? The backbone with every subset of CROSS's components that is asked for (Fig. 6)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from pydantic import Field

from crossrec.alignment import CrossConfig
from crossrec.alignment.config import Term
from crossrec.data import DataConfig, Dataset
from crossrec.experiments.analysis.comparison import (
    COLUMNS,
    DELTA,
    PLAIN,
    Row,
    Values,
    above,
    best,
    blocks_of,
    change,
    comparison,
    every,
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
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings, check_name, over_seeds
from crossrec.experiments.reporting.figures import bar_style, label_bar, means_and_deviations
from crossrec.experiments.reporting.result import ExperimentResult, ResultFigure
from crossrec.experiments.reporting.tables import Column, ResultTable
from crossrec.experiments.runner.jobs import Cell, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

COMPONENTS: dict[str, tuple[Term, ...]] = {
    "ILDA": ("item",),
    "DT": ("tuning",),
    "CNA": ("neighbor",),
    "CLA": ("cluster_items", "cluster_users"),
}
"""Names of the paper → terms."""
TERMS: tuple[Term, ...] = CrossConfig.model_fields["terms"].default
ALL = "ILDA&DT&CNA&CLA"
PAPER = (
    *("ILDA", "DT", "CNA", "CLA"),
    *("ILDA&DT", "ILDA&CNA", "ILDA&CLA", "CNA&CLA", "ILDA&CNA&CLA", ALL),
)
"""The subsets of Figure 6 and the pairs between them."""
ADDED = (
    ("ILDA&CNA&CLA", "ILDA", "CNA and CLA add to ILDA"),
    (ALL, "ILDA&CNA&CLA", "DT adds to the other three"),
)
"""A subset, the one it adds to, and what the paper claims of the two."""
LITTLE = 1.0
"""A change of Recall@10, in %, that the paper calls little or none (it has -0.16 for DT on Baby)."""
METRIC = "recall@10"
"""The metric that claims are judged by."""
SHOWN = (METRIC, "ndcg@10")
"""The metrics of Figure 6."""


class AblateConfig(ExperimentConfig):
    """What to leave out."""

    backbones: tuple[str, ...] = Field(default=("freedom",), min_length=1)
    """Backbones to ask the question of."""
    subsets: tuple[str, ...] = Field(default=("paper",), min_length=1)
    """Components or terms joined by +, e.g. ilda+cna tuning+neighbor; 'paper' stands for those of Figure 6."""


def cells(options: AblateConfig, shared: SharedSettings) -> list[Cell]:
    """The backbone alone and every subset, per backbone and seed. Raises ConfigError for an unknown component."""
    subsets = _subsets(options)
    return [
        Cell(
            shared.run_config(
                backbone, "cross" if terms else PLAIN, seed, alignment_settings={"terms": terms} if terms else None
            ),
            group=(backbone, name_of(terms) if terms else PLAIN),
        )
        for backbone in options.backbones
        for terms in ((), *subsets)
        for seed in options.seeds
    ]


def result(
    options: AblateConfig, shared: SharedSettings, results: Sequence[Result], datasets: Mapping[DataConfig, Dataset]
) -> ExperimentResult:
    """One table, a figure of its Recall@10 and NDCG@10, and what the paper says of the components."""
    blocks, data = blocks_of(results), next(iter(datasets.values())).name
    added = [(richer, poorer) for richer, poorer, _ in ADDED]
    tests = tested_pairs((pair for block in blocks for pair in pairs_of(block, added)), datasets, METRIC)
    notes = [
        f"Test metrics{over_seeds(options.seeds)}. ILDA: item level, DT: direction tuning, CNA: neighbours, CLA: "
        "clusters of items and of users.",
        DELTA,
        *(note for block in blocks for note in _weightless(block)),
    ]
    title = f"{data}: components of CROSS"
    shown = ResultTable(title, [Column("model", "left"), *COLUMNS], comparison(blocks), notes)
    return ExperimentResult(
        "What does each component of CROSS do, alone and with the others?",
        [finding for block in blocks for finding in _findings(block, verdicts(tests))],
        {"ablate": shown, "ablate-tests": paired_table(f"{data}: is it chance? {named(METRIC)}", HEADS, tests)},
        {"ablate-figure": _figure(blocks, data, options.seeds)},
    )


def terms_of(subset: str, flag: str = "--subsets") -> tuple[Term, ...]:
    """The terms that "ilda+cna" or "tuning+neighbor" names, in the order of CROSS.

    Raises ConfigError, naming the ``flag``, for another.
    """
    names: dict[str, tuple[Term, ...]] = {name.lower(): terms for name, terms in COMPONENTS.items()}
    names |= {term: (term,) for term in TERMS}
    chosen: set[str] = set()
    for part in re.split(r"[+&]", subset.lower()):
        check_name(part.strip(), names, flag)
        chosen |= set(names[part.strip()])
    return tuple(term for term in TERMS if term in chosen)


def name_of(terms: Sequence[str]) -> str:
    """ "ILDA&CNA" of item and neighbor; a term of CLA without the other has its own name."""
    parts: list[str] = []
    for name, of_component in COMPONENTS.items():
        present = [term for term in of_component if term in terms]
        parts += [name] if len(present) == len(of_component) else present
    return "&".join(parts)


def _subsets(options: AblateConfig) -> list[tuple[Term, ...]]:
    asked = [name for subset in options.subsets for name in (PAPER if subset.lower() == "paper" else (subset,))]
    return list(dict.fromkeys(terms_of(name) for name in asked))


def _weightless(block: Sequence[Row]) -> list[str]:
    """Terms that the settings weigh with 0, which leaves them out of every row."""
    backbone = block[0].backbone
    configs = [cast(CrossConfig, row.results[0].cell.config.alignment) for row in block if row.name != PLAIN]
    without = {term for config in configs for term in config.terms if not config.weight(term)}
    return [f"{backbone}: the weight of {name_of(sorted(without))} is 0, so it is not computed."] if without else []


def _findings(block: Sequence[Row], shown: Mapping[tuple[str, ...], str]) -> list[str]:
    backbone = block[0].backbone
    value = {row.name: row.values(METRIC) for row in block}
    plain = value.pop(PLAIN)
    alone = {name: value[name] for name in COMPONENTS if name in value}
    said = [f"{backbone}: {name} alone changes Recall@10 by {rise(found, plain)}." for name, found in alone.items()]
    if ALL in value:
        said.append(f"{backbone}: all components change Recall@10 by {rise(value[ALL], plain)}.")
    if (highest := best(value)) and len(value) > 1:
        said.append(f"{backbone}: {highest} has the highest Recall@10 of the {len(value)} subsets.")
    return said + _verdicts(backbone, value, plain, alone, shown)


def _verdicts(
    backbone: str,
    value: dict[str, Values],
    plain: Values,
    alone: dict[str, Values],
    shown: Mapping[tuple[str, ...], str],
) -> list[str]:
    """The claims of Section 7.3, as far as the subsets they are about were asked for."""
    said = []
    helpful = [name for name in ("ILDA", "CNA", "CLA") if name in alone]
    if helpful:
        lifted = {name: above(alone[name], plain) for name in helpful}
        fallen = [name for name, up in lifted.items() if up is False]
        claim = f"{listed(helpful)} alone raise{'s' * (len(helpful) == 1)} Recall@10"
        tested = [shown.get((backbone, versus(name, PLAIN))) for name in helpful]
        detail = f"not {listed(fallen)}" if fallen else ""
        said.append(verdict(backbone, claim, every(lifted.values()), detail, tested))
    if "ILDA" in alone and len(alone) > 1:
        strongest = best(alone)
        holds = None if strongest is None else strongest == "ILDA"
        detail = "" if holds is not False else f"it is {strongest}"
        said.append(verdict(backbone, "ILDA is the strongest component alone", holds, detail))
    if "DT" in alone:
        percent = change(alone["DT"], plain)
        holds = abs(percent) < LITTLE if isinstance(percent, float) and math.isfinite(percent) else None
        claim, detail, tested = f"DT alone does little, less than {LITTLE:g} % either way,", "", []
        if holds is False:
            detail, found = rise(alone["DT"], plain), shown.get((backbone, versus("DT", PLAIN)))
            tested = [found.replace("higher", "lower")] if found else []  # either is the contrary
        said.append(verdict(backbone, claim, holds, detail, tested))
    for richer, poorer, claim in ADDED:
        if richer in value and poorer in value:
            new, old = value[richer], value[poorer]
            tested = [shown.get((backbone, versus(richer, poorer)))]
            said.append(verdict(backbone, claim, above(new, old), rise(new, old), tested))
    return said


def _figure(blocks: Sequence[Sequence[Row]], data: str, seeds: Sequence[int]) -> ResultFigure:
    """Bars from 0, the plain backbone first; a panel a metric, a row of panels a backbone."""
    shown = numbers(f"{data}: components of CROSS", blocks, "components", SHOWN)

    def draw(canvas: Canvas) -> None:
        panels = canvas.subplots(len(blocks), len(SHOWN), squeeze=False, sharey="row", sharex="col")
        for y, block in enumerate(blocks):
            rows = [row for row in shown.rows if row[0] == block[0].backbone]
            labels = [block[0].backbone, *(f"+ {row[1]}" for row in rows[1:])]
            for x, metric in enumerate(SHOWN):
                axes, (means, deviations) = panels[y][x], means_and_deviations([row[2 + x] for row in rows])
                for place, (row, mean, deviation) in enumerate(zip(rows, means, deviations, strict=True)):
                    style = bar_style(0 if row[1] == PLAIN else 1 + str(row[1]).count("&"))
                    axes.barh(place, mean, xerr=deviation, height=0.75, **style)
                    if place:
                        label_bar(axes, row[2 + len(SHOWN) + x], (max(mean, means[0]), place), deviation, sideways=True)
                axes.axvline(means[0], color="black", linewidth=0.8, linestyle=":")
                axes.set_yticks(range(len(rows)), labels)
                axes.grid(axis="x")
                axes.grid(visible=False, axis="y")
                axes.set_xlabel(named(metric))
                axes.margins(x=0.2, y=0.02)
            panels[y][0].invert_yaxis()

    caption = (
        f"{data}: the backbone alone (top, dotted line) and with components of CROSS. Test metrics{over_seeds(seeds)}; "
        "the percentages are changes of the mean against the backbone."
    )
    height = 0.6 + 0.22 * len(shown.rows) + 0.3 * len(blocks)
    return ResultFigure("Components of CROSS", caption, shown, draw, (7.0, height))


EXPERIMENT = Experiment(AblateConfig, cells, result)
