"""``crossrec data validate``."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from crossrec.data import DataConfig, validate as validate_data

Settings = Annotated[DataConfig, Parameter(name="*")]


def validate(settings: Settings = DataConfig()) -> int:  # noqa: B008
    """List all errors and warnings, one per line; exit code 2 if there are any."""
    findings = validate_data(settings)
    for finding in findings:
        print(f"crossrec: {finding.kind}: {finding.message}", file=sys.stderr)
    if not findings:
        print(f"{settings.data}: nothing wrong found")
    return 2 if findings else 0
