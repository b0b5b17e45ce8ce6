"""Card of a feature file, and its ledger: the digest of every row's input, and marks of what happened to it."""

from __future__ import annotations

import hashlib
from enum import IntFlag
from typing import NamedTuple

import numpy as np

from crossrec.config import Config

DIGEST = np.dtype("S16")
LEDGER = np.dtype([("digest", DIGEST), ("marks", "<u2")])


class FeatureCard(Config):
    """How a feature file was made; written beside it as JSON."""

    file: str
    modality: str
    items: int
    dimension: int
    dtype: str
    counts: dict[str, int]
    """Items with a vector (``encoded``), items without input, and items that were cut, broken, converted, …"""
    sources: tuple[str, ...]
    """Columns that were encoded."""
    settings: dict[str, str | int | None]
    model: str
    revision: str | None
    model_digest: str
    rule: str
    """How the vector is taken from the model."""
    created: str
    versions: dict[str, str]
    key: str
    """Digest of model, settings and dtype."""
    inputs: str
    """Digest of all texts, or of the names, sizes and times of all pictures."""
    sha256: str
    """Digest of the file."""
    failed: tuple[str, ...] = ()
    """The first items or pictures whose row is zero because they could not be read or encoded, with the reason."""


class Mark(IntFlag):
    """What happened to a row."""

    DONE = 1
    CUT = 2
    CONVERTED = 4
    FRAMES = 8
    TURNED = 16
    LOST = 32
    BROKEN = 64
    TOO_LARGE = 128
    NOT_FINITE = 256
    ONE_COLOUR = 512


FAILED = Mark.LOST | Mark.BROKEN | Mark.TOO_LARGE | Mark.NOT_FINITE
"""Rows with one of these marks are all zero. A later file encodes them again."""


class EncodedBatch(NamedTuple):
    """Rows of the items of a batch (n,), their vectors (n, D) and marks (n,)."""

    rows: np.ndarray
    vectors: np.ndarray
    marks: np.ndarray


def input_digest(content: bytes) -> bytes:
    """Digest of one item's input, 16 bytes."""
    return hashlib.blake2b(content, digest_size=DIGEST.itemsize).digest()


def inputs_digest(digest_I: np.ndarray) -> str:
    """Digest of the inputs of all items."""
    return hashlib.sha256(digest_I.tobytes()).hexdigest()
