"""Plain tables: Parquet, CSV, TSV or JSON Lines, one file or several, a table of items and features beside them."""

from __future__ import annotations

from crossrec.data.importers.catalogue import known_columns, known_users
from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.import_source import (
    Files,
    ImportSource,
    find_roles,
    npy_features,
    numbered,
    only,
    split_labels,
    stem,
    table_parts,
)
from crossrec.data.io.id_column import listed_items
from crossrec.data.io.tables import open_table
from crossrec.data.io.text_chunks import ending
from crossrec.data.sources import SUFFIXES
from crossrec.errors import DataError


def open_source(files: Files, config: ImportConfig) -> ImportSource:
    """The log is ``interactions.*`` if there is one, else all tables that are not called items or users, in the order
    of their names; files called like splits (train.csv, valid.csv, …) are these. ``items.*`` lists item ids, in the row
    order of the features where there are any, with whatever else is known of them. Raises DataError if the files do not
    fit together.
    """
    tables = [path for path in files.paths if ending(path) in SUFFIXES]
    named = [path for path in tables if stem(path) == "interactions"]
    listed = config.items or only([path for path in tables if stem(path) == "items"], files.where, "table of items")
    if listed is not None and not listed.is_file():
        raise DataError(f"{listed}: no such file; give a table of items")
    others = [path for path in tables if stem(path) not in ("items", "users")]
    logs = named or [path for path in others if listed is None or not path.samefile(listed)]
    if not logs:
        raise DataError(f"{files.where}: no table of interactions; name a file that ends in {', '.join(SUFFIXES)}")
    opened = [open_table(path) for path in logs]
    labels = split_labels([stem(path) for path in logs], config)
    roles = find_roles(opened[0], config, labelled=labels[0] is not None)
    parts = table_parts(opened, roles, labels)
    people = only([path for path in tables if stem(path) == "users"], files.where, "table of users")
    paths = files.features()
    used = [*logs, *paths.values(), *filter(None, (listed, people))]
    users = None
    if people is not None:
        users = known_users(*listed_items(people, roles["user"], extra=True, role="user"))
    if listed is None:
        features, rows = numbered(paths)
        return ImportSource(parts, features, users=users, rows=rows, used=used)
    ids, columns = listed_items(listed, roles["item"], extra=True)
    catalogue = known_columns(ids, columns)

    return ImportSource(parts, npy_features(paths, ids, listed.name), lambda _, __: catalogue, users, used=used)
