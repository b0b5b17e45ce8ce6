"""Recommend with a trained run: lists for users, similar items, new users and new items."""

from crossrec.recommend.bulk import bulk_lists
from crossrec.recommend.cold_start import ColdStartMethod
from crossrec.recommend.event_log import LogConfig
from crossrec.recommend.extend import ExtensionSummary, extend
from crossrec.recommend.fold_in import FoldInMethod
from crossrec.recommend.recommender import Recommender

__all__ = [
    "ColdStartMethod",
    "ExtensionSummary",
    "FoldInMethod",
    "LogConfig",
    "Recommender",
    "bulk_lists",
    "extend",
]
