"""``Recommender``: a finished run that recommends, also to people and of items that are new, and explains."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch
from torch import Tensor

from crossrec.data.io.atomic import read_json
from crossrec.errors import ConfigError, DataError
from crossrec.lazy import polars as pl
from crossrec.ops.csr import Bools, Ints
from crossrec.recommend.cold_start import DEFAULT_METHOD, ColdStart, ColdStartMethod, append_items, replace_items
from crossrec.recommend.event_log import popularity_of
from crossrec.recommend.explanation import Explanation, explain_score
from crossrec.recommend.exposure import with_exposure
from crossrec.recommend.fold_in import FoldIn, FoldInMethod
from crossrec.recommend.id_map import IdMap
from crossrec.recommend.item_table import ItemTable
from crossrec.recommend.lists import ItemFilters, ItemLists, check_k
from crossrec.recommend.new_item_graph import NewItemGraph
from crossrec.runs.directory import ITEM_TABLE_FILE, open_embeddings, save_run
from crossrec.runs.embeddings import TrainedEmbeddings

if TYPE_CHECKING:
    from crossrec.training_state import Progress


class Recommender(ItemLists):
    """A trained run, ready to recommend. Immutable: the methods that add items return another recommender.

    ``users``, ``items``: the original ids (``IdMap``). ``vectors``: all vectors of the run (``TrainedEmbeddings``).
    ``item_table``: further columns of the items, or None. All methods may be called from several threads.
    """

    @classmethod
    def fit(
        cls,
        interactions: Any,
        items: Any | None = None,
        *,
        features: Mapping[str, Any] | None = None,
        backbone: str = "lightgcn",
        alignment: str | None = "cross",
        folder: Path | str | None = None,
        on_epoch: Callable[[Progress], None] = lambda _: None,
        **settings: Any,
    ) -> Recommender:
        """Train on tables in memory and return the recommender.

        ``interactions``: a polars or pandas frame, or a dict of columns, with a row for each interaction: user, item
        and, where there are any, time and split, in columns with well-known names or those of ``user_column`` and so
        on. Repeated pairs count once. ``items``: a table with a row for each item: its id, any columns such as title
        and category, and columns of lists of numbers, which become content features under their names. ``features``:
        further features by modality, (I, D_m), in the order of the rows of ``items``.

        ``backbone``, ``alignment``: names as in ``crossrec train``; None for no alignment. ``settings``: all that
        ``crossrec train`` takes, such as ``epochs=50``, ``dim=32``, ``seed=1``, ``split="time"``. ``folder``: a new
        folder for the data set and the run; by default one that is deleted with the recommender. ``on_epoch``: called
        after every epoch. ``metrics`` holds what was measured on the held-out interactions.

        Raises ArgumentError for tables and features that do not fit, ConfigError for a wrong setting, and DataError,
        RunError and TrainingError as ``crossrec.run`` does.
        """
        from crossrec.recommend.from_frames import DATA, RUN, train  # loads the trainer, which opening a run spares

        base = Path(tempfile.mkdtemp(prefix="crossrec-")) if folder is None else Path(folder)
        try:
            train(base, interactions, items, features, backbone, alignment, settings, on_epoch)
            recommender = cls.open(base / RUN, None if items is None else base / DATA / "items.parquet")
        except BaseException:
            if folder is None:
                shutil.rmtree(base, ignore_errors=True)
            raise
        if folder is None:
            weakref.finalize(recommender, shutil.rmtree, base, ignore_errors=True)
        return recommender

    def save(self, folder: Path | str) -> None:
        """Write the run, with the table of items, to a new folder that ``open`` and every command take.

        A run with a content graph needs its data set for new items, where it was in training: give ``fit`` a folder.
        Raises RunError where ``folder`` holds anything or cannot be written, ConfigError for a recommender that is not
        as its run is, such as that of ``with_items``: ``crossrec.recommend.extend`` writes such a run.
        """
        if self.run is None or self._is_derived:
            raise ConfigError(
                "this recommender is not as its run is: crossrec.recommend.extend writes one with new items"
            )
        save_run(self.run, Path(folder), None if self.item_table is None else self.item_table.with_ids(self.items))

    @property
    def metrics(self) -> dict[str, Any]:
        """What was measured when the run was trained, the content of its ``metrics.json``: valid, test, best_epoch, …

        Raises ConfigError for a recommender without a run.
        """
        if self.run is None:
            raise ConfigError("this recommender has no run, so nothing was measured")
        return dict(read_json(self.run / "metrics.json"))

    @classmethod
    def open(cls, run: Path | str, items: Path | str | None = None) -> Recommender:
        """Open a run directory; ``items``: a table of items (id, category, title, …) for filters and display.

        A run that ``save`` wrote has the table in it. Raises RunError where the run is missing, not done or damaged,
        DataError where the table is.
        """
        run = Path(run)
        vectors = open_embeddings(run)
        absent_U, absent_I = (None if x is None else x.numpy() for x in (vectors.absent_U, vectors.absent_I))
        user_ids = IdMap.read(run / "users.parquet", "user", vectors.num_users, absent_U)
        item_ids = IdMap.read(run / "items.parquet", "item", vectors.num_items, absent_I)
        if items is None and (run / ITEM_TABLE_FILE).exists():
            items = run / ITEM_TABLE_FILE
        return cls(vectors, user_ids, item_ids, None if items is None else ItemTable.read(items, item_ids), run=run)

    def for_history(
        self,
        items: Iterable[Any],
        k: int = 10,
        *,
        how: FoldInMethod = "ridge",
        exclude_seen: bool = True,
        diversity: float = 0.0,
        max_per_category: int | None = None,
        **filters: Unpack[ItemFilters],
    ) -> pl.DataFrame:
        """The k best items for a user who was not in training, given their history: columns rank, item, score.

        ``how``: see ``FoldIn``. ``exclude_seen`` leaves out the history itself; the other arguments are as in
        ``recommend``, and ``unknown`` holds for the history too. Raises what ``recommend`` raises, and ConfigError for
        an empty history.
        """
        check_k(k)
        history_N = self.items.usable_rows(items, filters.get("unknown", "ignore"), needed=True)
        top = self.search(diversity, max_per_category)
        item_K, score_K = self.top_for_history(history_N, k, how, exclude_seen, self.allowed(**filters), top)
        return self._frame(self.users, np.zeros(1, dtype=np.int64), item_K[None], score_K[None]).drop("user")

    def for_histories(self, histories: Path | str | pl.DataFrame, k: int = 10, **options: Any) -> pl.DataFrame:
        """The k best items of everybody in a log: columns user, rank, item, score, source.

        People who were in training get the list of their trained vector (source trained), all others are folded in
        (history), and with ``fallback="popular"`` those without an item of the run get what is popular. ``options`` and
        errors: see ``crossrec.recommend.bulk_lists``, which gives the lists in parts.
        """
        from crossrec.recommend.bulk import bulk_lists  # needs this module

        lists = bulk_lists(self, k, histories=histories, **options)
        frame: pl.DataFrame = pl.concat([lists.empty(), *lists])
        return frame

    def popular(
        self,
        k: int = 10,
        *,
        days: int | None = None,
        log: Path | str | pl.DataFrame | None = None,
        **filters: Unpack[ItemFilters],
    ) -> pl.DataFrame:
        """The k items that the most people had: columns rank, item, score, the number of people.

        By all interactions of the run, or by those in the latest ``days`` of a log (``LogConfig`` reads it; by default
        the data set of the run), counted back from its latest row. Equal numbers are ordered by the people in the run,
        then by row. Raises what ``recommend`` raises, and ConfigError, DataError and RunError as ``popularity_of``.
        """
        check_k(k)
        item_K, count_K = popularity_of(self, days, log).top(k, self.allowed(**filters))
        lists = torch.from_numpy(item_K)[None], torch.from_numpy(count_K).float()[None]
        return self._frame(self.users, np.zeros(1, dtype=np.int64), *lists).drop("user")

    def top_for_history(
        self,
        history_N: Ints,
        k: int,
        how: FoldInMethod,
        exclude_seen: bool,
        allowed: Bools | None,
        top: Callable[..., tuple[Tensor, Tensor]] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """``for_history`` by rows: rows and scores of the best items, (≤ k,), as ``top`` returns them.

        ``history_N``: rows of the items. Raises ConfigError where there are none.
        """
        history_N = _history(history_N)
        user_S = self.fold_in.user_vector(torch.from_numpy(history_N), how)
        hidden = (np.zeros(len(history_N), dtype=np.int64), history_N) if exclude_seen else None
        item_1K, score_1K = (top or self.top)(user_S[None], k, hidden, allowed)
        return item_1K[0], score_1K[0]

    def history_vector(self, items: Iterable[Any], how: FoldInMethod = "ridge") -> Tensor:
        """The user vector, (S,), that ``for_history`` recommends with. Raises DataError naming an unknown item."""
        return self.fold_in.user_vector(torch.from_numpy(_history(self.items.rows(items))), how)

    def explain(self, user: Any, item: Any) -> Explanation:
        """What the score of an item for a user of the run is made of. Raises DataError naming an unknown id."""
        row, vectors = self.users.rows([user])[0], self.vectors
        return explain_score(vectors, vectors.user_US[row], vectors.user_UL[row], self.items.rows([item])[0])

    def explain_history(self, items: Iterable[Any], item: Any, how: FoldInMethod = "ridge") -> Explanation:
        """``explain`` for a user who was not in training. Raises as ``for_history`` does."""
        user_S = self.history_vector(items, how)
        user_L = user_S[: self.vectors.user_UL.shape[1]]
        return explain_score(self.vectors, user_S, user_L, self.items.rows([item])[0])

    @cached_property
    def fold_in(self) -> FoldIn:
        """Computes user vectors from histories."""
        return FoldIn(self.vectors)

    @cached_property
    def cold_start(self) -> ColdStart:
        """Computes item vectors from content.

        Raises ConfigError where the run has no content vectors, RunError where it has a content graph and its data set
        cannot be read.
        """
        graph = None if self.run is None else NewItemGraph.open(self.run, self.vectors)
        return ColdStart(self.vectors, graph=graph)

    def item_from_features(
        self, features: Mapping[str, Any], how: ColdStartMethod = DEFAULT_METHOD, *, quantile: float = 0.5
    ) -> Tensor:
        """The vector, (S,), of an item without interactions, from raw features by modality: {"image": [...], …}.

        The features are those of the files that the run was trained with, before scaling; a modality may be left out.
        ``how``, ``quantile``: see ``ColdStart``. Raises ConfigError where the run has no content vectors, DataError for
        an unknown modality, a wrong length or a number that is not finite.
        """
        return self.cold_start.new_vectors({m: [row] for m, row in features.items()}, how, quantile)[0][0]

    def with_items(
        self,
        ids: Iterable[Any],
        features: Mapping[str, Any],
        how: ColdStartMethod = DEFAULT_METHOD,
        *,
        quantile: float = 0.5,
        share: float | None = None,
        k: int = 10,
    ) -> Recommender:
        """Another recommender with new items behind those of the run.

        ``ids``: new ids, of the type of the others; ``features``: raw rows (N, D_m) by modality, zeros where an item
        lacks one. ``share``: the part of all places in the users' lists of length ``k`` that the new items get, as near
        as the length of their vectors can bring it (``with_exposure``); unless given, it is as it comes. Raises as
        ``item_from_features`` and ``with_exposure`` do, and DataError for an id that the run already has.
        """
        ids = list(ids)
        items = self.items.extended(ids)
        vector_NS, modality_NL = self.cold_start.new_vectors(features, how, quantile)
        if len(vector_NS) != len(ids):
            raise DataError(f"{len(ids)} ids and {len(vector_NS)} rows of features: one row an item")
        extended = self._with(append_items(self.vectors, vector_NS, modality_NL), items)
        new_N = np.arange(len(self.items), len(items))
        return extended if share is None else with_exposure(extended, new_N, share, k)

    def with_untouched(self, how: ColdStartMethod = DEFAULT_METHOD, *, quantile: float = 0.5) -> Recommender:
        """Another recommender, whose items without training interactions have vectors from content.

        After training, the vector of such an item is still random. An item without content keeps it.
        """
        row_N = (~self.vectors.has_vector).nonzero()[:, 0]
        if not len(row_N):
            return self
        modality_NL = {m: x_IL[row_N] for m, x_IL in self.vectors.modality_IL.items()}
        graph_NS = None if self.cold_start.graph is None else self.cold_start.graph.of_run(row_N)
        vector_NS = self.cold_start.item_vectors(modality_NL, how, quantile, graph_NS=graph_NS)
        return self._with(replace_items(self.vectors, row_N, vector_NS), self.items)

    def with_vectors(self, vectors: TrainedEmbeddings) -> Recommender:
        """The same recommender with other vectors of the same users and items."""
        return self._with(vectors, self.items)

    def _with(self, vectors: TrainedEmbeddings, items: IdMap) -> Recommender:
        item_table = None if self.item_table is None else self.item_table.widened(len(items))
        other = Recommender(vectors, self.users, items, item_table, run=self.run)
        vars(other).update(cold_start=self.cold_start, _is_derived=True)  # maps stay fitted on the items of the run
        return other


def _history(rows: Ints) -> Ints:
    """Rows of a history, each once. Raises ConfigError where there are none."""
    if not len(rows):
        raise ConfigError("a history without items: give at least one")
    return np.unique(rows)
