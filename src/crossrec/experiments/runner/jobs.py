"""What an experiment trains: cells, their results, and the data sets that they share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossrec.data import DataConfig, Dataset, load
from crossrec.runs.config import RunConfig


@dataclass(frozen=True)
class Cell:
    """One run of an experiment. ``group``: its row of the result, e.g. (data set, backbone, alignment)."""

    config: RunConfig
    group: tuple[str, ...]

    @property
    def name(self) -> str:
        """Folder name: readable, and different for every configuration and version of the method."""
        return f"{self.config.label}-seed{self.config.training.seed}-{self.config.digest()[:10]}"

    @property
    def title(self) -> str:
        """Text for progress lines, e.g. ``tiktok freedom ILDA&DT seed 0``."""
        return " ".join([*(Path(part).name for part in self.group if part), f"seed {self.config.training.seed}"])


@dataclass(frozen=True)
class Result:
    """Outcome of a cell: the content of its ``metrics.json``, or the reason for which there is none."""

    cell: Cell
    folder: Path
    metrics: dict[str, Any] | None = None
    failure: str = ""


class Datasets(dict[DataConfig, Dataset]):
    """Data sets by configuration; each is read on first access. Raises DataError as ``load`` does."""

    def __missing__(self, config: DataConfig) -> Dataset:
        dataset = self[config] = load(config)
        return dataset
