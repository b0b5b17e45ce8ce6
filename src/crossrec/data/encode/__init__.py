"""Features of items from their texts and pictures, by models of others."""

from crossrec.data.encode.config import FeaturesConfig
from crossrec.data.encode.run import encode_features
from crossrec.data.encode.store import FeatureCard

__all__ = ["FeatureCard", "FeaturesConfig", "encode_features"]
