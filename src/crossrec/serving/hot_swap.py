"""Load the served runs, and replace each by a new one in its place without downtime."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from crossrec.data.io.atomic import read_json
from crossrec.data.io.manifest import MANIFEST
from crossrec.errors import ConfigError, CrossrecError, RunError
from crossrec.recommend.event_log import popularity_of
from crossrec.recommend.lists import BEHAVIOUR
from crossrec.recommend.recommender import Recommender
from crossrec.runs.directory import RUN_FILES
from crossrec.serving.presenter import ImageFolder, ItemPresenter
from crossrec.serving.service import RecommendationService

log = logging.getLogger("crossrec.serving")
REFUSED = "what lies there now cannot be served, the run before it goes on; the service's own log says why"


class ServedRun:
    """The folder of a run, or a link to it, and the run that is loaded from it.

    ``items``, ``pictures``: a table of items and a folder of pictures, or None. ``where``: a condition on the table's
    columns that every item of a list meets; it holds anew whenever the table's file changes. ``popular_days``,
    ``popular_log``: what counts as popular, as in ``Recommender.popular``; a new log counts at once. ``since``:
    when the current run was loaded. ``swaps``: how often the run was replaced. ``refused``: why the newest run is not
    served, or None. A request reads ``current`` once: that run answers it, even if another replaces it meanwhile.
    """

    def __init__(
        self,
        run: Path | str,
        items: Path | str | None = None,
        pictures: Path | str | None = None,
        *,
        where: str | None = None,
        popular_days: int | None = None,
        popular_log: Path | str | None = None,
    ) -> None:
        """Load the run. Raises RunError if it is missing, not done or damaged, DataError if table or pictures are."""
        self.run, self.items, self.where = Path(run), None if items is None else Path(items), where
        self.popular_days, self.popular_log = popular_days, None if popular_log is None else Path(popular_log)
        self.pictures = None if pictures is None else ImageFolder(pictures)
        self.swaps = 0
        self.refused: str | None = None
        self._state = self._file_state()
        self.current, self.since = self._load(self.run.resolve()), utc_time(time.time())

    def check(self) -> bool:
        """Serve the run that is in the folder now if it is another one; True if it was replaced.

        A run that cannot be loaded leaves the current one in service, and ``refused`` says so until the files change
        again. If the files change during loading, the next check loads them again.
        """
        state = self._file_state()
        if state == self._state:
            return False
        try:
            loaded = self._load(self.run.resolve())
        except Exception as error:  # whatever it is, the current run stays in service
            if self._file_state() == state:
                self._state, self.refused = state, REFUSED
                log.error("not served: %s", error, exc_info=not isinstance(error, CrossrecError))
            return False
        if self._file_state() != state:
            return False
        self._state, self.refused = state, None
        self.current, self.since = loaded, utc_time(time.time())
        self.swaps += 1
        log.info("serving %s, run %s", loaded.card["label"], loaded.card["identity"])
        return True

    def _load(self, run: Path) -> RecommendationService:
        recommender = Recommender.open(run, self.items)
        recommender.vectors = copy.deepcopy(recommender.vectors)  # the mapped file may be truncated while it is served
        if recommender.item_table is not None:
            recommender.item_table.path = Path("table of items")  # messages to clients must not contain its path
        warm_up(recommender)
        presenter = ItemPresenter(recommender, self.pictures)
        for ids in (presenter.items, presenter.users):
            ids.search("a", 0, 1)
        popularity = popularity_of(recommender, self.popular_days, self.popular_log)
        card = model_card(recommender, presenter, run)
        return RecommendationService(recommender, presenter, card, where=self.where, popularity=popularity)

    def _file_state(self) -> tuple[Any, ...]:
        """Inode, modification time and size of all files of the run; if one changes, the run is another one."""
        run = self.run.resolve()
        state: list[Any] = [str(run)]
        others = [path for path in (self.items, self.popular_log) if path is not None]
        for path in [run / name for name in (MANIFEST, *RUN_FILES)] + others:
            try:
                stat = path.stat()
                state.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
            except OSError:
                state.append(None)
        return tuple(state)


def warm_up(recommender: Recommender) -> None:
    """Make one request of every kind, which also fills all caches.

    Raises RunError if there are no users or items, or a score is not finite.
    """
    if not len(recommender.users.present) or not len(recommender.items.present):
        raise RunError(f"{recommender.run}: a run without users or items: there is nothing to serve")
    user, item = (id_map.ids[int(id_map.present[0])] for id_map in (recommender.users, recommender.items))
    scores = [recommender.recommend([user], 1, exclude_seen=False)["score"]]
    scores += [recommender.similar([item], 1, by=by)["score"] for by in (BEHAVIOUR, *recommender.modalities)]
    recommender.explain(user, item)
    encoders = recommender.vectors.content_encoders
    try:
        recommender.for_history([item], 1)
        if encoders:
            recommender.item_from_features({m: np.zeros(e.weights[0].shape[1]) for m, e in encoders.items()})
    except ConfigError as error:  # the run cannot answer such requests, and says so to clients
        log.debug("%s", error)
    if not all(np.isfinite(series.to_numpy()).all() for series in scores):
        raise RunError(f"{recommender.run}: scores are not finite: the run is damaged, train again")


@contextmanager
def watch(runs: Sequence[ServedRun], seconds: float) -> Iterator[None]:
    """Check the served runs every few seconds in a thread; ``seconds=0``: never."""
    stop = threading.Event()

    def check_runs() -> None:
        while not stop.wait(seconds):
            for run in runs:
                run.check()

    thread = threading.Thread(target=check_runs, name="watch", daemon=True)
    if seconds:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if thread.is_alive():
            thread.join(timeout=5)


def model_card(recommender: Recommender, presenter: ItemPresenter, run: Path) -> dict[str, Any]:
    """The fields of ``schemas.ModelCard``: training, data and metrics of a run, without file paths.

    Raises RunError if ``config.json`` or ``metrics.json`` is missing or damaged.
    """
    metrics, config = read_json(run / "metrics.json"), read_json(run / "config.json")
    vectors = recommender.vectors
    return {
        "label": recommender.label,
        "backbone": vectors.backbone,
        "alignment": vectors.alignment,
        "identity": vectors.identity[:12],
        "made": utc_time((run / "metrics.json").stat().st_mtime),
        "users": len(recommender.users.present),
        "items": len(recommender.items.present),
        "interactions": vectors.split_sizes,
        "dimension": vectors.user_US.shape[1],
        "modalities": {m: int((x_IL != 0).any(1).sum()) for m, x_IL in vectors.modality_IL.items()},
        "parts": list(vectors.part_IS),
        "metrics": {split: metrics[split] for split in ("valid", "test") if metrics.get(split)},
        "epochs": metrics.get("epochs"),
        "best_epoch": metrics.get("best_epoch"),
        "versions": metrics.get("versions", {}),
        "config": {name: without_paths(value) for name, value in config.items() if name != "identity"},
        "categories": presenter.categories[:200],
        "pictures": presenter.images is not None,
    }


def utc_time(seconds: float) -> str:
    """Format a Unix time in UTC, as 2026-11-23T08:15:00Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def without_paths(value: Any) -> Any:
    """The same JSON value, with every file path cut to its last name."""
    if isinstance(value, dict):
        return {name: without_paths(member) for name, member in value.items()}
    if isinstance(value, list):
        return [without_paths(member) for member in value]
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return value.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return value
