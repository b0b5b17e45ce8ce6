"""``crossrec tune``."""

from __future__ import annotations

import time
from typing import Annotated

from cyclopts import Parameter

from crossrec.commands.console import stderr, stdout
from crossrec.commands.experiments import Work, asked, keep_apart, tell
from crossrec.commands.progress import CellProgress
from crossrec.experiments.experiment import Base
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
    return asked("tune", HELP, TuneConfig, known, _ask)


def _ask(options: TuneConfig, base: Base, work: Work) -> int:
    started = time.monotonic()
    datasets = Datasets()
    dataset = datasets[base.data]
    keep_apart(work.out, datasets)
    todo = stages(options, base, dataset)
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

        with Pool(work.out, datasets, jobs=work.jobs, threads=work.threads, on_change=progress.show) as pool:
            trials = search(options, base, todo, dataset, pool, work.out, on_trial)
    results = [result for trial in trials for result in trial.results]
    asked_for = {"experiment": options.model_dump(mode="json"), "training": base.training.model_dump(mode="json")}
    told = answer(options, todo, trials, dataset.name)
    written = write_choice(base, todo, trials, work.out)
    seconds = time.monotonic() - started
    write_result(told, work.out, "tune", provenance(results, datasets, work.out, asked_for, seconds))
    tell(told, work.out)
    for path in written:
        stdout.print(f"written: {path}", soft_wrap=True, highlight=False)
    return 0 if all(best(tried[stage.key]) for stage in todo) else 1
