"""RQ1: does alignment help? Backbones × alignments × seeds on one data set or several (Tables 2 and 3)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, groupby
from pathlib import Path
from statistics import fmean

from pydantic import Field

from crossrec.backbones import BACKBONES
from crossrec.data import DataConfig, Dataset
from crossrec.experiments.analysis.comparison import (
    COLUMNS,
    DELTA,
    METRICS,
    PLAIN,
    Row,
    blocks_of,
    change,
    comparison,
    listed,
    short,
    verdict,
)
from crossrec.experiments.analysis.list_tables import block_rows, lists_table
from crossrec.experiments.analysis.run_evaluation import RunEvaluation, evaluate_runs
from crossrec.experiments.analysis.significance_tables import Comparison, compared, paired_table, verdicts, versus
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings, over_seeds
from crossrec.experiments.reporting.result import ExperimentResult
from crossrec.experiments.reporting.tables import RULE, CellValue, Column, ResultTable
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.training import SELECTION

TESTED = ("recall@20", "ndcg@20")
"""The metrics that are tested for chance."""


class CompareConfig(ExperimentConfig):
    """What to compare."""

    datasets: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Data sets to compare on, one table each; the one of --data unless given."""
    alignments: tuple[str, ...] = Field(default=("none", "fettle", "cross"), min_length=1)
    """Alignments, one row of a block each."""


def cells(options: CompareConfig, shared: SharedSettings) -> list[Cell]:
    """One cell per data set, backbone, alignment and seed."""
    return [
        Cell(
            shared.run_config(backbone, alignment, seed, data=shared.data.model_copy(update={"data": data})),
            group=(data, backbone, alignment),
        )
        for data in options.datasets or (shared.data.data,)
        for backbone in options.backbones
        for alignment in options.alignments
        for seed in options.seeds
    ]


def result(
    options: CompareConfig, shared: SharedSettings, results: Sequence[Result], datasets: Mapping[DataConfig, Dataset]
) -> ExperimentResult:
    """Three tables per data set: metrics and changes; paired tests; what lists hold, who gains, and what it cost."""
    tables, findings = {}, []
    for data, of_data in groupby(results, key=lambda result: result.cell.group[0]):
        own, name = list(of_data), Path(data).name
        blocks, tests, beyond = blocks_of(own), list[Comparison](), list[Sequence[CellValue]]()
        for block in blocks:
            outcomes = {row.name: evaluate_runs(row.results, datasets) for row in block}
            tests += block_tests(block, outcomes)
            beyond += [*([RULE] if beyond else []), *block_rows(block, outcomes)]
        stem = f"compare-{name}" if options.datasets and len(options.datasets) > 1 else "compare"
        tables[stem] = table(own, name)
        tables[f"{stem}-tests"] = paired_table(f"{name}: is it chance?", ("backbone", "compared", "metric"), tests)
        tables[f"{stem}-lists"] = lists_table(name, beyond, datasets[own[0].cell.config.data], options.seeds)
        findings += [f"{name}: {finding}" for finding in _findings(blocks, tests)]
    return ExperimentResult("Does alignment improve recommenders, and which alignment does so most?", findings, tables)


def table(results: Sequence[Result], data: str) -> ResultTable:
    """Mean ± deviation over seeds per backbone and alignment, and the improvement over the first alignment in %.

    Of several backbones also the averages, and CROSS against FETTLE as in the paper. A row in which a cell failed says
    so.
    """
    notes: tuple[str, ...] = (
        f"Test metrics{over_seeds(r.cell.config.training.seed for r in results)}; the epoch is chosen by validation "
        "Recall@20.",
        DELTA,
    )
    blocks = blocks_of(results)
    rows = comparison(blocks)
    known = [percents for percents in map(_against, blocks) if percents is not None]
    if known and str(rows[-1][0]).startswith("average"):
        share = "" if len(known) == len(blocks) else f" (of {len(known)})"
        average = [fmean(of_metric) for of_metric in zip(*known, strict=True)]
        rows.append([f"cross v.s. fettle{share}", *[""] * len(METRICS), *average, "", ""])
        notes += ("cross v.s. fettle: average over backbones of the change from fettle to cross, in %.",)
    return ResultTable(
        f"{data}: backbones and what is stacked on them", [Column("model", "left"), *COLUMNS], rows, notes
    )


def _against(block: Sequence[Row]) -> list[float] | None:
    """The change of each metric from FETTLE to CROSS in %; None where one of them is missing."""
    rows = {row.name: row for row in block}
    if not {"fettle", "cross"} <= rows.keys():
        return None
    percents = [change(rows["cross"].values(metric), rows["fettle"].values(metric)) for metric in METRICS]
    known = [percent for percent in percents if isinstance(percent, float) and math.isfinite(percent)]
    return known if len(known) == len(METRICS) else None


def block_tests(block: Sequence[Row], outcomes: Mapping[str, Sequence[RunEvaluation] | str]) -> list[Comparison]:
    """Every row of a block against every row above it, but CROSS against FETTLE in any order, in each of TESTED."""
    tests = []
    for base, new in combinations(block, 2):
        if (base.name, new.name) == ("cross", "fettle"):
            base, new = new, base
        for metric in TESTED:
            labels = new.backbone, versus(new.name, base.name), short(metric)
            tests.append(compared(labels, outcomes[new.name], outcomes[base.name], metric))
    return tests


def _findings(blocks: Sequence[Sequence[Row]], tests: Sequence[Comparison]) -> list[str]:
    """Recall@20 of each alignment against the first, and of CROSS against FETTLE; then the claims of Section 7.2."""
    said: list[str] = []
    shown = verdicts(tests)
    names = list(dict.fromkeys(row.name for block in blocks for row in block))
    pairs: list[tuple[str, str]] = [(new, names[0]) for new in names[1:]]
    pairs += [("cross", "fettle")] if {"cross", "fettle"} <= set(names[1:]) else []
    gains = {pair: _gains(blocks, *pair) for pair in pairs}
    for (new, base), gain in gains.items():
        what = f"{versus(new, base)}: Recall@20"
        if not gain:
            said.append(f"{what} cannot be compared, as results are missing.")
            continue
        told = [shown.get((backbone, versus(new, base), short(SELECTION))) for backbone in gain]
        beyond = f"{told.count('higher')} of {len(gain)} higher and {told.count('lower')} lower beyond chance"
        if len(gain) == 1:
            ((backbone, percent),) = gain.items()
            said.append(f"{what} changes by {percent:+.1f} % on {backbone}, {told[0] or 'not tested'} over users.")
        else:
            low, high = min(gain, key=gain.__getitem__), max(gain, key=gain.__getitem__)
            said.append(
                f"{what} changes by {fmean(gain.values()):+.1f} % on average of {len(gain)} backbones, from "
                f"{gain[low]:+.1f} % ({low}) to {gain[high]:+.1f} % ({high}); {beyond}."
            )
    return said + _verdicts(blocks, gains, shown)


def _gains(blocks: Sequence[Sequence[Row]], new: str, base: str) -> dict[str, float]:
    """Change of Recall@20 in % by backbone, where both are known."""
    found = {}
    for block in blocks:
        rows = {row.name: row for row in block}
        if {new, base} <= rows.keys():
            percent = change(rows[new].values(SELECTION), rows[base].values(SELECTION))
            if isinstance(percent, float) and math.isfinite(percent):
                found[rows[new].backbone] = percent
    return found


def _verdicts(
    blocks: Sequence[Sequence[Row]],
    gains: Mapping[tuple[str, str], Mapping[str, float]],
    shown: Mapping[tuple[str, ...], str],
) -> list[str]:
    def tested(new: str, base: str, on: Iterable[str]) -> list[str | None]:
        return [shown.get((backbone, versus(new, base), short(SELECTION))) for backbone in on]

    said, over = list[str](), listed([block[0].backbone for block in blocks])
    gain, against = gains.get(("cross", PLAIN)), gains.get(("cross", "fettle"))
    if gain is not None:
        worse = [backbone for backbone, percent in gain.items() if percent <= 0]
        risen = False if worse else True if len(gain) == len(blocks) else None
        detail = f"not {listed(worse)}" if worse else ""
        said.append(verdict(over, "CROSS improves every backbone", risen, detail, tested("cross", PLAIN, gain)))
        kinds = {kind: [p for b, p in gain.items() if BACKBONES[b].multimodal == kind] for kind in (False, True)}
        if all(kinds.values()):
            cf, mrs = fmean(kinds[False]), fmean(kinds[True])
            detail = f"{cf:+.1f} % and {mrs:+.1f} % on average; the paper: +36.6 % and +12.6 %"
            said.append(verdict(over, "collaborative backbones gain more than multi-modal ones", cf > mrs, detail))
    if against is not None:
        ahead = [backbone for backbone, percent in against.items() if percent > 0]
        average = fmean(against.values()) if against else math.nan
        detail = f"{average:+.1f} % on average, ahead on {len(ahead)} of {len(against)}" if against else ""
        holds = average > 0 and 2 * len(ahead) > len(against) if len(against) == len(blocks) else None
        claim = "CROSS outperforms FETTLE on average and on most backbones"
        said.append(verdict(over, claim, holds, detail, tested("cross", "fettle", against)))
    return said


EXPERIMENT = Experiment(CompareConfig, cells, result)
