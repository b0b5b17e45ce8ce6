"""RQ1: does alignment help? Backbones × alignments × seeds on one data set or several (Tables 2 and 3)."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, groupby
from pathlib import Path
from statistics import fmean

from pydantic import Field

from crossrec.backbones import BACKBONES
from crossrec.baselines import BASELINES
from crossrec.data import DataConfig, Dataset
from crossrec.errors import DataError
from crossrec.evaluation import mean_metrics
from crossrec.evaluation.groups import group_means
from crossrec.experiments.analysis.baseline_rows import baseline_rows
from crossrec.experiments.analysis.comparison import (
    PLAIN,
    MethodRuns,
    comparison_table,
    headline_metric,
    method_blocks,
    shown_metrics,
)
from crossrec.experiments.analysis.published import check_published, published_table
from crossrec.experiments.analysis.run_evaluation import RunEvaluation, evaluate_runs, user_groups
from crossrec.experiments.analysis.search_budget import with_trials
from crossrec.experiments.analysis.seed_values import finite, percent_change, seed_values
from crossrec.experiments.analysis.significance_tables import Comparison, PairedTests, compare_methods, versus
from crossrec.experiments.analysis.wording import (
    join_words,
    judge_all,
    judge_claim,
    metric_label,
    seeds_note,
    short_metric,
)
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings, check_name
from crossrec.experiments.reporting.result import ExperimentResult
from crossrec.experiments.reporting.tables import CellValue, Column, ResultTable, join_blocks
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.training import SELECTION

TESTED = ("recall@20", "ndcg@20")
"""Metrics of the significance tests, beside those that --metrics and --k name."""
LIST_METRICS = ("coverage@20", "gini@20", "popularity@20", "novelty@20", "tail@20")
"""Of the lists of the test users: docs/evaluation.md has the formulas."""
FORMATS = {"popularity@20": ".1f", "novelty@20": ".2f"} | dict.fromkeys(("coverage@20", "gini@20", "tail@20"), ".3f")


class CompareConfig(ExperimentConfig):
    """Options of ``crossrec compare``."""

    datasets: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Data sets to compare on, one table each; the one of --data unless given."""
    alignments: tuple[str, ...] = Field(default=("none", "fettle", "cross"), min_length=1)
    """Alignments, one row of a block each."""
    baselines: tuple[str, ...] = ()
    """Recommenders without training, a row each: popularity, itemknn, ease, content; none unless given."""
    published: str | None = None
    """Show printed figures beside the measured ones: paper, or a table with data, backbone, alignment and metrics."""


def cells(options: CompareConfig, shared: SharedSettings) -> list[Cell]:
    """One cell per data set, backbone, alignment and seed.

    Raises ConfigError for an unknown baseline, DataError for a wrong file of --published.
    """
    for name in options.baselines:
        check_name(name, BASELINES, "--baselines")
    planned = [
        Cell(
            shared.run_config(backbone, alignment, seed, data=shared.data.model_copy(update={"data": data})),
            group=(data, backbone, alignment),
        )
        for data in options.datasets or (shared.data.data,)
        for backbone in options.backbones
        for alignment in options.alignments
        for seed in options.seeds
    ]
    if options.published is not None:
        check_published(options.published, [cell.group for cell in planned])
    return planned


def table(runs: Sequence[Result], data: str) -> ResultTable:
    """Mean ± deviation over seeds per backbone and alignment, and the improvement over the first alignment in %.

    With several backbones also the average improvements, and that of CROSS over FETTLE as in the paper. A failed cell
    fills its row with the failure.
    """
    blocks = method_blocks(runs)
    seeds = seeds_note(run.cell.config.training.seed for run in runs)
    chosen_by = metric_label(runs[0].cell.config.training.selection)
    note = f"Test metrics{seeds}; the epoch is chosen by validation {chosen_by}."
    comparison = comparison_table(f"{data}: backbones and what is stacked on them", blocks, note)
    changes = [percents for percents in map(_cross_against_fettle, blocks) if percents is not None]
    if not changes or not str(comparison.rows[-1][0]).startswith("average"):
        return comparison
    share = "" if len(changes) == len(blocks) else f" (of {len(changes)})"
    averages = [fmean(of_metric) for of_metric in zip(*changes, strict=True)]
    row: list[CellValue] = [f"cross v.s. fettle{share}", *[""] * len(averages), *averages, "", ""]
    note = "cross v.s. fettle: average over backbones of the change from fettle to cross, in %."
    return replace(comparison, rows=[*comparison.rows, row], footnotes=[*comparison.footnotes, note])


def _cross_against_fettle(block: Sequence[MethodRuns]) -> list[float] | None:
    """The change of each metric from FETTLE to CROSS in %; None where one is missing."""
    methods = {method.name: method for method in block}
    if not {"fettle", "cross"} <= methods.keys():
        return None
    cross, fettle = methods["cross"], methods["fettle"]
    shown = shown_metrics(cross.results)
    changes = [finite(percent_change(cross.values(metric), fettle.values(metric))) for metric in shown]
    percents = [percent for percent in changes if percent is not None]
    return percents if len(percents) == len(shown) else None


def block_tests(
    block: Sequence[MethodRuns], evaluations: Mapping[str, Sequence[RunEvaluation] | str]
) -> list[Comparison]:
    """Test every method against every one before it in each metric, and CROSS against FETTLE in any order."""
    tests, training = list[Comparison](), block[0].results[0].cell.config.training
    named = training.shown if training.metrics or training.k else ()
    for base, new in combinations(block, 2):
        if (base.name, new.name) == ("cross", "fettle"):
            base, new = new, base
        for metric in dict.fromkeys([*TESTED, *named]):
            labels = new.backbone, versus(new.name, base.name), short_metric(metric)
            tests.append(compare_methods(labels, evaluations[new.name], evaluations[base.name], metric))
    return tests


def lists_table(
    data: str, rows: Sequence[Sequence[CellValue]], dataset: Dataset, seeds: Sequence[int], metric: str
) -> ResultTable:
    """The table of ``list_rows`` and rules. The row of a failed model is short and gets empty cells."""
    users = user_groups(dataset)
    columns = [Column("model", "left"), *(Column(name, format=FORMATS.get(name, ".4f")) for name in LIST_METRICS)]
    columns += [Column(name, best="max", group=f"{short_metric(metric)}, users") for name in users.names]
    columns += [Column("epochs", format=".0f"), Column("s/epoch", format=".2f"), Column("minutes", format=".1f")]
    columns.append(Column("peak MB", format=".0f"))
    notes = (
        f"Lists of 20 for the test users{seeds_note(seeds)}. coverage: share of items in some list; gini: 0 where all "
        "items are listed equally often; popularity: training interactions of a listed item; novelty in bits; tail: "
        "share of places that hold none of the 20 % most popular items.",
        f"{short_metric(metric)} by the users' training interactions: quarters of the users, as far as ties allow.",
        "epochs: trained, with those after the best one; minutes: training and validation of a run; peak MB: of its "
        "process.",
    )
    complete = [[*row, *[None] * (len(columns) - len(row))] if row else row for row in rows]
    return ResultTable(f"{data}: lists, users with few interactions, and cost", columns, complete, notes)


def list_rows(
    block: Sequence[MethodRuns], evaluations: Mapping[str, Sequence[RunEvaluation] | str]
) -> list[Sequence[CellValue]]:
    """A row per method, or its failure. ``evaluations``: by name of the method."""
    return [[method.label, *_method_cells(method.results, evaluations[method.name])] for method in block]


def _method_cells(results: Sequence[Result], evaluations: Sequence[RunEvaluation] | str) -> list[CellValue]:
    if isinstance(evaluations, str):
        return [evaluations]
    try:
        values_by_seed = [_list_values(evaluation, headline_metric(results, SELECTION)) for evaluation in evaluations]
    except DataError:
        return ["no test pairs"]
    costs_by_seed = [_cost(result) for result in results]
    return [seed_values(values) for by_seed in (values_by_seed, costs_by_seed) for values in zip(*by_seed, strict=True)]


def _list_values(evaluation: RunEvaluation, metric: str) -> list[float]:
    metrics = evaluation.exposure | mean_metrics(evaluation.lists)
    by_group, names = group_means(evaluation.of_users), evaluation.users.names
    return [*(metrics[name] for name in LIST_METRICS), *(by_group[name].means[metric] for name in names)]


def _cost(result: Result) -> list[float]:
    metrics = result.metrics or {}
    epochs, seconds, memory = (
        float(metrics.get(name, math.nan)) for name in ("epochs", "train_seconds_per_epoch", "peak_memory_mb")
    )
    return [epochs, seconds, _minutes(result.folder), memory]


def _minutes(folder: Path) -> float:
    """Minutes of all epochs in a run's history; NaN where the file is missing or damaged."""
    try:
        with (folder / "history.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return sum(float(row["train_seconds"]) + float(row["eval_seconds"]) for row in rows) / 60
    except (OSError, KeyError, TypeError, ValueError):
        return math.nan


def _findings(blocks: Sequence[Sequence[MethodRuns]], tests: PairedTests) -> list[str]:
    """The change by each alignment against the first, and of CROSS against FETTLE; then the claims of Section 7.2."""
    names = list(dict.fromkeys(method.name for block in blocks for method in block))
    pairs: list[tuple[str, str]] = [(new, names[0]) for new in names[1:]]
    pairs += [("cross", "fettle")] if {"cross", "fettle"} <= set(names[1:]) else []
    changes = {pair: _changes_by_backbone(blocks, *pair) for pair in pairs}
    metric = headline_metric(blocks[0][0].results, SELECTION)
    sentences = [_change_sentence(versus(*pair), changes[pair], tests, metric) for pair in pairs]
    return sentences + _claims(blocks, changes, tests)


def _changes_by_backbone(blocks: Sequence[Sequence[MethodRuns]], new: str, base: str) -> dict[str, float]:
    """The change of the metric in %, on the backbones where both methods have one."""
    changes, metric = {}, headline_metric(blocks[0][0].results, SELECTION)
    for block in blocks:
        methods = {method.name: method for method in block}
        if {new, base} <= methods.keys():
            percent = finite(percent_change(methods[new].values(metric), methods[base].values(metric)))
            if percent is not None:
                changes[methods[new].backbone] = percent
    return changes


def _change_sentence(compared: str, changes: Mapping[str, float], tests: PairedTests, metric: str) -> str:
    subject = f"{compared}: {metric_label(metric)}"
    if not changes:
        return f"{subject} cannot be compared, as results are missing."
    verdicts = [tests.verdict(backbone, compared, short_metric(metric)) for backbone in changes]
    if len(changes) == 1:
        ((backbone, percent),) = changes.items()
        return f"{subject} changes by {percent:+.1f} % on {backbone}, {verdicts[0] or 'not tested'} over users."
    low, high = min(changes, key=changes.__getitem__), max(changes, key=changes.__getitem__)
    return (
        f"{subject} changes by {fmean(changes.values()):+.1f} % on average of {len(changes)} backbones, from "
        f"{changes[low]:+.1f} % ({low}) to {changes[high]:+.1f} % ({high}); {verdicts.count('higher')} of "
        f"{len(changes)} higher and {verdicts.count('lower')} lower beyond chance."
    )


def _claims(
    blocks: Sequence[Sequence[MethodRuns]],
    changes: Mapping[tuple[str, str], Mapping[str, float]],
    tests: PairedTests,
) -> list[str]:
    """The claims of Section 7.2 on CROSS."""

    metric = short_metric(headline_metric(blocks[0][0].results, SELECTION))

    def verdicts(base: str, backbones: Iterable[str]) -> list[str | None]:
        return [tests.verdict(name, versus("cross", base), metric) for name in backbones]

    backbones, sentences = [block[0].backbone for block in blocks], list[str]()
    subject = join_words(backbones)
    if (gains := changes.get(("cross", PLAIN))) is not None:
        better = {name: gains[name] > 0 if name in gains else None for name in backbones}
        sentences.append(judge_all(subject, "CROSS improves every backbone", better, verdicts(PLAIN, gains)))
        by_kind = {kind: [p for b, p in gains.items() if BACKBONES[b].multimodal == kind] for kind in (False, True)}
        if all(by_kind.values()):
            collaborative, multimodal = fmean(by_kind[False]), fmean(by_kind[True])
            detail = f"{collaborative:+.1f} % and {multimodal:+.1f} % on average; the paper: +36.6 % and +12.6 %"
            claim = "collaborative backbones gain more than multi-modal ones"
            sentences.append(judge_claim(subject, claim, collaborative > multimodal, detail))
    if (against_fettle := changes.get(("cross", "fettle"))) is not None:
        holds, detail = None, ""
        if against_fettle:
            ahead = sum(percent > 0 for percent in against_fettle.values())
            average = fmean(against_fettle.values())
            detail = f"{average:+.1f} % on average, ahead on {ahead} of {len(against_fettle)}"
            if len(against_fettle) == len(blocks):
                holds = average > 0 and 2 * ahead > len(against_fettle)
        claim = "CROSS outperforms FETTLE on average and on most backbones"
        sentences.append(judge_claim(subject, claim, holds, detail, verdicts("fettle", against_fettle)))
    return sentences


def result(
    options: CompareConfig, shared: SharedSettings, runs: Sequence[Result], datasets: Mapping[DataConfig, Dataset]
) -> ExperimentResult:
    """Tables per data set: metrics and changes; paired tests; lists, gains by group of users, and cost.

    With --published also the printed figures beside the measured ones.
    """
    tables, findings = {}, []
    for data, group in groupby(runs, key=lambda run: run.cell.group[0]):
        data_runs, name = list(group), Path(data).name
        blocks, comparisons, rows = method_blocks(data_runs), list[Comparison](), []
        for block in blocks:
            evaluations = {method.name: evaluate_runs(method.results, datasets) for method in block}
            comparisons += block_tests(block, evaluations)
            rows.append(list_rows(block, evaluations))
        tests, lists = PairedTests(comparisons), join_blocks(rows)
        stem = f"compare-{name}" if options.datasets and len(options.datasets) > 1 else "compare"
        dataset = datasets[data_runs[0].cell.config.data]
        tables[stem] = with_trials(table(data_runs, name), blocks, shared.trials)
        if options.baselines:
            rows_above = baseline_rows(options.baselines, dataset, shared.training)
            if shared.trials:
                rows_above = [[*row, ""] for row in rows_above]
            tables[stem] = replace(tables[stem], rows=join_blocks([rows_above, tables[stem].rows]))
        tables[f"{stem}-tests"] = tests.table(f"{name}: is it chance?", ("backbone", "compared", "metric"))
        tables[f"{stem}-lists"] = lists_table(name, lists, dataset, options.seeds, shared.training.headline(SELECTION))
        if options.published is not None:
            tables[f"{stem}-published"] = published_table(options.published, name, blocks)
        findings += [f"{name}: {finding}" for finding in _findings(blocks, tests)]
    return ExperimentResult("Does alignment improve recommenders, and which alignment does so most?", findings, tables)


EXPERIMENT = Experiment(CompareConfig, cells, result)
