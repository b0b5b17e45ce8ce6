"""Diverse lists: maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998), and limits of categories."""

from __future__ import annotations

import torch
from torch import Tensor

from crossrec.ops.csr import Ints
from crossrec.ops.vectors import l2_normalize

CANDIDATES = 10
"""Items to choose from, in lengths of the list."""


def rerank(
    item_CM: Tensor,
    score_CM: Tensor,
    k: int,
    vector_IS: Tensor,
    *,
    diversity: float = 0.0,
    category_I: Ints | None = None,
    most: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Choose k of the M candidates of each user: rows and scores of the items, (C, ≤ k), in the order of the choice.

    Place by place, the candidate with the largest (1 - d) r - d s is chosen, the first of equal ones. d is
    ``diversity``, r the candidate's score on a line from 0 at the user's last candidate to 1 at the first, and s its
    largest cosine, by ``vector_IS``, with the items chosen before (0 for the first place). ``category_I``: the category
    of each item, -1 for none; no list has more than ``most`` items of one. ``item_CM``, ``score_CM``: candidates, best
    first, score -inf where there is none. Scores of unused places are -inf.
    """
    count, candidates = item_CM.shape
    places = min(k, candidates)
    is_item = score_CM > -torch.inf
    last = score_CM.masked_fill(~is_item, torch.inf).amin(1, keepdim=True)
    span = (score_CM[:, :1] - last).clamp_min(torch.finfo(score_CM.dtype).tiny)
    relevance_CM = (score_CM - last) / span
    unit_CMS = l2_normalize(vector_IS)[item_CM]
    category_CM = None if category_I is None else torch.from_numpy(category_I)[item_CM]
    chosen_categories = torch.full((count, places), -1)
    free, similarity = is_item.clone(), torch.zeros_like(score_CM)
    chosen = torch.zeros(count, places, dtype=torch.int64)
    scores = torch.full((count, places), -torch.inf)
    row_C = torch.arange(count)
    for n in range(places):
        value = ((1 - diversity) * relevance_CM - diversity * similarity).masked_fill(~free, -torch.inf)
        best_C = value.argmax(1)
        has_one = free.any(1)
        chosen[:, n] = item_CM[row_C, best_C]
        scores[:, n] = torch.where(has_one, score_CM[row_C, best_C], -torch.inf)
        free[row_C, best_C] = False
        if diversity:
            cosine = torch.einsum("cms,cs->cm", unit_CMS, unit_CMS[row_C, best_C])
            similarity = cosine if n == 0 else torch.maximum(similarity, cosine)
        if category_CM is not None and most is not None:
            own_C1 = category_CM[row_C, best_C][:, None]
            chosen_categories[:, n] = own_C1[:, 0]
            is_full_C1 = ((chosen_categories == own_C1).sum(1, keepdim=True) >= most) & (own_C1 >= 0)
            free &= ~(is_full_C1 & (category_CM == own_C1))
    return chosen, scores
