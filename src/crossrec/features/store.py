"""Feature file that is written in steps: writing resumes after a stop and reuses rows whose input has not changed.

``text_feat.npy`` has its card beside it, ``text_feat.json``, and a folder ``.text_feat`` with its ledger. Until the
file is complete, the folder holds a draft of it with a ledger of its own. Rows whose digest is in a ledger of the same
model are copied, not encoded again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from crossrec.data.io.atomic import move_into_place, new_file, read_json, write_json_atomic
from crossrec.data.io.feature_card import FeatureCard, RowSource, card_path, read_card, write_card
from crossrec.data.io.lock import FILE as LOCK_FILE, FolderLock
from crossrec.data.io.manifest import file_entry
from crossrec.data.io.npy import RowWriter, write_array
from crossrec.data.io.system_errors import writing
from crossrec.errors import ConfigError, CrossrecError, RunError
from crossrec.features.ledger import FAILED, LEDGER, EncodedBatch, Mark, inputs_digest

BLOCK = 4096
"""Rows copied at a time."""


class FeatureStore:
    """Draft, ledger and card of the feature file ``path``.

    ``key``: digest of model and settings. ``digest_I``: digest of each item's input, empty where it has none. ``rows``:
    the rows of the items table that it is made of.
    """

    def __init__(self, path: Path, key: str, digest_I: np.ndarray, dtype: str, rows: RowSource | None = None) -> None:
        self.path, self.key, self.dtype, self.rows = path, key, np.dtype(dtype), rows
        self.inputs = inputs_digest(digest_I)
        self.ledger = np.zeros(len(digest_I), dtype=LEDGER)
        self.ledger["digest"] = digest_I
        self.folder = path.with_name(f".{path.stem}")
        self._rows: RowWriter | None = None
        self.dimension = 0

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder of drafts; raises ConfigError where another process has it. Closes the draft at the end."""
        lock = FolderLock(self.folder)
        if not lock.acquire():
            raise ConfigError(f"{self.path} is being made by another process; wait for it or stop it")
        try:
            yield
        finally:
            with writing(self.path):
                if self._rows is not None:
                    self._rows.file.close()
            lock.release()
            with suppress(OSError):  # not empty: it holds a ledger, or a draft to resume
                self.folder.rmdir()

    @cached_property
    def finished_card(self) -> FeatureCard | None:
        """Card of the existing file; None where there is no file, or the card is not that of the file."""
        self._move_into_place()
        with suppress(CrossrecError):
            card = read_card(self.path)
            if card is not None and file_entry(self.path)["sha256"] == card.sha256:
                return card
        return None

    @property
    def up_to_date(self) -> bool:
        """Whether the existing file has this key, and these inputs of these items."""
        card = self.finished_card
        return card is not None and (card.key, card.inputs, card.rows) == (self.key, self.inputs, self.rows)

    def begin(self, dimension: int) -> np.ndarray:
        """Open the draft; returns the rows that remain to be encoded."""
        self.dimension = dimension
        with writing(self.path):
            if not self._reopen():
                self._create()
        return np.flatnonzero((self.ledger["digest"] != b"") & (self.ledger["marks"] & Mark.DONE == 0))

    def put(self, batch: EncodedBatch) -> None:
        """Write the vectors of a batch into the draft; a vector that is not finite becomes zeros."""
        with np.errstate(over="ignore", invalid="ignore"):
            vectors = batch.vectors.astype(self.dtype)
        not_finite = ~np.isfinite(vectors).all(axis=1)
        vectors[not_finite] = 0
        assert self._rows is not None
        with writing(self.path):
            self._rows.write(batch.rows, vectors)
        self.ledger["marks"][batch.rows] = batch.marks | np.where(not_finite, Mark.NOT_FINITE, 0) | Mark.DONE

    def save(self) -> None:
        """Flush draft and ledger to disk, for a later process to resume from."""
        assert self._rows is not None
        with writing(self.path):
            self._rows.file.flush()
            os.fsync(self._rows.file.fileno())
        with new_file(self._draft(".ledger.npy")) as file:
            write_array(file, self.ledger)

    def count(self, marks: int) -> int:
        """Number of rows that have one of the marks."""
        return int(np.count_nonzero(self.ledger["marks"] & marks))

    def finish(self, **card: Any) -> FeatureCard:
        """Replace the file by the draft, and write its card."""
        assert self._rows is not None
        self.save()
        self._rows.file.close()
        feature_card = FeatureCard(
            file=self.path.name,
            items=len(self.ledger),
            dimension=self.dimension,
            dtype=self.dtype.name,
            key=self.key,
            inputs=self.inputs,
            rows=self.rows,
            sha256=file_entry(self._draft(".npy"))["sha256"],
            **card,
        )
        write_card(self.folder / "card.npy", feature_card)
        self._move_into_place()
        return feature_card

    def _draft(self, ending: str, key: str = "", inputs: str = "") -> Path:
        """File of the draft with ``key`` and ``inputs``, those of the store by default."""
        name = hashlib.sha256(f"{key or self.key} {inputs or self.inputs}".encode()).hexdigest()[:16]
        return self.folder / f"{name}{ending}"

    def _move_into_place(self) -> None:
        """Do the last steps of ``finish``: card.json marks a complete draft, and every step may be repeated."""
        card = read_card(self.folder / "card.npy")
        if card is None:
            return
        for ending, target in ((".npy", self.path), (".ledger.npy", self.folder / "ledger.npy")):
            if (draft := self._draft(ending, card.key, card.inputs)).is_file():
                move_into_place(draft, target)
        move_into_place(self.folder / "card.json", card_path(self.path))
        self._sweep("ledger.npy")

    def _reopen(self) -> bool:
        """Open an existing draft of the same key and inputs; False where there is none, or it is damaged."""
        draft = self._load(self._draft(".npy"), self._draft(".ledger.npy"))
        if draft is None or not np.array_equal(draft[1]["digest"], self.ledger["digest"]):
            return False
        matrix, self.ledger = draft
        self._rows = RowWriter(self._draft(".npy").open("r+b"), matrix.offset, matrix.shape, self.dtype)
        return True

    def _create(self) -> None:
        """Create a draft of zeros and copy the reusable rows of the existing file and of an older draft."""
        self._draft(".ledger.npy").unlink(missing_ok=True)
        shape = (len(self.ledger), self.dimension)
        self._rows = RowWriter.create(self._draft(".npy").open("w+b"), shape, self.dtype)
        if self.finished_card is not None and self.finished_card.key == self.key:
            self._copy_rows(self.path, self.folder / "ledger.npy", self.finished_card.inputs)
        with suppress(RunError, TypeError, KeyError, AttributeError):
            older = read_json(self.folder / "draft.json")
            if older["key"] == self.key:
                inputs = str(older["inputs"])
                self._copy_rows(self._draft(".npy", inputs=inputs), self._draft(".ledger.npy", inputs=inputs), inputs)
        self.save()
        write_json_atomic(self.folder / "draft.json", {"key": self.key, "inputs": self.inputs})
        self._sweep("ledger.npy", "draft.json", self._draft(".npy").name, self._draft(".ledger.npy").name)

    def _copy_rows(self, matrix_path: Path, ledger_path: Path, inputs: str) -> None:
        """Copy the rows of a file with digest ``inputs`` that did not fail and whose input is needed here."""
        loaded = self._load(matrix_path, ledger_path)
        if loaded is None or inputs_digest(loaded[1]["digest"]) != inputs:  # copied from elsewhere, without its ledger
            return
        matrix, ledger = loaded
        encoded = np.flatnonzero((ledger["marks"] & (Mark.DONE | FAILED)) == Mark.DONE)
        missing = np.flatnonzero((self.ledger["digest"] != b"") & (self.ledger["marks"] == 0))
        if not len(encoded):
            return
        encoded = encoded[np.argsort(ledger["digest"][encoded], kind="stable")]
        nearest = np.searchsorted(ledger["digest"][encoded], self.ledger["digest"][missing]).clip(max=len(encoded) - 1)
        equal = ledger["digest"][encoded[nearest]] == self.ledger["digest"][missing]
        rows, source_rows = missing[equal], encoded[nearest[equal]]
        assert self._rows is not None
        for start in range(0, len(rows), BLOCK):
            block = slice(start, start + BLOCK)
            self._rows.write(rows[block], matrix[source_rows[block]])
        self.ledger["marks"][rows] = ledger["marks"][source_rows]

    def _load(self, matrix_path: Path, ledger_path: Path) -> tuple[np.memmap[Any, Any], np.ndarray] | None:
        """Map a matrix and read its ledger; None where one is missing, damaged, or of another shape or dtype."""
        try:
            matrix = np.load(matrix_path, mmap_mode="r", allow_pickle=False)
            ledger = np.load(ledger_path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        fits = ledger.dtype == LEDGER and matrix.shape == (len(ledger), self.dimension) and matrix.dtype == self.dtype
        return (matrix, ledger) if fits else None

    def discard(self) -> None:
        """Delete the draft."""
        assert self._rows is not None
        self._rows.file.close()
        self._sweep("ledger.npy")

    def _sweep(self, *keep: str) -> None:
        """Delete all files of the folder but ``keep`` and the lock."""
        for file in self.folder.iterdir():
            if file.name not in (*keep, LOCK_FILE):
                file.unlink(missing_ok=True)
