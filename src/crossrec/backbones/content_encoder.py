"""Encoder of content features into a model's item vectors, for items that were not in training."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from crossrec.ops.vectors import l2_normalize


@dataclass(frozen=True)
class ContentEncoder:
    """i^m of an item without interactions, as a model computes it: linear maps with a leaky ReLU between them.

    ``weights``: (out, in) each; ``biases``: (out,) each, or none. ``unit_input``: L2-normalise the features first.
    After the maps: a leaky ReLU if ``activate``, then L2-normalisation if ``unit_output``, then times ``factor``.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...] = ()
    unit_input: bool = False
    activate: bool = False
    unit_output: bool = False
    factor: float = 1.0

    def __call__(self, feature_ND: Tensor) -> Tensor:
        """i^m, (N, L), of scaled features (N, D). A row of zeros (no feature) gives zeros."""
        vector_NL = l2_normalize(feature_ND) if self.unit_input else feature_ND
        for layer, weight in enumerate(self.weights):
            bias = self.biases[layer] if self.biases else None
            vector_NL = F.linear(F.leaky_relu(vector_NL) if layer else vector_NL, weight, bias)
        if self.activate:
            vector_NL = F.leaky_relu(vector_NL)
        if self.unit_output:
            vector_NL = l2_normalize(vector_NL)
        return self.factor * vector_NL * (feature_ND != 0).any(1, keepdim=True)

    def detached(self) -> ContentEncoder:
        """A copy on the CPU, without gradient, that shares no memory with the model."""
        weights, biases = (
            tuple(t.detach().to("cpu", copy=True).contiguous() for t in part) for part in (self.weights, self.biases)
        )
        return replace(self, weights=weights, biases=biases)
