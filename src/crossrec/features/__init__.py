"""Features of items from their texts and pictures, by models of others."""

from crossrec.features.config import FeaturesConfig
from crossrec.features.encode import encode_features
from crossrec.features.store import FeatureCard

__all__ = ["FeatureCard", "FeaturesConfig", "encode_features"]
