"""Run a search (Section 7.1): train the proposed settings and compare them by validation Recall@20 or --monitor.

Test metrics are dropped from every result before anything reads it.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, islice
from statistics import fmean
from typing import Any

from crossrec.data import Dataset
from crossrec.data.io.lock import POLL_SECONDS
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.experiments.runner.pool import Pool
from crossrec.experiments.search import proposers
from crossrec.experiments.search.proposers import Proposer
from crossrec.experiments.search.spaces import Point
from crossrec.experiments.search.stages import Stage, TuneConfig
from crossrec.training import SELECTION


@dataclass(frozen=True)
class Trial:
    """A point to try: its settings, a cell per seed and, once they are trained, their results without test metrics."""

    stage: Stage
    number: int
    point: Point
    setting: Point
    cells: list[Cell]
    results: Sequence[Result] = ()

    @property
    def failure(self) -> str:
        """Reason for which the first seed without a value has none; empty if all have one."""
        failed = (r.failure or "failed: no user to validate" for r in self.results if _validation(r) is None)
        return next(failed, "")

    @property
    def values(self) -> tuple[float, ...]:
        """The validation metric of every seed, unrounded; empty if a seed failed."""
        values = tuple(value for value in map(_validation, self.results) if value is not None)
        return values if len(values) == len(self.results) else ()

    @property
    def value(self) -> float | None:
        """Mean of the validation metric over the seeds, by which trials are compared."""
        return fmean(self.values) if self.values else None


STOPPED = "stopped early"
"""How the failure of a trial begins that ``--prune`` has ended."""
Trials = dict[tuple[str, str], list[Trial]]
"""Trials by backbone and alignment, the key of a stage."""


def selection_of(trials: Trials) -> str:
    """The validation metric by which the trials are compared."""
    cells = (cell for of_stage in trials.values() for trial in of_stage for cell in trial.cells)
    return next((cell.config.training.selection for cell in cells), SELECTION)


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the highest value, the first one in a tie; None if no trial has a value."""
    return max(
        (trial for trial in trials if trial.value is not None), key=lambda trial: trial.value or 0.0, default=None
    )


def search(
    options: TuneConfig,
    shared: SharedSettings,
    stages: Sequence[Stage],
    dataset: Dataset,
    pool: Pool,
    storage: Any,
    on_trial: Callable[[Trial, Trial | None], None],
) -> Trials:
    """Train the points of all stages; returns the trials of each, in the order in which they were proposed.

    An alignment is searched on the best of its backbone's own settings. If there is no best one, because all failed or
    the time was up, the alignment has no trials. ``on_trial`` is called with every trial that has ended, and with the
    best of its stage so far. ``storage``: of optuna, for stages of ``tpe``.
    """
    deadline = None if options.timeout is None else time.monotonic() + options.timeout
    trials: Trials = {stage.key: [] for stage in stages}
    for aligned in (False, True):
        searches = []
        for stage in [stage for stage in stages if (stage.alignment != "none") == aligned]:
            backbone_trials = trials.get((stage.backbone, "none"))
            best = best_trial(backbone_trials or [])
            if best is not None or not backbone_trials:
                cells = partial(_cells, stage, shared, options.seeds, best.setting if best else {})
                proposer = _proposer(stage, cells, options, dataset, storage)
                searches.append(StageSearch(stage, proposer, cells))
        _run_trials(searches, trials, pool, deadline, on_trial, options.prune)
    return trials


@dataclass(frozen=True)
class StageSearch:
    """A stage that is being searched: where its points come from, and the cells of a setting, one per seed."""

    stage: Stage
    proposer: Proposer
    cells: Callable[[Point], list[Cell]]


def _proposer(
    stage: Stage, cells: Callable[[Point], list[Cell]], options: TuneConfig, dataset: Dataset, storage: Any
) -> Proposer:
    seed = options.search_seed
    if stage.search == "grid":
        return proposers.ListProposer(stage.space.grid())
    if stage.search == "random":
        return proposers.ListProposer(islice(stage.space.random(seed), stage.size))
    identity = cells({})[0].config.identity(dataset)
    more = ["prune"] if options.prune else []  # whose trials have other values
    name = proposers.study_name("+".join(stage.key), identity, options.seeds, stage.space.values, seed, *more)
    return proposers.OptunaProposer(storage, name, stage.space, trials=stage.size, seed=seed, prune=options.prune)


def _cells(
    stage: Stage, shared: SharedSettings, seeds: Sequence[int], backbone_settings: Point, setting: Point
) -> list[Cell]:
    own, aligned = (setting, {}) if stage.alignment == "none" else (backbone_settings, setting)
    configs = (shared.run_config(*stage.key, seed, backbone_settings=own, alignment_settings=aligned) for seed in seeds)
    return [Cell(config, stage.key) for config in configs]


def _run_trials(
    searches: Sequence[StageSearch],
    trials: Trials,
    pool: Pool,
    deadline: float | None,
    on_trial: Callable[[Trial, Trial | None], None],
    prune: bool,
) -> None:
    """Train proposed points until there are no more, or start none after the deadline. Ended ones go to ``trials``."""
    results: dict[str, Result] = {}
    running: list[tuple[Proposer, Trial]] = []
    while True:
        results |= {result.cell.name: _without_test(result) for result in pool.step()}
        for proposer, trial in running if prune else ():
            if (epoch := proposer.stopped_after(trial.number, _best_values(trial.cells, pool))) is not None:
                for cell in trial.cells:
                    pool.stop(cell)
                    failure = f"{STOPPED} after epoch {epoch}"
                    results[cell.name] = Result(cell, pool.folder(cell), failure=failure)
        for proposer, trial in [entry for entry in running if all(cell.name in results for cell in entry[1].cells)]:
            running.remove((proposer, trial))
            ended = replace(trial, results=[replace(results[cell.name], cell=cell) for cell in trial.cells])
            if not ended.failure.startswith(("not run", STOPPED)):
                proposer.report(ended.number, ended.value)
            of_stage = trials[ended.stage.key]
            of_stage.append(ended)
            on_trial(ended, best_trial(of_stage))
        late = deadline is not None and time.monotonic() > deadline
        if late:
            pool.close()
        elif pool.has_room and (following := _next_trial(searches)) is not None:
            if not prune or following[0].stopped_after(following[1].number, ()) is None:
                for cell in following[1].cells:
                    pool.add(cell)
            running.append(following)
            continue
        if not running and (late or all(search.proposer.exhausted for search in searches)):
            for search in searches:
                trials[search.stage.key].sort(key=lambda trial: trial.number)
            return
        time.sleep(POLL_SECONDS)


def _next_trial(searches: Sequence[StageSearch]) -> tuple[Proposer, Trial] | None:
    """The next trial of the first search that has one, and its proposer; None if there is none, or none yet."""
    for search in searches:
        if (proposal := search.proposer.propose()) is not None:
            setting = search.stage.space.settings(proposal[1])
            return search.proposer, Trial(search.stage, *proposal, setting, search.cells(setting))
    return None


def _best_values(cells: Sequence[Cell], pool: Pool) -> list[float]:
    """The best validation metric up to each epoch that all cells have trained, as a mean over them."""
    by_cell = []
    for cell in cells:
        try:
            with (pool.folder(cell) / "history.csv").open(newline="") as file:
                column = f"valid_{cell.config.training.selection}"
                by_cell.append(list(accumulate((float(row[column]) for row in csv.DictReader(file)), max)))
        except (OSError, KeyError):  # it has not begun, or validates nobody
            return []
    return [fmean(values) for values in zip(*by_cell, strict=False)]


def _validation(result: Result) -> float | None:
    return None if result.metrics is None else result.metrics["valid"].get(result.cell.config.training.selection)


def _without_test(result: Result) -> Result:
    """A result without test metrics, so that nothing can depend on them."""
    metrics = result.metrics
    return result if metrics is None else replace(result, metrics={k: v for k, v in metrics.items() if k != "test"})
