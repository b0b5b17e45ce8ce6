"""What one run answers: questions in, plain values for JSON out. Runs in the threads that compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from crossrec.errors import ConfigError, CrossrecError, DataError
from crossrec.ops.csr import csr_rows
from crossrec.recommend.id_map import IdMap, Ints
from crossrec.recommend.recommender import BEHAVIOUR, Recommender
from crossrec.serving.presenter import Shelf
from crossrec.serving.schemas import Explain, Features, Filtered, ForHistory, ForUser, Similar

HISTORY = 200
"""Items of a history that are shown."""
FANS = 10
"""Users that are shown beside an item."""
Q = TypeVar("Q")
Result = dict[str, Any] | CrossrecError


class UnknownError(DataError):
    """A user or an item that this run does not have."""


class Answers:
    """Answers from one run. It never changes, and may be asked from several threads.

    Functions of a list answer many questions at once, each with its answer or with what is wrong with it.
    """

    def __init__(self, recommender: Recommender, shelf: Shelf, identity: str) -> None:
        self.recommender, self.shelf, self.identity = recommender, shelf, identity
        self._indptr = recommender.vectors.seen_indptr.numpy()
        self._seen = recommender.vectors.seen_item.numpy()
        self._trained = recommender.vectors.seen_trained.numpy()

    def recommended(self, asked: list[ForUser]) -> list[Result]:
        """Lists for users; those without filters come from one product."""
        done: dict[int, Result] = {}
        together: list[tuple[int, int]] = []
        for place, one in enumerate(asked):
            try:
                row, allowed = self._user(one.user), self._allowed(one)
            except CrossrecError as error:
                done[place] = error
                continue
            if allowed is None:
                together.append((place, row))
            else:
                done[place] = self._lists([row], [one], allowed)[0]
        if together:
            lists = self._lists([row for _, row in together], [asked[place] for place, _ in together], None)
            done |= dict(zip((place for place, _ in together), lists, strict=True))
        return [done[place] for place in range(len(asked))]

    def _lists(self, rows: list[int], asked: list[ForUser], allowed: Ints | None) -> list[Result]:
        row_C = np.asarray(rows)
        place, item = csr_rows(self._indptr, self._seen, row_C)
        keep = np.asarray([one.exclude_seen for one in asked])[place]
        user_CS = self.recommender.vectors.user_US[torch.from_numpy(row_C)]
        hidden = (place[keep], item[keep]) if keep.any() else None
        item_CK, score_CK = self.recommender.top(user_CS, max(one.k for one in asked), hidden, allowed)
        made: list[Result] = []
        for one, row, item_K, score_K in zip(asked, rows, item_CK, score_CK, strict=True):
            items = self._ranked(item_K[: one.k], score_K[: one.k])
            if not one.exclude_seen:
                seen = self._splits(row)
                shown = item_K[: len(items)].tolist()
                for told, item_row in zip(items, shown, strict=True):
                    told["seen"] = seen.get(item_row)
            made.append(self._answer(items=items))
        return made

    def for_history(self, one: ForHistory) -> dict[str, Any]:
        """A list for somebody who was not in training."""
        history = np.unique(self._items(one.items))
        vector_S = self.recommender.history_vector(one.items, one.how)
        hidden = (np.zeros(len(history), dtype=np.int64), history) if one.exclude_seen else None
        item_CK, score_CK = self.recommender.top(vector_S[None], one.k, hidden, self._allowed(one))
        return self._answer(items=self._ranked(item_CK[0], score_CK[0]))

    def similar(self, asked: list[Similar]) -> list[Result]:
        """Neighbours of items; those by the same vectors come from one product."""
        done: dict[int, Result] = {}
        together: dict[str, list[tuple[int, int]]] = {}
        for place, one in enumerate(asked):
            try:
                row = self._item(one.item)
            except CrossrecError as error:
                done[place] = error
            else:
                together.setdefault(one.by, []).append((place, row))
        for by, members in together.items():
            places, rows = [place for place, _ in members], [row for _, row in members]
            try:
                lists = self._neighbours(rows, [asked[place].k for place in places], by)
            except CrossrecError as error:
                lists = [error] * len(members)
            done |= dict(zip(places, lists, strict=True))
        return [done[place] for place in range(len(asked))]

    def _neighbours(self, rows: list[int], lengths: list[int], by: str) -> list[Result]:
        """Lists for item rows; empty for one that has no place in this view."""
        asked_C, item_CK, score_CK = self.recommender.nearest(np.asarray(rows), max(lengths), by)
        found = dict(zip(asked_C.tolist(), zip(item_CK, score_CK, strict=True), strict=True))
        nothing = torch.zeros(0, dtype=torch.int64), torch.zeros(0)
        lists = [found.get(row, nothing) for row in rows]
        return [
            self._answer(items=self._ranked(item_K[:k], score_K[:k]))
            for (item_K, score_K), k in zip(lists, lengths, strict=True)
        ]

    def explained(self, one: Explain) -> dict[str, Any]:
        """What a score is made of."""
        if (one.user is None) == (one.history is None):
            raise ConfigError("user, history: give one of them")
        self._item(one.item)
        if one.history is not None:
            self._items(one.history)
            return self._answer(**self.recommender.explain_history(one.history, one.item, one.how))
        self._user(one.user)
        return self._answer(**self.recommender.explain(one.user, one.item))

    def new_item(self, one: Features) -> dict[str, Any]:
        """The vector of an item that nobody has touched, the items nearest to it, and who would like it."""
        vector_S = self.recommender.item_from_features(one.features, one.how)
        item_K, score_K = self.recommender.like(vector_S, one.k)
        return self._answer(
            vector=vector_S.tolist(), items=self._ranked(item_K, score_K), users=self._fans(vector_S, one.k)
        )

    def users(self, words: str, offset: int, limit: int) -> dict[str, Any]:
        """Users by a part of their id."""
        rows, total = self.shelf.users.search(words, offset, limit)
        taken = self._indptr[rows + 1] - self._indptr[rows]
        told = zip(self.shelf.users.told(rows), taken.tolist(), strict=True)
        return self._answer(total=total, users=[{"id": one, "taken": count} for one, count in told])

    def items(self, words: str, offset: int, limit: int) -> dict[str, Any]:
        """Items by a part of their id or title."""
        rows, total = self.shelf.items.search(words, offset, limit)
        return self._answer(total=total, items=self.shelf.show(rows))

    def user(self, user: Any) -> dict[str, Any]:
        """A user and the items they took."""
        row = self._user(user)
        splits = self._splits(row)
        shown = np.asarray(list(splits)[:HISTORY], dtype=np.int64)
        history = [told | {"seen": splits[item]} for told, item in zip(self.shelf.show(shown), shown, strict=True)]
        return self._answer(id=self.shelf.users.told(np.asarray([row]))[0], taken=len(splits), history=history)

    def item(self, item: Any) -> dict[str, Any]:
        """An item, and who would like it."""
        row = self._item(item)
        vectors = self.recommender.vectors
        without = self.recommender.users_of(item)
        known = bool(self.recommender.vectors.has_vector[row])
        return self._answer(
            item=self.shelf.show(np.asarray([row]))[0],
            details=self.shelf.details(row),
            taken=int(vectors.degree_I[row]),
            views=[
                *([BEHAVIOUR] if known else []),
                *(m for m, table in vectors.modality_IL.items() if bool((table[row] != 0).any())),
            ],
            users=self._fans(vectors.item_IS[row], FANS, without) if known else [],
        )

    def row(self, item: Any) -> int:
        """The row of an item."""
        return self._item(item)

    def _answer(self, **fields: Any) -> dict[str, Any]:
        return {"identity": self.identity, **fields}

    def _ranked(self, item_K: Tensor, score_K: Tensor) -> list[dict[str, Any]]:
        there = score_K > -torch.inf
        scores = score_K[there].tolist()
        shown = self.shelf.show(item_K[there].numpy())
        return [
            told | {"rank": rank, "score": score, "seen": None}
            for rank, (told, score) in enumerate(zip(shown, scores, strict=True), 1)
        ]

    def _fans(self, vector_S: Tensor, k: int, without: Ints | None = None) -> list[dict[str, Any]]:
        row, score = self.recommender.audience(vector_S, k, np.zeros(0, np.int64) if without is None else without)
        there = score > -torch.inf
        told = zip(self.shelf.users.told(row[there].numpy()), score[there].tolist(), strict=True)
        return [{"id": one, "rank": rank, "score": value} for rank, (one, value) in enumerate(told, 1)]

    def _splits(self, row: int) -> dict[int, str]:
        """The split of each item row that a user has taken."""
        span = slice(self._indptr[row], self._indptr[row + 1])
        return {
            item: "train" if trained else "valid"
            for item, trained in zip(self._seen[span].tolist(), self._trained[span].tolist(), strict=True)
        }

    def _allowed(self, one: Filtered) -> Ints | None:
        return self.recommender.allowed(one.allow, one.deny, one.category)

    def _user(self, user: Any) -> int:
        return _row(self.recommender.users, user)

    def _item(self, item: Any) -> int:
        return _row(self.recommender.items, item)

    def _items(self, items: Iterable[Any]) -> Ints:
        return np.asarray([self._item(one) for one in items], dtype=np.int64)


def _row(known: IdMap, one: Any) -> int:
    row = known.row(one)
    if row is None:
        raise UnknownError(f"{known.what} {one!r} is none of the {len(known)} {known.what}s of this run")
    return row


def each(answer: Callable[[Q], dict[str, Any]]) -> Callable[[list[Q]], list[Result]]:
    """A function of many questions from one of one."""

    def answers(asked: list[Q]) -> list[Result]:
        made: list[Result] = []
        for one in asked:
            try:
                made.append(answer(one))
            except CrossrecError as error:
                made.append(error)
        return made

    return answers
