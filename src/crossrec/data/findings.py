"""Collect the problems of a data set, so that one pass reports all of them."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from crossrec.errors import DataError


@dataclass(frozen=True)
class Finding:
    """A problem; an error stops ``load``, a warning does not. The message is one line: where, what, what to do."""

    kind: Literal["error", "warning"]
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


class Findings(list[Finding]):
    """A list of problems, in the order of their discovery."""

    def error(self, message: str) -> None:
        """Add a problem that stops ``load``."""
        self.append(Finding("error", " ".join(message.split())))

    def warn(self, message: str) -> None:
        """Add a problem that does not stop ``load``."""
        self.append(Finding("warning", " ".join(message.split())))

    def attempt(self) -> Attempt:
        """A context manager that adds a DataError raised in its block to the list and continues after the block."""
        return Attempt(self)

    @property
    def errors(self) -> list[Finding]:
        """The problems that stop ``load``, in order."""
        return [finding for finding in self if finding.kind == "error"]


@dataclass(frozen=True)
class Attempt:
    """The context manager of :meth:`Findings.attempt`."""

    findings: Findings

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if isinstance(error, DataError):
            self.findings.error(str(error))
        return isinstance(error, DataError)
