"""Fold in users who were not in training: vectors from the items of their history, without training."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from crossrec.errors import ConfigError
from crossrec.ops.ridge import Ridge
from crossrec.runs.embeddings import TrainedEmbeddings

FoldInMethod = Literal["ridge", "propagation", "mean"]
"""How a history becomes a user vector; see ``FoldIn``."""


class FoldIn:
    """Compute user vectors, of dimension S, from histories.

    - ``mean``: the mean of the items' vectors.
    - ``propagation``: Σ_i item_i / √d_i / √n over the n items of the history, where item i has d_i training users. This
      is one layer of graph convolution as in LightGCN, without the user's own embedding.
    - ``ridge``: a linear map from the propagation vector to the user vector, fitted on all users of the run.
    """

    def __init__(self, embeddings: TrainedEmbeddings) -> None:
        self.embeddings = embeddings
        self.scaled_item_IS = embeddings.item_IS / embeddings.degree_I.clamp_min(1).float().sqrt()[:, None]

    def user_vector(self, item_N: Tensor, how: FoldInMethod) -> Tensor:
        """The vector, (S,), of a user with these distinct item rows. Raises ConfigError for an unknown method."""
        if how == "mean":
            return self.embeddings.item_IS[item_N].mean(0)
        propagated_S = self.scaled_item_IS[item_N].sum(0, keepdim=True) / max(len(item_N), 1) ** 0.5
        return self._from_propagated(propagated_S, how)[0]

    def user_vectors(self, interactions: sp.csr_matrix, how: FoldInMethod) -> Tensor:
        """Vectors of many users, (U, S), from a (U, I) matrix of ones; zeros for a user without items.

        Raises ConfigError for an unknown method.
        """
        count_U = torch.from_numpy(np.diff(interactions.indptr)).float().clamp_min(1)[:, None]
        if how == "mean":
            return _product(interactions, self.embeddings.item_IS) / count_U
        return self._from_propagated(_product(interactions, self.scaled_item_IS) / count_U.sqrt(), how)

    def _from_propagated(self, propagated_US: Tensor, how: FoldInMethod) -> Tensor:
        if how == "propagation":
            return propagated_US
        if how != "ridge":
            raise ConfigError(f"unknown fold-in '{how}': use ridge, propagation or mean")
        return self.ridge(propagated_US)

    @cached_property
    def ridge(self) -> Ridge:
        """The map from propagation vectors to user vectors, fitted at first use on users with training items."""
        interactions = training_interactions(self.embeddings)
        active_users = np.flatnonzero(np.diff(interactions.indptr))
        if not len(active_users):
            raise ConfigError("nobody has training items in this run: there is nothing to fold a history in by")
        propagated_US = self.user_vectors(interactions[active_users], "propagation")
        return Ridge(propagated_US, self.embeddings.user_US[torch.from_numpy(active_users)])


def training_interactions(embeddings: TrainedEmbeddings) -> sp.csr_matrix:
    """The training interactions of a run as a (U, I) matrix of ones."""
    user_N = np.repeat(np.arange(embeddings.num_users), embeddings.seen_indptr.diff().numpy())
    trained = embeddings.seen_trained.numpy()
    pairs = user_N[trained], embeddings.seen_item.numpy()[trained]
    return sp.csr_matrix((np.ones(len(pairs[0])), pairs), (embeddings.num_users, embeddings.num_items))


def _product(matrix: sp.csr_matrix, dense: Tensor) -> Tensor:
    product: Tensor = torch.from_numpy(np.asarray(matrix @ dense.double().numpy())).float()
    return product
