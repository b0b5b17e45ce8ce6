"""The ASGI application: the API, the page and JSON errors."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from crossrec._version import __version__
from crossrec.errors import ConfigError, CrossrecError, DataError
from crossrec.serving.batching import Batcher
from crossrec.serving.config import ServeConfig
from crossrec.serving.hot_swap import ServedRun
from crossrec.serving.id_lists import IdLists
from crossrec.serving.metrics import MEDIA_TYPE, Metrics
from crossrec.serving.middleware import METRICS_PATH, AccessMiddleware
from crossrec.serving.routes import feedback_routes, list_routes, lookup_routes, recommend_routes, status_routes
from crossrec.serving.service import UnknownIdError

MEDIA_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
"""Media types of the page's files, by ending."""
DESCRIPTION = (
    "Recommendations of trained crossrec runs. Ids are the original ones; scores are those of `crossrec recommend`."
)


def create_app(runs: Sequence[ServedRun], config: ServeConfig) -> AccessMiddleware:
    """The service of one or more runs. Raises ConfigError if others could reach it without a token."""
    config.check()
    batcher = Batcher(config.threads)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        batcher.close()

    app = FastAPI(
        title="crossrec",
        version=__version__,
        description=DESCRIPTION,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    metrics = Metrics()
    access = AccessMiddleware(app, config, metrics.observe)
    lists = IdLists()
    app.include_router(recommend_routes(runs, config, batcher, lists))
    app.include_router(list_routes(lists))
    app.include_router(feedback_routes(runs, config))
    app.include_router(lookup_routes(runs, batcher))
    app.include_router(status_routes(runs, config, access))
    _add_page(app)

    @app.get(METRICS_PATH, include_in_schema=False)
    async def figures() -> Response:
        return Response(metrics.render(access.active_requests, runs), media_type=MEDIA_TYPE)

    metrics.paths = frozenset(app.openapi()["paths"]) | {METRICS_PATH}
    _add_error_handlers(app)
    return access


def _add_page(app: FastAPI) -> None:
    """Serve the files of the page, which are read once."""
    pages: dict[str, Response] = {}
    for file in (files("crossrec.serving") / "static").iterdir():
        media_type = MEDIA_TYPES.get(file.name.rpartition(".")[2])
        if media_type is not None:
            content = file.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            headers = {"cache-control": "no-cache", "etag": etag}
            pages[file.name] = Response(content, media_type=media_type, headers=headers)

    @app.get("/", include_in_schema=False)
    @app.get("/static/{name}", include_in_schema=False)
    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in pages:
            raise HTTPException(404, "no such page")
        etag = pages[name].headers["etag"]
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"cache-control": "no-cache", "etag": etag})
        return pages[name]


def _add_error_handlers(app: FastAPI) -> None:
    def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
        """One line of at most 300 characters that UTF-8 can encode."""
        text = " ".join(message.split())
        text = text if len(text) <= 300 else text[:297] + "..."
        return JSONResponse({"error": text.encode("utf-8", "replace").decode()}, status, headers)

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        return error_response(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def validation_error(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
        return error_response(422, f"{field or 'body'}: {first['msg']}")

    @app.exception_handler(CrossrecError)
    async def crossrec_error(_: Request, error: CrossrecError) -> Response:
        if isinstance(error, DataError | ConfigError):  # other errors name files
            return error_response(404 if isinstance(error, UnknownIdError) else 422, str(error))
        raise error

    @app.exception_handler(Exception)
    async def unexpected_error(_: Request, error: Exception) -> Response:
        return error_response(500, "something went wrong in the service")  # raised again, and logged by the middleware
