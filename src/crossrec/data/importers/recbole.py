"""RecBole's atomic files: ``NAME.inter`` with typed headers such as ``user_id:token``, ``NAME.item``, ``NAME.user``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from crossrec.data.importers.catalogue import is_prose, known_columns, known_users
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
from crossrec.data.io.tables import Table, open_table
from crossrec.data.io.text_chunks import ending
from crossrec.data.sources import INTER
from crossrec.errors import DataError

if TYPE_CHECKING:
    import polars as pl

TYPES = ("token", "token_seq", "float", "float_seq")
ITEM, USER = ".item", ".user"


def typed_names(table: Table) -> dict[str, str]:
    """Name of a column → the column as it stands in the header. Raises DataError for a column without a type."""
    names: dict[str, str] = {}
    for column in table.columns:
        name, _, kind = column.rpartition(":")
        if kind not in TYPES:
            raise DataError(
                f"{table.path}, line 1: column '{column}' has no type; write name:type, of {', '.join(TYPES)}"
            )
        if name in names:
            raise DataError(f"{table.path}, line 1: columns '{names[name]}' and '{column}' have one name; rename one")
        names[name] = column
    return names


def open_source(files: Files, config: ImportConfig) -> ImportSource:
    """``NAME.inter``, or ``NAME.train.inter``, ``NAME.valid.inter`` and ``NAME.test.inter``, which are the splits.

    Raises DataError if there is none, or several that are no splits, or a column has no type.
    """
    logs = [path for path in files.paths if ending(path) == INTER]
    names = [stem(path).rpartition(".")[2] for path in logs]
    labels = split_labels(names, config)
    if labels == [None] * len(logs) and split_labels(names, ImportConfig()) == labels:
        only(logs, files.where, f"{INTER} file")
    if not logs:
        raise DataError(f"{files.where}: no {INTER} file; RecBole's atomic files have one")
    tables = [open_table(path) for path in logs]
    columns = typed_names(tables[0])
    plain = replace(tables[0], columns=list(columns))
    roles = find_roles(plain, _untyped(config), labelled=labels[0] is not None)
    roles = {role: columns[name] for role, name in roles.items()}
    item_path = only([path for path in files.paths if ending(path) == ITEM], files.where, f"{ITEM} file")
    user_path = only([path for path in files.paths if ending(path) == USER], files.where, f"{USER} file")
    paths = files.features()
    used = [*logs, *paths.values(), *filter(None, (item_path, user_path))]
    catalogue = None if item_path is None else _entities(item_path, roles["item"], "item")
    users = None if user_path is None else _entities(user_path, roles["user"], "user")
    parts = table_parts(tables, roles, labels)
    if catalogue is None:
        features, rows = numbered(paths)
        return ImportSource(parts, features, users=users, rows=rows, used=used)
    assert item_path is not None
    features = npy_features(paths, catalogue["item"], item_path.name)
    return ImportSource(parts, features, lambda _, __: catalogue, users, used=used)


def _untyped(config: ImportConfig) -> ImportConfig:
    """The same with types taken off the names of columns."""
    names = {
        f"{role}_column": getattr(config, f"{role}_column") for role in ("user", "item", "time", "rating", "split")
    }
    return config.model_copy(
        update={field: name.rpartition(":")[0] if name and ":" in name else name for field, name in names.items()}
    )


def _entities(path: Path, column: str, role: str) -> pl.DataFrame:
    """Items or users with what is known of them, in the types of the header; sequences are separated by blanks."""
    import polars as pl

    names = {full: name for name, full in typed_names(open_table(path)).items()}
    ids, others = listed_items(path, column, extra=True, role=role)
    for full in others.columns:
        kind = full.rpartition(":")[2]
        cells = others[full]
        if kind == "float":
            number = cells.cast(pl.Float64, strict=False)
            wrong = number.is_null() & cells.is_not_null()
            if wrong.any():
                row = int(wrong.arg_max() or 0)
                raise DataError(f"{path}: {role} {ids[row]}: {full} '{cells[row]}' is no number; mend it")
            others = others.with_columns(number)
        elif kind.endswith("_seq") and not is_prose(names[full]):
            words = cells.str.split(" ")
            others = others.with_columns(
                words.cast(pl.List(pl.Float64), strict=False) if kind == "float_seq" else words
            )
    others = others.rename({full: names[full] for full in others.columns})
    return known_columns(ids, others) if role == "item" else known_users(ids, others)
