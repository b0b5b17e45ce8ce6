"""Files of a search: all trials, and the best settings for ``train``, ``compare`` and other searches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossrec.data.io.atomic import write_json_atomic, write_text_atomic
from crossrec.experiments.experiment import SharedSettings, settings_for
from crossrec.experiments.reporting.tables import CellValue, Column, ResultTable, to_csv
from crossrec.experiments.search.setting_figure import cell_value
from crossrec.experiments.search.stages import Stage
from crossrec.experiments.search.summary import recall_cell
from crossrec.experiments.search.trials import Trial, best_trial


def write_settings(shared: SharedSettings, stages: Sequence[Stage], trials: Sequence[Trial], out: Path) -> list[Path]:
    """Write the trials and the best settings; returns the paths.

    - ``trials.csv``: a row per trial
    - ``settings.json``: the best settings of all stages, for ``--settings`` of ``compare`` and of other searches
    - ``best-BACKBONE+ALIGNMENT.json`` per stage, and ``best.json`` for the best of all: configurations with the first
      seed, for ``train --config``

    If no trial has a value there is ``trials.csv`` only. Raises RunError if a file cannot be written.
    """
    write_text_atomic(out / "trials.csv", to_csv(_trial_table(trials)))
    paths = [out / "trials.csv"]
    settings: dict[str, dict[str, Any]] = {}
    for stage in stages:
        backbone_settings, alignment_settings = settings_for(shared.model_settings, *stage.key)
        backbone_entry = settings.setdefault(stage.backbone, {"backbone": backbone_settings})
        best = best_trial([trial for trial in trials if trial.stage.key == stage.key])
        if best is None:
            continue
        if stage.alignment == "none":
            backbone_entry["backbone"] = backbone_settings | best.setting
        else:
            backbone_entry[stage.alignment] = alignment_settings | best.setting
        config = best.results[0].cell.config
        paths.append(out / f"best-{config.label}.json")
        write_json_atomic(paths[-1], config.model_dump(mode="json"))
    overall = best_trial(trials)
    if overall is not None:
        write_json_atomic(out / "settings.json", settings)
        write_json_atomic(out / "best.json", overall.results[0].cell.config.model_dump(mode="json"))
        paths += [out / "settings.json", out / "best.json"]
    return paths


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
                *(cell_value(trial.setting.get(name, "")) for name in names),
                *("" if trial.failure else recall_cell(trial), " ".join(map(str, epochs)), trial.failure or "done"),
                " ".join(result.folder.name for result in trial.results),
            ]
        )
    return ResultTable("trials", columns, rows)
