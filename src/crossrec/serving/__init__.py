"""Trained runs over HTTP: a thin layer over ``Recommender``, and the page that explores them.

``create_app`` makes the ASGI application, ``serve`` runs it. Both need the extra ``serve`` (fastapi, uvicorn).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crossrec.serving.config import ServeConfig

if TYPE_CHECKING:
    from crossrec.serving.app import create_app
    from crossrec.serving.runs import Slot
    from crossrec.serving.server import serve

_HOME = {
    "Slot": "crossrec.serving.runs",
    "create_app": "crossrec.serving.app",
    "serve": "crossrec.serving.server",
}

__all__ = ["ServeConfig", "Slot", "create_app", "serve"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'crossrec.serving' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
