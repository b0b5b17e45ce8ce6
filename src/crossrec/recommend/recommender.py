"""``Recommender``: everything that is asked of a trained run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from crossrec.errors import ConfigError, DataError
from crossrec.ops.topk import best, chunk_of, longest_of, rows_of
from crossrec.ops.vectors import l2_normalize
from crossrec.recommend.additions import content_of, with_rows, with_rows_anew
from crossrec.recommend.cold_start import DEFAULT, FoldIn, History, Newcomers, NewItem
from crossrec.recommend.id_map import IdMap, Ints
from crossrec.recommend.item_table import ItemTable
from crossrec.runs.directory import open_embeddings
from crossrec.runs.embeddings import TrainedEmbeddings
from crossrec.types import ID

if TYPE_CHECKING:
    import polars as pl

BEHAVIOUR = "behaviour"
"""What ``similar`` goes by unless a modality is named: the vectors that rank items."""


NOBODY = np.zeros(0, dtype=np.int64)


class Explanation(TypedDict):
    """Of one score: ``parts`` add up to it where the backbone's item vectors are sums; else they are empty.

    ``cosine``: of the user's vector with the item's, by behaviour (``id``) and by modality, in the shared space.
    ``aligned``: with the residual aligners' output î^{m→id}, where alignment trained them.
    """

    score: float
    parts: dict[str, float]
    cosine: dict[str, float]
    aligned: dict[str, float]


class Recommender:
    """A trained run, ready to recommend. It never changes: what adds items returns another one.

    ``users``, ``items``: the original ids (``IdMap``). ``vectors``: the ``Snapshot`` with all vectors. ``catalogue``:
    what is known about items besides, or None. All methods may be called from several threads.
    """

    def __init__(
        self, vectors: TrainedEmbeddings, users: IdMap, items: IdMap, catalogue: ItemTable | None = None
    ) -> None:
        self.vectors, self.users, self.items, self.catalogue = vectors, users, items, catalogue
        self._indptr, self._seen = vectors.seen_indptr.numpy(), vectors.seen_item.numpy()

    @classmethod
    def open(cls, run: Path | str, items: Path | str | None = None) -> Recommender:
        """Open a run directory; ``items``: a table of items (id, category, title, …) to filter by and to show.

        Raises RunError where the run is missing, not done or damaged, DataError where the table is.
        """
        run = Path(run)
        vectors = open_embeddings(run)
        users = IdMap.read(run / "users.parquet", "user", vectors.num_users)
        known = IdMap.read(run / "items.parquet", "item", vectors.num_items)
        return cls(vectors, users, known, None if items is None else ItemTable.read(Path(items), known))

    @property
    def label(self) -> str:
        """Backbone and alignment, e.g. ``lightgcn+cross``."""
        alignment = self.vectors.alignment
        return self.vectors.backbone if alignment is None else f"{self.vectors.backbone}+{alignment}"

    @property
    def modalities(self) -> tuple[str, ...]:
        """Content modalities that ``similar`` and ``explain`` know of."""
        return tuple(self.vectors.modality_IL)

    def seen(self, user: Any) -> list[Any]:
        """Ids of the training and validation items of a user."""
        row = int(self.users.rows([user])[0])
        return self.items.ids.gather(self._seen[self._indptr[row] : self._indptr[row + 1]]).to_list()

    def recommend(
        self,
        users: Iterable[Any] | None = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        allow: Iterable[Any] | None = None,
        deny: Iterable[Any] | None = None,
        category: str | Iterable[str] | None = None,
    ) -> pl.DataFrame:
        """The k best items of each user: columns user, rank (from 1), item, score, in order of users and ranks.

        ``users``: original ids, each once; all users unless given. ``allow``: only these items; ``deny``: not these;
        ``category``: only items of these categories (of the catalogue). A user for whom fewer than k items are left
        has fewer rows. Raises ConfigError for k < 1 and a category without a catalogue, DataError naming an id or
        category that is not known.
        """
        import polars as pl

        lists = list(self.stream(users, k, exclude_seen=exclude_seen, allow=allow, deny=deny, category=category))
        return pl.concat(lists) if lists else self.empty()

    def empty(self) -> pl.DataFrame:
        """A list of nothing: the columns of ``recommend`` and their types."""
        return self._frame(NOBODY, torch.zeros(0, 0, dtype=torch.int64), torch.zeros(0, 0))

    def stream(
        self,
        users: Iterable[Any] | None = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        allow: Iterable[Any] | None = None,
        deny: Iterable[Any] | None = None,
        category: str | Iterable[str] | None = None,
        chunk: int | None = None,
    ) -> Iterator[pl.DataFrame]:
        """``recommend`` in frames of ``chunk`` users, which changes nothing but the memory it takes.

        Mistakes are raised at once, before the first frame.
        """
        _check_k(k)
        if chunk is not None and chunk < 1:
            raise ConfigError(f"chunk = {chunk}: give a number of users >= 1")
        user_N = np.arange(len(self.users)) if users is None else self.users.rows(users)
        return self._stream(user_N, k, exclude_seen, self.allowed(allow, deny, category), chunk)

    def _stream(
        self, user_N: Ints, k: int, exclude_seen: bool, allowed: Ints | None, chunk: int | None
    ) -> Iterator[pl.DataFrame]:
        chunk = chunk or chunk_of(self.vectors.num_items)
        for start in range(0, len(user_N), chunk):
            user_C = user_N[start : start + chunk]
            hidden = rows_of(self._indptr, self._seen, user_C) if exclude_seen else None
            item_CK, score_CK = self.top(self.vectors.user_US[torch.from_numpy(user_C)], k, hidden, allowed)
            yield self._frame(user_C, item_CK, score_CK)

    def top(
        self, user_CS: Tensor, k: int, hidden: tuple[Ints, Ints] | None = None, allowed: Ints | None = None
    ) -> tuple[Tensor, Tensor]:
        """Rows and scores of the best items for any user vectors, (C, ≤ k); score -inf where nothing is left.

        ``hidden``: (place in ``user_CS``, item row) pairs to leave out; ``allowed``: rows to choose from, ascending.
        """
        item_IS = self.vectors.item_IS
        masked = None if hidden is None else (torch.from_numpy(hidden[0]), torch.from_numpy(hidden[1]))
        if allowed is None:
            return best(user_CS, item_IS, k, masked, longest=self._longest, item_SA=self._turned)
        if 2 * len(allowed) > len(item_IS):  # few are left out: cheaper to hide them than to copy all others
            barred_I = torch.ones(len(item_IS), dtype=torch.bool)
            barred_I[torch.from_numpy(allowed)] = False
            barred = barred_I.nonzero()[:, 0]
            return best(user_CS, item_IS, k, masked, longest=self._longest, item_SA=self._turned, barred=barred)
        if hidden is not None:
            place, item = hidden
            at = np.searchsorted(allowed, item)
            there = at < len(allowed)
            there[there] = allowed[at[there]] == item[there]
            masked = torch.from_numpy(place[there]), torch.from_numpy(at[there])
        rows = torch.from_numpy(allowed)
        position, score = best(user_CS, item_IS[rows], k, masked, longest=self._longest)
        return rows[position], score

    @cached_property
    def _longest(self) -> float:
        return longest_of(self.vectors.item_IS)

    @cached_property
    def _turned(self) -> Tensor:
        return self.vectors.item_IS.T.contiguous()

    def for_history(
        self,
        items: Iterable[Any],
        k: int = 10,
        *,
        how: FoldIn = "ridge",
        exclude_seen: bool = True,
        allow: Iterable[Any] | None = None,
        deny: Iterable[Any] | None = None,
        category: str | Iterable[str] | None = None,
    ) -> pl.DataFrame:
        """The k best items for somebody who was not in training, by the items they took: columns rank, item, score.

        ``how``: see ``crossrec.recommend.cold_start.History``. ``exclude_seen`` leaves out the history itself. Raises
        what ``recommend`` raises, and ConfigError for an empty history.
        """
        _check_k(k)
        allowed = self.allowed(allow, deny, category)
        history_N = np.unique(self.items.rows(items))
        vector_S = self._history_vector(history_N, how)
        hidden = (np.zeros(len(history_N), dtype=np.int64), history_N) if exclude_seen else None
        item_CK, score_CK = self.top(vector_S[None], k, hidden, allowed)
        return self._frame(np.zeros(1, dtype=np.int64), item_CK, score_CK).drop("user")

    def history_vector(self, items: Iterable[Any], how: FoldIn = "ridge") -> Tensor:
        """The user vector, (S,), that ``for_history`` recommends with."""
        return self._history_vector(np.unique(self.items.rows(items)), how)

    def _history_vector(self, history_N: Ints, how: FoldIn) -> Tensor:
        if not len(history_N):
            raise ConfigError("a history without items: give at least one")
        return self.history.user(torch.from_numpy(history_N), how)

    def similar(self, items: Iterable[Any], k: int = 10, *, by: str = BEHAVIOUR) -> pl.DataFrame:
        """The k most similar other items of each item, by cosine: columns item, rank, similar, score.

        ``by``: ``behaviour``, the vectors that rank items; or a modality. An item that nobody has touched has no place
        in lists by behaviour, one without the modality none in lists by modality, and no list of its own there. Raises
        ConfigError for k < 1 and an unknown ``by``, DataError naming an unknown item.
        """
        import polars as pl

        _check_k(k)
        asked_N = self.items.rows(items)
        frames = [self._frame(NOBODY, torch.zeros(0, 0, dtype=torch.int64), torch.zeros(0, 0), self.items)]
        chunk = chunk_of(len(self._unit(by)[1]))
        for start in range(0, len(asked_N), chunk):
            asked_C, item_CK, score_CK = self.nearest(asked_N[start : start + chunk], k, by)
            frames.append(self._frame(asked_C, item_CK, score_CK, self.items))
        return pl.concat(frames).rename({"user": "item", "item": "similar"})

    def nearest(self, item_C: Ints, k: int, by: str = BEHAVIOUR) -> tuple[Ints, Tensor, Tensor]:
        """``similar`` by rows: those of ``item_C`` that have a list, and rows and scores of it, (C, ≤ k).

        A score of -inf is no item: the list is shorter. Raises ConfigError for an unknown ``by``.
        """
        unit_IS, known_A, candidate_AS, candidate_SA = self._unit(by)
        asked_C = item_C[np.isin(item_C, known_A)]
        own = torch.arange(len(asked_C)), torch.from_numpy(np.searchsorted(known_A, asked_C))
        position, score = best(
            unit_IS[torch.from_numpy(asked_C)], candidate_AS, k, own, longest=1.001, item_SA=candidate_SA
        )
        return asked_C, torch.from_numpy(known_A)[position], score

    def like(self, vector_S: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Rows and cosines of the items most similar by behaviour to any vector, that of a new item, say: (≤ k,)."""
        _, known_A, candidate_AS, candidate_SA = self._unit(BEHAVIOUR)
        position, score = best(l2_normalize(vector_S[None]), candidate_AS, k, longest=1.001, item_SA=candidate_SA)
        return torch.from_numpy(known_A)[position[0]], score[0]

    def audience(self, vector_S: Tensor, k: int, without: Ints = NOBODY) -> tuple[Tensor, Tensor]:
        """Rows and scores of the users who score an item's vector highest, (≤ k,); -inf where nobody is left.

        ``vector_S``: a row of ``vectors.item_IS``, or of ``item_from_features``; ``without``: rows of users to leave
        out, ``takers`` of the item, say.
        """
        masked = torch.zeros(len(without), dtype=torch.int64), torch.from_numpy(without)
        row, score = best(vector_S[None], self.vectors.user_US, k, masked)
        return row[0], score[0]

    def takers(self, item: Any) -> Ints:
        """Rows of the users who have an item among their training and validation items. Raises DataError if unknown."""
        at = np.flatnonzero(self._seen == self.items.rows([item])[0])
        return np.searchsorted(self._indptr, at, side="right") - 1

    def _unit(self, by: str) -> tuple[Tensor, Ints, Tensor, Tensor]:
        """Vectors of unit length by one view, the rows of the items that have one, and theirs, upright and turned."""
        if by not in self._views:
            if by == BEHAVIOUR:
                table, known = self.vectors.item_IS, self.vectors.has_vector
            elif by in self.vectors.modality_IL:
                table = self.vectors.modality_IL[by]
                known = (table != 0).any(1)
            else:
                raise ConfigError(f"no similarity by '{by}': this run has {', '.join((BEHAVIOUR, *self.modalities))}")
            unit_IS, known_A = l2_normalize(table), known.nonzero()[:, 0]
            candidate_AS = unit_IS if len(known_A) == len(unit_IS) else unit_IS[known_A]
            self._views[by] = unit_IS, known_A.numpy(), candidate_AS, candidate_AS.T.contiguous()
        return self._views[by]

    @cached_property
    def _views(self) -> dict[str, tuple[Tensor, Ints, Tensor, Tensor]]:
        return {}

    def explain(self, user: Any, item: Any) -> Explanation:
        """What a known user's score of an item is made of. Raises DataError naming an unknown id."""
        row = int(self.users.rows([user])[0])
        return self._explained(self.vectors.user_US[row], self.vectors.user_UL[row], item)

    def explain_history(self, items: Iterable[Any], item: Any, how: FoldIn = "ridge") -> Explanation:
        """``explain`` for somebody who was not in training. Raises as ``for_history`` does."""
        user_S = self.history_vector(items, how)
        return self._explained(user_S, user_S[: self.vectors.user_UL.shape[1]], item)

    def _explained(self, user_S: Tensor, user_L: Tensor, item: Any) -> Explanation:
        vectors, row = self.vectors, int(self.items.rows([item])[0])
        user_L = l2_normalize(user_L[None])[0]

        def cosine(vector_L: Tensor) -> float:
            return float(user_L @ l2_normalize(vector_L[None])[0])

        content = {m: table[row] for m, table in vectors.modality_IL.items() if bool((table[row] != 0).any())}
        aligned = {m: vectors.aligners[m, ID](x[None])[0] for m, x in content.items() if (m, ID) in vectors.aligners}
        return Explanation(
            score=float(user_S.double() @ vectors.item_IS[row].double()),
            parts={name: float(user_S @ table[row]) for name, table in vectors.part_IS.items() if row < len(table)},
            cosine={ID: cosine(vectors.item_IL[row]), **{m: cosine(x) for m, x in content.items()}},
            aligned={m: cosine(x) for m, x in aligned.items()},
        )

    @cached_property
    def history(self) -> History:
        """Makes user vectors from histories."""
        return History(self.vectors)

    @cached_property
    def newcomers(self) -> Newcomers:
        """Makes item vectors from content. Raises ConfigError where the run knows no content."""
        return Newcomers(self.vectors)

    def item_from_features(
        self, features: Mapping[str, Any], how: NewItem = DEFAULT, *, quantile: float = 0.5
    ) -> Tensor:
        """The vector, (S,), of an item that nobody has touched, from raw features by modality: {"image": [...], …}.

        The features are those of the files that the run was trained with, before scaling; a modality may be left out.
        ``how``, ``quantile``: see ``crossrec.recommend.cold_start.Newcomers``. Raises ConfigError where the run knows
        no content, DataError for an unknown modality, a wrong length or a number that is not finite.
        """
        content = content_of(self.newcomers.snapshot, {m: [row] for m, row in features.items()})
        return self.newcomers.vectors(content, how, quantile)[0]

    def with_items(
        self, ids: Iterable[Any], features: Mapping[str, Any], how: NewItem = DEFAULT, *, quantile: float = 0.5
    ) -> Recommender:
        """Another recommender, with further items behind the known ones.

        ``ids``: new ids, of the type of the others; ``features``: raw rows (N, D_m) by modality, zeros where an item
        lacks one. Raises as ``item_from_features`` does, and DataError for an id that is known already.
        """
        ids = list(ids)
        items = self.items.extended(ids)
        content = content_of(self.newcomers.snapshot, features)
        count = len(next(iter(content.values())))
        if count != len(ids):
            raise DataError(f"{len(ids)} ids and {count} rows of features: one row an item")
        made_NS = self.newcomers.vectors(content, how, quantile)
        return self._with(with_rows(self.vectors, made_NS, content), items)

    def with_untouched(self, how: NewItem = DEFAULT, *, quantile: float = 0.5) -> Recommender:
        """Another recommender, in which the items without any training interaction have vectors made from content.

        As trained, such an item has a vector that nothing but chance has made. One without content keeps it.
        """
        row_N = (~self.vectors.has_vector).nonzero()[:, 0]
        if not len(row_N):
            return self
        content = {m: table[row_N] for m, table in self.vectors.modality_IL.items()}
        made_NS = self.newcomers.vectors(content, how, quantile)
        return self._with(with_rows_anew(self.vectors, row_N, made_NS), self.items)

    def _with(self, vectors: TrainedEmbeddings, items: IdMap) -> Recommender:
        catalogue = None if self.catalogue is None else self.catalogue.widened(len(items))
        made = Recommender(vectors, self.users, items, catalogue)
        # what was fitted on the touched items stays fitted on them
        vars(made).update(newcomers=self.newcomers)
        return made

    def allowed(
        self, allow: Iterable[Any] | None, deny: Iterable[Any] | None, category: str | Iterable[str] | None
    ) -> Ints | None:
        """The item rows to choose from, ascending; None for all. Raises as ``recommend`` does."""
        if allow is None and deny is None and category is None:
            return None
        keep_I = np.ones(len(self.items), dtype=bool)
        if allow is not None:
            keep_I[:] = False
            keep_I[self.items.rows(allow)] = True
        if category is not None:
            if self.catalogue is None:
                raise ConfigError("a category needs the table of items that says which one an item has: give items")
            keep_I &= self.catalogue.of_category([category] if isinstance(category, str) else category)
        if deny is not None:
            keep_I[self.items.rows(deny)] = False
        return np.flatnonzero(keep_I)

    def _frame(self, user_C: Ints, item_CK: Tensor, score_CK: Tensor, left: IdMap | None = None) -> pl.DataFrame:
        import polars as pl

        kept = (score_CK > -torch.inf).numpy()
        place, rank = np.nonzero(kept)
        return pl.DataFrame(
            {
                "user": (left or self.users).ids.gather(user_C[place]),
                "rank": pl.Series(rank + 1, dtype=pl.Int32),
                "item": self.items.ids.gather(item_CK.numpy()[kept]),
                "score": pl.Series(score_CK.numpy()[kept], dtype=pl.Float32),
            }
        )


def _check_k(k: int) -> None:
    if k < 1:
        raise ConfigError(f"k = {k}: a list needs at least one place, give k >= 1")
