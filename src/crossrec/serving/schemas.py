"""What is asked and what is answered, as JSON. Ids are the original ones; text stands for a number written so."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr

from crossrec.recommend import ColdStartMethod, FoldInMethod
from crossrec.recommend.cold_start import DEFAULT_METHOD

Id = Annotated[
    Annotated[StrictStr, Field(max_length=512)] | StrictInt | StrictFloat,
    Field(description="An original id."),
]
Told = str | int
"""An id in a reply: a number where all ids of the run are whole numbers that JSON readers keep exactly, else text."""
RunNumber = Annotated[int, Field(ge=1, le=99, description="Which of the served runs, from 1.")]
Length = Annotated[int, Field(ge=1, description="Length of the list.")]


class Asked(BaseModel):
    """A request: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    run: RunNumber = 1


class Filtered(Asked):
    """A request for a list of items."""

    k: Length = 10
    exclude_seen: bool = Field(default=True, description="Leave out the items that are known to be taken already.")
    allow: list[Id] | None = Field(default=None, description="Only these items.")
    deny: list[Id] | None = Field(default=None, description="Not these items.")
    category: list[Annotated[str, Field(max_length=512)]] | None = Field(
        default=None, max_length=100, description="Only items of these categories."
    )


class ForUser(Filtered):
    """The best items for a user of the run."""

    user: Id


class ForHistory(Filtered):
    """The best items for somebody who was not in training, by the items they took."""

    items: list[Id] = Field(min_length=1)
    how: FoldInMethod = Field(default="ridge", description="How a history becomes a user vector.")


class Similar(Asked):
    """The items most similar to one, by cosine."""

    item: Id
    k: Length = 10
    by: Annotated[str, Field(max_length=200)] = Field(default="behaviour", description="behaviour, or a modality.")


class Explain(Asked):
    """What a score is made of: of a user of the run, or of somebody with a history."""

    item: Id
    user: Id | None = None
    history: list[Id] | None = Field(default=None, min_length=1)
    how: FoldInMethod = "ridge"


class Features(Asked):
    """A new item that nobody has touched, by raw features as in the feature files of the run's data set."""

    features: dict[Annotated[str, Field(max_length=200)], list[float]] = Field(min_length=1)
    how: ColdStartMethod = Field(default=DEFAULT_METHOD, description="How content becomes an item vector.")
    k: Length = 10


class Problem(BaseModel):
    """Why there is no answer."""

    error: str


class Item(BaseModel):
    """An item with what the table of items says of it."""

    id: Told
    title: str | None
    categories: list[str]
    picture: bool = Field(description="Whether /v1/picture has one.")


class Ranked(Item):
    """An item in a list. ``seen``: which split knows it of the user, where seen items are not left out."""

    rank: int
    score: float
    seen: Literal["train", "valid"] | None = None


class Answer(BaseModel):
    """``identity``: of the run that answered, as in its card."""

    identity: str


class Items(Answer):
    """A list of items, best first. It is shorter than asked for where fewer are left."""

    items: list[Ranked]


class Explained(Answer):
    """``parts`` add up to the score where the recommender's item vectors are sums; ``cosine`` and ``aligned`` compare
    the user with the item by behaviour (``id``) and modality, ``aligned`` after the residual aligner (Equation 3)."""

    score: float
    parts: dict[str, float]
    cosine: dict[str, float]
    aligned: dict[str, float]


class Fan(BaseModel):
    """A user in a list."""

    id: Told
    rank: int
    score: float


class NewItemAnswer(Answer):
    """``vector``: its dot product with a user's vector is the score. ``items``: the nearest ones by behaviour;
    ``users``: those who score it highest."""

    vector: list[float]
    items: list[Ranked]
    users: list[Fan]


class UserEntry(BaseModel):
    id: Told
    taken: int = Field(description="Items of this user that the run knows of.")


class UserPage(Answer):
    """Some of the users that were searched for, and how many there are."""

    total: int
    users: list[UserEntry]


class ItemPage(Answer):
    """Some of the items that were searched for, and how many there are."""

    total: int
    items: list[Item]


class Taken(Item):
    """An item of a user's history, and the split that it is in."""

    seen: Literal["train", "valid"]


class UserAnswer(Answer):
    """A user, and the first items of their history."""

    id: Told
    taken: int
    history: list[Taken]


class ItemAnswer(Answer):
    """An item: what the table of items says, how many took it in training, by what it can be compared, who of those
    who have not taken it score it highest."""

    item: Item
    details: dict[str, str]
    taken: int
    views: list[str]
    users: list[Fan]


class Card(BaseModel):
    """A run: what was trained, when, on what, how good it is. ``metrics``: by split; ``modalities``: items with it."""

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


class Cards(BaseModel):
    """The served runs."""

    runs: list[Card]
    max_k: int


class RunHealth(BaseModel):
    """``refused``: why a run that came in the place of this one is not served; null where none was refused."""

    run: int
    label: str
    identity: str
    since: str
    swaps: int
    refused: str | None


class Health(BaseModel):
    """``degraded``: it answers, but with an older run than the one that lies there."""

    status: Literal["ok", "degraded"]
    busy: int = Field(description="Requests that are worked on or wait.")
    runs: list[RunHealth]


class Ready(BaseModel):
    ready: bool


class Live(BaseModel):
    live: Literal[True] = True
