"""Map original ids to rows and back."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from crossrec.data.io.ids import check_ids, parse_ids, same_spelling
from crossrec.data.io.tables import open_table
from crossrec.errors import DataError, RunError
from crossrec.lazy import polars as pl
from crossrec.ops.csr import Bools, Ints

Unknown = Literal["ignore", "error"]
"""What to do with ids that the run does not have."""
log = logging.getLogger(__name__)
MAX_EXACT = 2**53
"""Below it, a decimal stands for one whole number alone."""


class IdMap:
    """The ids of users or items in row order.

    ``ids``: a polars Series of any type; ``what``: ``user`` or ``item``; ``absent``: rows that stand for nobody and
    nothing, bool; their ids are unknown. None for none.
    """

    def __init__(self, ids: pl.Series, what: str, absent: Bools | None = None) -> None:
        self.ids, self.what, self.absent = ids, what, absent

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def read(cls, path: Path | str, what: str, count: int, absent: Bools | None = None) -> IdMap:
        """Read the id map of a run. Raises RunError where it is missing, damaged or not of ``count`` rows in order."""
        try:
            frame = open_table(path).read(["index", "id"])
        except (DataError, ValueError) as error:
            raise RunError(f"{path}: missing or damaged ({error}); restore it or train again") from None
        if frame.height != count:
            raise RunError(f"{path}: {frame.height} rows, the run has {count} {what}s; restore it or train again")
        if not (frame["index"] == pl.int_range(count, eager=True)).all():
            raise RunError(f"{path}: its rows are in another order; restore it or train again")
        return cls(frame["id"], what, absent)

    @cached_property
    def present(self) -> Ints:
        """The rows that stand for a user or an item, ascending."""
        return np.arange(len(self)) if self.absent is None else np.flatnonzero(~self.absent)

    def row(self, id: Any) -> int | None:
        """The row of an id, or None. Text matches a number or date of the same spelling; 7.0 is the number 7."""
        if id is None or isinstance(id, bool):
            return None
        if isinstance(id, float) and not self.ids.dtype.is_float():
            return self._rows.get(int(id)) if id.is_integer() and abs(id) < MAX_EXACT else None
        try:
            row = self._rows.get(id)
        except TypeError:  # a list or the like
            return None
        return self._rows_by_text.get(str(id)) if row is None else row

    def rows(self, ids: Iterable[Any]) -> Ints:
        """The rows of ids, int64. Raises DataError naming the first unknown id."""
        rows, unknown = self.split(ids)
        if unknown:
            raise DataError(f"{self.what} {unknown[0]!r} is none of the {len(self.present)} {self.what}s of this run")
        return rows

    def split(self, ids: Iterable[Any]) -> tuple[Ints, list[Any]]:
        """The rows of the ids of this run, int64, and the other ids."""
        ids = list(ids)
        rows = [self.row(id) for id in ids]
        unknown = [id for id, row in zip(ids, rows, strict=True) if row is None]
        return np.asarray([row for row in rows if row is not None], dtype=np.int64), unknown

    def usable_rows(self, ids: Iterable[Any], unknown: Unknown, *, needed: bool) -> Ints:
        """The rows of ids, of which some may be unknown: sold out, or not yet trained on.

        ``unknown``: ``ignore`` leaves them out and logs how many, ``error`` refuses the first. ``needed``:
        one at least must be left. Raises DataError.
        """
        ids = list(ids)
        rows, strangers = self.split(ids)
        if strangers and (unknown == "error" or (needed and not len(rows))):
            return self.rows(strangers)  # raises
        if strangers:
            log.warning(
                f"{len(strangers):,} of {len(ids):,} {self.what}s are none of this run, such as {strangers[0]!r}; "
                "they are left out"
            )
        return rows

    def hint(self, id: Any) -> str:
        """The id of the run that an unknown one may mean, for the end of an error message; "" for none.

        It differs in blanks, Unicode form, case, zeros or characters without width.
        """
        meant = same_spelling(id, self.ids)
        return "" if meant is None else f"; did you mean {str(meant)!a}?"

    def extended(self, new_ids: Iterable[Any]) -> IdMap:
        """A map with new ids appended.

        Raises DataError for an id that exists already, looks like another, is none, or is of another type.
        """
        new_ids = list(new_ids)
        existing = next((id for id in new_ids if self.row(id) is not None), None)
        if existing is not None:
            raise DataError(f"{self.what} {existing!r} is already one of the {self.what}s; give a new id")
        if self.ids.dtype == pl.String and all(type(id) is int for id in new_ids):
            new_ids = [str(id) for id in new_ids]  # of a table whose ids are all numbers
        try:
            added = pl.Series(self.ids.name, new_ids, dtype=self.ids.dtype, strict=True)
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            raise DataError(f"new {self.what}s must have ids like the others, of type {self.ids.dtype}") from None
        if added.n_unique() < len(added):
            raise DataError(f"two new {self.what}s have the same id")
        if parse_ids(added, lambda reason, _: DataError(f"the id of a new {self.what} {reason}")).null_count():
            raise DataError(f"the id of a new {self.what} is empty; give it one")
        ids, count = pl.concat([self.ids, added]), len(self.present)
        new = f"the new {self.what}s"
        together = pl.concat([self.ids.gather(self.present), added])
        check_ids(together, self.what, new, lambda n: "the run" if n < count else new)
        absent = None if self.absent is None else np.append(self.absent, np.zeros(len(added), dtype=bool))
        return IdMap(ids, self.what, absent)

    @cached_property
    def _rows(self) -> dict[Any, int]:
        absent = () if self.absent is None else set(np.flatnonzero(self.absent).tolist())
        return {id: row for row, id in enumerate(self.ids.to_list()) if row not in absent}

    @cached_property
    def _rows_by_text(self) -> dict[str, int]:
        if self.ids.dtype == pl.String:
            return self._rows
        return {str(id): row for id, row in self._rows.items()}
