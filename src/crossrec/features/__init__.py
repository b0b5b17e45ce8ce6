"""Features of items, encoded from their texts and pictures by pretrained models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossrec.lazy import lazy_exports

if TYPE_CHECKING:
    from crossrec.features.card import FeatureCard
    from crossrec.features.config import FeaturesConfig
    from crossrec.features.encode import encode_features

__all__ = ["FeatureCard", "FeaturesConfig", "encode_features"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "FeatureCard": "crossrec.features.card",
        "FeaturesConfig": "crossrec.features.config",
        "encode_features": "crossrec.features.encode",
    },
)
