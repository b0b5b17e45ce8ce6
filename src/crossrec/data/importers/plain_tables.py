"""Import plain tables: Parquet, CSV, TSV or JSON Lines, in one file or several, with items, users and features."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from crossrec.data.importers import import_source
from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.import_source import ImportSource, SourceFiles, entity_table
from crossrec.data.io.id_column import find_column, read_listing
from crossrec.data.io.open_text import ending, stem
from crossrec.data.io.tables import Table, open_table
from crossrec.data.io.text_format import TextFormat, find_format
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
    notes: list[str] = []

    def open_any(path: Path) -> Table:
        table = open_table(path, partial(find_format, separator=config.separator, quote=config.quote))
        if table.form != TextFormat.of(path):
            notes.append(f"{path.name}: {table.form}")
        return table

    log_tables = [open_any(path) for path in log_paths]
    splits = import_source.file_splits([stem(path) for path in log_paths], config)
    roles = import_source.import_roles(log_tables[0], config, has_split=splits[0] is not None)
    parts = import_source.table_parts(log_tables, roles, config, splits)
    users_path = files.at_most_one("table of users", lambda path: _is_table(path, "users"))

    def entities(path: Path | None, role: str) -> tuple[Path, pl.DataFrame] | None:
        """A table of items or users, with the ids in the column of the log's name if there is one."""
        if path is None:
            return None
        table = open_any(path)
        preferred: str | None = roles[role]
        if role == "item" and config.item_id_column:
            preferred = find_column(table, role, config.item_id_column, required=True)
        listing = read_listing(table, role, preferred=preferred, columns=table.columns)
        return path, entity_table(listing, role, config, notes)

    users, items = entities(users_path, "user"), entities(items_path, "item")
    return import_source.complete_source(files, log_paths, parts, items, users, notes)


def _is_table(path: Path, name: str) -> bool:
    return ending(path) in SUFFIXES and stem(path) == name
