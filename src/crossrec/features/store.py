"""A feature file in the making: it goes on after a stop, keeps the rows that still hold, and appears when it is whole.

Beside ``text_feat.npy`` lie ``text_feat.json``, the card that says what it was made of, and the folder ``.text_feat``
with a ledger: for every row a digest of what was encoded, and marks. While work goes on, the folder holds a draft with
a ledger of its own. A row whose digest is in a ledger of the same model is taken over, not encoded again.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntFlag
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from crossrec.config import Config
from crossrec.data.io.atomic import cannot_write, move_into_place, read_json, write_bytes_atomic, write_json_atomic
from crossrec.data.io.lock import FILE as LOCK_FILE
from crossrec.data.io.lock import FolderLock
from crossrec.errors import ConfigError, RunError

DIGEST = np.dtype("S16")
LEDGER = np.dtype([("digest", DIGEST), ("marks", "<u2")])
BLOCK = 4096


class Mark(IntFlag):
    """What happened to a row."""

    DONE = 1
    CUT = 2
    CONVERTED = 4
    FRAMES = 8
    TURNED = 16
    LOST = 32
    BROKEN = 64
    LARGE = 128
    NOT_FINITE = 256


FAILED = Mark.LOST | Mark.BROKEN | Mark.LARGE | Mark.NOT_FINITE
"""The row is all zero; it is not taken over into another file but tried again."""


class Encoded(NamedTuple):
    """A batch: the rows of its items (n,), their vectors (n, D), their marks (n,)."""

    rows: np.ndarray
    vectors: np.ndarray
    marks: np.ndarray


class FeatureCard(Config):
    """What a feature file was made of; it lies beside it as JSON."""

    file: str
    modality: str
    items: int
    dimension: int
    dtype: str
    counts: dict[str, int]
    """Items that got a vector (encoded), that had nothing to encode, and that were cut, broken, converted, …"""
    sources: tuple[str, ...]
    """The columns."""
    settings: dict[str, str | int | None]
    model: str
    revision: str | None
    model_digest: str
    rule: str
    """How a vector comes out of the model."""
    created: str
    versions: dict[str, str]
    key: str
    """Digest of model, settings and dtype."""
    inputs: str
    """Digest of all texts, or of names, sizes and times of all pictures."""
    sha256: str
    """Digest of the file itself."""


def digest(content: bytes) -> bytes:
    """16 bytes that stand for ``content``."""
    return hashlib.blake2b(content, digest_size=DIGEST.itemsize).digest()


class Store:
    """The making of ``path``: of what has the digests ``digest_I`` (empty: nothing to encode), by what ``key`` says."""

    def __init__(self, path: Path, key: str, digest_I: np.ndarray, dtype: str) -> None:
        self.path, self.key, self.dtype = path, key, np.dtype(dtype)
        self.inputs = _inputs(digest_I)
        self.ledger = np.zeros(len(digest_I), dtype=LEDGER)
        self.ledger["digest"] = digest_I
        self.work = path.with_name(f".{path.stem}")
        self.card_path = path.with_suffix(".json")
        self._file: BinaryIO | None = None
        self._start, self.dimension = 0, 0

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder of drafts; raises ConfigError where another process has it. Closes the draft at the end."""
        lock = FolderLock(self.work)
        with self._writing():
            self.work.mkdir(exist_ok=True)
            lock.path.touch()
        if not lock.acquire():
            raise ConfigError(f"{self.path} is being made by another process; wait for it or stop it")
        try:
            yield
        finally:
            if self._file is not None:
                self._file.close()
            lock.release()
            with suppress(OSError):  # it is not empty: it holds a ledger, or a draft to go on with
                self.work.rmdir()

    @cached_property
    def finished(self) -> FeatureCard | None:
        """The card of the file that is there, None if there is no file, or none that the card is true of."""
        self._move()
        try:
            card = FeatureCard.parse(read_json(self.card_path))
            if _sha256(self.path) == card.sha256:
                return card
        except (RunError, ConfigError, OSError, TypeError, ValueError):
            pass
        return None

    @property
    def up_to_date(self) -> bool:
        """Whether the finished file is what would be made."""
        return self.finished is not None and (self.finished.key, self.finished.inputs) == (self.key, self.inputs)

    def begin(self, dimension: int) -> np.ndarray:
        """Open the draft; the rows that remain to be encoded."""
        self.dimension = dimension
        with self._writing():
            if not self._reopen():
                self._create()
        return np.flatnonzero((self.ledger["digest"] != b"") & (self.ledger["marks"] & Mark.DONE == 0))

    def put(self, batch: Encoded) -> None:
        """Write the vectors of a batch into the draft; one that is not finite becomes zeros."""
        with np.errstate(over="ignore", invalid="ignore"):
            vectors = batch.vectors.astype(self.dtype)
        bad = ~np.isfinite(vectors).all(axis=1)
        vectors[bad] = 0
        with self._writing():
            self._write(batch.rows, vectors)
        self.ledger["marks"][batch.rows] = batch.marks | np.where(bad, Mark.NOT_FINITE, 0) | Mark.DONE

    def save(self) -> None:
        """Make durable what was put: a later process goes on from here."""
        assert self._file is not None
        with self._writing():
            self._file.flush()
            os.fsync(self._file.fileno())
        write_bytes_atomic(self._draft(".ledger.npy"), _bytes(self.ledger))

    def count(self, marks: int) -> int:
        """How many rows have one of the marks."""
        return int(np.count_nonzero(self.ledger["marks"] & marks))

    def finish(self, **card: Any) -> FeatureCard:
        """Put the draft in the place of the file, and its card beside it."""
        assert self._file is not None
        self.save()
        self._file.close()
        made = FeatureCard(
            file=self.path.name,
            items=len(self.ledger),
            dimension=self.dimension,
            dtype=self.dtype.name,
            key=self.key,
            inputs=self.inputs,
            sha256=_sha256(self._draft(".npy")),
            **card,
        )
        write_json_atomic(self.work / "card.json", made.model_dump(mode="json"))
        self._move()
        return made

    def _draft(self, ending: str, key: str = "", inputs: str = "") -> Path:
        """A file of the draft of these inputs, of one's own unless given."""
        name = hashlib.sha256(f"{key or self.key} {inputs or self.inputs}".encode()).hexdigest()[:16]
        return self.work / f"{name}{ending}"

    def _move(self) -> None:
        """Whatever ``finish`` began: once card.json is there the draft is whole, and every step may come twice."""
        marker = self.work / "card.json"
        if not marker.is_file():
            return
        card = FeatureCard.parse(read_json(marker))
        for ending, place in ((".npy", self.path), (".ledger.npy", self.work / "ledger.npy")):
            if (draft := self._draft(ending, card.key, card.inputs)).is_file():
                move_into_place(draft, place)
        move_into_place(marker, self.card_path)
        self._sweep("ledger.npy")

    def _reopen(self) -> bool:
        """Go on with the draft, if there is one of the same key and inputs."""
        try:
            ledger = np.load(self._draft(".ledger.npy"), allow_pickle=False)
            file = self._draft(".npy").open("r+b")
        except (OSError, ValueError):
            return False
        shape, dtype, self._start = _header(file)
        size = self._start + len(self.ledger) * self.dimension * self.dtype.itemsize
        whole = (len(self.ledger), self.dimension) == shape and dtype == self.dtype and ledger.dtype == LEDGER
        whole = whole and os.fstat(file.fileno()).st_size == size
        if not whole or not np.array_equal(ledger["digest"], self.ledger["digest"]):
            file.close()
            return False
        self._file, self.ledger = file, ledger
        return True

    def _create(self) -> None:
        """A new draft of zeros, with the rows that can be taken over from the finished file and from an older draft."""
        shape = (len(self.ledger), self.dimension)
        self._draft(".ledger.npy").unlink(missing_ok=True)
        self._file = self._draft(".npy").open("w+b")
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._start = self._file.tell()
        self._file.truncate(self._start + shape[0] * shape[1] * self.dtype.itemsize)
        if self.finished is not None and self.finished.key == self.key:
            self._take_over(self.path, self.work / "ledger.npy", self.finished.inputs)
        with suppress(RunError, TypeError, KeyError, AttributeError):
            older = read_json(self.work / "draft.json")
            if older["key"] == self.key:
                inputs = str(older["inputs"])
                self._take_over(self._draft(".npy", inputs=inputs), self._draft(".ledger.npy", inputs=inputs), inputs)
        self.save()
        write_json_atomic(self.work / "draft.json", {"key": self.key, "inputs": self.inputs})
        self._sweep("ledger.npy", "draft.json", self._draft(".npy").name, self._draft(".ledger.npy").name)

    def _take_over(self, matrix_path: Path, ledger_path: Path, inputs: str) -> None:
        """Copy the rows of another file, made of ``inputs``, whose digests are wanted and that did not fail."""
        try:
            matrix = np.load(matrix_path, mmap_mode="r", allow_pickle=False)
            ledger = np.load(ledger_path, allow_pickle=False)
        except (OSError, ValueError):
            return
        if ledger.dtype != LEDGER or matrix.shape != (len(ledger), self.dimension) or matrix.dtype != self.dtype:
            return
        if _inputs(ledger["digest"]) != inputs:  # a ledger that was left behind when the file came from elsewhere
            return
        good = np.flatnonzero((ledger["marks"] & (Mark.DONE | FAILED)) == Mark.DONE)
        wanted = np.flatnonzero((self.ledger["digest"] != b"") & (self.ledger["marks"] == 0))
        if not len(good):
            return
        good = good[np.argsort(ledger["digest"][good], kind="stable")]
        at = np.searchsorted(ledger["digest"][good], self.ledger["digest"][wanted]).clip(max=len(good) - 1)
        same = ledger["digest"][good[at]] == self.ledger["digest"][wanted]
        rows, others = wanted[same], good[at[same]]
        for start in range(0, len(rows), BLOCK):
            part = slice(start, start + BLOCK)
            self._write(rows[part], matrix[others[part]])
        self.ledger["marks"][rows] = ledger["marks"][others]

    def _write(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        assert self._file is not None
        stride = self.dimension * self.dtype.itemsize
        for row, vector in zip(rows.tolist(), vectors, strict=True):
            self._file.seek(self._start + row * stride)
            self._file.write(vector.tobytes())

    def discard(self) -> None:
        """Give the draft up."""
        assert self._file is not None
        self._file.close()
        self._sweep("ledger.npy")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A block that writes; where the system refuses, RunError says so."""
        try:
            yield
        except OSError as error:
            raise cannot_write(self.path, error) from None

    def _sweep(self, *keep: str) -> None:
        """Delete what no file needs any more."""
        for file in self.work.iterdir():
            if file.name not in (*keep, LOCK_FILE):
                file.unlink(missing_ok=True)


def _header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """(shape, dtype, where the numbers begin) of a .npy file that ``Store`` wrote; no shape if it is none."""
    try:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    except ValueError:
        return (), np.dtype(bool), 0
    return shape, dtype, file.tell()


def _inputs(digest_I: np.ndarray) -> str:
    return hashlib.sha256(digest_I.tobytes()).hexdigest()


def _bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
