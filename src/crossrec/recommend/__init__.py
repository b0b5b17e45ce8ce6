"""A trained run, recommending: lists for users, similar items, people and items that training has not seen."""

from crossrec.recommend.cold_start import FoldIn, NewItem
from crossrec.recommend.extend import Extended, extend
from crossrec.recommend.recommender import Recommender

__all__ = ["Extended", "FoldIn", "NewItem", "Recommender", "extend"]
