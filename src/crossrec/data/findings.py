"""Collect the problems of a data set, so that one pass reports all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from crossrec.errors import ConfigError, DataError, visible


@dataclass(frozen=True)
class Finding:
    """A problem; an error stops ``load``, a warning does not. The message is one line: where, what, what to do.

    ``is_logged``: whether ``load`` logs a warning, because the data may say something else than they seem to.
    """

    kind: Literal["error", "warning"]
    message: str
    is_logged: bool = False

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


class Findings(list[Finding]):
    """A list of problems, in the order of their discovery."""

    def error(self, message: str) -> None:
        """Add a problem that stops ``load``, once."""
        finding = Finding("error", visible(message))
        if finding not in self:
            self.append(finding)

    def warn(self, message: str) -> None:
        """Add a problem that does not stop ``load``."""
        self.append(Finding("warning", visible(message)))

    def tell(self, message: str) -> None:
        """Add a problem that does not stop ``load``, which logs it."""
        self.append(Finding("warning", visible(message), is_logged=True))

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Add a DataError or ConfigError raised in the block to the list and continue after the block."""
        try:
            yield
        except (DataError, ConfigError) as error:
            self.error(str(error))

    @property
    def errors(self) -> list[Finding]:
        """The problems that stop ``load``, in order."""
        return [finding for finding in self if finding.kind == "error"]
