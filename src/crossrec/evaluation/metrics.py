"""Recall, NDCG, precision, MAP, hit rate and MRR at K: per user first, the mean over users last."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field, PlainSerializer
from torch import Tensor

from crossrec.errors import ConfigError, DataError
from crossrec.evaluation.held_out import HeldOut
from crossrec.evaluation.ranking import CHUNK, Ranks, rank_together
from crossrec.ops.csr import Ints
from crossrec.parts import Registry

Floats = npt.NDArray[np.float64]
PerUser = dict[str, Floats]
"""Values of every user, (E,), by metric, e.g. "recall@10"."""


@dataclass(frozen=True, eq=False)
class Hits:
    """The hits in every user's first K places: held-out items with a 0-based rank below K.

    ``count_E``: held-out items of each user, at least 1. Of the H hits, sorted by user and rank: ``row_H``, position of
    the user; ``rank_H``; ``earlier_H``, hits of the same user at better ranks.
    """

    k: int
    count_E: Ints
    row_H: Ints
    rank_H: Ints
    earlier_H: Ints

    def total(self, value_H: Floats | None = None) -> npt.NDArray[np.floating | np.integer]:
        """Sum of ``value_H`` over the hits of each user, (E,); without values the number of hits."""
        return np.bincount(self.row_H, value_H, minlength=len(self.count_E))


def recall(hits: Hits) -> Floats:
    """Hits / held-out items."""
    return np.asarray(hits.total() / hits.count_E)


def ndcg(hits: Hits) -> Floats:
    """Σ_hits 1 / log2(r + 2)  /  Σ_{n < min(K, held-out items)} 1 / log2(n + 2): binary gains, r the 0-based rank."""
    ideal = np.cumsum(1.0 / np.log2(np.arange(hits.k) + 2.0))
    return np.asarray(hits.total(1.0 / np.log2(hits.rank_H + 2.0)) / ideal[np.minimum(hits.count_E, hits.k) - 1])


def precision(hits: Hits) -> Floats:
    """Hits / K."""
    return np.asarray(hits.total() / hits.k)


def average_precision(hits: Hits) -> Floats:
    """Σ_hits (hits up to and with this one) / (r + 1)  /  held-out items, r the 0-based rank.

    It divides by the held-out items and not by min(K, held-out items), as trec_eval and ranx do. So it reaches 1 only
    if K ≥ held-out items.
    """
    return np.asarray(hits.total((hits.earlier_H + 1.0) / (hits.rank_H + 1.0)) / hits.count_E)


def hit_rate(hits: Hits) -> Floats:
    """1 with a hit, 0 without."""
    return np.asarray(hits.total() > 0, dtype=np.float64)


def reciprocal_rank(hits: Hits) -> Floats:
    """1 / (r + 1) of the first hit, r its 0-based rank; 0 without a hit (Voorhees. TREC-8 question answering, 1999)."""
    return np.asarray(hits.total(np.where(hits.earlier_H == 0, 1.0 / (hits.rank_H + 1.0), 0.0)))


def _problem(part: Any) -> str:
    """What is wrong with a metric from outside the package, or ""."""
    return "" if callable(part) and not isinstance(part, type) else "not a metric; give a function of Hits"


METRICS: Registry[Callable[[Hits], Floats]] = Registry(
    "metric",
    "crossrec.metrics",
    {
        "recall": recall,
        "ndcg": ndcg,
        "precision": precision,
        "map": average_precision,
        "hr": hit_rate,
        "mrr": reciprocal_rank,
    },
    problem=_problem,
    own_name=lambda metric: str(getattr(metric, "__name__", "metric")),
)
"""Metrics by what ``--metrics`` takes: a name, or ``module:function``."""
DEFAULT_METRICS = ("recall", "ndcg", "precision", "map")
"""The metrics that every run measures."""
Metric = Annotated[str, AfterValidator(METRICS.checked), PlainSerializer(METRICS.reference)]
"""The name of a metric, as a setting."""
ListLength = Annotated[int, Field(ge=1, le=100_000)]
"""K, as a setting."""


def _at_k(value: str) -> str:
    """The metric at K "NDCG@5" as "ndcg@5". Raises ValueError for anything but a metric at K."""
    metric, _, k = value.rpartition("@")
    if not metric or not re.fullmatch(r"[1-9]\d{0,4}", k):
        raise ValueError("give a metric at K, such as ndcg@10")
    return f"{METRICS.checked(metric)}@{k}"


def _at_k_reference(value: str) -> str:
    metric, _, k = value.rpartition("@")
    return f"{METRICS.reference(metric)}@{k}"


MetricAtK = Annotated[str, AfterValidator(_at_k), PlainSerializer(_at_k_reference)]
"""A metric at K, as a setting."""


def per_user(ranks: Ranks, ks: Sequence[int] = (10, 20), metrics: Sequence[str] = DEFAULT_METRICS) -> PerUser:
    """Compute every metric at every K for every user: "recall@10", … -> float64 (E,).

    Users are in the order of ``ranks.user_E``; a user without a pair in ``ranks`` has NaN. Raises ConfigError for
    K < 1 and for an unknown metric. Source: protocol of MMRec, which the paper's published numbers follow; equal to
    ranx.
    """
    functions = {METRICS.check(name): METRICS[name] for name in metrics}
    order = np.lexsort((ranks.rank_P, ranks.row_P))
    row_P, rank_P = ranks.row_P[order], ranks.rank_P[order]
    count_E = np.bincount(row_P, minlength=len(ranks.user_E))
    earlier_P = np.arange(len(row_P)) - np.repeat(np.cumsum(count_E) - count_E, count_E)
    values: PerUser = {}
    for k in ks:
        if k < 1:
            raise ConfigError(f"metrics at K = {k}: give K >= 1")
        hit_P = rank_P < k
        hits = Hits(k, np.maximum(count_E, 1), row_P[hit_P], rank_P[hit_P], earlier_P[hit_P])
        for name, metric in functions.items():
            value_E = np.asarray(metric(hits))
            if value_E.shape != count_E.shape:
                raise ConfigError(f"metric '{name}': returns {value_E.shape}; need a value a user, {count_E.shape}")
            if value_E.dtype.kind not in "biuf" or not np.isfinite(value_E[count_E > 0]).all():
                raise ConfigError(f"metric '{name}': returns values that are no finite numbers; need one for each user")
            values[f"{name}@{k}"] = np.where(count_E > 0, value_E, np.nan)
    return values


def mean_metrics(values: Mapping[str, Floats]) -> dict[str, float]:
    """Average each metric over users, unrounded. Raises DataError if there is no user."""
    if any(len(value) == 0 for value in values.values()):
        raise DataError("nothing to evaluate: no user has both a held-out item and a training interaction")
    return {name: float(value.mean()) for name, value in values.items()}


def evaluate(
    user_US: Tensor,
    item_IS: Tensor,
    held: HeldOut,
    ks: Sequence[int] = (10, 20),
    chunk: int = CHUNK,
    metrics: Sequence[str] = DEFAULT_METRICS,
) -> dict[str, float]:
    """Rank the held-out items of ``held`` and average every metric at each K over its users.

    ``user_US`` (users, S) and ``item_IS`` (items, S) score by dot product. Raises DataError if ``held`` has no user,
    TrainingError if scores are not finite.
    """
    return evaluate_splits(user_US, item_IS, {"": held}, ks, chunk, metrics)[""]


def evaluate_splits(
    user_US: Tensor,
    item_IS: Tensor,
    splits: Mapping[str, HeldOut],
    ks: Sequence[int] = (10, 20),
    chunk: int = CHUNK,
    metrics: Sequence[str] = DEFAULT_METRICS,
    columns: int | None = None,
) -> dict[str, dict[str, float]]:
    """``evaluate`` for several splits of one data set. Each user is scored once. ``columns``: as ``rank_together``."""
    ranks = rank_together(user_US, item_IS, list(splits.values()), chunk, max(ks, default=0), columns)
    return {name: mean_metrics(per_user(of_split, ks, metrics)) for name, of_split in zip(splits, ranks, strict=True)}
