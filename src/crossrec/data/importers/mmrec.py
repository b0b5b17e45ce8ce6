"""Import a folder in the MMRec layout: ``NAME.inter`` whose ids are row numbers, and ``<modality>_feat.npy``."""

from __future__ import annotations

from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.import_source import ImportSource, SourceFiles, complete_source, import_roles, table_parts
from crossrec.data.io.open_text import ending
from crossrec.data.io.tables import open_table
from crossrec.data.sources import INTER
from crossrec.errors import DataError


def open_source(files: SourceFiles, config: ImportConfig) -> ImportSource:
    """Inspect the one ``.inter`` file; item n is row n of the features.

    Raises DataError if there is not exactly one ``.inter`` file or it lacks a column.
    """
    path = files.at_most_one(f"{INTER} file", lambda path: ending(path) == INTER)
    if path is None:
        raise DataError(f"{files.where}: no {INTER} file; an MMRec folder has one")
    table = open_table(path)
    return complete_source(files, [path], table_parts([table], import_roles(table, config), config))
