"""Import RecBole's atomic files: ``NAME.inter`` with typed headers such as ``user_id:token``, ``NAME.item``,
``NAME.user``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from crossrec.data.importers import import_source
from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.import_source import ImportSource, SourceFiles, entity_table, file_splits
from crossrec.data.io.id_column import read_listing
from crossrec.data.io.open_text import ending, stem
from crossrec.data.io.tables import Table, open_table
from crossrec.data.sources import INTER
from crossrec.errors import DataError
from crossrec.lazy import polars as pl

TYPES = ("token", "token_seq", "float", "float_seq")
ITEM, USER = ".item", ".user"


def typed_columns(table: Table) -> dict[str, str]:
    """Map each column name without its type to the column of the header. Raises DataError for a column without type."""
    columns: dict[str, str] = {}
    for column in table.columns:
        name, _, kind = column.rpartition(":")
        if kind not in TYPES:
            raise DataError(
                f"{table.path}, line 1: column '{column}' has no type; write name:type, of {', '.join(TYPES)}"
            )
        if name in columns:
            raise DataError(f"{table.path}, line 1: columns '{columns[name]}' and '{column}' have one name; rename one")
        columns[name] = column
    return columns


def open_source(files: SourceFiles, config: ImportConfig) -> ImportSource:
    """Inspect ``NAME.inter``, or ``NAME.train.inter``, ``NAME.valid.inter`` and ``NAME.test.inter`` as the splits.

    Raises DataError if there is none, if several are no splits, or if a column has no type.
    """
    log_paths = [path for path in files.paths if ending(path) == INTER]
    names = [stem(path).rpartition(".")[2] for path in log_paths]
    splits = file_splits(names, config)
    if splits == [None] * len(log_paths) and file_splits(names, ImportConfig()) == splits:
        files.at_most_one(f"{INTER} file", lambda path: ending(path) == INTER)
    if not log_paths:
        raise DataError(f"{files.where}: no {INTER} file; RecBole's atomic files have one")
    tables = [open_table(path) for path in log_paths]
    columns = typed_columns(tables[0])
    untyped = replace(tables[0], columns=list(columns))
    roles = import_source.import_roles(untyped, _without_types(config), has_split=splits[0] is not None)
    roles = {role: columns[name] for role, name in roles.items()}
    item_path = files.at_most_one(f"{ITEM} file", lambda path: ending(path) == ITEM)
    user_path = files.at_most_one(f"{USER} file", lambda path: ending(path) == USER)
    notes: list[str] = []
    items = None if item_path is None else (item_path, _read_entities(item_path, "item", roles["item"], config, notes))
    users = None if user_path is None else (user_path, _read_entities(user_path, "user", roles["user"], config, notes))
    parts = import_source.table_parts(tables, roles, config, splits)
    return import_source.complete_source(files, log_paths, parts, items, users, notes)


def _without_types(config: ImportConfig) -> ImportConfig:
    """The config with types removed from its column names."""
    names = {f"{role}_column": getattr(config, f"{role}_column") for role in import_source.ROLES}
    return config.model_copy(
        update={field: name.rpartition(":")[0] if name and ":" in name else name for field, name in names.items()}
    )


def _read_entities(path: Path, role: str, column: str, config: ImportConfig, notes: list[str]) -> pl.DataFrame:
    """Read a table of items or users with the types of its header; blanks separate the values of a sequence."""
    table = open_table(path)
    names = {typed: name for name, typed in typed_columns(table).items()}
    listing = read_listing(table, role, preferred=column, columns=table.columns)
    frame = listing.frame
    for typed in frame.columns:
        kind = typed.rpartition(":")[2]
        cells = frame[typed]
        if typed == listing.column:
            continue
        if kind == "float":
            number = cells.cast(pl.Float64, strict=False)
            wrong = number.is_null() & cells.is_not_null()
            if wrong.any():
                row = int(wrong.arg_max() or 0)
                raise DataError(f"{path}: {role} {listing.ids[row]}: {typed} '{cells[row]}' is no number; mend it")
            frame = frame.with_columns(number)
        elif kind.endswith("_seq") and not import_source.is_prose(names[typed]):
            words = cells.str.split(" ")
            frame = frame.with_columns(words.cast(pl.List(pl.Float64), strict=False) if kind == "float_seq" else words)
    return entity_table(replace(listing, column=names[listing.column], frame=frame.rename(names)), role, config, notes)
