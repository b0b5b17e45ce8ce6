"""Base of every configuration: typed, frozen, ranges checked on construction, unknown keys refused by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from crossrec.errors import ConfigError


class Config(BaseModel):
    """A frozen set of named settings. Subclasses live beside the code they configure."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Build from plain values (a JSON file, say).

        Raises ConfigError naming the setting, what is wrong with it and, for an unknown name, the nearest known one.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ConfigError(explain(error, list(cls.model_fields))) from None


def explain(error: ValidationError, known: list[str]) -> str:
    """One line for the first problem of a pydantic error: setting, value, reason, nearest known name."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "settings"
    if first["type"] == "extra_forbidden":
        return f"unknown setting '{name}'{nearest(name, known)}"
    return f"setting '{name}' = {first.get('input')!r}: {first['msg']}"


def nearest(name: str, known: list[str]) -> str:
    """'; did you mean X?' for the closest known name, else the list of them."""
    match = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{match[0]}'?" if match else f"; known: {', '.join(sorted(known))}"
