"""Run a search (Section 7.1): train the proposed settings and compare them by validation Recall@20.

Test metrics are dropped from every result before anything reads it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from crossrec.data import Dataset
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.experiments.runner.pool import POLL_SECONDS, Pool
from crossrec.experiments.search.proposers import ListProposer, OptunaProposer, Proposer, study_name
from crossrec.experiments.search.spaces import Point
from crossrec.experiments.search.stages import Stage, TuneConfig
from crossrec.experiments.search.storage import STUDY_FOLDER, open_storage
from crossrec.training import SELECTION


@dataclass(frozen=True)
class Trial:
    """A point that was tried: its settings, and a result per seed, without test metrics."""

    stage: Stage
    number: int
    point: Point
    setting: Point
    results: tuple[Result, ...]

    @property
    def failure(self) -> str:
        """Reason for which the first seed without a value has none; empty if all have one."""
        failed = (r.failure or "failed: no user to validate" for r in self.results if _validation(r) is None)
        return next(failed, "")

    @property
    def values(self) -> tuple[float, ...]:
        """Validation Recall@20 of every seed, unrounded; empty if a seed failed."""
        values = tuple(value for value in map(_validation, self.results) if value is not None)
        return values if len(values) == len(self.results) else ()

    @property
    def value(self) -> float | None:
        """Mean validation Recall@20 over the seeds, by which trials are compared."""
        return fmean(self.values) if self.values else None


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
    out: Path,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """Train the points of all stages; returns the trials, within a stage in the order in which they were proposed.

    An alignment is searched on the best of its backbone's own settings. If there is no best one, because all failed or
    the time was up, the alignment has no trials.
    """
    deadline = None if options.timeout is None else time.monotonic() + options.timeout
    trials: list[Trial] = []
    needs_optuna = any(stage.search == "tpe" for stage in stages)
    with open_storage(options.storage, out) if needs_optuna else nullcontext() as storage:
        for aligned in (False, True):
            searches = []
            for stage in [stage for stage in stages if (stage.alignment != "none") == aligned]:
                backbone_trials = [trial for trial in trials if trial.stage.key == (stage.backbone, "none")]
                best = best_trial(backbone_trials)
                if best is not None or not backbone_trials:
                    settings = best.setting if best else {}
                    searches.append(_stage_search(stage, shared, settings, options, dataset, storage, out))
            trials += _run_trials(searches, pool, deadline, on_trial)
    return trials


@dataclass(frozen=True)
class StageSearch:
    """A stage that is being searched: where its points come from, and the cells of a setting, one per seed."""

    stage: Stage
    proposer: Proposer
    cells: Callable[[Point], list[Cell]]

    def next_trial(self) -> RunningTrial | None:
        """The next point to train; None if there is none, or none yet."""
        proposal = self.proposer.propose()
        if proposal is None:
            return None
        number, point = proposal
        setting = self.stage.space.settings(point)
        return RunningTrial(self, number, point, setting, self.cells(setting))


@dataclass(frozen=True)
class RunningTrial:
    """A point whose cells are queued or being trained."""

    search: StageSearch
    number: int
    point: Point
    setting: Point
    cells: list[Cell]

    def finish(self, results: Mapping[str, Result]) -> Trial:
        """The trial with the results of its cells, by name of the cell."""
        trial_results = tuple(replace(results[cell.name], cell=cell) for cell in self.cells)
        return Trial(self.search.stage, self.number, self.point, self.setting, trial_results)


def _stage_search(
    stage: Stage,
    shared: SharedSettings,
    backbone_settings: Point,
    options: TuneConfig,
    dataset: Dataset,
    storage: Any,
    out: Path,
) -> StageSearch:
    cells = partial(_cells, stage, shared, options.seeds, backbone_settings)
    seed = options.search_seed
    proposer: Proposer
    if stage.search == "grid":
        proposer = ListProposer(stage.space.grid())
    elif stage.search == "random":
        proposer = ListProposer(islice(stage.space.random(seed), stage.size))
    else:
        identity = cells({})[0].config.identity(dataset)
        name = study_name("+".join(stage.key), identity, options.seeds, stage.space.values, seed)
        lock_folder = out / STUDY_FOLDER
        proposer = OptunaProposer(storage, name, stage.space, trials=stage.size, seed=seed, lock_folder=lock_folder)
    return StageSearch(stage, proposer, cells)


def _cells(
    stage: Stage, shared: SharedSettings, seeds: Sequence[int], backbone_settings: Point, setting: Point
) -> list[Cell]:
    own, aligned = (setting, {}) if stage.alignment == "none" else (backbone_settings, setting)
    configs = (shared.run_config(*stage.key, seed, backbone_settings=own, alignment_settings=aligned) for seed in seeds)
    return [Cell(config, stage.key) for config in configs]


def _run_trials(
    searches: Sequence[StageSearch], pool: Pool, deadline: float | None, on_trial: Callable[[Trial], None]
) -> list[Trial]:
    """Train proposed points until there are no more, or start none after the deadline."""
    results: dict[str, Result] = {}
    running: list[RunningTrial] = []
    trials: list[Trial] = []
    while True:
        results |= {result.cell.name: _without_test(result) for result in pool.step()}
        for ended in [trial for trial in running if all(cell.name in results for cell in trial.cells)]:
            running.remove(ended)
            trials.append(trial := ended.finish(results))
            if not trial.failure.startswith("not run"):
                ended.search.proposer.report(trial.number, trial.value)
            on_trial(trial)
        late = deadline is not None and time.monotonic() > deadline
        if late:
            pool.close()
        elif pool.has_room and (following := _next_trial(searches)) is not None:
            for cell in following.cells:
                pool.add(cell)
            running.append(following)
            continue
        if not running and (late or all(search.proposer.exhausted for search in searches)):
            order = [search.stage.key for search in searches]
            return sorted(trials, key=lambda trial: (order.index(trial.stage.key), trial.number))
        time.sleep(POLL_SECONDS)


def _next_trial(searches: Sequence[StageSearch]) -> RunningTrial | None:
    """The next trial of the first search that has one."""
    return next((trial for search in searches if (trial := search.next_trial()) is not None), None)


def _validation(result: Result) -> float | None:
    return None if result.metrics is None else result.metrics["valid"].get(SELECTION)


def _without_test(result: Result) -> Result:
    """A result without test metrics, so that nothing can depend on them."""
    metrics = result.metrics
    return result if metrics is None else replace(result, metrics={k: v for k, v in metrics.items() if k != "test"})
