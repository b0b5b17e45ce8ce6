"""Map original ids to rows and back."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from crossrec.errors import DataError, RunError
from crossrec.lazy import polars as pl
from crossrec.ops.csr import Ints


class IdMap:
    """The ids of users or items in row order. ``ids``: a polars Series of any type; ``what``: ``user`` or ``item``."""

    def __init__(self, ids: pl.Series, what: str) -> None:
        self.ids, self.what = ids, what

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def read(cls, path: Path | str, what: str, count: int) -> IdMap:
        """Read the id map of a run. Raises RunError where it is missing, damaged or not of ``count`` rows in order."""
        try:
            frame = pl.read_parquet(path, columns=["index", "id"], glob=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            reason = (str(error).strip() or "no reason given").splitlines()[0]
            raise RunError(f"{path}: missing or damaged ({reason}); restore it or train again") from None
        if frame.height != count:
            raise RunError(f"{path}: {frame.height} rows, the run has {count} {what}s; restore it or train again")
        if not (frame["index"] == pl.int_range(count, eager=True)).all():
            raise RunError(f"{path}: its rows are in another order; restore it or train again")
        return cls(frame["id"], what)

    def row(self, id: Any) -> int | None:
        """The row of an id, or None. Text matches a number or date with the same spelling."""
        if isinstance(id, bool):
            return None
        try:
            row = self._rows.get(id)
        except TypeError:  # a list or the like
            return None
        return self._rows_by_text.get(str(id)) if row is None else row

    def rows(self, ids: Iterable[Any]) -> Ints:
        """The rows of ids, int64. Raises DataError naming the first unknown id."""
        ids = list(ids)
        rows = [self.row(id) for id in ids]
        if None in rows:
            unknown = ids[rows.index(None)]
            raise DataError(f"{self.what} {unknown!r} is none of the {len(self)} {self.what}s of this run")
        return np.asarray(rows, dtype=np.int64)

    def extended(self, new_ids: Iterable[Any]) -> IdMap:
        """A map with new ids appended. Raises DataError for an id that exists already or has another type."""
        new_ids = list(new_ids)
        existing = next((id for id in new_ids if self.row(id) is not None), None)
        if existing is not None:
            raise DataError(f"{self.what} {existing!r} is already one of the {self.what}s; give a new id")
        try:
            added = pl.Series(self.ids.name, new_ids, dtype=self.ids.dtype, strict=True)
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            raise DataError(f"new {self.what}s must have ids like the others, of type {self.ids.dtype}") from None
        if added.n_unique() < len(added):
            raise DataError(f"two new {self.what}s have the same id")
        return IdMap(pl.concat([self.ids, added]), self.what)

    @cached_property
    def _rows(self) -> dict[Any, int]:
        return {id: row for row, id in enumerate(self.ids.to_list())}

    @cached_property
    def _rows_by_text(self) -> dict[str, int]:
        if self.ids.dtype == pl.String:
            return self._rows
        return {str(id): row for row, id in enumerate(self.ids.to_list())}
