"""The two consoles of the command line: results go to stdout, progress and notices to stderr."""

from __future__ import annotations

from rich.console import Console

stderr = Console(stderr=True)
stdout = Console(width=None if Console().is_terminal else 132)
