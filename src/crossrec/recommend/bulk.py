"""Lists for everybody: people of the run, people with a history, and popular items for the others."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from crossrec.data.io.codes import positions
from crossrec.data.io.ids import plain_ids
from crossrec.errors import ConfigError, DataError, setting
from crossrec.lazy import polars as pl
from crossrec.ops.csr import Bools, Ints
from crossrec.ops.topk import users_per_chunk
from crossrec.recommend.diversity import CANDIDATES
from crossrec.recommend.event_log import Histories, LogConfig, Popularity, popularity_of
from crossrec.recommend.fold_in import FoldInMethod
from crossrec.recommend.id_map import Unknown
from crossrec.recommend.lists import ItemFilters, check_k
from crossrec.recommend.recommender import Recommender

logger = logging.getLogger(__name__)
SOURCES = ("trained", "history", "popular", "none")
"""Where a list comes from: the user's trained vector, a vector of their history, the popular items; or no list."""
TRAINED, HISTORY, POPULAR, NONE = range(4)


@dataclass
class BulkLists:
    """Lists for the people of ``histories``, as an iterator of frames: user, rank, item, score, source.

    People who were in training get the list of their trained vector; all others with an item of the run in their
    history are folded in (``how``); everybody else gets the most popular items, or no list without ``fallback``. A
    history is left out of the lists, as all that the run knows of a user is, unless ``exclude_seen`` is False.
    ``allowed``: items to choose from, (I,). ``diversity``, ``max_per_category``: as in ``Recommender.recommend``, for
    all but popular items. The score of popular items is the number of people.

    ``counts``: people by source, once the frames have been read.
    """

    recommender: Recommender
    histories: Histories
    k: int
    how: FoldInMethod = "ridge"
    exclude_seen: bool = True
    allowed: Bools | None = None
    fallback: Popularity | None = None
    diversity: float = 0.0
    max_per_category: int | None = None
    counts: Counter[str] = field(default_factory=Counter)
    _of_anybody: tuple[Ints, Ints] | None = None

    def __len__(self) -> int:
        return len(self.histories.user_ids)

    def summary(self) -> str:
        """What the lists were made from, in one sentence."""
        words = {
            "trained": "by their trained vectors",
            "history": "by their histories",
            "popular": "what is popular",
            "none": "no list, as the run knows none of their items (fallback popular gives them one)",
        }
        parts = [f"{self.counts[source]:,} {words[source]}" for source in SOURCES if self.counts[source]]
        return f"{len(self):,} people get lists: {'; '.join(parts)}" if parts else "Nobody to recommend to"

    def empty(self) -> pl.DataFrame:
        """A frame without rows."""
        none = torch.zeros(0, 0)
        return self._frame(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int8), none.long(), none)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        histories, items = self.histories, self.recommender.vectors.num_items
        ones = np.ones(len(histories.item_N))
        history_HI = sp.csr_matrix((ones, (histories.user_N, histories.item_N)), (len(self), items))
        row_H = positions(histories.user_ids, self.recommender.users.ids)
        plain = not self.diversity and self.max_per_category is None
        chunk = users_per_chunk(items, self.k if plain else CANDIDATES * self.k)
        for start in range(0, len(self), chunk):
            position_C = np.arange(start, min(start + chunk, len(self)))
            yield self._lists(position_C, row_H[position_C], history_HI[position_C])

    @cached_property
    def _is_trained_U(self) -> Bools:
        """Which users of the run have a training interaction, bool (U,)."""
        vectors = self.recommender.vectors
        user_N = np.repeat(np.arange(vectors.num_users), np.diff(vectors.seen_indptr.numpy()))
        is_trained: Bools = np.bincount(user_N[vectors.seen_trained.numpy()], minlength=vectors.num_users) > 0
        return is_trained

    def _lists(self, position_C: Ints, row_C: Ints, history_CI: sp.csr_matrix) -> pl.DataFrame:
        recommender, vectors = self.recommender, self.recommender.vectors
        is_trained_C = (row_C >= 0) & self._is_trained_U[row_C]
        has_history_C = np.diff(history_CI.indptr) > 0
        otherwise = NONE if self.fallback is None else POPULAR
        source_C = np.where(is_trained_C, TRAINED, np.where(has_history_C, HISTORY, otherwise))
        self.counts.update(SOURCES[source] for source in source_C.tolist())
        user_CS = vectors.user_US[torch.from_numpy(row_C.clip(min=0))]
        folded_C = np.flatnonzero(source_C == HISTORY)
        if len(folded_C):
            user_CS[torch.from_numpy(folded_C)] = recommender.fold_in.user_vectors(history_CI[folded_C], self.how)
        hidden = self._hidden(row_C, history_CI) if self.exclude_seen else None
        search = recommender.search(self.diversity, self.max_per_category)
        item_CK, score_CK = search(user_CS, self.k, hidden, self.allowed)
        others_C = np.flatnonzero(source_C >= POPULAR)
        score_CK[torch.from_numpy(others_C)] = -torch.inf
        for position in others_C.tolist() if self.fallback is not None else ():
            item_K, count_K = self._popular(row_C[position] if self.exclude_seen else -1, item_CK.shape[1])
            item_CK[position, : len(item_K)] = torch.from_numpy(item_K)
            score_CK[position, : len(item_K)] = torch.from_numpy(count_K).float()
        return self._frame(position_C, source_C, item_CK, score_CK)

    def _popular(self, row: int, k: int) -> tuple[Ints, Ints]:
        """The popular items that the user of the run in ``row`` does not have; of anybody for -1."""
        assert self.fallback is not None
        if row >= 0:
            return self.fallback.top(k, self.allowed, self.recommender.seen_rows(np.asarray([row]))[1])
        if self._of_anybody is None:
            self._of_anybody = self.fallback.top(k, self.allowed)
        return self._of_anybody

    def _hidden(self, row_C: Ints, history_CI: sp.csr_matrix) -> tuple[Ints, Ints]:
        """(position, item row) of all that the run knows of its users, and of all histories."""
        of_run_C = np.flatnonzero(row_C >= 0)
        position_N, item_N = self.recommender.seen_rows(row_C[of_run_C])
        history = history_CI.tocoo()
        rows = np.concatenate([of_run_C[position_N], history.row.astype(np.int64)])
        return rows, np.concatenate([item_N, history.col.astype(np.int64)])

    def _frame(self, position_C: Ints, source_C: np.ndarray, item_CK: Tensor, score_CK: Tensor) -> pl.DataFrame:
        """The lists as a table."""
        is_item_CK = (score_CK > -torch.inf).numpy()
        list_index, rank = np.nonzero(is_item_CK)
        return pl.DataFrame(
            {
                "user": self.histories.user_ids.gather(position_C[list_index]),
                "rank": pl.Series(rank + 1, dtype=pl.Int32),
                "item": self.recommender.items.ids.gather(item_CK.numpy()[is_item_CK]),
                "score": pl.Series(score_CK.numpy()[is_item_CK], dtype=pl.Float32),
                "source": pl.Series(SOURCES, dtype=pl.String).gather(source_C[list_index]),
            }
        )


def bulk_lists(
    recommender: Recommender,
    k: int = 10,
    *,
    histories: Path | str | pl.DataFrame | None = None,
    users: Iterable[Any] | None = None,
    fallback: Literal["popular"] | None = None,
    popular_days: int | None = None,
    popular_log: Path | str | None = None,
    columns: LogConfig = LogConfig(),  # noqa: B008
    how: FoldInMethod = "ridge",
    exclude_seen: bool = True,
    diversity: float = 0.0,
    max_per_category: int | None = None,
    **filters: Unpack[ItemFilters],
) -> BulkLists:
    """Lists for everybody in a log, or for ``users``, of whom some were not in training.

    ``histories``: a file or folder of any kind that an import reads, ``columns`` say how, or a frame with the columns
    user and item. ``users``: ids to recommend to; by default those of the histories, else of the run. ``fallback``:
    what people get of whom the run and the histories know nothing; ``popular_days``, ``popular_log``: see
    ``Recommender.popular``, where a log of histories stands before that of the run. The rest as in ``for_history``.

    Raises ConfigError for k < 1 and unsuitable settings, DataError for a log that cannot be read and what the filters
    raise.
    """
    check_k(k)
    recommender.search(diversity, max_per_category)  # raises for what they cannot be
    if popular_days is not None and fallback is None:
        raise ConfigError(f"{setting('popular_days')}: counts for {setting('fallback', 'popular')} only; give it too")
    log = None if histories is None else columns.read(histories)
    ids = None if users is None else plain_ids(pl.Series(list(users)), typed=False).unique(maintain_order=True)
    if log is not None:
        people = Histories.of(log, recommender.items, ids)
    else:
        people = Histories.none(recommender.users.ids.gather(recommender.users.present) if ids is None else ids)
    popularity = None
    if fallback is not None:
        timed = log is not None and log.time_N is not None
        popularity = popularity_of(
            recommender, popular_days, log if timed and popular_log is None else popular_log, columns
        )
    _tell_unknown(people, filters.get("unknown", "ignore"))
    allowed = recommender.allowed(**filters)
    return BulkLists(recommender, people, k, how, exclude_seen, allowed, popularity, diversity, max_per_category)


def _tell_unknown(people: Histories, unknown: Unknown) -> None:
    """Log how many items of the histories are none of the run; raise DataError for them where that is asked for."""
    if not people.unknown_rows:
        return
    message = (
        f"histories: {people.unknown_items:,} items in {people.unknown_rows:,} rows are none of the run, such as "
        f"{people.unknown_example}"
    )
    if unknown == "error":
        raise DataError(f"{message}; leave them out, or let them be ignored")
    logger.warning("%s; they are left out", message)
