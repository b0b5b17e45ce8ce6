"""Evaluate a finished run again from its vectors: per user, per group of items and users, and by its lists."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crossrec.data import DataConfig, Dataset
from crossrec.errors import DataError
from crossrec.evaluation import PairedTest, groups, paired_tests, per_user, top_k
from crossrec.evaluation.lists import exposure, list_values
from crossrec.evaluation.metrics import DEFAULT_METRICS, PerUser
from crossrec.evaluation.ranking import rank_together
from crossrec.experiments.analysis.seed_values import measure_runs
from crossrec.experiments.runner.jobs import Result
from crossrec.lazy import polars as pl
from crossrec.runs.execute import held_out, left_out
from crossrec.runs.measured import measured_embeddings


@dataclass(frozen=True, eq=False)
class RunEvaluation:
    """Metrics of one run. All but ``valid`` are of the test split.

    ``user_E``: the test users; arrays per test user are in this order. ``test``: recall, NDCG, precision and MAP per
    user, (E,). ``valid``: the same for ``valid_user_E``. ``item_EK``: the lists of the test users, best first, -1 where
    there is no item. ``of_items``, ``of_users``: the metrics within each group of ``items`` (Tail 1 … Head) and of
    ``users`` (by training interactions), NaN where a user has no value in the group. ``lists``: popularity, novelty
    and share of tail items of every list. ``exposure``: coverage and Gini of all lists together.

    ``mean_metrics`` and ``group_means`` of ``crossrec.evaluation`` take the means; docs/evaluation.md has formulas.
    """

    user_E: np.ndarray
    valid_user_E: np.ndarray
    test: PerUser
    valid: PerUser
    item_EK: np.ndarray
    items: groups.Groups
    users: groups.Groups
    of_items: dict[str, PerUser]
    of_users: dict[str, PerUser]
    lists: PerUser
    exposure: dict[str, float]


def run_evaluation(
    folder: str | os.PathLike[str],
    dataset: Dataset,
    *,
    ks: Sequence[int] = (10, 20),
    metrics: Sequence[str] = DEFAULT_METRICS,
    user_bounds: Sequence[int] | None = None,
) -> RunEvaluation:
    """Evaluate the run in ``folder`` on the data set it was trained on. Nothing is trained, nothing is written.

    A run that was refit is evaluated as before it learnt the held-out interactions.

    ``user_bounds``: bounds of the groups of users (``user_groups``). Raises RunError where the run is missing, not
    done, damaged or of other interactions.
    """
    embeddings = measured_embeddings(folder, dataset)
    train, seen, depth = dataset.train, left_out(dataset, dataset.test), max(ks)
    valid, test = (held_out(dataset, split) for split in (dataset.valid, dataset.test))
    of_valid, of_test = rank_together(embeddings.user_US, embeddings.item_IS, [valid, test], depth=depth)
    item_EK, _ = top_k(embeddings.user_US, embeddings.item_IS, test.user_E, seen.user_N, seen.item_N, depth)
    degree_I = np.bincount(train.item_N, minlength=dataset.num_items)
    items = groups.popularity_groups(degree_I)
    users = user_groups(dataset, user_bounds)
    values = per_user(of_test, ks, metrics)
    return RunEvaluation(
        user_E=test.user_E,
        valid_user_E=valid.user_E,
        test=values,
        valid=per_user(of_valid, ks, metrics),
        item_EK=item_EK,
        items=items,
        users=users,
        of_items=groups.by_item_group(of_test, items, ks, metrics),
        of_users=groups.by_user_group(test.user_E, values, users),
        lists=list_values(item_EK, degree_I, ~items.members(groups.HEAD), ks),
        exposure=exposure(item_EK, dataset.num_items, ks),
    )


def metric_frames(folder: str | os.PathLike[str], dataset: Dataset, k: int = 20) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The test of a run as frames for other libraries' metrics: the lists of k items, and the held-out items.

    Columns of the first: user_id, item_id, rank from 1, score; of the second: user_id, item_id. Both have the users
    that the run's metrics are means over; the lists leave out training items. Raises RunError as ``run_evaluation``.
    """
    embeddings = measured_embeddings(folder, dataset)
    seen, test = left_out(dataset, dataset.test), held_out(dataset, dataset.test)
    item_EK, score_EK = top_k(embeddings.user_US, embeddings.item_IS, test.user_E, seen.user_N, seen.item_N, k)
    row_N, rank_N = np.nonzero(item_EK >= 0)

    def ids(row_N: np.ndarray, item_N: np.ndarray) -> dict[str, pl.Series]:
        return {"user_id": dataset.user_ids.gather(test.user_E[row_N]), "item_id": dataset.item_ids.gather(item_N)}

    places = {"rank": pl.Series(rank_N + 1), "score": pl.Series(score_EK[row_N, rank_N])}
    lists = pl.DataFrame(ids(row_N, item_EK[row_N, rank_N]) | places)
    return lists, pl.DataFrame(ids(test.row_P, test.item_P))


def user_groups(dataset: Dataset, bounds: Sequence[int] | None = None) -> groups.Groups:
    """Group users by training interactions: at ``bounds``, else quarters of those with any, as far as ties allow."""
    degree_U = np.bincount(dataset.train.user_N, minlength=dataset.num_users)
    return groups.activity_groups(degree_U, bounds or groups.activity_quantiles(degree_U[degree_U > 0]))


def evaluate_runs(results: Sequence[Result], datasets: Mapping[DataConfig, Dataset]) -> list[RunEvaluation] | str:
    """Evaluate the runs of one method, one per seed; returns the reason where one failed or is damaged."""

    def evaluation(result: Result) -> RunEvaluation:
        config = result.cell.config
        metrics, ks = config.training.measured
        return run_evaluation(result.folder, datasets[config.data], ks=ks, metrics=metrics)

    return measure_runs(results, evaluation)


def compare_evaluations(
    new: Sequence[RunEvaluation],
    base: Sequence[RunEvaluation],
    generator: np.random.Generator,
    *,
    of: Callable[[RunEvaluation], PerUser] = lambda evaluation: evaluation.test,
    metrics: Sequence[str] | None = None,
    draws: int = 10_000,
    confidence: float = 0.95,
) -> dict[str, PairedTest]:
    """Compare two models by ``paired_tests``, each given by the evaluations of its runs, one per seed.

    ``of`` selects the values: ``lambda e: e.of_items["Tail 1"]`` of a group, ``lambda e: e.lists`` of the lists.
    Raises DataError where the evaluations are of different users, and what ``paired_tests`` raises.
    """
    first, *others = [*new, *base]
    if any(
        not np.array_equal(a, b)
        for other in others
        for a, b in ((other.user_E, first.user_E), (other.valid_user_E, first.valid_user_E))
    ):
        raise DataError("the runs were measured on different users: compare runs on one data set and split")
    return paired_tests(
        [of(e) for e in new], [of(e) for e in base], generator, metrics=metrics, draws=draws, confidence=confidence
    )
