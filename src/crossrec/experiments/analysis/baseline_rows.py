"""Rows of a comparison for recommenders without training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crossrec.baselines import BASELINES
from crossrec.data import Dataset
from crossrec.errors import ConfigError
from crossrec.evaluation import mean_metrics, per_user
from crossrec.evaluation.ranking import rank_scores
from crossrec.experiments.reporting.tables import CellValue
from crossrec.runs.execute import held_out, training_set
from crossrec.training import TrainingConfig


def baseline_rows(
    names: Iterable[str],
    dataset: Dataset,
    training: TrainingConfig = TrainingConfig(),  # noqa: B008
) -> list[Sequence[CellValue]]:
    """Name, test metrics and the monitored metric of recommenders without training, as rows of a ``comparison_table``.

    The reason fills the row of one that this data set is too large for, or has no content for.
    """
    valid, test = held_out(dataset, dataset.valid), held_out(dataset, dataset.test)
    metric_names, ks = training.measured
    rows: list[Sequence[CellValue]] = []
    for name in names:
        try:
            baseline = BASELINES[name](training_set(dataset), valid)
        except ConfigError as error:
            rows.append([name, f"failed: {error}", *[None] * (2 * len(training.shown) + 1)])
            continue
        ranks = rank_scores(baseline, [valid, test], depth=max(ks))
        chosen, final = (
            mean_metrics(per_user(split, ks, metric_names)) if len(split.user_E) else {} for split in ranks
        )
        metrics = [final.get(metric, "none") for metric in training.shown]
        rows.append([name, *metrics, *[""] * len(metrics), chosen.get(training.selection, "none"), ""])
    return rows
