"""The ASGI application: paths, what they take and give, and how mistakes are told."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from crossrec._version import __version__
from crossrec.errors import ConfigError, CrossrecError, DataError
from crossrec.serving import schemas as m
from crossrec.serving.batching import Desk
from crossrec.serving.config import ServeConfig
from crossrec.serving.hot_swap import Served, Slot
from crossrec.serving.images import read_picture
from crossrec.serving.middleware import Guard, short
from crossrec.serving.service import UnknownError, each

Words = Annotated[str, Query(max_length=200, description="A part of an id or a title, in any case.")]
Text = Annotated[str, Query(max_length=512, description="An original id.")]
Offset = Annotated[int, Query(ge=0, le=10**9)]
Limit = Annotated[int, Query(ge=1, le=100)]
Run = Annotated[int, Query(ge=1, le=99, description="Which of the served runs, from 1.")]

MEDIA = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
"""Endings of the files that the page is made of."""
ABOUT = "Recommendations of trained crossrec runs. Ids are the original ones; scores are those of `crossrec recommend`."
PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": m.Problem, "description": "No token, or another one"},
    404: {"model": m.Problem, "description": "No such user, item or run"},
    413: {"model": m.Problem, "description": "Too large"},
    422: {"model": m.Problem, "description": "Not understood"},
    429: {"model": m.Problem, "description": "Too often; Retry-After says when"},
    503: {"model": m.Problem, "description": "Busy; Retry-After says when"},
}


def create_app(slots: Sequence[Slot], config: ServeConfig) -> Guard:
    """The service of one or more runs. Raises ConfigError where ``config`` would let everybody in."""
    config.check()
    desk = Desk(config.threads)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

    app = FastAPI(
        title="crossrec",
        version=__version__,
        description=ABOUT,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    guard = Guard(app, config)
    _tell_mistakes(app)
    _asked(app, slots, config, desk)
    _looked_up(app, slots, desk)
    _state(app, slots, config, guard)
    _page(app)
    return guard


def _served(slots: Sequence[Slot], run: int) -> Served:
    if run > len(slots):
        raise HTTPException(404, f"no run {run}: this service has {len(slots)}")
    return slots[run - 1].current


def _asked(app: FastAPI, slots: Sequence[Slot], config: ServeConfig, desk: Desk) -> None:
    """Questions with a body."""

    def bounded(asked: m.Asked) -> Served:
        if getattr(asked, "k", 0) > config.max_k:
            raise HTTPException(422, f"k: at most {config.max_k}")
        for name in ("items", "history", "allow", "deny"):
            if len(getattr(asked, name, None) or ()) > config.max_ids:
                raise HTTPException(422, f"{name}: at most {config.max_ids} ids")
        return _served(slots, asked.run)

    @app.post("/v1/recommend", response_model=m.Items, responses=PROBLEMS, tags=["recommend"])
    async def recommend(asked: m.ForUser) -> Response:
        """The best items for a user of the run."""
        return JSONResponse(await desk(bounded(asked).answers.recommended, asked))

    @app.post("/v1/recommend/history", response_model=m.Items, responses=PROBLEMS, tags=["recommend"])
    async def recommend_history(asked: m.ForHistory) -> Response:
        """The best items for somebody who was not in training, by the items they took."""
        return JSONResponse(await desk(each(bounded(asked).answers.for_history), asked))

    @app.post("/v1/similar", response_model=m.Items, responses=PROBLEMS, tags=["recommend"])
    async def similar(asked: m.Similar) -> Response:
        """The items most similar to one, by behaviour or by a modality."""
        return JSONResponse(await desk(bounded(asked).answers.similar, asked))

    @app.post("/v1/explain", response_model=m.Explained, responses=PROBLEMS, tags=["recommend"])
    async def explain(asked: m.Explain) -> Response:
        """What a score is made of."""
        return JSONResponse(await desk(each(bounded(asked).answers.explained), asked))

    @app.post("/v1/new-item", response_model=m.NewItemAnswer, responses=PROBLEMS, tags=["recommend"])
    async def new_item(asked: m.Features) -> Response:
        """The vector of an item that nobody has touched, from raw features; what is near it, who would like it."""
        return JSONResponse(await desk(each(bounded(asked).answers.new_item), asked))


def _looked_up(app: FastAPI, slots: Sequence[Slot], desk: Desk) -> None:
    """What the page shows."""

    @app.get("/v1/users", response_model=m.UserPage, responses=PROBLEMS, tags=["look up"])
    async def users(search: Words = "", offset: Offset = 0, limit: Limit = 20, run: Run = 1) -> Response:
        """Users by a part of their id."""
        find = _served(slots, run).answers.users
        return JSONResponse(await desk(each(lambda words: find(words, offset, limit)), search))

    @app.get("/v1/items", response_model=m.ItemPage, responses=PROBLEMS, tags=["look up"])
    async def items(search: Words = "", offset: Offset = 0, limit: Limit = 20, run: Run = 1) -> Response:
        """Items by a part of their id or title."""
        find = _served(slots, run).answers.items
        return JSONResponse(await desk(each(lambda words: find(words, offset, limit)), search))

    @app.get("/v1/user", response_model=m.UserAnswer, responses=PROBLEMS, tags=["look up"])
    async def user(user: Text, run: Run = 1) -> Response:
        """A user, with the first items of their history."""
        return JSONResponse(await desk(each(_served(slots, run).answers.user), user))

    @app.get("/v1/item", response_model=m.ItemAnswer, responses=PROBLEMS, tags=["look up"])
    async def item(item: Text, run: Run = 1) -> Response:
        """An item, and who would like it."""
        return JSONResponse(await desk(each(_served(slots, run).answers.item), item))

    @app.get("/v1/picture", responses=PROBLEMS, tags=["look up"], response_class=Response)
    async def picture(item: Text, run: Run = 1) -> Response:
        """The picture of an item."""
        served = _served(slots, run)

        def read(one: str) -> dict[str, Any]:
            path = served.shelf.picture(served.answers.row(one))
            return {"found": None if path is None else read_picture(path)}

        found = (await desk(each(read), item))["found"]
        if found is None:
            raise HTTPException(404, "no picture of this item")
        return Response(found[0], media_type=found[1], headers={"cache-control": "private, max-age=3600"})


def _state(app: FastAPI, slots: Sequence[Slot], config: ServeConfig, guard: Guard) -> None:
    """How the service is, and what it serves."""

    @app.get("/v1/runs", response_model=m.Cards, responses=PROBLEMS, tags=["service"])
    async def runs() -> Response:
        """The model cards of the served runs."""
        cards = [{"run": n, **slot.current.card} for n, slot in enumerate(slots, 1)]
        return JSONResponse({"runs": cards, "max_k": config.max_k})

    @app.get("/v1/health", response_model=m.Health, tags=["service"])
    async def health() -> Response:
        """Whether all is well: which runs answer since when, and whether a newer one was refused."""
        told = [
            {
                "run": n,
                "label": slot.current.card["label"],
                "identity": slot.current.card["identity"],
                "since": slot.current.since,
                "swaps": slot.swaps,
                "refused": slot.refused,
            }
            for n, slot in enumerate(slots, 1)
        ]
        status = "degraded" if any(slot.refused for slot in slots) else "ok"
        return JSONResponse({"status": status, "busy": guard.busy, "runs": told})

    @app.get("/v1/health/live", response_model=m.Live, tags=["service"])
    async def live() -> Response:
        """That the process answers."""
        return JSONResponse({"live": True})

    @app.get("/v1/health/ready", response_model=m.Ready, tags=["service"])
    async def ready() -> Response:
        """Whether it takes requests now; status 503 where it is as busy as it may be."""
        is_ready = guard.busy < config.waiting
        return JSONResponse({"ready": is_ready}, 200 if is_ready else 503, None if is_ready else {"retry-after": "1"})


def _page(app: FastAPI) -> None:
    """The page: a few files of the package, read once."""
    folder = files("crossrec.serving") / "static"
    pages: dict[str, Response] = {}
    for file in folder.iterdir():
        media = MEDIA.get(file.name.rpartition(".")[2])
        if media is not None:
            content = file.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            pages[file.name] = Response(content, media_type=media, headers={"cache-control": "no-cache", "etag": tag})

    @app.get("/", include_in_schema=False)
    async def index(request: Request) -> Response:
        return static("index.html", request)

    @app.get("/static/{name}", include_in_schema=False)
    async def part(name: str, request: Request) -> Response:
        return static(name, request)

    def static(name: str, request: Request) -> Response:
        if name not in pages:
            raise HTTPException(404, "no such page")
        tag = pages[name].headers["etag"]
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"cache-control": "no-cache", "etag": tag})
        return pages[name]


def _tell_mistakes(app: FastAPI) -> None:
    def problem(status: int, message: str, headers: Any = None) -> Response:
        return JSONResponse({"error": short(message)}, status, headers)

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem(error.status_code, str(error.detail), error.headers)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
        return problem(422, f"{place or 'body'}: {first['msg']}")

    async def mistaken(_: Request, error: Exception) -> Response:
        if isinstance(error, DataError | ConfigError):  # the others name files
            return problem(404 if isinstance(error, UnknownError) else 422, str(error))
        raise error

    async def unforeseen(_: Request, error: Exception) -> Response:
        return problem(500, "something went wrong in the service")  # raised on, and logged by the guard

    app.add_exception_handler(Exception, unforeseen)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(CrossrecError, mistaken)
