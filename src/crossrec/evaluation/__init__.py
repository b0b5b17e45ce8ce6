"""How good the lists are: full ranking with training items masked, metrics per user first, mean later."""

from crossrec.evaluation.groups import (
    HEAD,
    GroupMean,
    Groups,
    activity_groups,
    activity_quantiles,
    by_item_group,
    by_user_group,
    group_means,
    popularity_groups,
)
from crossrec.evaluation.lists import diversity, exposure, list_values
from crossrec.evaluation.metrics import PerUser, evaluate, evaluate_splits, mean_metrics, per_user
from crossrec.evaluation.ranking import NEVER, HeldOut, Ranks, rank_held_out, rank_together, top_k
from crossrec.evaluation.significance import PairedTest, adjust, over_seeds, paired_tests

__all__ = [
    "HEAD",
    "NEVER",
    "GroupMean",
    "Groups",
    "HeldOut",
    "PairedTest",
    "PerUser",
    "Ranks",
    "activity_groups",
    "activity_quantiles",
    "adjust",
    "by_item_group",
    "by_user_group",
    "diversity",
    "evaluate",
    "evaluate_splits",
    "exposure",
    "group_means",
    "list_values",
    "mean_metrics",
    "over_seeds",
    "paired_tests",
    "per_user",
    "popularity_groups",
    "rank_held_out",
    "rank_together",
    "top_k",
]
