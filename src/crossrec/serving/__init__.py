"""Serve trained runs over HTTP, with a page to explore them.

``create_app`` returns the ASGI application, ``serve`` runs it. Both need the extra ``serve`` (fastapi, uvicorn).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossrec.lazy import lazy_exports

if TYPE_CHECKING:
    from crossrec.serving.app import create_app as create_app
    from crossrec.serving.config import ServeConfig as ServeConfig
    from crossrec.serving.hot_swap import ServedRun as ServedRun
    from crossrec.serving.server import serve as serve

__getattr__, __dir__ = lazy_exports(__name__)
