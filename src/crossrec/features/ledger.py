"""Ledger of a feature file: the digest of every row's input, and marks of what happened to it."""

from __future__ import annotations

import hashlib
from enum import IntFlag
from typing import NamedTuple

import numpy as np

DIGEST = np.dtype("S16")
LEDGER = np.dtype([("digest", DIGEST), ("marks", "<u2")])


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
