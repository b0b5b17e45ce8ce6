"""Answer requests from one run with plain values for JSON. Runs in the computing threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from crossrec.errors import ConfigError, CrossrecError, DataError
from crossrec.ops.csr import csr_rows
from crossrec.recommend.id_map import IdMap, Ints
from crossrec.recommend.recommender import BEHAVIOUR, NO_ROWS, Recommender
from crossrec.serving.presenter import ItemPresenter
from crossrec.serving.schemas import (
    ExplainRequest,
    HistoryRequest,
    ItemListRequest,
    NewItemRequest,
    RecommendRequest,
    SimilarRequest,
)

MAX_HISTORY = 200
"""Items of a history to return."""
LIKELY_USERS = 10
"""Users to return with an item."""
Request = TypeVar("Request")
Result = dict[str, Any] | CrossrecError


class UnknownIdError(DataError):
    """A user or an item that this run does not have."""


class RecommendationService:
    """Answers from one run. Immutable, and safe to call from several threads.

    Methods that take a list of requests return one result or error for each.
    """

    def __init__(self, recommender: Recommender, presenter: ItemPresenter, identity: str) -> None:
        self.recommender, self.presenter, self.identity = recommender, presenter, identity
        self._seen_indptr = recommender.vectors.seen_indptr.numpy()
        self._seen_item = recommender.vectors.seen_item.numpy()
        self._seen_trained = recommender.vectors.seen_trained.numpy()

    def recommend(self, requests: list[RecommendRequest]) -> list[Result]:
        """Lists for users; those without filters come from one matrix product."""
        results: dict[int, Result] = {}
        unfiltered: list[tuple[int, int]] = []
        for index, request in enumerate(requests):
            try:
                row, allowed = _row(self.recommender.users, request.user), self._allowed(request)
            except CrossrecError as error:
                results[index] = error
                continue
            if allowed is None:
                unfiltered.append((index, row))
            else:
                results[index] = self._lists([row], [request], allowed)[0]
        if unfiltered:
            lists = self._lists([row for _, row in unfiltered], [requests[index] for index, _ in unfiltered], None)
            results |= dict(zip((index for index, _ in unfiltered), lists, strict=True))
        return [results[index] for index in range(len(requests))]

    def _lists(self, rows: list[int], requests: list[RecommendRequest], allowed: Ints | None) -> list[Result]:
        row_C = np.asarray(rows)
        index_N, item_N = csr_rows(self._seen_indptr, self._seen_item, row_C)
        is_hidden_N = np.asarray([request.exclude_seen for request in requests])[index_N]
        hidden = (index_N[is_hidden_N], item_N[is_hidden_N]) if is_hidden_N.any() else None
        user_CS = self.recommender.vectors.user_US[torch.from_numpy(row_C)]
        item_CK, score_CK = self.recommender.top(user_CS, max(request.k for request in requests), hidden, allowed)
        results: list[Result] = []
        for request, row, item_K, score_K in zip(requests, rows, item_CK, score_CK, strict=True):
            items = self._ranked_items(item_K[: request.k], score_K[: request.k])
            if not request.exclude_seen:
                splits = self._splits(row)
                for item, item_row in zip(items, item_K[: len(items)].tolist(), strict=True):
                    item["seen"] = splits.get(item_row)
            results.append(self._response(items=items))
        return results

    def recommend_for_history(self, request: HistoryRequest) -> dict[str, Any]:
        """A list for a user who was not in training."""
        history_N = np.unique(self._item_rows(request.items))
        user_S = self.recommender.history_vector(request.items, request.how)
        hidden = (np.zeros(len(history_N), dtype=np.int64), history_N) if request.exclude_seen else None
        item_CK, score_CK = self.recommender.top(user_S[None], request.k, hidden, self._allowed(request))
        return self._response(items=self._ranked_items(item_CK[0], score_CK[0]))

    def similar(self, requests: list[SimilarRequest]) -> list[Result]:
        """Neighbors of items; those by the same view come from one matrix product."""
        results: dict[int, Result] = {}
        by_view: dict[str, list[tuple[int, int]]] = {}
        for index, request in enumerate(requests):
            try:
                row = self.item_row(request.item)
            except CrossrecError as error:
                results[index] = error
            else:
                by_view.setdefault(request.by, []).append((index, row))
        for by, members in by_view.items():
            indexes, rows = [index for index, _ in members], [row for _, row in members]
            try:
                lists = self._neighbors(rows, [requests[index].k for index in indexes], by)
            except CrossrecError as error:
                lists = [error] * len(members)
            results |= dict(zip(indexes, lists, strict=True))
        return [results[index] for index in range(len(requests))]

    def _neighbors(self, rows: list[int], lengths: list[int], by: str) -> list[Result]:
        """Lists for item rows; an empty one for an item that this view lacks."""
        row_C, item_CK, score_CK = self.recommender.nearest(np.asarray(rows), max(lengths), by)
        list_of_row = dict(zip(row_C.tolist(), zip(item_CK, score_CK, strict=True), strict=True))
        empty = torch.zeros(0, dtype=torch.int64), torch.zeros(0)
        lists = [list_of_row.get(row, empty) for row in rows]
        return [
            self._response(items=self._ranked_items(item_K[:k], score_K[:k]))
            for (item_K, score_K), k in zip(lists, lengths, strict=True)
        ]

    def explain(self, request: ExplainRequest) -> dict[str, Any]:
        """What a score is made of."""
        if (request.user is None) == (request.history is None):
            raise ConfigError("user, history: give one of them")
        self.item_row(request.item)
        if request.history is not None:
            self._item_rows(request.history)
            explanation = self.recommender.explain_history(request.history, request.item, request.how)
        else:
            _row(self.recommender.users, request.user)
            explanation = self.recommender.explain(request.user, request.item)
        return self._response(**explanation)

    def new_item(self, request: NewItemRequest) -> dict[str, Any]:
        """The vector of an item without interactions, its nearest items, and the users who score it highest."""
        vector_S = self.recommender.item_from_features(request.features, request.how)
        items = self._ranked_items(*self.recommender.like(vector_S, request.k))
        return self._response(vector=vector_S.tolist(), items=items, users=self._ranked_users(vector_S, request.k))

    def search_users(self, words: str, offset: int, limit: int) -> dict[str, Any]:
        """Users by a part of their id."""
        rows, total = self.presenter.users.search(words, offset, limit)
        counts = self._seen_indptr[rows + 1] - self._seen_indptr[rows]
        pairs = zip(self.presenter.users.response_ids(rows), counts.tolist(), strict=True)
        return self._response(total=total, users=[{"id": id, "taken": count} for id, count in pairs])

    def search_items(self, words: str, offset: int, limit: int) -> dict[str, Any]:
        """Items by a part of their id or title."""
        rows, total = self.presenter.items.search(words, offset, limit)
        return self._response(total=total, items=self.presenter.summaries(rows))

    def user(self, user: Any) -> dict[str, Any]:
        """A user and the first items of their history."""
        row = _row(self.recommender.users, user)
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

    def item_row(self, item: Any) -> int:
        """The row of an item. Raises UnknownIdError."""
        return _row(self.recommender.items, item)

    def _response(self, **fields: Any) -> dict[str, Any]:
        return {"identity": self.identity, **fields}

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
        span = slice(self._seen_indptr[row], self._seen_indptr[row + 1])
        return {
            item: "train" if trained else "valid"
            for item, trained in zip(self._seen_item[span].tolist(), self._seen_trained[span].tolist(), strict=True)
        }

    def _allowed(self, request: ItemListRequest) -> Ints | None:
        return self.recommender.allowed(request.allow, request.deny, request.category)

    def _item_rows(self, items: Iterable[Any]) -> Ints:
        return np.asarray([self.item_row(item) for item in items], dtype=np.int64)


def _row(id_map: IdMap, id: Any) -> int:
    row = id_map.row(id)
    if row is None:
        raise UnknownIdError(f"{id_map.what} {id!r} is none of the {len(id_map)} {id_map.what}s of this run")
    return row


def each(function: Callable[[Request], dict[str, Any]]) -> Callable[[list[Request]], list[Result]]:
    """Turn a function of one request into a function of a list of requests."""

    def batch_function(requests: list[Request]) -> list[Result]:
        results: list[Result] = []
        for request in requests:
            try:
                results.append(function(request))
            except CrossrecError as error:
                results.append(error)
        return results

    return batch_function
