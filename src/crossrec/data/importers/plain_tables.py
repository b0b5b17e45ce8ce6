"""Import plain tables: Parquet, CSV, TSV or JSON Lines, in one file or several, with items, users and features."""

from __future__ import annotations

from pathlib import Path

from crossrec.data.importers import import_source
from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.import_source import ImportSource, SourceFiles, entity_table
from crossrec.data.io.id_column import read_listing
from crossrec.data.io.open_text import ending, stem
from crossrec.data.io.tables import open_table
from crossrec.data.sources import SUFFIXES
from crossrec.errors import DataError
from crossrec.lazy import polars as pl


def open_source(files: SourceFiles, config: ImportConfig) -> ImportSource:
    """Inspect the tables of a source.

    The log is ``interactions.*`` if there is one, else all tables except items and users, in order of their names.
    Files named like splits (train.csv, valid.csv, …) are these splits. ``items.*`` lists item ids, in the row order of
    the features, and further columns. Raises DataError if the files do not fit together.
    """
    tables = [path for path in files.paths if ending(path) in SUFFIXES]
    items_path = config.items or files.at_most_one("table of items", lambda path: _is_table(path, "items"))
    log_paths = [path for path in tables if stem(path) == "interactions"] or [
        path
        for path in tables
        if stem(path) not in ("items", "users") and (items_path is None or path.resolve() != items_path.resolve())
    ]
    if not log_paths:
        raise DataError(f"{files.where}: no table of interactions; name a file that ends in {', '.join(SUFFIXES)}")
    log_tables = [open_table(path) for path in log_paths]
    splits = import_source.file_splits([stem(path) for path in log_paths], config)
    roles = import_source.import_roles(log_tables[0], config, has_split=splits[0] is not None)
    parts = import_source.table_parts(log_tables, roles, config, splits)
    users_path = files.at_most_one("table of users", lambda path: _is_table(path, "users"))
    users = None if users_path is None else (users_path, _read_entities(users_path, "user", roles["user"]))
    items = None if items_path is None else (items_path, _read_entities(items_path, "item", roles["item"]))
    return import_source.complete_source(files, log_paths, parts, items, users)


def _is_table(path: Path, name: str) -> bool:
    return ending(path) in SUFFIXES and stem(path) == name


def _read_entities(path: Path, role: str, column: str) -> pl.DataFrame:
    """Read a table of items or users whose ids are in ``column``, if it has this column."""
    table = open_table(path)
    return entity_table(read_listing(table, role, preferred=column, columns=table.columns), role)
