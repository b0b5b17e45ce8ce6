"""From the features of an item to its vector of a modality, for items that no training has seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from crossrec.ops.vectors import l2_normalize


@dataclass(frozen=True)
class ContentEncoder:
    """i^m of an item nobody has touched, as a model makes it: linear maps with a leaky ReLU between them.

    ``weights``: (out, in) each; ``biases``: (out,) each, or none. Before them the features are L2-normalised with
    ``unit_input``; after them comes a leaky ReLU with ``activate``, then L2-normalisation with ``unit_output``, then
    the factor ``factor``.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...] = ()
    unit_input: bool = False
    activate: bool = False
    unit_output: bool = False
    factor: float = 1.0

    def __call__(self, feature_ND: Tensor) -> Tensor:
        """i^m, (N, L), of scaled features (N, D); a row of zeros, no feature, becomes zeros."""
        vector_NL = l2_normalize(feature_ND) if self.unit_input else feature_ND
        for place, weight in enumerate(self.weights):
            bias = self.biases[place] if self.biases else None
            vector_NL = F.linear(F.leaky_relu(vector_NL) if place else vector_NL, weight, bias)
        if self.activate:
            vector_NL = F.leaky_relu(vector_NL)
        if self.unit_output:
            vector_NL = l2_normalize(vector_NL)
        return self.factor * vector_NL * (feature_ND != 0).any(1, keepdim=True)

    def detached(self) -> ContentEncoder:
        """The same on the CPU, without gradient and apart from the model."""
        weights, biases = (
            tuple(t.detach().to("cpu", copy=True).contiguous() for t in part) for part in (self.weights, self.biases)
        )
        return replace(self, weights=weights, biases=biases)
