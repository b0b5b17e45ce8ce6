"""Import a folder in the MMRec layout: ``NAME.inter`` whose ids are row numbers, and ``<modality>_feat.npy``."""

from __future__ import annotations

from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.import_source import (
    ImportSource,
    SourceFiles,
    at_most_one,
    import_roles,
    numbered_features,
    table_parts,
)
from crossrec.data.io.tables import open_table
from crossrec.data.io.text_chunks import ending
from crossrec.data.sources import INTER
from crossrec.errors import DataError


def open_source(files: SourceFiles, config: ImportConfig) -> ImportSource:
    """Inspect the one ``.inter`` file; item n is row n of the features.

    Raises DataError if there is not exactly one ``.inter`` file or it lacks a column.
    """
    path = at_most_one([path for path in files.paths if ending(path) == INTER], files.where, f"{INTER} file")
    if path is None:
        raise DataError(f"{files.where}: no {INTER} file; an MMRec folder has one")
    table = open_table(path)
    feature_paths = files.features()
    features, feature_rows = numbered_features(feature_paths)
    parts = table_parts([table], import_roles(table, config), [None])
    return ImportSource(parts, features, feature_rows=feature_rows, used=[path, *feature_paths.values()])
