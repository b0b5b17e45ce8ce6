"""Distances between an item's modalities, cosines of users with items, and t-SNE of both (Section 7.6)."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from crossrec.data import Dataset, Interactions
from crossrec.errors import ConfigError
from crossrec.ops.vectors import l2_normalize
from crossrec.runs.embeddings import TrainedEmbeddings
from crossrec.types import ID

PAIRS = 1 << 18
"""Pairs (user, item) whose vectors are gathered at a time."""
PERPLEXITY = 30.0
UNIT, RAW = "unit length", "as they are"
TRAIN, TEST = "training pairs", "test pairs"


@dataclass(frozen=True)
class EmbeddingMetrics:
    """Metrics of one run.

    ``distance``: by length of the vectors (UNIT, RAW) and pair of modalities. ``cosine``: by kind of pairs (TRAIN,
    TEST) and modality.
    """

    distance: dict[str, dict[tuple[str, str], float]]
    cosine: dict[str, dict[str, float]]


def embedding_metrics(embeddings: TrainedEmbeddings, dataset: Dataset) -> EmbeddingMetrics:
    """Compute distances over items with training interactions, and cosines over pairs whose user has any."""
    vectors = {ID: embeddings.item_IL, **embeddings.modality_IL}
    trained = {m: vector_IL[embeddings.degree_I > 0] for m, vector_IL in vectors.items()}
    active_U = np.bincount(dataset.train.user_N, minlength=dataset.num_users) > 0

    def mean_cosines(pairs: Interactions) -> dict[str, float]:
        active_N = active_U[pairs.user_N]
        user_T, item_T = torch.from_numpy(pairs.user_N[active_N]), torch.from_numpy(pairs.item_N[active_N])
        return cosines(embeddings.user_UL, vectors, user_T, item_T)

    return EmbeddingMetrics(
        {UNIT: distances(trained, normalised=True), RAW: distances(trained, normalised=False)},
        {TRAIN: mean_cosines(dataset.train), TEST: mean_cosines(dataset.test)},
    )


def distances(vectors: Mapping[str, Tensor], *, normalised: bool) -> dict[tuple[str, str], float]:
    """Mean distance mean_i ‖i^m - i^n‖ of every two modalities (m, n), over the items that have both.

    ``vectors``: i^m by modality, (I, L) each; a row of zeros is an item without it. ``normalised``: with i^m / ‖i^m‖ in
    place of i^m, which lies in [0, 2] and does not shrink when all vectors do. NaN where no item has both. Source:
    Section 7.6, which does not say which of the two it measured.
    """
    distance = {}
    for m, n in combinations(vectors, 2):
        one, other = vectors[m].double(), vectors[n].double()
        both = (one != 0).any(1) & (other != 0).any(1)
        if normalised:
            one, other = l2_normalize(one), l2_normalize(other)
        distance[m, n] = float((one - other)[both].norm(dim=1).mean())
    return distance


def cosines(user_UL: Tensor, vectors: Mapping[str, Tensor], user_T: Tensor, item_T: Tensor) -> dict[str, float]:
    """Mean over pairs (u, i) of cos(u, i^m), by modality m; pairs whose item has no i^m (zeros) are left out.

    NaN where no pair is left. Source: Section 7.6.
    """
    user = l2_normalize(user_UL.double())
    cosine = {}
    for m, vector_IL in vectors.items():
        item, present = l2_normalize(vector_IL.double()), (vector_IL != 0).any(1)
        total, count = 0.0, 0
        for user_B, item_B in zip(torch.split(user_T, PAIRS), torch.split(item_T, PAIRS), strict=True):
            has_B = present[item_B]
            total += float((user[user_B[has_B]] * item[item_B[has_B]]).sum())
            count += int(has_B.sum())
        cosine[m] = total / count if count else float("nan")
    return cosine


def tsne(vectors: Mapping[str, Tensor], seed: int) -> dict[str, np.ndarray]:
    """Embed all vectors together in two dimensions by t-SNE (van der Maaten and Hinton 2008): (N, 2) by name.

    Vectors are scaled to unit length; leave out rows of zeros beforehand. Perplexity is 30, or less for few vectors.
    It starts from the first two principal components; the same vectors and seed give the same picture on one machine.
    """
    from openTSNE import TSNE

    stacked = torch.cat([l2_normalize(vector_NL.double()) for vector_NL in vectors.values()]).numpy()
    perplexity = min(PERPLEXITY, max(1.0, (len(stacked) - 1) / 4))
    position_N2 = np.asarray(TSNE(perplexity=perplexity, random_state=seed, n_jobs=1).fit(stacked))
    cuts = np.cumsum([len(vector_NL) for vector_NL in vectors.values()])[:-1]
    return dict(zip(vectors, np.split(position_N2, cuts), strict=True))


def require_tsne() -> None:
    """Raise ConfigError, which says how to install openTSNE, where it is missing."""
    if importlib.util.find_spec("openTSNE") is None:
        raise ConfigError("the pictures need openTSNE: pip install 'crossrec[plots]', or give --no-pictures")
