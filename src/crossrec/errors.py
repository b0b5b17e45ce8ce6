"""Errors that a user can cause and fix. Each message is one line: where, what, what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

USER_ERROR = 2
"""Exit code of a command that ends with such an error."""
SHOWN = "\u200c\u200d\u3000"
"""Joiners inside words and emoji, and the wide blank: text needs them, though Python calls them not printable."""


def visible(text: str, keep: str = "") -> str:
    r"""Write each character of ``text`` that does not print as a Python escape, e.g. ``\x1b``, ``\u202e`` or ``\xa0``.

    These are control characters (C0, C1, line ends, tabs), marks that change the direction of writing, characters
    without width, unusual blanks, and halves of a surrogate pair. Those in ``keep`` stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in SHOWN or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )


_speaks_flags = ContextVar("speaks_flags", default=False)


@contextmanager
def settings_as_flags() -> Iterator[None]:
    """Let ``setting`` name flags meanwhile: the command line's messages are for people who type them."""
    token = _speaks_flags.set(True)
    try:
        yield
    finally:
        _speaks_flags.reset(token)


def setting(name: str, value: object = None) -> str:
    """A setting as the reader of a message writes it: ``bad_rows drop``, or ``--bad-rows drop`` on the command line.

    ``value``: what it is set to, if that belongs to the message.
    """
    written = f"--{name.replace('_', '-')}" if _speaks_flags.get() else name
    return written if value is None else f"{written} {value}"


class CrossrecError(Exception):
    """Base of every error a user can cause; the command line prints its message and exits with code 2.

    Ids and paths in the message are made ``visible``, so that it is one line and steers no terminal.
    """

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))


class DataError(CrossrecError):
    """A data set, feature file or id is missing or malformed. The message names file, column or row and the fix."""


class ConfigError(CrossrecError):
    """A setting is unknown, out of range or contradicts another. The message names the setting and the fix."""


class ArgumentError(CrossrecError, ValueError):
    """An argument of a Python call cannot be used. The message names the argument and the fix."""


class RunError(CrossrecError):
    """A run directory is missing, damaged or belongs to another configuration. The message names the file."""


class TrainingError(CrossrecError):
    """Training cannot go on, e.g. a loss is not finite. The message names epoch, batch and term."""


class MemoryLimitError(CrossrecError):
    """A command needs more memory than there is. The message says how much of both, and what would fit."""
