"""Evaluation: full ranking without training items; metrics per user first, their mean last."""

from crossrec.evaluation.held_out import HeldOut
from crossrec.evaluation.metrics import evaluate, evaluate_splits, mean_metrics, per_user
from crossrec.evaluation.ranking import Ranks, rank_held_out, top_k
from crossrec.evaluation.significance import PairedTest, holm, paired_tests

__all__ = [
    "HeldOut",
    "PairedTest",
    "Ranks",
    "evaluate",
    "evaluate_splits",
    "holm",
    "mean_metrics",
    "paired_tests",
    "per_user",
    "rank_held_out",
    "top_k",
]
