"""A line of the table, without any package that a machine may lack."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Row:
    """A line of the table. ``ok``: None for a measurement without a bound. ``skipped``: why nothing was done."""

    check: str
    value: str = ""
    bound: str = ""
    ok: bool | None = None
    skipped: str = ""

    @property
    def result(self) -> str:
        if self.skipped:
            return "skipped"
        return {None: "measured", True: "ok", False: "FAILED"}[self.ok]
