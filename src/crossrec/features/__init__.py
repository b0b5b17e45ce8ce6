"""Features of items, encoded from their texts and pictures by pretrained models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossrec.lazy import lazy_exports

if TYPE_CHECKING:
    from crossrec.data.io.feature_card import FeatureCard as FeatureCard
    from crossrec.features.config import FeaturesConfig as FeaturesConfig
    from crossrec.features.encode import encode_features as encode_features

__getattr__, __dir__ = lazy_exports(__name__)
