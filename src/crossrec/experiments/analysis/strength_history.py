"""Strengths and directions that runs recorded, epoch by epoch."""

from __future__ import annotations

import csv
from itertools import combinations
from statistics import fmean
from typing import cast

from crossrec.alignment import CrossConfig
from crossrec.experiments.analysis.comparison import PLAIN, MethodRuns
from crossrec.experiments.analysis.seed_values import SeedValues, seed_values
from crossrec.experiments.runner.jobs import Result
from crossrec.runs.directory import STRENGTHS_FILE


class StrengthHistory:
    """The records of one method's runs: a value per seed, for every epoch that all of them have.

    ``failure``: why there are none. ``rule``: the alignment's rule of directions; of a backbone alone, the rule that
    CROSS would use.
    """

    def __init__(self, method: MethodRuns) -> None:
        self.backbone, self.alignment = method.backbone, method.name
        records = [_read(result) for result in method.results]
        self.failure = next((record for record in records if isinstance(record, str)), "")
        self.runs = [] if self.failure else cast(list[list[dict[str, float]]], records)
        self.epochs = min(map(len, self.runs), default=0)
        columns = list(self.runs[0][0]) if self.epochs else []
        self.modalities = [column.removeprefix("mean ") for column in columns if column.startswith("mean ")]
        self.pairs = list(combinations(self.modalities, 2))
        self._columns = set(columns)
        config = method.results[0].cell.config.alignment
        self.rule = (config or CrossConfig()).direction

    @property
    def title(self) -> str:
        return f"{self.backbone} alone" if self.alignment == PLAIN else f"{self.backbone} + {self.alignment}"

    def has(self, quantity: str) -> bool:
        """Whether a quantity was recorded. A model without content vectors records those of the id alone."""
        return quantity in self._columns

    def at(self, epoch: int, quantity: str) -> SeedValues:
        """A quantity after an epoch, counted from 1; "–" where there was no such epoch."""
        if not 1 <= epoch <= self.epochs:
            return "–"
        return seed_values([run[epoch - 1][quantity] for run in self.runs])

    def every_epoch(self, quantity: str) -> list[SeedValues]:
        """A quantity after every epoch."""
        return [self.at(epoch, quantity) for epoch in range(1, self.epochs + 1)]

    def mean(self, epoch: int, quantity: str) -> float:
        """The mean over seeds after an epoch."""
        return fmean(run[epoch - 1][quantity] for run in self.runs)


def _read(result: Result) -> list[dict[str, float]] | str:
    """The rows of a run's file, or why there are none."""
    if result.metrics is None:
        return result.failure
    path = result.folder / STRENGTHS_FILE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    except OSError as error:
        return f"failed: {path}: {error.strerror}; delete the folder, and it is trained again"
    except (TypeError, ValueError):
        return f"failed: {path}: damaged; delete the folder, and it is trained again"
    return rows or f"failed: {path}: empty; delete the folder, and it is trained again"
