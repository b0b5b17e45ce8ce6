"""RQ1: does alignment help? Backbones × alignments × seeds on one data set, as one table (Tables 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from statistics import fmean
from typing import Annotated, Any

from pydantic import Field, field_validator

from crossrec.alignment import ALIGNMENTS
from crossrec.backbones import BACKBONES
from crossrec.config import Config, nearest
from crossrec.data import DataConfig
from crossrec.errors import ConfigError
from crossrec.experiments.cells import Cell
from crossrec.experiments.tables import RULE, Column, Table
from crossrec.run import RunConfig
from crossrec.training import SELECTION, TrainingConfig

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
"""The four columns of the paper's tables."""


class CompareConfig(Config):
    """What to compare."""

    backbones: tuple[str, ...] = Field(default=("lightgcn",), min_length=1)
    """Backbones, one block of the table each."""
    alignments: tuple[str, ...] = Field(default=("none", "fettle", "cross"), min_length=1)
    """Alignments, one row of a block each."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0, 1, 2), min_length=1)
    """Seeds; every cell is trained once per seed."""

    @field_validator("backbones", "alignments", "seeds")
    @classmethod
    def _once_each(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        """What is named twice is still trained once."""
        return tuple(dict.fromkeys(value))


def settings_for(settings: Mapping[str, Any], backbone: str, alignment: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a settings file says of one backbone and of the alignment on it: two sets of plain values.

    The file is JSON: {"BACKBONE": {"backbone": {…}, "ALIGNMENT": {…}}, …}. Raises ConfigError for an unknown name.
    """
    for name, parts in settings.items():
        if name not in BACKBONES:
            raise ConfigError(f"--settings: unknown backbone '{name}'{nearest(name, list(BACKBONES))}")
        if not isinstance(parts, Mapping):
            raise ConfigError(f"--settings: '{name}' must hold an object of 'backbone' and alignments")
        for part in parts:
            if part != "backbone" and part not in ALIGNMENTS:
                raise ConfigError(f"--settings: '{name}' has '{part}'{nearest(part, ['backbone', *ALIGNMENTS])}")
            if not isinstance(parts[part], Mapping):
                raise ConfigError(f"--settings: '{part}' of '{name}' must hold an object of settings")
            if part == "none" and parts[part]:
                raise ConfigError(f"--settings: 'none' of '{name}' must be empty; put the backbone's under 'backbone'")
    own = settings.get(backbone, {})
    return dict(own.get("backbone", {})), dict(own.get(alignment, {}))


def cells(
    options: CompareConfig, data: DataConfig, training: TrainingConfig, settings: Mapping[str, Any] | None = None
) -> list[Cell]:
    """One cell per backbone, alignment and seed. Raises ConfigError for an unknown backbone, alignment or setting."""
    for name in options.backbones:
        if name not in BACKBONES:
            raise ConfigError(f"--backbones: unknown '{name}'{nearest(name, list(BACKBONES))}")
    for name in options.alignments:
        if name not in ALIGNMENTS:
            raise ConfigError(f"--alignments: unknown '{name}'{nearest(name, list(ALIGNMENTS))}")
    made = []
    for backbone in options.backbones:
        for alignment in options.alignments:
            own, aligned = settings_for(settings or {}, backbone, alignment)
            kind = ALIGNMENTS[alignment]
            for seed in options.seeds:
                config = RunConfig(
                    data=data,
                    backbone=_parse(BACKBONES[backbone].config_type, own, f"'backbone' of '{backbone}'"),
                    alignment=None if kind is None else _parse(kind, aligned, f"'{alignment}' of '{backbone}'"),
                    training=training.model_copy(update={"seed": seed}),
                )
                made.append(Cell(config, group=(backbone, alignment)))
    return made


def table(results: Sequence[tuple[Cell, dict[str, Any] | str]], data: str) -> Table:
    """Mean ± deviation over seeds per backbone and alignment, and the improvement over the first alignment in %.

    ``results``: every cell with its metrics, or with the reason why it has none. A row in which a cell failed says so.
    """
    columns = [
        Column("model", "left"),
        *(Column(_short(m), best="max") for m in METRICS),
        *(Column(f"Δ{_short(m)}", format="+.1f") for m in METRICS),
        Column("valid R@20"),
        Column("s/epoch", format=".2f"),
    ]
    rows: list[Sequence[Any]] = []
    gains: dict[str, list[list[float]]] = {}
    for _, of_backbone in groupby(results, key=lambda result: result[0].group[0]):
        base: dict[str, float] | None = None
        groups = groupby(list(of_backbone), key=lambda result: result[0].group)
        for row, ((backbone, alignment), group) in enumerate(groups):
            outcomes = [outcome for _, outcome in group]
            name = backbone if alignment == "none" else f"{backbone} + {alignment}" if row == 0 else f"  + {alignment}"
            failed = [outcome for outcome in outcomes if isinstance(outcome, str)]
            if failed:
                rows.append([name, failed[0], *[None] * (len(columns) - 2)])
                continue
            tests = [outcome["test"] for outcome in outcomes if not isinstance(outcome, str)]
            values = [[test.get(metric) for test in tests] for metric in METRICS]
            valid = [o["valid"].get(SELECTION) for o in outcomes if not isinstance(o, str)]
            seconds = fmean(o["train_seconds_per_epoch"] for o in outcomes if not isinstance(o, str))
            if any(value is None for value in values[0]):
                rows.append([name, "no test pairs", *[None] * (len(columns) - 2)])
                continue
            means = {metric: fmean(value) for metric, value in zip(METRICS, values, strict=True)}
            delta: list[Any] = [""] * len(METRICS)
            if row == 0:
                base = means
            elif base is None:  # the row to compare with has failed
                delta = ["–"] * len(METRICS)
            else:
                delta = [100 * (means[m] / base[m] - 1) if base[m] else float("nan") for m in METRICS]
                gains.setdefault(alignment, []).append(delta)
            tested = [value if len(value) > 1 else value[0] for value in values]
            rows.append([name, *tested, *delta, None if None in valid else fmean(valid), seconds])
        rows.append(RULE)
    if any(len(blocks) > 1 for blocks in gains.values()):
        for alignment, blocks in gains.items():
            average = [fmean(block[k] for block in blocks) for k in range(len(METRICS))]
            share = "" if len(blocks) == max(map(len, gains.values())) else f" (of {len(blocks)})"
            rows.append([f"average + {alignment}{share}", *[""] * len(METRICS), *average, "", ""])
    else:
        rows.pop()
    seeds = sorted({cell.config.training.seed for cell, _ in results})
    notes = (
        f"Test metrics{_over(seeds)}; the epoch is chosen by validation Recall@20.",
        "Δ: change of the mean against the first row of the block, in %.",
    )
    return Table(f"{data}: backbones and what is stacked on them", columns, rows, notes)


def _parse(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    try:
        return kind.parse(values)
    except ConfigError as error:
        raise ConfigError(f"--settings: {where}: {error}") from None


def _over(seeds: Sequence[int]) -> str:
    shown = ", ".join(map(str, seeds))
    return f", mean ± sample deviation over seeds {shown}" if len(seeds) > 1 else f" of seed {shown}"


def _short(metric: str) -> str:
    name, k = metric.split("@")
    return f"{name[0].upper()}@{k}"
