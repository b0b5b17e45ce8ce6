"""``crossrec data validate``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from crossrec.console import notify, say
from crossrec.data import DataConfig, validate as validate_data

Settings = Annotated[DataConfig, Parameter(name="*")]


def validate(settings: Settings = DataConfig()) -> int:  # noqa: B008
    """List all errors and warnings, one per line; exit code 2 if there are any."""
    findings = validate_data(settings)
    for finding in findings:
        notify(finding.message, finding.kind)
    if not findings:
        say(f"{settings.data}: nothing wrong found")
    return 2 if findings else 0
