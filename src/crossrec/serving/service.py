"""Answer requests from one run with plain values for JSON. Runs in the computing threads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossrec.errors import ConfigError, DataError
from crossrec.ops.csr import Bools, Ints
from crossrec.recommend.event_log import Popularity
from crossrec.recommend.id_map import IdMap
from crossrec.recommend.lists import BEHAVIOUR, NO_ITEM_LEFT, NO_ROWS
from crossrec.recommend.recommender import Recommender
from crossrec.serving import schemas as s
from crossrec.serving.id_lists import MAX_LISTS
from crossrec.serving.presenter import ItemPresenter, read_image

MAX_HISTORY = 200
"""Items of a history to return."""
LIKELY_USERS = 10
"""Users to return with an item."""


class UnknownIdError(DataError):
    """A user or an item that this run does not have."""


class RecommendationService:
    """Answers from one run. Immutable, and safe to call from several threads.

    ``card``: the run's model card. ``where``: a condition on columns of the table of items, which every item of a list
    meets. ``popularity``: what is popular; by default of all interactions of the run. Methods that take a list of
    requests return a response to each.
    """

    def __init__(
        self,
        recommender: Recommender,
        presenter: ItemPresenter,
        card: dict[str, Any],
        *,
        where: str | None = None,
        popularity: Popularity | None = None,
    ) -> None:
        self.recommender, self.presenter, self.card = recommender, presenter, card
        self.popularity = Popularity.of_run(recommender.vectors) if popularity is None else popularity
        self._offered = recommender.allowed(where=where)
        self._masks: dict[int, tuple[tuple[Any, ...], Bools]] = {}

    def recommend(self, requests: list[s.RecommendRequest]) -> list[dict[str, Any]]:
        """Lists for users, from one matrix product. The requests have the same filters."""
        row_C = _rows(self.recommender.users, [request.user for request in requests])
        index_N, item_N = self.recommender.seen_rows(row_C)
        is_hidden_N = np.asarray([request.exclude_seen for request in requests])[index_N]
        hidden = (index_N[is_hidden_N], item_N[is_hidden_N]) if is_hidden_N.any() else None
        user_CS, k = self.recommender.vectors.user_US[torch.from_numpy(row_C)], max(request.k for request in requests)
        allowed, ignored = self._allowed(requests[0])
        item_CK, score_CK = self.recommender.top(user_CS, k, hidden, allowed)
        responses = []
        for request, row, item_K, score_K in zip(requests, row_C.tolist(), item_CK, score_CK, strict=True):
            items = self._ranked_items(item_K[: request.k], score_K[: request.k])
            if not request.exclude_seen:
                splits = self._splits(row)
                for item, item_row in zip(items, item_K[: len(items)].tolist(), strict=True):
                    item["seen"] = splits.get(item_row)
            responses.append(self._list_response(items, ignored, allowed))
        return responses

    def popular(self, request: s.PopularRequest) -> dict[str, Any]:
        """The items that the most people had. A user who is none of the run has nothing that could be left out."""
        allowed, ignored = self._allowed(request)
        row = None if request.user is None else self.recommender.users.row(request.user)
        hidden = None
        if row is not None and request.exclude_seen:
            hidden = self.recommender.seen_rows(np.asarray([row]))[1]
        item_K, count_K = (torch.from_numpy(part) for part in self.popularity.top(request.k, allowed, hidden))
        return self._list_response(self._ranked_items(item_K, count_K.float()), ignored, allowed)

    def recommend_for_history(self, request: s.HistoryRequest) -> dict[str, Any]:
        """A list for a user who was not in training."""
        history, unknown = self._known_items(request.items)
        allowed, ignored = self._allowed(request)
        history_N = self.recommender.items.rows(history)
        lists = self.recommender.top_for_history(history_N, request.k, request.how, request.exclude_seen, allowed)
        return self._list_response(self._ranked_items(*lists), unknown + ignored, allowed)

    def similar(self, requests: list[s.SimilarRequest]) -> list[dict[str, Any]]:
        """Neighbors of items by one view, from one matrix product; none of an item that the view lacks."""
        row_C = _rows(self.recommender.items, [request.item for request in requests])
        k, index = max(request.k for request in requests), self.recommender.index(requests[0].by)
        row_V, item_VK, score_VK = index.neighbors(row_C, k)
        neighbors = dict(zip(row_V.tolist(), zip(item_VK, score_VK, strict=True), strict=True))
        no_neighbors = torch.zeros(0, dtype=torch.int64), torch.zeros(0)
        responses = []
        for request, row in zip(requests, row_C.tolist(), strict=True):
            item_K, score_K = neighbors.get(row, no_neighbors)
            responses.append(self._response(items=self._ranked_items(item_K[: request.k], score_K[: request.k])))
        return responses

    def explain(self, request: s.ExplainRequest) -> dict[str, Any]:
        """What a score is made of."""
        if (request.user is None) == (request.history is None):
            raise ConfigError("user, history: give one of them")
        self.item_row(request.item)
        if request.history is not None:
            history, _ = self._known_items(request.history)
            explanation = self.recommender.explain_history(history, request.item, request.how)
        else:
            self.user_row(request.user)
            explanation = self.recommender.explain(request.user, request.item)
        return self._response(**explanation)

    def new_item(self, request: s.NewItemRequest) -> dict[str, Any]:
        """The vector of an item without interactions, its nearest items, and the users who score it highest."""
        vector_S = self.recommender.item_from_features(request.features, request.how)
        items = self._ranked_items(*self.recommender.like(vector_S, request.k))
        return self._response(vector=vector_S.tolist(), items=items, users=self._ranked_users(vector_S, request.k))

    def search_users(self, words: str, offset: int, limit: int) -> dict[str, Any]:
        """Users by a part of their id."""
        rows, total = self.presenter.users.search(words, offset, limit)
        indptr = self.recommender.vectors.seen_indptr.numpy()
        counts = indptr[rows + 1] - indptr[rows]
        pairs = zip(self.presenter.users.response_ids(rows), counts.tolist(), strict=True)
        return self._response(total=total, users=[{"id": id, "taken": count} for id, count in pairs])

    def search_items(self, words: str, offset: int, limit: int) -> dict[str, Any]:
        """Items by a part of their id or title."""
        rows, total = self.presenter.items.search(words, offset, limit)
        return self._response(total=total, items=self.presenter.summaries(rows))

    def user(self, user: Any) -> dict[str, Any]:
        """A user and the first items of their history."""
        row = self.user_row(user)
        splits = self._splits(row)
        item_rows = np.asarray(list(splits)[:MAX_HISTORY], dtype=np.int64)
        summaries = zip(self.presenter.summaries(item_rows), item_rows, strict=True)
        history = [summary | {"seen": splits[item]} for summary, item in summaries]
        return self._response(
            id=self.presenter.users.response_ids(np.asarray([row]))[0], taken=len(splits), history=history
        )

    def item(self, item: Any) -> dict[str, Any]:
        """An item, and the users who score it highest and do not have it."""
        row, vectors = self.item_row(item), self.recommender.vectors
        has_vector = bool(vectors.has_vector[row])
        modalities = [m for m, x_IL in vectors.modality_IL.items() if bool((x_IL[row] != 0).any())]
        without = self.recommender.users_of(item)
        return self._response(
            item=self.presenter.summaries(np.asarray([row]))[0],
            details=self.presenter.details(row),
            taken=int(vectors.degree_I[row]),
            views=[*([BEHAVIOUR] if has_vector else []), *modalities],
            users=self._ranked_users(vectors.item_IS[row], LIKELY_USERS, without) if has_vector else [],
        )

    def has_item(self, item: Any) -> bool:
        """Whether the run has an item."""
        return self.recommender.items.row(item) is not None

    def user_row(self, user: Any) -> int:
        """The row of a user. Raises UnknownIdError."""
        return int(_rows(self.recommender.users, [user])[0])

    def item_row(self, item: Any) -> int:
        """The row of an item. Raises UnknownIdError."""
        return int(_rows(self.recommender.items, [item])[0])

    def picture(self, item: Any) -> tuple[bytes, str] | None:
        """Content and media type of the picture of an item, if there is one."""
        path = self.presenter.picture_path(self.item_row(item))
        return None if path is None else read_image(path)

    def _list_response(self, items: list[dict[str, Any]], ignored: int, allowed: Bools | None) -> dict[str, Any]:
        present = self.recommender.items.present
        is_empty = allowed is not None and not items and not allowed[present].any()
        warning = f"{NO_ITEM_LEFT} by the filters of the request and the service" if is_empty else None
        return self._response(items=items, ignored=ignored, warning=warning)

    def _response(self, **fields: Any) -> dict[str, Any]:
        return {"identity": self.card["identity"], **fields}

    def _ranked_items(self, item_K: Tensor, score_K: Tensor) -> list[dict[str, Any]]:
        is_item = score_K > -torch.inf
        scored = zip(self.presenter.summaries(item_K[is_item].numpy()), score_K[is_item].tolist(), strict=True)
        return [
            summary | {"rank": rank, "score": score, "seen": None} for rank, (summary, score) in enumerate(scored, 1)
        ]

    def _ranked_users(self, vector_S: Tensor, k: int, without: Ints = NO_ROWS) -> list[dict[str, Any]]:
        row_K, score_K = self.recommender.audience(vector_S, k, without)
        is_user = score_K > -torch.inf
        ids = self.presenter.users.response_ids(row_K[is_user].numpy())
        scored = zip(ids, score_K[is_user].tolist(), strict=True)
        return [{"id": id, "rank": rank, "score": score} for rank, (id, score) in enumerate(scored, 1)]

    def _splits(self, row: int) -> dict[int, str]:
        """The split of each item row in a user's history."""
        vectors = self.recommender.vectors
        span = slice(*vectors.seen_indptr[row : row + 2].tolist())
        return dict(zip(vectors.seen_item[span].tolist(), vectors.splits(span), strict=True))

    def _allowed(self, request: s.ItemListRequest) -> tuple[Bools | None, int]:
        """Which items a request may get, (I,), None for all; and how many of its ids are none of the run."""
        allow, unknown = (None, 0) if request.allow is None else self._known_items(request.allow, DataError)
        deny = [id for id in request.deny or () if self.recommender.items.row(id) is not None]
        allowed = self.recommender.allowed(allow, deny or None, request.category)
        on_allow, on_deny = (None if ids is None else self._mask(ids) for ids in request.listed_ids)
        on_neither = None if on_deny is None else ~on_deny
        masks = [mask for mask in (allowed, self._offered, on_allow, on_neither) if mask is not None]
        return (np.logical_and.reduce(masks) if masks else None), unknown + len(request.deny or ()) - len(deny)

    def _mask(self, ids: tuple[Any, ...]) -> Bools:
        """Which items are on an uploaded list, (I,). Computed once for each list."""
        if (cached := self._masks.get(id(ids))) is not None:
            return cached[1]
        mask_I = np.zeros(len(self.recommender.items), dtype=bool)
        mask_I[self.recommender.items.split(ids)[0]] = True
        if len(self._masks) >= MAX_LISTS:
            self._masks.clear()
        self._masks[id(ids)] = ids, mask_I  # with ids, so that no other list gets the same number
        return mask_I

    def _known_items(self, ids: list[Any], error: type[DataError] = UnknownIdError) -> tuple[list[Any], int]:
        """The ids that are items of the run, and how many others there are. Raises ``error`` where none is."""
        items = self.recommender.items
        of_run = [id for id in ids if items.row(id) is not None]
        if ids and not of_run:
            raise error(f"item {ids[0]!r} is none of the {len(items.present)} items of this run")
        return of_run, len(ids) - len(of_run)


def _rows(id_map: IdMap, ids: Iterable[Any]) -> Ints:
    """The rows of ids. Raises UnknownIdError."""
    try:
        return id_map.rows(ids)
    except DataError as error:
        raise UnknownIdError(str(error)) from None
