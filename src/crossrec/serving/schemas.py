"""JSON schemas of requests and responses. Ids are the original ones; text matches a number with the same spelling."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StrictFloat, StrictInt, StrictStr

from crossrec.recommend import ColdStartMethod, FoldInMethod
from crossrec.recommend.cold_start import DEFAULT_METHOD

RequestId = Annotated[
    Annotated[StrictStr, Field(max_length=512)] | StrictInt | StrictFloat,
    Field(description="An original id."),
]
ResponseId = str | int
"""An id in a response: a number if all ids of the run are integers that JSON readers keep exactly, else text."""
ListLength = Annotated[int, Field(ge=1, description="Length of the list.")]

Fallback = Literal["popular"]
ListName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]


class RunRequest(BaseModel):
    """A request to one run; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    run: int = Field(default=1, ge=1, le=99, description="Number of the served run, from 1.")


class ItemListRequest(RunRequest):
    """A request for a list of items."""

    k: ListLength = 10
    exclude_seen: bool = Field(default=True, description="Leave out the items that the user already has.")
    allow: list[RequestId] | None = Field(default=None, description="Only these items.")
    deny: list[RequestId] | None = Field(default=None, description="Not these items.")
    category: list[Annotated[str, Field(max_length=512)]] | None = Field(
        default=None, max_length=100, description="Only items of these categories."
    )
    allow_list: ListName | None = Field(default=None, description="Only items of this uploaded list.")
    deny_list: ListName | None = Field(default=None, description="No items of this uploaded list.")
    _listed_ids: tuple[tuple[Any, ...] | None, tuple[Any, ...] | None] = PrivateAttr((None, None))

    @property
    def listed_ids(self) -> tuple[tuple[Any, ...] | None, tuple[Any, ...] | None]:
        """The ids of both lists, which the route looks up."""
        return self._listed_ids


class PopularRequest(ItemListRequest):
    """The items that the most people had; those of ``user``, if it is one of the run, are left out."""

    user: RequestId | None = None


class RecommendRequest(ItemListRequest):
    """The best items for a user of the run. ``fallback``: what an unknown user gets, in place of an error."""

    user: RequestId
    fallback: Fallback | None = None
    run: int | None = Field(  # type: ignore[assignment]
        default=None, ge=1, le=99, description="Number of the served run; by default the user's, see --ab-share."
    )


class FeedbackRequest(BaseModel):
    """What a user did with an item of a list."""

    model_config = ConfigDict(extra="forbid")
    user: RequestId
    item: RequestId
    event: str = Field(default="click", pattern=r"^[A-Za-z0-9_-]{1,50}$", description="click, cart, purchase, …")
    run: int | None = Field(default=None, ge=1, le=99, description="As in the answer; by default the user's run.")


class FeedbackResponse(BaseModel):
    """The run that the feedback is counted for."""

    run: int
    identity: str


class HistoryRequest(ItemListRequest):
    """The best items for a user who was not in training, given the items of their history.

    ``fallback``: what they get where the run has none of these items, in place of an error.
    """

    fallback: Fallback | None = None
    items: list[RequestId] = Field(min_length=1)
    how: FoldInMethod = Field(default="ridge", description="How a history becomes a user vector.")


class SimilarRequest(RunRequest):
    """The items most similar to one, by cosine."""

    item: RequestId
    k: ListLength = 10
    by: Annotated[str, Field(max_length=200)] = Field(default="behaviour", description="behaviour, or a modality.")


class ExplainRequest(RunRequest):
    """What a score is made of, for a user of the run or for a history."""

    item: RequestId
    user: RequestId | None = None
    history: list[RequestId] | None = Field(default=None, min_length=1)
    how: FoldInMethod = "ridge"


class NewItemRequest(RunRequest):
    """An item without interactions, by raw features as in the feature files of the run's data set."""

    features: dict[Annotated[str, Field(max_length=200)], list[float]] = Field(min_length=1)
    how: ColdStartMethod = Field(default=DEFAULT_METHOD, description="How content becomes an item vector.")
    k: ListLength = 10


class IdListRequest(BaseModel):
    """The ids of a list, to allow or to deny."""

    model_config = ConfigDict(extra="forbid")
    ids: list[RequestId]


class IdListsResponse(BaseModel):
    """Number of ids of each uploaded list."""

    lists: dict[str, int]


class ErrorResponse(BaseModel):
    """One line about what went wrong."""

    error: str


class ItemSummary(BaseModel):
    """An item with its title and categories from the table of items."""

    id: ResponseId
    title: str | None
    categories: list[str]
    picture: bool = Field(description="Whether /v1/picture has one.")


class RankedItem(ItemSummary):
    """An item in a list. ``seen``: the split in which the user has it, where seen items are not left out."""

    rank: int
    score: float
    seen: Literal["train", "valid", "test"] | None = None


class HistoryItem(ItemSummary):
    """An item of a user's history and its split."""

    seen: Literal["train", "valid", "test"]


class UserSummary(BaseModel):
    """A user and the size of their history."""

    id: ResponseId
    taken: int = Field(description="Items of this user, of all splits.")


class RankedUser(BaseModel):
    """A user in a list."""

    id: ResponseId
    rank: int
    score: float


class RunResponse(BaseModel):
    """``identity``: of the run that answered, as in its model card."""

    identity: str


class ItemListResponse(RunResponse):
    """A list of items, best first; shorter than requested if fewer are left."""

    items: list[RankedItem]
    ignored: int = Field(default=0, description="Ids of the request that are none of this run.")
    warning: str | None = Field(default=None, description="Why no item could be listed, where filters leave none.")
    fallback: Fallback | None = Field(default=None, description="What the list is made of in place of what was asked.")
    run: int | None = Field(default=None, description="Number of the run that answered, where users are split.")


class ExplanationResponse(RunResponse):
    """``parts`` add up to the score where the backbone's item vectors are sums; ``cosine`` and ``aligned`` compare the
    user with the item by behaviour (``id``) and modality, ``aligned`` after the residual aligner (Equation 3)."""

    score: float
    parts: dict[str, float]
    cosine: dict[str, float]
    aligned: dict[str, float]


class NewItemResponse(RunResponse):
    """``vector``: its dot product with a user's vector is the score. ``items``: the nearest ones by behaviour;
    ``users``: those with the highest scores."""

    vector: list[float]
    items: list[RankedItem]
    users: list[RankedUser]


class UserSearchResponse(RunResponse):
    """One page of the matching users, and the number of matches."""

    total: int
    users: list[UserSummary]


class ItemSearchResponse(RunResponse):
    """One page of the matching items, and the number of matches."""

    total: int
    items: list[ItemSummary]


class UserResponse(RunResponse):
    """A user and the first items of their history."""

    id: ResponseId
    taken: int
    history: list[HistoryItem]


class ItemResponse(RunResponse):
    """An item: other columns of its table, number of training users, views that it can be compared by, and the users
    with the highest scores who do not have it."""

    item: ItemSummary
    details: dict[str, str]
    taken: int
    views: list[str]
    users: list[RankedUser]


class ModelCard(BaseModel):
    """What a run was trained on, when, how, and its metrics by split. ``modalities``: number of items with each."""

    run: int
    label: str
    backbone: str
    alignment: str | None
    identity: str
    made: str
    users: int
    items: int
    interactions: dict[str, int]
    dimension: int
    modalities: dict[str, int]
    parts: list[str]
    categories: list[str] = Field(description="At most 200 of them.")
    pictures: bool = Field(description="Whether there is a folder of pictures.")
    metrics: dict[str, dict[str, float]]
    epochs: int | None
    best_epoch: int | None
    versions: dict[str, str]
    config: dict[str, object]


class ModelCardsResponse(BaseModel):
    """The served runs."""

    runs: list[ModelCard]
    max_k: int


class RunHealth(BaseModel):
    """``refused``: why the newest run in this place is not served; null if it is served."""

    run: int
    label: str
    identity: str
    since: str
    swaps: int
    refused: str | None


class HealthResponse(BaseModel):
    """``degraded``: the service answers with an older run because it refused the newest one."""

    status: Literal["ok", "degraded"]
    busy: int = Field(description="Requests in progress or waiting.")
    runs: list[RunHealth]


class ReadyResponse(BaseModel):
    """Whether the service takes requests now."""

    ready: bool


class LiveResponse(BaseModel):
    """The process answers."""

    live: Literal[True] = True
