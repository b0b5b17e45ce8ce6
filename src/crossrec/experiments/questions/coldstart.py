"""Items that nobody has touched: how good are the vectors made of their content, against what else there is?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated, get_args

import torch
from pydantic import Field
from torch import Tensor

from crossrec.backbones import BACKBONES
from crossrec.data import DataConfig, Dataset
from crossrec.errors import ConfigError, RunError
from crossrec.experiments.analysis.coldstart_tables import (
    HISTORY,
    METRIC,
    OTHERS,
    POPULARITY,
    TRUE,
    Line,
    among,
    among_all,
    by_features,
    differences,
    figure,
    findings,
    table,
)
from crossrec.experiments.analysis.comparison import METRICS, PLAIN, Values
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings, check_name, values_of
from crossrec.experiments.reporting.result import ExperimentResult
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.ops.vectors import l2_normalize
from crossrec.randomness import torch_generator
from crossrec.recommend.cold_start import DEFAULT_METHOD, ColdStart, ColdStartMethod
from crossrec.recommend.measure import cold_metrics, cold_of, metrics_among_all
from crossrec.runs.directory import open_embeddings

RANDOM_WIDTH = 64
"""Numbers in the vectors of noise that order items at random, for every user anew."""

Measured = dict[str, float]


class ColdstartConfig(ExperimentConfig):
    """What to take out, and whom to ask."""

    backbones: tuple[str, ...] = Field(default=("lightgcn",), min_length=1)
    """Backbones to train alone and with each alignment."""
    alignments: tuple[str, ...] = Field(default=("cross",), min_length=1)
    """Alignments whose vectors of new items are measured: cross, fettle."""
    references: tuple[str, ...] = ("vbpr",)
    """Backbones to set beside, alone."""
    quantiles: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0.5, 0.8, 0.9, 0.95)
    """Lengths of new items' vectors, as quantiles of the others', to rank them among all items with."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the items that are taken out before training, others for every seed."""


def cells(options: ColdstartConfig, shared: SharedSettings) -> list[Cell]:
    """Every backbone alone and aligned, then the references, per seed. Raises ConfigError for an unknown name."""
    if shared.data.cold_items is not None:
        raise ConfigError("--cold-items: coldstart takes items out itself; give --share")
    for backbone in options.references:
        check_name(backbone, BACKBONES, "--references")
    asked = [(backbone, name) for backbone in options.backbones for name in dict.fromkeys((PLAIN, *options.alignments))]
    asked += [(backbone, PLAIN) for backbone in options.references if backbone not in options.backbones]
    return [
        Cell(shared.run_config(backbone, name, seed, data=_data(options, shared, seed)), group=(backbone, name))
        for backbone, name in asked
        for seed in options.seeds
    ]


def _data(options: ColdstartConfig, shared: SharedSettings, seed: int) -> DataConfig:
    return shared.data.model_copy(update={"cold_items": options.share, "cold_seed": seed})


def result(
    options: ColdstartConfig, shared: SharedSettings, results: Sequence[Result], datasets: Mapping[DataConfig, Dataset]
) -> ExperimentResult:
    """Metrics of new items for every model and way to make vectors; differences seed by seed; a figure."""
    drawn = [datasets[_data(options, shared, seed)] for seed in options.seeds]
    lines = _lines("", [without_training(dataset, s) for dataset, s in zip(drawn, options.seeds, strict=True)])
    for (backbone, name), of_model in groupby(results, key=lambda result: result.cell.group):
        label = backbone if name == PLAIN else f"{backbone} + {name}"
        lines += _model_lines(label, list(of_model), datasets, options.quantiles)
    data, alone = drawn[0].name, (*options.backbones, *options.references)
    return ExperimentResult(
        "Items that nobody has touched: does alignment make better vectors of their content than what else there is?",
        findings(data, lines, alone, drawn),
        {
            "coldstart": table(data, lines, options.seeds, options.share),
            "coldstart-differences": differences(data, lines, alone),
            "coldstart-among-all": among_all(data, lines, options.quantiles),
        },
        {"coldstart-figure": figure(data, lines, options.seeds)},
    )


def _model_lines(
    label: str, results: Sequence[Result], datasets: Mapping[DataConfig, Dataset], quantiles: Sequence[float]
) -> list[Line]:
    failed = [result.failure for result in results if result.metrics is None]
    if not failed:
        try:
            lines = _lines(label, [of_run(r.folder, datasets[r.cell.config.data], quantiles) for r in results])
            without = values_of(results, "test", METRIC)
            return [replace(line, values={**line.values, OTHERS: without}) for line in lines]
        except RunError as error:
            failed = [f"failed: {error}"]
    return [Line(label, "", dict.fromkeys(METRICS, failed[0]))]


def _lines(label: str, by_seed: Sequence[Mapping[str, Measured]]) -> list[Line]:
    """One line per way to order new items that every seed has: {way: {metric: value}} a seed."""

    def values(way: str, metric: str) -> Values:
        found = tuple(measured[way][metric] for measured in by_seed)
        return found if len(found) > 1 else found[0]

    ways = [way for way in by_seed[0] if all(way in measured for measured in by_seed)]
    return [Line(label, way, {metric: values(way, metric) for metric in by_seed[0][way]}) for way in ways]


def without_training(dataset: Dataset, seed: int) -> dict[str, Measured]:
    """What needs no model: {way: metrics} of

    - popularity: nobody has touched any of these items, so it leaves them in any order: one at random for every user;
    - content like the history: score_ui = Σ_m x^m_i · mean of x^m over the user's training items, x^m of unit length;
    - true popularity: by the interactions that the items really have, which nobody knows of a new item.
    """
    cold, users = cold_of(dataset), torch.from_numpy(dataset.train.user_N)
    x_IF = torch.cat([l2_normalize(torch.from_numpy(x)) for x in dataset.features.values()], dim=1)
    x_CF = torch.cat([l2_normalize(x) for x in scaled(dataset).values()], dim=1)
    history_UF = torch.zeros(dataset.num_users, x_IF.shape[1])
    history_UF.index_add_(0, users, x_IF[torch.from_numpy(dataset.train.item_N)])
    noise = torch_generator(seed, "any order")
    order_U, order_C = (torch.randn(n, RANDOM_WIDTH, generator=noise) for n in (dataset.num_users, len(x_CF)))
    taken_C = torch.bincount(torch.from_numpy(cold.interactions.item_N), minlength=len(x_CF)).float()
    pairs = {
        POPULARITY: (order_U, order_C),
        HISTORY: (history_UF, x_CF),
        TRUE: (torch.ones(dataset.num_users, 1), taken_C[:, None]),
    }
    return {way: _shown(cold_metrics(user_US, item_CS, dataset)) for way, (user_US, item_CS) in pairs.items()}


def of_run(folder: Path, dataset: Dataset, quantiles: Sequence[float] = ()) -> dict[str, Measured]:
    """{way: metrics} for all ways that this run has to make vectors of new items. Nothing is trained.

    Ways ``by features`` go by raw features instead of the vectors i^m: runs without any content have them too. By the
    library's default also Recall@20 of new items among all, and of the others among all, with vectors of every length
    of ``quantiles``. Raises RunError where the run is missing, not done, damaged or of other data.
    """
    snapshot = open_embeddings(folder)
    if not snapshot.matches(dataset):
        raise RunError(f"{folder} was trained on other interactions than these: give the data set of its config.json")
    raw = {m: torch.from_numpy(x) for m, x in dataset.features.items()}
    makers: dict[str, Callable[[float], Tensor]] = {}
    of_features = ColdStart(snapshot.with_content(raw))
    ways: tuple[ColdStartMethod, ...] = get_args(ColdStartMethod)
    for how in ("neighbors", DEFAULT_METHOD):
        makers[by_features(how)] = partial(of_features.item_vectors, scaled(dataset), how)
    if snapshot.modality_IL:
        cold_start, content = ColdStart(snapshot), snapshot.project(cold_of(dataset).features)
        makers |= {how: partial(cold_start.item_vectors, content, how) for how in ways}
    found = {}
    for way, make in makers.items():
        try:
            found[way] = _shown(cold_metrics(snapshot.user_US, make(0.5), dataset))
        except ConfigError:  # a way that this run does not have
            continue
    way = DEFAULT_METHOD if DEFAULT_METHOD in found else by_features(DEFAULT_METHOD)
    for quantile in quantiles:
        metrics = metrics_among_all(snapshot.user_US, snapshot.item_IS, makers[way](quantile), dataset)
        found[way] |= {among(name, quantile): of_part[METRIC] for name, of_part in metrics.items()}
    return found


def scaled(dataset: Dataset) -> dict[str, Tensor]:
    """The features of the items taken out, (C, D_m), scaled as those that are left."""
    return {m: torch.from_numpy(dataset.scalers[m](x)) for m, x in cold_of(dataset).features.items()}


def _shown(metrics: Measured) -> Measured:
    return {metric: metrics[metric] for metric in METRICS}


EXPERIMENT = Experiment(ColdstartConfig, cells, result)
