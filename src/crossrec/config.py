"""Base of every configuration: typed, frozen, ranges checked on construction, unknown keys refused by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from crossrec.errors import ConfigError

# Types of whole numbers. Each has an upper bound, so that a slip of the finger is an error and not a process that takes
# all memory or never ends.
Number = Annotated[int, Field(ge=1, le=10**9)]
NumberOrZero = Annotated[int, Field(ge=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # what all random generators of the libraries take
Dimension = Annotated[int, Field(ge=1, le=65_536)]
Layers = Annotated[int, Field(ge=0, le=1000)]  # or rounds of another step that is repeated
Neighbors = Annotated[int, Field(ge=1, le=10_000)]
Prototypes = Annotated[int, Field(ge=1, le=2**20)]  # or clusters


class Config(BaseModel):
    """A frozen set of named settings. Subclasses are defined beside the code they configure."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_bool_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse True and False for a number, which pydantic would take for 1 and 0."""
        kinds = _kinds(cls.model_fields[info.field_name or ""].annotation)
        values = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(each, bool) for each in values) and (int in kinds or float in kinds) and bool not in kinds:
            raise PydanticCustomError("bool_as_number", "Input should be a number, not true or false")
        return value

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Build from plain values, such as those of a JSON file.

        Raises ConfigError that names the setting, the problem and, for an unknown name, the nearest one.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"unknown setting '{name}'{did_you_mean(name, list(cls.model_fields))}")
        raise ConfigError(f"setting '{name}' = {first.get('input')!r}: {first['msg']}")


def _kinds(annotation: Any) -> list[Any]:
    """The types that an annotation names, at any depth."""
    return [annotation, *(kind for part in get_args(annotation) for kind in _kinds(part))]


def did_you_mean(name: str, names: list[str]) -> str:
    """'; did you mean X?' for the closest of the names, else the list of them."""
    by_folded = {other.casefold(): other for other in names}
    match = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return f"; did you mean '{by_folded[match[0]]}'?" if match else f"; known: {', '.join(sorted(names))}"
