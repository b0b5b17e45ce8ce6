"""The recommenders that CROSS is stacked on, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossrec.lazy import lazy_exports

if TYPE_CHECKING:
    from crossrec.backbones.base import Backbone, BackboneConfig
    from crossrec.backbones.registry import BACKBONES

__all__ = ["BACKBONES", "Backbone", "BackboneConfig"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "BACKBONES": "crossrec.backbones.registry",
        "Backbone": "crossrec.backbones.base",
        "BackboneConfig": "crossrec.backbones.base",
    },
)
