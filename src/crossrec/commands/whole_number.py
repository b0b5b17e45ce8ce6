"""Whole numbers of the command line: cyclopts alone would round 2.5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter, Token


def _whole(_: Any, tokens: Sequence[Token]) -> int:
    """The number of a flag. Raises ValueError for anything but a whole one."""
    value = tokens[0].value
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"'{value}' is no whole number") from None


WholeNumber = Annotated[int, Parameter(converter=_whole, n_tokens=1)]
"""Annotation of a parameter that is a whole number. Fields of configurations are checked by pydantic."""
