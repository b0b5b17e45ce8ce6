"""``crossrec tune``."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from crossrec.commands.experiments import print_result, run_with_flags
from crossrec.commands.progress import CellProgress
from crossrec.console import say, stderr
from crossrec.data.io.atomic import files_together
from crossrec.experiments.execute import refuse_data_folder
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.reporting.provenance import provenance
from crossrec.experiments.reporting.result_files import write_result
from crossrec.experiments.runner.jobs import Datasets
from crossrec.experiments.runner.pool import Pool
from crossrec.experiments.search.proposers import open_storage
from crossrec.experiments.search.stages import TuneConfig, plan_stages
from crossrec.experiments.search.summary import format_setting, summarize, write_settings
from crossrec.experiments.search.trials import Trial, best_trial, search

HELP = "Search settings on validation alone, and keep the best ones for train and compare (Section 7.1)."
SINGULAR = {"--backbone": "--backbones", "--alignment": "--alignments"}
"""Flags of ``train`` that ``tune`` accepts too."""


def tune(*tokens: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Search settings on validation alone."""
    plural_tokens = []
    for token in tokens:
        flag, equals, value = token.partition("=")
        plural_tokens.append(f"{SINGULAR.get(flag, flag)}{equals}{value}")
    return run_with_flags("tune", HELP, TuneConfig, plural_tokens, _tune)


def _tune(options: TuneConfig, shared: SharedSettings, out: Path, **workers: Any) -> int:
    """Run the search, write its files and print the result. Exit code 1 if a stage has no setting that works."""
    started = time.monotonic()
    datasets = Datasets()
    dataset = datasets[shared.data]
    refuse_data_folder(out, datasets)
    stages = plan_stages(options, shared, dataset)
    for stage in stages:
        stderr.print(f"{stage.label}: {stage.search} of {stage.size} settings", soft_wrap=True)
    needs_optuna = any(stage.search == "tpe" for stage in stages)
    with CellProgress("settings", sum(stage.size for stage in stages)) as progress:

        def on_trial(trial: Trial, best: Trial | None) -> None:
            best_text = "" if best is None else f"best {best.value:.4f} at {format_setting(best.setting)}"
            progress.note = f"{trial.stage.label}: {best_text}"
            progress.step()
            outcome = trial.failure or f"{trial.value:.4f}"
            progress.print_line(f"{trial.stage.label}, {format_setting(trial.setting)}: {outcome}; {best_text}")

        with (
            open_storage(options.storage, out) if needs_optuna else nullcontext() as storage,
            Pool(out, datasets, on_change=progress.show, **workers) as pool,
        ):
            trials = search(options, shared, stages, dataset, pool, storage, on_trial)
    results = [result for stage in stages for trial in trials[stage.key] for result in trial.results]
    all_options = {"experiment": options.model_dump(mode="json"), "training": shared.training.model_dump(mode="json")}
    summary = summarize(options, stages, trials, dataset.name)
    seconds = time.monotonic() - started
    with files_together():
        paths = write_settings(shared, stages, trials, out)
        write_result(summary, out, "tune", provenance(results, datasets, out, all_options, seconds))
    print_result(summary, out)
    for path in paths:
        say(f"written: {path}")
    return 0 if all(map(best_trial, trials.values())) else 1
