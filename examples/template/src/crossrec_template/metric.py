"""A metric: values per user from the hits in the first K places."""

from __future__ import annotations

import numpy as np

from crossrec.evaluation.metrics import Floats, Hits

PERSISTENCE = 0.8
"""Probability that a user goes on to the next place."""


def rbp(hits: Hits) -> Floats:
    """Rank-biased precision (1 - p) Σ_hits p^r, r the 0-based rank (Moffat and Zobel, TOIS 2008)."""
    return np.asarray(hits.total((1 - PERSISTENCE) * PERSISTENCE**hits.rank_H), dtype=np.float64)
