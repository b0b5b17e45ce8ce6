"""Names of the alignment terms of CROSS, and terms from outside the package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeAlias, get_args

import torch
from pydantic import AfterValidator, PlainSerializer
from torch import Tensor, nn

from crossrec.alignment.batch_view import BatchView
from crossrec.parts import Registry

BuiltInTerm = Literal["item", "tuning", "neighbor", "cluster_items", "cluster_users"]

TermFunction = Callable[[BatchView], Tensor]
"""A term from outside the package: the view of a batch in, a scalar out, not weighted."""
OutsideTerm: TypeAlias = TermFunction | type[nn.Module]
"""A function, or a module with parameters of its own, which is made by
``Module(dim, modalities=…, num_items=…, generator=…)`` and called like a function."""


def _problem(part: Any) -> str:
    """What is wrong with a term from outside the package, or ""."""
    is_term = callable(part) and (not isinstance(part, type) or issubclass(part, nn.Module))
    return "" if is_term else "not a term; give a function of a BatchView or a subclass of torch.nn.Module"


TERMS: Registry[OutsideTerm | None] = Registry(
    "term",
    "crossrec.terms",
    dict.fromkeys(get_args(BuiltInTerm)),
    problem=_problem,
    own_name=lambda part: str(getattr(part, "name", None) or getattr(part, "__name__", "")),
)
"""Terms by what ``--terms`` takes. None: ``Cross`` computes it itself."""

Term = Annotated[str, AfterValidator(TERMS.checked), PlainSerializer(TERMS.reference)]
"""The name of a term, as a setting."""


def outside_terms(
    names: Sequence[str], dim: int, modalities: Sequence[str], num_items: int, generator: torch.Generator | None
) -> tuple[nn.ModuleDict, dict[str, TermFunction]]:
    """Those of ``names`` from outside the package: modules, newly made, and functions.

    A module draws its initial values from ``generator``.
    """
    modules, functions = nn.ModuleDict(), dict[str, TermFunction]()
    for name in names:
        part = TERMS[name]
        if isinstance(part, type):
            modules[name] = part(dim, modalities=modalities, num_items=num_items, generator=generator)
        elif part is not None:
            functions[name] = part
    return modules, functions
