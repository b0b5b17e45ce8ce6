"""Paths of the API: requests, responses and limits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from crossrec.serving import schemas as s
from crossrec.serving.batching import Batcher
from crossrec.serving.config import ServeConfig
from crossrec.serving.feedback import FeedbackLog
from crossrec.serving.hot_swap import ServedRun
from crossrec.serving.id_lists import IdLists
from crossrec.serving.middleware import AccessMiddleware
from crossrec.serving.service import RecommendationService

SearchWords = Annotated[str, Query(max_length=200, description="A part of an id or a title, in any case.")]
OriginalId = Annotated[str, Query(max_length=512, description="An original id.")]
ListName = Annotated[s.ListName, Query(description="Name of an uploaded list.")]
Offset = Annotated[int, Query(ge=0, le=10**9)]
Limit = Annotated[int, Query(ge=1, le=100)]
RunNumber = Annotated[int, Query(ge=1, le=99, description="Number of the served run, from 1.")]

Responses = dict[int | str, dict[str, Any]]


def _errors(descriptions: dict[int, str]) -> Responses:
    return {status: {"model": s.ErrorResponse, "description": text} for status, text in descriptions.items()}


PROBE_RESPONSES = _errors(
    {
        400: "Malformed HTTP or JSON, or the request ended early",
        421: "Not a host name of this service",
        500: "An error in the service",
        503: "Busy; see Retry-After",
    }
)
HEALTH_RESPONSES = PROBE_RESPONSES | _errors(
    {401: "Missing or wrong token", 422: "Invalid request", 429: "Too many requests; see Retry-After"}
)
ERROR_RESPONSES = HEALTH_RESPONSES | _errors(
    {404: "No such user, item or run", 408: "The request took too long to arrive", 413: "Too large"}
)
"""Every error that a path may answer with; probes need no token and are not limited."""


def recommend_routes(runs: Sequence[ServedRun], config: ServeConfig, batcher: Batcher, lists: IdLists) -> APIRouter:
    """Routes whose request has a JSON body."""
    router = APIRouter(prefix="/v1", tags=["recommend"], responses=ERROR_RESPONSES)

    def service(request: s.RunRequest) -> RecommendationService:
        """The service for a request. Raises HTTPException above a limit and for an unknown run."""
        if getattr(request, "k", 0) > config.max_k:
            raise HTTPException(422, f"k: at most {config.max_k}")
        for name in ("items", "history", "allow", "deny"):
            if len(getattr(request, name, None) or ()) > config.max_ids:
                raise HTTPException(422, f"{name}: at most {config.max_ids} ids")
        if isinstance(request, s.ItemListRequest):
            names = (request.allow_list, request.deny_list)
            request._listed_ids = (lists.find(names[0]), lists.find(names[1]))
        return _current(runs, request.run)

    @router.post("/recommend", response_model=s.ItemListResponse)
    async def recommend(request: s.RecommendRequest) -> Response:
        """The best items for a user of the run."""
        request.run = request.run or run_of(request.user, len(runs), config.ab_share)
        answering = service(request)
        filters = request.model_dump_json(include={"allow", "deny", "category", "allow_list", "deny_list"})
        if request.fallback is not None and answering.recommender.users.row(request.user) is None:
            return await popular_instead(request)
        answering.user_row(request.user)  # raises an error for this request alone
        answer = await batcher(answering.recommend, request, filters)
        return JSONResponse(answer | {"run": request.run})

    @router.post("/recommend/history", response_model=s.ItemListResponse)
    async def recommend_history(request: s.HistoryRequest) -> Response:
        """The best items for a user who was not in training, given the items of their history."""
        answering = service(request)
        if request.fallback is not None and not any(map(answering.has_item, request.items)):
            return await popular_instead(request)
        return JSONResponse(await batcher.one(answering.recommend_for_history, request))

    async def popular_instead(request: s.RecommendRequest | s.HistoryRequest) -> Response:
        """The answer to a request for a list for somebody of whom the run knows nothing."""
        instead = s.PopularRequest(**request.model_dump(exclude={"user", "items", "how", "fallback"}))
        response = await batcher.one(service(instead).popular, instead)
        return JSONResponse(response | {"fallback": "popular"})

    @router.post("/popular", response_model=s.ItemListResponse)
    async def popular(request: s.PopularRequest) -> Response:
        """The items that the most people had lately, or in the data set of the run."""
        return JSONResponse(await batcher.one(service(request).popular, request))

    @router.get("/popular", response_model=s.ItemListResponse)
    async def popular_by_address(
        k: Annotated[int, Query(ge=1)] = 10,
        category: Annotated[str | None, Query(max_length=512)] = None,
        user: OriginalId | None = None,
        run: RunNumber = 1,
    ) -> Response:
        """The same without a body, for what needs no lists of ids."""
        categories = None if category is None else [category]
        return await popular(s.PopularRequest(k=k, category=categories, user=user, run=run))

    @router.post("/similar", response_model=s.ItemListResponse)
    async def similar(request: s.SimilarRequest) -> Response:
        """The items most similar to one, by behaviour or by a modality."""
        answering = service(request)
        answering.item_row(request.item)  # raises an error for this request alone
        return JSONResponse(await batcher(answering.similar, request, request.by))

    @router.post("/explain", response_model=s.ExplanationResponse)
    async def explain(request: s.ExplainRequest) -> Response:
        """What a score is made of."""
        return JSONResponse(await batcher.one(service(request).explain, request))

    @router.post("/new-item", response_model=s.NewItemResponse)
    async def new_item(request: s.NewItemRequest) -> Response:
        """The vector of an item without interactions, from raw features; its nearest items and likely users."""
        return JSONResponse(await batcher.one(service(request).new_item, request))

    return router


def run_of(user: Any, runs: int, share: float | None) -> int:
    """The number of the run that answers a user: 2 for a ``share`` of them, chosen by their ids, else 1."""
    if share is None or runs < 2:
        return 1
    digest = hashlib.sha256(str(user).encode()).digest()
    return 2 if int.from_bytes(digest[:8], "big") < share * 2**64 else 1


def feedback_routes(runs: Sequence[ServedRun], config: ServeConfig) -> APIRouter:
    """The route that keeps what people did with their lists."""
    router = APIRouter(prefix="/v1", tags=["feedback"], responses=ERROR_RESPONSES)
    log = None if config.feedback is None else FeedbackLog(config.feedback)

    @router.post("/feedback", response_model=s.FeedbackResponse)
    def feedback(request: s.FeedbackRequest) -> Response:
        """Append a row to the log of feedback; ids that the run does not know are kept too."""
        if log is None:
            raise HTTPException(404, "this service keeps no feedback: start it with --feedback FILE")
        number = request.run or run_of(request.user, len(runs), config.ab_share)
        identity = _current(runs, number).card["identity"]
        try:
            log.append(request.user, request.item, request.event, number, identity)
        except OSError:
            raise HTTPException(503, "the feedback cannot be written now", {"retry-after": "60"}) from None
        return JSONResponse({"run": number, "identity": identity})

    return router


def list_routes(lists: IdLists) -> APIRouter:
    """Routes for lists of ids that are uploaded once; they are kept until the service stops."""
    router = APIRouter(prefix="/v1", tags=["lists"], responses=ERROR_RESPONSES)

    @router.get("/lists", response_model=s.IdListsResponse)
    async def sizes() -> Response:
        """The uploaded lists."""
        return JSONResponse({"lists": lists.sizes})

    @router.put("/list", response_model=s.IdListsResponse)
    async def put(name: ListName, request: s.IdListRequest) -> Response:
        """Upload or replace a list of item ids, for ``allow_list`` and ``deny_list``; --max-body bounds its length."""
        lists.put(name, request.ids)
        return JSONResponse({"lists": lists.sizes})

    @router.delete("/list", response_model=s.IdListsResponse)
    async def delete(name: ListName) -> Response:
        """Forget a list."""
        lists.delete(name)
        return JSONResponse({"lists": lists.sizes})

    return router


def lookup_routes(runs: Sequence[ServedRun], batcher: Batcher) -> APIRouter:
    """Routes that search and show users and items."""
    router = APIRouter(prefix="/v1", tags=["look up"], responses=ERROR_RESPONSES)

    @router.get("/users", response_model=s.UserSearchResponse)
    async def users(search: SearchWords = "", offset: Offset = 0, limit: Limit = 20, run: RunNumber = 1) -> Response:
        """Users by a part of their id."""
        service = _current(runs, run)
        return JSONResponse(await batcher.one(service.search_users, search, offset, limit))

    @router.get("/items", response_model=s.ItemSearchResponse)
    async def items(search: SearchWords = "", offset: Offset = 0, limit: Limit = 20, run: RunNumber = 1) -> Response:
        """Items by a part of their id or title."""
        service = _current(runs, run)
        return JSONResponse(await batcher.one(service.search_items, search, offset, limit))

    @router.get("/user", response_model=s.UserResponse)
    async def user(user: OriginalId, run: RunNumber = 1) -> Response:
        """A user, with the first items of their history."""
        return JSONResponse(await batcher.one(_current(runs, run).user, user))

    @router.get("/item", response_model=s.ItemResponse)
    async def item(item: OriginalId, run: RunNumber = 1) -> Response:
        """An item, with its likely users."""
        return JSONResponse(await batcher.one(_current(runs, run).item, item))

    @router.get("/picture", response_class=Response)
    async def picture(item: OriginalId, run: RunNumber = 1) -> Response:
        """The picture of an item."""
        image = await batcher.one(_current(runs, run).picture, item)
        if image is None:
            raise HTTPException(404, "no picture of this item")
        content, media_type = image
        return Response(content, media_type=media_type, headers={"cache-control": "private, max-age=3600"})

    return router


def status_routes(runs: Sequence[ServedRun], config: ServeConfig, access: AccessMiddleware) -> APIRouter:
    """Routes about the served runs and the state of the service."""
    router = APIRouter(prefix="/v1", tags=["service"])

    @router.get("/runs", name="runs", response_model=s.ModelCardsResponse, responses=ERROR_RESPONSES)
    async def model_cards() -> Response:
        """The model cards of the served runs."""
        cards = [{"run": number, **run.current.card} for number, run in enumerate(runs, 1)]
        return JSONResponse({"runs": cards, "max_k": config.max_k})

    @router.get("/health", response_model=s.HealthResponse, responses=HEALTH_RESPONSES)
    async def health() -> Response:
        """Since when each run has been served, and whether a newer one was refused."""
        states = [
            {
                "run": number,
                "label": run.current.card["label"],
                "identity": run.current.card["identity"],
                "since": run.since,
                "swaps": run.swaps,
                "refused": run.refused,
            }
            for number, run in enumerate(runs, 1)
        ]
        status = "degraded" if any(run.refused for run in runs) else "ok"
        return JSONResponse({"status": status, "busy": access.active_requests, "runs": states})

    @router.get("/health/live", response_model=s.LiveResponse, responses=PROBE_RESPONSES)
    async def live() -> Response:
        """The process answers."""
        return JSONResponse({"live": True})

    not_ready: Responses = {503: {"model": s.ReadyResponse | s.ErrorResponse, "description": "Busy; see Retry-After"}}

    @router.get("/health/ready", response_model=s.ReadyResponse, responses=PROBE_RESPONSES | not_ready)
    async def ready() -> Response:
        """Whether the service takes requests now; status 503 if it is too busy."""
        if access.active_requests < config.waiting:
            return JSONResponse({"ready": True})
        return JSONResponse({"ready": False}, 503, {"retry-after": "1"})

    return router


def _current(runs: Sequence[ServedRun], number: int) -> RecommendationService:
    if number > len(runs):
        raise HTTPException(404, f"no run {number}: this service has {len(runs)}")
    return runs[number - 1].current
