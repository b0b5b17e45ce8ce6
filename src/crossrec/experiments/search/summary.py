"""Result of a search: tables, figures and findings, and files of the best settings for ``train`` and ``compare``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from crossrec.alignment import ALIGNMENTS
from crossrec.backbones import BACKBONES
from crossrec.data.io.atomic import write_json_atomic, write_text_atomic
from crossrec.experiments.analysis.wording import metric_label, seeds_note, short_metric
from crossrec.experiments.experiment import SharedSettings, settings_for
from crossrec.experiments.reporting.result import ExperimentResult, ResultFigure
from crossrec.experiments.reporting.tables import RULE, CellValue, Column, ResultTable, to_csv
from crossrec.experiments.search.setting_figure import cell_value, format_scalar, setting_figure
from crossrec.experiments.search.spaces import Choice, Range, Scalar, is_number
from crossrec.experiments.search.stages import Stage, TuneConfig
from crossrec.experiments.search.trials import STOPPED, Trial, Trials, best_trial, selection_of

TABLE_ROWS = 10
"""Settings of each search in the table; ``trials.csv`` has all."""
CLOSE = 0.01
"""Relative difference in the validation metric below which a finding counts a setting as equally good."""


def summarize(options: TuneConfig, stages: Sequence[Stage], trials: Trials, data: str) -> ExperimentResult:
    """The best settings of each stage, validation against each setting, and findings. ``data``: the data set's name."""
    rows: list[Sequence[CellValue]] = []
    findings, figures, selection = list[str](), dict[str, ResultFigure](), selection_of(trials)
    for stage in stages:
        plain = None if stage.alignment == "none" else best_trial(trials.get((stage.backbone, "none"), []))
        rows += [RULE] if rows else []
        rows += _rows(stage, trials[stage.key])
        findings += _findings(stage, trials[stage.key], plain)
        figure = setting_figure(stage, trials[stage.key], plain)
        if figure is not None:
            figures["-".join(["tune", *(part for part in stage.key if part != "none")])] = figure
    columns = [
        Column("model", "left"),
        Column("setting", "left"),
        Column(f"valid {short_metric(selection)}", best="max"),
        Column("best epoch", format=".0f"),
        Column("epochs", format=".0f"),
        Column("s/epoch", format=".2f"),
    ]
    notes = (
        f"Validation {metric_label(selection)}{seeds_note(options.seeds)}; test metrics take no part.",
        f"The best {TABLE_ROWS} settings of each search; trials.csv has every one.",
    )
    table = ResultTable(f"{data}: settings by validation", columns, rows, notes)
    return ExperimentResult("Which settings are best on validation?", findings, {"tune": table}, figures)


def write_settings(shared: SharedSettings, stages: Sequence[Stage], trials: Trials, out: Path) -> list[Path]:
    """Write the trials and the best settings; returns the paths.

    - ``trials.csv``: a row per trial
    - ``settings.json``: the best settings of all stages, for ``--settings`` of ``compare`` and of other searches
    - ``best-BACKBONE+ALIGNMENT.json`` per stage, and ``best.json`` for the best of all: configurations with the first
      seed, for ``train --config``

    If no trial has a value there is ``trials.csv`` only. Raises RunError if a file cannot be written.
    """
    all_trials = [trial for stage in stages for trial in trials[stage.key]]
    write_text_atomic(out / "trials.csv", to_csv(_trial_table(all_trials)))
    paths = [out / "trials.csv"]
    settings: dict[str, dict[str, Any]] = {}
    for stage in stages:
        backbone_settings, alignment_settings = settings_for(shared.model_settings, *stage.key)
        backbone_entry = settings.setdefault(BACKBONES.reference(stage.backbone), {"backbone": backbone_settings})
        best = best_trial(trials[stage.key])
        if best is None:
            continue
        if stage.alignment == "none":
            backbone_entry["backbone"] = backbone_settings | best.setting
        else:
            backbone_entry[ALIGNMENTS.reference(stage.alignment)] = alignment_settings | best.setting
        config = best.results[0].cell.config
        paths.append(out / f"best-{config.label}.json")
        write_json_atomic(paths[-1], config.model_dump(mode="json"))
    overall = best_trial(all_trials)
    if overall is not None:
        write_json_atomic(out / "settings.json", settings)
        write_json_atomic(out / "best.json", overall.results[0].cell.config.model_dump(mode="json"))
        paths += [out / "settings.json", out / "best.json"]
    return paths


def format_setting(setting: Mapping[str, Scalar]) -> str:
    """ "alpha 0.01, beta 0.01" """
    return ", ".join(f"{name} {format_scalar(value)}" for name, value in setting.items()) or "as it is"


def _recall_cell(trial: Trial) -> CellValue:
    """The validation metric for a table: one number, one per seed, or the failure."""
    return trial.failure or (trial.values if len(trial.values) > 1 else trial.value)


def _rows(stage: Stage, trials: Sequence[Trial]) -> list[Sequence[CellValue]]:
    """The best trials, in a tie the one proposed first, then one row per kind of failure."""
    ranked = sorted(trials, key=lambda trial: -math.inf if trial.value is None else trial.value, reverse=True)
    rows: list[Sequence[CellValue]] = []
    for trial in [trial for trial in ranked if trial.value is not None][:TABLE_ROWS]:
        metrics = [result.metrics or {} for result in trial.results]
        means = (fmean(m[name] for m in metrics) for name in ("best_epoch", "epochs", "train_seconds_per_epoch"))
        rows.append([stage.label, format_setting(trial.setting), _recall_cell(trial), *means])
    for failure in dict.fromkeys(trial.failure for trial in ranked if trial.value is None):
        failed = [trial for trial in ranked if trial.failure == failure]
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        rows.append([stage.label, format_setting(failed[0].setting) + more, failure, *["–"] * 3])
    return rows or [[stage.label, "none was tried", "not run", *["–"] * 3]]


def _trial_table(trials: Sequence[Trial]) -> ResultTable:
    """Every trial with all its settings."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.setting))
    metric = selection_of({("", ""): list(trials)})
    columns = ("backbone", "alignment", "trial", *names, f"valid {metric}", "best epoch", "state", "folders")
    rows: list[Sequence[CellValue]] = []
    for trial in trials:
        setting = [cell_value(trial.setting.get(name, "")) for name in names]
        epochs = " ".join(str((result.metrics or {}).get("best_epoch", "")) for result in trial.results)
        recall, state = ("", trial.failure) if trial.failure else (_recall_cell(trial), "done")
        folders = " ".join(result.folder.name for result in trial.results)
        rows.append([*trial.stage.key, trial.number, *setting, recall, epochs, state, folders])
    return ResultTable("trials", list(map(Column, columns)), rows)


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
    metric = metric_label(selection_of({stage.key: list(trials)}))
    findings = [
        f"{stage.label}: the best of {len(trials)} settings is {format_setting(best.setting)}, with validation "
        f"{metric} {best.value:.4f}{gain}; {others} less than {100 * CLOSE:.0f} % below it."
    ]
    edges = [f"{name} {edge}" for name, values in stage.space.free.items() if (edge := _edge(values, best, name))]
    if edges:
        findings.append(f"{stage.label}: the best setting lies at the edge of what was searched: {', '.join(edges)}.")
    stopped = sum(trial.failure.startswith(STOPPED) for trial in trials)
    if stopped:
        findings.append(f"{stage.label}: {stopped} settings were stopped early, as they lagged behind.")
    failed = [trial for trial in trials if trial.value is None and not trial.failure.startswith(STOPPED)]
    if failed:
        findings.append(f"{stage.label}: {len(failed)} settings have no value, the first one {failed[0].failure}.")
    return findings


def _edge(values: Choice | Range, best: Trial, name: str) -> str:
    """ "(0.03, the largest)" if a number is the first or last of at least three, or within 2 % of a range's bound."""
    value, ends = best.point[name], values.ends()
    numbers = [float(number) for number in (value, *ends) if is_number(number)]
    if len(numbers) <= len(ends) or (isinstance(values, Choice) and len(ends) < 3):
        return ""
    if isinstance(values, Range) and values.log:
        numbers = [math.log(number) for number in numbers]
    position, low, high = numbers[0], min(numbers[1:]), max(numbers[1:])
    margin = 0.02 * (high - low) if isinstance(values, Range) else 0.0
    which = "smallest" if position <= low + margin else "largest" if position >= high - margin else ""
    return f"({format_scalar(best.setting.get(name, value))}, the {which})" if which else ""
