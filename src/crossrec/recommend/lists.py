"""Lists of the items of a finished run: for its users, by vectors, similar items, and who likes an item."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor

from crossrec.errors import ConfigError, setting
from crossrec.lazy import polars as pl
from crossrec.ops.csr import Bools, Ints, csr_rows
from crossrec.ops.topk import CosineIndex, exact_topk, max_norm, users_per_chunk
from crossrec.ops.vectors import l2_normalize
from crossrec.recommend.diversity import CANDIDATES, rerank
from crossrec.recommend.id_map import IdMap, Unknown
from crossrec.recommend.item_table import ItemTable
from crossrec.runs.embeddings import TrainedEmbeddings

log = logging.getLogger(__name__)
BEHAVIOUR = "behaviour"
"""The default view of ``similar``: the vectors that rank items."""
MAX_LENGTH = 1_000_000
"""Longest list."""
NO_ITEM_LEFT = "no item of the run is left"
"""What a warning says where filters leave nothing to choose from."""
NO_ROWS = np.zeros(0, dtype=np.int64)


class ItemFilters(TypedDict, total=False):
    """Keyword arguments that restrict lists to some items, by original ids and categories; see ``recommend``."""

    allow: Iterable[Any] | None
    deny: Iterable[Any] | None
    category: str | Iterable[str] | None
    where: str | None
    unknown: Unknown


class ItemLists:
    """The lists of a trained run; ``Recommender`` adds training, people and items that are new, and explanations.

    ``users``, ``items``: the original ids (``IdMap``). ``vectors``: all vectors of the run (``TrainedEmbeddings``).
    ``item_table``: further columns of the items, or None. All methods may be called from several threads.
    """

    def __init__(
        self,
        vectors: TrainedEmbeddings,
        users: IdMap,
        items: IdMap,
        item_table: ItemTable | None = None,
        *,
        run: Path | None = None,
    ) -> None:
        """``run``: the folder of the run; if it has a content graph, new items need it."""
        self.vectors, self.users, self.items, self.item_table, self.run = vectors, users, items, item_table, run
        self._indexes: dict[str, CosineIndex] = {}
        self._is_derived = False

    def __repr__(self) -> str:
        return (
            f"Recommender({self.label}, {len(self.users)} users, {len(self.items)} items, "
            f"dimension {self.vectors.user_US.shape[1]}, modalities: {', '.join(self.modalities) or 'none'})"
        )

    @property
    def label(self) -> str:
        """Backbone and alignment, e.g. ``lightgcn+cross``."""
        alignment = self.vectors.alignment
        return self.vectors.backbone if alignment is None else f"{self.vectors.backbone}+{alignment}"

    @property
    def modalities(self) -> tuple[str, ...]:
        """Content modalities that ``similar`` and ``explain`` can use."""
        return tuple(self.vectors.modality_IL)

    def seen(self, user: Any) -> list[Any]:
        """Ids of the items of a user, of all splits."""
        return self.items.ids.gather(self.seen_rows(self.users.rows([user]))[1]).to_list()

    def seen_rows(self, user_C: Ints) -> tuple[Ints, Ints]:
        """Items of user rows, of all splits: (position in ``user_C``, item row), sorted."""
        return csr_rows(self.vectors.seen_indptr.numpy(), self.vectors.seen_item.numpy(), user_C)

    def recommend(
        self,
        users: Iterable[Any] | None = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        allow: Iterable[Any] | None = None,
        deny: Iterable[Any] | None = None,
        category: str | Iterable[str] | None = None,
        where: str | None = None,
        unknown: Unknown = "ignore",
        diversity: float = 0.0,
        max_per_category: int | None = None,
    ) -> pl.DataFrame:
        """The k best items of each user: columns user, rank (from 1), item, score, in order of users and ranks.

        ``users``: original ids; by default all users. ``exclude_seen``: leave out the items that a user has, those of
        training, validation and test. ``allow``: only these items; ``deny``: not these; ``category``: only items of
        these categories (of the table of items); ``where``: only items for which this SQL expression over its columns
        holds, such as ``stock > 0 and price < 50``. ``unknown``: ``ignore`` leaves out items of ``allow`` and ``deny``
        that are none of the run, and logs it, unless none of ``allow`` is left; ``error`` refuses them. ``diversity``,
        0 to 1: how much unlikeness counts beside the score when each place is filled
        (``crossrec.recommend.diversity``); ``max_per_category``: most items of one category in a list, by the table of
        items. A user for whom fewer than k items are left has fewer rows; a warning is logged where none is left for
        anybody. Raises ConfigError for k < 1 and for ``category`` and ``where`` without a table, DataError naming an
        unknown id or category, or what is wrong with ``where``.
        """
        filters = ItemFilters(allow=allow, deny=deny, category=category, where=where, unknown=unknown)
        lists = self.stream(
            users, k, exclude_seen=exclude_seen, diversity=diversity, max_per_category=max_per_category, **filters
        )
        return pl.concat([self.empty(), *lists])

    def empty(self) -> pl.DataFrame:
        """A frame without rows, with the columns and types of ``recommend``."""
        return self._frame(self.users, NO_ROWS, torch.zeros(0, 0, dtype=torch.int64), torch.zeros(0, 0))

    def stream(
        self,
        users: Iterable[Any] | None = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        chunk: int | None = None,
        diversity: float = 0.0,
        max_per_category: int | None = None,
        rows: Ints | None = None,
        **filters: Unpack[ItemFilters],
    ) -> Iterator[pl.DataFrame]:
        """``recommend`` in frames of ``chunk`` users; the chunk size changes only how much memory it takes.

        ``rows``: rows of users, instead of ``users`` by their ids.

        Raises what ``recommend`` raises at once, before the first frame.
        """
        check_k(k)
        if chunk is not None and chunk < 1:
            raise ConfigError(f"chunk = {chunk}: give a number of users >= 1")
        everybody = self.users.present if rows is None else rows
        user_N = everybody if users is None else self.users.rows(users)
        allowed, top = self.allowed(**filters), self.search(diversity, max_per_category)
        candidates = k if top == self.top else CANDIDATES * k
        return self._stream(
            user_N, k, exclude_seen, allowed, chunk or users_per_chunk(len(self.items), candidates), top
        )

    def search(self, diversity: float, max_per_category: int | None) -> Callable[..., tuple[Tensor, Tensor]]:
        """``top``, or ``diverse_top`` with these settings. Raises ConfigError as ``recommend`` does."""
        if not 0 <= diversity <= 1:
            raise ConfigError(f"{setting('diversity')} = {diversity}: give 0 (by score alone) to 1")
        if max_per_category is not None and max_per_category < 1:
            raise ConfigError(f"{setting('max_per_category')} = {max_per_category}: give 1 or more")
        if not diversity and max_per_category is None:
            return self.top
        category_I = None if max_per_category is None else self._table("max_per_category").category_I
        return partial(self._diverse_top, diversity=diversity, category_I=category_I, most=max_per_category)

    def _diverse_top(
        self,
        user_CS: Tensor,
        k: int,
        hidden: tuple[Ints, Ints] | None,
        allowed: Bools | None,
        *,
        diversity: float,
        category_I: Ints | None,
        most: int | None,
    ) -> tuple[Tensor, Tensor]:
        """``top`` chosen for diversity from the best ``CANDIDATES`` k; from all items where a limit leaves too few."""
        count = CANDIDATES * k
        while True:
            item_CM, score_CM = self.top(user_CS, count, hidden, allowed)
            chosen = rerank(
                item_CM, score_CM, k, self.vectors.item_IS, diversity=diversity, category_I=category_I, most=most
            )
            too_few = (chosen[1] == -torch.inf).any() and (score_CM[:, -1] > -torch.inf).any()
            if not too_few or count >= len(self.items):
                return chosen
            count *= 4

    def _stream(
        self,
        user_N: Ints,
        k: int,
        exclude_seen: bool,
        allowed: Bools | None,
        chunk: int,
        top: Callable[..., tuple[Tensor, Tensor]],
    ) -> Iterator[pl.DataFrame]:
        for start in range(0, len(user_N), chunk):
            user_C = user_N[start : start + chunk]
            hidden = self.seen_rows(user_C) if exclude_seen else None
            item_CK, score_CK = top(self.vectors.user_US[torch.from_numpy(user_C)], k, hidden, allowed)
            yield self._frame(self.users, user_C, item_CK, score_CK)

    def top(
        self, user_CS: Tensor, k: int, hidden: tuple[Ints, Ints] | None = None, allowed: Bools | None = None
    ) -> tuple[Tensor, Tensor]:
        """Rows and scores of the best items for any user vectors, (C, ≤ k); score -inf where no item is left.

        Items that are absent are never among them.

        ``hidden``: (row of ``user_CS``, item row) pairs to leave out; ``allowed``: which items to choose from, (I,).
        """
        item_IS = self.vectors.item_IS
        if self.items.absent is not None:
            allowed = ~self.items.absent if allowed is None else allowed & ~self.items.absent
        search = partial(exact_topk, user_CS, max_item_norm=self._max_item_norm)
        if allowed is None or 2 * allowed.sum() > len(item_IS):  # cheaper to hide a few items than to copy all others
            excluded = None if allowed is None else np.flatnonzero(~allowed)
            return search(item_IS, k, hidden, item_SA=self._item_SI, excluded=excluded)
        item_A = np.flatnonzero(allowed)
        if hidden is not None:
            row_N, item_N = (part[allowed[hidden[1]]] for part in hidden)
            hidden = row_N, np.searchsorted(item_A, item_N)
        position_CK, score_CK = search(item_IS[item_A], k, hidden)
        return torch.from_numpy(item_A)[position_CK], score_CK

    @cached_property
    def _max_item_norm(self) -> float:
        return max_norm(self.vectors.item_IS)

    @cached_property
    def _item_SI(self) -> Tensor:
        return self.vectors.item_IS.T.contiguous()

    def similar(self, items: Iterable[Any], k: int = 10, *, by: str = BEHAVIOUR) -> pl.DataFrame:
        """The k most similar other items of each item, by cosine: columns item, rank, similar, score.

        ``by``: ``behaviour``, the vectors that rank items; or a modality. An item without interactions is in no list by
        behaviour and has none of its own; likewise an item without the modality in lists by modality. Raises
        ConfigError for k < 1 and an unknown ``by``, DataError naming an unknown item.
        """
        check_k(k)
        item_N = self.items.rows(items)
        index = self.index(by)
        chunk = users_per_chunk(len(index), k)
        starts = range(0, max(len(item_N), 1), chunk)
        frames = [self._frame(self.items, *index.neighbors(item_N[start : start + chunk], k)) for start in starts]
        return pl.concat(frames).rename({"user": "item", "item": "similar"})

    def like(self, vector_S: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Rows and cosines of the items most similar by behaviour to any item vector, such as a new item's: (≤ k,)."""
        row_1K, score_1K = self.index(BEHAVIOUR).search(l2_normalize(vector_S[None]), k)
        return row_1K[0], score_1K[0]

    def index(self, by: str) -> CosineIndex:
        """The index that ``similar`` searches. Raises ConfigError for an unknown ``by``."""
        if by not in self._indexes:
            if by == BEHAVIOUR:
                self._indexes[by] = CosineIndex(self.vectors.item_IS, self.vectors.has_vector)
            elif by in self.vectors.modality_IL:
                modality_IL = self.vectors.modality_IL[by]
                self._indexes[by] = CosineIndex(modality_IL, (modality_IL != 0).any(1))
            else:
                raise ConfigError(f"no similarity by '{by}': this run has {', '.join((BEHAVIOUR, *self.modalities))}")
        return self._indexes[by]

    def audience(self, vector_S: Tensor, k: int, without: Ints = NO_ROWS) -> tuple[Tensor, Tensor]:
        """Rows and scores of the users who score an item's vector highest, (≤ k,); -inf where no user is left.

        ``vector_S``: a row of ``vectors.item_IS``, or of ``item_from_features``; ``without``: rows of users to leave
        out, such as ``users_of`` the item.
        """
        masked = np.zeros_like(without), without
        absent = None if self.users.absent is None else np.flatnonzero(self.users.absent)
        row, score = exact_topk(vector_S[None], self.vectors.user_US, k, masked, excluded=absent)
        return row[0], score[0]

    def users_of(self, item: Any) -> Ints:
        """Rows of the users who have an item, in any split. Raises DataError if unknown."""
        position = np.flatnonzero(self.vectors.seen_item.numpy() == self.items.rows([item])[0])
        return np.searchsorted(self.vectors.seen_indptr.numpy(), position, side="right") - 1

    def allowed(
        self,
        allow: Iterable[Any] | None = None,
        deny: Iterable[Any] | None = None,
        category: str | Iterable[str] | None = None,
        where: str | None = None,
        unknown: Unknown = "ignore",
    ) -> Bools | None:
        """Which items to choose from, (I,); None for all. Raises as ``recommend`` does."""
        filters = {"allow": allow, "category": category, "where": where, "deny": deny}
        given = [setting(name) for name, value in filters.items() if value is not None]
        if not given:
            return None
        is_allowed_I = np.full(len(self.items), allow is None)
        if allow is not None:
            is_allowed_I[self.items.usable_rows(allow, unknown, needed=True)] = True
        if category is not None:
            is_allowed_I &= self._table("category").of_category([category] if isinstance(category, str) else category)
        if where is not None:
            is_allowed_I &= self._table("where").where(where)
        if deny is not None:
            is_allowed_I[self.items.usable_rows(deny, unknown, needed=False)] = False
        if not is_allowed_I[self.items.present].any():
            log.warning(f"{NO_ITEM_LEFT} by {' and '.join(given)}, so every list is empty")
        return is_allowed_I

    def _table(self, filter: str) -> ItemTable:
        if self.item_table is None:
            raise ConfigError(
                f"{setting(filter)} needs the table of items that has this for each: give {setting('items')}"
            )
        return self.item_table

    def _frame(self, row_ids: IdMap, row_C: Ints, item_CK: Tensor, score_CK: Tensor) -> pl.DataFrame:
        """Lists as a table; its column ``user`` holds the ids ``row_ids`` of ``row_C``."""
        is_item_CK = (score_CK > -torch.inf).numpy()
        list_index, rank = np.nonzero(is_item_CK)
        return pl.DataFrame(
            {
                "user": row_ids.ids.gather(row_C[list_index]),
                "rank": pl.Series(rank + 1, dtype=pl.Int32),
                "item": self.items.ids.gather(item_CK.numpy()[is_item_CK]),
                "score": pl.Series(score_CK.numpy()[is_item_CK], dtype=pl.Float32),
            }
        )


def check_k(k: int) -> None:
    """Raise ConfigError unless ``k`` is the length of a list."""
    if not 1 <= k <= MAX_LENGTH:
        raise ConfigError(f"{setting('k')} = {k}: a list has at least one place and at most {MAX_LENGTH:,}")
