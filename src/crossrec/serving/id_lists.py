"""Lists of item ids that are uploaded once and named in requests."""

from __future__ import annotations

from typing import Any

from crossrec.errors import DataError

MAX_LISTS = 100
"""Lists to keep at a time."""


class IdLists:
    """Lists of ids by name, in memory. Safe to use from several threads."""

    def __init__(self) -> None:
        self._ids: dict[str, tuple[Any, ...]] = {}

    def put(self, name: str, ids: list[Any]) -> None:
        """Keep or replace a list. Raises DataError where there are ``MAX_LISTS`` others."""
        if name not in self._ids and len(self._ids) >= MAX_LISTS:
            raise DataError(f"{MAX_LISTS} lists are kept already; delete one first")
        self._ids[name] = tuple(ids)

    def find(self, name: str | None) -> tuple[Any, ...] | None:
        """The ids of a list; None without a name. Raises DataError naming an unknown one."""
        if name is None:
            return None
        try:
            return self._ids[name]
        except KeyError:
            raise DataError(f"no list '{name}'; upload it with PUT /v1/list?name={name}") from None

    def delete(self, name: str) -> None:
        """Forget a list. Raises DataError naming an unknown one."""
        self.find(name)
        self._ids.pop(name, None)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of ids by name."""
        return {name: len(ids) for name, ids in sorted(self._ids.items())}
