"""Metrics of items without any interactions: by vectors made of their content, and by baselines without training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from crossrec.data import ColdItems, Dataset
from crossrec.errors import ConfigError, DataError
from crossrec.evaluation import HeldOut, evaluate, evaluate_splits
from crossrec.ops.vectors import l2_normalize
from crossrec.randomness import torch_generator
from crossrec.recommend.cold_start import DEFAULT_METHOD, ColdStart, ColdStartMethod
from crossrec.recommend.new_item_graph import NewItemGraph
from crossrec.runs.config import load_config
from crossrec.runs.measured import measured_embeddings
from crossrec.training import TrainingConfig

METRIC = "recall@20"
"""The metric of new items among all items, unless others are named."""
NEW, OTHERS = "new", "others"
"""The items taken out, and those of the run. OTHERS is also the metric of the latter without any new items."""
POPULARITY, HISTORY, TRUE = "popularity", "content like the history", "true popularity"
"""Baselines that need no training."""
RANDOM_WIDTH = 64
"""Length of the random vectors that order items at random, differently for every user."""

Metrics = dict[str, float]


def by_features(method: str) -> str:
    """Name of a method applied to raw features, not to the vectors that a run makes of them."""
    return f"{method} by features"


def among_all(items: str, quantile: float) -> str:
    """Name of the metric among all items, of NEW or OTHERS, with new vectors as long as a quantile of the others'."""
    return f"{items} at {quantile:g}"


def cold_of(dataset: Dataset) -> ColdItems:
    """The items held out of a data set. Raises DataError where there are none."""
    if dataset.cold is None:
        raise DataError(f"{dataset.name}: no items were taken out; load it with cold_items, a share of them")
    return dataset.cold


def cold_metrics(
    user_US: Tensor,
    item_CS: Tensor,
    dataset: Dataset,
    training: TrainingConfig = TrainingConfig(),  # noqa: B008
) -> dict[str, float]:
    """The metrics that ``training`` measures, of the held-out items, (C, S), ranked among themselves.

    Averages over the users with a training interaction and an interaction with a held-out item; all their interactions
    with held-out items are relevant. Raises DataError where there is no such user.
    """
    cold, count = cold_of(dataset), len(item_CS)
    # no held-out item is masked: one more item, with a vector of zeros, stands for all training items
    user_E = np.unique(dataset.train.user_N)
    trained = user_E, np.full(len(user_E), count)
    held = HeldOut.build(*trained, cold.interactions.user_N, cold.interactions.item_N, len(user_US), count + 1)
    metrics, ks = training.measured
    return evaluate(user_US, torch.cat([item_CS, torch.zeros_like(item_CS[:1])]), held, ks, metrics=metrics)


def metrics_among_all(
    user_US: Tensor,
    item_IS: Tensor,
    item_CS: Tensor,
    dataset: Dataset,
    training: TrainingConfig = TrainingConfig(),  # noqa: B008
) -> dict[str, dict[str, float]]:
    """``cold_metrics`` of the held-out items, ranked among all items that a user does not have in training.

    ``new``: the held-out items are relevant, by all their interactions; ``others``: the items of the run are relevant,
    by the test split if there is one. Raises DataError as ``cold_metrics`` does.
    """
    cold, train, count = cold_of(dataset), dataset.train, len(item_IS)
    parts = {"new": (cold.interactions.user_N, cold.interactions.item_N + count)}
    if len(dataset.test):
        parts["others"] = dataset.test.user_N, dataset.test.item_N
    sizes = len(user_US), count + len(item_CS)
    held = {name: HeldOut.build(train.user_N, train.item_N, *pairs, *sizes) for name, pairs in parts.items()}
    metrics, ks = training.measured
    return evaluate_splits(user_US, torch.cat([item_IS, item_CS]), held, ks, metrics=metrics)


def baseline_metrics(
    dataset: Dataset,
    seed: int,
    training: TrainingConfig = TrainingConfig(),  # noqa: B008
) -> dict[str, Metrics]:
    """Metrics that ``training`` shows of the baselines that need no training, by name:

    - popularity: no new item has interactions, so the order is one at random for every user;
    - content like the history: score_ui = Σ_m x^m_i · mean of x^m over the user's training items, x^m of unit length;
    - true popularity: by the interactions that the items really have, which are not known of a new item.
    """
    cold, users = cold_of(dataset), torch.from_numpy(dataset.train.user_N)
    x_IF = torch.cat([l2_normalize(torch.from_numpy(x)) for x in dataset.features.values()], dim=1)
    x_CF = torch.cat([l2_normalize(x) for x in scaled_features(dataset).values()], dim=1)
    history_UF = torch.zeros(dataset.num_users, x_IF.shape[1])
    history_UF.index_add_(0, users, x_IF[torch.from_numpy(dataset.train.item_N)])
    generator = torch_generator(seed, "any order")
    order_U, order_C = (torch.randn(n, RANDOM_WIDTH, generator=generator) for n in (dataset.num_users, len(x_CF)))
    count_C = torch.bincount(torch.from_numpy(cold.interactions.item_N), minlength=len(x_CF)).float()
    vectors = {
        POPULARITY: (order_U, order_C),
        HISTORY: (history_UF, x_CF),
        TRUE: (torch.ones(dataset.num_users, 1), count_C[:, None]),
    }
    return {name: _metrics(*of_baseline, dataset, training) for name, of_baseline in vectors.items()}


def run_metrics(
    folder: Path,
    dataset: Dataset,
    quantiles: Sequence[float] = (),
    training: TrainingConfig = TrainingConfig(),  # noqa: B008
) -> dict[str, Metrics]:
    """Metrics that ``training`` shows of new items in a run, by method to make their vectors. Nothing is trained.

    Methods ``by features`` use raw features instead of the vectors i^m, so that runs without content have them too. For
    the library's default method there is also the headline metric of new and other items among all, with vectors of
    the length of every one of ``quantiles``. Raises RunError where the run is missing, not done, damaged or of other
    data.
    """
    embeddings = measured_embeddings(folder, dataset)
    features = {m: torch.from_numpy(x) for m, x in dataset.features.items()}
    graph = NewItemGraph.of(load_config(folder / "config.json"), embeddings, dataset)
    graph_CS = None if graph is None else graph(cold_of(dataset).features)
    from_features = ColdStart(replace(embeddings, modality_IL=features), graph=graph)
    makers: dict[str, Callable[[float], Tensor]] = {
        by_features(method): partial(from_features.item_vectors, scaled_features(dataset), method, graph_NS=graph_CS)
        for method in ("neighbors", DEFAULT_METHOD)
    }
    if embeddings.modality_IL or graph is not None:
        from_content = ColdStart(embeddings, graph=graph)
        raw = {m: x for m, x in cold_of(dataset).features.items() if m in embeddings.content_encoders}
        content, methods = embeddings.project(raw), tuple[ColdStartMethod, ...](get_args(ColdStartMethod))
        makers |= {m: partial(from_content.item_vectors, content, m, graph_NS=graph_CS) for m in methods}
    metrics = {}
    for method, make in makers.items():
        try:
            metrics[method] = _metrics(embeddings.user_US, make(0.5), dataset, training)
        except ConfigError:  # a method that this run does not support
            continue
    default = DEFAULT_METHOD if DEFAULT_METHOD in metrics else by_features(DEFAULT_METHOD)
    for quantile in quantiles:
        parts = metrics_among_all(embeddings.user_US, embeddings.item_IS, makers[default](quantile), dataset, training)
        named = training.headline(METRIC)
        metrics[default] |= {among_all(items, quantile): of_part[named] for items, of_part in parts.items()}
    return metrics


def scaled_features(dataset: Dataset) -> dict[str, Tensor]:
    """The features of the items taken out, (C, D_m), scaled as those of the other items."""
    return {m: torch.from_numpy(dataset.scalers[m](x)) for m, x in cold_of(dataset).features.items()}


def _metrics(user_US: Tensor, item_CS: Tensor, dataset: Dataset, training: TrainingConfig) -> Metrics:
    metrics = cold_metrics(user_US, item_CS, dataset, training)
    return {metric: metrics[metric] for metric in training.shown}
