"""A trained run, recommending: lists for users, similar items, people and items that training has not seen."""

from crossrec.recommend.newcomers import FoldIn, NewItem
from crossrec.recommend.recommender import Recommender

__all__ = ["FoldIn", "NewItem", "Recommender"]
