"""Explain one score: its parts, and the cosines of the user with the item's views."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from torch import Tensor

from crossrec.ops.vectors import l2_normalize
from crossrec.runs.embeddings import TrainedEmbeddings
from crossrec.types import ID


class Explanation(TypedDict):
    """What one score is made of.

    ``parts`` add up to the score where the backbone's item vectors are sums, and are empty otherwise. ``cosine``: of
    the user's vector with the item's, by behaviour (``id``) and by modality, in the shared space. ``aligned``: of the
    user's vector with the residual aligner's output î^{m→id}, where alignment trained one.
    """

    score: float
    parts: dict[str, float]
    cosine: dict[str, float]
    aligned: dict[str, float]


def explain_score(embeddings: TrainedEmbeddings, user_S: Tensor, user_L: Tensor, item: np.int64) -> Explanation:
    """Explain the score of an item row for a user with the vectors ``user_S`` (scoring) and ``user_L`` (shared)."""
    unit_user_L = l2_normalize(user_L[None])[0]

    def cosine(vector_L: Tensor) -> float:
        return float(unit_user_L @ l2_normalize(vector_L[None])[0])

    content = {m: x_IL[item] for m, x_IL in embeddings.modality_IL.items() if bool((x_IL[item] != 0).any())}
    aligners = embeddings.aligners
    aligned = {m: aligners[m, ID](x[None])[0] for m, x in content.items() if (m, ID) in aligners}
    parts = {name: part_IS[item] for name, part_IS in embeddings.part_IS.items() if item < len(part_IS)}
    return Explanation(
        score=float(user_S.double() @ embeddings.item_IS[item].double()),
        parts={name: float(user_S @ part_S) for name, part_S in parts.items()},
        cosine={ID: cosine(embeddings.item_IL[item]), **{m: cosine(x) for m, x in content.items()}},
        aligned={m: cosine(x) for m, x in aligned.items()},
    )
