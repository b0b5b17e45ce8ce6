"""Serve trained runs over HTTP, with a page to explore them.

``create_app`` returns the ASGI application, ``serve`` runs it. Both need the extra ``serve`` (fastapi, uvicorn).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossrec.lazy import lazy_exports

if TYPE_CHECKING:
    from crossrec.serving.app import create_app
    from crossrec.serving.config import ServeConfig
    from crossrec.serving.hot_swap import ServedRun
    from crossrec.serving.server import serve

__all__ = ["ServeConfig", "ServedRun", "create_app", "serve"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "ServeConfig": "crossrec.serving.config",
        "ServedRun": "crossrec.serving.hot_swap",
        "create_app": "crossrec.serving.app",
        "serve": "crossrec.serving.server",
    },
)
