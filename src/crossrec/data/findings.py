"""Problems of a data set, gathered rather than thrown, so that one look names them all."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from crossrec.errors import DataError


@dataclass(frozen=True)
class Finding:
    """One problem: an error stops ``load``, a warning does not. The message is one line: where, what, what to do."""

    kind: Literal["error", "warning"]
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


class Findings(list[Finding]):
    """The problems found so far, in the order they were met."""

    def error(self, message: str) -> None:
        """Note what must be mended before the data can be used."""
        self.append(Finding("error", " ".join(message.split())))

    def warn(self, message: str) -> None:
        """Note what is odd but usable."""
        self.append(Finding("warning", " ".join(message.split())))

    def attempt(self) -> Attempt:
        """A block whose DataError becomes an error of the list; work goes on after the block."""
        return Attempt(self)

    @property
    def errors(self) -> list[Finding]:
        """The problems that stop ``load``."""
        return [finding for finding in self if finding.kind == "error"]


@dataclass(frozen=True)
class Attempt:
    """What :meth:`Findings.attempt` enters."""

    findings: Findings

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if isinstance(error, DataError):
            self.findings.error(str(error))
        return isinstance(error, DataError)
