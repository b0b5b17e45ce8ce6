"""Card of a feature file: how it was made, the digest of the file, and the items that its rows belong to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from crossrec.config import Config
from crossrec.data.io.id_column import read_listing
from crossrec.data.io.manifest import file_entry, read_sealed, write_sealed
from crossrec.data.io.tables import open_table
from crossrec.data.sources import items_file
from crossrec.errors import CrossrecError, DataError
from crossrec.lazy import polars as pl

BLOCK = 4096
"""Rows digested at a time."""


class RowSource(Config):
    """What the rows of a feature file were made of: ids and source columns in the items table of its folder."""

    columns: tuple[str, ...]
    """The column of ids, then the columns that were encoded."""
    by_id: bool = False
    """Rows are in the order of the ids, which are row numbers, and not in that of the table."""
    sha256: str
    """Digest of these cells as text, row by row."""

    @classmethod
    def of(cls, columns: Sequence[str], ids: pl.Series, cells: pl.DataFrame, *, by_id: bool = False) -> Self:
        """Digest ``ids`` and the ``columns`` after the first, which ``cells`` holds."""
        parts = [ids.cast(pl.String), *(cells[name] for name in columns[1:])]
        parts = [part if part.dtype.is_nested() else part.cast(pl.String) for part in parts]
        if by_id:
            order = ids.arg_sort()
            parts = [part[order] for part in parts]
        digest = hashlib.sha256()
        for start in range(0, len(ids), BLOCK):
            digest.update(json.dumps([part[start : start + BLOCK].to_list() for part in parts], default=str).encode())
        return cls(columns=tuple(columns), by_id=by_id, sha256=digest.hexdigest())


class FeatureCard(Config):
    """How a feature file was made; written beside it as JSON. Imported features have no model of their own."""

    file: str
    modality: str
    items: int
    dimension: int
    dtype: str
    counts: dict[str, int]
    """Items with a vector (``encoded``), items without input, and items that were cut, broken, converted, …"""
    rows: RowSource | None
    """None where the folder has no items table."""
    sha256: str
    """Digest of the file."""
    sources: tuple[str, ...] = ()
    """Columns that were encoded."""
    settings: dict[str, str | int | None] = {}
    model: str | None = None
    revision: str | None = None
    model_digest: str | None = None
    rule: str = ""
    """How the vector is taken from the model."""
    created: str = ""
    versions: dict[str, str] = {}
    key: str = ""
    """Digest of model, settings and dtype."""
    inputs: str = ""
    """Digest of all texts, or of the names, sizes and times of all pictures."""
    failed: tuple[str, ...] = ()
    """The first items or pictures whose row is zero because they could not be read or encoded, with the reason."""

    def same_encoder(self, other: FeatureCard) -> bool:
        """Whether vectors of both files are comparable: the same model, settings and rule."""
        return (self.model_digest, self.settings, self.rule) == (other.model_digest, other.settings, other.rule)

    @property
    def encoder(self) -> str:
        """Model, settings and rule, for error messages."""
        settings = "".join(f", {name} {value}" for name, value in self.settings.items() if value is not None)
        return f"{self.model} (weights {(self.model_digest or 'unknown')[:8]}{settings}; {self.rule})"

    def of_model(self) -> dict[str, Any]:
        """The fields that stay true of copied rows: those about the model and the columns."""
        names = {"sources", "settings", "model", "revision", "model_digest", "rule", "created", "versions"}
        return self.model_dump(include=names)


def card_path(path: Path) -> Path:
    """The card of a feature file."""
    return path.with_suffix(".json")


def write_card(path: Path, card: FeatureCard) -> None:
    """Write the card of the feature file ``path``."""
    write_sealed(card_path(path), card.model_dump(mode="json"))


def read_card(path: Path) -> FeatureCard | None:
    """Read the card of the feature file ``path``; None if it has none. Raises DataError where the card is damaged."""
    card = card_path(path)
    if not card.exists():
        return None
    try:
        return FeatureCard.parse(
            read_sealed(card, f"make {path.name} again, or delete {card.name} if the file is right")
        )
    except CrossrecError as error:
        raise DataError(str(error)) from None


def check_features(path: Path) -> None:
    """Hold a feature file against its card, if it has one.

    Raises DataError where the file was altered, or the items table of its folder has other rows now, or in another
    order, than the one that the features were made of.
    """
    card = read_card(path)
    if card is None:
        return
    try:
        digest = file_entry(path)["sha256"]
    except CrossrecError as error:
        raise DataError(str(error)) from None
    if digest != card.sha256:
        name = card_path(path).name
        raise DataError(
            f"{path}: altered, its sha256 is not the one in {name}; put the file back or make it again, or delete "
            f"{name} if you changed the file on purpose"
        )
    if card.rows is not None:
        _check_rows(path, card.rows)


def _check_rows(path: Path, rows: RowSource) -> None:
    way_out = f"make {path.name} again (crossrec data features --overwrite, or data import --overwrite)"
    items = items_file(path.parent)
    if items is None:
        raise DataError(f"{path}: the items table that it was made of is missing; put it back, or {way_out}")
    table = open_table(items)
    for column in rows.columns:
        if column not in table.columns:
            raise DataError(f"{items}: no column '{column}', of which {path.name} was made; put it back, or {way_out}")
    listing = read_listing(table, preferred=rows.columns[0], columns=rows.columns[1:], tell=lambda _: None)
    if RowSource.of(rows.columns, listing.ids, listing.frame, by_id=rows.by_id) != rows:
        names = ", ".join(rows.columns)
        raise DataError(
            f"{items}: {names} are not as they were when {path.name} was made of them (other items, another order or "
            f"other cells); put the table back, or {way_out}"
        )
