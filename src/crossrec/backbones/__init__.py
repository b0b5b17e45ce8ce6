"""The recommenders that CROSS is stacked on, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossrec.lazy import lazy_exports

if TYPE_CHECKING:
    from crossrec.backbones.base import Backbone as Backbone, BackboneConfig as BackboneConfig
    from crossrec.backbones.registry import BACKBONES as BACKBONES

__getattr__, __dir__ = lazy_exports(__name__)
