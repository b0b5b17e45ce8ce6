"""Trained runs over HTTP: a thin layer over ``Recommender``, and the page that explores them.

``create_app`` makes the ASGI application, ``serve`` runs it. Both need the extra ``serve`` (fastapi, uvicorn).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossrec.lazy import lazy_exports

if TYPE_CHECKING:
    from crossrec.serving.app import create_app
    from crossrec.serving.config import ServeConfig
    from crossrec.serving.hot_swap import Slot
    from crossrec.serving.server import serve

__all__ = ["ServeConfig", "Slot", "create_app", "serve"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "ServeConfig": "crossrec.serving.config",
        "Slot": "crossrec.serving.hot_swap",
        "create_app": "crossrec.serving.app",
        "serve": "crossrec.serving.server",
    },
)
