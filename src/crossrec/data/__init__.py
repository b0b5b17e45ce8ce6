"""Data sets: import, read, check, split, scale, describe, generate."""

from crossrec.data.config import DataConfig
from crossrec.data.dataset import ColdItems, Dataset, Interactions
from crossrec.data.description import Description, describe
from crossrec.data.findings import Finding
from crossrec.data.importers import ImportCard, ImportConfig, import_data
from crossrec.data.loading import data_folder, load, modalities_of, validate

__all__ = [
    "ColdItems",
    "DataConfig",
    "Dataset",
    "Description",
    "Finding",
    "ImportCard",
    "ImportConfig",
    "Interactions",
    "data_folder",
    "describe",
    "import_data",
    "load",
    "modalities_of",
    "validate",
]
