"""``crossrec report``."""

from __future__ import annotations

from pathlib import Path

from crossrec.console import say
from crossrec.experiments.reporting.html import write_report


def report(folder: Path, /, *, out: Path | None = None) -> int:
    """Write the results in a folder as one HTML page: summary, tables, figures and provenance.

    Parameters
    ----------
    folder
        The --out of an experiment, or a folder of several.
    out
        File to write; report.html in the folder by default.
    """
    say(write_report(folder, out))
    return 0
