"""Section 7.1: which settings are best? A search on validation Recall@20, which never sees a test metric."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Literal

from pydantic import Field

from crossrec.alignment import ALIGNMENTS
from crossrec.backbones import BACKBONES
from crossrec.data import Dataset
from crossrec.errors import ConfigError
from crossrec.experiments.experiment import ExperimentConfig, SharedSettings, check_name
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.experiments.runner.pool import POLL_SECONDS, Pool
from crossrec.experiments.search.built_in_spaces import BUILT_IN
from crossrec.experiments.search.spaces import Point, Space, space_for
from crossrec.experiments.search.study import FOLDER, Listed, Proposer, Study, open_storage, study_name
from crossrec.training import SELECTION

TRIALS = 50
"""Settings that tpe and random try unless told otherwise."""
NEEDS_CONTENT = ("alpha", "lambda_f")
"""Settings that change nothing where there is no content to align with."""


class TuneConfig(ExperimentConfig):
    """What to tune, and how."""

    alignments: tuple[str, ...] = Field(default=("none", "cross"), min_length=1)
    """What to search: none for the backbones' own settings, alignment off; an alignment for its settings, on the best
    of these if none is there too, else on the backbones' defaults or --settings."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0,), min_length=1)
    """Seeds; a setting is as good as its mean over them."""
    search: Literal["grid", "tpe", "random"] | None = None
    """All points of a grid, optuna's tree-structured Parzen estimator, or draws; grid for lists, tpe for ranges and for
    lists of more points than --trials, unless given."""
    trials: Annotated[int, Field(ge=1)] | None = None
    """Settings to try per backbone and alignment, 50 unless given; a grid is tried whole."""
    space: str = "paper"
    """Values to search: paper (its grids), wide (ranges, weights from 1e-5 to 100), or a JSON file."""
    search_seed: Annotated[int, Field(ge=0)] = 0
    """Seed of what tpe and random try."""
    timeout: Annotated[float, Field(gt=0)] | None = None
    """Seconds after which no other setting is begun; what runs is finished."""
    storage: str | None = None
    """What workers of tpe share beside --out: a file, or a database's URL; a file below --out unless given."""


@dataclass(frozen=True)
class Stage:
    """A search: what is tried of one backbone's own settings (alignment "none"), or of an alignment's on it."""

    backbone: str
    alignment: str
    space: Space
    search: Literal["grid", "tpe", "random"]
    size: int
    """Points to try."""

    @property
    def key(self) -> tuple[str, str]:
        return self.backbone, self.alignment

    @property
    def label(self) -> str:
        """In words."""
        return self.backbone if self.alignment == "none" else f"{self.backbone} + {self.alignment}"


@dataclass(frozen=True)
class Trial:
    """A point that was tried: its settings, and a result per seed, none of which knows of test data."""

    stage: Stage
    number: int
    point: Point
    setting: Point
    results: tuple[Result, ...]

    @property
    def failure(self) -> str:
        """Why it has no value, in the words of the first seed that has none."""
        return next((r.failure or "failed: no user to validate" for r in self.results if _value(r) is None), "")

    @property
    def values(self) -> tuple[float, ...]:
        """Validation Recall@20, unrounded, of every seed; empty where one failed."""
        found = tuple(value for value in map(_value, self.results) if value is not None)
        return found if len(found) == len(self.results) else ()

    @property
    def value(self) -> float | None:
        """What trials are compared by: the mean over seeds."""
        return fmean(self.values) if self.values else None


def stages(options: TuneConfig, shared: SharedSettings, dataset: Dataset) -> list[Stage]:
    """The searches that are asked for, those of backbones' own settings first.

    Raises ConfigError for whatever cannot be searched, before anything is trained.
    """
    if not len(dataset.valid):
        raise ConfigError(f"data '{dataset.name}' has no validation pairs, which tune goes by: give another --split")
    made = []
    for alignment in sorted(options.alignments, key=lambda name: name != "none"):
        check_name(alignment, ALIGNMENTS, "--alignments")
        for backbone in options.backbones:
            check_name(backbone, BACKBONES, "--backbones")
            if BACKBONES[backbone].multimodal and not dataset.features:
                raise ConfigError(f"--backbones: {backbone} needs content, and data '{dataset.name}' has none")
            space = space_for(options.space, backbone, alignment)
            if options.space in BUILT_IN and alignment != "none" and not dataset.features:
                space = space.without(*NEEDS_CONTENT)
            made.append(_stage(options, backbone, alignment, space))
            shared.run_config(backbone, alignment, options.seeds[0])
    return made


def _stage(options: TuneConfig, backbone: str, alignment: str, space: Space) -> Stage:
    size, trials = space.size, options.trials or TRIALS
    search = options.search
    if search is None:
        whole = size is not None and (options.trials is None or size <= options.trials)
        search = "grid" if whole else "tpe"
    if search == "grid":
        where = f"--search grid, {alignment} on {backbone}: "
        if size is None:
            raise ConfigError(f"{where}--space {options.space} has ranges; give lists, or --search tpe or random")
        if options.trials is not None and options.trials < size:
            raise ConfigError(f"{where}the grid has {size} points; leave --trials out, or give --search tpe or random")
        trials = size
    return Stage(backbone, alignment, space, search, trials if size is None else min(trials, size))


def search(
    options: TuneConfig,
    shared: SharedSettings,
    todo: Sequence[Stage],
    dataset: Dataset,
    pool: Pool,
    out: Path,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """Train what ``stages`` has planned; all trials, in the order in which each stage proposed them.

    An alignment is searched on the backbone's own settings that proved best. One whose backbone has none, because all
    failed or the time was up, has no trials.
    """
    deadline = None if options.timeout is None else time.monotonic() + options.timeout
    found: list[Trial] = []
    asking = any(stage.search == "tpe" for stage in todo)
    with open_storage(options.storage, out) if asking else nullcontext() as storage:
        for own_settings in (True, False):
            runs = []
            for stage in todo:
                before = [t for t in found if t.stage.backbone == stage.backbone and t.stage.alignment == "none"]
                chosen = best(before)
                if (stage.alignment == "none") == own_settings and (chosen is not None or not before):
                    run = _Run(stage, shared, options.seeds, chosen.setting if chosen else {})
                    runs.append((run, _proposer(run, options, dataset, storage, out)))
            found += _explore(runs, pool, deadline, on_trial)
    return found


@dataclass(frozen=True)
class _Run:
    """A stage on its way. ``own``: the backbone's settings that an alignment is searched on."""

    stage: Stage
    shared: SharedSettings
    seeds: tuple[int, ...]
    own: Point

    def cells(self, setting: Point) -> list[Cell]:
        """A cell per seed."""
        backbone, alignment = self.stage.backbone, self.stage.alignment
        own, aligned = (setting, {}) if alignment == "none" else (self.own, setting)
        return [
            Cell(
                self.shared.run_config(backbone, alignment, seed, backbone_settings=own, alignment_settings=aligned),
                (backbone, alignment),
            )
            for seed in self.seeds
        ]


def _proposer(run: _Run, options: TuneConfig, dataset: Dataset, storage: Any, out: Path) -> Proposer:
    stage, seed = run.stage, options.search_seed
    if stage.search == "grid":
        return Listed(stage.space.grid())
    if stage.search == "random":
        return Listed(islice(stage.space.random(seed), stage.size))
    what = [run.cells({})[0].config.identity(dataset), options.seeds, stage.space.values, seed]
    name = study_name("+".join(stage.key), *what)
    return Study(storage, name, stage.space, trials=stage.size, seed=seed, turns=out / FOLDER)


@dataclass(frozen=True)
class _Going:
    """A point that is being tried."""

    run: _Run
    points: Proposer
    number: int
    point: Point
    cells: list[Cell]

    def trial(self, results: Mapping[str, Result]) -> Trial:
        setting = self.run.stage.space.settings(self.point)
        own = tuple(replace(results[cell.name], cell=cell) for cell in self.cells)
        return Trial(self.run.stage, self.number, self.point, setting, own)


def _explore(
    runs: Sequence[tuple[_Run, Proposer]], pool: Pool, deadline: float | None, on_trial: Callable[[Trial], None]
) -> list[Trial]:
    """Train proposed points while there are any, until the deadline."""
    results: dict[str, Result] = {}
    going: list[_Going] = []
    ended: list[Trial] = []
    while True:
        results |= {result.cell.name: _without_test(result) for result in pool.step()}
        for entry in [entry for entry in going if all(cell.name in results for cell in entry.cells)]:
            going.remove(entry)
            ended.append(trial := entry.trial(results))
            if not trial.failure.startswith("not run"):
                entry.points.tell(trial.number, trial.value)
            on_trial(trial)
        late = deadline is not None and time.monotonic() > deadline
        if late:
            pool.close()
        elif pool.has_room and (following := _next(runs)) is not None:
            for cell in following.cells:
                pool.add(cell)
            going.append(following)
            continue
        if not going and (late or all(points.exhausted for _, points in runs)):
            order = [run.stage.key for run, _ in runs]
            return sorted(ended, key=lambda trial: (order.index(trial.stage.key), trial.number))
        time.sleep(POLL_SECONDS)


def _next(runs: Sequence[tuple[_Run, Proposer]]) -> _Going | None:
    for run, points in runs:
        if (proposed := points.propose()) is not None:
            number, point = proposed
            return _Going(run, points, number, point, run.cells(run.stage.space.settings(point)))
    return None


def _value(result: Result) -> float | None:
    return None if result.metrics is None else result.metrics["valid"].get(SELECTION)


def _without_test(result: Result) -> Result:
    """A result less its test metrics: what is not there cannot be looked at."""
    metrics = result.metrics
    return result if metrics is None else replace(result, metrics={k: v for k, v in metrics.items() if k != "test"})


def best(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the highest mean validation Recall@20, unrounded; the first of equals; None where none has one."""
    return max(
        (trial for trial in trials if trial.value is not None), key=lambda trial: trial.value or 0.0, default=None
    )
