"""A folder in the layout of MMRec: ``NAME.inter`` with row numbers for ids, and ``<modality>_feat.npy`` beside it."""

from __future__ import annotations

from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.import_source import Files, ImportSource, find_roles, numbered, only, table_parts
from crossrec.data.io.tables import open_table
from crossrec.data.io.text_chunks import ending
from crossrec.data.sources import INTER
from crossrec.errors import DataError


def open_source(files: Files, config: ImportConfig) -> ImportSource:
    """Item n is row n of the features. Raises DataError if there is not one ``.inter`` file or it lacks a column."""
    path = only([path for path in files.paths if ending(path) == INTER], files.where, f"{INTER} file")
    if path is None:
        raise DataError(f"{files.where}: no {INTER} file; an MMRec folder has one")
    table = open_table(path)
    paths = files.features()
    features, rows = numbered(paths)
    parts = table_parts([table], find_roles(table, config), [None])
    return ImportSource(parts, features, rows=rows, used=[path, *paths.values()])
