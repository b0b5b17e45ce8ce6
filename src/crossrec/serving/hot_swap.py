"""The runs that are served: opened, tried out, and replaced by what comes in their place, without a gap."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossrec.errors import ConfigError, CrossrecError, RunError
from crossrec.recommend.item_table import ItemTable
from crossrec.recommend.recommender import BEHAVIOUR, Recommender
from crossrec.runs.embeddings import EMBEDDINGS_FILE
from crossrec.serving.images import Pictures
from crossrec.serving.model_card import model_card, told_time
from crossrec.serving.presenter import Shelf
from crossrec.serving.service import Answers

log = logging.getLogger("crossrec.serving")
FILES = ("config.json", "metrics.json", "users.parquet", "items.parquet", EMBEDDINGS_FILE)
"""What a run is served from; another state of one of them is another run."""
REFUSED = "what lies there now cannot be served, the run before it goes on; the service's own log says why"


@dataclass(frozen=True)
class Served:
    """One run as it is served. Never changes."""

    answers: Answers
    shelf: Shelf
    card: dict[str, Any]
    since: str


class Slot:
    """A place where a run lies, and the run that is served from it.

    ``run``: its folder, or a link to it. ``items``, ``pictures``: a table of items and a folder of pictures, or None.
    ``current`` is read once by every request, which is then answered by that run whatever comes meanwhile.
    """

    def __init__(self, run: Path, items: Path | None = None, pictures: Path | None = None) -> None:
        """Open the run. Raises RunError where it is missing, not done or damaged, DataError where the table is."""
        self.run, self.items = run, items
        self.pictures = None if pictures is None else Pictures(pictures)
        self.swaps = 0
        self.refused: str | None = None
        self._mark = self._look()
        self.current = self._open(run.resolve())

    def check(self) -> bool:
        """Serve what lies there now, if it is another run than before; True if it is served from now on.

        What cannot be opened leaves the run before it, and ``refused`` says so until something else lies there. What
        changes while it is read is looked at again the next time.
        """
        mark = self._look()
        if mark == self._mark:
            return False
        try:
            made = self._open(self.run.resolve())
        except Exception as error:  # whatever it is, the old run goes on
            if self._look() == mark:
                self._mark, self.refused = mark, REFUSED
                log.error("not served: %s", error, exc_info=not isinstance(error, CrossrecError))
            return False
        if self._look() != mark:
            return False
        self._mark, self.refused = mark, None
        self.current = made
        self.swaps += 1
        log.warning("serving %s, run %s", made.card["label"], made.card["identity"])
        return True

    def _open(self, run: Path) -> Served:
        opened = Recommender.open(run, self.items)
        # a file that is mapped must not be shortened by whoever puts a new run in its place: keep copies
        vectors, catalogue = copy.deepcopy(opened.vectors), opened.item_table
        if catalogue is not None:  # by another name in messages, which go out
            catalogue = ItemTable(catalogue.frame, Path("table of items"))
        recommender = Recommender(vectors, opened.users, opened.items, catalogue)
        try_out(recommender)
        shelf = Shelf(recommender, self.pictures)
        for names in (shelf.items, shelf.users):
            names.search("a", 0, 1)
        shown = {"categories": shelf.categories[:200], "pictures": self.pictures is not None}
        card = model_card(recommender, run) | shown
        return Served(Answers(recommender, shelf, card["identity"]), shelf, card, told_time(time.time()))

    def _look(self) -> tuple[Any, ...]:
        """The state of all files that the run is served from."""
        run = self.run.resolve()
        marks: list[Any] = [str(run)]
        for path in (*(run / name for name in FILES), *([] if self.items is None else [self.items])):
            try:
                stat = path.stat()
                marks.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
            except OSError:
                marks.append(None)
        return tuple(marks)


def try_out(recommender: Recommender) -> None:
    """Ask one question of every kind, which also makes what is made at the first question.

    Raises RunError where there are no users or items, or an answer is not finite.
    """
    if not len(recommender.users) or not len(recommender.items):
        raise RunError("a run without users or items: there is nothing to serve")
    user, item = recommender.users.ids[0], recommender.items.ids[0]
    scores = [recommender.recommend([user], 1, exclude_seen=False)["score"]]
    scores += [recommender.similar([item], 1, by=by)["score"] for by in (BEHAVIOUR, *recommender.modalities)]
    recommender.explain(user, item)
    try:
        recommender.for_history([item], 1)
        if recommender.vectors.content_encoders:
            recommender.item_from_features(
                {m: np.zeros(path.weights[0].shape[1]) for m, path in recommender.vectors.content_encoders.items()}
            )
    except ConfigError as error:  # nothing to fold in by: such questions are told so
        log.info("%s", error)
    if not all(np.isfinite(one.to_numpy()).all() for one in scores):
        raise RunError("scores are not finite: the run is damaged, train again")


class Watcher:
    """Looks every few seconds whether another run lies in one of the places, in a thread of its own."""

    def __init__(self, slots: Sequence[Slot], seconds: float) -> None:
        self._slots, self._seconds = slots, seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def __enter__(self) -> Watcher:
        if self._seconds:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _watch(self) -> None:
        while not self._stop.wait(self._seconds):
            for slot in self._slots:
                slot.check()
