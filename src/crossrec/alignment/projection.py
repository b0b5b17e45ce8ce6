"""Projection of raw content features into the shared space (Section 3, "pre-processing the input")."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crossrec.ops.vectors import gather_rows


class Projection(nn.Module):
    """A learned linear map of one modality's raw features (I, D) to the shared dimension, without bias.

    Without a bias, an item that lacks the feature (a row of zeros) keeps the zero vector: cosine 0 to everything.
    The features are constants: they move with the module to its device but are not part of its state.
    """

    feature_matrix: Tensor

    def __init__(self, feature_matrix: Tensor, dim: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.register_buffer("feature_matrix", feature_matrix, persistent=False)
        self.weight = nn.Parameter(torch.empty(dim, feature_matrix.shape[1]))
        nn.init.xavier_uniform_(self.weight, generator=generator)

    def forward(self, item_N: Tensor) -> Tensor:
        """i^m of the given items, (N, L)."""
        return gather_rows(self.feature_matrix, item_N).to(self.weight.dtype) @ self.weight.T

    def all_items(self) -> Tensor:
        """i^m of every item, (I, L), without a copy of the features."""
        return self.feature_matrix.to(self.weight.dtype) @ self.weight.T
