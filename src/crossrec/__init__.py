"""crossrec: recommendations made better by aligning what items look and read like with how people behave towards them.

The alignment for a training loop of your own: ``Cross``, ``CrossConfig``, ``FETTLE``, ``Batch``, ``Representations``.
A trained run, recommending: ``Recommender``. Loaded when first used, because importing torch takes a second.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crossrec._version import __version__

if TYPE_CHECKING:
    from crossrec.alignment import FETTLE, Cross, CrossConfig, FettleConfig
    from crossrec.recommend import Recommender
    from crossrec.types import Batch, Representations

_HOME = {
    "FETTLE": "crossrec.alignment",
    "Batch": "crossrec.types",
    "Cross": "crossrec.alignment",
    "CrossConfig": "crossrec.alignment",
    "FettleConfig": "crossrec.alignment",
    "Recommender": "crossrec.recommend",
    "Representations": "crossrec.types",
}

__all__ = ["FETTLE", "Batch", "Cross", "CrossConfig", "FettleConfig", "Recommender", "Representations", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'crossrec' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
