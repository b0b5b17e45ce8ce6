"""Base class of the alignments: named terms on top of a recommender's vectors, and their weighted sum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from crossrec.alignment.config import AlignmentConfig
from crossrec.types import Batch, Representations

F = TypeVar("F", bound=Callable[..., Any])


def not_compiled(function: F) -> F:
    """The function as it is inside ``torch.compile``, too: a step around it is compiled up to it and after it.

    Use it for code that is slower when compiled: shapes that change from batch to batch, and products that already
    run in blocks of the right size. It is ``torch.compiler.disable``, whose import takes a second that only a compiled
    step has to wait for.
    """
    disabled: list[Any] = []

    @wraps(function)
    def eager(*args: Any, **kwargs: Any) -> Any:
        if not torch.compiler.is_compiling():
            return function(*args, **kwargs)
        if not disabled:
            disabled.append(torch.compiler.disable(function))  # type: ignore[no-untyped-call]
        return disabled[0](*args, **kwargs)

    return cast(F, eager)


class Alignment(nn.Module, ABC):
    """Terms that are added to a recommender's own loss, in training only.

    ``config``: its settings. ``modalities``: what it aligns, the id first. ``projections``: of the raw features of
    modality m, under the name "m_feat". ``aligners``: f of Equation 3 under the name "m->n". Both may be empty.
    """

    config: AlignmentConfig
    modalities: tuple[str, ...]
    projections: nn.ModuleDict
    aligners: nn.ModuleDict

    @abstractmethod
    def forward(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        """The terms of ``config.active`` by name, each a scalar, not weighted."""

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Σ weight · term over the terms given, with the weights of ``config.weight``; a scalar."""
        weighted = [self.config.weight(name) * value for name, value in terms.items()]
        return torch.stack(weighted).sum() if weighted else torch.zeros(())

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups of parameters for an optimiser of torch; ``lr_factor`` multiplies a group's learning rate."""
        return [{"params": list(self.parameters()), "lr_factor": 1.0}]
