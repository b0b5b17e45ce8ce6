"""Encode ids as numbers block by block: no Python object per row, memory only for distinct ids."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from crossrec.data.io.ids import plain_ids
from crossrec.errors import DataError
from crossrec.lazy import polars as pl

SPAN = 2**22  # rows processed at a time


class IdEncoder:
    """Number the ids of one kind (users or items) 0, 1, 2, … in order of first appearance.

    The distinct ids are stored as text in a polars dictionary (``Categories``). The dictionary lives as long as a
    series that uses it: ``_anchor`` is one, holding the first id.
    """

    def __init__(self) -> None:
        self._categorical = pl.Categorical(pl.Categories.random())
        self._anchor: pl.Series | None = None
        self._texts: list[pl.Series] = []
        self._dtypes: list[pl.DataType] = []
        self._count = 0

    def encode(self, cells: pl.Series) -> np.ndarray:
        """Return the int32 code of every id. Raises DataError if ids have another type than those before.

        ``cells``: text, numbers, dates or categories without nulls.
        """
        if isinstance(cells.dtype, pl.Categorical | pl.Enum):
            cells = cells.cast(pl.String)
        if cells.dtype not in self._dtypes:
            self._dtypes.append(cells.dtype)
            if len(self._dtypes) > 1 and not all(dtype.is_integer() for dtype in self._dtypes):
                raise DataError(
                    f"column '{cells.name}' holds {cells.dtype} here and {self._dtypes[0]} in the files before; give "
                    "it one type in all files"
                )
        texts = (cells.to_physical() if cells.dtype.is_temporal() else cells).cast(pl.String).cast(self._categorical)
        codes = texts.to_physical()
        if self._anchor is None and len(texts):
            self._anchor = texts[:1]
        new_texts = texts.filter(codes >= self._count).unique()
        if len(new_texts):
            order = new_texts.to_physical().arg_sort()
            self._texts.append(new_texts[order].cast(pl.String))
            self._count += len(new_texts)
        if self._anchor is not None and self._texts[0][:1].cast(self._categorical).to_physical()[0] != 0:
            raise RuntimeError("the dictionary of ids was lost")
        return codes.cast(pl.Int32).to_numpy()

    def sorted_ids(self, *, typed: bool) -> tuple[pl.Series, np.ndarray]:
        """Return (distinct ids, sorted, in their original type; int32 position of every code among them).

        Whole numbers become Int64, in text too unless the file is ``typed``.
        """
        texts = pl.concat(self._texts) if self._texts else pl.Series(dtype=pl.String)
        dtype = self._dtypes[0] if self._dtypes else pl.String()
        if dtype.is_integer():
            kinds = [pl.Int64(), pl.UInt64(), *self._dtypes]
            widths = (texts.cast(kind, strict=False) for kind in kinds)
            ids = next((ids for ids in widths if not ids.null_count()), texts)
        elif dtype.is_temporal():
            ids = from_physical(texts, dtype)
        else:
            ids = texts if dtype in (pl.String, pl.Boolean) else texts.cast(dtype)
        ids = plain_ids(ids, typed=typed)
        order = ids.arg_sort()
        position = np.empty(len(ids), dtype=np.int32)
        position[order.to_numpy()] = np.arange(len(ids), dtype=np.int32)
        return ids[order], position


def from_physical(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Invert ``to_physical`` for a series of type ``dtype``."""
    return values.cast(pl.Series(dtype=dtype).to_physical().dtype).cast(dtype)


def index_ids(ids: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """Return (distinct ids, sorted; int64 position of every id among them), whatever the order of the rows."""
    distinct = ids.unique().sort()
    return distinct, positions(ids, distinct)


def positions(ids: pl.Series, among: pl.Series) -> np.ndarray:
    """Return the int64 position of every id in ``among`` (distinct), -1 if absent; compares text if types differ."""
    if ids.dtype != among.dtype:
        ids, among = ids.cast(pl.String), among.cast(pl.String)
    position = pl.Series(np.arange(len(among), dtype=np.int64))
    return ids.replace_strict(among, position, default=-1, return_dtype=pl.Int64).to_numpy()


def code_counts(code_N: np.ndarray, keep_N: np.ndarray | None = None) -> np.ndarray:
    """Count the rows (where ``keep_N``) of each code, int64 (largest code + 1,)."""
    count = np.zeros(int(code_N.max(initial=-1)) + 1, dtype=np.int64)
    for span in row_spans(len(code_N)):
        np.add.at(count, code_N[span] if keep_N is None else code_N[span][keep_N[span]], 1)
    return count


def row_spans(total: int) -> Iterator[slice]:
    """Slices of at most ``SPAN`` rows that cover ``total`` rows."""
    return (slice(start, start + SPAN) for start in range(0, total, SPAN))
