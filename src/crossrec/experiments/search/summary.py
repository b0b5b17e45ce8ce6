"""What a search came to: tables, figures and findings, and files that ``compare`` and ``train`` take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from crossrec.data.io.atomic import write_json_atomic, write_text_atomic
from crossrec.experiments.experiment import SharedSettings, over_seeds, settings_for
from crossrec.experiments.reporting.figures import line_style
from crossrec.experiments.reporting.result import ExperimentResult, ResultFigure
from crossrec.experiments.reporting.tables import RULE, CellValue, Column, ResultTable, to_csv
from crossrec.experiments.search.spaces import Choice, Range, Scalar
from crossrec.experiments.search.tune import Stage, Trial, TuneConfig, best

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

SHOWN = 10
"""Settings of each search in the table; ``trials.csv`` has all."""
CLOSE = 0.01
"""Settings whose Recall@20 is less than so large a share below the best one's are as good, for a finding."""
PANELS = 3
"""Panels of a figure beside each other."""


def answer(options: TuneConfig, todo: Sequence[Stage], trials: Sequence[Trial], data: str) -> ExperimentResult:
    """The best settings of each search, how validation depends on each, and what to make of it."""
    found = {stage.key: [trial for trial in trials if trial.stage.key == stage.key] for stage in todo}
    rows: list[Sequence[CellValue]] = []
    for stage in todo:
        rows += [RULE] if rows else []
        rows += _rows(stage, found[stage.key])
    columns = [
        Column("model", "left"),
        Column("setting", "left"),
        Column("valid R@20", best="max"),
        Column("best epoch", format=".0f"),
        Column("epochs", format=".0f"),
        Column("s/epoch", format=".2f"),
    ]
    notes = (
        f"Validation Recall@20{over_seeds(options.seeds)}; test metrics take no part.",
        f"The best {SHOWN} settings of each search; trials.csv has every one.",
    )
    figures = {}
    for stage in todo:
        plain = best(found.get((stage.backbone, "none"), [])) if stage.alignment != "none" else None
        if (figure := _figure(stage, found[stage.key], plain)) is not None:
            figures["-".join(["tune", *(part for part in stage.key if part != "none")])] = figure
    return ExperimentResult(
        "Which settings are best on validation?",
        [sentence for stage in todo for sentence in _findings(stage, found)],
        {"tune": ResultTable(f"{data}: settings by validation", columns, rows, notes)},
        figures,
    )


def write_choice(shared: SharedSettings, todo: Sequence[Stage], trials: Sequence[Trial], out: Path) -> list[Path]:
    """Write every trial and the best settings; returns the files.

    ``trials.csv``: a row a trial. ``settings.json``: for ``--settings`` of ``compare`` and of other searches.
    ``best-BACKBONE+ALIGNMENT.json``, and ``best.json`` for the best of all: for ``train --config``, with the first
    seed. Where no trial has a value there is ``trials.csv`` only. Raises RunError where a file cannot be written.
    """
    write_text_atomic(out / "trials.csv", to_csv(_trial_table(trials)))
    written = [out / "trials.csv"]
    settings: dict[str, dict[str, Any]] = {}
    for stage in todo:
        own, aligned = settings_for(shared.model_settings, *stage.key)
        of_backbone = settings.setdefault(stage.backbone, {"backbone": own})
        chosen = best([trial for trial in trials if trial.stage.key == stage.key])
        if chosen is None:
            continue
        of_backbone["backbone" if stage.alignment == "none" else stage.alignment] = (
            own if stage.alignment == "none" else aligned
        ) | chosen.setting
        config = chosen.results[0].cell.config
        written.append(out / f"best-{config.label}.json")
        write_json_atomic(written[-1], config.model_dump(mode="json"))
    overall = best(trials)
    if overall is not None:
        write_json_atomic(out / "settings.json", settings)
        write_json_atomic(out / "best.json", overall.results[0].cell.config.model_dump(mode="json"))
        written += [out / "settings.json", out / "best.json"]
    return written


def in_words(setting: Mapping[str, Scalar]) -> str:
    """ "alpha 0.01, beta 0.01" """
    return ", ".join(f"{name} {_short(value)}" for name, value in setting.items()) or "as it is"


def _short(value: Scalar) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The best first, of equals the one proposed first; failed ones last."""
    return sorted(trials, key=lambda trial: -math.inf if trial.value is None else trial.value, reverse=True)


def _rows(stage: Stage, trials: Sequence[Trial]) -> list[Sequence[CellValue]]:
    ranked = _ranked(trials)
    rows: list[Sequence[CellValue]] = []
    for trial in [trial for trial in ranked if trial.value is not None][:SHOWN]:
        metrics = [result.metrics or {} for result in trial.results]
        means = (fmean(m[name] for m in metrics) for name in ("best_epoch", "epochs", "train_seconds_per_epoch"))
        rows.append([stage.label, in_words(trial.setting), _cell(trial), *means])
    for failure in dict.fromkeys(trial.failure for trial in ranked if trial.value is None):
        same = [trial for trial in ranked if trial.failure == failure]
        more = f" and {len(same) - 1} more" if len(same) > 1 else ""
        rows.append([stage.label, in_words(same[0].setting) + more, failure, *["–"] * 3])
    return rows or [[stage.label, "none was tried", "not run", *["–"] * 3]]


def _cell(trial: Trial) -> CellValue:
    """Validation Recall@20 for a table: one number, one per seed, or why there is none."""
    return trial.failure or (trial.values if len(trial.values) > 1 else trial.value)


def _findings(stage: Stage, found: Mapping[tuple[str, str], Sequence[Trial]]) -> list[str]:
    trials, chosen = found[stage.key], best(found[stage.key])
    if chosen is None or chosen.value is None:
        why = "every setting failed" if trials else "no setting was tried"
        return [f"{stage.label}: {why}, so there is no best one."]
    plain = best(found.get((stage.backbone, "none"), [])) if stage.alignment != "none" else None
    gain = ""
    if plain is not None and plain.value:
        gain = f", {100 * (chosen.value / plain.value - 1):+.1f} % on the {plain.value:.4f} of {stage.backbone} alone"
    close = sum(trial.value is not None and trial.value > (1 - CLOSE) * chosen.value for trial in trials) - 1
    others = "no other is" if not close else "one other is" if close == 1 else f"{close} others are"
    said = [
        f"{stage.label}: the best of {len(trials)} settings is {in_words(chosen.setting)}, with validation Recall@20 "
        f"{chosen.value:.4f}{gain}; {others} less than {100 * CLOSE:.0f} % below it."
    ]
    edges = [f"{name} {where}" for name, values in stage.space.free.items() if (where := _edge(values, chosen, name))]
    if edges:
        said.append(f"{stage.label}: the best setting lies at the edge of what was searched: {', '.join(edges)}.")
    failed = [trial for trial in trials if trial.value is None]
    if failed:
        said.append(f"{stage.label}: {len(failed)} settings have no value, the first one {failed[0].failure}.")
    return said


def _edge(values: Choice | Range, chosen: Trial, name: str) -> str:
    """ "(0.03, the largest)" where a number is the first or last of three and more, or within 2 % of a range's end."""
    value = chosen.point[name]
    numbers = [end for end in values.ends() if isinstance(end, int | float) and not isinstance(end, bool)]
    if not isinstance(value, int | float) or len(numbers) < len(values.ends()):
        return ""
    low, high = min(numbers), max(numbers)
    if isinstance(values, Choice):
        margin, place, first, last = 0.0, float(value), float(low), float(high)
        if len(numbers) < 3:
            return ""
    else:
        place, first, last = (math.log(x) if values.log else float(x) for x in (value, low, high))
        margin = 0.02 * (last - first)
    which = "smallest" if place <= first + margin else "largest" if place >= last - margin else ""
    shown = chosen.setting.get(name, value)
    return f"({_short(shown)}, the {which})" if which else ""


def _trial_table(trials: Sequence[Trial]) -> ResultTable:
    """Every trial with all its settings."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.setting))
    columns = [
        *(Column(name) for name in ("backbone", "alignment", "trial")),
        *(Column(name) for name in names),
        *(Column(name) for name in ("valid recall@20", "best epoch", "state", "folders")),
    ]
    rows: list[Sequence[CellValue]] = []
    for trial in trials:
        epochs = [(result.metrics or {}).get("best_epoch", "") for result in trial.results]
        rows.append(
            [
                *(*trial.stage.key, trial.number),
                *(_plain(trial.setting.get(name, "")) for name in names),
                *("" if trial.failure else _cell(trial), " ".join(map(str, epochs)), trial.failure or "done"),
                " ".join(result.folder.name for result in trial.results),
            ]
        )
    return ResultTable("trials", columns, rows)


def _plain(value: Scalar) -> CellValue:
    return str(value) if value is None or isinstance(value, bool) else value


def _figure(stage: Stage, trials: Sequence[Trial], plain: Trial | None) -> ResultFigure | None:
    """Validation against every parameter that varied; None where nothing did."""
    done = [trial for trial in trials if trial.value is not None]
    panels = {}
    for name in stage.space.free:
        shown = [trial.setting.get(name, trial.point[name]) for trial in done]
        if len(set(shown)) > 1:
            panels[name] = shown
    if not panels:
        return None
    values = [trial.value or 0.0 for trial in done]
    data = ResultTable(
        f"{stage.label}: validation Recall@20 by setting",
        [*(Column(name) for name in panels), Column("valid recall@20")],
        [[*map(_plain, point), value] for *point, value in zip(*panels.values(), values, strict=True)],
    )
    caption = "Every dot is a setting, a line the best one at each listed value, the circle the best of all"
    caption += "." if plain is None else f"; dashed: {stage.backbone} alone at its best."
    wide, high = min(PANELS, len(panels)), math.ceil(len(panels) / PANELS)
    lists = [name for name in panels if isinstance(stage.space.free[name], Choice)]
    draw = partial(_draw, panels=panels, lists=lists, values=values, plain=None if plain is None else plain.value)
    return ResultFigure(data.title, caption, data, draw, (0.6 + 2.2 * wide, 0.4 + 2.1 * high))


def _draw(
    canvas: Canvas,
    panels: Mapping[str, Sequence[Scalar]],
    lists: Sequence[str],
    values: Sequence[float],
    plain: float | None,
) -> None:
    wide, high = min(PANELS, len(panels)), math.ceil(len(panels) / PANELS)
    grid = canvas.subplots(high, wide, sharey=True, squeeze=False)
    top = values.index(max(values))
    for axes, (name, shown) in zip(grid.flat, panels.items(), strict=False):
        places = _places(axes, name, shown)
        axes.plot(places, values, "o", color="#4d4d4d", markersize=4, alpha=0.6)
        if name in lists:
            best_at = {place: max(v for p, v in zip(places, values, strict=True) if p == place) for place in places}
            axes.plot(*zip(*sorted(best_at.items()), strict=True), **_line(1))
        axes.plot(places[top], values[top], "o", color="#d55e00", markersize=9, fillstyle="none", markeredgewidth=1.5)
        if plain is not None:
            axes.axhline(plain, color="#4d4d4d", linestyle="--", linewidth=1)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("validation Recall@20")


def _line(number: int) -> dict[str, Any]:
    return {name: value for name, value in line_style(number).items() if name != "capsize"}


def _places(axes: Axes, name: str, shown: Sequence[Scalar]) -> list[float]:
    """Where values stand on the x axis, which is set up for them: by their logarithm where they span decades, evenly
    spaced where they are no numbers or there is a zero among the decades."""
    axes.set_xlabel(name)
    numbers = [value for value in shown if isinstance(value, int | float) and not isinstance(value, bool)]
    positive = [number for number in numbers if number > 0]
    decades = bool(positive) and max(positive) / min(positive) > 20
    if len(numbers) == len(shown) and (not decades or len(positive) == len(shown)):
        if decades:
            axes.set_xscale("log")
        return [float(number) for number in numbers]
    names = sorted(set(shown), key=lambda value: (0, value, "") if value in numbers else (1, 0, str(value)))
    axes.set_xticks(range(len(names)), [_short(name) for name in names])
    return [float(names.index(value)) for value in shown]
