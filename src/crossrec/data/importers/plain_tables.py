"""Import plain tables: Parquet, CSV, TSV or JSON Lines, in one file or several, with items, users and features."""

from __future__ import annotations

from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.import_source import (
    ImportSource,
    SourceFiles,
    at_most_one,
    file_splits,
    import_roles,
    npy_features,
    numbered_features,
    stem,
    table_parts,
)
from crossrec.data.importers.item_columns import item_table, user_table
from crossrec.data.io.id_column import read_listing
from crossrec.data.io.tables import open_table
from crossrec.data.io.text_chunks import ending
from crossrec.data.sources import SUFFIXES
from crossrec.errors import DataError


def open_source(files: SourceFiles, config: ImportConfig) -> ImportSource:
    """Inspect the tables of a source.

    The log is ``interactions.*`` if there is one, else all tables except items and users, in order of their names.
    Files named like splits (train.csv, valid.csv, …) are these splits. ``items.*`` lists item ids, in the row order of
    the features, and further columns. Raises DataError if the files do not fit together.
    """
    tables = [path for path in files.paths if ending(path) in SUFFIXES]
    items_path = config.items or at_most_one(
        [path for path in tables if stem(path) == "items"], files.where, "table of items"
    )
    if items_path is not None and not items_path.is_file():
        raise DataError(f"{items_path}: no such file; give a table of items")
    log_paths = [path for path in tables if stem(path) == "interactions"] or [
        path
        for path in tables
        if stem(path) not in ("items", "users") and (items_path is None or not path.samefile(items_path))
    ]
    if not log_paths:
        raise DataError(f"{files.where}: no table of interactions; name a file that ends in {', '.join(SUFFIXES)}")
    log_tables = [open_table(path) for path in log_paths]
    splits = file_splits([stem(path) for path in log_paths], config)
    roles = import_roles(log_tables[0], config, has_split=splits[0] is not None)
    parts = table_parts(log_tables, roles, splits)
    users_path = at_most_one([path for path in tables if stem(path) == "users"], files.where, "table of users")
    feature_paths = files.features()
    used = [*log_paths, *feature_paths.values(), *filter(None, (items_path, users_path))]
    users = None
    if users_path is not None:
        table = open_table(users_path)
        users = user_table(read_listing(table, "user", preferred=roles["user"], columns=table.columns))
    if items_path is None:
        features, feature_rows = numbered_features(feature_paths)
        return ImportSource(parts, features, users=users, feature_rows=feature_rows, used=used)
    table = open_table(items_path)
    items = item_table(read_listing(table, preferred=roles["item"], columns=table.columns))
    features = npy_features(feature_paths, items["item"], items_path.name)
    return ImportSource(parts, features, lambda _, __: items, users, used=used)
