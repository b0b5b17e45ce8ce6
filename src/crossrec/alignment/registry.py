"""Registry of the alignments' modules, by the type of their settings."""

from __future__ import annotations

from crossrec.alignment.base import Alignment
from crossrec.alignment.config import AlignmentConfig, CrossConfig, DamrsAlignmentConfig
from crossrec.alignment.cross import Cross
from crossrec.alignment.damrs import DamrsAlignment

MODULES: dict[type[AlignmentConfig], type[Alignment]] = {
    CrossConfig: Cross,
    DamrsAlignmentConfig: DamrsAlignment,
}
"""The module of each type of settings, and of those derived from it. They take what ``Objective`` gives."""


def module_of(config: AlignmentConfig) -> type[Alignment]:
    """The module that computes the terms of ``config``: its ``module_type``, else that of MODULES."""
    kinds = (kind for kind in type(config).__mro__ if kind in MODULES)
    module: type[Alignment] = config.module_type or MODULES[next(kinds)]
    return module
