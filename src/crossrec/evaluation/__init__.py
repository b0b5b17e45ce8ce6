"""How good the lists are: full ranking with training items masked, metrics per user first, mean later."""

from crossrec.evaluation.metrics import evaluate, evaluate_splits, mean_metrics, per_user
from crossrec.evaluation.ranking import NEVER, HeldOut, Ranks, rank_held_out, rank_together, top_k

__all__ = [
    "NEVER",
    "HeldOut",
    "Ranks",
    "evaluate",
    "evaluate_splits",
    "mean_metrics",
    "per_user",
    "rank_held_out",
    "rank_together",
    "top_k",
]
