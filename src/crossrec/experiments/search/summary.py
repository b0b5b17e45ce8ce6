"""Result of a search: a table of the best settings, a figure per stage, and findings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from crossrec.experiments.analysis.wording import seeds_note
from crossrec.experiments.reporting.result import ExperimentResult
from crossrec.experiments.reporting.tables import RULE, CellValue, Column, ResultTable
from crossrec.experiments.search.setting_figure import format_scalar, setting_figure
from crossrec.experiments.search.spaces import Choice, Range, Scalar
from crossrec.experiments.search.stages import Stage, TuneConfig
from crossrec.experiments.search.trials import Trial, best_trial

TABLE_ROWS = 10
"""Settings of each search in the table; ``trials.csv`` has all."""
CLOSE = 0.01
"""Relative difference in Recall@20 below which a finding counts a setting as equally good."""


def summarize(options: TuneConfig, stages: Sequence[Stage], trials: Sequence[Trial], data: str) -> ExperimentResult:
    """The best settings of each stage, validation against each setting, and findings. ``data``: the data set's name."""
    trials_of = {stage.key: [trial for trial in trials if trial.stage.key == stage.key] for stage in stages}
    plain_of = {
        stage.key: None if stage.alignment == "none" else best_trial(trials_of.get((stage.backbone, "none"), []))
        for stage in stages
    }
    rows: list[Sequence[CellValue]] = []
    for stage in stages:
        rows += [RULE] if rows else []
        rows += _rows(stage, trials_of[stage.key])
    columns = [
        Column("model", "left"),
        Column("setting", "left"),
        Column("valid R@20", best="max"),
        Column("best epoch", format=".0f"),
        Column("epochs", format=".0f"),
        Column("s/epoch", format=".2f"),
    ]
    notes = (
        f"Validation Recall@20{seeds_note(options.seeds)}; test metrics take no part.",
        f"The best {TABLE_ROWS} settings of each search; trials.csv has every one.",
    )
    figures = {}
    for stage in stages:
        figure = setting_figure(stage, trials_of[stage.key], plain_of[stage.key])
        if figure is not None:
            figures["-".join(["tune", *(part for part in stage.key if part != "none")])] = figure
    return ExperimentResult(
        "Which settings are best on validation?",
        [finding for stage in stages for finding in _findings(stage, trials_of[stage.key], plain_of[stage.key])],
        {"tune": ResultTable(f"{data}: settings by validation", columns, rows, notes)},
        figures,
    )


def format_setting(setting: Mapping[str, Scalar]) -> str:
    """ "alpha 0.01, beta 0.01" """
    return ", ".join(f"{name} {format_scalar(value)}" for name, value in setting.items()) or "as it is"


def recall_cell(trial: Trial) -> CellValue:
    """Validation Recall@20 for a table: one number, one per seed, or the failure."""
    return trial.failure or (trial.values if len(trial.values) > 1 else trial.value)


def _rows(stage: Stage, trials: Sequence[Trial]) -> list[Sequence[CellValue]]:
    """The best trials, in a tie the one proposed first, then one row per kind of failure."""
    ranked = sorted(trials, key=lambda trial: -math.inf if trial.value is None else trial.value, reverse=True)
    rows: list[Sequence[CellValue]] = []
    for trial in [trial for trial in ranked if trial.value is not None][:TABLE_ROWS]:
        metrics = [result.metrics or {} for result in trial.results]
        means = (fmean(m[name] for m in metrics) for name in ("best_epoch", "epochs", "train_seconds_per_epoch"))
        rows.append([stage.label, format_setting(trial.setting), recall_cell(trial), *means])
    for failure in dict.fromkeys(trial.failure for trial in ranked if trial.value is None):
        failed = [trial for trial in ranked if trial.failure == failure]
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        rows.append([stage.label, format_setting(failed[0].setting) + more, failure, *["–"] * 3])
    return rows or [[stage.label, "none was tried", "not run", *["–"] * 3]]


def _findings(stage: Stage, trials: Sequence[Trial], plain: Trial | None) -> list[str]:
    best = best_trial(trials)
    if best is None or best.value is None:
        why = "every setting failed" if trials else "no setting was tried"
        return [f"{stage.label}: {why}, so there is no best one."]
    gain = ""
    if plain is not None and plain.value:
        gain = f", {100 * (best.value / plain.value - 1):+.1f} % on the {plain.value:.4f} of {stage.backbone} alone"
    close = sum(trial.value is not None and trial.value > (1 - CLOSE) * best.value for trial in trials) - 1
    others = "no other is" if not close else "one other is" if close == 1 else f"{close} others are"
    findings = [
        f"{stage.label}: the best of {len(trials)} settings is {format_setting(best.setting)}, with validation "
        f"Recall@20 {best.value:.4f}{gain}; {others} less than {100 * CLOSE:.0f} % below it."
    ]
    edges = [f"{name} {edge}" for name, values in stage.space.free.items() if (edge := _edge(values, best, name))]
    if edges:
        findings.append(f"{stage.label}: the best setting lies at the edge of what was searched: {', '.join(edges)}.")
    failed = [trial for trial in trials if trial.value is None]
    if failed:
        findings.append(f"{stage.label}: {len(failed)} settings have no value, the first one {failed[0].failure}.")
    return findings


def _edge(values: Choice | Range, best: Trial, name: str) -> str:
    """ "(0.03, the largest)" if a number is the first or last of at least three, or within 2 % of a range's bound."""
    value = best.point[name]
    numbers = [end for end in values.ends() if isinstance(end, int | float) and not isinstance(end, bool)]
    if not isinstance(value, int | float) or len(numbers) < len(values.ends()):
        return ""
    low, high = min(numbers), max(numbers)
    if isinstance(values, Choice):
        margin, position, first, last = 0.0, float(value), float(low), float(high)
        if len(numbers) < 3:
            return ""
    else:
        position, first, last = (math.log(x) if values.log else float(x) for x in (value, low, high))
        margin = 0.02 * (last - first)
    which = "smallest" if position <= first + margin else "largest" if position >= last - margin else ""
    return f"({format_scalar(best.setting.get(name, value))}, the {which})" if which else ""
