"""Card of a feature file: how the file was made."""

from __future__ import annotations

from crossrec.config import Config


class FeatureCard(Config):
    """How a feature file was made; written beside it as JSON."""

    file: str
    modality: str
    items: int
    dimension: int
    dtype: str
    counts: dict[str, int]
    """Items with a vector (``encoded``), items without input, and items that were cut, broken, converted, …"""
    sources: tuple[str, ...]
    """Columns that were encoded."""
    settings: dict[str, str | int | None]
    model: str
    revision: str | None
    model_digest: str
    rule: str
    """How the vector is taken from the model."""
    created: str
    versions: dict[str, str]
    key: str
    """Digest of model, settings and dtype."""
    inputs: str
    """Digest of all texts, or of the names, sizes and times of all pictures."""
    sha256: str
    """Digest of the file."""
