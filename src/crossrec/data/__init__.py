"""Data sets: read, check, split, scale, describe, generate."""

from crossrec.data.config import DataConfig
from crossrec.data.dataset import Dataset, Interactions
from crossrec.data.description import Description, describe
from crossrec.data.findings import Finding
from crossrec.data.loading import load, validate

__all__ = ["DataConfig", "Dataset", "Description", "Finding", "Interactions", "describe", "load", "validate"]
