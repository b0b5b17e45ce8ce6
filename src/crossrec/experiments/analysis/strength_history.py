"""What runs recorded of strengths and directions, epoch by epoch, and what it says of the claims of Section 4.1."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from itertools import combinations
from statistics import fmean
from typing import cast

from crossrec.alignment import CrossConfig
from crossrec.experiments.analysis.comparison import PLAIN, Row, listed, verdict
from crossrec.experiments.reporting.tables import CellValue
from crossrec.experiments.runner.jobs import Result
from crossrec.runs.directory import STRENGTHS_FILE
from crossrec.types import ID


class Course:
    """What the runs of one row recorded: a value a seed, of every epoch that all of them have."""

    def __init__(self, row: Row) -> None:
        self.backbone, self.alignment = row.backbone, row.name
        read = [_read(result) for result in row.results]
        self.failure = next((found for found in read if isinstance(found, str)), "")
        self.runs = [] if self.failure else cast(list[list[dict[str, float]]], read)
        self.epochs = min(map(len, self.runs), default=0)
        heads = list(self.runs[0][0]) if self.epochs else []
        self.modalities = [head.removeprefix("mean ") for head in heads if head.startswith("mean ")]
        self._heads = set(heads)
        self.pairs = list(combinations(self.modalities, 2))
        alignment = row.results[0].cell.config.alignment
        self.rule = (alignment or CrossConfig()).direction

    @property
    def title(self) -> str:
        return f"{self.backbone} alone" if self.alignment == PLAIN else f"{self.backbone} + {self.alignment}"

    def has(self, name: str) -> bool:
        """Whether a quantity was recorded: a model without content vectors has the id alone."""
        return name in self._heads

    def at(self, epoch: int, name: str) -> tuple[float, ...] | float | str:
        """A quantity after an epoch, which counts from 1; "–" where there was no such epoch."""
        if not 1 <= epoch <= self.epochs:
            return "–"
        values = tuple(run[epoch - 1][name] for run in self.runs)
        return values if len(values) > 1 else values[0]

    def over(self, name: str) -> list[CellValue]:
        """A quantity after every epoch."""
        return [self.at(epoch, name) for epoch in range(1, self.epochs + 1)]

    def mean(self, epoch: int, name: str) -> float:
        return fmean(run[epoch - 1][name] for run in self.runs)

    def findings(self) -> list[str]:
        """What became of strengths and directions, and the claims of Section 4.1."""
        if self.failure:
            return [f"{self.title}: nothing can be said, as a run is missing ({self.failure})."]
        last = self.epochs
        if last == 1:
            return [f"{self.title}: one epoch says nothing of how strengths go on.", *self._of_directions()]
        first_mean, last_mean = ({m: self.mean(e, f"mean {m}") for m in self.modalities} for e in (1, last))
        moved = f"from {_shown(first_mean)} to {_shown(last_mean)}"
        said = [f"{self.title}: between epochs 1 and {last} the mean strength goes {moved}."]
        variance = {m: (self.mean(1, f"variance {m}"), self.mean(last, f"variance {m}")) for m in self.modalities}
        if len(self.modalities) > 1:
            close = _gap(first_mean) < _gap(last_mean)
            detail = f"highest less lowest: {_gap(first_mean):.3f} after epoch 1, {_gap(last_mean):.3f} after the last"
            said.append(verdict(self.title, "strengths lie closer together at first than later", close, detail))
            best = max(last_mean, key=last_mean.__getitem__)
            detail = "" if best == ID else f"it is {best}"
            said.append(verdict(self.title, "the id is the strongest modality in the end", best == ID, detail))
        fallen = all(new < old for old, new in variance.values())
        shown = ", ".join(f"{m} {old:.2g} → {new:.2g}" for m, (old, new) in variance.items())
        said.append(verdict(self.title, "the variance of strengths falls as training goes on", fallen, shown))
        return said + self._of_directions()

    def _of_directions(self) -> list[str]:
        both = [f"{m}<->{n}" for m, n in self.pairs]
        if not both:
            return []
        first, last = (100 * fmean(self.mean(epoch, name) for name in both) for epoch in (1, self.epochs))
        would = "would be aligned" if self.alignment == PLAIN else "are aligned"
        said = [
            f"{self.title}: of items and pairs of modalities {first:.1f} % {would} both ways after epoch 1, "
            f"{last:.1f} % after epoch {self.epochs}, by the {self.rule.replace('_', '-')} rule."
        ]
        if self.rule == "dynamic" and last < 1:
            said.append(f"{self.title}: in the end the dynamic rule is all but the one-way rule.")
        return said


def _read(result: Result) -> list[dict[str, float]] | str:
    """The rows of a run's file; or why there are none."""
    if result.metrics is None:
        return result.failure
    try:
        with (result.folder / STRENGTHS_FILE).open(newline="", encoding="utf-8") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    except OSError as error:
        return f"failed: {result.folder / STRENGTHS_FILE}: {error.strerror}; delete the folder, and it is trained again"
    except (TypeError, ValueError):
        return f"failed: {result.folder / STRENGTHS_FILE}: damaged; delete the folder, and it is trained again"
    return rows or f"failed: {result.folder / STRENGTHS_FILE}: empty; delete the folder, and it is trained again"


def _shown(values: Mapping[str, float]) -> str:
    return listed([f"{name} {value:.3f}" for name, value in values.items()])


def _gap(values: Mapping[str, float]) -> float:
    return max(values.values()) - min(values.values())
