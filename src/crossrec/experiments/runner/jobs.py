"""What an experiment trains: cells, their results, and the data sets that they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from crossrec.data import DataConfig, Dataset, load
from crossrec.runs.config import RunConfig

DATASETS_IN_MEMORY = 4
"""Data sets that an experiment keeps: one of many knock-outs has as many copies of the features."""


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


class Datasets(Mapping[DataConfig, Dataset]):
    """Data sets by configuration, each read at its first access. Raises DataError as ``load`` does.

    The last ``DATASETS_IN_MEMORY`` stay in memory; another one is read again. Iterates over those accessed so far.
    """

    def __init__(self) -> None:
        self._configs: dict[DataConfig, None] = {}
        self._load = lru_cache(DATASETS_IN_MEMORY)(load)

    def __getitem__(self, config: DataConfig) -> Dataset:
        dataset = self._load(config)
        self._configs[config] = None
        return dataset

    def __iter__(self) -> Iterator[DataConfig]:
        return iter(self._configs)

    def __len__(self) -> int:
        return len(self._configs)
