"""``crossrec tune``."""

from __future__ import annotations

import time
from typing import Annotated

from cyclopts import Parameter

from crossrec.commands.console import stderr, stdout
from crossrec.commands.experiments import Execution, print_result, run_with_flags
from crossrec.commands.progress import CellProgress
from crossrec.experiments.execute import refuse_data_folder
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.reporting.provenance import provenance
from crossrec.experiments.reporting.result_files import write_result
from crossrec.experiments.runner.jobs import Datasets
from crossrec.experiments.runner.pool import Pool
from crossrec.experiments.search.summary import answer, in_words, write_choice
from crossrec.experiments.search.tune import Trial, TuneConfig, best, search, stages

HELP = "Search settings on validation alone, and keep the best ones for train and compare (Section 7.1)."
ONE = {"--backbone": "--backbones", "--alignment": "--alignments"}
"""Flags of ``train`` that mean the same here: one of them."""


def tune(*tokens: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Search settings on validation alone."""
    known = []
    for token in tokens:
        flag, equals, value = token.partition("=")
        known.append(f"{ONE.get(flag, flag)}{equals}{value}")
    return run_with_flags("tune", HELP, TuneConfig, known, _ask)


def _ask(options: TuneConfig, shared: SharedSettings, execution: Execution) -> int:
    started = time.monotonic()
    datasets = Datasets()
    dataset = datasets[shared.data]
    refuse_data_folder(execution.out, datasets)
    todo = stages(options, shared, dataset)
    for stage in todo:
        stderr.print(f"{stage.label}: {stage.search} of {stage.size} settings", highlight=False, soft_wrap=True)
    with CellProgress("settings", sum(stage.size for stage in todo)) as progress:
        tried: dict[tuple[str, str], list[Trial]] = {stage.key: [] for stage in todo}

        def on_trial(trial: Trial) -> None:
            tried[trial.stage.key].append(trial)
            top = best(tried[trial.stage.key])
            found = "" if top is None else f"best {top.value:.4f} at {in_words(top.setting)}"
            progress.note = f"{trial.stage.label}: {found}"
            progress.step()
            came_to = trial.failure or f"{trial.value:.4f}"
            progress.log(f"{trial.stage.label}, {in_words(trial.setting)}: {came_to}; {found}")

        with Pool(
            execution.out, datasets, jobs=execution.jobs, threads=execution.threads, on_change=progress.show
        ) as pool:
            trials = search(options, shared, todo, dataset, pool, execution.out, on_trial)
    results = [result for trial in trials for result in trial.results]
    asked_for = {"experiment": options.model_dump(mode="json"), "training": shared.training.model_dump(mode="json")}
    told = answer(options, todo, trials, dataset.name)
    written = write_choice(shared, todo, trials, execution.out)
    seconds = time.monotonic() - started
    write_result(told, execution.out, "tune", provenance(results, datasets, execution.out, asked_for, seconds))
    print_result(told, execution.out)
    for path in written:
        stdout.print(f"written: {path}", soft_wrap=True, highlight=False)
    return 0 if all(best(tried[stage.key]) for stage in todo) else 1
