"""Importers: somebody's dump becomes a data folder. One file a source; ``import_data`` does the rest for all."""

from crossrec.data.importers.card import Card
from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.pipeline import build_folder, import_data

__all__ = ["Card", "ImportConfig", "build_folder", "import_data"]
