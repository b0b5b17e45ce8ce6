"""How good the lists are: full ranking with training items masked, metrics per user first, mean later."""

from crossrec.evaluation.metrics import evaluate, mean_metrics, per_user
from crossrec.evaluation.ranking import NEVER, HeldOut, Ranks, rank_held_out, top_k

__all__ = ["NEVER", "HeldOut", "Ranks", "evaluate", "mean_metrics", "per_user", "rank_held_out", "top_k"]
