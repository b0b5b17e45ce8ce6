"""Import logs and catalogues of other formats into a data folder; one file per kind of source."""

from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.import_card import ImportCard
from crossrec.data.importers.pipeline import build_folder, import_data

__all__ = ["ImportCard", "ImportConfig", "build_folder", "import_data"]
